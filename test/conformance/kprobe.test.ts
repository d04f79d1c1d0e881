// tools/testing/selftests/livepatch/test-kprobe.sh: livepatch beside a kprobe on the function that it replaces. The probe is a
// module's: with a post_handler its ops has IPMODIFY, as livepatch's has, without one it has not.
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readFtrace, registerKprobeAt, unregisterKprobeAt } from "../../src/ftrace/index.ts";
import { call, FTRACE_CONSTANTS, KPROBE, readField, writeField } from "../../src/kernel/index.ts";
import { echo, failedInsmod, insmod, lines, off, on, rmmod } from "./events.ts";
import { makeLab, type Lab } from "./lab.ts";

const LP = "test_klp_livepatch";
const KP = "test_klp_kprobe";
const EBUSY = -16;
const CMDLINE = "root=/dev/ram0 quiet";
const PATCHED = `${LP}: this has been live patched`;
const F = FTRACE_CONSTANTS;

let lab: Lab;
beforeAll(async () => {
  lab = await makeLab();
});
beforeEach(() => lab.reset());

/** The flags of the record of the probed function, and how many ops trace it. */
function site(): { readonly ipmodify: boolean; readonly ops: number } {
  const { flags = 0 } =
    readFtrace(lab.session.read, lab.image).recs.find(
      (r) => r.ip === lab.va("cmdline_proc_show"),
    ) ?? {};
  return { ipmodify: (flags & F.FTRACE_FL_IPMODIFY) !== 0, ops: flags & F.FTRACE_REF_MAX };
}

const hits = (): bigint => lab.word("kprobe_hits", 8, KP);
const flagsOf = (probe: bigint): bigint => readField(lab.session.read, KPROBE, probe, "flags");

describe("test-kprobe", () => {
  test("livepatch interaction with kprobed function with post_handler", () => {
    expect(lab.insmod(KP, "has_post_handler=true")).toBe(0);
    expect(site()).toEqual({ ipmodify: true, ops: 1 });
    expect(lab.insmod(LP)).toBe(EBUSY);
    expect([lab.modules(), lab.patches(), lab.read("cmdline")]).toEqual([[KP], [], CMDLINE]);
    expect(hits()).toBe(1n);
    lab.unload(KP);
    expect(site()).toEqual({ ipmodify: false, ops: 0 });
    expect(lab.log()).toEqual([
      insmod(KP, "has_post_handler=true"),
      insmod(LP),
      ...lines(LP, "E I+ Ff(cmdline_proc_show,-16) Fo(vmlinux) F X C- D-"),
      failedInsmod(LP, "Device or resource busy"),
      rmmod(KP),
    ]);
    // Nothing is left in the livepatch's way.
    lab.load(LP);
    expect(lab.read("cmdline")).toBe(PATCHED);
  });

  test("livepatch interaction with kprobed function without post_handler", () => {
    expect(lab.insmod(KP, "has_post_handler=false")).toBe(0);
    expect(site()).toEqual({ ipmodify: false, ops: 1 });
    expect([lab.read("cmdline"), hits()]).toEqual([CMDLINE, 1n]);
    lab.load(LP);
    expect(site()).toEqual({ ipmodify: true, ops: 2 });
    expect([lab.read("cmdline"), hits()]).toEqual([PATCHED, 2n]);
    lab.unload(KP);
    expect(site()).toEqual({ ipmodify: true, ops: 1 });
    expect(lab.read("cmdline")).toBe(PATCHED);
    lab.disable(LP);
    lab.unload(LP);
    expect(lab.read("cmdline")).toBe(CMDLINE);
    expect(lab.log()).toEqual([
      insmod(KP, "has_post_handler=false"),
      ...on(LP),
      rmmod(KP),
      echo("0", `${LP}/enabled`),
      ...lines(LP, "OFF"),
      rmmod(LP),
    ]);
  });
});

describe("a probe's module the other way round", () => {
  test("with post_handler is refused by the livepatch that came first, and leaves nothing", () => {
    lab.load(LP);
    expect(lab.insmod(KP, "has_post_handler=true")).toBe(EBUSY);
    expect([lab.modules(), site()]).toEqual([[LP], { ipmodify: true, ops: 1 }]);
    expect([lab.word("kprobe_list"), lab.word("kprobe_ipmodify_enabled", 4)]).toEqual([0n, 0n]);
    expect(lab.read("cmdline")).toBe(PATCHED);
    lab.disable(LP);
    lab.unload(LP);
    expect(lab.log()).toEqual([
      ...on(LP),
      insmod(KP, "has_post_handler=true"),
      failedInsmod(KP, "Device or resource busy"),
      ...off(LP),
      rmmod(LP),
    ]);
    expect(lab.insmod(KP, "has_post_handler=true")).toBe(0);
  });

  test("without one is hit by the calls that the livepatch redirects", () => {
    lab.load(LP);
    expect(lab.insmod(KP, "has_post_handler=false")).toBe(0);
    const probe = lab.va("kp", KP);
    expect([lab.word("kprobe_list"), flagsOf(probe)]).toEqual([
      probe,
      BigInt(F.KPROBE_FLAG_FTRACE),
    ]);
    expect([lab.read("cmdline"), hits()]).toEqual([PATCHED, 1n]);
    lab.unload(KP);
    expect([lab.word("kprobe_list"), lab.read("cmdline")]).toEqual([0n, PATCHED]);
  });
});

describe("a probe in a module that goes", () => {
  const TARGET = "test_klp_mod_target";
  const SHOW = "test_klp_mod_target_show";
  /** Behind the fentry site: the push of the frame pointer. */
  const INSIDE = 5n;

  test.each([0n, INSIDE])("is gone with it and can still be unregistered (offset %i)", (offset) => {
    expect(lab.insmod(TARGET)).toBe(0);
    const original = lab.read("module");
    const text = { image: lab.image, modules: () => [lab.imageOf(TARGET)] };
    const kp = lab.do(() => call("kzalloc", BigInt(KPROBE.size)));
    const addr = lab.va(SHOW, TARGET) + offset;
    const error = lab.do(function* () {
      yield* writeField(KPROBE, kp, "addr", addr);
      return yield* registerKprobeAt(text, kp);
    });
    expect(error).toBe(0);
    expect(lab.session.read(addr, 1)[0]).toBe(offset === 0n ? 0xe8 : 0xcc);
    expect(lab.read("module")).toBe(original);
    lab.unload(TARGET);
    expect(flagsOf(kp) & BigInt(F.KPROBE_FLAG_GONE)).toBe(BigInt(F.KPROBE_FLAG_GONE));
    expect([lab.word("kprobe_list"), lab.word("kprobe_ftrace_enabled", 4)]).toEqual([kp, 0n]);
    // The module comes back to the same place, where nothing of the probe is left.
    expect(lab.insmod(TARGET)).toBe(0);
    expect(lab.va(SHOW, TARGET) + offset).toBe(addr);
    expect(lab.read("module")).toBe(original);
    lab.do(() => unregisterKprobeAt(lab.image, kp));
    expect([lab.word("kprobe_list"), lab.read("module")]).toEqual([0n, original]);
  });
});

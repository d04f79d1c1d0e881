// tools/testing/selftests/livepatch/test-callbacks.sh: which callback is called when, for the kernel and for modules that
// come and go.
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { echo, failedInsmod, insmod, lines, rmmod } from "./events.ts";
import { makeLab, type Lab } from "./lab.ts";

const DEMO = "test_klp_callbacks_demo";
const DEMO2 = "test_klp_callbacks_demo2";
const MOD = "test_klp_callbacks_mod";
const BUSY = "test_klp_callbacks_busy";
const ENODEV = -19;

const INIT = `${MOD}: ${MOD}_init`;
const EXIT = `${MOD}: ${MOD}_exit`;
const DISABLE = echo("0", `${DEMO}/enabled`);

/** Enabling and disabling the demo when no module of it is loaded. */
const ON = [insmod(DEMO), ...lines(DEMO, "E I+ pre+(vmlinux) S+ C+ post+(vmlinux) D+")];
const OFF = [DISABLE, ...lines(DEMO, "I- pre-(vmlinux) S- C- post-(vmlinux) D-"), rmmod(DEMO)];
const COMES = [
  insmod(MOD),
  ...lines(DEMO, `A(${MOD}) pre+(${MOD} COMING) post+(${MOD} COMING)`),
  INIT,
];
const GOES = [rmmod(MOD), EXIT, ...lines(DEMO, `pre-(${MOD} GOING) V(${MOD}) post-(${MOD} GOING)`)];
const OFF_BOTH = [
  DISABLE,
  ...lines(DEMO, `I- pre-(vmlinux) pre-(${MOD} LIVE) S- C- post-(vmlinux) post-(${MOD} LIVE) D-`),
  rmmod(DEMO),
];

let lab: Lab;
beforeAll(async () => {
  lab = await makeLab();
});
beforeEach(() => lab.reset());

function leave(name = DEMO): void {
  lab.disable(name);
  lab.unload(name);
}

describe("test-callbacks", () => {
  test("target module before livepatch", () => {
    lab.insmod(MOD);
    lab.load(DEMO);
    leave();
    lab.rmmod(MOD);
    expect(lab.log()).toEqual([
      insmod(MOD),
      INIT,
      insmod(DEMO),
      ...lines(
        DEMO,
        `E I+ pre+(vmlinux) pre+(${MOD} LIVE) S+ C+ post+(vmlinux) post+(${MOD} LIVE) D+`,
      ),
      ...OFF_BOTH,
      rmmod(MOD),
      EXIT,
    ]);
  });

  test("module_coming notifier", () => {
    lab.load(DEMO);
    lab.insmod(MOD);
    leave();
    lab.rmmod(MOD);
    expect(lab.log()).toEqual([...ON, ...COMES, ...OFF_BOTH, rmmod(MOD), EXIT]);
  });

  test("module_going notifier", () => {
    lab.insmod(MOD);
    lab.load(DEMO);
    lab.rmmod(MOD);
    leave();
    expect(lab.log()).toEqual([
      insmod(MOD),
      INIT,
      insmod(DEMO),
      ...lines(
        DEMO,
        `E I+ pre+(vmlinux) pre+(${MOD} LIVE) S+ C+ post+(vmlinux) post+(${MOD} LIVE) D+`,
      ),
      ...GOES,
      ...OFF,
    ]);
  });

  test("module_coming and module_going notifiers", () => {
    lab.load(DEMO);
    lab.insmod(MOD);
    lab.rmmod(MOD);
    leave();
    expect(lab.log()).toEqual([...ON, ...COMES, ...GOES, ...OFF]);
  });

  test("target module not present", () => {
    lab.load(DEMO);
    leave();
    expect(lab.log()).toEqual([...ON, ...OFF]);
  });

  test("pre-patch callback -ENODEV", () => {
    lab.insmod(MOD);
    expect(lab.insmod(DEMO, `pre_patch_ret=${ENODEV}`)).toBe(ENODEV);
    expect([lab.modules(), lab.patches()]).toEqual([[MOD], []]);
    lab.rmmod(MOD);
    expect(lab.log()).toEqual([
      insmod(MOD),
      INIT,
      insmod(DEMO, `pre_patch_ret=${ENODEV}`),
      ...lines(DEMO, "E I+ pre+(vmlinux) Fp(vmlinux) F X C- D-"),
      failedInsmod(DEMO, "No such device"),
      rmmod(MOD),
      EXIT,
    ]);
  });

  test("module_coming + pre-patch callback -ENODEV", () => {
    lab.load(DEMO);
    expect(lab.setParam(DEMO, "pre_patch_ret", String(ENODEV))).toBe(0);
    expect(lab.insmod(MOD)).toBe(ENODEV);
    expect(lab.modules()).toEqual([DEMO]);
    leave();
    expect(lab.log()).toEqual([
      ...ON,
      `% echo ${ENODEV} > /sys/module/${DEMO}/parameters/pre_patch_ret`,
      insmod(MOD),
      ...lines(DEMO, `A(${MOD}) pre+(${MOD} COMING) Fp(${MOD}) Fm(${MOD})`),
      failedInsmod(MOD, "No such device"),
      ...OFF,
    ]);
  });

  test("multiple target modules", () => {
    lab.insmod(BUSY, "block_transition=N");
    lab.load(DEMO);
    lab.insmod(MOD);
    lab.rmmod(MOD);
    leave();
    lab.rmmod(BUSY);
    expect(lab.log()).toEqual([
      insmod(BUSY, "block_transition=N"),
      `${BUSY}: ${BUSY}_init`,
      `${BUSY}: busymod_work_func enter`,
      `${BUSY}: busymod_work_func exit`,
      insmod(DEMO),
      ...lines(
        DEMO,
        `E I+ pre+(vmlinux) pre+(${BUSY} LIVE) S+ C+ post+(vmlinux) post+(${BUSY} LIVE) D+`,
      ),
      ...COMES,
      ...GOES,
      DISABLE,
      ...lines(
        DEMO,
        `I- pre-(vmlinux) pre-(${BUSY} LIVE) S- C- post-(vmlinux) post-(${BUSY} LIVE) D-`,
      ),
      rmmod(DEMO),
      rmmod(BUSY),
      `${BUSY}: ${BUSY}_exit`,
    ]);
  });

  test("busy target module", () => {
    lab.insmod(BUSY, "block_transition=Y");
    expect(lab.insmod(DEMO)).toBe(0);
    lab.rounds(3);
    expect(lab.cat(`${DEMO}/transition`)).toBe("1");
    lab.insmod(MOD);
    lab.rmmod(MOD);
    expect(lab.cat(`${DEMO}/transition`)).toBe("1");
    leave();
    lab.rmmod(BUSY);
    expect(lab.log()).toEqual([
      insmod(BUSY, "block_transition=Y"),
      `${BUSY}: ${BUSY}_init`,
      `${BUSY}: busymod_work_func enter`,
      insmod(DEMO),
      ...lines(DEMO, `E I+ pre+(vmlinux) pre+(${BUSY} LIVE) S+`),
      insmod(MOD),
      ...lines(DEMO, `A(${MOD}) pre+(${MOD} COMING)`),
      INIT,
      rmmod(MOD),
      EXIT,
      ...lines(DEMO, `V(${MOD}) post-(${MOD} GOING)`),
      DISABLE,
      ...lines(DEMO, `R S- C- post-(vmlinux) post-(${BUSY} LIVE) D-`),
      rmmod(DEMO),
      rmmod(BUSY),
      `${BUSY}: busymod_work_func exit`,
      `${BUSY}: ${BUSY}_exit`,
    ]);
  });

  test("multiple livepatches", () => {
    lab.load(DEMO);
    lab.load(DEMO2);
    lab.disable(DEMO2);
    lab.disable(DEMO);
    lab.unload(DEMO2);
    lab.unload(DEMO);
    expect(lab.log()).toEqual([
      ...ON,
      insmod(DEMO2),
      ...lines(DEMO2, "E I+ pre+(vmlinux) S+ C+ post+(vmlinux) D+"),
      echo("0", `${DEMO2}/enabled`),
      ...lines(DEMO2, "I- pre-(vmlinux) S- C- post-(vmlinux) D-"),
      DISABLE,
      ...lines(DEMO, "I- pre-(vmlinux) S- C- post-(vmlinux) D-"),
      rmmod(DEMO2),
      rmmod(DEMO),
    ]);
  });

  test("atomic replace", () => {
    lab.load(DEMO);
    lab.load(DEMO2, "replace=1");
    expect(lab.patches()).toEqual([DEMO2]);
    lab.disable(DEMO2);
    lab.unload(DEMO2);
    lab.unload(DEMO);
    expect(lab.log()).toEqual([
      ...ON,
      insmod(DEMO2, "replace=1"),
      ...lines(DEMO2, "E I+ pre+(vmlinux) S+ C+ post+(vmlinux) D+"),
      echo("0", `${DEMO2}/enabled`),
      ...lines(DEMO2, "I- pre-(vmlinux) S- C- post-(vmlinux) D-"),
      rmmod(DEMO2),
      rmmod(DEMO),
    ]);
  });

  test("busy target module, and the administrator forces the transition", () => {
    lab.insmod(BUSY, "block_transition=Y");
    expect(lab.insmod(DEMO)).toBe(0);
    lab.rounds(2);
    expect(lab.echo(`${DEMO}/force`, "1")).toBe(0);
    lab.settle();
    expect([lab.cat(`${DEMO}/transition`), lab.cat(`${DEMO}/enabled`)]).toEqual(["0", "1"]);
    expect(lab.log()).toEqual([
      insmod(BUSY, "block_transition=Y"),
      `${BUSY}: ${BUSY}_init`,
      `${BUSY}: busymod_work_func enter`,
      insmod(DEMO),
      ...lines(DEMO, `E I+ pre+(vmlinux) pre+(${BUSY} LIVE) S+`),
      echo("1", `${DEMO}/force`),
      ...lines(DEMO, `force C+ post+(vmlinux) post+(${BUSY} LIVE) D+`),
    ]);
  });

  test("busy target module: after fifteen rounds who remains is signalled, which is said once", () => {
    lab.insmod(BUSY, "block_transition=Y");
    expect(lab.insmod(DEMO)).toBe(0);
    lab.rounds(14);
    const said = (): number => lab.log().filter((l) => l === lines(DEMO, "signal")[0]).length;
    expect(said()).toBe(0);
    lab.rounds(2);
    expect(said()).toBe(1);
    lab.rounds(15);
    expect([said(), lab.cat(`${DEMO}/transition`)]).toEqual([1, "1"]);
    expect(lab.setParam(BUSY, "block_transition", "N")).toBe(0);
    lab.run(20_000);
    lab.settle();
    expect(lab.cat(`${DEMO}/transition`)).toBe("0");
    expect(lab.log().slice(-5)).toEqual([
      `${BUSY}: busymod_work_func exit`,
      ...lines(DEMO, `C+ post+(vmlinux) post+(${BUSY} LIVE) D+`),
    ]);
  });
});

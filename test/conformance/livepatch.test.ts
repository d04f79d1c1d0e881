// tools/testing/selftests/livepatch/test-livepatch.sh: the basic rows.
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { echo, lines, off, on, insmod, rmmod } from "./events.ts";
import { makeLab, type Lab } from "./lab.ts";

const LP = "test_klp_livepatch";
const REPLACE = "test_klp_atomic_replace";
const DEMO = "test_klp_callbacks_demo";
const TARGET = "test_klp_mod_target";
const MOD_PATCH = "test_klp_mod_patch";
const BUSY = "test_klp_callbacks_busy";
const SYSCALL = "test_klp_syscall";

const CMDLINE = "root=/dev/ram0 quiet";
const MEMINFO = "MemTotal:          32768 kB";
const patched = (name: string): string => `${name}: this has been live patched`;

let lab: Lab;
beforeAll(async () => {
  lab = await makeLab();
});
beforeEach(() => lab.reset());

describe("test-livepatch", () => {
  test("basic function patching", () => {
    expect(lab.read("cmdline")).toBe(CMDLINE);
    lab.load(LP);
    expect(lab.read("cmdline")).toBe(patched(LP));
    expect(lab.rmmod(LP)).toBe(-11); // in use
    lab.disable(LP);
    expect(lab.read("cmdline")).toBe(CMDLINE);
    lab.unload(LP);
    expect(lab.log()).toEqual([...on(LP), rmmod(LP), ...off(LP), rmmod(LP)]);
    expect(lab.modules()).toEqual([]);
  });

  test("multiple livepatches", () => {
    lab.load(LP);
    expect([lab.read("cmdline"), lab.read("meminfo")]).toEqual([patched(LP), MEMINFO]);
    lab.load(REPLACE, "replace=0");
    expect([lab.read("cmdline"), lab.read("meminfo")]).toEqual([patched(LP), patched(REPLACE)]);
    lab.disable(REPLACE);
    lab.unload(REPLACE);
    expect([lab.read("cmdline"), lab.read("meminfo")]).toEqual([patched(LP), MEMINFO]);
    lab.disable(LP);
    lab.unload(LP);
    expect([lab.read("cmdline"), lab.read("meminfo")]).toEqual([CMDLINE, MEMINFO]);
    expect(lab.log()).toEqual([
      ...on(LP),
      ...on(REPLACE, "replace=0"),
      ...off(REPLACE),
      rmmod(REPLACE),
      ...off(LP),
      rmmod(LP),
    ]);
  });

  test("atomic replace livepatch, of one", () => {
    lab.load(LP);
    lab.load(REPLACE, "replace=1");
    expect([lab.read("cmdline"), lab.read("meminfo")]).toEqual([CMDLINE, patched(REPLACE)]);
    lab.unload(LP);
    expect([lab.read("cmdline"), lab.read("meminfo")]).toEqual([CMDLINE, patched(REPLACE)]);
    lab.disable(REPLACE);
    lab.unload(REPLACE);
    expect([lab.read("cmdline"), lab.read("meminfo")]).toEqual([CMDLINE, MEMINFO]);
    expect(lab.log()).toEqual([
      ...on(LP),
      ...on(REPLACE, "replace=1"),
      rmmod(LP),
      ...off(REPLACE),
      rmmod(REPLACE),
    ]);
  });

  test("atomic replace livepatch, of three", () => {
    lab.load(LP);
    lab.load(SYSCALL);
    lab.load(DEMO);
    expect(lab.patches()).toEqual([LP, SYSCALL, DEMO]);
    lab.load(REPLACE, "replace=1");
    expect(lab.patches()).toEqual([REPLACE]);
    for (const name of [DEMO, SYSCALL, LP]) lab.unload(name);
    lab.disable(REPLACE);
    expect(lab.patches()).toEqual([]);
    lab.unload(REPLACE);
    expect([lab.read("cmdline"), lab.read("meminfo")]).toEqual([CMDLINE, MEMINFO]);
    expect(lab.log()).toEqual([
      ...on(LP),
      ...on(SYSCALL),
      insmod(DEMO),
      ...lines(DEMO, "E I+ pre+(vmlinux) S+ C+ post+(vmlinux) D+"),
      ...on(REPLACE, "replace=1"),
      rmmod(DEMO),
      rmmod(SYSCALL),
      rmmod(LP),
      ...off(REPLACE),
      rmmod(REPLACE),
    ]);
  });

  test("atomic replace livepatch: who is switched has the originals before the others are", () => {
    lab.load(LP);
    lab.insmod(BUSY, "block_transition=Y");
    expect(lab.insmod(DEMO, "replace=1")).toBe(0);
    lab.rounds(2);
    expect([lab.cat(`${DEMO}/transition`), lab.patches()]).toEqual(["1", [LP, DEMO]]);
    expect(lab.cat(`${LP}/enabled`)).toBe("1");
    expect(lab.read("cmdline")).toBe(CMDLINE);
    // Reversed, it leaves the patch below in force.
    lab.disable(DEMO);
    expect([lab.patches(), lab.read("cmdline")]).toEqual([[LP], patched(LP)]);
    lab.unload(DEMO);
    expect(lab.log()).toEqual([
      ...on(LP),
      insmod(BUSY, "block_transition=Y"),
      `${BUSY}: ${BUSY}_init`,
      `${BUSY}: busymod_work_func enter`,
      insmod(DEMO, "replace=1"),
      ...lines(DEMO, `E I+ pre+(vmlinux) pre+(${BUSY} LIVE) S+`),
      echo("0", `${DEMO}/enabled`),
      ...lines(DEMO, `R S- C- post-(vmlinux) post-(${BUSY} LIVE) D-`),
      rmmod(DEMO),
    ]);
  });

  test("module function patching", () => {
    lab.insmod(TARGET);
    expect(lab.read("module")).toBe(`${TARGET}: original output`);
    lab.load(MOD_PATCH);
    expect(lab.read("module")).toBe(patched(MOD_PATCH));
    lab.disable(MOD_PATCH);
    expect(lab.read("module")).toBe(`${TARGET}: original output`);
    lab.unload(MOD_PATCH);
    lab.unload(TARGET);
    expect(lab.read("module")).toBe(-22);
    expect(lab.log()).toEqual([
      insmod(TARGET),
      `${TARGET}: ${TARGET}_init`,
      ...on(MOD_PATCH),
      ...off(MOD_PATCH),
      rmmod(MOD_PATCH),
      rmmod(TARGET),
      `${TARGET}: ${TARGET}_exit`,
    ]);
  });

  test("module function patching, the livepatch first", () => {
    lab.load(MOD_PATCH);
    lab.insmod(TARGET);
    expect(lab.read("module")).toBe(patched(MOD_PATCH));
    lab.unload(TARGET);
    lab.insmod(TARGET);
    expect(lab.read("module")).toBe(patched(MOD_PATCH));
    lab.disable(MOD_PATCH);
    expect(lab.read("module")).toBe(`${TARGET}: original output`);
    lab.unload(TARGET);
    lab.unload(MOD_PATCH);
    const comes = [
      insmod(TARGET),
      ...lines(MOD_PATCH, `A(${TARGET})`),
      `${TARGET}: ${TARGET}_init`,
    ];
    expect(lab.log()).toEqual([
      ...on(MOD_PATCH),
      ...comes,
      rmmod(TARGET),
      `${TARGET}: ${TARGET}_exit`,
      ...lines(MOD_PATCH, `V(${TARGET})`),
      ...comes,
      ...off(MOD_PATCH),
      rmmod(TARGET),
      `${TARGET}: ${TARGET}_exit`,
      rmmod(MOD_PATCH),
    ]);
  });
});

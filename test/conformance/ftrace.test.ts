// tools/testing/selftests/livepatch/test-ftrace.sh: livepatch beside the sysctl of ftrace and the function tracer.
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readTrace, startFunctionTracer, stopFunctionTracer } from "../../src/ftrace/index.ts";
import { echo, failedInsmod, insmod, lines, off, on, rmmod } from "./events.ts";
import { makeLab, type Lab } from "./lab.ts";

const LP = "test_klp_livepatch";
const EBUSY = -16;
const CMDLINE = "root=/dev/ram0 quiet";
const PATCHED = `${LP}: this has been live patched`;

let lab: Lab;
beforeAll(async () => {
  lab = await makeLab();
});
beforeEach(() => lab.reset());

const traced = (ip: bigint): number =>
  readTrace(lab.session.read, lab.image).filter((e) => e.ip === ip).length;

describe("test-ftrace", () => {
  test("livepatch interaction with ftrace_enabled sysctl", () => {
    expect(lab.ftraceEnabled(false)).toBe(0);
    expect(lab.insmod(LP)).toBe(EBUSY);
    expect([lab.modules(), lab.patches(), lab.read("cmdline")]).toEqual([[], [], CMDLINE]);
    expect(lab.ftraceEnabled(true)).toBe(0);
    lab.load(LP);
    expect(lab.read("cmdline")).toBe(PATCHED);
    expect(lab.ftraceEnabled(false)).toBe(EBUSY);
    expect(lab.read("cmdline")).toBe(PATCHED);
    lab.disable(LP);
    lab.unload(LP);
    expect(lab.read("cmdline")).toBe(CMDLINE);
    expect(lab.log()).toEqual([
      "livepatch: kernel.ftrace_enabled = 0",
      insmod(LP),
      ...lines(LP, "E I+ Ff(cmdline_proc_show,-16) Fo(vmlinux) F X C- D-"),
      failedInsmod(LP, "Device or resource busy"),
      "livepatch: kernel.ftrace_enabled = 1",
      ...on(LP),
      'livepatch: sysctl: setting key "kernel.ftrace_enabled": Device or resource busy',
      ...off(LP),
      rmmod(LP),
    ]);
  });

  test("trace livepatched function and check that the live patch remains in effect", () => {
    lab.load(LP);
    const fresh = lab.va("livepatch_cmdline_proc_show", LP);
    expect(lab.do(() => startFunctionTracer(lab.image, [fresh]))).toBe(0);
    expect([lab.read("cmdline"), traced(fresh)]).toEqual([PATCHED, 1]);
    expect(lab.do(() => stopFunctionTracer(lab.image))).toBe(0);
    expect([lab.read("cmdline"), traced(fresh)]).toEqual([PATCHED, 1]);
    lab.disable(LP);
    lab.unload(LP);
    expect(lab.read("cmdline")).toBe(CMDLINE);
    expect(lab.log()).toEqual([...on(LP), ...off(LP), rmmod(LP)]);
  });

  test("livepatch a traced function and check that the live patch remains in effect", () => {
    const old = lab.va("cmdline_proc_show");
    expect(lab.do(() => startFunctionTracer(lab.image, [old]))).toBe(0);
    expect([lab.read("cmdline"), traced(old)]).toEqual([CMDLINE, 1]);
    lab.load(LP);
    expect([lab.read("cmdline"), traced(old)]).toEqual([PATCHED, 2]);
    expect(lab.do(() => stopFunctionTracer(lab.image))).toBe(0);
    expect([lab.read("cmdline"), traced(old)]).toEqual([PATCHED, 2]);
    lab.disable(LP);
    lab.unload(LP);
    expect(lab.read("cmdline")).toBe(CMDLINE);
    expect(lab.log()).toEqual([...on(LP), ...off(LP), rmmod(LP)]);
  });

  test("a livepatch that was refused leaves nothing in the way of the next try", () => {
    lab.ftraceEnabled(false);
    for (let i = 0; i < 3; i++) expect(lab.insmod(LP)).toBe(EBUSY);
    lab.ftraceEnabled(true);
    lab.load(LP);
    expect(lab.read("cmdline")).toBe(PATCHED);
    expect(lab.echo(`${LP}/enabled`, "0")).toBe(0);
    lab.settle();
    expect(lab.log().slice(-5)).toEqual([echo("0", `${LP}/enabled`), ...lines(LP, "OFF")]);
  });
});

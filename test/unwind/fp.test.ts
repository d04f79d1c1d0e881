// The frame-pointer unwinder on the running kernel: what it says of tasks that do not run has to be exact whenever it
// calls it reliable, and of running ones it is wrong exactly where rbp is not the function's own.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import {
  compareFrames,
  judgeTrace,
  scoreUnwinders,
  showStacks,
  walkInactive,
  walkRunning,
  type ScoreVerdict,
  type StackRun,
} from "../../src/check/index.ts";
import { CONSTANTS, readTasks, TASK_STATE } from "../../src/kernel/index.ts";
import { formatAddress, symbolAt } from "../../src/link/index.ts";
import { seededSchedule } from "../../src/machine/index.ts";
import { Session } from "../../src/patch/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { UNWINDERS } from "../../src/unwind/index.ts";
import { buildNamed } from "../scenario/files.ts";

const core = new WebAssembly.Module(
  readFileSync(join(import.meta.dirname, "../../dist/core.wasm")),
);

const VECTOR = CONSTANTS.HYPERVISOR_CALLBACK_VECTOR;

let built: BuiltScenario;
beforeAll(async () => {
  built = await buildNamed("default");
});

const runOf = (seed: number, at: number): StackRun => ({ core, built, vcpus: 2, seed, at });

function session(seed: number): Session {
  const s = new Session({
    core,
    image: built.image,
    ramBytes: built.scenario.ramMiB << 20,
    nrVcpus: 2,
    schedule: seededSchedule(seed),
  });
  s.run(1_000_000, new Set(["ready"]));
  return s;
}

test("frames are compared as exact, truncated, skipped or false", () => {
  expect(compareFrames([1n, 2n, 3n], [1n, 2n, 3n])).toBe("exact");
  expect(compareFrames([1n, 2n], [1n, 2n, 3n])).toBe("truncated");
  expect(compareFrames([1n, 3n], [1n, 2n, 3n])).toBe("skipped");
  expect(compareFrames([1n, 3n, 2n], [1n, 2n, 3n])).toBe("falseFrame");
  expect(compareFrames([1n, 2n, 3n, 4n], [1n, 2n, 3n])).toBe("falseFrame");
});

test("no walk is reliable and wrong, scored at every instruction", async () => {
  const scores = await scoreUnwinders(runOf(3, 0), [UNWINDERS.fp, UNWINDERS.guess], 15_000, () =>
    Promise.resolve(true),
  );
  for (const s of scores) {
    expect([s.reliableWrong, s.firstWrong]).toEqual([0, undefined]);
    expect(s.exact + s.truncated + s.skipped + s.falseFrame + s.refused).toBe(s.boundaries);
  }
  const [fp, guess] = scores;
  expect(fp?.boundaries).toBeGreaterThan(2000);
  expect(fp?.falseFrame).toBe(0);
  expect((fp?.exact ?? 0) / (fp?.boundaries ?? 1)).toBeGreaterThan(0.5);
  expect(guess?.inactiveReliable).toBe(0);
  expect(guess?.falseFrame).toBeGreaterThan(0);
});

describe("a task that does not run", () => {
  test("is reliable and exact when it sleeps, unreliable when it was preempted in the kernel", () => {
    let sleeping = 0;
    let preempted = 0;
    const wrong: string[] = [];
    for (let seed = 1; seed <= 5; seed++) {
      const s = session(seed);
      for (let i = 0; i < 400; i++) {
        // patchd is woken and comes before whoever runs, be it in the kernel.
        if (i % 8 === 0) s.machine.interrupt(i % 16 === 0 ? 0 : 1, VECTOR);
        s.run(s.machine.retired + 53);
        for (const task of readTasks(s.read, s.image)) {
          if (task.onCpu || !(task.isListed || task.isIdle)) continue;
          const { trace, truth } = walkInactive(s.machine, s.image, UNWINDERS.fp, task);
          const wasInterrupted = truth.some((va) =>
            formatAddress(s.image, va).startsWith("preempt_schedule_irq"),
          );
          const isRight = wasInterrupted
            ? !trace.reliable && trace.error?.reason === "pt_regs"
            : trace.reliable && judgeTrace(trace, truth) === "exact";
          if (!isRight) wrong.push(`${seed} ${i} ${task.comm}: ${trace.error?.reason}`);
          if (wasInterrupted) preempted++;
          else if (task.state !== TASK_STATE.RUNNING) sleeping++;
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(sleeping).toBeGreaterThan(5000);
    expect(preempted).toBeGreaterThan(0);
  });

  test("is refused while it runs", () => {
    const s = session(1);
    const running = readTasks(s.read, s.image).find((t) => t.onCpu);
    expect(running).toBeDefined();
    if (running === undefined) return;
    const { trace } = walkInactive(s.machine, s.image, UNWINDERS.fp, running);
    expect([trace.reliable, trace.error?.reason, trace.frames]).toEqual([false, "running", []]);
  });
});

describe("of a running task, frame pointers", () => {
  // Verdicts by place, over a stretch of the run.
  const places = new Map<string, Set<ScoreVerdict>>();
  beforeAll(() => {
    const s = session(2);
    const from = s.machine.retired;
    for (let i = 1; i <= 12_000; i++) {
      s.run(from + i);
      for (const vcpu of [0, 1]) {
        const walked = walkRunning(s.machine, s.image, UNWINDERS.fp, vcpu);
        if (walked === undefined) continue;
        const at = symbolAt(s.image, s.machine.reg(vcpu, "rip"));
        const key = `${at?.name}+0x${at?.offset.toString(16)}`;
        const set = places.get(key) ?? new Set();
        places.set(key, set.add(judgeTrace(walked.trace, walked.truth)));
      }
    }
  });
  const at = (place: string): readonly ScoreVerdict[] => [...(places.get(place) ?? [])];

  test("skip the caller at the first instruction, after the fentry site and before the mov", () => {
    expect(at("xfer_queue+0x0")).toEqual(["skipped"]);
    expect(at("xfer_queue+0x5")).toEqual(["skipped"]);
    expect(at("xfer_queue+0x6")).toEqual(["skipped"]);
  });

  test("are exact from the mov on, while registers are pushed too", () => {
    expect(at("xfer_queue+0x9")).toEqual(["exact"]);
    expect(at("xfer_submit+0x9")).toEqual(["exact"]);
    expect(at("xfer_submit+0xa")).toEqual(["exact"]);
  });

  test("skip the caller between pop and ret", () => {
    const ret = [...places.keys()].find((k) => k.startsWith("xfer_queue+0x2d"));
    const last = [...places.entries()].filter(([k]) => k.startsWith("xfer_queue+"));
    expect(last.some(([, v]) => v.has("skipped"))).toBe(true);
    if (ret !== undefined) expect(at(ret)).toEqual(["skipped"]);
  });

  test("refuse in the system call's entry, where rbp is the user's or zero", () => {
    expect(at("entry_SYSCALL_64+0x0")).toEqual(["refused"]);
    expect(at("do_syscall_64+0x0")).toEqual(["refused"]);
  });
});

test("the stacks of every task are shown with the truth", () => {
  const stacks = showStacks(runOf(1, 1500), [UNWINDERS.fp]);
  expect(stacks.map((s) => s.comm)).toContain("patchd");
  const patchd = stacks.find((s) => s.comm === "patchd");
  expect(patchd?.truth.map((f) => f.symbol.replace(/\+.*/, ""))).toEqual([
    "__schedule",
    "schedule",
    "schedule_timeout",
    "patch_call",
    "patchd",
    "kthread",
    "ret_from_fork",
    "ret_from_fork_asm",
  ]);
  expect(patchd?.unwound[0]?.frames).toEqual(patchd?.truth);
});

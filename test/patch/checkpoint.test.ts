// When a task counts as gathered: it holds nothing, and no CPU and no run queue holds it.
import { describe, expect, it } from "vitest";
import { TASK_STATE } from "../../src/kernel/index.ts";
import { isGathered } from "../../src/patch/checkpoint.ts";

type GatheredTask = Parameters<typeof isGathered>[0];

const { CHECKPOINT, DEAD, FROZEN, PARKED, INTERRUPTIBLE, UNINTERRUPTIBLE } = TASK_STATE;

function task(is: Partial<GatheredTask>): GatheredTask {
  return {
    va: 0n,
    pid: 1,
    comm: "task",
    state: 0,
    flags: 0n,
    cpu: 0,
    onCpu: false,
    onRq: false,
    isKthread: true,
    isIdle: false,
    isExiting: false,
    isFreezable: false,
    isListed: true,
    stack: { lo: 0n, hi: 0n },
    sp: 0n,
    ptRegsVa: 0n,
    checkpointed: false,
    parked: false,
    patchState: -1,
    restartFn: 0n,
    kthreadFlags: 0,
    syscalls: 0,
    nvcsw: 0,
    ...is,
  };
}

const parked = { state: PARKED, parked: true };
const queued = { isKthread: false, state: CHECKPOINT, checkpointed: true };

describe("a task is gathered", () => {
  it("when it is parked, frozen, queued at the checkpoint, or dead", () => {
    for (const t of [parked, { state: FROZEN }, queued, { state: DEAD }]) {
      expect(isGathered(task(t))).toBe(true);
    }
  });

  it("not while a CPU runs it, nor when it was preempted with its state set: it is on its way", () => {
    for (const t of [parked, { state: FROZEN }, queued, { state: DEAD }]) {
      expect(isGathered(task({ ...t, onCpu: true }))).toBe(false);
      expect(isGathered(task({ ...t, onRq: true }))).toBe(false);
    }
  });

  it("not by an acknowledgement of before, nor by a state that was not acknowledged", () => {
    for (const t of [
      { state: PARKED },
      { parked: true, state: INTERRUPTIBLE },
      { isKthread: false, state: CHECKPOINT },
      { ...queued, state: UNINTERRUPTIBLE },
      { isKthread: false, state: FROZEN },
    ]) {
      expect(isGathered(task(t))).toBe(false);
    }
  });
});

// Waiting until every task has been where it can hold no address of generated code: a voluntary switch, or user mode.
// kernel: kernel/rcu/tasks.h, synchronize_rcu_tasks(). DIFFERS: whoever waits looks himself, a tick apart.
import { call, look, readTasks, symbolVa, withLock, type Program } from "../kernel/index.ts";
import type { Image } from "../link/index.ts";

/** What a real kernel spends on a task on its list. */
const COST_PER_TASK = 8;

interface Holdout {
  readonly va: bigint;
  readonly nvcsw: number;
}

/** rcu_tasks_is_holdout(): a task that is on no run queue sleeps of its own will. */
function* holdouts(image: Image): Program<readonly Holdout[]> {
  return yield* withLock(
    symbolVa(image, "tasklist_lock"),
    look("tasklist_lock", (g) => {
      const patchd = g.read(symbolVa(image, "patchd_task"), 8);
      const self = new DataView(patchd.buffer, patchd.byteOffset).getBigUint64(0, true);
      const tasks = readTasks(g.read, image).filter((t) => t.isListed || t.isExiting);
      const value = tasks
        .filter((t) => t.onRq && !t.isIdle && t.va !== self)
        .map((t) => ({ va: t.va, nvcsw: t.nvcsw }));
      return { value, cost: tasks.length * COST_PER_TASK };
    }),
  );
}

/**
 * Returns when nobody is in a callback, or in a trampoline that calls it, any more who was there at the call: with preemption
 * off, in an interrupt, or preempted. kernel: kernel/trace/ftrace.c, ftrace_shutdown()
 */
export function* synchronizeCallbacks(image: Image): Program<void> {
  yield* call("schedule_on_each_cpu", symbolVa(image, "rcu_tasks_be_rude"));
  yield* synchronizeRcuTasks(image);
}

/** Returns when every task that was preempted or running at the call has switched voluntarily or been in user mode. */
export function* synchronizeRcuTasks(image: Image): Program<void> {
  let waiting = yield* holdouts(image);
  while (waiting.length > 0) {
    yield* call("schedule_timeout_uninterruptible", 1n);
    const now = yield* holdouts(image);
    waiting = waiting.filter((h) => now.some((n) => n.va === h.va && n.nvcsw === h.nvcsw));
  }
}

// The patching checkpoint from the mechanisms' side: who has to come to it, who has come, and the two policies of the one
// piece of guest code in kernels/base/checkpoint.S. Under "queue" a task waits there until it is let go (simple); under "pass"
// it clears its flag and goes on (kgraft). The fake signal that makes it come is the same.
import {
  call,
  CONSTANTS,
  look,
  readRunQueues,
  readTasks,
  readUint,
  stateName,
  symbolVa,
  TASK_STATE,
  TIF,
  withLock,
  writeWord,
  type GuestView,
  type Program,
  type Seen,
  type Task,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";

export type CheckpointPolicy = "queue" | "pass";

/** Everybody who has to come. */
export interface Crowd {
  readonly users: readonly Task[];
  readonly kthreads: readonly Task[];
}

/** Reading a task's state and flags costs a real kernel a few loads. */
export const LOOK_COST_PER_TASK = 12;

const FLAG = 1n << BigInt(TIF.CHECKPOINT);

/** The task has been asked to come and has not been there yet. */
export function isFlagged(t: Task): boolean {
  return (t.flags & FLAG) !== 0n;
}

/**
 * Under "queue": a task holds no kernel state. The acknowledgement alone can be that of an earlier request; and a task that
 * is on its run queue was preempted on its way to sleep, or out of it. kernel: kernel/sched/core.c, wait_task_inactive()
 */
export function isGathered(t: Task): boolean {
  if (t.onCpu || t.onRq) return false;
  if (t.state === TASK_STATE.DEAD) return true;
  if (t.isKthread && t.state === TASK_STATE.FROZEN) return true;
  return t.isKthread
    ? t.parked && t.state === TASK_STATE.PARKED
    : t.checkpointed && t.state === TASK_STATE.CHECKPOINT;
}

/** All tasks but the idle tasks, the stoppers, and patchd, who asks. */
export function readCrowd(g: GuestView): Crowd {
  const exempt = new Set(readRunQueues(g.read, g.image).flatMap((q) => [q.stop, q.idle]));
  exempt.add(readUint(g.read, symbolVa(g.image, "patchd_task"), 8));
  const tasks = readTasks(g.read, g.image).filter((t) => !t.isIdle && !exempt.has(t.va));
  return { users: tasks.filter((t) => !t.isKthread), kthreads: tasks.filter((t) => t.isKthread) };
}

export function crowdCost(c: Crowd): number {
  return (c.users.length + c.kthreads.length) * LOOK_COST_PER_TASK;
}

/** What a look takes from a task: plain values, since an answer is kept until the request is over. */
export interface Member {
  readonly va: bigint;
  readonly pid: number;
  readonly comm: string;
  readonly state: number;
  readonly isKthread: boolean;
  readonly isExiting: boolean;
  readonly isFreezable: boolean;
  readonly isFlagged: boolean;
  readonly checkpointed: boolean;
}

export function memberOf(t: Task): Member {
  const { va, pid, comm, state, isKthread, isExiting, isFreezable, checkpointed } = t;
  return {
    va,
    pid,
    comm,
    state,
    isKthread,
    isExiting,
    isFreezable,
    isFlagged: isFlagged(t),
    checkpointed,
  };
}

/**
 * A look at the crowd with the task list held still; `of` says what of it is wanted, `seen` who is told of as standing in the
 * way.
 */
export function* lookAtCrowd<T>(
  image: Image,
  of: (c: Crowd) => T,
  seen: (value: T) => readonly Seen[] = () => [],
): Program<T> {
  return yield* withLock(
    symbolVa(image, "tasklist_lock"),
    look("tasklist_lock", (g) => {
      const c = readCrowd(g);
      const value = of(c);
      return { value, cost: crowdCost(c), seen: seen(value) };
    }),
  );
}

/** Says what a task does that comes; under "queue" new tasks inherit the request from here on. */
export function* openCheckpoint(image: Image, policy: CheckpointPolicy): Program<void> {
  const value =
    policy === "queue" ? CONSTANTS.CHECKPOINT_POLICY_QUEUE : CONSTANTS.CHECKPOINT_POLICY_PASS;
  yield* writeWord(symbolVa(image, "checkpoint_policy"), BigInt(value), 4);
  if (policy === "queue") yield* writeWord(symbolVa(image, "checkpoint_request"), 1n, 4);
}

/** Kernel threads that were asked to come, by what they were asked for. */
export interface Asked {
  readonly toPark: Set<bigint>;
  readonly toFreeze: Set<bigint>;
}

function* setFreezing(image: Image, on: boolean): Program<void> {
  const value = on ? 1n : 0n;
  for (const word of ["freezer_active", "pm_nosig_freezing"]) {
    yield* writeWord(symbolVa(image, word), value, 4);
  }
}

const NORMAL = BigInt(TASK_STATE.INTERRUPTIBLE | TASK_STATE.UNINTERRUPTIBLE);

/**
 * Asks a kernel thread to come: one that has said that it may be frozen has a place for it in its loop, and is woken again each
 * time, since it may be about to sleep; every other one is asked to park, which it looks for when it has said that it
 * sleeps. Not freeze_task(): that would freeze one that sleeps in TASK_FREEZABLE where it sleeps, with whatever it is in on its
 * stack, and the point is that it comes. kernel: kernel/power/process.c, try_to_freeze_tasks()
 */
export function* askKthread(image: Image, t: Member, asked: Asked): Program<void> {
  if (!t.isFreezable) {
    if (asked.toPark.has(t.va)) return;
    asked.toPark.add(t.va);
    yield* call("kthread_park_async", t.va);
    return;
  }
  if (asked.toFreeze.size === 0) yield* setFreezing(image, true);
  asked.toFreeze.add(t.va);
  yield* call("wake_up_state", t.va, NORMAL);
}

/** Lets everybody go: the request is withdrawn, and every thread that was asked is thawed or unparked. */
export function* closeCheckpoint(image: Image, asked: Asked): Program<void> {
  if (asked.toFreeze.size > 0) yield* setFreezing(image, false);
  for (const t of asked.toFreeze) yield* call("__thaw_task", t);
  yield* call("checkpoint_release");
  for (const t of asked.toPark) yield* call("kthread_unpark", t);
}

/** Who has not come, for a report. */
export function absent(tasks: readonly Member[]): readonly Seen[] {
  return tasks.map((t) => ({
    va: t.va,
    task: t.comm,
    pid: t.pid,
    reason: t.isKthread
      ? `has not ${t.isFreezable ? "frozen" : "parked"} (${stateName(t.state)})`
      : `has not come to the checkpoint (${stateName(t.state)})`,
    symbol: undefined,
    stack: [],
  }));
}

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
  type Task,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import type { Blocker } from "./mechanism.ts";

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
  readonly isFlagged: boolean;
  readonly checkpointed: boolean;
}

export function memberOf(t: Task): Member {
  const { va, pid, comm, state, isKthread, isExiting, checkpointed } = t;
  return { va, pid, comm, state, isKthread, isExiting, isFlagged: isFlagged(t), checkpointed };
}

/** A look at the crowd with the task list held still; `of` says what of it is wanted. */
export function* lookAtCrowd<T>(image: Image, of: (c: Crowd) => T): Program<T> {
  return yield* withLock(
    symbolVa(image, "tasklist_lock"),
    look("tasklist_lock", (g) => {
      const c = readCrowd(g);
      return { value: of(c), cost: crowdCost(c) };
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

/** Lets everybody go: the request is withdrawn, and every thread that was asked to park is unparked. */
export function* closeCheckpoint(asked: ReadonlySet<bigint>): Program<void> {
  yield* call("checkpoint_release");
  for (const t of asked) yield* call("kthread_unpark", t);
}

/** Who has not come, for a report. */
export function absent(tasks: readonly Member[]): readonly Blocker[] {
  return tasks.map((t) => ({
    task: t.comm,
    pid: t.pid,
    reason: t.isKthread
      ? `has not parked (${stateName(t.state)})`
      : `has not come to the checkpoint (${stateName(t.state)})`,
    symbol: undefined,
    stack: [],
  }));
}

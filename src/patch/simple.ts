// simple: Ingo Molnar's method. Every user task queues at the checkpoint, then every kernel thread parks; when all hold
// no kernel state, every CPU is stopped for the moment of writing, and then everybody is let go. If one does not come in
// time, nothing was written and everybody is let go all the same. No stack is walked to decide anything.
import { branchTo } from "../ftrace/index.ts";
import { call, log, look, stopMachine, write, type Program } from "../kernel/index.ts";
import {
  absent,
  closeCheckpoint,
  crowdCost,
  isFlagged,
  isGathered,
  lookAtCrowd,
  openCheckpoint,
  readCrowd,
  type Crowd,
} from "./checkpoint.ts";
import { outcome, type Mechanism, type Outcome, type Request, type Switched } from "./mechanism.ts";
import { loadModule, unloadModule } from "./module.ts";
import { quiescentSet } from "./quiescent-set.ts";

/** Virtual seconds from the request until everybody is let go with nothing done. */
export const SIMPLE_TIMEOUT_S = 15;

/** What is written at quiescence. */
type TextWrite = { readonly va: bigint; readonly bytes: Uint8Array };

function* enable(request: Request): Program<Outcome> {
  const { image, plan } = request;
  const never = new Set(quiescentSet(image));
  const touched = plan.functions.filter((f) => never.has(f.name));
  if (touched.length > 0) {
    const names = touched.map((f) => f.name).join(", ");
    return outcome("refused", `${names}: on a stack or running even when everything is quiescent`);
  }
  const short = plan.functions.find((f) => f.jumpVa + 5n > f.oldVa + BigInt(f.oldSize));
  if (short) return outcome("refused", `${short.name}: shorter than the 5 bytes of a jump`);
  yield* loadModule(image, plan);
  return yield* atQuiescence(
    request,
    plan.functions.map((f) => ({ va: f.jumpVa, bytes: branchTo("jmp", f.jumpVa, f.newVa) })),
    "patched",
  );
}

function* disable(request: Request): Program<Outcome> {
  const writes = request.plan.functions.map((f) => ({ va: f.jumpVa, bytes: f.oldBytes }));
  const done = yield* atQuiescence(request, writes, "restored");
  if (done.result === "applied") yield* unloadModule(request.image, request.plan);
  return done;
}

/** Gathers everybody, writes all or nothing, and lets everybody go. `done`: what was done, in a word. */
function* atQuiescence(
  { image, hz }: Request,
  writes: readonly TextWrite[],
  done: string,
): Program<Outcome> {
  yield* openCheckpoint(image, "queue");
  const parkAsked = new Set<bigint>();
  let c = yield* lookAtCrowd(image);
  for (let tick = 0; ; tick++) {
    const users = c.users.filter((t) => !isGathered(t));
    for (const t of users) {
      if (!isFlagged(t) && !t.checkpointed && !t.isExiting) {
        yield* call("checkpoint_notify", t.va);
      }
    }
    // A kernel thread may be serving a user task: threads are asked only when all user tasks have come.
    if (users.length === 0) {
      const threads = c.kthreads.filter((t) => !isGathered(t));
      for (const t of threads) {
        if (parkAsked.has(t.va)) continue;
        parkAsked.add(t.va);
        yield* call("kthread_park_async", t.va);
      }
      if (threads.length === 0) {
        const written = yield* stopMachine(writeIfQuiescent(writes));
        if (written) {
          yield* log(`simple: everybody is quiescent, ${done}`);
          yield* closeCheckpoint(parkAsked);
          return outcome("applied", `${done} at quiescence`, [], switchedOf(c));
        }
      }
    }
    if (tick >= SIMPLE_TIMEOUT_S * hz) break;
    yield* call("schedule_timeout_uninterruptible", 1n);
    c = yield* lookAtCrowd(image);
  }
  const blockers = absent([...c.users, ...c.kthreads].filter((t) => !isGathered(t)));
  yield* log(`simple: timeout, ${blockers.length} tasks did not come, nothing was ${done}`);
  yield* closeCheckpoint(parkAsked);
  return outcome("refused", "not everybody became quiescent in time", blockers);
}

function switchedOf(c: Crowd): readonly Switched[] {
  return [
    ...c.users.map((t) => ({ task: t.comm, pid: t.pid, how: "checkpoint" })),
    ...c.kthreads.map((t) => ({ task: t.comm, pid: t.pid, how: "park" })),
  ];
}

/** With every CPU stopped: looks once more, and writes all jumps or none. */
function* writeIfQuiescent(writes: readonly TextWrite[]): Program<boolean> {
  const still = yield* look("stop_machine", (g) => {
    const c = readCrowd(g);
    return { value: [...c.users, ...c.kthreads].every(isGathered), cost: crowdCost(c) };
  });
  if (!still) return false;
  for (const w of writes) yield* write(w.va, w.bytes);
  return true;
}

export const simple: Mechanism = {
  name: "simple",
  leaves: "kernel",
  switches: "kernel",
  summary: "parks everybody at checkpoints, one atomic write at quiescence, else nothing",
  enable,
  disable,
};

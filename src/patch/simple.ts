// simple: Ingo Molnar's method. Every user task queues at the checkpoint, then every kernel thread parks; when all hold
// no kernel state, every CPU is stopped for the moment of writing, and then everybody is let go. If one does not come in
// time, nothing was written and everybody is let go all the same. No stack is walked to decide anything; those of tasks that did
// not come are shown.
import {
  call,
  log,
  look,
  progress,
  readTask,
  stopMachine,
  symbolVa,
  TASK_STATE,
  withLock,
  write,
  type Program,
  type Seen,
  type Task,
} from "../kernel/index.ts";
import { formatAddress } from "../link/index.ts";
import { stackTraceSaveTskReliable, UNWINDERS, walkMemory } from "../unwind/index.ts";
import {
  absent,
  askKthread,
  closeCheckpoint,
  crowdCost,
  isGathered,
  lookAtCrowd,
  memberOf,
  openCheckpoint,
  readCrowd,
  type Asked,
  type Crowd,
  type Member,
} from "./checkpoint.ts";
import { compareCost, walkCost } from "./cost.ts";
import { outcome, type Mechanism, type Outcome, type Request, type Switched } from "./mechanism.ts";
import { findModule, insmodError, loadModule, unloadModule } from "./module.ts";
import { lastVariant, type PatchPlan } from "./plan.ts";
import { quiescentSet } from "./quiescent-set.ts";
import {
  findMismatch,
  jumpOf,
  overwrittenJump,
  runPreMismatches,
  tooShort,
  type Expected,
} from "./run-pre.ts";

/** Virtual seconds from the request until everybody is let go with nothing done. */
export const SIMPLE_TIMEOUT_S = 15;

/** Frames of a stack in the list of those that did not come. */
const MAX_SHOWN = 64;

/** What is written at quiescence. before: what has to be there then. */
type TextWrite = Expected & { readonly before: Uint8Array };

/**
 * The plan as it is on top of other patches: there is one jump over an entry, and the patch below has it. What is behind it
 * is what it always was.
 */
function overJumps(plan: PatchPlan, below: readonly PatchPlan[]): PatchPlan {
  const functions = plan.functions.map((f) => {
    const last = lastVariant(below, f.name);
    if (last === undefined) return f;
    const oldBytes = jumpOf(last.f).bytes;
    const oldText = f.oldText.slice();
    oldText.set(oldBytes, Number(f.jumpVa - f.oldVa));
    return { ...f, oldBytes, oldText };
  });
  return { ...plan, functions };
}

function* enable(request: Request): Program<Outcome> {
  const { image, below = [] } = request;
  const never = new Set(quiescentSet(image));
  const touched = request.plan.functions.filter((f) => never.has(f.name));
  if (touched.length > 0) {
    const names = touched.map((f) => f.name).join(", ");
    return outcome("refused", `${names}: on a stack or running even when everything is quiescent`);
  }
  const short = tooShort(request.plan);
  if (short) return outcome("refused", `${short.name}: shorter than the 5 bytes of a jump`);
  const plan = overJumps(request.plan, below);
  const failed = yield* loadModule(image, plan);
  if (failed !== 0) return outcome("refused", insmodError(plan, failed));
  // From before anybody can be in it the module stays.
  const mod = (yield* findModule(image, plan))?.va ?? 0n;
  yield* call("try_module_get", mod);
  const [wrong] = yield* runPreMismatches(plan);
  const done =
    wrong === undefined
      ? yield* atQuiescence(
          request,
          plan.functions.map((f) => ({ ...jumpOf(f), before: f.oldBytes })),
          "patched",
        )
      : outcome("refused", mismatched(wrong));
  if (done.result !== "applied") {
    yield* call("module_put", mod);
    yield* unloadModule(image, plan);
  }
  return done;
}

function mismatched(name: string): string {
  return `${name}: the running code is not the expected code`;
}

function* disable(request: Request): Program<Outcome> {
  const { image, below = [] } = request;
  const plan = overJumps(request.plan, below);
  const mod = yield* findModule(image, plan);
  if (mod === undefined) return outcome("refused", "the patch is not in force");
  const other = yield* overwrittenJump(plan);
  if (other !== undefined) {
    return outcome("refused", `${other.name}: the jump has been overwritten`);
  }
  const writes = plan.functions.map((f) => {
    const jump = jumpOf(f);
    return { ...jump, bytes: f.oldBytes, before: jump.bytes };
  });
  const done = yield* atQuiescence(request, writes, "restored");
  if (done.result !== "applied") return done;
  yield* call("module_put", mod.va);
  yield* unloadModule(image, plan);
  return done;
}

/** Gathers everybody, writes all or nothing, and lets everybody go. `done`: what was done, in a word. */
function* atQuiescence(
  request: Request,
  writes: readonly TextWrite[],
  done: string,
): Program<Outcome> {
  const { image, hz } = request;
  yield* openCheckpoint(image, "queue");
  const asked: Asked = { toPark: new Set(), toFreeze: new Set() };
  let c = yield* lookAtCrowd(image, missing);
  for (let tick = 0; ; tick++) {
    for (const t of c.users) {
      if (!t.isFlagged && !t.checkpointed && !t.isExiting) {
        yield* call("checkpoint_notify", t.va);
      }
    }
    // A kernel thread may be serving a user task: threads are asked only when all user tasks have come.
    if (c.users.length === 0) {
      for (const t of c.kthreads) yield* askKthread(image, t, asked);
      if (c.kthreads.length === 0) {
        const written = yield* stopMachine(writeIfQuiescent(writes));
        if (written !== "too early") {
          yield* closeCheckpoint(image, asked);
          if ("name" in written) return outcome("refused", mismatched(written.name));
          yield* log(`simple: everybody is quiescent, ${done}`);
          return outcome("applied", `${done} at quiescence`, [], written.for);
        }
      }
    }
    if (tick >= SIMPLE_TIMEOUT_S * hz) break;
    yield* call("schedule_timeout_uninterruptible", 1n);
    c = yield* lookAtCrowd(image, missing);
  }
  const blockers = yield* lookAtAbsent(request);
  const n = blockers.length;
  yield* log(
    `simple: timeout, ${n} ${n === 1 ? "task" : "tasks"} did not come, nothing was ${done}`,
  );
  for (const b of blockers) {
    yield* log(`simple: ${b.task}:${b.pid} ${b.reason}`);
    for (const ip of b.stack) {
      yield* log(`simple:  [<${ip.toString(16)}>] ${formatAddress(image, ip)}`);
    }
  }
  const refused = outcome("refused", "not everybody became quiescent in time", blockers);
  yield* progress(refused);
  yield* closeCheckpoint(image, asked);
  return refused;
}

/** Who has not come when the time is over, with the stacks of those that do not run: for the report, and for nothing else. */
function* lookAtAbsent({ image, plan, unwinder }: Request): Program<readonly Seen[]> {
  return yield* withLock(
    symbolVa(image, "tasklist_lock"),
    look("tasklist_lock", (g) => {
      const c = readCrowd(g);
      const { users, kthreads } = missing(c);
      const memory = walkMemory(g.read, image, [plan.module]);
      // No thread was asked to park as long as a user task was missing.
      const value = absent(users.length > 0 ? users : kthreads).map((b) => {
        const task = readTask(g.read, image, b.va);
        if (task.onCpu) return b;
        const rows = UNWINDERS[unwinder];
        const { frames } = stackTraceSaveTskReliable(rows, memory, task, MAX_SHOWN);
        return { ...b, stack: frames.map((f) => f.ip) };
      });
      const frames = value.reduce((n, b) => n + b.stack.length, 0);
      return { value, cost: crowdCost(c) + walkCost(value.length, frames), seen: value };
    }),
  );
}

/** Who is not gathered. */
interface Missing {
  readonly users: readonly Member[];
  readonly kthreads: readonly Member[];
}

function missing(c: Crowd): Missing {
  const of = (tasks: readonly Task[]): readonly Member[] =>
    tasks.filter((t) => !isGathered(t)).map(memberOf);
  return { users: of(c.users), kthreads: of(c.kthreads) };
}

function switchedOf(c: Crowd): readonly Switched[] {
  return [
    ...c.users.map((t) => ({ task: t.comm, pid: t.pid, how: "checkpoint" })),
    ...c.kthreads.map((t) => ({
      task: t.comm,
      pid: t.pid,
      how: t.state === TASK_STATE.FROZEN ? "freezer" : "park",
    })),
  ];
}

/** With every CPU stopped: looks once more, and writes all jumps or none. Answers for whom, or what is not what it has to be. */
function* writeIfQuiescent(
  writes: readonly TextWrite[],
): Program<{ readonly for: readonly Switched[] } | "too early" | Expected> {
  const { isStill, switched } = yield* look("stop_machine", (g) => {
    const c = readCrowd(g);
    const all = c.users.every(isGathered) && c.kthreads.every(isGathered);
    return {
      value: { isStill: all, switched: all ? switchedOf(c) : [] },
      cost: crowdCost(c),
    };
  });
  if (!isStill) return "too early";
  const wrong = yield* look("stop_machine", (g) => ({
    value: findMismatch(
      g.read,
      writes.map((w) => ({ ...w, bytes: w.before })),
    ),
    cost: compareCost(writes.length * 5),
  }));
  if (wrong !== undefined) return wrong;
  for (const w of writes) yield* write(w.va, w.bytes);
  return { for: switched };
}

export const simple: Mechanism = {
  name: "simple",
  leaves: "kernel",
  switches: "kernel",
  summary: "parks everybody at checkpoints, one atomic write at quiescence, else nothing",
  enable,
  disable,
};

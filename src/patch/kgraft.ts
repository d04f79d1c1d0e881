// kGraft: each task carries a flag for its universe and clears it when it passes the boundary, a kernel thread at an annotated
// point; a stub at every patched function asks for it. Nobody waits, no stack is looked at. When nobody is left in the old
// universe the stubs are made fast. kernel: SUSE's kernel/kgraft.c, kgr_modify_kernel().
import {
  ftraceLocation,
  freeFtraceOps,
  ftraceSetFilterIp,
  makeFtraceOps,
  readOpsList,
  registerFtraceFunction,
  unregisterFtraceFunction,
} from "../ftrace/index.ts";
import {
  call,
  fieldVa,
  FTRACE_CONSTANTS,
  FTRACE_OPS,
  KGR_PATCH_FUN,
  ERRNO,
  KLP_CONSTANTS,
  log,
  look,
  progress,
  readField,
  setBit,
  clearBit,
  sleep,
  symbolVa,
  TASK,
  TASK_STATE,
  TIF,
  writeField,
  writeWord,
  type Program,
  type Task,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import { isFlagged, lookAtCrowd, openCheckpoint, type Crowd } from "./checkpoint.ts";
import { outcome, type Mechanism, type Outcome, type Request, type Switched } from "./mechanism.ts";
import { loadModule, unloadModule } from "./module.ts";
import { patchName } from "./plan.ts";

/** Virtual seconds between two looks at who is left. */
export const KGRAFT_RECHECK_S = 2;

const {
  KGR_PATCH_SLOW: SLOW,
  KGR_PATCH_APPLIED: APPLIED,
  KGR_PATCH_REVERT_SLOW: REVERT_SLOW,
  KGR_PATCH_REVERTED: REVERTED,
} = KLP_CONSTANTS;

const FLAGS =
  FTRACE_CONSTANTS.FTRACE_OPS_FL_DYNAMIC |
  FTRACE_CONSTANTS.FTRACE_OPS_FL_IPMODIFY |
  FTRACE_CONSTANTS.FTRACE_OPS_FL_PERMANENT;

function* setState(funs: readonly bigint[], state: number): Program<void> {
  for (const f of funs) yield* writeField(KGR_PATCH_FUN, f, "state", BigInt(state));
}

/** Makes the kgr_patch_funs of a plan with their ftrace_ops, in state INIT. */
function* makeFuns({ image, plan }: Request): Program<readonly bigint[]> {
  const funs: bigint[] = [];
  for (const f of plan.functions) {
    const fun = yield* call("kzalloc", BigInt(KGR_PATCH_FUN.size));
    const ops = yield* makeFtraceOps(image, {
      func: symbolVa(image, "kgr_stub"),
      flags: FLAGS,
      private: fun,
    });
    yield* writeField(KGR_PATCH_FUN, fun, "new_code", f.newVa);
    yield* writeField(KGR_PATCH_FUN, fun, "old_addr", f.oldVa);
    yield* writeField(KGR_PATCH_FUN, fun, "ops", ops);
    funs.push(fun);
  }
  return funs;
}

function* opsOf(fun: bigint): Program<bigint> {
  return yield* look("private", (g) => ({
    value: readField(g.read, KGR_PATCH_FUN, fun, "ops"),
    cost: 0,
  }));
}

/** Installs the stubs; all or none. Answers 0 or an errno. */
function* install(image: Image, funs: readonly bigint[], olds: readonly bigint[]): Program<number> {
  for (const [i, fun] of funs.entries()) {
    const ops = yield* opsOf(fun);
    const site = yield* ftraceLocation(image, olds[i] ?? 0n);
    let error = site === undefined ? -ERRNO.ENOENT : 0;
    if (site !== undefined) error = yield* ftraceSetFilterIp(image, ops, site, false, false);
    if (error === 0) error = yield* registerFtraceFunction(image, ops);
    if (error === 0) continue;
    yield* uninstall(image, funs.slice(0, i));
    return error;
  }
  return 0;
}

function* uninstall(image: Image, funs: readonly bigint[]): Program<void> {
  for (const fun of funs) yield* unregisterFtraceFunction(image, yield* opsOf(fun));
}

function flagsVa(t: Task): bigint {
  return fieldVa(TASK, t.va, "TI_flags");
}

function everybody(c: Crowd): readonly Task[] {
  return [...c.users, ...c.kthreads];
}

/** kgr_handle_processes(): every task is in progress, the interrupts of every CPU are new from here on. */
function* markAll(image: Image): Program<void> {
  yield* call("schedule_on_each_cpu", symbolVa(image, "kgr_handle_irq_cpu"));
  for (const t of everybody(yield* lookAtCrowd(image))) {
    yield* setBit(flagsVa(t), TIF.CHECKPOINT);
  }
}

/** kgr_wakeup_kthreads(): so that those that sleep come to their annotated points. */
function* wakeKthreads(c: Crowd): Program<void> {
  for (const t of c.kthreads) yield* call("wake_up_state", t.va, BigInt(TASK_STATE.INTERRUPTIBLE));
}

/**
 * Whoever is still in the old universe. A task that is dead and off its CPU never passes the boundary again and counts as
 * gone, as in later versions.
 */
function left(c: Crowd): readonly Task[] {
  return everybody(c).filter((t) => isFlagged(t) && !(t.state === TASK_STATE.DEAD && !t.onCpu));
}

/** kgr_work_fn(): looks again until nobody is left; from the second look on with the fake signal. */
function* untilNobodyIsLeft({ image, hz }: Request): Program<readonly Switched[]> {
  const switched = new Map<number, Switched>();
  for (let round = 0; ; round++) {
    const c = yield* lookAtCrowd(image);
    for (const t of everybody(c)) {
      if (isFlagged(t) || switched.has(t.pid)) continue;
      switched.set(t.pid, { task: t.comm, pid: t.pid, how: t.isKthread ? "kthread" : "boundary" });
    }
    const remaining = left(c);
    if (remaining.length === 0) return [...switched.values()];
    const blockers = remaining.map((t) => ({
      task: t.comm,
      pid: t.pid,
      reason: t.isKthread ? "has not come to an annotated point" : "has not passed the boundary",
      symbol: undefined,
      stack: [],
    }));
    const reason = `${remaining.length} ${remaining.length === 1 ? "task is" : "tasks are"} left in the old universe`;
    yield* progress(outcome("stalled", reason, blockers, [...switched.values()]));
    if (round === 1) {
      yield* log("kgr still in progress after timeout, will keep trying every 2 seconds");
    }
    if (round > 0) {
      for (const t of remaining) if (!t.isKthread) yield* call("send_fake_signal", t.va);
      yield* wakeKthreads({ users: [], kthreads: remaining.filter((t) => t.isKthread) });
    }
    yield* sleep(KGRAFT_RECHECK_S * hz);
  }
}

/** kgr_modify_kernel(): from immutable to nobody left. `state`: of the slow stubs. */
function* modify(request: Request, install: () => Program<number>): Program<number> {
  const { image } = request;
  const immutable = symbolVa(image, "kgr_immutable");
  yield* openCheckpoint(image, "pass");
  yield* call("kgr_reset_irq");
  yield* writeWord(immutable, 1n, 4);
  const error = yield* install();
  if (error !== 0) {
    for (const t of everybody(yield* lookAtCrowd(image))) {
      yield* clearBit(flagsVa(t), TIF.CHECKPOINT);
    }
    yield* writeWord(immutable, 0n, 4);
    return error;
  }
  yield* markAll(image);
  // wmb(): everybody is marked before kgr_immutable is cleared.
  yield* writeWord(immutable, 0n, 4);
  yield* wakeKthreads(yield* lookAtCrowd(image));
  return 0;
}

function* enable(request: Request): Program<Outcome> {
  const { image, plan } = request;
  const name = patchName(plan.module.name);
  const unhookable = plan.functions.filter((f) => f.site === undefined);
  if (unhookable.length > 0) {
    return outcome(
      "refused",
      `${unhookable.map((f) => f.name).join(", ")}: no fentry site to hook`,
    );
  }
  yield* loadModule(image, plan);
  const funs = yield* makeFuns(request);
  yield* log(`kgr: applying patch '${name}'`);
  const error = yield* modify(request, function* () {
    yield* setState(funs, SLOW);
    return yield* install(
      image,
      funs,
      plan.functions.map((f) => f.oldVa),
    );
  });
  if (error !== 0) return outcome("failed", `the stubs could not be installed (${error})`);
  const switched = yield* untilNobodyIsLeft(request);
  yield* setState(funs, APPLIED);
  yield* log("kgr succeeded");
  return outcome("applied", "everybody passed the boundary", [], switched);
}

/** The kgr_patch_funs that stand behind the functions of a plan, found through the ftrace_ops in force. */
function* findFuns({ image, plan }: Request): Program<readonly bigint[]> {
  return yield* look("ftrace_lock", (g) => {
    const stub = symbolVa(image, "kgr_stub");
    const wanted = new Set(plan.functions.map((f) => f.newVa));
    const funs = readOpsList(g.read, image)
      .filter((o) => o.func === stub)
      .map((o) => readField(g.read, FTRACE_OPS, o.va, "private"))
      .filter((fun) => wanted.has(readField(g.read, KGR_PATCH_FUN, fun, "new_code")));
    return { value: funs, cost: 0 };
  });
}

function* disable(request: Request): Program<Outcome> {
  const { image, plan } = request;
  const funs = yield* findFuns(request);
  if (funs.length !== plan.functions.length) {
    return outcome("refused", "the patch is not in force");
  }
  yield* log(`kgr: reverting patch '${patchName(plan.module.name)}'`);
  yield* modify(request, function* () {
    yield* setState(funs, REVERT_SLOW);
    return 0;
  });
  const switched = yield* untilNobodyIsLeft(request);
  yield* uninstall(image, funs);
  yield* setState(funs, REVERTED);
  for (const fun of funs) {
    yield* freeFtraceOps(yield* opsOf(fun));
    yield* call("kfree", fun);
  }
  yield* unloadModule(image, plan);
  yield* log("kgr succeeded");
  return outcome("applied", "everybody passed the boundary", [], switched);
}

export const kgraft: Mechanism = {
  name: "kgraft",
  leaves: "kernel",
  switches: "thread",
  summary:
    "a flag for each task, a stub that asks for it; tasks pass through the boundary and go on",
  enable,
  disable,
};

// kGraft: each task carries a flag for its universe and clears it when it passes the boundary, a kernel thread at an annotated
// point; a stub at every patched function asks for it. Nobody waits, no stack is looked at. When nobody is left in the old
// universe the stubs are made fast. kernel: SUSE's kernel/kgraft.c, kgr_modify_kernel().
import {
  ftraceLocation,
  freeFtraceOps,
  ftraceSetFilterIp,
  makeFtraceOps,
  registerFtraceFunction,
  synchronizeCallbacks,
  unregisterFtraceFunction,
} from "../ftrace/index.ts";
import {
  call,
  fieldVa,
  FTRACE_CONSTANTS,
  FTRACE_OPS,
  KGR_PATCH,
  KGR_PATCH_FUN,
  ERRNO,
  KLP_CONSTANTS,
  log,
  look,
  progress,
  readField,
  readUint,
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
  type Read,
  type Seen,
  type Task,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import {
  isFlagged,
  lookAtCrowd,
  memberOf,
  openCheckpoint,
  type Crowd,
  type Member,
} from "./checkpoint.ts";
import { outcome, type Mechanism, type Outcome, type Request, type Switched } from "./mechanism.ts";
import { listAddTail, listDel, listEntries } from "./lists.ts";
import { findModule, insmodError, loadModule, unloadModule } from "./module.ts";

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

/** struct kgr_patch_fun in the guest. */
interface KgrFun {
  readonly va: bigint;
  readonly state: number;
  readonly newCode: bigint;
  readonly locName: bigint;
  readonly ops: bigint;
}

/** struct kgr_patch in the guest. */
interface KgrPatch {
  readonly va: bigint;
  readonly mod: bigint;
  readonly refs: number;
  readonly funs: readonly KgrFun[];
}

function readFun(read: Read, va: bigint): KgrFun {
  const f = (name: keyof typeof KGR_PATCH_FUN.fields): bigint =>
    readField(read, KGR_PATCH_FUN, va, name);
  return {
    va,
    state: Number(f("state")),
    newCode: f("new_code"),
    locName: f("loc_name"),
    ops: f("ops"),
  };
}

/** kgr_patches, the one that was applied first comes first. */
function readKgrPatches(read: Read, image: Image): readonly KgrPatch[] {
  return listEntries(read, symbolVa(image, "kgr_patches")).map((va) => ({
    va,
    mod: readField(read, KGR_PATCH, va, "mod"),
    refs: Number(readField(read, KGR_PATCH, va, "refs")),
    funs: Array.from({ length: Number(readField(read, KGR_PATCH, va, "nr_funs")) }, (_, i) =>
      readFun(read, funVa(va, i)),
    ),
  }));
}

function funVa(patch: bigint, i: number): bigint {
  return patch + BigInt(KGR_PATCH.size + i * KGR_PATCH_FUN.size);
}

/** kgr_in_progress_lock is held by whoever changes them: patchd alone. */
function* patches(image: Image): Program<readonly KgrPatch[]> {
  return yield* look("word", (g) => ({ value: readKgrPatches(g.read, image), cost: 0 }));
}

/** kgr_get_patch_fun(KGR_LAST_FINALIZED): the variant of a function that is in force for everybody, of another patch. */
function lastFinalized(all: readonly KgrPatch[], patch: bigint, locName: bigint) {
  return all
    .filter((p) => p.va !== patch)
    .flatMap((p) => p.funs)
    .findLast((f) => f.locName === locName && f.state === APPLIED);
}

function* setState(funs: readonly KgrFun[], state: number): Program<void> {
  for (const f of funs) yield* writeField(KGR_PATCH_FUN, f.va, "state", BigInt(state));
}

/** Makes the kgr_patch of a plan, its functions in state INIT, and puts it on the list. Undefined without memory. */
function* makePatch({ image, plan }: Request, mod: bigint): Program<KgrPatch | undefined> {
  const size = KGR_PATCH.size + plan.functions.length * KGR_PATCH_FUN.size;
  const va = yield* call("kzalloc", BigInt(size));
  if (va === 0n) return undefined;
  const all = yield* patches(image);
  yield* writeField(KGR_PATCH, va, "mod", mod);
  yield* writeField(KGR_PATCH, va, "nr_funs", BigInt(plan.functions.length));
  for (const [i, f] of plan.functions.entries()) {
    const fun = funVa(va, i);
    const below = lastFinalized(all, va, f.oldVa);
    yield* writeField(KGR_PATCH_FUN, fun, "new_code", f.newVa);
    yield* writeField(KGR_PATCH_FUN, fun, "loc_name", f.oldVa);
    yield* writeField(KGR_PATCH_FUN, fun, "loc_old", below?.newCode ?? f.oldVa);
    yield* writeField(KGR_PATCH_FUN, fun, "ops", below?.ops ?? 0n);
  }
  yield* listAddTail(fieldVa(KGR_PATCH, va, "list"), symbolVa(image, "kgr_patches"));
  return (yield* patches(image)).find((p) => p.va === va);
}

/** Makes a function's own stub the one that is called. Answers 0 or an errno. */
function* installOne(image: Image, fun: KgrFun): Program<number> {
  if (fun.ops !== 0n) {
    // The ops of the patch below: from this store on the slow stub of this one.
    yield* writeField(FTRACE_OPS, fun.ops, "private", fun.va);
    return 0;
  }
  const site = yield* ftraceLocation(image, fun.locName);
  if (site === undefined) return -ERRNO.ENOENT;
  const ops = yield* makeFtraceOps(image, {
    func: symbolVa(image, "kgr_stub"),
    flags: FLAGS,
    private: fun.va,
  });
  if (ops === 0n) return -ERRNO.ENOMEM;
  let error = yield* ftraceSetFilterIp(image, ops, site, false, false);
  if (error === 0) error = yield* registerFtraceFunction(image, ops);
  if (error === 0) yield* writeField(KGR_PATCH_FUN, fun.va, "ops", ops);
  else yield* freeFtraceOps(ops);
  return error;
}

/** Takes the stubs of a patch's functions away: the one of the patch below is in force again, or none. */
function* uninstall(image: Image, patch: bigint, funs: readonly KgrFun[]): Program<void> {
  const all = yield* patches(image);
  let isShared = false;
  for (const { ops, locName } of funs) {
    const below = lastFinalized(all, patch, locName);
    if (below !== undefined) {
      yield* writeField(FTRACE_OPS, ops, "private", below.va);
      isShared = true;
    } else if (ops !== 0n) {
      yield* unregisterFtraceFunction(image, ops);
      yield* freeFtraceOps(ops);
    }
  }
  // Who is in the stub of a function that goes has left it.
  if (isShared) yield* synchronizeCallbacks(image);
}

/** Installs the stubs of a patch; all or none. Answers 0 or an errno. */
function* install(image: Image, patch: KgrPatch): Program<number> {
  for (const [i, fun] of patch.funs.entries()) {
    const error = yield* installOne(image, fun);
    if (error === 0) continue;
    const done = (yield* patches(image)).find((p) => p.va === patch.va)?.funs.slice(0, i) ?? [];
    yield* setState(patch.funs, REVERTED);
    yield* uninstall(image, patch.va, done);
    return error;
  }
  return 0;
}

function* freePatch(patch: KgrPatch): Program<void> {
  yield* listDel(fieldVa(KGR_PATCH, patch.va, "list"));
  if (patch.mod !== 0n) yield* call("module_put", patch.mod);
  yield* call("kfree", patch.va);
}

function flagsVa(task: bigint): bigint {
  return fieldVa(TASK, task, "TI_flags");
}

function everybody(c: Crowd): readonly Task[] {
  return [...c.users, ...c.kthreads];
}

function everyVa(c: Crowd): readonly bigint[] {
  return everybody(c).map((t) => t.va);
}

/** kgr_handle_processes(): every task is in progress, the interrupts of every CPU are new from here on. */
function* markAll(image: Image): Program<void> {
  yield* call("schedule_on_each_cpu", symbolVa(image, "kgr_handle_irq_cpu"));
  for (const va of yield* lookAtCrowd(image, everyVa)) {
    yield* setBit(flagsVa(va), TIF.CHECKPOINT);
  }
}

/** kgr_wakeup_kthreads(): so that those that sleep come to their annotated points. */
function* wakeKthreads(kthreads: readonly bigint[]): Program<void> {
  for (const va of kthreads) yield* call("wake_up_process", va);
}

/**
 * Whoever is still in the old universe. A task that is dead and off its CPU never passes the boundary again and counts as
 * gone, as in later versions.
 */
function left(c: Crowd): readonly Task[] {
  return everybody(c).filter((t) => isFlagged(t) && !(t.state === TASK_STATE.DEAD && !t.onCpu));
}

function straggler(t: Member): Seen {
  const reason = t.isKthread ? "has not come to an annotated point" : "has not passed the boundary";
  return { va: t.va, task: t.comm, pid: t.pid, reason, symbol: undefined, stack: [] };
}

/** kgr_work_fn(): everybody is given time to leave the kernel; who is left at a look is told, and given as much again. */
function* untilNobodyIsLeft({ image, hz }: Request): Program<readonly Switched[]> {
  const switched = new Map<number, Switched>();
  for (let isFirst = true; ; isFirst = false) {
    yield* sleep(KGRAFT_RECHECK_S * hz);
    const { remaining, gone } = yield* lookAtCrowd(
      image,
      (c) => ({
        remaining: left(c).map(memberOf),
        gone: everybody(c)
          .filter((t) => !isFlagged(t) && !switched.has(t.pid))
          .map(memberOf),
      }),
      (looked) => looked.remaining.map(straggler),
    );
    for (const t of gone) {
      switched.set(t.pid, { task: t.comm, pid: t.pid, how: t.isKthread ? "kthread" : "boundary" });
    }
    if (remaining.length === 0) return [...switched.values()];
    const blockers = remaining.map(straggler);
    const reason = `${remaining.length} ${remaining.length === 1 ? "task is" : "tasks are"} left in the old universe`;
    yield* progress(outcome("stalled", reason, blockers, [...switched.values()]));
    if (isFirst) {
      yield* log("kgr still in progress after timeout, will keep trying every 2 seconds");
    }
    for (const t of remaining) if (!t.isKthread) yield* call("send_fake_signal", t.va);
    yield* wakeKthreads(remaining.filter((t) => t.isKthread).map((t) => t.va));
  }
}

/** kgr_modify_kernel(): from immutable to the wake-up of the kernel threads. `change` brings the slow stubs in. */
function* modify(
  { image }: Request,
  revert: boolean,
  change: () => Program<number>,
): Program<number> {
  const word = (name: string): bigint => symbolVa(image, name);
  yield* openCheckpoint(image, "pass");
  yield* call("kgr_reset_irq");
  yield* writeWord(word("kgr_revert"), revert ? 1n : 0n, 4);
  yield* writeWord(word("kgr_immutable"), 1n, 4);
  const error = yield* change();
  if (error !== 0) {
    for (const va of yield* lookAtCrowd(image, everyVa)) {
      yield* clearBit(flagsVa(va), TIF.CHECKPOINT);
    }
    yield* writeWord(word("kgr_immutable"), 0n, 4);
    return error;
  }
  yield* writeWord(word("kgr_in_progress"), 1n, 4);
  yield* markAll(image);
  // wmb(): everybody is marked before kgr_immutable is cleared.
  yield* writeWord(word("kgr_immutable"), 0n, 4);
  yield* wakeKthreads(yield* lookAtCrowd(image, (c) => c.kthreads.map((t) => t.va)));
  return 0;
}

/** kgr_finalize(), its end: another patch may be applied. */
function* finalized(image: Image): Program<void> {
  yield* writeWord(symbolVa(image, "kgr_in_progress"), 0n, 4);
  yield* log("kgr succeeded");
}

function* isInProgress(image: Image): Program<boolean> {
  return yield* look("word", (g) => ({
    value: readUint(g.read, symbolVa(image, "kgr_in_progress"), 4) !== 0n,
    cost: 0,
  }));
}

const NOT_FINALIZED = "another patching not yet finalized";
const REVERTED_ALREADY = "this one was already reverted";
const REFERENCED = "this patch is still referenced";

function* refuse(why: string): Program<Outcome> {
  yield* log(`kgr: can't patch, ${why}`);
  return outcome("refused", why);
}

/** kgr_refs_inc() and kgr_refs_dec(): what was applied before can be reverted only after. */
function* addRefs(all: readonly KgrPatch[], patch: bigint, by: bigint): Program<void> {
  for (const p of all) {
    if (p.va !== patch) yield* writeField(KGR_PATCH, p.va, "refs", BigInt(p.refs) + by);
  }
}

/** What a patch that replaces all others leaves without a successor. kgr_revert_replaced_funs() */
function dropped(all: readonly KgrPatch[], patch: KgrPatch): readonly KgrFun[] {
  const kept = new Set(patch.funs.map((f) => f.locName));
  const others = all.filter((p) => p.va !== patch.va).flatMap((p) => p.funs);
  return others.filter((f) => f.state === APPLIED && !kept.has(f.locName));
}

/** The stubs of what a replacing patch drops; nobody is in them when it returns. */
function* unhook(image: Image, gone: readonly KgrFun[]): Program<void> {
  for (const ops of new Set(gone.map((f) => f.ops))) {
    yield* unregisterFtraceFunction(image, ops);
    yield* freeFtraceOps(ops);
  }
}

/** kgr_replace_all(): nobody can come to the others any more, and their modules may go. */
function* replaceAll(image: Image, patch: KgrPatch): Program<void> {
  const others = (yield* patches(image)).filter((p) => p.va !== patch.va);
  for (const f of patch.funs) yield* writeField(KGR_PATCH_FUN, f.va, "loc_old", f.locName);
  for (const p of others) {
    yield* setState(p.funs, REVERTED);
    yield* freePatch(p);
  }
}

function* enable(request: Request): Program<Outcome> {
  const { image, plan, replace } = request;
  const name = plan.name;
  const unhookable = plan.functions.filter((f) => f.site === undefined);
  if (unhookable.length > 0) {
    const names = unhookable.map((f) => f.name).join(", ");
    return outcome("refused", `${names}: no fentry site to hook`);
  }
  const failed = yield* loadModule(image, plan);
  if (failed !== 0) return outcome("refused", insmodError(plan, failed));
  if (yield* isInProgress(image)) {
    yield* unloadModule(image, plan);
    return yield* refuse(NOT_FINALIZED);
  }
  const mod = (yield* findModule(image, plan))?.va ?? 0n;
  const patch = yield* makePatch(request, mod);
  if (patch === undefined) {
    yield* unloadModule(image, plan);
    return outcome("refused", `no memory for patch '${name}' (${-ERRNO.ENOMEM})`);
  }
  yield* call("try_module_get", mod);
  yield* log(`kgr: applying patch '${name}'`);
  const gone = replace === true ? dropped(yield* patches(image), patch) : [];
  const error = yield* modify(request, false, function* () {
    yield* setState(patch.funs, SLOW);
    const wrong = yield* install(image, patch);
    if (wrong !== 0) return wrong;
    // Straight back to the original, whatever lies between.
    for (const f of gone) yield* writeField(KGR_PATCH_FUN, f.va, "loc_old", f.locName);
    yield* setState(gone, REVERT_SLOW);
    return 0;
  });
  if (error !== 0) {
    yield* freePatch(patch);
    yield* unloadModule(image, plan);
    return outcome("failed", `the stubs could not be installed (${error})`);
  }
  const switched = yield* untilNobodyIsLeft(request);
  yield* setState(patch.funs, APPLIED);
  yield* unhook(image, gone);
  // Whoever has read SLOW still asks, and the next patch would answer him: he has left the stub. As in kgr_switch_fops(),
  // where the slow stub's ops goes.
  yield* synchronizeCallbacks(image);
  if (replace === true) yield* replaceAll(image, patch);
  yield* addRefs(yield* patches(image), patch.va, 1n);
  yield* finalized(image);
  return outcome("applied", "everybody passed the boundary", [], switched);
}

function* disable(request: Request): Program<Outcome> {
  const { image, plan } = request;
  const mod = (yield* findModule(image, plan))?.va;
  const patch = (yield* patches(image)).find((p) => p.mod === mod);
  if (mod === undefined || patch === undefined) return yield* refuse(REVERTED_ALREADY);
  if (patch.refs !== 0) return yield* refuse(REFERENCED);
  if (yield* isInProgress(image)) return yield* refuse(NOT_FINALIZED);
  yield* log(`kgr: reverting patch '${plan.name}'`);
  yield* modify(request, true, function* () {
    yield* setState(patch.funs, REVERT_SLOW);
    return 0;
  });
  const switched = yield* untilNobodyIsLeft(request);
  yield* uninstall(image, patch.va, patch.funs);
  yield* setState(patch.funs, REVERTED);
  yield* addRefs(yield* patches(image), patch.va, -1n);
  yield* freePatch(patch);
  yield* unloadModule(image, plan);
  yield* finalized(image);
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

// kpatch, the old core module: hook the functions' fentry sites with a handler that finds nothing, stop the machine,
// walk the stack of every thread, and if no patched function is on any of them publish the redirections. If one is, or if an
// NMI went through the handler meanwhile, all is taken back and the user's tool tries again.
// kernel: kpatch's kmod/core/core.c, kpatch_register(), kpatch_unregister(); the handler is kernels/base/kpatch.S.
// DIFFERS: the module stays loaded between two tries of the user's tool; no load and unload hooks; a stack that cannot be walked
// for sure is busy, where kpatch looks at what dump_trace() finds of it and misses what that does not find.
import {
  ftraceFreeFilter,
  ftraceSetFilterIp,
  registerFtraceFunction,
  unregisterFtraceFunction,
} from "../ftrace/index.ts";
import {
  call,
  cmpxchg,
  CONSTANTS,
  fieldVa,
  KPATCH_FUNC,
  log,
  progress,
  look,
  readField,
  readRunQueues,
  readTasks,
  readUint,
  sleep,
  stopMachine,
  symbolVa,
  write,
  writeField,
  writeWord,
  type GuestView,
  type Program,
  type Read,
  type Task,
} from "../kernel/index.ts";
import { formatAddress, symbolAt, type Image } from "../link/index.ts";
import {
  KPATCH_MAX_STACK_ENTRIES,
  stackTraceSaveRegs,
  stackTraceSaveTskReliable,
  UNWINDERS,
  walkMemory,
  type Memory,
  type UnwinderName,
} from "../unwind/index.ts";
import {
  isOwnStack,
  outcome,
  type Blocker,
  type Mechanism,
  type Outcome,
  type Request,
  type Switched,
} from "./mechanism.ts";
import { walkCost } from "./cost.ts";
import { findModule, insmodError, loadModule, unloadModule } from "./module.ts";
import { patchName } from "./plan.ts";

/** How often the user's tool tries, and the virtual seconds between two tries. */
export const KPATCH_ATTEMPTS = 5;
export const KPATCH_RETRY_S = 2;

const {
  KPATCH_STATE_IDLE: IDLE,
  KPATCH_STATE_UPDATING: UPDATING,
  KPATCH_STATE_SUCCESS: SUCCESS,
  KPATCH_STATE_FAILURE: FAILURE,
  KPATCH_OP_NONE: NONE,
  KPATCH_OP_PATCH: PATCH,
  KPATCH_OP_UNPATCH: UNPATCH,
} = CONSTANTS;

/** struct kpatch_func in the guest. oldAddr: the fentry site. */
interface KpatchFunc {
  readonly va: bigint;
  readonly oldAddr: bigint;
  readonly newAddr: bigint;
  readonly newSize: number;
  readonly mod: bigint;
  readonly op: number;
}

/** Code that must be on no stack: the variant that is in force now. */
interface ActiveRange {
  readonly name: string;
  readonly lo: bigint;
  readonly size: number;
}

interface Checked {
  readonly blockers: readonly Blocker[];
  readonly frames: number;
  readonly tasks: readonly Switched[];
  /** An NMI went through the handler while the functions were being changed. */
  readonly nmi: boolean;
}

/** kpatch_func_hash, from the function that was added last. */
function readFuncs(read: Read, image: Image): readonly KpatchFunc[] {
  const out: KpatchFunc[] = [];
  const f = (va: bigint, name: keyof typeof KPATCH_FUNC.fields): bigint =>
    readField(read, KPATCH_FUNC, va, name);
  let va = readUint(read, symbolVa(image, "kpatch_func_hash"), 8);
  for (; va !== 0n; va = f(va, "next")) {
    out.push({
      va,
      oldAddr: f(va, "old_addr"),
      newAddr: f(va, "new_addr"),
      newSize: Number(f(va, "new_size")),
      mod: f(va, "mod"),
      op: Number(f(va, "op")),
    });
  }
  return out;
}

/** The functions under kpatch_mutex, which whoever changes them holds: patchd alone. */
function* lookAtFuncs(image: Image): Program<readonly KpatchFunc[]> {
  return yield* look("word", (g) => ({ value: readFuncs(g.read, image), cost: 0 }));
}

function* setOp(f: bigint, op: number): Program<void> {
  yield* writeField(KPATCH_FUNC, f, "op", BigInt(op));
}

function* setState(image: Image, state: number): Program<void> {
  yield* writeWord(symbolVa(image, "kpatch_state"), BigInt(state), 4);
}

/** kpatch_state_finish(): what it is when nobody was faster. */
function* finishState(image: Image, state: number): Program<number> {
  const was = yield* cmpxchg(symbolVa(image, "kpatch_state"), UPDATING, state);
  return was === UPDATING ? state : was;
}

/** hash_add_rcu(): the entry is complete before it can be found. */
function* hashAdd(image: Image, f: bigint): Program<void> {
  const head = symbolVa(image, "kpatch_func_hash");
  const first = yield* look("word", (g) => ({ value: readUint(g.read, head, 8), cost: 0 }));
  yield* writeField(KPATCH_FUNC, f, "next", first);
  yield* writeWord(head, f);
}

/** hash_del_rcu(): who stands on the entry can go on. */
function* hashDel(image: Image, f: bigint): Program<void> {
  const at = yield* look("word", (g) => {
    const all = readFuncs(g.read, image);
    const i = all.findIndex((x) => x.va === f);
    const before = all[i - 1];
    const link =
      before === undefined
        ? symbolVa(image, "kpatch_func_hash")
        : fieldVa(KPATCH_FUNC, before.va, "next");
    const next = readField(g.read, KPATCH_FUNC, f, "next");
    return { value: i < 0 ? undefined : { link, next }, cost: 0 };
  });
  if (at !== undefined) yield* writeWord(at.link, at.next);
}

/** synchronize_rcu(): no NMI that began before is in the handler any more. */
function* synchronize(image: Image): Program<void> {
  yield* call("schedule_on_each_cpu", symbolVa(image, "rcu_tasks_be_rude"));
}

function checkTask(
  g: GuestView,
  active: readonly ActiveRange[],
  unwinder: UnwinderName,
  memory: Memory,
  task: Task,
): Blocker | number {
  const rows = UNWINDERS[unwinder];
  const isSelf = isOwnStack(g, task);
  const trace = isSelf
    ? stackTraceSaveRegs(rows, memory, task, g.registers, KPATCH_MAX_STACK_ENTRIES)
    : stackTraceSaveTskReliable(rows, memory, task, KPATCH_MAX_STACK_ENTRIES);
  const stack = trace.frames.map((f) => f.ip);
  const hit = stack
    .map((ip) => active.find((f) => ip >= f.lo && ip < f.lo + BigInt(f.size)))
    .find((f) => f !== undefined);
  const blocker = (reason: string, symbol: string | undefined): Blocker => ({
    task: task.comm,
    pid: task.pid,
    reason,
    symbol,
    stack,
  });
  if (hit) return blocker("activeness safety check failed", hit.name);
  if (trace.error?.reason === "too_deep") {
    return blocker(`more than ${KPATCH_MAX_STACK_ENTRIES} trace entries!`, undefined);
  }
  if (isSelf ? !trace.complete : !trace.reliable) {
    const e = trace.error;
    const symbol = e === undefined || e.ip === 0n ? undefined : e.symbol;
    return blocker(`unreliable stack (${e?.reason ?? "incomplete"})`, symbol);
  }
  return stack.length;
}

/** The variants that are in force of the functions of a patch, and those that a replacing patch drops. */
function activeRanges(read: Read, { image, plan, replace }: Request): readonly ActiveRange[] {
  const funcs = readFuncs(read, image);
  const nameOf = (f: KpatchFunc): string => symbolAt(image, f.oldAddr)?.name ?? "";
  const range = (f: KpatchFunc): ActiveRange => ({
    name: nameOf(f),
    lo: f.newAddr,
    size: f.newSize,
  });
  const own = plan.functions.map((f): ActiveRange => {
    const active = funcs.find((x) => x.oldAddr === f.site);
    return active === undefined ? { name: f.name, lo: f.oldVa, size: f.oldSize } : range(active);
  });
  return replace === true ? [...own, ...funcs.filter((f) => f.op === UNPATCH).map(range)] : own;
}

/**
 * kpatch_verify_activeness_safety(): every thread, with the machine stopped. The other CPUs' stoppers stand in the same
 * loop as the one that checks, so its stack speaks for theirs.
 */
function verifyActivenessSafety(g: GuestView, request: Request): Checked {
  const { plan, unwinder } = request;
  const active = activeRanges(g.read, request);
  const stoppers = new Set(readRunQueues(g.read, g.image).map((q) => q.stop));
  const memory = walkMemory(g.read, g.image, [plan.module]);
  const blockers: Blocker[] = [];
  let frames = 0;
  const tasks: Switched[] = [];
  for (const task of readTasks(g.read, g.image)) {
    const isSelf = isOwnStack(g, task);
    if (stoppers.has(task.va) && !isSelf) continue;
    const r = checkTask(g, active, unwinder, memory, task);
    if (typeof r !== "number") blockers.push(r);
    if (isSelf) continue; // at hand already: nothing to charge, and nobody to switch
    tasks.push({ task: task.comm, pid: task.pid, how: "stack check" });
    frames += typeof r === "number" ? r : r.stack.length;
  }
  return { blockers, frames, tasks, nmi: false };
}

function* verify(request: Request): Program<Checked> {
  const checked = yield* look("stop_machine", (g) => {
    const value = verifyActivenessSafety(g, request);
    return { value, cost: walkCost(value.tasks.length, value.frames) };
  });
  if (checked.blockers.length > 0) {
    yield* finishState(request.image, FAILURE);
    yield* progress(outcome("stalled", "busy in an attempt", checked.blockers));
  }
  return checked;
}

/** Whether the change went through: not if an NMI was in the way. */
function* finish(image: Image, checked: Checked): Program<Checked> {
  if ((yield* finishState(image, SUCCESS)) !== FAILURE) return checked;
  yield* progress(outcome("stalled", "an NMI came in an attempt"));
  return { ...checked, nmi: true };
}

function isSafe(c: Checked): boolean {
  return c.blockers.length === 0 && !c.nmi;
}

/** kpatch_apply_patch(), in stop_machine: the new functions are added tentatively, and stay if no NMI came between. */
function* applyPatch(request: Request, funcs: readonly bigint[]): Program<Checked> {
  const { image } = request;
  const verified = yield* verify(request);
  if (!isSafe(verified)) return verified;
  for (const f of funcs) yield* hashAdd(image, f);
  // smp_wmb(): the hash before the state. Pairs with kpatch_ftrace_handler().
  const checked = yield* finish(image, verified);
  if (isSafe(checked)) return checked;
  yield* log("kpatch: NMI activeness safety check failed");
  for (const f of funcs) yield* hashDel(image, f);
  return checked;
}

/** kpatch_remove_patch(), in stop_machine. */
function* removePatch(request: Request, funcs: readonly bigint[]): Program<Checked> {
  const { image } = request;
  const verified = yield* verify(request);
  if (!isSafe(verified)) return verified;
  const checked = yield* finish(image, verified);
  if (isSafe(checked)) for (const f of funcs) yield* hashDel(image, f);
  return checked;
}

function* report(image: Image, checked: Checked): Program<void> {
  for (const b of checked.blockers) {
    const what = b.symbol === undefined ? b.reason : `${b.reason} for ${b.symbol}`;
    yield* log(`kpatch: ${what}`);
    yield* log(`kpatch: PID: ${b.pid} Comm: ${b.task.slice(0, 20)}`);
    for (const ip of b.stack) {
      yield* log(`kpatch:  [<${ip.toString(16)}>] ${formatAddress(image, ip)}`);
    }
  }
}

/** Tries as the user's tool does. An errno of a try ends it. */
function* attempts(
  { image, hz }: Request,
  tryOnce: () => Program<Checked | number>,
): Program<Checked | number> {
  for (let attempt = 1; ; attempt++) {
    const checked = yield* tryOnce();
    if (typeof checked === "number" || isSafe(checked)) return checked;
    yield* report(image, checked);
    if (attempt === KPATCH_ATTEMPTS) return checked;
    yield* sleep(KPATCH_RETRY_S * hz);
  }
}

function refusal(checked: Checked | number): Outcome {
  if (typeof checked === "number") {
    return outcome("refused", `the functions cannot be hooked (${checked})`);
  }
  if (!checked.nmi) {
    return outcome("refused", `busy in all of ${KPATCH_ATTEMPTS} attempts`, checked.blockers);
  }
  return outcome(
    "refused",
    `an NMI went through a function in the last of ${KPATCH_ATTEMPTS} attempts`,
  );
}

function opsVa(image: Image): bigint {
  return symbolVa(image, "kpatch_ftrace_ops");
}

/** kpatch_ftrace_add_func() of each site that nothing redirects yet: all or none. Answers 0 or a negative errno. */
function* addFuncs(image: Image, sites: readonly bigint[]): Program<number> {
  const known = yield* lookAtFuncs(image);
  const isFirst = known.length === 0;
  const added: bigint[] = [];
  let error = 0;
  for (const site of sites) {
    if (known.some((f) => f.oldAddr === site)) continue;
    error = yield* ftraceSetFilterIp(image, opsVa(image), site, false, false);
    if (error !== 0) break;
    added.push(site);
  }
  if (error === 0 && isFirst) error = yield* registerFtraceFunction(image, opsVa(image));
  if (error !== 0) yield* dropFilter(image, added, isFirst);
  return error;
}

function* dropFilter(image: Image, sites: readonly bigint[], isLast: boolean): Program<void> {
  if (isLast) yield* ftraceFreeFilter(opsVa(image));
  else for (const site of sites) yield* ftraceSetFilterIp(image, opsVa(image), site, true, false);
}

/** kpatch_ftrace_remove_func() of each site that nothing redirects any more. */
function* removeFuncs(image: Image, sites: readonly bigint[]): Program<void> {
  const known = yield* lookAtFuncs(image);
  const isLast = known.length === 0;
  const unused = sites.filter((site) => !known.some((f) => f.oldAddr === site));
  if (isLast) yield* unregisterFtraceFunction(image, opsVa(image));
  yield* dropFilter(image, unused, isLast);
}

/** One call of kpatch_register(). */
function* register(request: Request, funcs: readonly bigint[]): Program<Checked | number> {
  const { image, plan, replace } = request;
  const sites = plan.functions.map((f) => f.site ?? 0n);
  const error = yield* addFuncs(image, sites);
  if (error !== 0) return error;
  const dropped = replace === true ? yield* lookAtFuncs(image) : [];
  for (const f of funcs) yield* setOp(f, PATCH);
  for (const f of dropped) yield* setOp(f.va, UNPATCH);
  // smp_wmb(): the functions before the state.
  yield* setState(image, UPDATING);
  const checked = yield* stopMachine(applyPatch(request, funcs));
  if (isSafe(checked)) for (const f of dropped) yield* hashDel(image, f.va);
  // smp_wmb(): the hash before the state. NMIs are as everybody from here on.
  yield* setState(image, IDLE);
  yield* synchronize(image);
  if (isSafe(checked)) {
    for (const f of funcs) yield* setOp(f, NONE);
    yield* removeFuncs(
      image,
      dropped.map((f) => f.oldAddr),
    );
    yield* letGo(dropped);
  } else {
    for (const f of dropped) yield* setOp(f.va, NONE);
    yield* removeFuncs(image, sites);
  }
  return checked;
}

/** Functions that nobody can find any more, and the references on their modules. */
function* letGo(funcs: readonly KpatchFunc[]): Program<void> {
  for (const mod of new Set(funcs.map((f) => f.mod))) yield* call("module_put", mod);
  for (const f of funcs) yield* call("kfree", f.va);
}

function* makeFuncs({ plan }: Request, mod: bigint): Program<readonly bigint[]> {
  const funcs: bigint[] = [];
  for (const f of plan.functions) {
    const va = yield* call("kzalloc", BigInt(KPATCH_FUNC.size));
    const bytes = new Uint8Array(KPATCH_FUNC.size);
    const view = new DataView(bytes.buffer);
    const put = (field: keyof typeof KPATCH_FUNC.fields, value: bigint): void =>
      view.setBigUint64(KPATCH_FUNC.fields[field].offset, value, true);
    put("old_addr", f.site ?? 0n);
    put("new_addr", f.newVa);
    put("new_size", BigInt(f.newSize));
    put("mod", mod);
    yield* write(va, bytes);
    funcs.push(va);
  }
  return funcs;
}

/** What create-diff-object refuses: the patch is not even built. */
function unpatchable({ functions }: Request["plan"]): Outcome | undefined {
  const unhookable = functions.filter((f) => f.site === undefined);
  if (unhookable.length > 0) {
    const names = unhookable.map((f) => f.name).join(", ");
    return outcome("refused", `${names}: no fentry site to hook`);
  }
  const bare = functions.find((f) => !f.newHasFentry);
  return (
    bare && outcome("refused", `${bare.name}: the new function has no fentry to enter it behind`)
  );
}

function* enable(request: Request): Program<Outcome> {
  const { image, plan } = request;
  const never = unpatchable(plan);
  if (never !== undefined) return never;
  const failed = yield* loadModule(image, plan);
  if (failed !== 0) return outcome("refused", insmodError(plan, failed));
  const mod = (yield* findModule(image, plan))?.va ?? 0n;
  const funcs = yield* makeFuncs(request, mod);
  const checked = yield* attempts(request, () => register(request, funcs));
  if (typeof checked === "number" || !isSafe(checked)) {
    for (const f of funcs) yield* call("kfree", f);
    yield* unloadModule(image, plan);
    return refusal(checked);
  }
  yield* call("try_module_get", mod);
  yield* log(`kpatch: loaded patch module '${patchName(plan.module.name)}'`);
  return outcome("applied", "no patched function was on any stack", [], checked.tasks);
}

/** One call of kpatch_unregister(). */
function* unregister(request: Request, funcs: readonly KpatchFunc[]): Program<Checked> {
  const { image } = request;
  for (const f of funcs) yield* setOp(f.va, UNPATCH);
  yield* setState(image, UPDATING);
  const vas = funcs.map((f) => f.va);
  const checked = yield* stopMachine(removePatch(request, vas));
  yield* setState(image, IDLE);
  yield* synchronize(image);
  if (!isSafe(checked)) for (const f of funcs) yield* setOp(f.va, NONE);
  return checked;
}

function* disable(request: Request): Program<Outcome> {
  const { image, plan } = request;
  const mod = (yield* findModule(image, plan))?.va;
  const funcs = (yield* lookAtFuncs(image)).filter((f) => f.mod === mod);
  if (mod === undefined || funcs.length === 0)
    return outcome("refused", "the patch is not in force");
  const checked = yield* attempts(request, () => unregister(request, funcs));
  if (typeof checked === "number" || !isSafe(checked)) return refusal(checked);
  yield* removeFuncs(
    image,
    funcs.map((f) => f.oldAddr),
  );
  yield* letGo(funcs);
  yield* unloadModule(image, plan);
  yield* log(`kpatch: unloaded patch module '${patchName(plan.module.name)}'`);
  return outcome("applied", "no new function was on any stack", [], checked.tasks);
}

export const kpatch: Mechanism = {
  name: "kpatch",
  leaves: "patched set",
  switches: "kernel",
  summary: "stop_machine, a stack walk of every task, then redirection at the fentry sites",
  enable,
  disable,
};

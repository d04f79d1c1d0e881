// kpatch, the old core module: hook the functions' fentry sites with a handler that finds nothing, stop the machine,
// walk the stack of every thread, and if no patched function is on any of them publish the redirections. If one is, or if an
// NMI went through the handler meanwhile, all is taken back and the user's tool tries again.
// kernel: kpatch's kmod/core/core.c, kpatch_register(), kpatch_unregister(); the handler is kernels/base/kpatch.S.
// DIFFERS: the module stays loaded between two tries of the user's tool; a stack that cannot be walked
// for sure is busy, where kpatch looks at what dump_trace() finds of it and misses what that does not find.
import {
  ftraceFreeFilter,
  ftraceSetFilterIp,
  registerFtraceFunction,
  unregisterFtraceFunction,
} from "../ftrace/index.ts";
import {
  call,
  log,
  progress,
  look,
  readModule,
  sleep,
  stopMachine,
  symbolVa,
  type Program,
} from "../kernel/index.ts";
import { formatAddress, type Image } from "../link/index.ts";
import { outcome, type Mechanism, type Outcome, type Request } from "./mechanism.ts";
import { walkCost } from "./cost.ts";
import { callHooks, hooksOf } from "./hooks.ts";
import { verifyActivenessSafety, type Checked } from "./kpatch-check.ts";
import {
  FAILURE,
  finishState,
  hashAdd,
  hashDel,
  IDLE,
  lookAtFuncs,
  makeFuncs,
  NONE,
  PATCH,
  setOp,
  setState,
  SUCCESS,
  synchronize,
  UNPATCH,
  UPDATING,
  type KpatchFunc,
} from "./kpatch-funcs.ts";
import { findModule, insmodError, loadModule, unloadModule } from "./module.ts";
import { addTaint } from "./taint.ts";

/** How often the user's tool tries, and the virtual seconds between two tries. */
export const KPATCH_ATTEMPTS = 5;
export const KPATCH_RETRY_S = 2;

/** struct kpatch_load, kpatch_unload: the function, and the name of the object. */
const HOOK_SIZE = 16;

function* verify(request: Request): Program<Checked> {
  const checked = yield* look("stop_machine", (g) => {
    const value = verifyActivenessSafety(g, request);
    const cost = walkCost(value.tasks.length, value.frames);
    return { value, cost, seen: value.blockers };
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
  if (isSafe(checked)) {
    yield* callHooks(hooksOf(request.plan.module, ".kpatch.hooks.load", HOOK_SIZE));
    return checked;
  }
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
  if (!isSafe(checked)) return checked;
  for (const f of funcs) yield* hashDel(image, f);
  yield* callHooks(hooksOf(request.plan.module, ".kpatch.hooks.unload", HOOK_SIZE));
  return checked;
}

/** What kpatch_verify_activeness_safety() says: it ends at the first thread that is in the way. */
function* report(image: Image, checked: Checked): Program<void> {
  for (const b of checked.blockers.slice(0, 1)) {
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
    if (error !== 0) {
      yield* log(`kpatch: can't set ftrace filter at address 0x${site.toString(16)}`);
      break;
    }
    added.push(site);
  }
  if (error === 0 && isFirst) {
    error = yield* registerFtraceFunction(image, opsVa(image));
    if (error !== 0) yield* log("kpatch: can't register ftrace handler");
  }
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
  if (isSafe(checked)) {
    for (const f of dropped) yield* hashDel(image, f.va);
    for (const mod of new Set(dropped.map((f) => f.mod))) yield* sayUnloaded(mod);
  }
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

/** The patch is in force no more; its module may still be there. */
function* sayUnloaded(mod: bigint): Program<void> {
  const { name } = yield* look("word", (g) => ({ value: readModule(g.read, mod), cost: 0 }));
  yield* log(`kpatch: unloaded patch module '${name}'`);
}

/** Functions that nobody can find any more, and the references on their modules: not if somebody may still be in one. */
function* letGo(funcs: readonly KpatchFunc[]): Program<void> {
  const isForced = funcs.some((f) => f.force);
  for (const mod of isForced ? [] : new Set(funcs.map((f) => f.mod)))
    yield* call("module_put", mod);
  for (const f of funcs) yield* call("kfree", f.va);
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
  const funcs = yield* makeFuncs(plan, mod);
  const checked = yield* attempts(request, () => register(request, funcs));
  if (typeof checked === "number" || !isSafe(checked)) {
    for (const f of funcs) yield* call("kfree", f);
    yield* unloadModule(image, plan);
    return refusal(checked);
  }
  yield* call("try_module_get", mod);
  yield* addTaint(image, "TAINT_USER", "kpatch: tainting kernel with TAINT_USER");
  yield* log(`kpatch: loaded patch module '${plan.name}'`);
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
  yield* sayUnloaded(mod);
  yield* letGo(funcs);
  yield* unloadModule(image, plan); // where it is pinned, it stays
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

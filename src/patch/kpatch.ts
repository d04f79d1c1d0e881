// kpatch, the old core module: hook the functions' fentry sites with a handler that finds nothing, stop the machine,
// walk the stack of every thread, and if no patched function is on any of them publish the redirections. If one is, the
// hooks are taken back and the user's tool tries again. kernel: kpatch's kmod/core/core.c, kpatch_apply_patch().
// DIFFERS: the hash of patched functions is a short array.
import {
  ftraceFreeFilter,
  ftraceSetFilterIps,
  registerFtraceFunction,
  unregisterFtraceFunction,
} from "../ftrace/index.ts";
import {
  KPATCH_FUNC,
  log,
  progress,
  look,
  readRunQueues,
  readTasks,
  sleep,
  stopMachine,
  symbolVa,
  writeWord,
  type GuestView,
  type Program,
  type Task,
} from "../kernel/index.ts";
import { formatAddress, type Image } from "../link/index.ts";
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
  outcome,
  type Blocker,
  type Mechanism,
  type Outcome,
  type Request,
  type Switched,
} from "./mechanism.ts";
import { walkCost } from "./cost.ts";
import { loadModule, unloadModule } from "./module.ts";

/** How often the user's tool tries, and the virtual seconds between two tries. */
export const KPATCH_ATTEMPTS = 5;
export const KPATCH_RETRY_S = 2;

/** Code that must be on no stack: the variant that is in force now. */
interface ActiveRange {
  readonly name: string;
  readonly lo: bigint;
  readonly size: number;
}

/** One side of stop_machine: what must not be active, and what is written when it is not. */
interface Change {
  readonly active: readonly ActiveRange[];
  publish(): Program<void>;
}

interface Checked {
  readonly blockers: readonly Blocker[];
  readonly frames: number;
  readonly tasks: readonly Switched[];
}

/** The thread that checks: the only one that runs, and it knows its own registers. */
function isOwn(g: GuestView, task: Task): boolean {
  return g.registers.sp > task.stack.lo && g.registers.sp <= task.stack.hi;
}

function checkTask(
  g: GuestView,
  active: readonly ActiveRange[],
  unwinder: UnwinderName,
  memory: Memory,
  task: Task,
): Blocker | number {
  const rows = UNWINDERS[unwinder];
  const isSelf = isOwn(g, task);
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
    return blocker(`more than ${KPATCH_MAX_STACK_ENTRIES} trace entries`, undefined);
  }
  if (isSelf ? !trace.complete : !trace.reliable) {
    const e = trace.error;
    const symbol = e === undefined || e.ip === 0n ? undefined : e.symbol;
    return blocker(`unreliable stack (${e?.reason ?? "incomplete"})`, symbol);
  }
  return stack.length;
}

/**
 * kpatch_verify_activeness_safety(): every thread, with the machine stopped. The other CPUs' stoppers stand in the same
 * loop as the one that checks, so its stack speaks for theirs.
 */
function verifyActivenessSafety(
  g: GuestView,
  { plan, unwinder }: Request,
  active: readonly ActiveRange[],
): Checked {
  const stoppers = new Set(readRunQueues(g.read, g.image).map((q) => q.stop));
  const memory = walkMemory(g.read, g.image, [plan.module]);
  const blockers: Blocker[] = [];
  let frames = 0;
  const tasks: Switched[] = [];
  for (const task of readTasks(g.read, g.image)) {
    const isSelf = isOwn(g, task);
    if (stoppers.has(task.va) && !isSelf) continue;
    const r = checkTask(g, active, unwinder, memory, task);
    if (typeof r !== "number") blockers.push(r);
    if (isSelf) continue; // at hand already: nothing to charge, and nobody to switch
    tasks.push({ task: task.comm, pid: task.pid, how: "stack check" });
    frames += typeof r === "number" ? r : r.stack.length;
  }
  return { blockers, frames, tasks };
}

function* checkAndPublish(request: Request, change: Change): Program<Checked> {
  const checked = yield* look("stop_machine", (g) => {
    const value = verifyActivenessSafety(g, request, change.active);
    return { value, cost: walkCost(value.tasks.length, value.frames) };
  });
  if (checked.blockers.length === 0) yield* change.publish();
  else yield* progress(outcome("stalled", "busy in an attempt", checked.blockers));
  return checked;
}

/** kpatch_apply_patch(). */
function* addFuncs({ image, plan }: Request): Program<void> {
  const funcs = symbolVa(image, "kpatch_funcs");
  const at = (i: number, field: "old_addr" | "new_addr"): bigint =>
    funcs + BigInt(i * KPATCH_FUNC.size + KPATCH_FUNC.fields[field].offset);
  for (const [i, f] of plan.functions.entries()) {
    yield* writeWord(at(i, "old_addr"), f.site ?? 0n);
    yield* writeWord(at(i, "new_addr"), f.newVa);
  }
  // Pairs with kpatch_ftrace_handler: the entries are complete before the count says that they are there.
  yield* writeWord(symbolVa(image, "kpatch_nr_funcs"), BigInt(plan.functions.length), 4);
}

/** kpatch_remove_patch(). */
function* removeFuncs({ image }: Request): Program<void> {
  yield* writeWord(symbolVa(image, "kpatch_nr_funcs"), 0n, 4);
}

function* report(image: Image, blockers: readonly Blocker[]): Program<void> {
  for (const b of blockers) {
    yield* log(
      `kpatch: ${b.reason}${b.symbol === undefined ? "" : ` for ${b.symbol}`} (PID: ${b.pid} Comm: ${b.task}; ` +
        `${b.stack.map((ip) => formatAddress(image, ip)).join(" < ")})`,
    );
  }
}

/** Tries as the user's tool does, with `before` each try and `undo` after one that failed. */
function* attempts(
  request: Request,
  change: Change,
  around: { before?: () => Program<number>; undo?: () => Program<void> },
): Program<Checked | number> {
  const { image, hz } = request;
  for (let attempt = 1; ; attempt++) {
    const ret = around.before === undefined ? 0 : yield* around.before();
    if (ret !== 0) return ret;
    const checked = yield* stopMachine(checkAndPublish(request, change));
    if (checked.blockers.length === 0) return checked;
    yield* report(image, checked.blockers);
    if (around.undo !== undefined) yield* around.undo();
    if (attempt === KPATCH_ATTEMPTS) return checked;
    yield* sleep(KPATCH_RETRY_S * hz);
  }
}

function busy(checked: Checked | number): Outcome {
  if (typeof checked === "number") {
    return outcome("refused", `the functions cannot be hooked (${checked})`);
  }
  return outcome("refused", `busy in all of ${KPATCH_ATTEMPTS} attempts`, checked.blockers);
}

/** Hooks all sites with kpatch's own ops. Answers 0 or a negative errno: then nothing is hooked. */
function* hook({ image, plan }: Request): Program<number> {
  const ops = symbolVa(image, "kpatch_ftrace_ops");
  const sites = plan.functions.map((f) => f.site ?? 0n);
  const ret = yield* ftraceSetFilterIps(image, ops, sites, false, true);
  return ret === 0 ? yield* registerFtraceFunction(image, ops) : ret;
}

function* unhook({ image }: Request): Program<void> {
  yield* unregisterFtraceFunction(image, symbolVa(image, "kpatch_ftrace_ops"));
}

function* enable(request: Request): Program<Outcome> {
  const { image, plan } = request;
  const unhookable = plan.functions.filter((f) => f.site === undefined);
  if (unhookable.length > 0) {
    return outcome(
      "refused",
      `${unhookable.map((f) => f.name).join(", ")}: no fentry site to hook`,
    );
  }
  yield* loadModule(image, plan);
  const active = plan.functions.map((f) => ({ name: f.name, lo: f.oldVa, size: f.oldSize }));
  const checked = yield* attempts(
    request,
    { active, publish: () => addFuncs(request) },
    { before: () => hook(request), undo: () => unhook(request) },
  );
  if (typeof checked === "number" || checked.blockers.length > 0) return busy(checked);
  yield* log("kpatch: loaded patch module");
  return outcome("applied", "no patched function was on any stack", [], checked.tasks);
}

function* disable(request: Request): Program<Outcome> {
  const active = request.plan.functions.map((f) => ({
    name: f.name,
    lo: f.newVa,
    size: f.newSize,
  }));
  const checked = yield* attempts(request, { active, publish: () => removeFuncs(request) }, {});
  if (typeof checked === "number" || checked.blockers.length > 0) return busy(checked);
  yield* unhook(request);
  yield* ftraceFreeFilter(symbolVa(request.image, "kpatch_ftrace_ops"));
  yield* unloadModule(request.image, request.plan);
  yield* log("kpatch: unloaded patch module");
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

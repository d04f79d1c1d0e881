// ksplice, the forerunner: the running bytes must be the expected ones; then, with the machine stopped, every word of every
// stack that could be an address inside a function of the patch stands in the way; then a jump is written over each entry.
// Jeff Arnold, Frans Kaashoek, "Ksplice: Automatic Rebootless Kernel Updates"; its kmodsrc/ksplice.c. What it says is what the
// module says with its debug level set.
import {
  call,
  look,
  log,
  MODULE_CONSTANTS,
  progress,
  sleep,
  stopMachine,
  write,
  type Program,
} from "../kernel/index.ts";
import { scanCost } from "./cost.ts";
import { askHooks, callHooks, hooksOf } from "./hooks.ts";
import { checkEachTask, type Checked, type Conflict } from "./ksplice-check.ts";
import {
  outcome,
  type Blocker,
  type Mechanism,
  type Outcome,
  type Request,
  type Switched,
} from "./mechanism.ts";
import { findModule, insmodError, loadModule, unloadModule } from "./module.ts";
import { lastVariant, onTopOf, type PatchPlan } from "./plan.ts";
import { jumpOf, overwrittenJump, runPreMismatches, tooShort } from "./run-pre.ts";

/** How often it tries, and the virtual seconds between two tries. */
export const KSPLICE_ATTEMPTS = 5;
export const KSPLICE_RETRY_S = 1;

const JMP_SIZE = 5;

/** A word of abort_cause that a try may come to, or that it went through. */
type Status = Checked["status"] | "module_busy" | "call_failed";

/** What one try came to. `because`: in words, where it is not the stacks. */
interface Tried {
  readonly status: Status;
  readonly conflicts: readonly Conflict[];
  readonly blockers: readonly Blocker[];
  readonly tasks: readonly Switched[];
  readonly because?: string;
}

function failed(status: Status, because: string): Tried {
  return { status, conflicts: [], blockers: [], tasks: [], because };
}

/** enum ksplice_action, with what it is called in the sections of the hooks and in the log. */
interface Action {
  readonly name: "apply" | "reverse";
  readonly code: "replaced" | "reversed";
  readonly done: "insertion" | "removal";
  /** __apply_patches() or __reverse_patches(), in stop_machine. */
  run(): Program<Tried>;
}

/** An update: the request with its functions where they are now, and the modules. */
interface Update {
  readonly request: Request;
  readonly plan: PatchPlan;
  readonly kid: string;
  readonly mod: bigint;
  /** The modules of the updates whose functions it replaces. */
  readonly dependencies: readonly bigint[];
}

function hooks({ plan }: Update, name: string): readonly bigint[] {
  return hooksOf(plan.module, `.ksplice_call_${name}`);
}

function* say(text: string): Program<void> {
  yield* log(`ksplice: ${text}`);
}

/** The update of a plan whose module is loaded. */
function* updateOf(request: Request): Program<Update | undefined> {
  const { image, plan, below = [] } = request;
  const mod = yield* findModule(image, plan);
  if (mod === undefined) return undefined;
  const dependencies: bigint[] = [];
  const under = plan.functions.map((f) => lastVariant(below, f.name)?.plan);
  for (const p of new Set(under)) {
    const m = p === undefined ? undefined : yield* findModule(image, p);
    if (m !== undefined) dependencies.push(m.va);
  }
  return {
    request,
    plan: onTopOf(plan, below),
    kid: plan.name,
    mod: mod.va,
    dependencies,
  };
}

function* check({ request, plan }: Update): Program<Tried> {
  const checked = yield* look("stop_machine", (g) => {
    const value = checkEachTask(g, request.image, plan, request.below ?? []);
    return { value, cost: scanCost(value.words), seen: value.blockers };
  });
  if (checked.status !== "ok") {
    yield* progress(outcome("stalled", "busy in an attempt", checked.blockers));
  }
  return checked;
}

/** __apply_patches(). */
function* applyPatches(update: Update): Program<Tried> {
  const checked = yield* check(update);
  if (checked.status !== "ok") return checked;
  yield* call("try_module_get", update.mod);
  if (!(yield* askHooks(hooks(update, "check_apply")))) {
    yield* call("module_put", update.mod);
    return failed("call_failed", "a check_apply function of the patch refuses");
  }
  for (const f of update.plan.functions) yield* write(f.jumpVa, jumpOf(f).bytes);
  yield* callHooks(hooks(update, "apply"));
  return checked;
}

/** __reverse_patches(). */
function* reversePatches(update: Update): Program<Tried> {
  const { plan, mod, request } = update;
  const refs = (yield* findModule(request.image, plan))?.refcnt ?? 0;
  if (refs - MODULE_CONSTANTS.MODULE_REF_BASE !== 1) {
    return failed("module_busy", `update ${update.kid} is in use by another module`);
  }
  const checked = yield* check(update);
  if (checked.status !== "ok") return checked;
  const other = yield* overwrittenJump(plan);
  if (other !== undefined) {
    yield* say(`Aborted.  Trampoline at ${other.va.toString(16)} has been overwritten.`);
    return failed("code_busy", `${other.name}: the trampoline has been overwritten`);
  }
  if (!(yield* askHooks(hooks(update, "check_reverse")))) {
    return failed("call_failed", "a check_reverse function of the patch refuses");
  }
  yield* call("module_put", mod);
  yield* callHooks(hooks(update, "reverse"));
  for (const f of plan.functions) yield* write(f.jumpVa, f.oldBytes);
  return checked;
}

/** print_conflicts(): the task and the address that were found last come first. */
function* printConflicts(conflicts: readonly Conflict[]): Program<void> {
  for (const c of conflicts.toReversed()) {
    const addrs = c.addrs.toReversed().map(({ addr, hasConflict }) => {
      return ` ${addr.toString(16)}${hasConflict ? " [<-CONFLICT]" : ""}`;
    });
    yield* say(`stack check: pid ${c.pid} (${c.task}):${addrs.join("")}`);
  }
}

/** patch_action(). */
function* patchAction(update: Update, action: Action): Program<Tried> {
  const { kid } = update;
  let tried = failed("call_failed", `a pre_${action.name} function of the patch refuses`);
  if (yield* askHooks(hooks(update, `pre_${action.name}`))) {
    for (let i = 0; i < KSPLICE_ATTEMPTS; i++) {
      tried = yield* stopMachine(action.run());
      if (tried.status !== "code_busy") break;
      yield* sleep(KSPLICE_RETRY_S * update.request.hz);
    }
  }
  if (tried.status === "code_busy") {
    yield* printConflicts(tried.conflicts);
    yield* say(`Aborted ${kid}.  stack check: to-be-${action.code} code is busy.`);
  } else if (tried.status === "module_busy") {
    yield* say(`Update ${kid} is in use by another module`);
  }
  if (tried.status !== "ok") {
    yield* callHooks(hooks(update, `fail_${action.name}`));
    return tried;
  }
  yield* callHooks(hooks(update, `post_${action.name}`));
  yield* say(`Atomic patch ${action.done} for ${kid} complete`);
  return tried;
}

function refusal({ status, because, blockers }: Tried): Outcome {
  if (because !== undefined) return outcome("refused", because, blockers);
  if (status === "code_busy") {
    return outcome("refused", `busy in all of ${KSPLICE_ATTEMPTS} attempts`, blockers);
  }
  return outcome("refused", "a task runs that is not a stopper", blockers);
}

/** prepare_change(): run-pre matching. */
function* prepare({ plan }: Update): Program<Outcome | undefined> {
  const wrong = yield* runPreMismatches(plan);
  const [first] = wrong;
  if (first === undefined) return undefined;
  for (const name of wrong) yield* say(`run-pre: could not match text section ${name}`);
  yield* say("Aborted.  run-pre: could not match some sections.");
  yield* say("Continuing without some sections; we might find them later.");
  yield* say(`Failed to find ${first} for reloc`);
  yield* say("Aborted.  Unable to continue without the unmatched sections.");
  return outcome("refused", `${first}: the running code is not the expected code`);
}

/** apply_update(). */
function* apply(request: Request): Program<Outcome> {
  const update = yield* updateOf(request);
  if (update === undefined) throw new Error("a module that was just loaded is not on the list");
  const unmatched = yield* prepare(update);
  if (unmatched !== undefined) return unmatched;
  // add_dependency_on_address(): what a trampoline lies in stays.
  for (const m of update.dependencies) yield* call("try_module_get", m);
  const tried = yield* patchAction(update, {
    name: "apply",
    code: "replaced",
    done: "insertion",
    run: () => applyPatches(update),
  });
  if (tried.status !== "ok") {
    for (const m of update.dependencies) yield* call("module_put", m);
    return refusal(tried);
  }
  yield* say(`Update ${update.kid} applied successfully`);
  return outcome("applied", "atomic patch insertion complete", [], tried.tasks);
}

function* enable(request: Request): Program<Outcome> {
  const { image, plan, below = [] } = request;
  const short = tooShort(onTopOf(plan, below));
  if (short)
    return outcome("refused", `${short.name}: shorter than the ${JMP_SIZE} bytes of a jump`);
  const error = yield* loadModule(image, plan);
  if (error !== 0) return outcome("refused", insmodError(plan, error));
  const done = yield* apply(request);
  if (done.result !== "applied") yield* unloadModule(image, plan);
  return done;
}

/** reverse_update(). */
function* disable(request: Request): Program<Outcome> {
  const { image, plan } = request;
  const update = yield* updateOf(request);
  if (update === undefined) return outcome("refused", "the patch is not in force");
  yield* say(`Preparing to reverse ${update.kid}`);
  const tried = yield* patchAction(update, {
    name: "reverse",
    code: "reversed",
    done: "removal",
    run: () => reversePatches(update),
  });
  if (tried.status !== "ok") return refusal(tried);
  yield* say(`Update ${update.kid} reversed successfully`);
  for (const m of update.dependencies) yield* call("module_put", m);
  yield* unloadModule(image, plan);
  return outcome("applied", "atomic patch removal complete", [], tried.tasks);
}

export const ksplice: Mechanism = {
  name: "ksplice",
  leaves: "patched set",
  switches: "kernel",
  summary: "stop_machine, a scan of every word of every stack, then a jump over each entry",
  enable,
  disable,
};

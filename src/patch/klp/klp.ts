// klp as a mechanism: a patch of functions of the kernel, described by livepatch's structures in guest memory, enabled or
// disabled by the core, with the worker's rounds a virtual second apart until nobody remains.
import {
  call,
  CONSTANTS,
  KLP_FUNC,
  KLP_OBJECT,
  KLP_PATCH,
  progress,
  readField,
  readModules,
  readTasks,
  sleep,
  write,
  writeField,
  type GuestView,
  type Program,
} from "../../kernel/index.ts";
import { findModule, insmodError, loadModule, unloadModule } from "../module.ts";
import {
  outcome,
  type Mechanism,
  type Outcome,
  type Request,
  type Switched,
} from "../mechanism.ts";
import { enabledStore, klpEnablePatch, transitionWork, type Begun } from "./core.ts";
import { checkTask } from "./stack-check.ts";
import type { KlpSystem } from "./system.ts";
import { blockerOf, type Tried } from "./transition.ts";
import { readPatches, readTransition, see } from "./view.ts";

export function systemOf({ image, plan, hz, unwinder }: Request): KlpSystem {
  return {
    image,
    hz,
    unwinder,
    modules: (read) =>
      readModules(read, image)
        .filter((m) => m.name === plan.name)
        .map((m) => ({ va: m.va, name: m.name, image: plan.module })),
  };
}

function* copyString(text: string): Program<bigint> {
  const bytes = new TextEncoder().encode(`${text}\0`);
  const va = yield* call("kzalloc", BigInt(bytes.length));
  yield* write(va, bytes);
  return va;
}

/** Makes a klp_patch with one object, the kernel, of a plan's functions, for its module. Nobody knows it yet. */
export function* makePatch({ image, plan, replace }: Request): Program<bigint> {
  const mod = yield* findModule(image, plan);
  const nr = plan.functions.length;
  const funcs = yield* call("kzalloc", BigInt((nr + 1) * KLP_FUNC.size));
  for (const [i, f] of plan.functions.entries()) {
    const va = funcs + BigInt(i * KLP_FUNC.size);
    yield* writeField(KLP_FUNC, va, "old_name", yield* copyString(f.name));
    yield* writeField(KLP_FUNC, va, "new_func", f.newVa);
  }
  const objs = yield* call("kzalloc", BigInt(2 * KLP_OBJECT.size));
  yield* writeField(KLP_OBJECT, objs, "funcs", funcs);
  const patch = yield* call("kzalloc", BigInt(KLP_PATCH.size));
  yield* writeField(KLP_PATCH, patch, "name", yield* copyString(plan.name));
  yield* writeField(KLP_PATCH, patch, "objs", objs);
  yield* writeField(KLP_PATCH, patch, "mod", mod?.va ?? 0n);
  yield* writeField(KLP_PATCH, patch, "replace", replace === true ? 1n : 0n);
  return patch;
}

/** Gives back what makePatch made, when nobody knows it any more: in a kernel it is data of the patch's module. */
export function* freeMade(va: bigint): Program<void> {
  const made = yield* see((g) => {
    const objs = readField(g.read, KLP_PATCH, va, "objs");
    const first = readField(g.read, KLP_OBJECT, objs, "funcs");
    const strings = [readField(g.read, KLP_PATCH, va, "name")];
    for (let f = first; ; f += BigInt(KLP_FUNC.size)) {
      const name = readField(g.read, KLP_FUNC, f, "old_name");
      if (name === 0n) break;
      strings.push(name);
    }
    return [...strings, first, objs, va];
  });
  for (const object of made) yield* call("kfree", object);
}

/** The worker's rounds until nobody remains. */
function* complete(k: KlpSystem, begun: Begun, done: string): Program<Outcome> {
  const how = new Map<number, Switched>();
  const note = (tried: Tried): void => {
    for (const s of tried.switched)
      if (!how.has(s.pid) || s.how === "stack check") how.set(s.pid, s);
  };
  let tried = begun.tried;
  for (;;) {
    if (tried !== undefined) note(tried);
    if (tried === undefined || tried.remaining.length === 0) break;
    const blockers = tried.remaining.map(blockerOf);
    const reason = `${blockers.length} ${blockers.length === 1 ? "task remains" : "tasks remain"} to be switched`;
    yield* progress(outcome("stalled", reason, blockers, [...how.values()]));
    yield* sleep(k.hz);
    tried = yield* transitionWork(k);
  }
  return outcome("applied", done, [], [...how.values()]);
}

function* enable(request: Request): Program<Outcome> {
  const k = systemOf(request);
  const { image, plan } = request;
  const failed = yield* loadModule(image, plan, true);
  if (failed !== 0) return outcome("refused", insmodError(plan, failed));
  const made = yield* makePatch(request);
  const begun = yield* klpEnablePatch(k, made);
  if (begun.error !== 0) {
    yield* freeMade(made);
    yield* unloadModule(image, plan);
    return outcome("failed", `the patch could not be enabled (${begun.error})`);
  }
  return yield* complete(k, begun, "every task was switched");
}

function* disable(request: Request): Program<Outcome> {
  const k = systemOf(request);
  const name = request.plan.name;
  const made = yield* see((g) => readPatches(g.read, k.image).find((p) => p.name === name)?.va);
  const begun = yield* enabledStore(k, name, false);
  if (begun.error !== 0) {
    return outcome("failed", `the patch could not be disabled (${begun.error})`);
  }
  const done = yield* complete(k, begun, "every task was switched back");
  if (made !== undefined) yield* freeMade(made);
  yield* unloadModule(request.image, request.plan);
  return done;
}

/** klp_check_and_switch_task() of a task that looks at itself, in cond_resched. */
export function stackCheckOf(k: KlpSystem): (g: GuestView) => { value: number; cost: number } {
  return (g) => {
    const { patch, target } = readTransition(g.read, k.image);
    if (patch === 0n) return { value: -CONSTANTS.EINVAL, cost: 0 };
    const { value, cost } = checkTask(g, k, patch, target, taskAt(g));
    return { value: value.obstacle === undefined ? 0 : -CONSTANTS.EBUSY, cost };
  };
}

/** The task on whose stack a patch call was made. */
function taskAt(g: GuestView): bigint {
  const { sp } = g.registers;
  const task = readTasks(g.read, g.image).find((t) => sp > t.stack.lo && sp <= t.stack.hi);
  if (task === undefined) throw new Error("patch call: made on no task's stack");
  return task.va;
}

export const klp: Mechanism = {
  name: "klp",
  leaves: "patched set",
  switches: "thread",
  summary:
    "upstream livepatch: every task is switched on its own, by stack check or at the boundary",
  enable,
  disable,
  stackCheck: (request) => stackCheckOf(systemOf(request)),
};

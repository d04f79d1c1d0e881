// immediate: livepatch's null model. The functions are redirected by ftrace at once, for everybody, and no stack is looked at:
// an activation that has begun in an old function ends there. The second control: whole functions, and nothing more.
import {
  call,
  ERRNO,
  KLP_PATCH,
  readField,
  symbolVa,
  withMutex,
  type Program,
} from "../../kernel/index.ts";
import { outcome, type Mechanism, type Outcome, type Request } from "../mechanism.ts";
import { insmodError, loadModule, unloadModule } from "../module.ts";
import { initPatch, initPatchEarly } from "./core.ts";
import { freeMade, makePatch, systemOf } from "./klp.ts";
import { patchObject, unpatchObjects } from "./objects.ts";
import { freePatch } from "./replace.ts";
import type { KlpSystem } from "./system.ts";
import { readPatch, readPatches, see } from "./view.ts";

function* enable(request: Request): Program<Outcome> {
  const k = systemOf(request);
  // The module of before is still there when the patch was taken back.
  const failed = yield* loadModule(request.image, request.plan, true);
  if (failed !== 0 && failed !== -ERRNO.EEXIST) {
    return outcome("refused", insmodError(request.plan, failed));
  }
  const va = yield* makePatch(request);
  const error = yield* withMutex(symbolVa(k.image, "klp_mutex"), redirect(k, va));
  if (error === 0) return outcome("applied", "every function was redirected");
  yield* freeMade(va);
  yield* unloadModule(request.image, request.plan); // where it is in use, it stays
  return outcome("refused", `the functions could not be redirected (${error})`);
}

/** All functions or none. Answers 0 or an errno. */
function* redirect(k: KlpSystem, va: bigint): Program<number> {
  yield* call("try_module_get", yield* see((g) => readField(g.read, KLP_PATCH, va, "mod")));
  yield* initPatchEarly(va);
  let error = yield* initPatch(k, va);
  const { objects } = yield* see((g) => readPatch(g.read, va));
  for (const object of error === 0 ? objects : []) {
    error = yield* patchObject(k, object);
    if (error !== 0) break;
  }
  if (error !== 0) yield* freePatch(k, yield* see((g) => readPatch(g.read, va)));
  return error;
}

/** The module stays: somebody may still be in a new function, and nobody looks. */
function* disable(request: Request): Program<Outcome> {
  const k = systemOf(request);
  const name = request.plan.name;
  const done = yield* withMutex(
    symbolVa(k.image, "klp_mutex"),
    (function* (): Program<boolean> {
      const patch = yield* see((g) => readPatches(g.read, k.image).find((p) => p.name === name));
      if (patch === undefined) return false;
      yield* unpatchObjects(k, patch);
      yield* freePatch(k, patch);
      yield* freeMade(patch.va);
      return true;
    })(),
  );
  return done
    ? outcome("applied", "every function is its old self")
    : outcome("refused", "the patch is not in force");
}

export const immediate: Mechanism = {
  name: "immediate",
  leaves: "function",
  switches: "function",
  summary: "redirection by ftrace at once, no check: livepatch's null model, the second control",
  enable,
  disable,
};

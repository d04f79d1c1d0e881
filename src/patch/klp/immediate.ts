// immediate: livepatch's null model. The functions are redirected by ftrace at once, for everybody, and no stack is looked at:
// an activation that has begun in an old function ends there. The second control: whole functions, and nothing more.
import { symbolVa, withMutex, type Program } from "../../kernel/index.ts";
import { outcome, type Mechanism, type Outcome, type Request } from "../mechanism.ts";
import { loadModule } from "../module.ts";
import { patchName } from "../plan.ts";
import { initPatch, initPatchEarly } from "./core.ts";
import { freeMade, makePatch, systemOf } from "./klp.ts";
import { patchObject, unpatchObjects } from "./objects.ts";
import { freePatch } from "./replace.ts";
import { readPatch, readPatches, see } from "./view.ts";

function* enable(request: Request): Program<Outcome> {
  const k = systemOf(request);
  yield* loadModule(request.image, request.plan);
  const va = yield* makePatch(request);
  const error = yield* withMutex(
    symbolVa(k.image, "klp_mutex"),
    (function* (): Program<number> {
      yield* initPatchEarly(va);
      const failed = yield* initPatch(k, va);
      if (failed !== 0) return failed;
      for (const object of (yield* see((g) => readPatch(g.read, va))).objects) {
        const wrong = yield* patchObject(k, object);
        if (wrong !== 0) return wrong;
      }
      return 0;
    })(),
  );
  if (error !== 0) return outcome("refused", `the functions could not be redirected (${error})`);
  return outcome("applied", "every function was redirected");
}

/** The module stays: somebody may still be in a new function, and nobody looks. */
function* disable(request: Request): Program<Outcome> {
  const k = systemOf(request);
  const name = patchName(request.plan.module.name);
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

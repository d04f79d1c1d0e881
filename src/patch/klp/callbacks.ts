// The four callbacks of an object: functions of the patch, in guest code, with the klp_object as argument.
// kernel/livepatch/core.h
import {
  call,
  KLP_OBJECT,
  readField,
  writeField,
  type GuestView,
  type Program,
} from "../../kernel/index.ts";
import { see, type KlpObject } from "./view.ts";

type Callback = "pre_patch" | "post_patch" | "pre_unpatch" | "post_unpatch";

function* pointer(object: KlpObject, which: Callback): Program<bigint> {
  return yield* see((g: GuestView) => readField(g.read, KLP_OBJECT, object.va, which));
}

/** klp_pre_patch_callback(). Returns 0 or an errno; only after success there will be a post_unpatch. */
export function* callPrePatch(object: KlpObject): Program<number> {
  const fn = yield* pointer(object, "pre_patch");
  const error = fn === 0n ? 0 : Number(BigInt.asIntN(32, yield* call(fn, object.va)));
  yield* writeField(KLP_OBJECT, object.va, "post_unpatch_enabled", error === 0 ? 1n : 0n);
  return error;
}

export function* callPreUnpatch(object: KlpObject): Program<void> {
  const fn = yield* pointer(object, "pre_unpatch");
  if (fn !== 0n) yield* call(fn, object.va);
}

/** klp_post_patch_callback() or klp_post_unpatch_callback(). */
export function* callPost(what: "patch" | "unpatch", object: KlpObject): Program<void> {
  const fn = yield* pointer(object, what === "patch" ? "post_patch" : "post_unpatch");
  if (what === "patch") {
    if (fn !== 0n) yield* call(fn, object.va);
    return;
  }
  const isEnabled = yield* see(
    (g) => readField(g.read, KLP_OBJECT, object.va, "post_unpatch_enabled") !== 0n,
  );
  if (isEnabled && fn !== 0n) yield* call(fn, object.va);
  yield* writeField(KLP_OBJECT, object.va, "post_unpatch_enabled", 0n);
}

// The structures of livepatch as a running kernel has them, shared by the handler in kernels/base/livepatch.S, by patches
// written in assembly, and by the patch core. Names are those of include/linux/livepatch.h and kernel/livepatch/patch.h.
import { makeStruct } from "./struct.ts";

/**
 * struct klp_func. old_name, new_func and old_sympos are the patch's author's; the rest is the core's.
 *
 * DIFFERS: no kobject.
 */
// prettier-ignore
export const KLP_FUNC = makeStruct("klp_func", "KLPF", [
  ["old_name", 8],            // NUL-terminated; 0 ends a static array
  ["new_func", 8],
  ["old_sympos", 8],          // 0: the name must be unique
  ["old_func", 8],
  ["node", 16, 8],            // in klp_object.func_list
  ["stack_node", 16, 8],      // in klp_ops.func_stack
  ["old_size", 8],
  ["new_size", 8],
  ["nop", 1],
  ["patched", 1],
  ["transition", 1],
]);

/** struct klp_object, its klp_callbacks embedded. */
// prettier-ignore
export const KLP_OBJECT = makeStruct("klp_object", "KLPO", [
  ["name", 8],                // 0: vmlinux
  ["funcs", 8],               // static array; 0 ends a static array of objects
  ["pre_patch", 8],
  ["post_patch", 8],
  ["pre_unpatch", 8],
  ["post_unpatch", 8],
  ["post_unpatch_enabled", 1],
  ["func_list", 16, 8],
  ["node", 16, 8],            // in klp_patch.obj_list
  ["mod", 8],                 // struct module of the object, 0 while it is not loaded
  ["dynamic", 1],
  ["patched", 1],
]);

/** struct klp_state: a system state that a patch modifies. */
export const KLP_STATE = makeStruct("klp_state", "KLPS", [
  ["id", 8], // 0 ends an array
  ["version", 8],
  ["data", 8],
]);

/** struct klp_patch. DIFFERS: no kobject; the name is the module's, copied. */
// prettier-ignore
export const KLP_PATCH = makeStruct("klp_patch", "KLPP", [
  ["mod", 8],
  ["name", 8],                // mod->name
  ["objs", 8],                // static array
  ["states", 8],              // array, or 0
  ["replace", 1],
  ["list", 16, 8],            // in klp_patches
  ["obj_list", 16, 8],
  ["enabled", 1],
  ["forced", 1],
]);

/** struct klp_ops: everything that stands behind one patched function. A struct ftrace_ops follows it. */
export const KLP_OPS = makeStruct("klp_ops", "KLPOPS", [
  ["node", 16, 8], // in the list klp_ops
  ["func_stack", 16, 8],
]);

/** struct klp_shadow (kernel/livepatch/shadow.c); the data follow. */
export const KLP_SHADOW = makeStruct("klp_shadow", "KLPSH", [
  ["next", 8],
  ["obj", 8],
  ["id", 8],
]);

/** struct kgr_patch of kGraft. Its kgr_patch_funs follow it. */
// prettier-ignore
export const KGR_PATCH = makeStruct("kgr_patch", "KGRP", [
  ["list", 16, 8],            // in kgr_patches, in the order in which they were applied
  ["mod", 8],
  ["refs", 4],                // patches that were applied on top of it
  ["nr_funs", 4],
]);

/** struct kgr_patch_fun: one replaced function. The stub reads the topmost one through ftrace_ops.private. */
// prettier-ignore
export const KGR_PATCH_FUN = makeStruct("kgr_patch_fun", "KGRF", [
  ["state", 4],               // KGR_PATCH_*
  ["new_code", 8],
  ["loc_name", 8],            // the original
  ["loc_old", 8],             // the variant before: the original, or that of the patch below
  ["ops", 8],                 // of the original: all patches of it have it in common
]);

export const KLP_STRUCTS = [
  KLP_FUNC,
  KLP_OBJECT,
  KLP_STATE,
  KLP_PATCH,
  KLP_OPS,
  KLP_SHADOW,
  KGR_PATCH,
  KGR_PATCH_FUN,
];

/** Numbers that livepatch adds. HC_UPCALL enters the patch core from a function that it called. */
// prettier-ignore
export const KLP_CONSTANTS = {
  HC_UPCALL: 6, HC_KLP_CHECK_STACK: 7,
  UPCALL_KLP_ENABLE_PATCH: 1, UPCALL_REGISTER_KPROBE: 2, UPCALL_UNREGISTER_KPROBE: 3,
  KLP_SHADOW_HASH_BITS: 5,
  KGR_PATCH_INIT: 0, KGR_PATCH_SLOW: 1, KGR_PATCH_APPLIED: 2, KGR_PATCH_REVERT_SLOW: 3, KGR_PATCH_REVERTED: 4, KGR_PATCH_SKIPPED: 5,
} as const;

// What taints the kernel: the bits of tainted_mask and of a module's taints, and what is said when a bit is set for the first
// time. kernel: kernel/panic.c, add_taint(); kernel/module/main.c, module_augment_kernel_taints().
import {
  fieldVa,
  log,
  MODULE,
  MODULE_CONSTANTS,
  setBit,
  symbolVa,
  type Program,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";

export type Taint = "TAINT_USER" | "TAINT_OOT_MODULE" | "TAINT_LIVEPATCH";

/** taint_flags[].c_true of those that a module can have, in the order of their numbers. */
const LETTERS: readonly (readonly [Taint, string])[] = [
  ["TAINT_OOT_MODULE", "O"],
  ["TAINT_LIVEPATCH", "K"],
];

/** A module's taints in letters. kernel: kernel/module/main.c, module_flags_taint() */
export function moduleFlagsTaint(taints: bigint): string {
  const isSet = (taint: Taint): boolean =>
    ((taints >> BigInt(MODULE_CONSTANTS[taint])) & 1n) === 1n;
  return LETTERS.flatMap(([taint, letter]) => (isSet(taint) ? [letter] : [])).join("");
}

/** add_taint(). Says `first` if the kernel was not tainted so: a pr_notice_once(), or a test_taint() before. */
export function* addTaint(image: Image, taint: Taint, first: string): Program<void> {
  const was = yield* setBit(symbolVa(image, "tainted_mask"), MODULE_CONSTANTS[taint]);
  if (!was) yield* log(first);
}

/**
 * What loading a module does to the kernel, once it has its place in the list. A module that does not say that it is of the
 * kernel's own tree is not.
 *
 * mod  its struct module
 */
export function* moduleAugmentKernelTaints(
  image: Image,
  mod: bigint,
  info: { readonly name: string; readonly isLivepatch: boolean; readonly isInTree: boolean },
): Program<void> {
  const taints = fieldVa(MODULE, mod, "taints");
  if (!info.isInTree) {
    const said = `${info.name}: loading out-of-tree module taints kernel.`;
    yield* addTaint(image, "TAINT_OOT_MODULE", said);
    yield* setBit(taints, MODULE_CONSTANTS.TAINT_OOT_MODULE);
  }
  if (info.isLivepatch) {
    yield* setBit(taints, MODULE_CONSTANTS.TAINT_LIVEPATCH);
    const said = `${info.name}: tainting kernel with TAINT_LIVEPATCH`;
    yield* addTaint(image, "TAINT_LIVEPATCH", said);
  }
}

// Each mechanism's promise as data; docs/checks.md has the same in words. A promise is asked of the truth, never of the
// mechanism: what it looked at to come to its decision does not matter here.
import { CONSTANTS } from "../kernel/index.ts";
import { findSymbol, type Image } from "../link/index.ts";
import type { AgentWrite, PatchPlan } from "../patch/index.ts";

/**
 * A promise, by what switches at once.
 *
 * kernel    all: `commit` says which stores put the new functions in force, those into the windows or those of a value to a
 *           word, and the last one is the commit; isQuiescent: at it nothing but quiescent code is on the stack of any task
 *           that was gathered
 * thread    one task: before its switch it enters old functions, after it new ones
 * visit     as thread, and within one visit of a user task all functions are of one universe; interrupts have a switch
 *           of their own on each CPU
 * function  one function, at the last store into its window
 */
export type MechanismPromise =
  | { readonly scope: "nothing" }
  | {
      readonly scope: "kernel";
      readonly commit: "windows" | CommitWord;
      readonly isQuiescent: boolean;
    }
  | { readonly scope: "thread" }
  | { readonly scope: "visit" }
  | { readonly scope: "function" };

/** A word of the kernel, and the value that says that all is in force. */
export interface CommitWord {
  readonly symbol: string;
  readonly value: number;
}

/** Every mechanism's. A mechanism that has no row promises nothing. */
export const PROMISES: Readonly<Record<string, MechanismPromise>> = {
  naive: { scope: "nothing" },
  immediate: { scope: "function" },
  ksplice: { scope: "kernel", commit: "windows", isQuiescent: false },
  kpatch: {
    scope: "kernel",
    commit: { symbol: "kpatch_state", value: CONSTANTS.KPATCH_STATE_SUCCESS },
    isQuiescent: false,
  },
  kgraft: { scope: "visit" },
  simple: { scope: "kernel", commit: "windows", isQuiescent: true },
  klp: { scope: "thread" },
};

export function promiseOf(mechanism: string): MechanismPromise {
  return PROMISES[mechanism] ?? { scope: "nothing" };
}

/** Addresses that something was written to or lies at: [lo, hi). */
interface Range {
  readonly lo: bigint;
  readonly hi: bigint;
}

function overlaps(w: AgentWrite, r: Range): boolean {
  return w.va < r.hi && r.lo < w.va + BigInt(w.bytes.length);
}

/** Whether a store may be the one that puts the new functions in force. */
export function commitWrites(
  promise: MechanismPromise,
  image: Image,
  plan: PatchPlan,
): (w: AgentWrite) => boolean {
  if (promise.scope !== "kernel") return () => false;
  const { commit } = promise;
  if (commit !== "windows") {
    const word = findSymbol(image, commit.symbol)?.va;
    return (w) => w.va === word && w.bytes[0] === commit.value;
  }
  const ranges = plan.functions.map((f) => ({ lo: f.jumpVa, hi: f.jumpVa + 5n }));
  return (w) => ranges.some((r) => overlaps(w, r));
}

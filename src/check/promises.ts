// Each mechanism's promise as data; docs/checks.md has the same in words. A promise is asked of the truth, never of the
// mechanism: what it looked at to come to its decision does not matter here.
import { findSymbol, type Image } from "../link/index.ts";
import type { AgentWrite, PatchPlan } from "../patch/index.ts";

/**
 * A promise.
 *
 * commit      which stores put the new functions in force: into these kernel symbols, or into the windows; the last one
 *             is the commit. undefined: nothing is promised
 * isQuiescent at the commit nothing but quiescent code is on the stack of any task that was gathered
 */
export interface MechanismPromise {
  readonly commit: "windows" | readonly string[] | undefined;
  readonly isQuiescent: boolean;
}

/** Every mechanism's. A mechanism that has no row promises nothing. */
export const PROMISES: Readonly<Record<string, MechanismPromise>> = {
  naive: { commit: undefined, isQuiescent: false },
  kpatch: { commit: ["kpatch_funcs", "kpatch_nr_funcs"], isQuiescent: false },
  ksplice: { commit: "windows", isQuiescent: false },
  simple: { commit: "windows", isQuiescent: true },
};

const NOTHING: MechanismPromise = { commit: undefined, isQuiescent: false };

export function promiseOf(mechanism: string): MechanismPromise {
  return PROMISES[mechanism] ?? NOTHING;
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
  const { commit } = promise;
  if (commit === undefined) return () => false;
  const ranges =
    commit === "windows"
      ? plan.functions.map((f) => ({ lo: f.jumpVa, hi: f.jumpVa + 5n }))
      : commit.flatMap((name) => {
          const s = findSymbol(image, name);
          return s ? [{ lo: s.va, hi: s.va + s.size }] : [];
        });
  return (w) => ranges.some((r) => overlaps(w, r));
}

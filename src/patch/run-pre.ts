// Whether the running code is what a patch was made for: the whole old function before a jump is written over its entry,
// the jump itself before it is taken back. What ksplice calls run-pre matching. kernel: ksplice's kmodsrc/ksplice.c.
// DIFFERS: bytes are compared whole, not matched against the object with its relocations.
import { branchTo } from "../ftrace/index.ts";
import { look, type Program, type Read } from "../kernel/index.ts";
import { compareCost } from "./cost.ts";
import type { PatchedFunction, PatchPlan } from "./plan.ts";

/** Bytes that must be somewhere. */
export interface Expected {
  readonly name: string;
  readonly va: bigint;
  readonly bytes: Uint8Array;
}

/** The first of several that is not there. */
export function findMismatch(read: Read, expected: readonly Expected[]): Expected | undefined {
  return expected.find((e) => read(e.va, e.bytes.length).some((b, i) => b !== e.bytes[i]));
}

/** All of them that are not there, as a step of its own. */
function* lookForMismatches(expected: readonly Expected[]): Program<readonly Expected[]> {
  return yield* look("word", (g) => ({
    value: expected.filter((e) => findMismatch(g.read, [e]) !== undefined),
    cost: compareCost(expected.reduce((n, e) => n + e.bytes.length, 0)),
  }));
}

/** The old functions that are not as the patch expects them, by name. */
export function* runPreMismatches({ functions }: PatchPlan): Program<readonly string[]> {
  const wrong = yield* lookForMismatches(
    functions.map((f) => ({ name: f.name, va: f.oldVa, bytes: f.oldText })),
  );
  return wrong.map((e) => e.name);
}

/** What is over the entry of a function that a jump replaced. */
export function jumpOf(f: PatchedFunction): Expected {
  return { name: f.name, va: f.jumpVa, bytes: branchTo("jmp", f.jumpVa, f.newVa) };
}

/** The first jump of the patch that is not what was written. */
export function* overwrittenJump({ functions }: PatchPlan): Program<Expected | undefined> {
  return (yield* lookForMismatches(functions.map(jumpOf)))[0];
}

/** A function that has no room for a jump. */
export function tooShort({ functions }: PatchPlan): PatchedFunction | undefined {
  return functions.find((f) => f.jumpVa + 5n > f.oldVa + BigInt(f.oldSize));
}

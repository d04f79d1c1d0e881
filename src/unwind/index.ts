// The unwinders' door. A new unwinder is one file that answers rows, and one line in UNWINDERS.
import { FRAME_POINTER } from "./fp.ts";
import { GUESS } from "./guess.ts";
import type { Unwinder } from "./row.ts";

/** Every unwinder by the name that the command line uses. */
export const UNWINDERS = { fp: FRAME_POINTER, guess: GUESS } as const satisfies Readonly<
  Record<string, Unwinder>
>;
export type UnwinderName = keyof typeof UNWINDERS;

export type { Registers, Row, Surroundings, Unwinder } from "./row.ts";
export {
  KLP_MAX_STACK_ENTRIES,
  KPATCH_MAX_STACK_ENTRIES,
  stackTraceSaveRegs,
  stackTraceSaveTskReliable,
  walkMemory,
  type Memory,
} from "./reliable.ts";
export { formatText, kernelTextAddress } from "./text.ts";
export {
  archStackWalk,
  UNRELIABLE_REASONS,
  unwindNextFrame,
  unwindStart,
  type Frame,
  type Start,
  type Trace,
  type Unreliable,
  type UnreliableReason,
  type WalkInput,
} from "./walk.ts";

// The names that the command line takes, in the order in which reports show them.
import { MECHANISMS } from "../patch/index.ts";
import type { UnwinderName } from "../unwind/index.ts";
import { UNWINDERS } from "../unwind/index.ts";

/** Mechanisms, weakest first. */
export const MECHANISM_NAMES: readonly string[] = Object.keys(MECHANISMS);

/** Unwinders. */
export const UNWINDER_NAMES = Object.keys(UNWINDERS).filter(
  (n): n is UnwinderName => n in UNWINDERS,
);

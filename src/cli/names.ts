// The names on the command line, in the order in which reports show them.

/** Mechanisms, weakest first. */
export const MECHANISM_NAMES = [
  "naive",
  "immediate",
  "ksplice",
  "kpatch",
  "kgraft",
  "simple",
  "klp",
] as const;

/** Unwinders. */
export const UNWINDER_NAMES = ["fp", "guess"] as const;

// The judgement: every check over one trace. A check is a predicate in a file of its own; this is their list.
import { freedText } from "./freed-text.ts";
import { guestBug } from "./guest-bug.ts";
import { halfWritten } from "./half-written.ts";
import { promise } from "./promise.ts";
import { refusal, strayWrite } from "./text.ts";
import { CHECKS, type CheckName, type Trace, type Verdict, type Violation } from "./trace.ts";
import { progress, results } from "./workload.ts";

const PREDICATES: Readonly<Record<CheckName, (trace: Trace) => readonly Violation[]>> = {
  "half-written": halfWritten,
  "freed-text": freedText,
  promise,
  bug: guestBug,
  progress,
  results,
  refusal,
  "stray-write": strayWrite,
};

/** Asks every check. Violations come in the order in which they happened. */
export function judge(trace: Trace): Verdict {
  const violations = CHECKS.flatMap((name) => PREDICATES[name](trace)).toSorted(
    (a, b) => a.insn - b.insn,
  );
  return { verdict: violations.length > 0 ? "violated" : "consistent", violations };
}

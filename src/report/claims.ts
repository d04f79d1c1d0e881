// A scenario's claims against what was seen.
import type { RunReport } from "../explore/index.ts";

/** What a scenario says of a mechanism; a Claim of src/scenario is one. */
export interface Expected {
  readonly result: string;
  readonly verdict: string;
}

/** Whether a run is as claimed; undefined where nothing is claimed. */
export function asClaimed(report: RunReport, claim: Expected | undefined): boolean | undefined {
  if (claim === undefined) return undefined;
  return report.result === claim.result && report.verdict === claim.verdict;
}

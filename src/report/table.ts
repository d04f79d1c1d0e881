// Runs and sweeps as tables for people. Everything in them is in the JSON too; nothing is computed here.
import Table from "cli-table3";
import type { RunReport, SweepReport } from "../explore/index.ts";

/** What a scenario claims of a mechanism. */
export interface Claimed {
  readonly result: string;
  readonly verdict: string;
}

/** Whether a run came out as its scenario claims. Without a claim it must be consistent. */
export function isAsClaimed(r: RunReport, claim: Claimed | undefined): boolean {
  if (claim === undefined) return r.verdict === "consistent";
  return r.result === claim.result && r.verdict === claim.verdict;
}

/** No lines between the rows. */
const PLAIN = { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" } as const;
const REASON_WIDTH = 46;

function number(n: number | null): string {
  return n === null ? "-" : String(n).replace(/\B(?=(\d{3})+$)/g, " ");
}

/** Why: the first violation, else who stood in the way, else the mechanism's own reason. */
function why(r: RunReport): string {
  const [v] = r.violations;
  if (v !== undefined) {
    const more = r.violations.length > 1 ? ` (and ${r.violations.length - 1} more)` : "";
    // A guest's own report says what it is.
    return `${v.check === "bug" ? "" : `${v.check}: `}${v.message}${more}`;
  }
  const [b] = r.blockers;
  if (b === undefined) return r.reason;
  const rest = r.blockers.length > 1 ? ` and ${r.blockers.length - 1} more` : "";
  const where = b.symbol === null ? "" : ` in ${b.symbol}`;
  return `${r.reason}: ${b.task}${where}: ${b.reason}${rest}`;
}

/**
 * The table of `run` and `start`.
 *
 * claims  by mechanism; a column says whether the run came out so
 */
export function runTable(
  reports: readonly RunReport[],
  claims?: Readonly<Record<string, Claimed>>,
): string {
  const claimHead = claims === undefined ? [] : ["claimed"];
  const columns = claimHead.length;
  const table = new Table({
    head: ["mechanism", "result", "verdict", ...claimHead, "latency", "pause", "reason"],
    style: { head: [], border: [] },
    chars: PLAIN,
    colWidths: [...Array.from({ length: 5 + columns }, () => null), REASON_WIDTH],
    colAligns: [
      ...Array.from({ length: 3 + columns }, () => "left" as const),
      "right",
      "right",
      "left",
    ],
    wordWrap: true,
  });
  for (const r of reports) {
    const claimed = isAsClaimed(r, claims?.[r.mechanism]) ? "yes" : "NO";
    table.push([
      r.mechanism,
      r.result,
      r.verdict,
      ...(columns > 0 ? [claimed] : []),
      number(r.latencyInsns),
      number(r.pauseInsns),
      why(r),
    ]);
  }
  return `${table.toString()}\nlatency and pause in instructions of one vCPU's virtual time\n`;
}

/** One sweep as a few lines. */
export function sweepText(s: SweepReport): string {
  const left = s.exhausted ? "" : ", not all of those asked for";
  const counts = (["applied", "refused", "stalled", "reverted", "failed"] as const)
    .filter((k) => s[k] > 0)
    .map((k) => `${s[k]} ${k}`)
    .join(", ");
  const under = s.schedules === 1 ? "one schedule" : `${s.schedules} schedules`;
  const lines = [
    `${s.scenario}, ${s.mechanism}: ${s.points} points under ${under}${left}`,
    `  ${counts === "" ? "nothing ran" : counts}; ${s.violations} violated`,
    `  ${s.insidePoints} with a task inside of a patched function; ${s.textIdentical} left the text as it was`,
  ];
  if (s.first !== null) {
    lines.push(`  first: at ${s.first.at}, seed ${s.first.seed}: ${s.first.message}`);
  }
  return `${lines.join("\n")}\n`;
}

// Runs as text: a table with one line per mechanism, and below it what a line cannot hold: who stood in the way, and the
// violations. For people; programs read the JSON.
import Table from "cli-table3";
import type { ReportBlocker, RunReport } from "../explore/index.ts";
import type { Expected } from "./claims.ts";
import { asClaimed } from "./claims.ts";

/** Violations and blockers shown per run. */
const MOST = 3;
/** Width of the last column. */
const WHY = 46;

/** No lines between the rows. */
const PLAIN = { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" } as const;

/** What a table of runs says besides the runs. insnsPerSecond: of virtual time. */
export interface RunsContext {
  readonly claims: Readonly<Record<string, Expected>>;
  readonly insnsPerSecond: number;
}

/** The table and the notes. */
export function runsText(reports: readonly RunReport[], context: RunsContext): string {
  const notes = reports.map(noteOf).filter((n) => n !== "");
  return [runsTable(reports, context), ...notes].join("\n");
}

/** One line per run; with a column for the claims where there are any. */
export function runsTable(reports: readonly RunReport[], context: RunsContext): string {
  const hasClaims = reports.some((r) => context.claims[r.mechanism] !== undefined);
  const claimed = (r: RunReport): string => {
    const claim = context.claims[r.mechanism];
    if (claim === undefined) return "-";
    return asClaimed(r, claim) === true ? "yes" : `no: ${claim.result}, ${claim.verdict}`;
  };
  const claimHead = hasClaims ? ["claimed"] : [];
  const table = new Table({
    head: ["mechanism", "result", "verdict", ...claimHead, "latency", "pause", "why"],
    style: { head: [], border: [] },
    chars: PLAIN,
    wordWrap: true,
    colWidths: [null, null, null, ...claimHead.map(() => null), null, null, WHY],
  });
  for (const r of reports) {
    table.push([
      r.mechanism,
      r.result,
      r.verdict,
      ...(hasClaims ? [claimed(r)] : []),
      duration(r.latencyInsns, context.insnsPerSecond),
      duration(r.pauseInsns, context.insnsPerSecond),
      whyOf(r),
    ]);
  }
  return `${table.toString()}\n`;
}

/** Instructions with their virtual seconds. */
function duration(insns: number | null, perSecond: number): string {
  return insns === null ? "-" : `${insns} (${(insns / perSecond).toFixed(1)} s)`;
}

function whyOf(r: RunReport): string {
  return r.violations[0]?.message ?? r.reason;
}

function noteOf(r: RunReport): string {
  const lines = [
    ...r.blockers.slice(0, MOST).map(blockerText),
    ...more(r.blockers.length, "blockers"),
    ...(r.violations.length > 1 ? r.violations : [])
      .slice(0, MOST)
      .map(
        (v) =>
          `  ${v.check} at ${v.insn}${v.vcpu === null ? "" : ` on vCPU ${v.vcpu}`}: ${v.message}\n`,
      ),
    ...more(r.violations.length, "violations"),
  ];
  return lines.length === 0 ? "" : `${r.mechanism}\n${lines.join("")}`;
}

function more(all: number, what: string): readonly string[] {
  return all > MOST ? [`  and ${all - MOST} more ${what}\n`] : [];
}

function blockerText(b: ReportBlocker): string {
  const where = b.symbol === null ? "" : ` (${b.symbol})`;
  const stack = b.stack.map((f) => `    ${f.symbol}\n`).join("");
  return `  in the way: ${b.task}: ${b.reason}${where}\n${stack}`;
}

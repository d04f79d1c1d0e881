// Measurements as a table for people. Everything in it is in the JSON too.
import Table from "cli-table3";
import { missed, type Row } from "./row.ts";

/** No lines between the rows. */
const PLAIN = { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" } as const;

function figure(x: number | null): string {
  if (x === null) return "-";
  if (x >= 10_000)
    return Math.round(x)
      .toString()
      .replace(/\B(?=(\d{3})+$)/g, " ");
  return x >= 100 ? x.toFixed(0) : x.toPrecision(3);
}

function verdict(r: Row): string {
  if (r.target === null) return "";
  return r.met === null ? "not measured" : r.met ? "met" : "missed";
}

/** The table, what was skipped and why, and the targets that were missed. */
export function benchText(rows: readonly Row[]): string {
  const table = new Table({
    head: ["measurement", "value", "unit", "target", "", "median", "worst"],
    style: { head: [], border: [] },
    chars: PLAIN,
    colAligns: ["left", "right", "left", "left", "left", "right", "right"],
  });
  for (const r of rows) {
    const target = r.target === null ? "" : `${r.target.bound} ${figure(r.target.value)}`;
    const worst = r.value !== null && r.value === r.max ? r.min : r.max;
    table.push([
      r.name,
      figure(r.value),
      r.unit,
      target,
      verdict(r),
      figure(r.median),
      figure(worst),
    ]);
  }
  const why = new Map<string, string[]>();
  for (const r of rows) {
    if (r.skipped !== null) why.set(r.skipped, [...(why.get(r.skipped) ?? []), r.name]);
  }
  const notMet = missed(rows);
  return [
    table.toString(),
    ...[...why].map(([reason, names]) => `not measured, ${reason}: ${names.join(", ")}`),
    notMet.length === 0
      ? rows.some((r) => r.met === true)
        ? "every target that was measured is met"
        : "no target was measured"
      : `missed: ${notMet.map((r) => r.name).join(", ")}`,
    "",
  ].join("\n");
}

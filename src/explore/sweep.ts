// A sweep: the same patch, requested at every instruction after the ready mark in turn, each time from a snapshot and
// each time judged to the end. Clocks are the caller's: it is asked before every run whether to go on.
import type { CheckName } from "../check/index.ts";
import { seededSchedule } from "../machine/index.ts";
import type { Mechanism, Result } from "../patch/index.ts";
import { minimise } from "./minimise.ts";
import { formatRepro } from "./repro.ts";
import type { Prepared } from "./prepare.ts";
import { runOne, type ReportViolation, type RunSpec } from "./run.ts";

/** shard: this one of that many, counted from 0: it takes every n-th point. */
export interface SweepSpec {
  readonly points: number;
  readonly seeds: readonly number[];
  readonly shard?: { readonly index: number; readonly of: number };
}

/** The JSON object of `explore` but for `seconds`, see docs/json.md. */
export interface SweepReport {
  readonly scenario: string;
  readonly mechanism: string;
  readonly points: number;
  readonly schedules: number;
  readonly applied: number;
  readonly refused: number;
  readonly stalled: number;
  readonly reverted: number;
  readonly failed: number;
  readonly violations: number;
  readonly first: (ReportViolation & { readonly at: number; readonly seed: number }) | null;
  readonly exhausted: boolean;
  /** Points at which some task was in a patched function at the request, by its true stack. */
  readonly insidePoints: number;
  /** Runs that were not applied and left the text byte-identical. */
  readonly textIdentical: number;
}

export interface SweepProgress {
  readonly done: number;
  readonly of: number;
  readonly violations: number;
}

/** Snapshots on the way are this many instructions apart. */
const STRIDE = 4096;

/** The first violation, with its repro. */
function explain(
  p: Prepared,
  mechanism: Mechanism,
  spec: RunSpec,
  found: ReportViolation,
  check: CheckName,
): NonNullable<SweepReport["first"]> {
  const repro = minimise(p, mechanism, spec, check);
  const text = repro === undefined ? null : formatRepro(repro);
  return { ...found, repro: text, at: spec.at, seed: spec.seed };
}

/**
 * Sweeps over the points 0 .. points-1.
 *
 * goOn  asked before every run; false ends the sweep with what it has
 */
export async function sweep(
  p: Prepared,
  mechanism: Mechanism,
  spec: SweepSpec,
  goOn: (progress: SweepProgress) => boolean | Promise<boolean>,
): Promise<SweepReport> {
  const { index, of } = spec.shard ?? { index: 0, of: 1 };
  const results: Record<Result, number> = {
    applied: 0,
    refused: 0,
    stalled: 0,
    reverted: 0,
    failed: 0,
  };
  const mine = Math.max(0, Math.ceil((spec.points - index) / of));
  let done = 0;
  let violations = 0;
  let inside = 0;
  let identical = 0;
  let first: SweepReport["first"] = null;
  const points = new Set<number>();
  const schedules = new Set<number>();
  let isStopped = false;
  for (const seed of spec.seeds) {
    let from = { at: 0, snapshot: p.ready };
    for (let at = index; at < spec.points && !isStopped; at += of) {
      if (!(await goOn({ done, of: mine * spec.seeds.length, violations }))) {
        isStopped = true;
        break;
      }
      if (at - from.at >= STRIDE) from = advance(p, seed, from, at);
      const run = runOne(p, mechanism, { seed, at, from });
      done++;
      points.add(at);
      schedules.add(seed);
      results[run.report.result]++;
      if (run.trace.isInside) inside++;
      if (run.report.result !== "applied" && run.trace.changed.length === 0) identical++;
      const [v] = run.verdict.violations;
      const [shown] = run.report.violations;
      if (v === undefined || shown === undefined) continue;
      violations++;
      first ??= explain(p, mechanism, { seed, at }, shown, v.check);
    }
  }
  return {
    scenario: p.built.scenario.name,
    mechanism: mechanism.name,
    points: points.size,
    schedules: schedules.size,
    ...results,
    violations,
    first,
    exhausted: done === mine * spec.seeds.length,
    insidePoints: inside,
    textIdentical: identical,
  };
}

/** A snapshot of the unpatched run at a later point. */
function advance(
  p: Prepared,
  seed: number,
  from: NonNullable<RunSpec["from"]>,
  at: number,
): NonNullable<RunSpec["from"]> {
  const { session } = p;
  if (from.at === 0) {
    session.restore(p.ready);
    session.reschedule(seededSchedule(seed));
  } else {
    session.reschedule(seededSchedule(seed));
    session.restore(from.snapshot);
  }
  session.run(p.readyAt + at);
  return { at, snapshot: session.snapshot() };
}

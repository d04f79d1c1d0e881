// Shrinks a schedule under which a check fails to one under which it still fails at the same instruction, in a bounded
// number of runs. First stretches of slices are merged into one for each vCPU, which keeps how far each has come; then
// slices are dropped by delta debugging (Zeller and Hildebrandt, 2002, ddmin). What the slices leave open is decided by a
// tail without chance: whoever is furthest behind, for a fixed quantum.
import type { CheckName, Violation } from "../check/index.ts";
import { DEFAULT_SLICE, type Schedule, type Slice } from "../machine/index.ts";
import type { Mechanism } from "../patch/index.ts";
import type { Prepared } from "./prepare.ts";
import { firstOf, formatRepro, type Repro } from "./repro.ts";
import { runOne, type ReportViolation, type Run, type RunSpec } from "./run.ts";

/** Runs that each of the two passes may take. */
const MOST_MERGES = 120;
const MOST_DROPS = 80;
/** Checks that are decided when they happen; the others need the run's end. */
const IMMEDIATE: readonly CheckName[] = ["half-written", "freed-text", "promise", "bug"];

/** Slices, then whoever is furthest behind for `quantum` units. */
function fixed(slices: readonly Slice[], quantum: number): Schedule {
  return { seed: 0, min: quantum, max: quantum, slices };
}

/** Neighbours of the same vCPU as one slice. */
function joined(slices: readonly Slice[]): readonly Slice[] {
  const out: Slice[] = [];
  for (const s of slices) {
    const last = out.at(-1);
    if (last?.vcpu === s.vcpu) {
      out[out.length - 1] = { vcpu: s.vcpu, units: last.units + s.units };
    } else out.push(s);
  }
  return out;
}

/** One slice for each vCPU, with all of its units, in the order in which they first came. */
function merged(slices: readonly Slice[]): readonly Slice[] {
  const units = new Map<number, number>();
  for (const s of slices) units.set(s.vcpu, (units.get(s.vcpu) ?? 0) + s.units);
  return [...units].map(([vcpu, n]) => ({ vcpu, units: n }));
}

interface Shrunk {
  readonly schedule: Schedule;
  readonly violation: Violation;
}

type Fails = (schedule: Schedule) => Violation | undefined;

/**
 * Replaces stretches of slices by something shorter, ever smaller stretches, as long as it still fails. `most` bounds
 * the runs.
 */
function shorten(
  start: Shrunk,
  fails: Fails,
  most: number,
  shorter: (stretch: readonly Slice[]) => readonly Slice[],
): Shrunk {
  let best = start;
  let left = most;
  for (let parts = 1; left > 0;) {
    const { slices } = best.schedule;
    const size = Math.ceil(slices.length / parts);
    let isShorter = false;
    for (let at = 0; at < slices.length && left > 0 && !isShorter; at += size) {
      const stretch = slices.slice(at, at + size);
      const next = joined([
        ...slices.slice(0, at),
        ...shorter(stretch),
        ...slices.slice(at + size),
      ]);
      if (next.length >= slices.length) continue;
      left--;
      const schedule = { ...best.schedule, slices: next };
      const violation = fails(schedule);
      if (violation === undefined) continue;
      best = { schedule, violation };
      isShorter = true;
    }
    if (isShorter) parts = Math.max(1, parts - 1);
    else if (size <= 1) break;
    else parts = Math.min(slices.length, parts * 2);
  }
  return best;
}

function shrink(start: Shrunk, fails: Fails): Shrunk {
  const few = shorten(start, fails, MOST_MERGES, merged);
  return shorten(few, fails, MOST_DROPS, () => []);
}

/**
 * A small repro of the first violation of a check in a run.
 *
 * returns  undefined when the run's own schedule, spelled out, does not lead there again: a bug of ours
 */
export function minimise(
  p: Prepared,
  mechanism: Mechanism,
  spec: RunSpec,
  check: CheckName,
): Repro | undefined {
  const run = runOne(p, mechanism, { ...spec, story: false });
  const violation = firstOf(run.verdict.violations, check);
  if (violation === undefined) return undefined;
  const isImmediate = IMMEDIATE.includes(check);
  const short = isImmediate ? { until: violation.insn } : {};
  const all = isImmediate
    ? runOne(p, mechanism, { ...spec, ...short, story: false }).slices()
    : run.slices();
  // A watched instruction is seen when it is about to execute: one more than its number has to be let go.
  const limit = isImmediate ? { until: violation.insn + 1 } : {};
  const fails: Fails = (schedule) => {
    const { verdict } = runOne(p, mechanism, { seed: 0, at: spec.at, schedule, ...limit });
    const v = firstOf(verdict.violations, check);
    return v?.insn === violation.insn && v.ip === violation.ip ? v : undefined;
  };
  const whole = fixed(all, DEFAULT_SLICE.max);
  if (fails(whole) === undefined) return undefined;
  const best = shrink({ schedule: whole, violation }, fails);
  const { scenario, image } = p.built;
  return {
    scenario: scenario.name,
    tasks: scenario.tasks,
    image: image.hash,
    patch: p.plan.module.hash,
    mechanism: mechanism.name,
    unwinder: p.request.unwinder,
    vcpus: p.session.machine.nrVcpus,
    at: spec.at,
    schedule: best.schedule,
    check,
    insn: best.violation.insn,
  };
}

/** A run whose violations carry repros, one for each check that failed, and the story of the first. */
export function runExplained(p: Prepared, mechanism: Mechanism, spec: RunSpec): Run {
  const run = runOne(p, mechanism, { ...spec, story: true });
  const repros = new Map<string, string>();
  for (const v of run.verdict.violations) {
    if (repros.has(v.check)) continue;
    const repro = minimise(p, mechanism, spec, v.check);
    if (repro !== undefined) repros.set(v.check, formatRepro(repro));
  }
  const violations = run.report.violations.map((v): ReportViolation => ({
    ...v,
    repro: repros.get(v.check) ?? null,
  }));
  return { ...run, report: { ...run.report, violations } };
}

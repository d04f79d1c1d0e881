// Shrinks a schedule under which a check fails to one that still makes it fail: slices are dropped and merged by delta
// debugging (Zeller and Hildebrandt, 2002, ddmin), in a bounded number of runs. What the slices leave open is decided
// by a tail without chance: whoever is furthest behind, for a fixed number of units.
import type { CheckName, Violation } from "../check/index.ts";
import { DEFAULT_SLICE, type Schedule, type Slice } from "../machine/index.ts";
import type { Mechanism } from "../patch/index.ts";
import type { Prepared } from "./prepare.ts";
import { firstOf, formatRepro, type Repro } from "./repro.ts";
import { runOne, type ReportViolation, type Run, type RunSpec } from "./run.ts";

/** Runs that a minimisation may take. */
const MOST_RUNS = 160;
/** How far behind the violation a shorter schedule may have it. */
const SLACK_INSNS = 20_000;
/** Checks that are decided when they happen; the others need the run's end. */
const IMMEDIATE: readonly CheckName[] = ["half-written", "freed-text", "promise", "bug"];

function tailOf(slices: readonly Slice[]): Schedule {
  return { seed: 0, min: DEFAULT_SLICE.max, max: DEFAULT_SLICE.max, slices };
}

/** Neighbours of the same vCPU as one slice. */
function merged(slices: readonly Slice[]): readonly Slice[] {
  const out: Slice[] = [];
  for (const s of slices) {
    const last = out.at(-1);
    if (last?.vcpu === s.vcpu) {
      out[out.length - 1] = { vcpu: s.vcpu, units: last.units + s.units };
    } else out.push(s);
  }
  return out;
}

interface Shrunk {
  readonly slices: readonly Slice[];
  readonly violation: Violation;
}

/** ddmin over the slices; `fails` answers the violation that a list of slices leads to. */
function shrink(start: Shrunk, fails: (slices: readonly Slice[]) => Violation | undefined): Shrunk {
  let best = start;
  let left = MOST_RUNS;
  const take = (slices: readonly Slice[]): boolean => {
    if (left-- <= 0) return false;
    const violation = fails(slices);
    if (violation === undefined) return false;
    best = { slices, violation };
    return true;
  };
  if (take([])) return best;
  take(merged(best.slices));
  for (let parts = 2; best.slices.length > 1 && left > 0;) {
    const size = Math.ceil(best.slices.length / parts);
    let isSmaller = false;
    for (let at = 0; at < best.slices.length && left > 0; at += size) {
      const { slices } = best;
      const rest = merged([...slices.slice(0, at), ...slices.slice(at + size)]);
      if (!take(rest)) continue;
      isSmaller = true;
      break;
    }
    if (isSmaller) parts = Math.max(2, parts - 1);
    else if (size <= 1) break;
    else parts = Math.min(best.slices.length, parts * 2);
  }
  return best;
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
    ? runOne(p, mechanism, { ...spec, ...short, story: false }).slices
    : run.slices;
  const limit = isImmediate ? { until: violation.insn + SLACK_INSNS } : {};
  const fails = (slices: readonly Slice[]): Violation | undefined => {
    const schedule = tailOf(slices);
    const { verdict } = runOne(p, mechanism, { seed: 0, at: spec.at, schedule, ...limit });
    return firstOf(verdict.violations, check);
  };
  const again = fails(all);
  if (again?.insn !== violation.insn) return undefined;
  const best = shrink({ slices: all, violation }, fails);
  const { scenario, image } = p.built;
  return {
    scenario: scenario.name,
    tasks: scenario.tasks,
    image: image.hash,
    patch: p.plan.module.hash,
    mechanism: mechanism.name,
    vcpus: p.session.machine.nrVcpus,
    at: spec.at,
    schedule: tailOf(best.slices),
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

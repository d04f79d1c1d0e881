// Runs a repro again and compares: the same check must fail at the same instruction. A repro that was made for other
// bytes is refused; it would show something, but not what it says.
import { stacksNow, type CpuNow, type StackNow, type Violation } from "../check/index.ts";
import type { Mechanism } from "../patch/index.ts";
import type { Prepared } from "./prepare.ts";
import { firstOf, type Repro } from "./repro.ts";
import { runOne, showMoment, type Run, type RunSpec } from "./run.ts";

/** What a repro says of what it is for, and what it was given. */
export interface ReproMismatch {
  readonly ok: false;
  readonly reason: "scenario" | "image" | "patch" | "mechanism" | "unwinder" | "vcpus";
  readonly expected: string;
  readonly found: string;
}

export interface Replayed {
  readonly ok: true;
  /** The same check failed at the same instruction. */
  readonly reproduced: boolean;
  readonly violation: Violation | undefined;
  /** How it differs, where it does. */
  readonly difference: string | undefined;
  readonly run: Run;
}

/** A moment of a run: every vCPU and every task's stack. insn: from the ready mark. */
export interface Moment {
  readonly ok: true;
  readonly insn: number;
  readonly cpus: readonly CpuNow[];
  readonly stacks: readonly StackNow[];
}

function mismatch(p: Prepared, mechanism: Mechanism, r: Repro): ReproMismatch | undefined {
  const pairs = [
    ["scenario", r.scenario, p.built.scenario.name],
    ["image", r.image, p.built.image.hash],
    ["patch", r.patch, p.plan.module.hash],
    ["mechanism", r.mechanism, mechanism.name],
    ["unwinder", r.unwinder, p.request.unwinder],
    ["vcpus", String(r.vcpus), String(p.session.machine.nrVcpus)],
  ] as const;
  for (const [reason, expected, found] of pairs) {
    if (expected !== found) return { ok: false, reason, expected, found };
  }
  return undefined;
}

function specOf(r: Repro): RunSpec {
  return { seed: r.schedule.seed, at: r.at, schedule: r.schedule };
}

/** Runs a repro to its end. */
export function replay(p: Prepared, mechanism: Mechanism, r: Repro): Replayed | ReproMismatch {
  const wrong = mismatch(p, mechanism, r);
  if (wrong) return wrong;
  const run = runOne(p, mechanism, { ...specOf(r), story: true });
  const violation = firstOf(run.verdict.violations, r.check);
  const difference =
    violation === undefined
      ? `${r.check} holds, expected a violation at ${r.insn}`
      : violation.insn !== r.insn
        ? `${r.check} is violated at ${violation.insn}, expected at ${r.insn}`
        : undefined;
  return { ok: true, reproduced: difference === undefined, violation, difference, run };
}

/** Runs a repro up to instruction `insn` and shows what is there. */
export function replayTo(
  p: Prepared,
  mechanism: Mechanism,
  r: Repro,
  insn: number,
): Moment | ReproMismatch {
  const wrong = mismatch(p, mechanism, r);
  if (wrong) return wrong;
  showMoment(p, mechanism, specOf(r), insn);
  const at = p.session.machine.retired - p.readyAt;
  return { ok: true, insn: at, ...stacksNow(p.session, p.plan) };
}

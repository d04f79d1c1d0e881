// One patch run: from the ready mark under a schedule, a request after `at` instructions, on until the workload is done
// and the mechanism has come to its outcome, and the judgement over it. The same input gives the same report.
import {
  addressName,
  hex,
  judge,
  observe,
  pauseInsns,
  tellStory,
  type RunEnd,
  type Story,
  type Trace,
  type Verdict,
  type Violation,
} from "../check/index.ts";
import { seededSchedule, type Schedule, type Slice } from "../machine/index.ts";
import {
  jobOf,
  type Blocker,
  type Mechanism,
  type Outcome,
  type Result,
  type SessionSnapshot,
} from "../patch/index.ts";
import type { Prepared } from "./prepare.ts";

/** How a run is to go. at: instructions from the ready mark to the request. */
export interface RunSpec {
  readonly seed: number;
  readonly at: number;
  /** Decides from the ready mark on; by default seeded slices of `seed`. */
  readonly schedule?: Schedule;
  /** Stop here, counted from the ready mark, and judge what there is. */
  readonly until?: number;
  /** Start from this moment of the same run without a patch instead of from the ready mark. */
  readonly from?: { readonly at: number; readonly snapshot: SessionSnapshot };
  /** Tell of the first violation who was where; costs a second run. */
  readonly story?: boolean;
}

/** A frame as JSON has it. */
export interface ReportFrame {
  readonly ip: string;
  readonly symbol: string;
}

export interface ReportBlocker {
  readonly task: string;
  readonly pid: number;
  readonly reason: string;
  readonly symbol: string | null;
  readonly stack: readonly ReportFrame[];
}

/**
 * A task that could not be switched at a try that was not the last.
 *
 * insn   from the ready mark, right after the try
 * stack  as the mechanism saw it, empty where it does not look
 * try    the number of the try, from 1
 * truth  its true stack then
 */
export interface ReportHeld extends ReportBlocker {
  readonly insn: number;
  readonly try: number;
  readonly truth: readonly ReportFrame[];
}

export interface ReportViolation {
  readonly check: string;
  readonly vcpu: number | null;
  readonly insn: number;
  readonly task: string;
  readonly ip: string;
  readonly symbol: string;
  readonly message: string;
  readonly atEntry?: string;
  /** The text of a repro file, where one was made. */
  readonly repro: string | null;
}

/** The JSON object of `run`, see docs/json.md. */
export interface RunReport {
  readonly scenario: string;
  readonly mechanism: string;
  readonly result: Result;
  readonly verdict: Verdict["verdict"];
  readonly reason: string;
  readonly violations: readonly ReportViolation[];
  readonly latencyInsns: number | null;
  readonly pauseInsns: number;
  readonly modelledInsns: number;
  readonly tasks: number;
  readonly switched: readonly {
    readonly task: string;
    readonly pid: number;
    readonly how: string;
    readonly insn: number | null;
  }[];
  readonly blockers: readonly ReportBlocker[];
  /** Who could not be switched at a try, in the order of the tries. */
  readonly held: readonly ReportHeld[];
  readonly seed: number;
  readonly at: number;
  readonly vcpus: number;
  readonly insns: number;
  readonly image: string;
  readonly patch: string;
}

/** A run with everything that led to its report. */
export interface Run {
  readonly report: RunReport;
  readonly trace: Trace;
  readonly verdict: Verdict;
  /** The slices that the schedule handed out from where the run started to the end. */
  readonly slices: () => readonly Slice[];
  /** Of the first violation. */
  readonly story: Story | undefined;
}

const NEVER = new Set(["bug"] as const);
const RUN_STOPS = new Set(["bug", "done", "outcome"] as const);

/** Goes to the moment of the request. */
function approach(p: Prepared, spec: RunSpec): void {
  const { session } = p;
  const schedule = spec.schedule ?? seededSchedule(spec.seed);
  if (spec.from === undefined || spec.from.at === 0) {
    session.restore(p.ready);
    session.reschedule(schedule);
  } else {
    session.reschedule(schedule);
    session.restore(spec.from.snapshot);
  }
  session.scheduler.recording = true;
  session.run(p.readyAt + Math.min(spec.at, spec.until ?? spec.at), NEVER);
}

/** Runs on until there is nothing left to judge. */
function finish(p: Prepared, limit: number): RunEnd {
  const { session, readyAt } = p;
  const { budgetInsns } = p.built.scenario;
  let isDone = session.events().doneAt !== undefined;
  let hasBug = false;
  for (;;) {
    const stop = session.run(readyAt + limit, RUN_STOPS);
    if (stop === "shutdown" || stop === "idle") return hasBug ? "bug" : stop;
    if (stop === "bug") hasBug = true;
    // A BUG ends the task that made it; a mechanism that is in the middle still comes to its outcome.
    if (hasBug && (session.agent.outcome !== undefined || stop === "insns")) return "bug";
    if (stop === "insns") return limit < budgetInsns ? "limit" : "budget";
    if (stop === "done") isDone = true;
    if (isDone && session.agent.outcome !== undefined) return "complete";
  }
}

/** One run of a mechanism, judged. */
export function runOne(p: Prepared, mechanism: Mechanism, spec: RunSpec): Run {
  const { session, plan, built } = p;
  const { scenario } = built;
  approach(p, spec);
  const observed = observe(session, {
    scenario: scenario.name,
    mechanism: mechanism.name,
    plan,
    readyAt: p.readyAt,
    budgetInsns: scenario.budgetInsns,
    resultSymbols: scenario.results,
    expected: p.baseline.results,
    pristine: p.pristine,
  });
  session.request(jobOf(mechanism, p.request));
  // A request that comes late has as long as one that comes at once.
  const limit = Math.min(spec.until ?? Infinity, spec.at + scenario.budgetInsns);
  const trace = observed.finish(finish(p, limit));
  const { recorded } = session.scheduler;
  const { modelled, doneTime } = session.agent.state();
  const verdict = judge(trace);
  const story =
    spec.story === true && verdict.violations[0] !== undefined
      ? tellOf(p, mechanism, spec, trace, verdict.violations[0])
      : undefined;
  const latency = doneTime === undefined ? undefined : doneTime - observed.requestTime;
  const report = reportOf(p, spec, trace, verdict, { modelled, latency });
  return { report, trace, verdict, slices: () => recorded.slices(), story };
}

/** Goes back to the moment of a violation, to see who was where. */
function tellOf(
  p: Prepared,
  mechanism: Mechanism,
  spec: RunSpec,
  trace: Trace,
  v: Violation,
): Story {
  if (trace.end !== "bug" || v.insn !== trace.endedAt) showMoment(p, mechanism, spec, v.insn);
  return tellStory(p.session, p.plan, v, trace.bugs);
}

/** Leaves the session as it was `until` instructions after the ready mark of a run. */
export function showMoment(p: Prepared, mechanism: Mechanism, spec: RunSpec, until: number): void {
  const { session } = p;
  approach(p, { ...spec, until });
  if (until < spec.at) return;
  session.request(jobOf(mechanism, p.request));
  session.run(p.readyAt + until);
}

/** Who was switched when: as it was seen, task by task, or all at the commit, as the mechanism says. */
function switchedOf(trace: Trace, outcome: Outcome | undefined): RunReport["switched"] {
  if (trace.switches.length > 0) {
    return trace.switches.map(({ task, how, insn }) => ({
      task: task.comm,
      pid: task.pid,
      how,
      insn,
    }));
  }
  const insn = trace.commit?.insn ?? null;
  return (outcome?.switched ?? []).map(({ task, pid, how }) => ({ task, pid, how, insn }));
}

function reportOf(
  p: Prepared,
  spec: RunSpec,
  trace: Trace,
  verdict: Verdict,
  time: { readonly modelled: number; readonly latency: number | undefined },
): RunReport {
  const { image, plan } = trace;
  const outcome = trace.outcome ?? p.session.agent.progress;
  const result = trace.outcome?.result ?? "stalled";
  const frame = (ip: bigint): ReportFrame => ({
    ip: hex(ip),
    symbol: addressName(image, plan, ip),
  });
  const blocker = (b: Blocker): ReportBlocker => ({
    task: b.task,
    pid: b.pid,
    reason: b.reason,
    symbol: b.symbol ?? null,
    stack: b.stack.map(frame),
  });
  return {
    scenario: trace.scenario,
    mechanism: trace.mechanism,
    result,
    verdict: verdict.verdict,
    reason: outcome?.reason ?? `no outcome ${trace.endedAt - trace.requestAt} instructions later`,
    violations: verdict.violations.map((v) => ({ ...v, ip: hex(v.ip), repro: null })),
    latencyInsns: result === "applied" ? (time.latency ?? null) : null,
    pauseInsns: pauseInsns(trace),
    modelledInsns: time.modelled,
    tasks: trace.tasks.filter((t) => t.kind !== "idle").length,
    switched: switchedOf(trace, outcome),
    blockers: (outcome?.blockers ?? []).map(blocker),
    held: trace.held.map((h) => ({
      insn: h.insn,
      try: h.nr,
      ...blocker(h.blocker),
      truth: h.frames.map((f) => frame(f.ip)),
    })),
    seed: spec.seed,
    at: spec.at,
    vcpus: p.session.machine.nrVcpus,
    insns: trace.endedAt,
    image: image.hash,
    patch: plan.module.hash,
  };
}

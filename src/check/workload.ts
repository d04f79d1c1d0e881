// progress and results: the workload is done within its budget, and what its user sees is what an unpatched run gives.
// A run that a BUG ended, or that was cut short on request, is not asked.
import type { Trace, Violation } from "./trace.ts";

function overall(check: Violation["check"], insn: number, message: string): Violation {
  return { check, vcpu: null, insn, task: "", ip: 0n, symbol: "", message };
}

/** A mechanism that is still in transition when the budget ends may be what the workload waits for. */
export function progress(trace: Trace): readonly Violation[] {
  if (trace.doneAt !== undefined) return [];
  if (trace.end === "idle") {
    return [overall("progress", trace.endedAt, "every CPU waits for something that cannot come")];
  }
  const isWaiting = trace.outcome === undefined || trace.outcome.result === "stalled";
  if (trace.end !== "budget" || isWaiting) return [];
  const message = `the workload is not done after ${trace.budgetInsns} instructions`;
  return [overall("progress", trace.endedAt, message)];
}

export function results(trace: Trace): readonly Violation[] {
  if (trace.doneAt === undefined || trace.end === "bug" || trace.end === "shutdown") return [];
  return Object.entries(trace.expected)
    .filter(([name, want]) => trace.results[name] !== want)
    .map(([name, want]) => {
      const message = `${name} is ${trace.results[name] ?? "missing"}, ${want} without the patch`;
      return overall("results", trace.endedAt, message);
    });
}

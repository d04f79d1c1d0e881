// Latency and pause of a run, in one vCPU's instructions of virtual time. Definitions are in docs/checks.md.
import type { Entry, Trace } from "./trace.ts";

/** The longest stay between entries of two kinds, by the same key; one that has no end lasts until the trace's. */
function longest(
  trace: Trace,
  from: Entry["kind"],
  to: Entry["kind"],
  key: (e: Entry) => bigint | undefined,
): number {
  const since = new Map<bigint, number>();
  let most = 0;
  for (const e of trace.entries) {
    if (e.kind !== from && e.kind !== to) continue;
    const k = key(e);
    if (k === undefined) continue;
    const start = since.get(k);
    if (e.kind === from) since.set(k, e.time);
    else if (start !== undefined) {
      most = Math.max(most, e.time - start);
      since.delete(k);
    }
  }
  const end = Math.max(...trace.times);
  return Math.max(most, ...[...since.values()].map((start) => end - start));
}

/**
 * The longest time that a task which was runnable at the request was kept from running: by stop_machine on its CPU, or
 * at the checkpoint.
 */
export function pauseInsns(trace: Trace): number {
  const stopped = longest(trace, "stop", "resume", (e) => BigInt(e.vcpu));
  const gathered = longest(trace, "gather", "leave", (e) =>
    e.task?.runnable === true && e.task.kind === "user" ? e.task.lo : undefined,
  );
  return Math.max(stopped, gathered);
}

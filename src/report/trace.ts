// What happened in a run, as JSON lines in the order of instructions: for programs that want more than the verdict.
import { addressName, hex, type Entry, type Trace } from "../check/index.ts";

interface Line {
  readonly insn: number;
  readonly event: string;
  readonly [key: string]: unknown;
}

function entryLine(t: Trace, e: Entry): Line {
  return {
    insn: e.insn,
    event: e.kind,
    vcpu: e.vcpu,
    time: e.time,
    pid: e.task?.pid ?? null,
    task: e.task?.comm ?? null,
    ip: hex(e.ip),
    symbol: addressName(t.image, t.plan, e.ip),
  };
}

/** One JSON object a line: entries to watched code, the mechanism's stores and words, BUGs, the commit and the end. */
export function traceLines(t: Trace): string {
  const lines: Line[] = [
    { insn: t.requestAt, event: "request", mechanism: t.mechanism, scenario: t.scenario },
    ...t.entries.map((e) => entryLine(t, e)),
    ...t.writes.map((w) => ({
      insn: w.insn,
      event: "write",
      va: hex(w.va),
      symbol: addressName(t.image, t.plan, w.va),
      bytes: w.bytes.length,
    })),
    ...t.logs.map((l) => ({ insn: l.insn, event: "log", text: l.text })),
    ...t.bugs.map((b) => ({
      insn: b.insn,
      event: b.kind,
      vcpu: b.vcpu,
      pid: b.pid,
      task: b.comm,
      ip: hex(b.ip),
      message: b.message,
    })),
    ...(t.commit === undefined ? [] : [{ insn: t.commit.insn, event: "commit" }]),
    { insn: t.endedAt, event: "end", end: t.end, result: t.outcome?.result ?? null },
  ];
  return lines
    .map((line, i) => ({ line, i }))
    .toSorted((a, b) => a.line.insn - b.line.insn || a.i - b.i)
    .map(({ line }) => `${JSON.stringify(line)}\n`)
    .join("");
}

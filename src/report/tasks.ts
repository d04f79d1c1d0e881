// What became of every task of a run, for people: when and how it came under the new code, and each try at which it could
// not, with what was on its stack then; and the kernel's log as dmesg prints it. All of it is in the JSON or the trace too.
import type { Trace } from "../check/index.ts";
import type { ReportFrame, ReportHeld, RunReport } from "../explore/index.ts";

/** The kernel's log: each line behind the instruction at which it was printed, where dmesg has the seconds. */
export function dmesgText(lines: Trace["dmesg"]): string {
  const width = String(lines.at(-1)?.insn ?? 0).length;
  return lines
    .flatMap(({ insn, text }) =>
      text
        .replace(/\n$/, "")
        .split("\n")
        .map((line) => `[${String(insn).padStart(width)}] ${line}\n`),
    )
    .join("");
}

/** Idle tasks share pid 0. */
function nameOf(t: { readonly task: string; readonly pid: number }): string {
  return `${t.task} (${t.pid})`;
}

function stackText(stack: readonly ReportFrame[]): string {
  return stack.length === 0 ? "" : `\n      ${stack.map((f) => f.symbol).join("\n      ")}`;
}

/** A task's tries, those that came to the same one after the other in one line, with the stack at the last of them. */
function heldText(tries: readonly ReportHeld[]): string {
  const out: string[] = [];
  for (let i = 0; i < tries.length;) {
    const first = tries[i];
    let n = 1;
    while (tries[i + n]?.reason === first?.reason && tries[i + n]?.symbol === first?.symbol) n++;
    const last = tries[i + n - 1];
    i += n;
    if (first === undefined || last === undefined) break;
    const when = n === 1 ? `at ${first.insn}` : `${n} times from ${first.insn} to ${last.insn}`;
    const where = first.symbol === null ? "" : `: ${first.symbol}`;
    const stack = last.stack.length > 0 ? last.stack : last.truth;
    out.push(`    not ${when}: ${first.reason}${where}${stackText(stack)}\n`);
  }
  return out.join("");
}

/** The tasks of a run in the order in which they were switched, then those that never were. */
export function tasksText(r: RunReport): string {
  const held = new Map<string, ReportHeld[]>();
  for (const h of r.held) held.set(nameOf(h), [...(held.get(nameOf(h)) ?? []), h]);
  const out = [`${r.mechanism}\n`];
  for (const s of r.switched) {
    const when = s.insn === null ? "" : ` at ${s.insn}`;
    out.push(`  ${nameOf(s)} switched${when}: ${s.how}\n`);
    out.push(heldText(held.get(nameOf(s)) ?? []));
    held.delete(nameOf(s));
  }
  for (const [name, tries] of held) {
    out.push(`  ${name} was not switched\n`, heldText(tries));
  }
  if (out.length === 1) out.push("  no task was switched, and none was held\n");
  return out.join("");
}

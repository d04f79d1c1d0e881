// refusal and stray-write: the kernel's text when all is over. After a refusal it is what it was before and nothing of
// the patch has executed; in every case nothing but the windows of the patched functions has changed.
import { findSymbol } from "../link/index.ts";
import { addressName, hex } from "./address.ts";
import { otherSide, type CheckName, type Trace, type Violation } from "./trace.ts";

const WINDOW = 5n;

function changedByte(trace: Trace, check: CheckName, va: bigint, message: string): Violation {
  return {
    check,
    vcpu: null,
    insn: trace.endedAt,
    task: "",
    ip: va,
    symbol: addressName(trace.image, trace.plan, va),
    message,
  };
}

/** Not in force, by the mechanism's own word: then nothing may be left of it. */
export function refusal(trace: Trace): readonly Violation[] {
  const result = trace.outcome?.result;
  if (result !== "refused" && result !== "reverted" && result !== "failed") return [];
  const out: Violation[] = [];
  const [va] = trace.changed;
  if (va !== undefined) {
    const message = `${result}, but the byte at ${hex(va)} is not what it was`;
    out.push(changedByte(trace, "refusal", va, message));
  }
  const to = otherSide(trace.from);
  const entered = result === "reverted" ? undefined : trace.entries.find((e) => e.kind === to);
  if (entered !== undefined) {
    const name = trace.plan.functions[entered.index]?.name ?? "";
    out.push({
      check: "refusal",
      vcpu: entered.vcpu,
      insn: entered.insn,
      task: entered.task?.comm ?? "",
      ip: entered.ip,
      symbol: addressName(trace.image, trace.plan, entered.ip),
      message: `${result}, but the ${to} ${name} is executed`,
    });
  }
  return out;
}

/** Whatever the result: text outside of the windows is nobody's to write. */
export function strayWrite(trace: Trace): readonly Violation[] {
  // What the common trampolines call is ftrace's to change.
  const calls = ["ftrace_call", "ftrace_regs_call"].map(
    (name) => findSymbol(trace.image, name)?.va,
  );
  const inWindow = (va: bigint): boolean =>
    calls.some((at) => at !== undefined && va >= at && va < at + WINDOW) ||
    trace.plan.functions.some(
      (f) =>
        (va >= f.jumpVa && va < f.jumpVa + WINDOW) ||
        (f.site !== undefined && va >= f.site && va < f.site + WINDOW),
    );
  const va = trace.changed.find((x) => !inWindow(x));
  if (va === undefined) return [];
  const message = `the byte at ${hex(va)} has changed and belongs to no patched entry`;
  return [changedByte(trace, "stray-write", va, message)];
}

// bug: the guest's own word that something is wrong: a BUG() of the kernel or of the patch, an unexpected trap, or a
// fault inside of a fault, after which a CPU shuts down.
import { addressName } from "./address.ts";
import type { Trace, Violation } from "./trace.ts";

export function guestBug(trace: Trace): readonly Violation[] {
  const bugs = trace.bugs.map((b): Violation => {
    const symbol = addressName(trace.image, trace.plan, b.ip);
    return {
      check: "bug",
      vcpu: b.vcpu,
      insn: b.insn,
      task: b.comm,
      ip: b.ip,
      symbol,
      message: `${b.kind === "bug" ? "BUG" : "panic"}: ${b.message} (${b.comm} at ${symbol})`,
    };
  });
  if (trace.end !== "shutdown") return bugs;
  const last: Violation = {
    check: "bug",
    vcpu: null,
    insn: trace.endedAt,
    task: "",
    ip: 0n,
    symbol: "",
    message: "a CPU shut down: a fault while it delivered a double fault",
  };
  return [...bugs, last];
}

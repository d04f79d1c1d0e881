// freed-text: nobody executes, or is going to return into, memory that is not text of the kernel or of the patch.
// A jump to such a place that faults at once is seen by the guest's own report.
import { kernelTextAddress } from "../unwind/index.ts";
import { addressName } from "./address.ts";
import { perList } from "./frames.ts";
import type { Trace, Violation } from "./trace.ts";

/** User addresses are in the lower half. */
const KERNEL_HALF = 1n << 63n;

export function freedText(trace: Trace): readonly Violation[] {
  const images = [trace.image, trace.plan.module];
  // Taken out, it is gone with its module.
  const isOut = trace.from === "new" && trace.outcome?.result === "applied";
  const isText = (ip: bigint, at: number): boolean =>
    kernelTextAddress(isOut && at >= (trace.outcomeAt ?? Infinity) ? [trace.image] : images, ip);
  const name = (ip: bigint): string => addressName(trace.image, trace.plan, ip);
  const out: Violation[] = [];
  for (const b of trace.bugs) {
    if (b.ip < KERNEL_HALF || isText(b.ip, b.insn)) continue;
    out.push({
      check: "freed-text",
      vcpu: b.vcpu,
      insn: b.insn,
      task: b.comm,
      ip: b.ip,
      symbol: name(b.ip),
      message: `${b.comm} executes at ${name(b.ip)}, which is no text`,
    });
  }
  const moments = [
    { insn: trace.commit?.insn ?? 0, stacks: trace.commit?.stacks ?? [] },
    { insn: trace.endedAt, stacks: trace.ending },
  ];
  for (const { insn, stacks } of moments) {
    const badIn = perList((frames) =>
      frames.find((f) => !isText(f.ip, insn) && f.isDynamic !== true),
    );
    for (const s of stacks) {
      const bad = badIn(s.frames);
      if (bad === undefined) continue;
      out.push({
        check: "freed-text",
        vcpu: s.vcpu ?? null,
        insn,
        task: s.task.comm,
        ip: bad.ip,
        symbol: name(bad.ip),
        message: `${s.task.comm} is going to return to ${name(bad.ip)}, which is no text`,
      });
    }
  }
  return out;
}

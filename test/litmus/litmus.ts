// What the litmus tests share: programs of a few instructions on a few vCPUs, run to their ends under many seeded
// interleavings, and the set of outcomes that came up. "Sometimes" and "Never" are then statements about that set.
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import type { Adversary } from "../../src/machine/index.ts";
import { Bare, KERNEL } from "../machine/bare.ts";

/** Two words that start as 0, on cache lines of their own. */
export const X = KERNEL + 0x70000n;
export const Y = KERNEL + 0x70040n;

export interface Litmus {
  /** Instructions of each vCPU; %rsi is x, %rdi is y, results go to eax and ebx. */
  readonly programs: readonly string[];
  readonly adversary: Adversary;
  readonly trials: number;
  /** Longest turn, in instructions. */
  readonly turn?: number;
}

/** Runs a litmus test and counts its outcomes, written as "eax,ebx eax,ebx .. x y". */
export async function outcomes(t: Litmus): Promise<Map<string, number>> {
  const n = t.programs.length;
  const text = t.programs.map((p, i) => `p${i}: ${p}\n vmcall\n`).join("");
  const b = await Bare.make(`start: vmcall\n${text}`, { vcpus: n, adversary: t.adversary });
  const m = b.machine;
  const rng = xoroshiro128plus(t.adversary.seed ?? 1);
  const seen = new Map<string, number>();
  for (let trial = 0; trial < t.trials; trial++) {
    m.write64(X, 0n);
    m.write64(Y, 0n);
    for (let v = 0; v < n; v++) {
      m.setReg(v, "rip", b.symbol(`p${v}`));
      m.setReg(v, "rsi", X);
      m.setReg(v, "rdi", Y);
      for (const r of ["rax", "rbx", "rcx"] as const) m.setReg(v, r, 0n);
    }
    const running = new Set(Array.from({ length: n }, (_, v) => v));
    while (running.size > 0) {
      const v = uniformInt(rng, 0, n - 1);
      if (!running.has(v)) continue;
      const r = m.run(v, uniformInt(rng, 1, t.turn ?? 3));
      if (r.exit === "vmcall") running.delete(v);
      else if (r.exit !== "none") throw new Error(`vCPU ${v} ended with ${r.exit}`);
    }
    const regs = t.programs.map((_, v) => `${m.reg(v, "rax")},${m.reg(v, "rbx")}`);
    const key = `${regs.join(" ")} ${m.read64(X)} ${m.read64(Y)}`;
    seen.set(key, (seen.get(key) ?? 0) + 1);
  }
  return seen;
}

/** How many outcomes match. */
export function count(seen: ReadonlyMap<string, number>, pattern: RegExp): number {
  let n = 0;
  for (const [key, times] of seen) if (pattern.test(key)) n += times;
  return n;
}

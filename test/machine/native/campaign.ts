// Runs many random cases on both sides and collects what differs. A door of the tests: it starts processes.
import { compare, describe, memoryDifference } from "./compare.ts";
import { EmulatedCpu } from "./emulated.ts";
import { generateCase } from "./generate.ts";
import type { NativeCpu } from "./native.ts";

const BATCH = 4000;

export interface CampaignResult {
  readonly sequences: number;
  readonly instructions: number;
  readonly mismatches: readonly string[];
  /** How many cases ended by which vector. */
  readonly vectors: ReadonlyMap<number, number>;
}

/** Cases `first` to `first + n`, each its own seed. Keeps the text of the first `keep` mismatches. */
export function runCampaign(cpu: NativeCpu, first: number, n: number, keep = 20): CampaignResult {
  const emulated = new EmulatedCpu();
  const mismatches: string[] = [];
  const vectors = new Map<number, number>();
  let instructions = 0;
  let before = emulated.machine.retired;
  for (let at = 0; at < n; at += BATCH) {
    const cases = Array.from({ length: Math.min(BATCH, n - at) }, (_, i) =>
      generateCase(first + at + i),
    );
    const outcomes = cpu.run(cases);
    cases.forEach((c, i) => {
      const native = outcomes[i];
      if (!native || native.vector >= 0x100) return;
      vectors.set(native.vector, (vectors.get(native.vector) ?? 0) + 1);
      emulated.prepare(c);
      before = emulated.machine.retired;
      emulated.finish();
      instructions += emulated.machine.retired - before;
      const diff = compare(c, native, emulated.outcome());
      if (diff.length === 0) return;
      if (mismatches.length < keep) {
        const [nd] = cpu.run([c], { dump: true });
        const ed = emulated.run(c, { dump: true });
        const memory = nd?.memory && ed.memory ? memoryDifference(nd.memory, ed.memory) : [];
        mismatches.push(
          `seed ${first + at + i}: ${[...diff, ...memory].join("; ")}\n  ${describe(c)}`,
        );
      } else mismatches.push(`seed ${first + at + i}`);
    });
  }
  return { sequences: n, instructions, mismatches, vectors };
}

// Chooses the cases that are recorded as vectors: some for each row that user mode can run, and a random rest. Only
// cases on which the CPU and the emulator agree can be recorded; a disagreement is an error to be looked at first.
import { compare, describe } from "./compare.ts";
import { EmulatedCpu } from "./emulated.ts";
import { generateCase } from "./generate.ts";
import type { Case } from "./layout.ts";
import type { NativeCpu } from "./native.ts";
import { ROWS, notNative } from "./rows.ts";
import type { Vector } from "./vectors.ts";

const PER_ROW = 5;
const PER_SSE_ROW = 12;
const TRIES = 60;

/** `total` vectors from `seed` on. Throws when the two sides differ or a row cannot be reached. */
export function recordVectors(cpu: NativeCpu, total: number, seed: number): Vector[] {
  const emulated = new EmulatedCpu();
  const out: Vector[] = [];
  const take = (cases: readonly Case[], most: number): number => {
    const outcomes = cpu.run(cases);
    let taken = 0;
    // Cases that end in their int3 come first: they have executed all that they hold.
    const order = cases.map((_, i) => i).toSorted((a, b) => rank(a) - rank(b));
    function rank(i: number): number {
      return outcomes[i]?.vector === 3 ? 0 : 1;
    }
    for (const i of order) {
      const c = cases[i];
      const outcome = outcomes[i];
      if (!c || !outcome || outcome.vector >= 0x100 || taken >= most) continue;
      const diff = compare(c, outcome, emulated.run(c));
      if (diff.length) throw new Error(`vectors: ${diff.join("; ")}\n${describe(c)}`);
      out.push({ case: c, outcome });
      taken++;
    }
    return taken;
  };
  for (const row of ROWS) {
    if (notNative(row) !== undefined) continue;
    const cases = Array.from({ length: TRIES }, (_, i) =>
      generateCase(seed + row.index * 1000 + i, row),
    );
    const holding = cases.filter((c) => c.rows.includes(row.index));
    if (take(holding, row.attrs.has("simd") ? PER_SSE_ROW : PER_ROW) === 0) {
      throw new Error(`vectors: no case for "${row.form.opcode} | ${row.form.syntax}"`);
    }
  }
  const rest = Array.from({ length: total - out.length }, (_, i) =>
    generateCase(seed + 1_000_000 + i),
  );
  take(rest, rest.length);
  return out;
}

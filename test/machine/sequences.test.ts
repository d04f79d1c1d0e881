// The core against recorded outcomes of random sequences on a real CPU: what single instructions do is in
// vectors/vectors.test.ts. `node scripts/vectors.mjs sequences` records them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { describe as describeCase } from "./native/compare.ts";
import { EmulatedCpu } from "./native/emulated.ts";
import { compareVector, unpackVectors } from "./native/vectors.ts";

const file = unpackVectors(readFileSync(join(import.meta.dirname, "../vectors/sequences.bin.gz")));

describe("recorded sequences", () => {
  test("every recorded case ends on the core as it did on the CPU", () => {
    const cpu = new EmulatedCpu();
    const wrong: string[] = [];
    for (const v of file.vectors) {
      const diff = compareVector(v, cpu.run(v.case));
      if (diff.length) wrong.push(`${diff.join("; ")}\n  ${describeCase(v.case)}`);
    }
    expect(wrong.slice(0, 5)).toEqual([]);
    expect(file.vectors.length).toBe(7000);
    expect(file.cpu).toMatch(/family \d+/);
  });

  test("cutting a case after every instruction ends in the same state", () => {
    const cpu = new EmulatedCpu();
    for (const v of file.vectors.filter((_, i) => i % 4 === 0)) {
      expect(compareVector(v, cpu.run(v.case, { slice: 1 }))).toEqual([]);
    }
  });
});

// Any run can be cut at any instruction and continued with the same result as one that was not, saved and restored there
// or not. CUTS sets how many places are drawn for each program; `npm run campaign -- cut` draws many more.
import { describe, expect, test } from "vitest";
import { Random } from "./native/random.ts";
import { CUT_PROGRAMS } from "./cut-programs.ts";

const CUTS = Number(process.env["CUTS"] ?? 30);

describe("a run that is cut", () => {
  test.each(CUT_PROGRAMS.map((p) => [p.name, p] as const))(
    "%s: ends as the whole one",
    async (_, program) => {
      const whole = await program.start();
      whole.to(program.insns);
      const end = whole.hash();
      const r = new Random(CUTS);
      const places = new Set<number>();
      while (places.size < CUTS) places.add(1 + r.below(program.insns - 1));
      const inOrder = [...places].toSorted((a, b) => a - b);
      const cut = await program.start();
      const saved = await program.start();
      const look = Math.ceil(CUTS / 4);
      for (const [i, n] of inOrder.entries()) {
        cut.to(n);
        saved.to(n);
        saved.saveAndRestore(r.below(200));
        if (i % look === 0) expect(saved.hash(), `after ${n} instructions`).toBe(cut.hash());
      }
      cut.to(program.insns);
      saved.to(program.insns);
      expect(cut.hash()).toBe(end);
      expect(saved.hash()).toBe(end);
    },
    3_600_000,
  );
});

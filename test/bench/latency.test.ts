// The latency benchmark: its line through points, and small real runs, whose figures are virtual and so the same every time.
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { benchLatency, fitLine, latencyText } from "../../src/bench/latency.ts";
import { wallRows } from "../../src/bench/wall.ts";
import { MECHANISMS } from "../../src/patch/index.ts";
import { Bench } from "../cli/schemas.ts";
import { fakeWorld } from "./world.ts";

const world = () => fakeWorld(() => ({ seconds: 0 }));
/** Two seeds: under one of them kpatch may find somebody in its way five times. */
const CONFIG = { rounds: 2, size: "full", tasks: [64, 96] } as const;

describe("the line through points", () => {
  it("is exact for points on a line, and has no slope through points of one height", () => {
    expect(fitLine([[1, 5], [2, 7], [4, 11]])).toEqual({ at0: 3, slope: 2, r2: 1 }); // prettier-ignore
    expect(fitLine([[1, 5], [2, 5], [3, 5]])).toEqual({ at0: 5, slope: 0, r2: 1 }); // prettier-ignore
  });

  it("explains a quarter of the variance where the correlation is a half", () => {
    // x: -1 0 1, y: 0 1.5 1.5 less its mean: sxy = 1.5, sxx = 2, syy = 1.5; r^2 = 2.25 / 3.
    expect(fitLine([[-1, 0], [0, 1.5], [1, 1.5]])?.r2).toBeCloseTo(0.75, 12); // prettier-ignore
  });

  it("needs two different numbers of tasks", () => {
    expect(fitLine([[3, 1], [3, 2]])).toBeUndefined(); // prettier-ignore
    expect(fitLine([])).toBeUndefined();
  });
});

describe("bench latency", () => {
  it("has the same figures each time, by the tasks in use, and a cost for one more", async () => {
    const rows = await benchLatency(world(), CONFIG);
    expect(v.safeParse(Bench, rows).issues).toBeUndefined();
    const value = (name: string): number => rows.find((r) => r.name === name)?.value ?? NaN;
    for (const m of ["ksplice", "kpatch", "kgraft", "simple", "klp"]) {
      expect(value(`${m}.latency.10`)).toBeGreaterThan(0);
      const rise = value(`${m}.latency.42`) - value(`${m}.latency.10`);
      expect(value(`${m}.latency.task`)).toBeCloseTo(rise / 32, 6);
    }
    const again = await benchLatency(world(), { ...CONFIG, tasks: [64] });
    for (const r of again.filter((x) => x.name.endsWith(".10"))) expect(rows).toContainEqual(r);
    // Nobody is stopped by klp; stop_machine stops everybody while every stack is looked at.
    expect(value("klp.pause.42")).toBe(0);
    expect(value("kpatch.pause.42")).toBeGreaterThan(value("kpatch.pause.10"));
    // An attempt looks at every task, however many it takes; ksplice's is a scan of every word, and costs the most.
    for (const m of ["ksplice", "kpatch", "kgraft", "klp"]) {
      expect(value(`${m}.attempts.42`)).toBeGreaterThanOrEqual(1);
      expect(value(`${m}.attempt.42`)).toBeLessThanOrEqual(value(`${m}.modelled.42`));
      expect(value(`${m}.attempt.task`)).toBeGreaterThan(0);
    }
    expect(value("ksplice.attempt.task")).toBeGreaterThan(value("kpatch.attempt.task"));
    const text = latencyText(rows);
    expect(text).toMatch(/latency +│ 10 tasks │ 42 tasks │ per task │ +R² │/);
    expect(text).toMatch(/│ klp +│ +0 │ +0 │ +0\.0 │ 1\.0000 │/);
  });

  it("has the wall clock of a run of the default scenario under every mechanism, beside its target", async () => {
    const rows = await wallRows(world());
    expect(rows.map((r) => r.name)).toEqual(Object.keys(MECHANISMS).map((m) => `${m}.wall`));
    expect(v.safeParse(Bench, rows).issues).toBeUndefined();
    // The clock of a made-up world goes on by a millisecond at each look.
    for (const r of rows) {
      expect(r.value).toBeCloseTo(0.001, 9);
      expect(r).toMatchObject({ samples: 7, met: true, target: { bound: "at most", value: 0.2 } });
    }
    expect(latencyText(rows)).toMatch(/│ klp +│ +1 │ +1 │ +1 │ met │/);
  });

  it("ends with what there is when it is asked to", async () => {
    let left = 1;
    const stopped = { ...world(), goOn: async () => left-- > 0 };
    const rows = await benchLatency(stopped, CONFIG);
    expect(rows.filter((r) => r.value !== null).map((r) => r.name)).toEqual([
      "ksplice.latency.10",
      "ksplice.pause.10",
      "ksplice.modelled.10",
      "ksplice.attempts.10",
      "ksplice.attempt.10",
    ]);
    expect(latencyText(rows)).toContain("ksplice.latency.task: there are fewer than two numbers");
  });
});

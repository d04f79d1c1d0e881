// The benchmark's arithmetic and its judgement of targets, on runs whose times are made up; and small real runs of what is
// measured in this process, whose results are checked and whose times are not.
import * as v from "valibot";
import { describe, expect, it } from "vitest";
import { benchCore } from "../../src/bench/core.ts";
import { benchText } from "../../src/bench/text.ts";
import { patchRows } from "../../src/bench/patch.ts";
import { benchRestore, restoresPerSecond, switchesPerSecond } from "../../src/bench/restore.ts";
import {
  derived,
  geometricMean,
  measured,
  medianOf,
  meets,
  missed,
  skipped,
} from "../../src/bench/row.ts";
import { Bench } from "../cli/schemas.ts";
import { fakeWorld } from "./world.ts";

const N = { name: "x", unit: "s", definition: "of a test" };

describe("the arithmetic", () => {
  it("takes the middle sample, or the mean of the two in the middle", () => {
    expect(medianOf([9, 1, 5])).toBe(5);
    expect(medianOf([9, 1, 5, 6])).toBe(5.5);
  });

  it("has a geometric mean that is the same for ratios and their inverses", () => {
    expect(geometricMean([0.5, 2])).toBeCloseTo(1, 12);
    expect(geometricMean([0.2, 0.4, 0.1])).toBeCloseTo(1 / geometricMean([5, 2.5, 10]), 12);
  });

  it("calls the least time and the greatest rate the figure", () => {
    expect(measured(N, [3, 1, 2], "least")).toMatchObject({ value: 1, min: 1, median: 2, max: 3 });
    expect(measured(N, [3, 1, 2], "most").value).toBe(3);
  });

  it("meets a target at its very value, on the side that it bounds", () => {
    expect(meets(0.28, { bound: "at least", value: 0.28 })).toBe(true);
    expect(meets(0.2799, { bound: "at least", value: 0.28 })).toBe(false);
    expect(meets(1.3, { bound: "at most", value: 1.3 })).toBe(true);
    expect(meets(1.31, { bound: "at most", value: 1.3 })).toBe(false);
  });

  it("neither meets nor misses what was not measured", () => {
    const target = { bound: "at least", value: 1 } as const;
    const none = skipped({ ...N, target }, "there is none");
    expect(none).toMatchObject({ met: null, value: null, skipped: "there is none" });
    expect(missed([none, derived({ ...N, target }, 0.5, []), derived(N, 0.5, [])])).toHaveLength(1);
  });
});

const CONFIG = { rounds: 2, size: "quick" } as const;
const value = (rows: readonly { name: string; value: number | null }[], name: string) =>
  rows.find((r) => r.name === name)?.value;

describe("bench core", () => {
  it("compares best times: the mean of five ratios, and the one of the wide program", async () => {
    const world = fakeWorld((by, job, nth) => {
      if (by === "qemu") return { seconds: 1 };
      if (job.program === "rewrite") return { seconds: job.mode === 1 ? 3 : 2 };
      if (job.program === "beside") return { seconds: job.mode === 1 ? 3 : 2 };
      if (by === "whole") return { seconds: 0.25 };
      return { seconds: (job.program === "fib" ? 8 : job.program === "wide" ? 10 : 4) - nth };
    });
    const rows = await benchCore(world, CONFIG);
    expect(value(rows, "fib.ratio")).toBeCloseTo(1 / 8);
    expect(value(rows, "fib.later")).toBeCloseTo(1 / 7);
    expect(value(rows, "mean.ratio")).toBeCloseTo(geometricMean([1 / 8, 0.25, 0.25, 0.25, 0.25]));
    expect(value(rows, "rewrite.exec")).toBe(1.5);
    expect(value(rows, "exec.start")).toBe(0.25);
    expect(value(rows, "exec.memory")).toBe(52);
    expect(missed(rows).map((r) => r.name)).toEqual(["wide.ratio", "mean.ratio", "beside.exec"]);
    expect(v.safeParse(Bench, rows).issues).toBeUndefined();
    expect(benchText(rows)).toMatch(/\nmissed: wide\.ratio, mean\.ratio, beside\.exec\n$/);
    // Interleaved: every program by everybody, then the next round.
    const first = world.runs.slice(0, 4);
    expect(first).toEqual(["native fib 30 0", "qemu fib 30 0", "exec fib 30 0", "exec fib 30 0"]);
    expect(world.runs.filter((r) => r === "qemu fib 30 0")).toHaveLength(2);
  });

  it("says what it cannot measure where there is neither native CPU nor qemu-x86_64", async () => {
    const rows = await benchCore(
      fakeWorld(() => ({ seconds: 0.1 }), "there is none"),
      CONFIG,
    );
    const none = rows.filter((r) => r.skipped !== null).map((r) => r.name);
    expect(none).toContain("mean.ratio");
    expect(none).toContain("fib.native");
    expect(value(rows, "fib.exec")).toBe(0.1);
    expect(missed(rows)).toEqual([]);
    expect(v.safeParse(Bench, rows).issues).toBeUndefined();
    expect(benchText(rows)).toMatch(/not measured, there is none: fib\.native, fib\.qemu/);
  });

  it("ends with an error when a run printed or counted something else", async () => {
    const lie = (out: string) =>
      fakeWorld((by, job) => ({
        seconds: 1,
        ...(by === "exec" && job.program === "kmix" ? { out } : {}),
      }));
    await expect(benchCore(lie("kmix 1\n"), CONFIG)).rejects.toThrow(
      /kmix 1500 0 on exec: printed/,
    );
    const count = fakeWorld((by) => ({ seconds: 1, ...(by === "exec" ? { insns: 5 } : {}) }));
    await expect(benchCore(count, CONFIG)).rejects.toThrow(/took 5 instructions, expected/);
  });

  it("rewrites an entry from the host, and the calls go where it leads", async () => {
    const world = { ...fakeWorld(() => ({ seconds: 1 })), goOn: async () => true };
    const rows = await patchRows(world, 1, 7);
    expect(rows.map((r) => r.name)).toEqual(["rewrite.host.seconds", "rewrite.host"]);
  });
});

describe("bench restore", () => {
  const world = { ...fakeWorld(() => ({ seconds: 1 })), goOn: async () => true };

  it.each([1, 8, 64])("puts back a guest that wrote to %i pages", async (pages) => {
    expect(await restoresPerSecond(world, pages, 0.01)).toBeGreaterThan(0);
  });

  it("switches two vCPUs at every instruction without losing one", async () => {
    expect(await switchesPerSecond(world, 10_000)).toBeGreaterThan(0);
  });

  it("has a row for each target", async () => {
    const stopped = { ...world, goOn: async () => false };
    const rows = await benchRestore(stopped, CONFIG);
    expect(rows.filter((r) => r.target !== null).map((r) => r.name)).toEqual([
      "restore.1",
      "restore.8",
      "restore.64",
      "switch",
    ]);
    expect(v.safeParse(Bench, rows).issues).toBeUndefined();
  });
});

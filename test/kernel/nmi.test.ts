// NMIs that come while one is being handled: an IRET in the handler lets the next in, at the top of the same stack.
import { beforeAll, describe, expect, test } from "vitest";
import { registerKprobe } from "../../src/ftrace/index.ts";
import { PERCPU, perCpuVa, readUint } from "../../src/kernel/index.ts";
import { symbolAt } from "../../src/link/index.ts";
import { trueStackOf } from "../../src/machine/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { buildWith, Kernel } from "./programs.ts";

let built: BuiltScenario;
beforeAll(async () => {
  built = await buildWith("default");
});

function nmis(k: Kernel): number {
  const va = perCpuVa(k.image, 0) + BigInt(PERCPU.fields.nmi_count.offset);
  return Number(readUint(k.session.read, va, 8));
}

function finish(k: Kernel): readonly bigint[] {
  const stop = k.session.run(k.session.machine.retired + 50_000_000, new Set(["done", "bug"]));
  expect([stop, k.bugs()]).toEqual(["done", []]);
  return built.scenario.results.map((r) => k.word(r));
}

describe("a NMI in a NMI", () => {
  test.each([1, 2])("is not lost and destroys nothing (%i)", (seed) => {
    const plain = finish(new Kernel(built));
    const k = new Kernel(built, 1, seed);
    // An int3 inside of the handler: its IRET ends the blocking of NMIs.
    const at = k.va("default_do_nmi") + 5n;
    expect(k.do(() => registerKprobe(k.image, at, { pre: 0n, post: 0n })).ok).toBe(true);
    const m = k.session.machine;
    const lo = k.va("exception_stacks");
    let given = 0;
    let nested = 0;
    for (let i = 0; i < 10_000; i++) {
      const sp = m.reg(0, "rsp");
      const isIn = sp > lo && sp <= lo + 8192n;
      // One while it runs, at any of its instructions, and a first one now and then.
      if (isIn ? i % 83 === 0 : i % 97 === 0) {
        m.nmi(0);
        given++;
        if (isIn) nested++;
      }
      k.run(1);
      expect(k.bugs()).toEqual([]);
      if (m.reg(0, "cpl") === 0n) {
        for (const f of trueStackOf(m, 0)?.frames ?? []) {
          if (f.kind === "call") expect(symbolAt(k.image, f.ret)).toBeDefined();
        }
      }
    }
    expect(nested).toBeGreaterThan(20);
    k.run(5000);
    // Those that came while one was pending are one.
    expect(nmis(k)).toBeGreaterThan(15);
    expect(nmis(k)).toBeLessThanOrEqual(given + given);
    expect(finish(k)).toEqual(plain);
  });
});

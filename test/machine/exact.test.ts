// A run is the same however it is cut, on one vCPU and on two, and a snapshot is the whole of it.
import { describe, expect, test } from "vitest";
import type { Snapshot } from "../../src/machine/index.ts";
import type { Bare } from "./bare.ts";
import { bootGuest as boot } from "./guest.ts";
import { Random } from "./native/random.ts";

type Turns = readonly (readonly [number, number])[];

function randomTurns(r: Random, vcpus: number, units: number): Turns {
  const out: [number, number][] = [];
  for (let left = units; left > 0;) {
    const n = Math.min(left, 1 + r.below(90));
    out.push([r.below(vcpus), n]);
    left -= n;
  }
  return out;
}

/** Runs turns, each cut at random into pieces. */
function runCut(b: Bare, turns: Turns, cut: (n: number) => number): void {
  for (const [vcpu, units] of turns) {
    for (let left = units; left > 0;) {
      const n = Math.max(1, Math.min(left, cut(left)));
      const out = b.run(n, vcpu);
      if (out.used !== n) throw new Error(`${out.exit} after ${out.used} of ${n}`);
      left -= n;
    }
  }
}

const WHOLE = (n: number): number => n;

describe("exact runs", () => {
  test.each([1, 2])("%i vCPUs: every cut of a run ends in the same state", async (vcpus) => {
    for (let seed = 1; seed <= 4; seed++) {
      const turns = randomTurns(new Random(seed), vcpus, 12_000);
      const whole = await boot(vcpus, seed);
      runCut(whole, turns, WHOLE);
      const hash = whole.machine.stateHash();
      const r = new Random(seed + 100);
      for (const cut of [(n: number): number => 1 + r.below(n), (): number => 1, (): number => 3]) {
        const b = await boot(vcpus, seed);
        runCut(b, turns, cut);
        expect(b.machine.retired).toBe(whole.machine.retired);
        expect(b.machine.stateHash()).toBe(hash);
      }
      // It has done what the test is about.
      for (const what of ["ticks", "shared", "divides"]) {
        expect(whole.machine.read64(whole.symbol(what))).toBeGreaterThan(3n);
      }
      expect(whole.machine.reg(0, "r12")).toBeGreaterThan(0n);
    }
  });

  test("a state differs from the one an instruction later", async () => {
    const b = await boot(1, 1);
    runCut(b, [[0, 5000]], WHOLE);
    let before = b.machine.stateHash();
    for (let i = 0; i < 50; i++) {
      b.run(1);
      expect(b.machine.stateHash()).not.toBe(before);
      before = b.machine.stateHash();
    }
  });
});

describe("snapshots", () => {
  test.each([1, 2])("%i vCPUs: restoring gives the state and its future back", async (vcpus) => {
    const r = new Random(vcpus);
    const b = await boot(vcpus, 3);
    for (let i = 0; i < 12; i++) {
      runCut(b, randomTurns(r, vcpus, 1 + r.below(900)), WHOLE);
      const s = b.machine.snapshot();
      const hash = b.machine.stateHash();
      const turns = randomTurns(r, vcpus, 700);
      runCut(b, turns, WHOLE);
      const later = b.machine.stateHash();
      const retired = b.machine.retired;
      b.machine.restore(s);
      expect(b.machine.stateHash()).toBe(hash);
      runCut(b, turns, (n) => 1 + r.below(n));
      expect(b.machine.stateHash()).toBe(later);
      expect(b.machine.retired).toBe(retired);
    }
  });

  test("the machine with snapshots does what one without does", async () => {
    const turns = randomTurns(new Random(9), 2, 6000);
    const plain = await boot(2, 9);
    runCut(plain, turns, WHOLE);
    const b = await boot(2, 9);
    turns.forEach((t, i) => {
      if (i % 3 === 0) b.machine.snapshot();
      if (i % 5 === 0) b.machine.restore(b.machine.snapshot());
      runCut(b, [t], WHOLE);
    });
    expect(b.machine.stateHash()).toBe(plain.machine.stateHash());
  });

  test("nested: any of many snapshots can be gone back to, in any order", async () => {
    const r = new Random(4);
    const b = await boot(2, 4);
    const kept: { s: Snapshot; hash: bigint; turns: Turns; later: bigint }[] = [];
    for (let i = 0; i < 8; i++) {
      const s = b.machine.snapshot();
      const hash = b.machine.stateHash();
      const turns = randomTurns(r, 2, 400);
      runCut(b, turns, WHOLE);
      kept.push({ s, hash, turns, later: b.machine.stateHash() });
    }
    for (let i = 0; i < 40; i++) {
      const k = r.pick(kept);
      b.machine.restore(k.s);
      expect(b.machine.stateHash()).toBe(k.hash);
      runCut(b, k.turns, WHOLE);
      expect(b.machine.stateHash()).toBe(k.later);
    }
  });
});

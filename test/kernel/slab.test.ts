// Memory for what comes and goes at run time: kmalloc's objects and the module room's pages.
import { beforeAll, describe, expect, test } from "vitest";
import { call, type Program } from "../../src/kernel/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { buildWith, Kernel } from "./programs.ts";

let built: BuiltScenario;
beforeAll(async () => {
  built = await buildWith("two-tasks");
});

function* each(fn: string, values: readonly bigint[]): Program<readonly bigint[]> {
  const out: bigint[] = [];
  for (const v of values) out.push(yield* call(fn, v));
  return out;
}

describe("kzalloc", () => {
  test("gives zeroed objects that do not overlap, aligned to their size rounded up", () => {
    const k = new Kernel(built, 1);
    const sizes = [1n, 32n, 33n, 64n, 100n, 4096n, 4097n, 65536n, 24n, 200n];
    const vas = k.do(() => each("kzalloc", sizes));
    const spans = vas.map((va, i) => ({ va, end: va + (sizes[i] ?? 0n) }));
    for (const [i, s] of spans.entries()) {
      const rounded = sizes.map((n) => 1n << BigInt(Math.max(5, (n - 1n).toString(2).length)))[i];
      expect(s.va % (sizes[i] === 1n ? 32n : (rounded ?? 1n))).toBe(0n);
      expect(k.session.read(s.va, Number(s.end - s.va)).every((b) => b === 0)).toBe(true);
      for (const t of spans.slice(i + 1)) expect(s.va >= t.end || t.va >= s.end).toBe(true);
    }
  });

  test("an object that was freed is poisoned, and comes back zeroed", () => {
    const k = new Kernel(built, 1);
    const [va = 0n] = k.do(() => each("kzalloc", [64n]));
    k.do(() => each("kfree", [va]));
    expect([...k.session.read(va + 8n, 56)]).toEqual(Array(56).fill(0x6b));
    expect(k.do(() => each("kzalloc", [64n]))).toEqual([va]);
    expect(k.session.read(va, 64).every((b) => b === 0)).toBe(true);
  });

  test("answers 0 for more than it has, and goes on", () => {
    const k = new Kernel(built, 1);
    expect(k.do(() => each("kzalloc", [65537n]))).toEqual([0n]);
    const all = k.do(() => each("kzalloc", Array<bigint>(12).fill(65536n)));
    expect(all.filter((va) => va !== 0n).length).toBeGreaterThan(5);
    expect(all.at(-1)).toBe(0n);
    k.do(() => each("kfree", all));
    expect(k.do(() => each("kzalloc", [65536n]))).not.toEqual([0n]);
  });

  test.each<readonly [string, bigint]>([
    ["kfree: the object is free already", 0n],
    ["kfree: not an object of a slab", 8n],
  ])("%s", (message, off) => {
    const k = new Kernel(built, 1);
    const [va = 0n] = k.do(() => each("kzalloc", [64n]));
    expect(() => k.do(() => each("kfree", [va + off, va + off]))).toThrow(message);
  });
});

describe("module_alloc", () => {
  test("gives the lowest pages that are free, filled with int3, and takes them back", () => {
    const k = new Kernel(built, 1);
    const room = k.va("module_room");
    const [a, b, c] = k.do(() => each("module_alloc", [100n, 8192n, 4096n]));
    expect([a, b, c]).toEqual([room, room + 4096n, room + 3n * 4096n]);
    expect(k.session.read(room, 4 * 4096).every((x) => x === 0xcc)).toBe(true);
    k.session.machine.write(room + 4096n, Uint8Array.of(0x90, 0xc3));
    k.do(() => each("module_memfree", [room + 4096n]));
    expect([...k.session.read(room + 4096n, 2)]).toEqual([0xcc, 0xcc]);
    // Three pages do not fit into the gap of two, one does.
    expect(k.do(() => each("module_alloc", [3n * 4096n, 4096n, 5n]))).toEqual([
      room + 4n * 4096n,
      room + 4096n,
      room + 2n * 4096n,
    ]);
    expect(k.do(() => each("module_alloc", [0n, 1n << 30n]))).toEqual([0n, 0n]);
  });

  test("an address that is not an allocation's start is a BUG", () => {
    const k = new Kernel(built, 1);
    k.do(() => each("module_alloc", [8192n]));
    expect(() => k.do(() => each("module_memfree", [k.va("module_room") + 4096n]))).toThrow(
      "module_memfree: not the start of an allocation",
    );
  });
});

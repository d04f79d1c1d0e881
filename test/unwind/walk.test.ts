// The walk's own checks, on stacks made by hand: whatever lies there, it reads nothing off the stack, ends, and is not
// called reliable unless its expected end was reached.
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { INACTIVE_FRAME, PT_REGS, symbolVa, type Read } from "../../src/kernel/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { archStackWalk, UNWINDERS, type Trace, type WalkInput } from "../../src/unwind/index.ts";
import { buildNamed } from "../scenario/files.ts";

let built: BuiltScenario;
let text = 0n;
let lo = 0n;
beforeAll(async () => {
  built = await buildNamed("default");
  text = symbolVa(built.image, "schedule") + 8n;
  lo = symbolVa(built.image, "task_stacks");
});

const SIZE = 16384;
const PT_REGS_OFF = SIZE - PT_REGS.size;

/** A stack by its words at offsets; every read is checked to lie on it. */
function walk(
  words: Readonly<Record<number, bigint>>,
  sp: number,
  more: Partial<WalkInput> = {},
): Trace {
  const bytes = new Uint8Array(SIZE);
  const view = new DataView(bytes.buffer);
  for (const [off, v] of Object.entries(words)) view.setBigUint64(Number(off), v, true);
  const read: Read = (va, n) => {
    const off = Number(va - lo);
    if (va < lo || off + n > SIZE) throw new Error(`read of 0x${va.toString(16)}`);
    return bytes.subarray(off, off + n);
  };
  return archStackWalk(UNWINDERS.fp, {
    read,
    images: [built.image],
    stack: { lo, hi: lo + BigInt(SIZE) },
    ptRegsVa: lo + BigInt(PT_REGS_OFF),
    start: { kind: "inactive", threadSp: lo + BigInt(sp) },
    maxFrames: 100,
    ...more,
  });
}

const BP = INACTIVE_FRAME.fields.bp.offset;
const va = (off: number): bigint => lo + BigInt(off);
const LAST = PT_REGS_OFF - 16;

/** An inactive task whose frames lie at the offsets; the last goes to `end`. */
function frames(
  offsets: readonly number[],
  end: bigint,
  ret: bigint = text,
): Record<number, bigint> {
  const words: Record<number, bigint> = {};
  offsets.forEach((off, i) => {
    const next = offsets[i + 1];
    words[off] = next === undefined ? end : va(next);
    words[off + 8] = ret;
  });
  return words;
}
const start = 8192;

describe("a stack of frames", () => {
  test("is reliable when the last lies below the task's pt_regs", () => {
    const t = walk(frames([start + BP, start + 400, LAST], 0n), start);
    expect([t.reliable, t.complete, t.frames.length]).toEqual([true, true, 3]);
  });

  test("may end 8 bytes lower where the prologue realigned the stack, with the same return address", () => {
    const words = frames([start + BP, LAST - 8], 0n);
    expect(walk({ ...words, [LAST + 8]: text }, start).reliable).toBe(true);
    expect(walk(words, start).reliable).toBe(false);
  });

  test("may end 24 bytes lower inside of ftrace, whose frames repeat the last", () => {
    const words = frames([start + BP, LAST - 24], 5n);
    expect(walk({ ...words, [LAST - 8]: 5n, [LAST + 8]: text }, start).reliable).toBe(true);
    expect(walk({ ...words, [LAST - 8]: 6n, [LAST + 8]: text }, start).reliable).toBe(false);
  });

  test("of a new task is its first return address, whatever rbp says", () => {
    const sp = PT_REGS_OFF - INACTIVE_FRAME.size;
    const t = walk({ [sp + BP]: va(PT_REGS_OFF) + 1n, [sp + BP + 8]: text }, sp);
    expect([t.reliable, t.frames.length]).toEqual([true, 1]);
  });

  test.each([
    ["zero", 0n],
    ["not_text", 0x1234n],
    ["not_text", 0xffff_ffff_8fff_0000n],
  ])("with a return address that is %s is refused", (reason, ret) => {
    const t = walk(frames([start + BP, start + 400, LAST], 0n, ret), start);
    expect([t.reliable, t.error?.reason]).toEqual([false, reason]);
  });

  test.each([
    ["loops", "backwards", (): bigint => va(start + BP)],
    ["goes down", "backwards", (): bigint => va(start + 8)],
    ["leaves its stack", "off_stack", (): bigint => lo + BigInt(SIZE) + 64n],
    ["ends at zero", "off_stack", (): bigint => 0n],
    ["goes to user memory", "off_stack", (): bigint => 0x7fff_0000_1000n],
    ["goes to the last word", "off_stack", (): bigint => lo + BigInt(SIZE) - 8n],
  ] as const)("that %s is refused", (_, reason, end) => {
    const t = walk(frames([start + BP, start + 400], end()), start);
    expect([t.reliable, t.complete, t.error?.reason]).toEqual([false, false, reason]);
    expect(t.frames.length).toBe(2);
  });

  test("deeper than the consumer takes is refused, at one frame more than it takes", () => {
    const deep = (n: number): Trace =>
      walk(frames([start + BP, ...Array.from({ length: n - 2 }, (_, i) => start + 200 + i * 16), LAST], 0n), start); // prettier-ignore
    expect([deep(100).reliable, deep(100).frames.length]).toEqual([true, 100]);
    expect([deep(101).reliable, deep(101).error?.reason]).toEqual([false, "too_deep"]);
  });

  test("with kernel pt_regs goes on but is not reliable; with the user's it ends well", () => {
    const regs = start + 512;
    const words = frames([start + BP], va(regs) + 1n);
    const kernel = {
      ...words,
      ...frames([regs + 400, LAST], 0n),
      [regs + PT_REGS.fields.RIP.offset]: text,
      [regs + PT_REGS.fields.CS.offset]: 0x10n,
      [regs + PT_REGS.fields.RBP.offset]: va(regs + 400),
    };
    const t = walk(kernel, start);
    expect([t.reliable, t.complete, t.error?.reason]).toEqual([false, true, "pt_regs"]);
    expect(t.frames.map((f) => f.regs)).toEqual([false, true, false, false]);
    const user = { ...kernel, [regs + PT_REGS.fields.CS.offset]: 0x33n };
    expect([walk(user, start).reliable, walk(user, start).frames.length]).toEqual([true, 1]);
  });

  test("shows the original of a return address that a trampoline replaced", () => {
    const words = { ...frames([start + BP, start + 400, LAST], 0n), [start + 408]: 0x1111n };
    const t = walk(words, start, {
      recoverRetAddr: (_, ra) => (ra === 0x1111n ? text + 1n : ra),
    });
    expect([t.reliable, t.frames[1]?.ip]).toEqual([true, text + 1n]);
  });

  test("whose saved sp is not on it is refused", () => {
    expect(walk({}, SIZE - 8).error?.reason).toBe("off_stack");
    expect(walk({}, -8).error?.reason).toBe("off_stack");
  });
});

test("any bytes at all end the walk, within the stack, with its end reached or a reason", () => {
  const word = fc.oneof(
    fc.constantFrom(0n, 1n, -1n, 8n),
    fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
    fc.integer({ min: 0, max: SIZE }).map((off) => -BigInt(off) - 2n),
  );
  fc.assert(
    fc.property(fc.array(word, { minLength: 16, maxLength: 400 }), (list) => {
      const words: Record<number, bigint> = {};
      list.forEach((v, i) => {
        // Small negative numbers stand for addresses of the stack.
        const w = v < -1n ? va(Number(-v - 2n)) : BigInt.asUintN(64, v);
        words[start + i * 8] = i % 2 === 1 ? text : w;
      });
      const t = walk(words, start);
      expect(t.frames.length).toBeLessThanOrEqual(100);
      if (t.reliable) expect(t.complete).toBe(true);
      else expect(t.error).toBeDefined();
    }),
    { numRuns: 300 },
  );
});

test("a call to NULL is walked from the return address on top of the stack", () => {
  const words = { [start]: text, ...frames([start + 64, LAST], 0n) };
  const at = { ip: 0n, sp: va(start), bp: va(start + 64) };
  const t = walk(words, start, { start: { kind: "registers", ...at } });
  expect(t.frames.map((f) => f.ip)).toEqual([0n, text, text, text]);
  expect([t.complete, t.reliable]).toEqual([true, false]);
});

// What is not compared, and why: where processors may differ, or differ by vendor, both sides are set to the same before
// their lines are made. docs/vectors.md lists the reasons; undefined flags are the table's and not here.
import type { Outcome } from "../guest/guest.ts";
import { W } from "../guest/words.ts";
import { paOf } from "../guest/world.ts";
import type { VectorForm } from "./forms.ts";
import type { VectorCase } from "./user-cases.ts";

const LOW = 0xffff_ffffn;

export interface Mask {
  readonly what: string;
  readonly why: string;
  readonly forms: RegExp;
  /** Changes the words of `state` in place, and answers other parts that change. */
  readonly apply: (o: Outcome, c: VectorCase) => Partial<Outcome> | undefined;
}

/** The forms are matched against the mnemonic. */
export const MASKS: readonly Mask[] = [
  {
    what: "the x87 instruction and data pointers and the last opcode",
    why: "AMD keeps them only while an exception is pending; Intel's newer models save no selectors and a different opcode",
    forms: /./,
    apply: ({ state }, c) => {
      state[W.fip] = c.start[W.fip] ?? 0n;
      state[W.fdp] = c.start[W.fdp] ?? 0n;
      const fop = 0xffffn << 48n;
      state[W.x87] = ((state[W.x87] ?? 0n) & ~fop) | ((c.start[W.x87] ?? 0n) & fop);
      return undefined;
    },
  },
  {
    what: "whether a page above user space is present, in the error code of a #PF from user mode",
    why: "an operating system says of its own addresses what it likes; Linux always says that they are",
    forms: /./,
    apply: ({ state, trap }) => {
      if (
        trap?.vector !== 14 ||
        trap.code === undefined ||
        (state[W.cr2] ?? 0n) < 0x7fff_ffff_f000n
      )
        return undefined;
      return { trap: { ...trap, code: trap.code & ~1n } };
    },
  },
  {
    what: "the low halves of the answer registers",
    why: "the answer is this machine's own; that the high halves are zero is compared",
    forms: /^(rdtsc|rdtscp|cpuid)$/,
    apply: ({ state }) => {
      for (const w of [W.rax, W.rcx, W.rdx, W.rbx]) state[w] = (state[w] ?? 0n) & ~LOW;
      return undefined;
    },
  },
  {
    what: "the base of fs and gs after a null selector",
    why: "Intel clears it, AMD keeps it before Zen 5",
    forms: /^(mov|pop|l[fg]s)$/,
    apply: ({ state }, c) => {
      if (((state[W.fs] ?? 0n) & ~3n) === 0n) state[W.fsBase] = c.start[W.fsBase] ?? 0n;
      if (((state[W.gs] ?? 0n) & ~3n) === 0n) state[W.gsBase] = c.start[W.gsBase] ?? 0n;
      return undefined;
    },
  },
  {
    what: "which of the null selectors 0 to 3 a data segment register holds",
    why: "a return to user mode makes it 0, so that it cannot be seen from there",
    forms: /^(mov|pop|l[fg]s)$/,
    apply: ({ state }, c) => {
      if (((c.start[W.cs] ?? 0n) & 3n) === 0n) return undefined;
      for (const w of [W.es, W.ds, W.fs, W.gs]) if ((state[w] ?? 0n) < 4n) state[w] = 0n;
      return undefined;
    },
  },
  {
    what: "MXCSR_MASK, x87 pointers and the reserved end of an FXSAVE image",
    why: "AMD has MXCSR.MM, and writes pointers only with an exception pending; the end is reserved",
    forms: /^fxsave/,
    apply: (o, c) => {
      if (c.operand === undefined) return undefined;
      const image = paOf(c.operand);
      const changes = o.changes.flatMap(([pa, v]): (readonly [number, bigint])[] => {
        const at = pa - image;
        if (at === 0) return [[pa, v & 0x0000_ffff_ffff_ffffn]];
        if (at === 24) return [[pa, v & LOW]];
        return at === 8 || at === 16 || at >= 416 ? [] : [[pa, v]];
      });
      return { changes };
    },
  },
];

/** The outcome with everything set aside that is not compared. */
export function masked(form: VectorForm, c: VectorCase, o: Outcome): Outcome {
  let out: Outcome = { ...o, state: o.state.slice() };
  for (const m of MASKS) {
    if (!m.forms.test(form.row.mnemonic)) continue;
    const other = m.apply(out, c);
    if (other) out = { ...out, ...other };
  }
  return out;
}

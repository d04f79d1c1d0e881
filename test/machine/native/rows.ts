// What the generator has to know of a row beyond the table: which flags it reads, whether the CPU of the test can run it
// in user mode with the outcome that the table's machine has, and why not.
import { X86, encodingOf, operandsOf, type Encoding, type Form } from "../../../src/isa/index.ts";

export const C = 1;
export const P = 4;
export const A = 0x10;
export const Z = 0x40;
export const S = 0x80;
export const O = 0x800;
export const ALL = C | P | A | Z | S | O;
const LETTERS: Readonly<Record<string, number>> = { c: C, p: P, a: A, z: Z, s: S, o: O };

export interface Row {
  readonly index: number;
  readonly form: Form;
  readonly encoding: Encoding;
  readonly operands: readonly string[];
  readonly mnemonic: string;
  readonly attrs: ReadonlySet<string>;
  readonly defined: number;
  readonly undefined: number;
  readonly reads: number;
}

function bits(letters: string): number {
  return [...letters].reduce((m, l) => m | (LETTERS[l] ?? 0), 0);
}

const CONDITIONS: Readonly<Record<string, number>> = {
  O: O, No: O, B: C, Ae: C, E: Z, Ne: Z, Be: C | Z, A: C | Z, S: S, Ns: S, P: P, Np: P,
  L: S | O, Ge: S | O, Le: Z | S | O, G: Z | S | O,
}; // prettier-ignore

function readsOf(form: Form): number {
  const condition = /\.Cond(\w+)/.exec(form.does)?.[1];
  if (condition !== undefined) return CONDITIONS[condition] ?? ALL;
  if (/Adc|Sbb|Rcl|Rcr|Cmc/.test(form.does)) return C;
  if (form.does === "lahf") return ALL & ~O;
  if (form.does.startsWith("pushFlags")) return ALL;
  return 0;
}

export const ROWS: readonly Row[] = X86.map((form, index) => {
  const [defined = "", open = ""] = form.flags.split("?");
  return {
    index,
    form,
    encoding: encodingOf(form),
    operands: operandsOf(form),
    mnemonic: form.syntax.split(" ")[0] ?? "",
    attrs: new Set(form.attrs.split(" ")),
    defined: bits(defined),
    undefined: bits(open),
    reads: readsOf(form),
  };
});

const REASONS: readonly (readonly [RegExp, string])[] = [
  [/^(rdtsc|rdtscp|cpuid)$/, "its answer is this machine's own"],
  [/^(sgdt|sidt|sldt|str)$/, "shows the host's tables, or #GP under UMIP"],
  [/^vmcall$/, "the hypercall of this machine; #UD outside of a guest"],
  [/^r(cp|sqrt)[ps]s$/, "an approximation, each CPU its own"],
  [/^(f2xm1|fyl2xp?1?|fptan|fpatan|fsin|fcos|fsincos)$/, "each CPU its own last bits"],
  [/^fxsave$/, "shows the host's x87 state and MXCSR mask"],
  [/^(pop [FG]S|l[fg]s .*)$/, "would move the thread's own data"],
  [/^smsw /, "shows the host's CR0, or #GP under UMIP"],
  [/^syscall$/, "would enter the host's kernel"],
  [/^(rd|wr)[fg]sbase$/, "the host's thread pointer, where CR4 lets it"],
  [/^rdpid$/, "shows the host's registers"],
  [/^(insb|insd|outsb|outsd)$/, "needs the I/O privilege"],
  [/^serialize$/, "not on every CPU"],
  [/^(int1|retf|(call|jmp) Mp)$/, "goes by the host's debug state and descriptor table"],
];

/** Why a row cannot be compared with the CPU in user mode, or undefined when it can. */
export function notNative(row: Row): string | undefined {
  return REASONS.find(([re]) => re.test(row.mnemonic) || re.test(row.form.syntax))?.[1];
}

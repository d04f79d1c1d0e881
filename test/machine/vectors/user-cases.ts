// The inputs of the vectors of user mode: for each form and number one case, made from the seed that its name and number
// give. Families of instructions that would do nothing of interest on random state are set up first.
import type { GuestCase } from "../guest/guest.ts";
import { ABSENT, CODE, CR4_START, DATA, HOT, SEL, STACK } from "../guest/world.ts";
import { W } from "../guest/words.ts";
import { immediateBytes } from "../native/encode.ts";
import { fpWord, someMxcsr } from "../native/fp.ts";
import { edgy } from "../native/random.ts";
import { undefinedFlags } from "./flags.ts";
import { Draft, RAX, RBP, RCX, RDI, RDX, RSI, RSP, isSimd, isX87 } from "./draft.ts";
import type { VectorForm } from "./forms.ts";
import { extendedNumber } from "./fpu.ts";

export interface VectorCase extends GuestCase {
  readonly code: Uint8Array;
  readonly codeOff: number;
  /** Linear address of its memory operand. */
  readonly operand: bigint | undefined;
  /** Flags that the manual leaves undefined after it. */
  readonly undefinedFlags: number;
}

const DF = 0x400n;

/** Sets a case up: `d` holds random state and operands. The first entry whose pattern fits `does` is taken. */
const SETUPS: readonly (readonly [RegExp, (d: Draft) => void])[] = [
  [/^(jcc|jmp$|call$|loop|jrcxz)/, branch],
  [/^(jmp|call)Indirect/, indirect],
  [/^retFar/, farReturn],
  [/^(call|jmp)Far/, farTransfer],
  [/^ret/, (d) => d.poke(d.state[RSP] ?? 0n, d.wild ? d.bad() : d.target(), 8)],
  [/^iret/, interruptReturn],
  [/^stringOp/, stringOp],
  [/^xlat/, (d) => d.reg(3, d.wild ? d.bad() : DATA + BigInt(HOT))],
  [/^leave/, (d) => d.reg(RBP, d.wild ? d.bad() : (d.state[RSP] ?? 0n) + BigInt(d.r.below(8) * 8))],
  [/^enter/, enter],
  [/^divAcc/, division],
  [/^(load|store)Offset/, (d) => {
    d.o.imm = d.wild ? d.bad() : DATA + BigInt(HOT + d.r.below(112));
    d.o.addr32 = d.r.chance(10);
    d.o.segment = !d.wild && d.r.chance(6) ? d.r.pick([0x64, 0x65]) : 0;
  }],
  [/^popFlags/, (d) => d.poke(d.state[RSP] ?? 0n, BigInt(d.r.u32()) & 0x207ed7n, 8)],
  [/^(push|pop)/, (d) => {
    if (d.wild && d.r.chance(60)) d.reg(RSP, d.r.pick([STACK + 2n, STACK, STACK + 0x2000n, STACK + 0x1ffcn, 0x8000_0000_0003n]));
  }],
  [/^cmpxchgPair/, (d) => compareExchange(d, true)],
  [/^cmpxchg/, (d) => compareExchange(d, false)],
  [/^movToSeg/, segmentLoad],
  [/^(read|write)Base/, (d) => { d.state[W.cr4] = CR4_START | 0x1_0000n; }], // FSGSBASE, which Linux sets
  [/^loadFar/, farPointer],
  [/^(lookAt|verify)/, (d) => putSelector(d, d.r.pick(SAME_SELECTORS))],
  [/^movFromSeg/, (d) => { if (!d.wild) d.o.reg = d.r.below(6); }],
  [/^mov(From|To)[CD]r/, (d) => {
    // One of eight that there is not: #UD before the privilege counts. LOCK is CR8 on AMD.
    const none = /Cr/.test(d.form.row.form.does) ? [1, 5, 6, 7, 9, 11, 15] : [8, 10, 15];
    d.o.reg = d.r.pick(d.r.chance(12) ? none : [0, 2, 3]);
    d.o.lock = false;
  }],
  [/^bitString/, (d) => {
    if (d.o.reg !== RSP && !d.wild) d.reg(d.o.reg, BigInt(d.r.below(1200) - 600) | (d.o.size < 64 ? BigInt(d.r.u32()) << 32n : 0n));
  }],
  [/^shiftDouble/, (d) => {
    // Sixteen bits shifted by more than sixteen are not defined.
    const n = BigInt(1 + d.r.below(15));
    if (d.o.size === 16) d.o.imm = n;
    if (d.o.size === 16) d.reg(RCX, ((d.state[RCX] ?? 0n) & ~0xffn) | n);
  }],
  [/^(shift|bit)\b/, (d) => { if (d.r.chance(40)) d.o.imm = BigInt(d.r.below(70)); }],
  [/^(intN|int3)/, (d) => { d.o.imm = d.r.pick([0n, 1n, 3n, 4n, 6n, 8n, 13n, 14n, 0x20n, 0xffn]); }],
  [/^(ldmxcsr)/, (d) => {
    const at = d.wild ? d.address() : d.alignedOperand([0, 4, 8]);
    d.poke(at, someMxcsr(d.r) | (d.r.chance(8) ? 1n << BigInt(18 + d.r.below(14)) : 0n), 4);
  }],
  [/^fx(save|rstor)/, fxImage],
  // As there: an image that is absent is absent as a whole.
  [/^f(nstenv|ldenv|nsave|rstor)/, (d) => {
      d.o.segment = 0; if (d.wild && typeof d.o.rm !== "number" && typeof d.o.rm.base === "number") d.reg(d.o.rm.base, ABSENT + 0x100n); }],
  // Whether a ModRM byte that cannot be fetched counts is the CPU's own.
  [/^undefined_/, (d) => { d.codeOff = 0x800 + d.r.below(64); }],
  [/^maskedStore/, (d) => d.reg(RDI, d.wild ? d.bad() : d.dataPointer())],
]; // prettier-ignore

function branch(d: Draft): void {
  const { r } = d;
  const size = immediateBytes(d.form.row, d.o);
  const near = BigInt(r.chance(50) ? r.below(127) : -16 - r.below(112)); // never into itself: that would not end
  d.o.imm = size === 1 ? near : BigInt(r.chance(50) ? r.below(0x800) : -16 - r.below(0x700));
  if (d.wild && size === 4) d.o.imm = BigInt(r.u32() | 0) | 0x4000_0000n;
  d.o.padding = [];
  if (/loop|jrcxz/.test(d.form.row.form.does)) {
    d.o.addr32 = r.chance(25);
    d.reg(RCX, r.pick([0n, 1n, 2n, 0x1_0000_0000n, 0x1_0000_0001n, edgy(r)]));
  }
  if (d.wild && d.form.row.mnemonic === "call") d.reg(RSP, r.pick([STACK, STACK + 4n, 0x8000_0000_0000n]));
} // prettier-ignore

function indirect(d: Draft): void {
  const to = d.wild ? d.bad() : d.target();
  if (typeof d.o.rm === "number") d.reg(d.o.rm, to);
  else d.poke(d.address(), to, 8);
  if (d.r.chance(4)) d.reg(RSP, STACK + 4n);
}

/** Selectors for code: the present one, or some that are refused with the same error under Linux. */
function codeSelector(d: Draft): bigint {
  const refused = [0, 3, SEL.kernelCs, SEL.kernelCs | 3, SEL.userDs | 3, 0x7f3];
  return BigInt(d.wild ? d.r.pick(refused) : SEL.userCs | 3);
}

function farReturn(d: Draft): void {
  const n = d.o.size / 8;
  const sp = d.state[RSP] ?? 0n;
  d.o.imm = BigInt(d.r.below(8) * 8);
  d.poke(sp, d.wild && d.r.chance(20) ? d.bad() : d.target(), n);
  d.poke(sp + BigInt(n), codeSelector(d) | (BigInt(d.r.u32()) << 16n), n);
}

function farTransfer(d: Draft): void {
  d.choosable();
  const n = d.o.size / 8;
  d.poke(d.address(), d.wild && d.r.chance(20) ? d.bad() : d.target(), n);
  d.poke(d.address() + BigInt(n), codeSelector(d), 2);
}

function interruptReturn(d: Draft): void {
  const { r } = d;
  const sp = d.state[RSP] ?? 0n;
  const cs = codeSelector(d);
  const ss = d.wild && r.chance(50) ? r.pick([0, 3, SEL.kernelDs, SEL.userCs | 3, 0xffb]) : SEL.userDs | 3;
  const n = d.o.size / 8;
  const slot = (i: number, v: bigint): void => d.poke(sp + BigInt(i * n), v, n);
  slot(0, d.wild && r.chance(20) && n === 8 ? 0x8000_0000_0000n : d.target());
  slot(1, cs | (BigInt(r.u32()) << 32n));
  slot(2, (BigInt(r.u32()) & 0x204ed7n) | 2n);
  slot(3, edgy(r));
  slot(4, BigInt(ss) | (BigInt(r.u32()) << 32n));
  if (r.chance(5)) d.flag(0x4000n, true); // NT
} // prettier-ignore

function stringOp(d: Draft): void {
  const { r } = d;
  d.o.rep = r.pick([0, 0xf3, 0xf2]);
  d.o.addr32 = r.chance(8);
  d.o.segment = !d.wild && r.chance(6) ? r.pick([0x64, 0x65]) : 0;
  d.flag(DF, r.chance(40));
  d.reg(RSI, d.wild ? d.bad() : d.dataPointer());
  d.reg(RDI, d.wild && r.chance(50) ? d.bad() : d.dataPointer());
  d.reg(RCX, r.chance(15) ? 0n : BigInt(r.below(40)));
  if (d.o.addr32 && r.chance(50)) d.reg(RCX, (d.state[RCX] ?? 0n) | (BigInt(r.u32()) << 32n));
  // Comparisons that go on for a while: the same bytes in both places.
  if (/Cmps|Scas/.test(d.form.row.form.does) && r.chance(50)) {
    const same = edgy(r) & 0xffn;
    const all = BigInt.asUintN(64, same * 0x0101010101010101n);
    d.reg(RAX, all);
    for (let i = 0; i < 14; i++) d.poke(DATA + BigInt(HOT + i * 8), all, 8);
  }
}

function enter(d: Draft): void {
  const { r } = d;
  // A nested ENTER that faults half-way has written on the CPU; here it has not.
  d.reg(RBP, (d.state[RSP] ?? 0n) + BigInt(r.below(8) * 8));
  d.o.imm = BigInt(r.below(128) * 8) | (BigInt(r.below(r.chance(80) ? 3 : 40)) << 16n);
}

function division(d: Draft): void {
  const { r, o } = d;
  const bits = d.form.row.operands[0] === "Eb" ? 8n : BigInt(o.size);
  const full = (1n << bits) - 1n;
  if (d.wild) return;
  // A divisor and a quotient first, and the dividend from them: edges of both, and some that are one too far.
  const divisor = edgy(r) & full || 3n;
  const quotient = edgy(r) & full;
  const signed = d.form.row.mnemonic === "idiv";
  const a = signed ? BigInt.asIntN(Number(bits), divisor) : divisor;
  const q = signed ? BigInt.asIntN(Number(bits), quotient) : quotient;
  const rest = edgy(r) & full;
  const dividend = a * q + (rest < divisor ? rest : 0n);
  if (bits === 8n) d.reg(RAX, ((d.state[RAX] ?? 0n) & ~0xffffn) | (dividend & 0xffffn));
  else {
    d.reg(RAX, ((d.state[RAX] ?? 0n) & ~full) | (dividend & full));
    d.reg(RDX, ((d.state[RDX] ?? 0n) & ~full) | ((dividend >> bits) & full));
  }
  if (typeof o.rm !== "number") d.poke(d.address(), divisor, Number(bits) / 8);
  else if (o.rm !== RAX && o.rm !== RDX) d.reg(o.rm, ((d.state[o.rm] ?? 0n) & ~full) | divisor);
}

function compareExchange(d: Draft, pair: boolean): void {
  const { r, o } = d;
  if (pair && r.chance(80)) d.alignedOperand([0, 16, -16]);
  if (!r.chance(50)) return;
  const half = o.size === 64 ? 8 : 4;
  if (pair) {
    d.poke(d.address(), d.state[RAX] ?? 0n, half);
    d.poke(d.address() + BigInt(half), d.state[RDX] ?? 0n, half);
  } else if (typeof o.rm !== "number") d.poke(d.address(), d.state[RAX] ?? 0n, 8);
  else if (!d.form.row.operands.includes("Eb")) d.reg(o.rm, d.state[RAX] ?? 0n);
}

/** Selectors that mean the same in Linux's descriptor table, those that user mode may load first. */
const GOOD_SELECTORS = [0, 1, 2, 3, SEL.userDs | 3, SEL.userDs, SEL.userCs | 3];
const BAD_SELECTORS = [SEL.kernelDs, SEL.kernelCs, SEL.kernelDs | 3, 0xfff3, 0x2f];
const SAME_SELECTORS = [...GOOD_SELECTORS, ...BAD_SELECTORS, SEL.userCs32 | 3];

/** Makes the r/m operand hold a selector. */
function putSelector(d: Draft, selector: number): void {
  const { o } = d;
  d.choosable();
  if (typeof o.rm === "number") d.reg(o.rm, (edgy(d.r) & ~0xffffn) | BigInt(selector));
  else d.poke(d.address(), BigInt(selector), 2);
}

function farPointer(d: Draft): void {
  d.choosable();
  const stack = d.form.row.mnemonic === "lss";
  const s = d.wild ? d.r.pick(BAD_SELECTORS) : stack ? SEL.userDs | 3 : d.r.pick(GOOD_SELECTORS);
  d.poke(d.address() + BigInt(d.o.size / 8), BigInt(s), 2);
}

function segmentLoad(d: Draft): void {
  const { r, o } = d;
  o.reg = d.wild ? r.below(8) : r.pick([0, 2, 3, 4, 5]);
  putSelector(d, o.reg === 2 && !d.wild ? SEL.userDs | 3 : r.pick(d.wild ? BAD_SELECTORS : GOOD_SELECTORS));
} // prettier-ignore

function fxImage(d: Draft): void {
  // Which byte of an image faults first is the CPU's own, so that the address is always good or wholly bad.
  const { r, o } = d;
  o.segment = 0;
  o.addr32 = false;
  const at = d.alignedOperand([0]);
  if (d.form.row.mnemonic.startsWith("fxrstor")) {
    for (let i = 0; i < 512; i += 8) d.poke(at + BigInt(i), edgy(r), 8);
    d.poke(at + 24n, someMxcsr(r) | (r.chance(5) ? 1n << 20n : 0n), 4);
    d.poke(at, BigInt(0x7f | (r.below(16) << 8)), 2); // exceptions masked, so that none is pending afterwards
    d.poke(at + 2n, BigInt(r.u32() & 0x477f), 2); // and the top at 0
    d.poke(at + 4n, BigInt(r.below(256)), 2);
  }
  if (d.wild && typeof o.rm !== "number") o.rm = { ...o.rm, disp: r.pick([1, 8]) };
}

function simd(d: Draft): void {
  const { r, o, form } = d;
  const vector = (name: string): boolean => form.row.operands.some((x) => x[0] === name);
  if (vector("V")) o.reg = r.below(16);
  if (typeof o.rm === "number") {
    if (vector("W") || vector("U")) o.rm = r.below(16);
  } else if (!d.wild && !r.chance(10)) d.alignedOperand([0, 0, 16, -16]);
  if (form.row.operands.includes("Ib") && r.chance(60)) o.imm = BigInt(r.below(34));
}

/** Memory of numbers in every format, 80 bits among them, and registers of every kind. */
function x87(d: Draft): void {
  const { r, o, form } = d;
  const has = (name: string): boolean => form.row.operands.some((x) => x[0] === name);
  if (has("P")) o.reg = r.below(8);
  if (has("V")) o.reg = r.below(16);
  if (typeof o.rm === "number") {
    if (has("Q") || has("N") || has("S")) o.rm = r.below(8);
    if (has("W") || has("U")) o.rm = r.below(16);
    return;
  }
  if (d.wild) return;
  const at = d.address();
  const [low, high] = extendedNumber(r);
  if (form.row.operands.some((x) => x === "Mt")) {
    d.poke(at, low, 8);
    d.poke(at + 8n, high, 2);
    if (/fbld/.test(form.row.mnemonic) && r.chance(80)) {
      for (let i = 0; i < 9; i++) d.poke(at + BigInt(i), BigInt(r.below(10) * 16 + r.below(10)), 1);
      d.poke(at + 9n, BigInt(r.below(2) * 128), 1);
    }
  } else if (r.chance(50)) d.poke(at, fpWord(r), 8);
}

export function fnv(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** Vector number `i` of a form of user mode. */
export function userCase(form: VectorForm, i: number): VectorCase {
  for (let attempt = 0; ; attempt++) {
    const d = new Draft(form, fnv(`${form.key} ${i} ${attempt}`));
    if (isSimd(form)) simd(d);
    if (isX87(form)) x87(d);
    const does = form.row.form.does;
    SETUPS.find(([re]) => re.test(does))?.[1](d);
    const { o } = d;
    if (form.row.encoding.plusReg && does === "xchg" && o.reg === 0) o.reg = 1 + d.r.below(15);
    const code = d.encode();
    const patches = d.patches(code);
    const operand = typeof o.rm === "number" ? undefined : d.address();
    const beyond = operand !== undefined && operand >= ABSENT + 0x800n && operand < DATA + 0x10000n;
    if (code.length > 15 || beyond) continue; // what lies behind ABSENT, user mode under an operating system has not
    d.state[W.rip] = CODE + BigInt(d.codeOff);
    return {
      start: d.state,
      patches,
      code,
      codeOff: d.codeOff,
      operand,
      undefinedFlags: undefinedFlags(form.row, o, d.state[RCX] ?? 0n),
    };
  }
}

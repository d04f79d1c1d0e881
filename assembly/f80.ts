// Numbers of the 80-bit double-extended format: sign and exponent (se, 16 bits), and a 64-bit significand with its explicit
// integer bit (sig); what kind of number they are, and the rounding that every result goes through, as the control word
// says. The operations are in f80-arith.ts and f80-convert.ts. SDM Vol. 1, "Double Extended-Precision Floating-Point", "Floating-Point Exceptions", "x87 FPU Control Word".

import { FPU } from "./abi";
import { DE, IE, OE, PE, UE, ZE } from "./sse-round";

export const TOP_BIT: u64 = 0x8000000000000000;
export const QUIET: u64 = 0x4000000000000000;
export const SIGN: u32 = 0x8000;
export const MAX_EXPONENT: i32 = 0x7fff;
export const BIAS80: i32 = 16383;
/** By how much the exponent of a result is wrapped that an unmasked overflow or underflow hands to the handler. */
export const WRAP: i32 = 24576;

const NEAREST: u32 = 0;
export const DOWN: u32 = 1;
const UP: u32 = 2;

// Of the present instruction only: what it raised, the control word, whether the last rounding went away from zero, and
// the values that functions answer besides their own.
let raised: u32 = 0;
let control: u32 = 0;
let mode: u32 = 0;
let upward: bool = false;
export let outSe: u32 = 0;
export let outSig: u64 = 0;
export let inSe: u32 = 0;
export let inSig: u64 = 0;
export let unE: i32 = 0;
export let unSig: u64 = 0;
export let jamHi: u64 = 0;
export let jamLo: u64 = 0;

export function beginF80(): void {
  raised = 0;
  upward = false;
  control = load<u16>(FPU);
  mode = (control >> 10) & 3;
}

export function raisedF80(): u32 {
  return raised;
}
export function raiseF80(flags: u32): void {
  raised |= flags;
}
export function withdrawF80(flags: u32): void {
  raised &= ~flags;
}
export function isMasked80(flag: u32): bool {
  return (control & flag) != 0;
}
/** What C1 says of the result: that it was rounded away from zero. */
export function roundedUp(): bool {
  return upward;
}
export function setRoundedUp(v: bool): void {
  upward = v;
}
export function roundingMode80(): u32 {
  return mode;
}

export function answer(se: u32, sig: u64): void {
  outSe = se;
  outSig = sig;
}
export function given(se: u32, sig: u64): void {
  inSe = se;
  inSig = sig;
}

/** Exponent set, integer bit clear: no number of the 387 and later. */
export function isUnsupported(se: u32, sig: u64): bool {
  return (se & 0x7fff) != 0 && !(sig >> 63);
}
export function isNan80(se: u32, sig: u64): bool {
  return (se & 0x7fff) == 0x7fff && sig << 1 != 0;
}
export function isSignalling80(se: u32, sig: u64): bool {
  return isNan80(se, sig) && !(sig & QUIET);
}
export function isInfinite80(se: u32, sig: u64): bool {
  return (se & 0x7fff) == 0x7fff && sig == TOP_BIT;
}
export function isZero80(se: u32, sig: u64): bool {
  return !(se & 0x7fff) && !sig;
}
export function isDenormal80(se: u32, sig: u64): bool {
  return !(se & 0x7fff) && sig != 0;
}

/** The answer of an invalid operation. A denormal operand is not reported beside it. */
export function invalid80(): void {
  raised = (raised & ~DE) | IE;
  outSe = 0xffff;
  outSig = TOP_BIT | QUIET;
}

/** Answers the NaN of one operand, quiet. */
export function nan1(se: u32, sig: u64): void {
  if (!(sig & QUIET)) raised |= IE;
  answer(se, sig | QUIET);
}

/** An operand that is no number: the operation is done with it. SDM Vol. 1, "Operating on SNaNs and QNaNs". */
export function special1(se: u32, sig: u64): bool {
  if (isUnsupported(se, sig)) {
    invalid80();
    return true;
  }
  if (!isNan80(se, sig)) return false;
  raised &= ~DE;
  nan1(se, sig);
  return true;
}

/** The same of two: a quiet NaN wins over a signalling one, else the larger significand, else the positive one. */
export function special2(aSe: u32, aSig: u64, bSe: u32, bSig: u64): bool {
  if (isUnsupported(aSe, aSig) || isUnsupported(bSe, bSig)) {
    invalid80();
    return true;
  }
  const a = isNan80(aSe, aSig);
  const b = isNan80(bSe, bSig);
  if (!a && !b) return false;
  raised &= ~DE;
  const aS = a && !(aSig & QUIET);
  const bS = b && !(bSig & QUIET);
  if (aS || bS) raised |= IE;
  let first = a;
  if (a && b) {
    if (aS != bS) first = bS;
    else if (aSig != bSig) first = aSig > bSig;
    else first = aSe < bSe;
  }
  if (first) answer(aSe, aSig | QUIET);
  else answer(bSe, bSig | QUIET);
  return true;
}

/** Takes a finite number apart: exponent and a significand whose highest bit is set, or 0. A denormal is reported. */
export function unpack(se: u32, sig: u64): void {
  unE = <i32>(se & 0x7fff);
  unSig = sig;
  if (unE || !sig) return;
  raised |= DE;
  const n = <i32>clz<u64>(sig);
  unE = 1 - n;
  unSig = sig << n;
}
export function unpackedExponent(se: u32, sig: u64): i32 {
  unpack(se, sig);
  return unE;
}
export function unpackedSignificand(): u64 {
  return unSig;
}

/** Shifts 128 bits right; what falls out stays in the lowest bit as "not zero". */
export function jam128(hi: u64, lo: u64, n: i32): void {
  if (n == 0) {
    jamHi = hi;
    jamLo = lo;
  } else if (n < 64) {
    jamHi = hi >> n;
    jamLo = (hi << (64 - n)) | (lo >> n) | u64(lo << (64 - n) != 0);
  } else if (n < 128) {
    const k = n - 64;
    jamHi = 0;
    jamLo = (hi >> k) | u64((k ? hi << (64 - k) : 0) != 0 || lo != 0);
  } else {
    jamHi = 0;
    jamLo = u64((hi | lo) != 0);
  }
}

/** What is below the last bit that stays, with its highest bit at 63. */
export function rest(hi: u64, lo: u64, drop: i32): u64 {
  return drop ? (hi << (64 - drop)) | u64(lo != 0) : lo;
}

export function roundsUp(neg: bool, hi: u64, lo: u64, drop: i32): bool {
  const r = rest(hi, lo, drop);
  if (!r) return false;
  if (mode == NEAREST) return r > TOP_BIT || (r == TOP_BIT && ((hi >> drop) & 1) != 0);
  return mode == DOWN ? neg : mode == UP ? !neg : false;
}

/** Bits of the significand that the precision control leaves out. */
export function dropped(): i32 {
  const pc = (control >> 8) & 3;
  return pc == 0 ? 40 : pc == 2 ? 11 : 0;
}

/** Whether a number below the least normal one stays so when it is rounded as if the exponent had no bound. */
export function staysTiny(neg: bool, e: i32, hi: u64, lo: u64, drop: i32): bool {
  const low = (<u64>1) << drop;
  return e < 0 || !roundsUp(neg, hi, lo, drop) || (hi | (low - 1)) != ~(<u64>0);
}

/** Whether an overflow is answered with an infinity. */
export function overflowsToInfinity(neg: bool): bool {
  return mode == NEAREST || (mode == DOWN ? neg : mode == UP ? !neg : false);
}

/** Answers (-1)^neg * hi.lo * 2^(e - bias), the highest bit of hi set, rounded to all but `drop` bits of hi. */
export function round80(neg: bool, exponent: i32, high: u64, lo: u64, drop: i32): void {
  const sign = neg ? SIGN : 0;
  const low = (<u64>1) << drop;
  let e = exponent;
  let hi = high;
  if (e <= 0) {
    const tiny = staysTiny(neg, e, hi, lo, drop);
    if (tiny && !(control & UE)) {
      raised |= UE;
      e += WRAP;
    } else {
      jam128(hi, lo, 1 - e);
      upward = roundsUp(neg, jamHi, jamLo, drop);
      if (rest(jamHi, jamLo, drop)) raised |= tiny ? UE | PE : PE;
      hi = (jamHi & ~(low - 1)) + (upward ? low : 0);
      answer(sign | (<u32>(hi >> 63)), hi);
      return;
    }
  }
  const inexact = rest(hi, lo, drop) != 0;
  const up = roundsUp(neg, hi, lo, drop);
  hi &= ~(low - 1);
  if (up) {
    hi += low;
    if (!hi) {
      hi = TOP_BIT;
      e++;
    }
  }
  if (e >= MAX_EXPONENT) {
    if (control & OE) {
      raised |= OE | PE;
      upward = overflowsToInfinity(neg);
      if (upward) answer(sign | 0x7fff, TOP_BIT);
      else answer(sign | 0x7ffe, ~(low - 1));
      return;
    }
    raised |= OE;
    e -= WRAP;
  }
  if (inexact) raised |= PE;
  upward = up;
  answer(sign | (<u32>e), hi);
}

export function zero80(neg: bool): void {
  answer(neg ? SIGN : 0, 0);
}
export function infinity80(neg: bool): void {
  answer(neg ? 0xffff : 0x7fff, TOP_BIT);
}

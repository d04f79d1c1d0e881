// IEEE 754 numbers as bits, and the rounding that every floating-point result goes through. The hardware below the
// core has neither rounding modes nor flags, so a result is worked out as sign, exponent and a 64-bit significand
// whose lowest bit is sticky. SDM Vol. 1, "Floating-Point Exceptions" and "MXCSR"; T is i32 for single, i64 for double.

import { CR4, MXCSR, Vector } from "./abi";
import { fault } from "./state";

export const IE: u32 = 1;
export const DE: u32 = 2;
export const ZE: u32 = 4;
export const OE: u32 = 8;
export const UE: u32 = 0x10;
export const PE: u32 = 0x20;
const DAZ: u32 = 0x40;
const FTZ: u32 = 0x8000;
const CR4_OSXMMEXCPT: u64 = 0x400;

const NEAREST: u32 = 0;
const DOWN: u32 = 1;
const UP: u32 = 2;

const TOP: u64 = 0x8000000000000000;

// Of the present instruction only: what it raised, and what MXCSR said when it began.
let raised: u32 = 0;
let control: u32 = 0;
let mode: u32 = 0;
let simple: bool = false;

/** Starts an instruction that rounds. */
export function beginFp(): void {
  raised = 0;
  control = load<u32>(MXCSR);
  mode = (control >> 13) & 3;
  // Rounding to nearest with the precision flag up and masked: nothing of a normal result can be seen but its bits.
  simple = (control & 0x7020) == 0x1020;
}

export function raiseFp(flags: u32): void {
  raised |= flags;
}

/**
 * Ends it: the flags are sticky even when one of them faults. An exception of the operands hides those of the results
 * once it is unmasked. False when it faults: nothing else of the instruction may be done then.
 */
export function settleFp(): bool {
  const unmasked = raised & ~(control >> 7);
  const seen = unmasked & 7 ? raised & 7 : raised;
  store<u32>(MXCSR, control | seen);
  if (!unmasked) return true;
  return fault(load<u64>(CR4) & CR4_OSXMMEXCPT ? Vector.XM : Vector.UD, 0);
}

/** A further step of the same instruction: what it raises is settled on its own. */
export function restartFp(): void {
  raised = 0;
  control = load<u32>(MXCSR);
}

export function roundingDown(): bool {
  return mode == DOWN;
}
export function roundingMode(): u32 {
  return mode;
}

/** A number that is not 0 as the neighbouring integral one that `rc` chooses; `below` > 0 bits lie behind its point. */
export function integralStep<T>(a: u64, below: i32, rc: u32): u64 {
  const sign = a & signBit<T>();
  const m = magnitude<T>(a);
  const away = rc == DOWN ? sign != 0 : rc == UP ? !sign : false;
  if (below > fraction<T>()) {
    // Less than 1: 0 or 1.
    const one = (<u64>bias<T>()) << fraction<T>();
    const half = one - least<T>();
    return sign | (rc == NEAREST ? (m > half ? one : 0) : away ? one : 0);
  }
  const low = (<u64>1) << below;
  const rest = m & (low - 1);
  const down = m - rest;
  if (!rest) return a;
  if (rc != NEAREST) return sign | (away ? down + low : down);
  const half = low >> 1;
  // The lowest integral bit may be the implied one: of 1 to 2, which is odd.
  const odd = below == fraction<T>() || (m & low) != 0;
  return sign | (rest > half || (rest == half && odd) ? down + low : down);
}

/** Width of the fraction. */
export function fraction<T>(): i32 {
  return sizeof<T>() == 4 ? 23 : 52;
}
export function bias<T>(): i32 {
  return sizeof<T>() == 4 ? 127 : 1023;
}
export function signBit<T>(): u64 {
  return sizeof<T>() == 4 ? 0x80000000 : TOP;
}
export function infinity<T>(): u64 {
  return sizeof<T>() == 4 ? 0x7f800000 : 0x7ff0000000000000;
}
export function quiet<T>(): u64 {
  const n = fraction<T>();
  return (<u64>1) << (n - 1);
}
function least<T>(): u64 {
  const n = fraction<T>();
  return (<u64>1) << n; // the smallest normal number
}
/** What an invalid operation answers. */
export function defaultNan<T>(): u64 {
  return signBit<T>() | infinity<T>() | quiet<T>();
}
export function magnitude<T>(x: u64): u64 {
  return x & (signBit<T>() - 1);
}
export function negative<T>(x: u64): bool {
  return (x & signBit<T>()) != 0;
}

export function isNan<T>(x: u64): bool {
  return magnitude<T>(x) > infinity<T>();
}
export function isSignalling<T>(x: u64): bool {
  return isNan<T>(x) && !(x & quiet<T>());
}
export function isInfinite<T>(x: u64): bool {
  return magnitude<T>(x) == infinity<T>();
}
export function isDenormal<T>(x: u64): bool {
  return magnitude<T>(x) - 1 < least<T>() - 1;
}

/** An operand as MXCSR.DAZ has it. */
export function operandFp<T>(x: u64): u64 {
  return control & DAZ && isDenormal<T>(x) ? x & signBit<T>() : x;
}

/** A NaN among two operands comes out quiet: the first one that is. */
export function nanOf<T>(a: u64, b: u64): u64 {
  if (isSignalling<T>(a) || isSignalling<T>(b)) raised |= IE;
  return (isNan<T>(a) ? a : b) | quiet<T>();
}

export function invalid<T>(): u64 {
  raised |= IE;
  return defaultNan<T>();
}

export function noteDenormal<T>(x: u64): void {
  if (isDenormal<T>(x)) raised |= DE;
}

/** Whether the host's arithmetic on such operands shows all that there is to see. */
export function plain<T>(a: u64, b: u64): bool {
  return (
    simple &&
    magnitude<T>(a) - least<T>() < infinity<T>() - least<T>() &&
    magnitude<T>(b) - least<T>() < infinity<T>() - least<T>()
  );
}
/** The same of its result: normal, and not by rounding up from below. */
export function plainResult<T>(r: u64): bool {
  return magnitude<T>(r) - least<T>() - 1 < infinity<T>() - least<T>() - 1;
}

/** Exponent of the highest bit of a finite number that is not 0. */
export function exponentOf<T>(x: u64): i32 {
  const m = magnitude<T>(x);
  const e = <i32>(m >> fraction<T>());
  return e ? e - bias<T>() : 64 - bias<T>() - fraction<T>() - <i32>clz<u64>(m);
}
/** Its significand, the highest bit at 63. */
export function significandOf<T>(x: u64): u64 {
  const m = magnitude<T>(x);
  const f = m & (least<T>() - 1);
  const s = m >= least<T>() ? f | least<T>() : f;
  return s << clz<u64>(s);
}

/** Shifts right; what falls out stays in the lowest bit as "not zero". */
export function jam(s: u64, n: i32): u64 {
  if (n <= 0) return s;
  if (n > 63) return u64(s != 0);
  return (s >> n) | u64(s << (64 - n) != 0);
}

/** Whether the bits below `low` round up. */
function roundsUp(neg: bool, s: u64, low: u64): u64 {
  const rest = s & (low - 1);
  if (!rest) return 0;
  if (mode == NEAREST) {
    const half = low >> 1;
    return u64(rest > half || (rest == half && (s & low) != 0));
  }
  return u64(mode == DOWN ? neg : mode == UP ? !neg : false);
}

/** The number (-1)^neg * s * 2^(e - 63), whose highest bit is at 63, in the format T. */
export function rounded<T>(neg: bool, e: i32, s: u64): u64 {
  const sign = neg ? signBit<T>() : 0;
  const drop = 63 - fraction<T>();
  const low = (<u64>1) << drop;
  const eMin = 1 - bias<T>();
  let tiny = false;
  if (e < eMin) {
    // Tiny as if the exponent had no bound: rounding may lift the greatest of them.
    tiny = e < eMin - 1 || (s >> drop) + roundsUp(neg, s, low) < 2 * least<T>();
    if (tiny && !(control & (UE << 7))) {
      // The handler would get the number with a wrapped exponent: inexact is what does not fit even so.
      raised |= s & (low - 1) ? UE | PE : UE;
      return sign;
    }
    s = jam(s, eMin - e);
    e = eMin;
  }
  const inexact = (s & (low - 1)) != 0;
  if (tiny) {
    if (control & FTZ) {
      raised |= UE | PE;
      return sign;
    }
    if (inexact) raised |= UE;
  }
  const at = fraction<T>();
  const r = ((<u64>(e + bias<T>() - 1)) << at) + (s >> drop) + roundsUp(neg, s, low);
  if (inexact) raised |= PE;
  if (r >= infinity<T>()) {
    raised |= control & (OE << 7) ? OE | PE : OE;
    const up = mode == NEAREST || (mode == DOWN ? neg : mode == UP ? !neg : false);
    return sign | (up ? infinity<T>() : infinity<T>() - 1);
  }
  return sign | r;
}

/** A finite number as an integer of the width U, sign-extended; the integer indefinite when there is none. */
export function integerOf<T, U>(x: u64, truncate: bool): i64 {
  const indefinite: i64 = sizeof<U>() == 4 ? <i64>i32.MIN_VALUE : i64.MIN_VALUE;
  const limit: u64 = sizeof<U>() == 4 ? 0x80000000 : TOP;
  const a = operandFp<T>(x);
  if (magnitude<T>(a) >= infinity<T>()) {
    raised |= IE;
    return indefinite;
  }
  if (!magnitude<T>(a)) return 0;
  const neg = negative<T>(a);
  const e = exponentOf<T>(a);
  const s = significandOf<T>(a);
  let whole: u64 = 0;
  let rest: u64 = 0; // below the point, its highest bit at 63
  if (e > 63) {
    raised |= IE;
    return indefinite;
  }
  if (e == 63) whole = s;
  else if (e >= 0) {
    whole = s >> (63 - e);
    rest = s << (e + 1);
  } else rest = jam(s, -1 - e);
  if (rest && !truncate) {
    if (mode == NEAREST) whole += u64(rest > TOP || (rest == TOP && (whole & 1) != 0));
    else if (mode == DOWN) whole += u64(neg);
    else if (mode == UP) whole += u64(!neg);
  }
  if (neg ? whole > limit : whole >= limit) {
    raised |= IE;
    return indefinite;
  }
  if (rest) raised |= PE;
  return neg ? -(<i64>whole) : <i64>whole;
}

/** An integer in the format T. */
export function fromInteger<T>(v: i64): u64 {
  if (!v) return 0;
  const m = <u64>(v < 0 ? -v : v);
  const n = <i32>clz<u64>(m);
  return rounded<T>(v < 0, 63 - n, m << n);
}

/** A number of one format in the other. */
export function reformat<T, U>(x: u64): u64 {
  const a = operandFp<T>(x);
  const sign = negative<T>(a) ? signBit<U>() : 0;
  if (isNan<T>(a)) {
    if (isSignalling<T>(a)) raised |= IE;
    const payload = a & (least<T>() - 1);
    const moved = sizeof<T>() == 4 ? payload << 29 : payload >> 29;
    return sign | infinity<U>() | moved | quiet<U>();
  }
  if (isInfinite<T>(a)) return sign | infinity<U>();
  if (!magnitude<T>(a)) return sign;
  noteDenormal<T>(a);
  return rounded<U>(negative<T>(a), exponentOf<T>(a), significandOf<T>(a));
}

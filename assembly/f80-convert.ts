// Comparison of 80-bit numbers, and their conversion from and to integers and the shorter formats. SDM Vol. 2, FCOM, FRNDINT,
// FIST, FST; Vol. 1, "x87 FPU Data Types".

import {
  BIAS80,
  SIGN,
  TOP_BIT,
  answer,
  given,
  invalid80,
  isDenormal80,
  isInfinite80,
  isMasked80,
  isNan80,
  isSignalling80,
  isUnsupported,
  isZero80,
  jam128,
  jamHi,
  jamLo,
  nan1,
  outSig,
  overflowsToInfinity,
  raiseF80,
  rest,
  roundedUp,
  roundsUp,
  setRoundedUp,
  special1,
  staysTiny,
  unE,
  unSig,
  unpack,
  withdrawF80,
  zero80,
} from "./f80";
import { DE, IE, OE, PE, UE } from "./sse-round";

/** How two numbers compare: 0 greater, 1 less, 2 equal, 3 unordered. Any NaN is invalid unless `quiet`. */
export function compare80(aSe: u32, aSig: u64, bSe: u32, bSig: u64, quiet: bool): i32 {
  if (isUnsupported(aSe, aSig) || isUnsupported(bSe, bSig)) {
    withdrawF80(DE);
    raiseF80(IE);
    return 3;
  }
  if (isNan80(aSe, aSig) || isNan80(bSe, bSig)) {
    withdrawF80(DE);
    if (!quiet || isSignalling80(aSe, aSig) || isSignalling80(bSe, bSig)) raiseF80(IE);
    return 3;
  }
  if (isDenormal80(aSe, aSig) || isDenormal80(bSe, bSig)) raiseF80(DE);
  if (isZero80(aSe, aSig) && isZero80(bSe, bSig)) return 2;
  const aNeg = (aSe & SIGN) != 0;
  if (aNeg != ((bSe & SIGN) != 0)) return i32(aNeg);
  // A pseudo-denormal has the exponent of the least normal number.
  const ea = max<u32>(aSe & 0x7fff, <u32>(aSig >> 63));
  const eb = max<u32>(bSe & 0x7fff, <u32>(bSig >> 63));
  if (ea == eb && aSig == bSig) return 2;
  return i32((ea < eb || (ea == eb && aSig < bSig)) != aNeg);
}

/** A number rounded to an integer of the same format. */
export function integral80(se: u32, sig: u64): void {
  if (special1(se, sig)) return;
  if (isZero80(se, sig) || isInfinite80(se, sig)) return answer(se, sig);
  unpack(se, sig);
  const e = unE - BIAS80;
  if (e >= 63) return answer(se, sig);
  const neg = (se & SIGN) != 0;
  jam128(unSig, 0, 63 - e);
  setRoundedUp(roundsUp(neg, jamHi, jamLo, 0));
  if (jamLo) raiseF80(PE);
  const whole = jamHi + u64(roundedUp());
  if (!whole) return zero80(neg);
  const n = <i32>clz<u64>(whole);
  answer((se & SIGN) | (<u32>(BIAS80 + 63 - n)), whole << n);
}

/** A number as a signed integer of `bits`; what does not fit is invalid and answers the integer indefinite. */
export function toInteger80(se: u32, sig: u64, bits: i32, truncate: bool): i64 {
  const limit = (<u64>1) << (bits - 1);
  const indefinite = -(<i64>limit);
  if (isUnsupported(se, sig) || (se & 0x7fff) == 0x7fff) {
    raiseF80(IE);
    return indefinite;
  }
  const neg = (se & SIGN) != 0;
  const e = <i32>(se & 0x7fff) - BIAS80;
  if (e > 63) {
    raiseF80(IE);
    return indefinite;
  }
  jam128(sig, 0, 63 - e);
  const up = !truncate && roundsUp(neg, jamHi, jamLo, 0);
  const whole = jamHi + u64(up);
  if (whole < jamHi || (neg ? whole > limit : whole >= limit)) {
    raiseF80(IE);
    return indefinite;
  }
  setRoundedUp(up);
  if (jamLo) raiseF80(PE);
  return neg ? -(<i64>whole) : <i64>whole;
}

/** An integer as the operand of an operation: always exact. */
export function giveInteger(v: i64): void {
  if (!v) return given(0, 0);
  const m = <u64>(v < 0 ? -v : v);
  const n = <i32>clz<u64>(m);
  given((v < 0 ? SIGN : 0) | (<u32>(BIAS80 + 63 - n)), m << n);
}

/** A single (T i32) or double as the operand of an operation. A denormal is reported; a NaN stays as it is. */
export function giveFloat<T>(bits: u64): void {
  const fraction = sizeof<T>() == 4 ? 23 : 52;
  const most = sizeof<T>() == 4 ? 0xff : 0x7ff;
  const bias = sizeof<T>() == 4 ? 127 : 1023;
  const sign = (<u32>(bits >> (sizeof<T>() * 8 - 1))) << 15;
  const e = (<i32>(bits >> fraction)) & most;
  const f = (bits & (((<u64>1) << fraction) - 1)) << (63 - fraction);
  if (e == most) return given(sign | 0x7fff, f | TOP_BIT);
  if (e) return given(sign | (<u32>(e - bias + BIAS80)), f | TOP_BIT);
  if (!f) return given(sign, 0);
  raiseF80(DE);
  const n = <i32>clz<u64>(f);
  given(sign | (<u32>(1 - bias + BIAS80 - n)), f << n);
}

/** A number in the format T. What an unmasked overflow or underflow makes of it is not to be stored. */
export function narrow<T>(se: u32, sig: u64): u64 {
  const fraction = sizeof<T>() == 4 ? 23 : 52;
  const infinity: u64 = sizeof<T>() == 4 ? 0x7f800000 : 0x7ff0000000000000;
  const bias = sizeof<T>() == 4 ? 127 : 1023;
  const drop = 63 - fraction;
  const low = (<u64>1) << drop;
  if (isUnsupported(se, sig)) {
    invalid80();
    return narrowNan(0xffff, outSig, infinity, drop, sizeof<T>());
  }
  if (isNan80(se, sig)) {
    nan1(se, sig);
    return narrowNan(se, outSig, infinity, drop, sizeof<T>());
  }
  const neg = (se & SIGN) != 0;
  const signAt = sizeof<T>() * 8 - 1;
  const sign = u64(neg) << signAt;
  if (isInfinite80(se, sig)) return sign | infinity;
  if (!sig) return sign;
  const n = <i32>clz<u64>(sig);
  let e = max<i32>(<i32>(se & 0x7fff), 1) - n - BIAS80 + bias;
  let hi = sig << n;
  let lo: u64 = 0;
  let tiny: bool = false;
  if (e <= 0) {
    tiny = staysTiny(neg, e, hi, 0, drop);
    if (tiny && !isMasked80(UE)) {
      raiseF80(UE);
      setRoundedUp(false);
      return 0;
    }
    jam128(hi, 0, 1 - e);
    hi = jamHi;
    lo = jamLo;
    e = 1;
  }
  const inexact = rest(hi, lo, drop) != 0;
  setRoundedUp(roundsUp(neg, hi, lo, drop));
  const r = ((<u64>(e - 1)) << fraction) + (hi >> drop) + u64(roundedUp());
  if (e >= 2 * bias + 1 || r >= infinity) {
    if (!isMasked80(OE)) {
      raiseF80(OE);
      setRoundedUp(false);
      return 0;
    }
    raiseF80(OE | PE);
    setRoundedUp(overflowsToInfinity(neg));
    return sign | (roundedUp() ? infinity : infinity - 1);
  }
  if (inexact) raiseF80(tiny ? UE | PE : PE);
  return sign | r;
}

function narrowNan(se: u32, sig: u64, infinity: u64, drop: i32, bytes: i32): u64 {
  return ((<u64>(se >> 15)) << (bytes * 8 - 1)) | infinity | ((sig & ~TOP_BIT) >> drop);
}

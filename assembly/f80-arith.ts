// Arithmetic on 80-bit numbers that is exact to the last bit: sum, product, quotient, root, remainder, and scaling. SDM Vol. 2,
// FADD to FSCALE. NaNs, infinities and zeros first, then 128 bits that f80.ts rounds.

import {
  BIAS80,
  DOWN,
  MAX_EXPONENT,
  SIGN,
  TOP_BIT,
  WRAP,
  answer,
  dropped,
  infinity80,
  invalid80,
  isInfinite80,
  isMasked80,
  isZero80,
  jam128,
  jamHi,
  jamLo,
  raiseF80,
  round80,
  roundingMode80,
  setRoundedUp,
  special1,
  special2,
  unE,
  unSig,
  unpack,
  withdrawF80,
  zero80,
} from "./f80";
import { mulHigh } from "./muldiv";
import { DE, OE, PE, UE, ZE } from "./sse-round";

let remainder: u64 = 0;

/** a + b, or a - b. */
export function add80(aSe: u32, aSig: u64, bSe: u32, bSig: u64, subtract: bool): void {
  if (special2(aSe, aSig, bSe, bSig)) return;
  let aNeg: bool = (aSe & SIGN) != 0;
  let bNeg: bool = (bSe & SIGN) != 0 ? !subtract : subtract;
  unpack(aSe, aSig);
  let ea = unE;
  let sa = unSig;
  unpack(bSe, bSig);
  let eb = unE;
  let sb = unSig;
  if (ea == MAX_EXPONENT || eb == MAX_EXPONENT) {
    if (ea == eb && aNeg != bNeg) invalid80();
    else infinity80(ea == MAX_EXPONENT ? aNeg : bNeg);
    return;
  }
  if (!sa && !sb) {
    zero80(aNeg == bNeg ? aNeg : roundingMode80() == DOWN);
    return;
  }
  const drop = dropped();
  if (!sa) return round80(bNeg, eb, sb, 0, drop);
  if (!sb) return round80(aNeg, ea, sa, 0, drop);
  if (ea < eb || (ea == eb && sa < sb)) {
    const e = ea;
    const s = sa;
    const n = aNeg;
    ea = eb;
    sa = sb;
    aNeg = bNeg;
    eb = e;
    sb = s;
    bNeg = n;
  }
  jam128(sb, 0, ea - eb);
  let hi = jamHi;
  let lo = jamLo;
  if (aNeg == bNeg) {
    hi += sa;
    if (hi < sa) {
      lo = (lo >> 1) | (lo & 1) | (hi << 63);
      hi = (hi >> 1) | TOP_BIT;
      ea++;
    }
  } else {
    hi = sa - hi - u64(lo != 0);
    lo = -lo;
    if (!(hi | lo)) {
      zero80(roundingMode80() == DOWN);
      return;
    }
    if (!hi) {
      hi = lo;
      lo = 0;
      ea -= 64;
    }
    const n = <i32>clz<u64>(hi);
    if (n) {
      hi = (hi << n) | (lo >> (64 - n));
      lo <<= n;
      ea -= n;
    }
  }
  round80(aNeg, ea, hi, lo, drop);
}

export function mul80(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
  if (special2(aSe, aSig, bSe, bSig)) return;
  const neg = ((aSe ^ bSe) & SIGN) != 0;
  if (isInfinite80(aSe, aSig) || isInfinite80(bSe, bSig)) {
    if (isZero80(aSe, aSig) || isZero80(bSe, bSig)) return invalid80();
    unpack(aSe, aSig);
    unpack(bSe, bSig);
    infinity80(neg);
    return;
  }
  unpack(aSe, aSig);
  const ea = unE;
  const sa = unSig;
  unpack(bSe, bSig);
  if (!sa || !unSig) {
    zero80(neg);
    return;
  }
  let e = ea + unE - BIAS80 + 1;
  let hi = mulHigh(sa, unSig);
  let lo = sa * unSig;
  if (!(hi >> 63)) {
    hi = (hi << 1) | (lo >> 63);
    lo <<= 1;
    e--;
  }
  round80(neg, e, hi, lo, dropped());
}

/** hi.lo / d, d with its highest bit set and hi < d; the remainder beside it. Knuth, TAOCP Vol. 2, 4.3.1, algorithm D. */
function quotient(hi: u64, lo: u64, d: u64): u64 {
  const d1 = d >> 32;
  const d0 = d & 0xffffffff;
  let u = hi;
  let q: u64 = 0;
  for (let i = 0; i < 2; i++) {
    const next = i ? lo & 0xffffffff : lo >> 32;
    let digit = u / d1;
    let r = u - digit * d1;
    while (digit >> 32 || digit * d0 > ((r << 32) | next)) {
      digit--;
      r += d1;
      if (r >> 32) break;
    }
    u = ((u << 32) | next) - digit * d;
    q = (q << 32) | digit;
  }
  remainder = u;
  return q;
}

export function div80(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
  if (special2(aSe, aSig, bSe, bSig)) return;
  const neg = ((aSe ^ bSe) & SIGN) != 0;
  const aInf = isInfinite80(aSe, aSig);
  const bInf = isInfinite80(bSe, bSig);
  if (isZero80(bSe, bSig) && !aInf) {
    if (isZero80(aSe, aSig)) return invalid80();
    withdrawF80(DE);
    raiseF80(ZE);
    infinity80(neg);
    return;
  }
  if (aInf && bInf) return invalid80();
  unpack(aSe, aSig);
  const ea = unE;
  const sa = unSig;
  unpack(bSe, bSig);
  if (aInf) return infinity80(neg);
  if (bInf || !sa) return zero80(neg);
  const sb = unSig;
  let e = ea - unE + BIAS80;
  let hi: u64;
  if (sa < sb) {
    e--;
    hi = quotient(sa, 0, sb);
  } else hi = quotient(sa >> 1, sa << 63, sb);
  let lo = quotient(remainder, 0, sb);
  if (remainder) lo |= 1;
  round80(neg, e, hi, lo, dropped());
}

export function sqrt80(se: u32, sig: u64): void {
  if (special1(se, sig)) return;
  if (isZero80(se, sig)) return answer(se, sig);
  if (se & SIGN) return invalid80();
  if (isInfinite80(se, sig)) return answer(se, sig);
  unpack(se, sig);
  const odd = ((unE - BIAS80) & 1) != 0;
  const e = ((unE - BIAS80) >> 1) + BIAS80;
  // The root of 128 bits, two of them at a time; the first of both is never set together with the second one missing.
  let n = odd ? unSig : unSig >> 1;
  let below = odd ? <u64>0 : unSig << 63;
  let root: u64 = 0;
  let hi: u64 = 0; // what is left of the radicand, up to 66 bits
  let lo: u64 = 0;
  for (let i = 0; i < 64; i++) {
    hi = (hi << 2) | (lo >> 62);
    lo = (lo << 2) | (n >> 62);
    n = (n << 2) | (below >> 62);
    below <<= 2;
    const tHi = root >> 62;
    const tLo = (root << 2) | 1;
    root <<= 1;
    if (hi > tHi || (hi == tHi && lo >= tLo)) {
      hi -= tHi + u64(lo < tLo);
      lo -= tLo;
      root |= 1;
    }
  }
  // Beyond the root lies more than one half exactly when more is left than the root itself.
  const more = hi != 0 || lo > root;
  round80(false, e, root, more ? TOP_BIT | 1 : u64(lo != 0), dropped());
}

/** The low bits of the quotient of the last remainder80. */
let quotientBits: u64 = 0;
let divided: bool = false;
export function quotient80(): u64 {
  return quotientBits;
}
/** Whether its operands had a quotient. */
export function divided80(): bool {
  return divided;
}

/**
 * FPREM and FPREM1 (`nearest`): answers what is left of a, and whether that is all there is to do. Otherwise the exponent was
 * reduced by between 32 and 63, and the operation goes on with the answer.
 */
export function remainder80(aSe: u32, aSig: u64, bSe: u32, bSig: u64, nearest: bool): bool {
  quotientBits = 0;
  divided = false;
  if (special2(aSe, aSig, bSe, bSig)) return true;
  if (isInfinite80(aSe, aSig) || isZero80(bSe, bSig)) {
    invalid80();
    return true;
  }
  unpack(aSe, aSig);
  const ea = unE;
  const sa = unSig;
  unpack(bSe, bSig);
  const eb = unE;
  const sb = unSig;
  let neg: bool = (aSe & SIGN) != 0;
  divided = true;
  if (!sa) {
    zero80(neg);
    return true;
  }
  let d = ea - eb;
  const least = nearest ? -1 : 0;
  if (isInfinite80(bSe, bSig) || d < least) {
    round80(neg, ea, sa, 0, 0);
    return true;
  }
  let e = eb;
  let left: u64;
  if (d < 0) {
    // Between a quarter and all of b: nearer to b than to 0 above its half.
    if (sa <= sb) {
      round80(neg, ea, sa, 0, 0);
      return true;
    }
    e = ea;
    left = sb - (sa - sb);
    quotientBits = 1;
    neg = !neg;
  } else {
    const partial = d > 63;
    if (partial) {
      const n = 32 + (d & 31);
      e += d - n;
      d = n;
    }
    const first = sa >= sb;
    left = first ? sa - sb : sa;
    const q = quotient(d ? left >> (64 - d) : 0, left << d, sb);
    left = remainder;
    quotientBits = q + (u64(first) << d);
    if (partial) {
      if (!left) zero80(neg);
      else {
        const n = <i32>clz<u64>(left);
        round80(neg, e - n, left << n, 0, 0);
      }
      return false;
    }
    if (nearest && (left > sb - left || (left == sb - left && quotientBits & 1))) {
      left = sb - left;
      quotientBits++;
      neg = !neg;
    }
  }
  if (!left) {
    zero80((aSe & SIGN) != 0);
    return true;
  }
  const n = <i32>clz<u64>(left);
  round80(neg, e - n, left << n, 0, 0);
  return true;
}

/** a * 2^b, b cut to an integer. */
export function scale80(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
  if (special2(aSe, aSig, bSe, bSig)) return;
  const neg = (aSe & SIGN) != 0;
  const down = (bSe & SIGN) != 0;
  if (isInfinite80(bSe, bSig)) {
    if (down ? isInfinite80(aSe, aSig) : isZero80(aSe, aSig)) return invalid80();
    unpack(aSe, aSig);
    if (down) zero80(neg);
    else infinity80(neg);
    return;
  }
  unpack(bSe, bSig);
  const eb = unE - BIAS80;
  let n = eb < 0 ? 0 : eb > 16 ? 0x1ffff : <i32>(unSig >> (63 - eb));
  if (down) n = -n;
  unpack(aSe, aSig);
  if (!unSig || isInfinite80(aSe, aSig)) return answer(aSe, aSig);
  let e = unE + n;
  // What even the wrapped exponent cannot hold is an infinity or a zero.
  if (e > MAX_EXPONENT + WRAP && !isMasked80(OE)) {
    raiseF80(OE | PE);
    setRoundedUp(true);
    return infinity80(neg);
  }
  if (e < -WRAP && !isMasked80(UE)) {
    raiseF80(UE | PE);
    return zero80(neg);
  }
  if (e < -0x10000) e = -0x10000;
  round80(neg, e, unSig, 0, 0);
}

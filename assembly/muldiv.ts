// Multiplication and division. 64x64 to 128 bits by four products; 128 by 64 bits one quotient bit at a time.
// A quotient that does not fit is #DE with nothing changed. SDM Vol. 2: "MUL", "IMUL", "DIV", "IDIV".

import { Cc, RAX, RDX, Vector } from "./abi";
import { lazy } from "./flags";
import { Operand } from "./operand";
import { fault, the } from "./state";

/** The upper half of a product. */
export function mulHigh(a: u64, b: u64): u64 {
  const al = a & 0xffffffff;
  const ah = a >> 32;
  const bl = b & 0xffffffff;
  const bh = b >> 32;
  const mid = ah * bl + ((al * bl) >> 32);
  const mid2 = al * bh + (mid & 0xffffffff);
  return ah * bh + (mid >> 32) + (mid2 >> 32);
}

function mulHighSigned(a: i64, b: i64): i64 {
  return <i64>mulHigh(<u64>a, <u64>b) - (a < 0 ? b : 0) - (b < 0 ? a : 0);
}

function setPair<T>(lo: i64, hi: i64): void {
  if (sizeof<T>() == 1) {
    store<u8>(RAX, <u8>lo);
    store<u8>(RAX + 1, <u8>hi);
  } else if (sizeof<T>() == 2) {
    store<u16>(RAX, <u16>lo);
    store<u16>(RDX, <u16>hi);
  } else if (sizeof<T>() == 4) {
    store<u64>(RAX, <u64>(<u32>lo));
    store<u64>(RDX, <u64>(<u32>hi));
  } else {
    store<i64>(RAX, lo);
    store<i64>(RDX, hi);
  }
}

@unmanaged
export class Mul {
  do<T>(a: i64, b: i64): void {
    if (sizeof<T>() == 8) {
      const hi = <i64>mulHigh(<u64>a, <u64>b);
      setPair<T>(a * b, hi);
      const over = i32(hi != 0);
      lazy(Cc.Shift, a * b, over, over);
      return;
    }
    const w: i32 = sizeof<T>() * 8;
    const mask = (i64(1) << w) - 1;
    const p = (a & mask) * (b & mask);
    const hi = (p >> (sizeof<T>() * 8)) & mask;
    setPair<T>(p, hi);
    const over = i32(hi != 0);
    lazy(Cc.Shift, <i64>(<T>p), over, over);
  }
}
@unmanaged
export class Imul {
  do<T>(a: i64, b: i64): void {
    const p = a * b;
    const hi = sizeof<T>() == 8 ? mulHighSigned(a, b) : p >> (sizeof<T>() * 8);
    setPair<T>(p, hi);
    const over = sizeof<T>() == 8 ? i32(hi != p >> 63) : i32(p != <i64>(<T>p));
    lazy(Cc.Shift, <i64>(<T>p), over, over);
  }
}

/** MUL and IMUL of the accumulator. */
export function mulAcc<F extends Mul, S extends Operand, T>(up: usize): bool {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  the<F>().do<T>(<i64>load<T>(RAX), the<S>().get<T>(up, s));
  return true;
}

function product<T>(a: i64, b: i64): i64 {
  const p = a * b;
  const r = <i64>(<T>p);
  const over = sizeof<T>() == 8 ? i32(mulHighSigned(a, b) != p >> 63) : i32(p != r);
  lazy(Cc.Shift, r, over, over);
  return r;
}

/** IMUL with two operands. */
export function imul<D extends Operand, S extends Operand, T>(up: usize): bool {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  const d = the<D>().at<T>(up, 1);
  the<D>().put<T>(d, product<T>(the<D>().get<T>(up, d), the<S>().get<T>(up, s)));
  return true;
}

/** IMUL with an immediate. */
export function imulBy<D extends Operand, S extends Operand, C extends Operand, T>(
  up: usize,
): bool {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  const r = product<T>(the<S>().get<T>(up, s), the<C>().get<T>(up, 0));
  the<D>().put<T>(the<D>().at<T>(up, 1), r);
  return true;
}

// Quotient and remainder of the last 128-bit division.
let quotient: u64 = 0;
let remainder: u64 = 0;

/** hi:lo / d, with hi < d. */
function divide(hi: u64, lo: u64, d: u64): void {
  if (!hi) {
    quotient = lo / d;
    remainder = lo % d;
    return;
  }
  let r = hi;
  let q: u64 = 0;
  for (let i = 63; i >= 0; i--) {
    const top = r >> 63;
    r = (r << 1) | ((lo >> i) & 1);
    q <<= 1;
    if (top || r >= d) {
      r -= d;
      q |= 1;
    }
  }
  quotient = q;
  remainder = r;
}

@unmanaged
export class Div {
  do<T>(b: i64): bool {
    if (!b) return fault(Vector.DE, 0);
    if (sizeof<T>() == 8) {
      if (load<u64>(RDX) >= <u64>b) return fault(Vector.DE, 0);
      divide(load<u64>(RDX), load<u64>(RAX), <u64>b);
      setPair<T>(<i64>quotient, <i64>remainder);
      return true;
    }
    const w: i32 = sizeof<T>() * 8;
    const mask = (u64(1) << w) - 1;
    const a =
      sizeof<T>() == 1
        ? <u64>load<u16>(RAX)
        : ((load<u64>(RDX) & mask) << w) | (load<u64>(RAX) & mask);
    const d = (<u64>b) & mask;
    if (a / d > mask) return fault(Vector.DE, 0);
    setPair<T>(<i64>(a / d), <i64>(a % d));
    return true;
  }
}
@unmanaged
export class Idiv {
  do<T>(b: i64): bool {
    if (!b) return fault(Vector.DE, 0);
    if (sizeof<T>() == 8) {
      let lo = load<u64>(RAX);
      let hi = load<u64>(RDX);
      const negative = <i64>hi < 0;
      if (negative) {
        lo = ~lo + 1;
        hi = ~hi + (lo == 0 ? 1 : 0);
      }
      const d = b < 0 ? <u64>-b : <u64>b;
      if (hi >= d) return fault(Vector.DE, 0);
      divide(hi, lo, d);
      const down = negative != b < 0;
      if (quotient > (down ? 0x8000000000000000 : 0x7fffffffffffffff)) return fault(Vector.DE, 0);
      setPair<T>(
        <i64>(down ? ~quotient + 1 : quotient),
        <i64>(negative ? ~remainder + 1 : remainder),
      );
      return true;
    }
    const w: i32 = sizeof<T>() * 8;
    const mask = (i64(1) << w) - 1;
    let a: i64;
    if (sizeof<T>() == 1) a = <i64>load<i16>(RAX);
    else if (sizeof<T>() == 2) a = <i64>(<i32>((load<u32>(RDX) << 16) | (<u32>load<u16>(RAX))));
    else a = (load<i64>(RDX) << 32) | (<i64>load<u32>(RAX));
    if (b == -1 && a == i64.MIN_VALUE) return fault(Vector.DE, 0);
    const q = a / b;
    if (q != <i64>(<T>q)) return fault(Vector.DE, 0);
    setPair<T>(q & mask, (a % b) & mask);
    return true;
  }
}

/** DIV and IDIV: the flags are left as they were. */
export function divAcc<F extends Div, S extends Operand, T>(up: usize): bool {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  return the<F>().do<T>(the<S>().get<T>(up, s));
}

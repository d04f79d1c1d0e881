// Floating-point arithmetic of SSE and SSE2: each operation stated once for a lane of either format, exactly, with a
// short way for the plain case; then the packed and the scalar form of any of them. SDM Vol. 2, ADDPS to SUBSD.

import { U_IMM } from "./abi";
import { setArithmetic } from "./flags";
import { RESULT, destination, lane, laneAt, setLane, sourceAt } from "./sse-operand";
import {
  IE,
  ZE,
  beginFp,
  exponentOf,
  infinity,
  invalid,
  isDenormal,
  isInfinite,
  isNan,
  isSignalling,
  jam,
  magnitude,
  nanOf,
  negative,
  noteDenormal,
  operandFp,
  plain,
  plainResult,
  quiet,
  raiseFp,
  rounded,
  roundingDown,
  settleFp,
  signBit,
  significandOf,
} from "./sse-round";
import { the } from "./state";

function single(x: u64): f32 {
  return reinterpret<f32>(<u32>x);
}
function double(x: u64): f64 {
  return reinterpret<f64>(x);
}
function bits32(v: f32): u64 {
  return <u64>reinterpret<u32>(v);
}
function bits64(v: f64): u64 {
  return reinterpret<u64>(v);
}

/** The sum of a and b; `flip` turns the sign of b. */
function sum<T>(a: u64, b0: u64, flip: u64): u64 {
  if (isNan<T>(a) || isNan<T>(b0)) return nanOf<T>(a, b0);
  const b = b0 ^ flip;
  if (isInfinite<T>(a) && isInfinite<T>(b) && a != b) return invalid<T>();
  noteDenormal<T>(a);
  noteDenormal<T>(b);
  if (isInfinite<T>(a)) return a;
  if (isInfinite<T>(b)) return b;
  if (!magnitude<T>(a)) {
    if (magnitude<T>(b)) return rounded<T>(negative<T>(b), exponentOf<T>(b), significandOf<T>(b));
    return a == b ? a : roundingDown() ? signBit<T>() : 0;
  }
  if (!magnitude<T>(b)) return rounded<T>(negative<T>(a), exponentOf<T>(a), significandOf<T>(a));
  const swap = magnitude<T>(a) < magnitude<T>(b);
  const x = swap ? b : a;
  const y = swap ? a : b;
  const e = exponentOf<T>(x);
  const sx = significandOf<T>(x) >> 1;
  const sy = jam(significandOf<T>(y) >> 1, e - exponentOf<T>(y));
  const s = negative<T>(a) == negative<T>(b) ? sx + sy : sx - sy;
  if (!s) return roundingDown() ? signBit<T>() : 0;
  const n = <i32>clz<u64>(s);
  return rounded<T>(negative<T>(x), e + 1 - n, s << n);
}

/** The upper half of a 128-bit product, what is below it in the lowest bit. */
function productHigh(a: u64, b: u64): u64 {
  const al = a & 0xffffffff;
  const ah = a >> 32;
  const bl = b & 0xffffffff;
  const bh = b >> 32;
  const low = al * bl;
  const m1 = ah * bl + (low >> 32);
  const m2 = al * bh + (m1 & 0xffffffff);
  const rest = (m2 << 32) | (low & 0xffffffff);
  return (ah * bh + (m1 >> 32) + (m2 >> 32)) | u64(rest != 0);
}

function product<T>(a: u64, b: u64): u64 {
  if (isNan<T>(a) || isNan<T>(b)) return nanOf<T>(a, b);
  const neg = negative<T>(a) != negative<T>(b);
  const sign = neg ? signBit<T>() : 0;
  const infinite = isInfinite<T>(a) || isInfinite<T>(b);
  const zero = !magnitude<T>(a) || !magnitude<T>(b);
  if (infinite && zero) return invalid<T>();
  noteDenormal<T>(a);
  noteDenormal<T>(b);
  if (infinite) return sign | infinity<T>();
  if (zero) return sign;
  const s = productHigh(significandOf<T>(a), significandOf<T>(b));
  const n = <i32>clz<u64>(s); // 0 or 1
  return rounded<T>(neg, exponentOf<T>(a) + exponentOf<T>(b) + 1 - n, s << n);
}

function quotient<T>(a: u64, b: u64): u64 {
  if (isNan<T>(a) || isNan<T>(b)) return nanOf<T>(a, b);
  const neg = negative<T>(a) != negative<T>(b);
  const sign = neg ? signBit<T>() : 0;
  const zero = !magnitude<T>(b);
  if (zero ? !magnitude<T>(a) : isInfinite<T>(a) && isInfinite<T>(b)) return invalid<T>();
  if (zero) {
    if (!isInfinite<T>(a)) raiseFp(ZE);
    return sign | infinity<T>();
  }
  noteDenormal<T>(a);
  noteDenormal<T>(b);
  if (isInfinite<T>(a)) return sign | infinity<T>();
  if (isInfinite<T>(b) || !magnitude<T>(a)) return sign;
  let r = significandOf<T>(a) >> 1;
  const d = significandOf<T>(b) >> 1;
  let e = exponentOf<T>(a) - exponentOf<T>(b);
  if (r < d) {
    r <<= 1;
    e--;
  }
  let q: u64 = 0;
  for (let i = 0; i < 64; i++) {
    q <<= 1;
    if (r >= d) {
      r -= d;
      q |= 1;
    }
    r <<= 1;
  }
  return rounded<T>(neg, e, q | u64(r != 0));
}

function root<T>(a: u64): u64 {
  if (isNan<T>(a)) return nanOf<T>(a, a);
  if (!magnitude<T>(a)) return a;
  if (negative<T>(a)) return invalid<T>();
  noteDenormal<T>(a);
  if (isInfinite<T>(a)) return a;
  const e = exponentOf<T>(a);
  // m in [1, 4) with 52 bits below the point, and its root to the nearest of them; the remainder says on which side.
  const m = (significandOf<T>(a) >> 11) << (e & 1);
  const s = <u64>(sqrt<f64>(<f64>m * (1.0 / 4503599627370496.0)) * 4503599627370496.0);
  const rest = <i64>((m << 52) - s * s);
  const exact = rest > 0 ? (s << 11) | 1 : rest < 0 ? (s << 11) - 1 : s << 11;
  return rounded<T>(false, e >> 1, exact);
}

@unmanaged
export class FpOperation {
  plain<T>(a: u64, b: u64): u64 {
    return 0;
  }
  exact<T>(a: u64, b: u64): u64 {
    return 0;
  }
}
@unmanaged
export class FpAdd {
  plain<T>(a: u64, b: u64): u64 {
    if (sizeof<T>() == 4) return bits32(single(a) + single(b));
    return bits64(double(a) + double(b));
  }
  exact<T>(a: u64, b: u64): u64 {
    return sum<T>(a, b, 0);
  }
}
@unmanaged
export class FpSub {
  plain<T>(a: u64, b: u64): u64 {
    if (sizeof<T>() == 4) return bits32(single(a) - single(b));
    return bits64(double(a) - double(b));
  }
  exact<T>(a: u64, b: u64): u64 {
    return sum<T>(a, b, signBit<T>());
  }
}
@unmanaged
export class FpMul {
  plain<T>(a: u64, b: u64): u64 {
    if (sizeof<T>() == 4) return bits32(single(a) * single(b));
    return bits64(double(a) * double(b));
  }
  exact<T>(a: u64, b: u64): u64 {
    return product<T>(a, b);
  }
}
@unmanaged
export class FpDiv {
  plain<T>(a: u64, b: u64): u64 {
    if (sizeof<T>() == 4) return bits32(single(a) / single(b));
    return bits64(double(a) / double(b));
  }
  exact<T>(a: u64, b: u64): u64 {
    return quotient<T>(a, b);
  }
}
/** The square root of the second operand. */
@unmanaged
export class FpSqrt {
  plain<T>(a: u64, b: u64): u64 {
    if (sizeof<T>() == 4) return bits32(sqrt<f32>(single(b)));
    return bits64(sqrt<f64>(double(b)));
  }
  exact<T>(a: u64, b: u64): u64 {
    return root<T>(b);
  }
}

/** Whether a < b, of numbers. */
function below<T>(a: u64, b: u64): bool {
  const na = negative<T>(a);
  if (na != negative<T>(b)) return na && (magnitude<T>(a) | magnitude<T>(b)) != 0;
  return na ? magnitude<T>(a) > magnitude<T>(b) : magnitude<T>(a) < magnitude<T>(b);
}
function equal<T>(a: u64, b: u64): bool {
  return a == b || !(magnitude<T>(a) | magnitude<T>(b));
}

/** MIN and MAX answer the second operand unless the first one is clearly it. */
function lesser<T>(a: u64, b: u64, greatest: bool): u64 {
  if (isNan<T>(a) || isNan<T>(b)) {
    raiseFp(IE);
    return b;
  }
  noteDenormal<T>(a);
  noteDenormal<T>(b);
  return (greatest ? below<T>(b, a) : below<T>(a, b)) ? a : b;
}
@unmanaged
export class FpMin {
  plain<T>(a: u64, b: u64): u64 {
    return lesser<T>(a, b, false);
  }
  exact<T>(a: u64, b: u64): u64 {
    return lesser<T>(a, b, false);
  }
}
@unmanaged
export class FpMax {
  plain<T>(a: u64, b: u64): u64 {
    return lesser<T>(a, b, true);
  }
  exact<T>(a: u64, b: u64): u64 {
    return lesser<T>(a, b, true);
  }
}

/** One lane: of `d` and `s`, to `to`. */
export function fpLane<F extends FpOperation, T>(d: usize, s: usize, to: usize): void {
  const a = operandFp<T>(lane<T>(d));
  const b = operandFp<T>(lane<T>(s));
  if (plain<T>(a, b)) {
    const r = the<F>().plain<T>(a, b);
    if (plainResult<T>(r)) {
      setLane<T>(to, r);
      return;
    }
  }
  setLane<T>(to, the<F>().exact<T>(a, b));
}

export function packedFp<F extends FpOperation, T>(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  const d = destination(up);
  beginFp();
  for (let i: usize = 0; i < 16; i += sizeof<T>()) fpLane<F, T>(d + i, s + i, RESULT + i);
  if (!settleFp()) return false;
  store<v128>(d, load<v128>(RESULT));
  return true;
}

export function scalarFp<F extends FpOperation, T>(up: usize): bool {
  const s = laneAt<T>(up);
  if (!s) return false;
  const d = destination(up);
  beginFp();
  fpLane<F, T>(d, s, RESULT);
  if (!settleFp()) return false;
  setLane<T>(d, lane<T>(RESULT));
  return true;
}

/** One lane of CMPPS and its kin; bit 2 of the predicate negates, and LT and LE signal any NaN. */
function compared<T>(x: u64, y: u64, predicate: i32): u64 {
  const a = operandFp<T>(x);
  const b = operandFp<T>(y);
  const kind = predicate & 3;
  let holds: bool;
  if (isNan<T>(a) || isNan<T>(b)) {
    if (kind == 1 || kind == 2 || isSignalling<T>(a) || isSignalling<T>(b)) raiseFp(IE);
    holds = kind == 3;
  } else {
    noteDenormal<T>(a);
    noteDenormal<T>(b);
    if (kind == 0) holds = equal<T>(a, b);
    else if (kind == 1) holds = below<T>(a, b);
    else if (kind == 2) holds = !below<T>(b, a);
    else holds = false;
  }
  return holds != ((predicate & 4) != 0) ? ~(<u64>0) : 0;
}

export function comparePacked<T>(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  const d = destination(up);
  const predicate = load<u8>(up, U_IMM);
  beginFp();
  for (let i: usize = 0; i < 16; i += sizeof<T>())
    setLane<T>(RESULT + i, compared<T>(lane<T>(d + i), lane<T>(s + i), predicate));
  if (!settleFp()) return false;
  store<v128>(d, load<v128>(RESULT));
  return true;
}

export function compareScalar<T>(up: usize): bool {
  const s = laneAt<T>(up);
  if (!s) return false;
  const d = destination(up);
  beginFp();
  const r = compared<T>(lane<T>(d), lane<T>(s), load<u8>(up, U_IMM));
  if (!settleFp()) return false;
  setLane<T>(d, r);
  return true;
}

/** COMISS and UCOMISS: the order of two numbers as zf pf cf. */
export function compareFlags<F extends Comis, T>(up: usize): bool {
  const s = laneAt<T>(up);
  if (!s) return false;
  beginFp();
  const a = operandFp<T>(lane<T>(destination(up)));
  const b = operandFp<T>(lane<T>(s));
  let f: i32;
  if (isNan<T>(a) || isNan<T>(b)) {
    if (the<F>().signals() || isSignalling<T>(a) || isSignalling<T>(b)) raiseFp(IE);
    f = 0x45;
  } else {
    noteDenormal<T>(a);
    noteDenormal<T>(b);
    f = equal<T>(a, b) ? 0x40 : below<T>(a, b) ? 1 : 0;
  }
  if (!settleFp()) return false;
  setArithmetic(f);
  return true;
}
@unmanaged
export class Comis {
  signals(): bool {
    return true;
  }
}
@unmanaged
export class Ucomis {
  signals(): bool {
    return false;
  }
}

/**
 * RCPPS and RSQRTPS raise nothing and take denormals for zeros.
 * DIFFERS: the result is the correctly rounded one; a CPU's is off by up to 1.5 * 2^-12, each model in its own way.
 */
function approximate(x: u64, root: bool): u64 {
  const sign = x & signBit<i32>();
  if (isNan<i32>(x)) return x | quiet<i32>();
  if (!magnitude<i32>(x) || isDenormal<i32>(x)) return sign | infinity<i32>();
  if (root && sign) return 0xffc00000;
  if (isInfinite<i32>(x)) return sign;
  const v = <f64>single(x);
  const r = bits32(<f32>(root ? 1.0 / sqrt<f64>(v) : 1.0 / v));
  return isDenormal<i32>(r) ? sign : r;
}
@unmanaged
export class Rcp {
  root(): bool {
    return false;
  }
}
@unmanaged
export class Rsqrt {
  root(): bool {
    return true;
  }
}
export function approximatePacked<F extends Rcp>(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  const d = destination(up);
  for (let i: usize = 0; i < 16; i += 4)
    store<u32>(d + i, <u32>approximate(load<u32>(s + i), the<F>().root()));
  return true;
}
export function approximateScalar<F extends Rcp>(up: usize): bool {
  const s = laneAt<i32>(up);
  if (!s) return false;
  store<u32>(destination(up), <u32>approximate(load<u32>(s), the<F>().root()));
  return true;
}

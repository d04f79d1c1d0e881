// Shifts, rotates, bit tests and bit scans. Where the SDM leaves a flag undefined, the table marks it so and the value
// here is whatever falls out. SDM Vol. 2: "RCL/RCR/ROL/ROR", "SAL/SAR/SHL/SHR", "SHLD", "SHRD", "BT", "BSF", "BSR".

import { CC_R, CF, Cc, OF, RCX } from "./abi";
import { rawFlags, setZf } from "./alu";
import { carry, lazy } from "./flags";
import { reach } from "./mmu";
import { Memory, Operand } from "./operand";
import { the } from "./state";

/** CL as an operand. */
@unmanaged
export class Cl {
  mem(): bool {
    return false;
  }
  at<T>(up: usize, w: i32): usize {
    return RCX;
  }
  get<T>(up: usize, p: usize): i64 {
    return <i64>load<u8>(RCX);
  }
  put<T>(p: usize, v: i64): void {}
}

function bits<T>(): i32 {
  return sizeof<T>() * 8;
}

/** The value as an unsigned number of its width. */
function unsigned<T>(v: i64): u64 {
  const w: i32 = sizeof<T>() * 8;
  return w == 64 ? <u64>v : (<u64>v) & ((u64(1) << w) - 1);
}

function setCfOf(cf: i32, ov: i32): void {
  rawFlags();
  store<i64>(CC_R, (load<i64>(CC_R) & ~(<i64>(CF | OF))) | (<i64>cf) | ((<i64>ov) << 11));
}

@unmanaged
export class Shl {
  do<T>(a: i64, n: i32): i64 {
    const r = <i64>(<T>(a << n));
    const cf = n <= bits<T>() ? (<i32>(unsigned<T>(a) >> (bits<T>() - n))) & 1 : 0;
    lazy(Cc.Shift, r, cf, cf ^ (<i32>((r >> 63) & 1)));
    return r;
  }
}
@unmanaged
export class Shr {
  do<T>(a: i64, n: i32): i64 {
    const u = unsigned<T>(a);
    const r = <i64>(<T>(u >> n));
    lazy(Cc.Shift, r, (<i32>(u >> (n - 1))) & 1, <i32>((a >> 63) & 1));
    return r;
  }
}
@unmanaged
export class Sar {
  do<T>(a: i64, n: i32): i64 {
    const r = <i64>(<T>(a >> n));
    lazy(Cc.Shift, r, (<i32>(a >> (n - 1))) & 1, 0);
    return r;
  }
}
@unmanaged
export class Rol {
  do<T>(a: i64, n: i32): i64 {
    const m = n & (bits<T>() - 1);
    const u = unsigned<T>(a);
    const r = m ? <i64>(<T>((u << m) | (u >> (bits<T>() - m)))) : a;
    const cf = (<i32>r) & 1;
    setCfOf(cf, cf ^ (<i32>((r >> 63) & 1)));
    return r;
  }
}
@unmanaged
export class Ror {
  do<T>(a: i64, n: i32): i64 {
    const w = bits<T>();
    const m = n & (w - 1);
    const u = unsigned<T>(a);
    const r = m ? <i64>(<T>((u >> m) | (u << (w - m)))) : a;
    const cf = <i32>((r >> 63) & 1);
    setCfOf(cf, cf ^ ((<i32>(unsigned<T>(r) >> (w - 2))) & 1));
    return r;
  }
}
@unmanaged
export class Rcl {
  do<T>(a: i64, n: i32): i64 {
    const m = n % (bits<T>() + 1);
    const u = unsigned<T>(a);
    const c = <u64>carry();
    if (!m) {
      setCfOf(<i32>c, (<i32>c) ^ (<i32>((a >> 63) & 1)));
      return a;
    }
    const low = m > 1 ? u >> (bits<T>() + 1 - m) : 0;
    const r = <i64>(<T>((u << m) | (c << (m - 1)) | low));
    const cf = (<i32>(u >> (bits<T>() - m))) & 1;
    setCfOf(cf, cf ^ (<i32>((r >> 63) & 1)));
    return r;
  }
}
@unmanaged
export class Rcr {
  do<T>(a: i64, n: i32): i64 {
    const w = bits<T>();
    const m = n % (w + 1);
    const u = unsigned<T>(a);
    const c = <u64>carry();
    if (!m) {
      setCfOf(<i32>c, (<i32>((a >> 63) & 1)) ^ ((<i32>(u >> (w - 2))) & 1));
      return a;
    }
    const high = m > 1 ? u << (w + 1 - m) : 0;
    const r = <i64>(<T>((m < 64 ? u >> m : 0) | (c << (w - m)) | high));
    const cf = (<i32>(u >> (m - 1))) & 1;
    setCfOf(cf, (<i32>((r >> 63) & 1)) ^ ((<i32>(unsigned<T>(r) >> (w - 2))) & 1));
    return r;
  }
}

/** A shift or rotate by an immediate or CL. A masked count of 0 changes no flag. */
export function shift<F extends Shl, D extends Operand, S extends Operand, T>(up: usize): bool {
  const d = the<D>().at<T>(up, 1);
  if (the<D>().mem() && !d) return false;
  const n = (<i32>the<S>().get<T>(up, 0)) & (sizeof<T>() == 8 ? 63 : 31);
  const a = the<D>().get<T>(up, d);
  the<D>().put<T>(d, n ? the<F>().do<T>(a, n) : a);
  return true;
}

@unmanaged
export class Shld {
  do<T>(a: i64, b: i64, n: i32): i64 {
    const ua = unsigned<T>(a);
    const ub = unsigned<T>(b);
    let r: i64;
    let cf: i32;
    if (n <= bits<T>()) {
      r = <i64>(<T>((n < 64 ? ua << n : 0) | (ub >> (bits<T>() - n))));
      cf = (<i32>(ua >> (bits<T>() - n))) & 1;
    } else {
      r = <i64>(<T>((ub << (n - bits<T>())) | (ua >> (2 * bits<T>() - n))));
      cf = (<i32>(ub >> (2 * bits<T>() - n))) & 1;
    }
    lazy(Cc.Shift, r, cf, i32((r ^ a) < 0));
    return r;
  }
}
@unmanaged
export class Shrd {
  do<T>(a: i64, b: i64, n: i32): i64 {
    const w = bits<T>();
    const ua = unsigned<T>(a);
    const ub = unsigned<T>(b);
    let r: i64;
    let cf: i32;
    if (n <= w) {
      r = <i64>(<T>((ua >> n) | (ub << (w - n))));
      cf = (<i32>(ua >> (n - 1))) & 1;
    } else {
      r = <i64>(<T>((ub >> (n - w)) | (ua << (2 * w - n))));
      cf = (<i32>(ub >> (n - w - 1))) & 1;
    }
    lazy(Cc.Shift, r, cf, i32((r ^ a) < 0));
    return r;
  }
}

export function shiftDouble<
  F extends Shld,
  D extends Operand,
  S extends Operand,
  C extends Operand,
  T,
>(up: usize): bool {
  const d = the<D>().at<T>(up, 1);
  if (the<D>().mem() && !d) return false;
  const n = (<i32>the<C>().get<T>(up, 0)) & (sizeof<T>() == 8 ? 63 : 31);
  const a = the<D>().get<T>(up, d);
  the<D>().put<T>(d, n ? the<F>().do<T>(a, the<S>().get<T>(up, the<S>().at<T>(up, 0)), n) : a);
  return true;
}

@unmanaged
export class Bt {
  writes(): bool {
    return false;
  }
  do(v: i64, m: i64): i64 {
    return v;
  }
}
@unmanaged
export class Bts {
  writes(): bool {
    return true;
  }
  do(v: i64, m: i64): i64 {
    return v | m;
  }
}
@unmanaged
export class Btr {
  writes(): bool {
    return true;
  }
  do(v: i64, m: i64): i64 {
    return v & ~m;
  }
}
@unmanaged
export class Btc {
  writes(): bool {
    return true;
  }
  do(v: i64, m: i64): i64 {
    return v ^ m;
  }
}

/** Bit test in a register, or in memory with the bit number taken modulo the operand size. */
export function bit<F extends Bts, D extends Operand, S extends Operand, T>(up: usize): bool {
  const n = the<S>().get<T>(up, the<S>().at<T>(up, 0)) & (bits<T>() - 1);
  const d = the<D>().at<T>(up, the<F>().writes() ? 1 : 0);
  if (the<D>().mem() && !d) return false;
  const v = the<D>().get<T>(up, d);
  if (the<F>().writes()) the<D>().put<T>(d, the<F>().do(v, (<i64>1) << n));
  setCf((<i32>(v >> n)) & 1);
  return true;
}

/** Bit test in memory where the register counts bits from the operand's address, in both directions. */
export function bitString<F extends Bts, D extends Memory, S extends Operand, T>(up: usize): bool {
  if (!the<D>().mem()) return bit<F, D, S, T>(up);
  const i = the<S>().get<T>(up, the<S>().at<T>(up, 0));
  const shift = sizeof<T>() == 8 ? 6 : sizeof<T>() == 4 ? 5 : 4;
  const va = the<D>().vaFrom(up, <u64>((i >> shift) * sizeof<T>()));
  const n = i & (bits<T>() - 1);
  const d = reach<T>(va, the<F>().writes() ? 1 : 0);
  if (!d) return false;
  const v = the<D>().get<T>(up, d);
  if (the<F>().writes()) the<D>().put<T>(d, the<F>().do(v, (<i64>1) << n));
  setCf((<i32>(v >> n)) & 1);
  return true;
}

function setCf(cf: i32): void {
  rawFlags();
  store<i64>(CC_R, (load<i64>(CC_R) & ~(<i64>CF)) | (<i64>cf));
}

export function setCarry<F extends Clc>(up: usize): bool {
  setCf(the<F>().cf());
  return true;
}
@unmanaged
export class Clc {
  cf(): i32 {
    return 0;
  }
}
@unmanaged
export class Stc {
  cf(): i32 {
    return 1;
  }
}
@unmanaged
export class Cmc {
  cf(): i32 {
    return carry() ^ 1;
  }
}

@unmanaged
export class Bsf {
  do<T>(u: u64): i64 {
    return <i64>ctz<u64>(u);
  }
}
@unmanaged
export class Bsr {
  do<T>(u: u64): i64 {
    return 63 - <i64>clz<u64>(u);
  }
}

/** BSF and BSR: a zero source sets zf and leaves the destination as it was. */
export function scan<F extends Bsf, D extends Operand, S extends Operand, T>(up: usize): bool {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  const u = unsigned<T>(the<S>().get<T>(up, s));
  setZf(u == 0);
  if (u) the<D>().put<T>(the<D>().at<T>(up, 1), the<F>().do<T>(u));
  return true;
}

/** LZCNT: cf for a zero source, zf for a zero result. */
export function lzcnt<D extends Operand, S extends Operand, T>(up: usize): bool {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  const u = unsigned<T>(the<S>().get<T>(up, s));
  const r = u ? <i64>clz<u64>(u) - (64 - bits<T>()) : bits<T>();
  lazy(Cc.Shift, r, i32(u == 0), 0);
  the<D>().put<T>(the<D>().at<T>(up, 1), r);
  return true;
}

export function popcount<D extends Operand, S extends Operand, T>(up: usize): bool {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  const u = unsigned<T>(the<S>().get<T>(up, s));
  lazy(Cc.Raw, u ? 0 : 0x40, 0, 0);
  the<D>().put<T>(the<D>().at<T>(up, 1), <i64>popcnt<u64>(u));
  return true;
}

// SSE4.1 and PCMPGTQ, packed integers: minima, products, comparisons, widening, and lanes moved by an immediate or by
// the signs of xmm0. Each operation is stated once on the whole register. SDM Vol. 2, BLENDPD to PTEST.

import { U_A, U_B, U_IMM, XMM } from "./abi";
import { setArithmetic } from "./flags";
import { put } from "./mmu";
import { RESULT, destination, inMemory, laneAt, memoryAt, sourceAt } from "./sse-operand";
import { the } from "./state";

@unmanaged
export class Pmulld {
  of(a: v128, b: v128): v128 {
    return i32x4.mul(a, b);
  }
}
@unmanaged
export class Pmuldq {
  of(a: v128, b: v128): v128 {
    return i64x2.extmul_low_i32x4_s(
      v128.shuffle<i32>(a, a, 0, 2, 0, 2),
      v128.shuffle<i32>(b, b, 0, 2, 0, 2),
    );
  }
}
@unmanaged
export class Packusdw {
  of(a: v128, b: v128): v128 {
    return i16x8.narrow_i32x4_u(a, b);
  }
}
@unmanaged
export class Pcmpeqq {
  of(a: v128, b: v128): v128 {
    return i64x2.eq(a, b);
  }
}
@unmanaged
export class Pcmpgtq {
  of(a: v128, b: v128): v128 {
    return i64x2.gt_s(a, b);
  }
}
@unmanaged
export class Pminsb {
  of(a: v128, b: v128): v128 {
    return i8x16.min_s(a, b);
  }
}
@unmanaged
export class Pminsd {
  of(a: v128, b: v128): v128 {
    return i32x4.min_s(a, b);
  }
}
@unmanaged
export class Pminuw {
  of(a: v128, b: v128): v128 {
    return i16x8.min_u(a, b);
  }
}
@unmanaged
export class Pminud {
  of(a: v128, b: v128): v128 {
    return i32x4.min_u(a, b);
  }
}
@unmanaged
export class Pmaxsb {
  of(a: v128, b: v128): v128 {
    return i8x16.max_s(a, b);
  }
}
@unmanaged
export class Pmaxsd {
  of(a: v128, b: v128): v128 {
    return i32x4.max_s(a, b);
  }
}
@unmanaged
export class Pmaxuw {
  of(a: v128, b: v128): v128 {
    return i16x8.max_u(a, b);
  }
}
@unmanaged
export class Pmaxud {
  of(a: v128, b: v128): v128 {
    return i32x4.max_u(a, b);
  }
}
/** PHMINPOSUW: the least word of the second operand, and its place. */
@unmanaged
export class Phminposuw {
  of(a: v128, b: v128): v128 {
    store<v128>(RESULT, b);
    let at: u32 = 0;
    for (let i: u32 = 1; i < 8; i++)
      if (load<u16>(RESULT + (i << 1)) < load<u16>(RESULT + (at << 1))) at = i;
    const v = (<i64>load<u16>(RESULT + (at << 1))) | ((<i64>at) << 16);
    return i64x2.replace_lane(i64x2.splat(0), 0, v);
  }
}
@unmanaged
export class Pblendvb {
  of(a: v128, b: v128): v128 {
    return v128.bitselect(b, a, i8x16.shr_s(load<v128>(XMM), 7));
  }
}
@unmanaged
export class Blendvps {
  of(a: v128, b: v128): v128 {
    return v128.bitselect(b, a, i32x4.shr_s(load<v128>(XMM), 31));
  }
}
@unmanaged
export class Blendvpd {
  of(a: v128, b: v128): v128 {
    return v128.bitselect(b, a, i64x2.shr_s(load<v128>(XMM), 63));
  }
}
@unmanaged
export class Pblendw {
  fill(a: usize, b: usize, n: i32): void {
    for (let i = 0; i < 8; i++)
      store<u16>(RESULT + (i << 1), load<u16>(((n >> i) & 1 ? b : a) + (i << 1)));
  }
}
@unmanaged
export class Blendps {
  fill(a: usize, b: usize, n: i32): void {
    for (let i = 0; i < 4; i++)
      store<u32>(RESULT + (i << 2), load<u32>(((n >> i) & 1 ? b : a) + (i << 2)));
  }
}
@unmanaged
export class Blendpd {
  fill(a: usize, b: usize, n: i32): void {
    for (let i = 0; i < 2; i++)
      store<u64>(RESULT + (i << 3), load<u64>(((n >> i) & 1 ? b : a) + (i << 3)));
  }
}
/** MPSADBW: sums of differences of four bytes of the second operand with eight places of the first. */
@unmanaged
export class Mpsadbw {
  fill(a: usize, b: usize, n: i32): void {
    const p = a + (n & 4);
    const q = b + ((n & 3) << 2);
    for (let i = 0; i < 8; i++) {
      let s = 0;
      for (let k = 0; k < 4; k++) s += abs<i32>(<i32>load<u8>(p + (i + k)) - <i32>load<u8>(q + k));
      store<u16>(RESULT + (i << 1), <u16>s);
    }
  }
}

@unmanaged
export class Widening {
  of(b: v128): v128 {
    return b;
  }
}
/** PMOVSX and PMOVZX; T is as wide as what they read of memory, which need not be aligned. */
export function widen<F extends Widening, T>(up: usize): bool {
  let v: v128;
  if (inMemory(up)) {
    const s = memoryAt<T>(up, 0);
    if (!s) return false;
    v = i64x2.replace_lane(i64x2.splat(0), 0, <i64>load<T>(s));
  } else v = load<v128>(load<u16>(up, U_B));
  store<v128>(destination(up), the<F>().of(v));
  return true;
}
@unmanaged
export class Pmovsxbw {
  of(b: v128): v128 {
    return i16x8.extend_low_i8x16_s(b);
  }
}
@unmanaged
export class Pmovsxbd {
  of(b: v128): v128 {
    return i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(b));
  }
}
@unmanaged
export class Pmovsxbq {
  of(b: v128): v128 {
    return i64x2.extend_low_i32x4_s(i32x4.extend_low_i16x8_s(i16x8.extend_low_i8x16_s(b)));
  }
}
@unmanaged
export class Pmovsxwd {
  of(b: v128): v128 {
    return i32x4.extend_low_i16x8_s(b);
  }
}
@unmanaged
export class Pmovsxwq {
  of(b: v128): v128 {
    return i64x2.extend_low_i32x4_s(i32x4.extend_low_i16x8_s(b));
  }
}
@unmanaged
export class Pmovsxdq {
  of(b: v128): v128 {
    return i64x2.extend_low_i32x4_s(b);
  }
}
@unmanaged
export class Pmovzxbw {
  of(b: v128): v128 {
    return i16x8.extend_low_i8x16_u(b);
  }
}
@unmanaged
export class Pmovzxbd {
  of(b: v128): v128 {
    return i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(b));
  }
}
@unmanaged
export class Pmovzxbq {
  of(b: v128): v128 {
    return i64x2.extend_low_i32x4_u(i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(b)));
  }
}
@unmanaged
export class Pmovzxwd {
  of(b: v128): v128 {
    return i32x4.extend_low_i16x8_u(b);
  }
}
@unmanaged
export class Pmovzxwq {
  of(b: v128): v128 {
    return i64x2.extend_low_i32x4_u(i32x4.extend_low_i16x8_u(b));
  }
}
@unmanaged
export class Pmovzxdq {
  of(b: v128): v128 {
    return i64x2.extend_low_i32x4_u(b);
  }
}

function laneOf<T>(up: usize): usize {
  return <usize>((<u32>load<u8>(up, U_IMM)) & (16 / sizeof<T>() - 1)) * sizeof<T>();
}

/** PEXTRB to PEXTRQ and EXTRACTPS: a general register is cleared above the lane, memory gets the lane alone. */
export function extractLane<T>(up: usize): bool {
  const s = <usize>load<u16>(up, U_B) + laneOf<T>(up);
  if (!inMemory(up)) {
    store<u64>(load<u16>(up, U_A), load<u64>(s) & (~(<u64>0) >> (64 - 8 * sizeof<T>())));
    return true;
  }
  const p = memoryAt<T>(up, 1);
  if (!p) return false;
  put<T>(p, load<T>(s));
  return true;
}

/** PINSRB, PINSRD and PINSRQ. */
export function insertLane<T>(up: usize): bool {
  const s = laneAt<T>(up);
  if (!s) return false;
  store<T>(destination(up) + laneOf<T>(up), load<T>(s));
  return true;
}

/** INSERTPS: bits 7-6 choose the lane of a register, memory has one only; 5-4 its place; 3-0 what becomes 0. */
export function insertps(up: usize): bool {
  const n = <u32>load<u8>(up, U_IMM);
  let s: usize;
  if (inMemory(up)) {
    s = memoryAt<u32>(up, 0);
    if (!s) return false;
  } else s = <usize>load<u16>(up, U_B) + ((n >> 6) << 2);
  const d = destination(up);
  store<u32>(d + (((n >> 4) & 3) << 2), load<u32>(s));
  for (let i: u32 = 0; i < 4; i++) if ((n >> i) & 1) store<u32>(d + (i << 2), 0);
  return true;
}

/** PTEST: zf says that no bit is in both, cf that the first operand has all bits of the second. */
export function ptest(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  const a = load<v128>(destination(up));
  const b = load<v128>(s);
  setArithmetic(
    (v128.any_true(v128.and(a, b)) ? 0 : 0x40) | (v128.any_true(v128.andnot(b, a)) ? 0 : 1),
  );
  return true;
}

// Packed integers and bitwise logic of SSE2: each operation stated once on the whole register, with the host's own
// vector instructions where they are exactly the guest's. SDM Vol. 2, PADDB to PXOR, and ANDPS and its kin.

import { U_A, U_IMM } from "./abi";
import { destination, sourceAt } from "./sse-operand";
import { the } from "./state";

@unmanaged
export class PackedOperation {
  of(a: v128, b: v128): v128 {
    return a;
  }
}

export function packed<F extends PackedOperation>(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  const d = destination(up);
  store<v128>(d, the<F>().of(load<v128>(d), load<v128>(s)));
  return true;
}

/** Shifts take their count from the low 64 bits of the source, or from the immediate. */
export function packedShift<F extends Psllw>(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  const d = destination(up);
  store<v128>(d, the<F>().of(load<v128>(d), load<u64>(s)));
  return true;
}
export function packedShiftBy<F extends Psllw>(up: usize): bool {
  const d = load<u16>(up, U_A);
  store<v128>(d, the<F>().of(load<v128>(d), <u64>load<u8>(up, U_IMM)));
  return true;
}

@unmanaged
export class Paddb {
  of(a: v128, b: v128): v128 {
    return i8x16.add(a, b);
  }
}
@unmanaged
export class Psubb {
  of(a: v128, b: v128): v128 {
    return i8x16.sub(a, b);
  }
}
@unmanaged
export class Paddw {
  of(a: v128, b: v128): v128 {
    return i16x8.add(a, b);
  }
}
@unmanaged
export class Psubw {
  of(a: v128, b: v128): v128 {
    return i16x8.sub(a, b);
  }
}
@unmanaged
export class Paddd {
  of(a: v128, b: v128): v128 {
    return i32x4.add(a, b);
  }
}
@unmanaged
export class Psubd {
  of(a: v128, b: v128): v128 {
    return i32x4.sub(a, b);
  }
}
@unmanaged
export class Paddq {
  of(a: v128, b: v128): v128 {
    return i64x2.add(a, b);
  }
}
@unmanaged
export class Psubq {
  of(a: v128, b: v128): v128 {
    return i64x2.sub(a, b);
  }
}
@unmanaged
export class Paddsb {
  of(a: v128, b: v128): v128 {
    return i8x16.add_sat_s(a, b);
  }
}
@unmanaged
export class Paddusb {
  of(a: v128, b: v128): v128 {
    return i8x16.add_sat_u(a, b);
  }
}
@unmanaged
export class Psubsb {
  of(a: v128, b: v128): v128 {
    return i8x16.sub_sat_s(a, b);
  }
}
@unmanaged
export class Psubusb {
  of(a: v128, b: v128): v128 {
    return i8x16.sub_sat_u(a, b);
  }
}
@unmanaged
export class Pavgb {
  of(a: v128, b: v128): v128 {
    return i8x16.avgr_u(a, b);
  }
}
@unmanaged
export class Paddsw {
  of(a: v128, b: v128): v128 {
    return i16x8.add_sat_s(a, b);
  }
}
@unmanaged
export class Paddusw {
  of(a: v128, b: v128): v128 {
    return i16x8.add_sat_u(a, b);
  }
}
@unmanaged
export class Psubsw {
  of(a: v128, b: v128): v128 {
    return i16x8.sub_sat_s(a, b);
  }
}
@unmanaged
export class Psubusw {
  of(a: v128, b: v128): v128 {
    return i16x8.sub_sat_u(a, b);
  }
}
@unmanaged
export class Pavgw {
  of(a: v128, b: v128): v128 {
    return i16x8.avgr_u(a, b);
  }
}
@unmanaged
export class Pmullw {
  of(a: v128, b: v128): v128 {
    return i16x8.mul(a, b);
  }
}
@unmanaged
export class Pmulhw {
  of(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(
      i32x4.extmul_low_i16x8_s(a, b),
      i32x4.extmul_high_i16x8_s(a, b),
      1,
      3,
      5,
      7,
      9,
      11,
      13,
      15,
    );
  }
}
@unmanaged
export class Pmulhuw {
  of(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(
      i32x4.extmul_low_i16x8_u(a, b),
      i32x4.extmul_high_i16x8_u(a, b),
      1,
      3,
      5,
      7,
      9,
      11,
      13,
      15,
    );
  }
}
@unmanaged
export class Pmaddwd {
  of(a: v128, b: v128): v128 {
    return i32x4.dot_i16x8_s(a, b);
  }
}
@unmanaged
export class Pmuludq {
  of(a: v128, b: v128): v128 {
    return i64x2.mul(v128.and(a, i64x2.splat(0xffffffff)), v128.and(b, i64x2.splat(0xffffffff)));
  }
}
@unmanaged
export class Pminub {
  of(a: v128, b: v128): v128 {
    return i8x16.min_u(a, b);
  }
}
@unmanaged
export class Pmaxub {
  of(a: v128, b: v128): v128 {
    return i8x16.max_u(a, b);
  }
}
@unmanaged
export class Pminsw {
  of(a: v128, b: v128): v128 {
    return i16x8.min_s(a, b);
  }
}
@unmanaged
export class Pmaxsw {
  of(a: v128, b: v128): v128 {
    return i16x8.max_s(a, b);
  }
}
@unmanaged
export class Pcmpeqb {
  of(a: v128, b: v128): v128 {
    return i8x16.eq(a, b);
  }
}
@unmanaged
export class Pcmpgtb {
  of(a: v128, b: v128): v128 {
    return i8x16.gt_s(a, b);
  }
}
@unmanaged
export class Pcmpeqw {
  of(a: v128, b: v128): v128 {
    return i16x8.eq(a, b);
  }
}
@unmanaged
export class Pcmpgtw {
  of(a: v128, b: v128): v128 {
    return i16x8.gt_s(a, b);
  }
}
@unmanaged
export class Pcmpeqd {
  of(a: v128, b: v128): v128 {
    return i32x4.eq(a, b);
  }
}
@unmanaged
export class Pcmpgtd {
  of(a: v128, b: v128): v128 {
    return i32x4.gt_s(a, b);
  }
}
@unmanaged
export class Pand {
  of(a: v128, b: v128): v128 {
    return v128.and(a, b);
  }
}
@unmanaged
export class Pandn {
  of(a: v128, b: v128): v128 {
    return v128.andnot(b, a);
  }
}
@unmanaged
export class Por {
  of(a: v128, b: v128): v128 {
    return v128.or(a, b);
  }
}
@unmanaged
export class Pxor {
  of(a: v128, b: v128): v128 {
    return v128.xor(a, b);
  }
}
@unmanaged
export class Packsswb {
  of(a: v128, b: v128): v128 {
    return i8x16.narrow_i16x8_s(a, b);
  }
}
@unmanaged
export class Packuswb {
  of(a: v128, b: v128): v128 {
    return i8x16.narrow_i16x8_u(a, b);
  }
}
@unmanaged
export class Packssdw {
  of(a: v128, b: v128): v128 {
    return i16x8.narrow_i32x4_s(a, b);
  }
}
@unmanaged
export class Punpcklbw {
  of(a: v128, b: v128): v128 {
    return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  }
}
@unmanaged
export class Punpckhbw {
  of(a: v128, b: v128): v128 {
    return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  }
}
@unmanaged
export class Punpcklwd {
  of(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
  }
}
@unmanaged
export class Punpckhwd {
  of(a: v128, b: v128): v128 {
    return v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
  }
}
@unmanaged
export class Punpckldq {
  of(a: v128, b: v128): v128 {
    return v128.shuffle<i32>(a, b, 0, 4, 1, 5);
  }
}
@unmanaged
export class Punpckhdq {
  of(a: v128, b: v128): v128 {
    return v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  }
}
@unmanaged
export class Punpcklqdq {
  of(a: v128, b: v128): v128 {
    return v128.shuffle<i64>(a, b, 0, 2);
  }
}
@unmanaged
export class Punpckhqdq {
  of(a: v128, b: v128): v128 {
    return v128.shuffle<i64>(a, b, 1, 3);
  }
}
/** PSADBW: the sum of the differences of the bytes of each half. */
@unmanaged
export class Psadbw {
  of(a: v128, b: v128): v128 {
    const d = v128.or(i8x16.sub_sat_u(a, b), i8x16.sub_sat_u(b, a));
    const words = i16x8.extadd_pairwise_i8x16_u(d);
    const sums = i32x4.extadd_pairwise_i16x8_u(words);
    return i64x2.add(v128.and(sums, i64x2.splat(0xffffffff)), i64x2.shr_u(sums, 32));
  }
}

@unmanaged
export class Psllw {
  of(a: v128, n: u64): v128 {
    return n < 16 ? i16x8.shl(a, <i32>n) : i64x2.splat(0);
  }
}
@unmanaged
export class Psrlw {
  of(a: v128, n: u64): v128 {
    return n < 16 ? i16x8.shr_u(a, <i32>n) : i64x2.splat(0);
  }
}
@unmanaged
export class Psraw {
  of(a: v128, n: u64): v128 {
    return i16x8.shr_s(a, n < 16 ? <i32>n : 15);
  }
}
@unmanaged
export class Pslld {
  of(a: v128, n: u64): v128 {
    return n < 32 ? i32x4.shl(a, <i32>n) : i64x2.splat(0);
  }
}
@unmanaged
export class Psrld {
  of(a: v128, n: u64): v128 {
    return n < 32 ? i32x4.shr_u(a, <i32>n) : i64x2.splat(0);
  }
}
@unmanaged
export class Psrad {
  of(a: v128, n: u64): v128 {
    return i32x4.shr_s(a, n < 32 ? <i32>n : 31);
  }
}
@unmanaged
export class Psllq {
  of(a: v128, n: u64): v128 {
    return n < 64 ? i64x2.shl(a, <i32>n) : i64x2.splat(0);
  }
}
@unmanaged
export class Psrlq {
  of(a: v128, n: u64): v128 {
    return n < 64 ? i64x2.shr_u(a, <i32>n) : i64x2.splat(0);
  }
}

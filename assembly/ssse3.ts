// SSSE3: packed integers with shuffles by a register, sums of neighbours, absolute values and signs. Each operation is
// stated once on the whole register; those on MMX registers are elsewhere. SDM Vol. 2, PABSB to PSIGND.

import { RESULT } from "./sse-operand";

/** PSHUFB: bit 7 of an index gives 0. */
@unmanaged
export class Pshufb {
  of(a: v128, b: v128): v128 {
    return i8x16.swizzle(a, v128.and(b, i8x16.splat(<i8>0x8f)));
  }
}
function evenW(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
}
function oddW(a: v128, b: v128): v128 {
  return v128.shuffle<i16>(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
}
function evenD(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 2, 4, 6);
}
function oddD(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 1, 3, 5, 7);
}
@unmanaged
export class Phaddw {
  of(a: v128, b: v128): v128 {
    return i16x8.add(evenW(a, b), oddW(a, b));
  }
}
@unmanaged
export class Phaddd {
  of(a: v128, b: v128): v128 {
    return i32x4.add(evenD(a, b), oddD(a, b));
  }
}
@unmanaged
export class Phaddsw {
  of(a: v128, b: v128): v128 {
    return i16x8.add_sat_s(evenW(a, b), oddW(a, b));
  }
}
@unmanaged
export class Phsubw {
  of(a: v128, b: v128): v128 {
    return i16x8.sub(evenW(a, b), oddW(a, b));
  }
}
@unmanaged
export class Phsubd {
  of(a: v128, b: v128): v128 {
    return i32x4.sub(evenD(a, b), oddD(a, b));
  }
}
@unmanaged
export class Phsubsw {
  of(a: v128, b: v128): v128 {
    return i16x8.sub_sat_s(evenW(a, b), oddW(a, b));
  }
}
/** PMADDUBSW: unsigned bytes of the first operand times signed ones of the second. */
@unmanaged
export class Pmaddubsw {
  of(a: v128, b: v128): v128 {
    const low = i16x8.mul(v128.and(a, i16x8.splat(0xff)), i16x8.shr_s(i16x8.shl(b, 8), 8));
    return i16x8.add_sat_s(low, i16x8.mul(i16x8.shr_u(a, 8), i16x8.shr_s(b, 8)));
  }
}
/** PMULHRSW: the one product that the host saturates, -1 times -1, stays -1. */
@unmanaged
export class Pmulhrsw {
  of(a: v128, b: v128): v128 {
    const least = i16x8.splat(-0x8000);
    const both = v128.and(i16x8.eq(a, least), i16x8.eq(b, least));
    return v128.xor(i16x8.q15mulr_sat_s(a, b), both);
  }
}
@unmanaged
export class Psignb {
  of(a: v128, b: v128): v128 {
    const none = i64x2.splat(0);
    const minus = i8x16.lt_s(b, none);
    return v128.andnot(i8x16.sub(v128.xor(a, minus), minus), i8x16.eq(b, none));
  }
}
@unmanaged
export class Psignw {
  of(a: v128, b: v128): v128 {
    const none = i64x2.splat(0);
    const minus = i16x8.lt_s(b, none);
    return v128.andnot(i16x8.sub(v128.xor(a, minus), minus), i16x8.eq(b, none));
  }
}
@unmanaged
export class Psignd {
  of(a: v128, b: v128): v128 {
    const none = i64x2.splat(0);
    const minus = i32x4.lt_s(b, none);
    return v128.andnot(i32x4.sub(v128.xor(a, minus), minus), i32x4.eq(b, none));
  }
}
@unmanaged
export class Pabsb {
  of(a: v128, b: v128): v128 {
    return i8x16.abs(b);
  }
}
@unmanaged
export class Pabsw {
  of(a: v128, b: v128): v128 {
    return i16x8.abs(b);
  }
}
@unmanaged
export class Pabsd {
  of(a: v128, b: v128): v128 {
    return i32x4.abs(b);
  }
}

/** PALIGNR: sixteen bytes of both operands, the first one above. */
@unmanaged
export class Palignr {
  fill(a: usize, b: usize, n: i32): void {
    for (let i = 0; i < 16; i++) {
      const from = i + n;
      const v = from < 16 ? load<u8>(b + from) : from < 32 ? load<u8>(a + (from - 16)) : 0;
      store<u8>(RESULT + i, v);
    }
  }
}

// Random values for XMM registers and the memory of SSE cases: the numbers between which floating-point arithmetic
// changes its ways, and pairs of them that are near each other or meet half-way. Not the choice of instructions.
import { edgy, type Random } from "./random.ts";

interface Format {
  readonly fraction: number;
  readonly exponent: number;
}
const SINGLE: Format = { fraction: 23, exponent: 8 };
const DOUBLE: Format = { fraction: 52, exponent: 11 };

/** One number of a format, biased to its edges. */
function number(r: Random, f: Format): bigint {
  const fraction = BigInt(f.fraction);
  const ones = (1n << BigInt(f.exponent)) - 1n;
  const bias = ones >> 1n;
  const full = (1n << fraction) - 1n;
  const sign = BigInt(r.below(2)) << BigInt(f.fraction + f.exponent);
  const of = (e: bigint, m: bigint): bigint => sign | (e << fraction) | (m & full);
  const some = (): bigint =>
    r.pick([0n, 0n, 1n, full, 1n << (fraction - 1n), full - 1n, r.u64(), r.u64() & ~0xffffn]);
  const kind = r.below(16);
  if (kind === 0) return of(0n, 0n);
  if (kind === 1) return of(0n, some() | 1n); // denormal
  if (kind === 2) return of(ones, 0n);
  if (kind === 3) return of(ones, (1n << (fraction - 1n)) | r.u64()); // quiet
  if (kind === 4) return of(ones, (r.u64() & (full >> 1n)) | 1n); // signalling
  if (kind === 5) return of(r.pick([1n, 2n, ones - 1n, ones - 2n]), some());
  if (kind === 6) return of(bias + BigInt(r.below(70) - 4), some()); // up to the integers' ends
  if (kind === 7) return of((bias >> 1n) + BigInt(r.below(6) - 3), some()); // whose product is tiny
  if (kind === 8) return of(bias + (bias >> 1n) + BigInt(r.below(6) - 3), some());
  if (kind === 9) return of(BigInt(r.below(Number(ones))), r.u64());
  if (kind === 10) return of(bias + BigInt(r.below(6)), BigInt(r.below(16)) << (fraction - 4n));
  return of(bias + BigInt(r.below(9) - 4), some());
}

/** 64 bits: a double, two singles, or anything. */
export function fpWord(r: Random): bigint {
  const kind = r.below(10);
  if (kind < 4) return number(r, DOUBLE);
  if (kind < 8) return (number(r, SINGLE) << 32n) | number(r, SINGLE);
  return edgy(r);
}

/** MXCSR: mostly masked, in all four rounding modes; some flags up already. */
export function someMxcsr(r: Random): bigint {
  let v = 0x1f80 | (r.below(4) << 13);
  if (r.chance(25)) v ^= 0x80 << r.below(6);
  if (r.chance(10)) v = (v & ~0x1f80) | (r.below(64) << 7);
  if (r.chance(40)) v |= r.below(64);
  if (r.chance(15)) v |= 0x40; // DAZ
  if (r.chance(15)) v |= 0x8000; // FTZ
  return BigInt(v);
}

/** 64 bits of a text of few letters, with an end in it now and then. */
export function textWord(r: Random): bigint {
  const wide = r.chance(50);
  let v = 0n;
  for (let i = 0; i < (wide ? 4 : 8); i++) {
    const c = r.chance(6) ? 0 : r.chance(15) ? r.below(wide ? 0x10000 : 0x100) : 0x61 + r.below(3);
    v = (v << (wide ? 16n : 8n)) | BigInt(c);
  }
  return v;
}

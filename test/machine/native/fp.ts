// Random values for XMM and x87 registers and the memory of such cases: the numbers between which floating-point arithmetic
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

/** An 80-bit number: its significand, and its sign and exponent. Formats that are no longer valid come up, too. */
export function extended(r: Random): readonly [bigint, bigint] {
  const top = 1n << 63n;
  const sign = BigInt(r.below(2)) << 15n;
  const bits = (): bigint =>
    r.pick([
      0n,
      0n,
      1n,
      top - 1n,
      top >> 1n,
      (top >> 1n) + 1n,
      0x400n,
      0x7fffffffn << 32n,
      0x8000000000n,
      r.u64() >> 1n,
      r.u64() & 0x7ffff00000000000n,
      (r.u64() >> 1n) & ~0x7ffn,
      (1n << BigInt(r.below(63))) - 1n,
      top - (1n << BigInt(r.below(63))),
    ]) &
    (top - 1n);
  const kind = r.below(24);
  if (kind === 0) return [0n, sign];
  if (kind === 1) return [bits() | 1n, sign]; // denormal
  if (kind === 2) return [top | bits(), sign]; // pseudo-denormal
  if (kind === 3) return [top, sign | 0x7fffn];
  if (kind === 4) return [top | (top >> 1n) | bits(), sign | 0x7fffn]; // quiet
  if (kind === 5) return [(top | bits() | 1n) & ~(top >> 1n), sign | 0x7fffn]; // signalling
  if (kind === 6) return [bits(), sign | BigInt(1 + r.below(0x7fff))]; // unsupported
  if (kind === 7) return [bits() | 1n, sign | 0x7fffn]; // pseudo-NaN
  const e = (n: number, spread: number): bigint => BigInt(n + r.below(spread) - (spread >> 1));
  if (kind === 8) return [top | bits(), sign | r.pick([1n, 2n, 0x7ffen, 0x7ffdn])];
  if (kind === 9) return [top | bits(), sign | e(16383 + 32, 80)]; // up to the integers' ends
  if (kind === 10) return [top | bits(), sign | e(16383 >> 1, 8)]; // whose product is tiny
  if (kind === 11) return [top | bits(), sign | e(16383 + (16383 >> 1), 8)];
  if (kind === 12) return [top | bits(), sign | r.pick([e(16383 - 1022, 60), e(16383 - 126, 40)])];
  if (kind === 13) return [top | bits(), sign | r.pick([e(16383 + 1023, 4), e(16383 + 127, 4)])];
  if (kind === 14) return [top | bits(), sign | BigInt(1 + r.below(0x7ffe))];
  if (kind === 15)
    return [top | (BigInt(r.below(16)) << 59n), sign | (16383n + BigInt(r.below(8)))];
  return [top | bits(), sign | e(16383, 10)];
}

/** The x87 state of a case: mostly masked and half full, in every rounding mode and precision, with some flags up. */
export function someFpu(r: Random): readonly bigint[] {
  let control = 0x3f | (r.below(4) << 10) | (r.pick([3, 3, 3, 2, 0, 1]) << 8) | 0x40;
  if (r.chance(30)) control ^= 1 << r.below(6);
  if (r.chance(15)) control = (control & ~0x3f) | r.below(64);
  let status = (r.below(8) << 11) | (r.chance(50) ? r.u32() & 0x4700 : 0);
  if (r.chance(40)) status |= r.below(128);
  if (status & ~control & 0x3f) {
    if (r.chance(20)) status |= 0x8080;
    else status &= ~0x3f;
  }
  const full = r.chance(25) ? 0xff : r.chance(20) ? 0 : r.below(256) | r.below(256);
  const regs = Array.from({ length: 8 }, () => extended(r));
  // Two that are near each other.
  if (r.chance(40)) {
    const [sig, se] = regs[r.below(8)] ?? [0n, 0n];
    const d = BigInt(r.below(5) - 2);
    const flip = BigInt(r.below(2)) << 15n;
    regs[r.below(3)] = [BigInt.asUintN(64, sig + d), se ^ flip];
  }
  return [
    BigInt(control) | (BigInt(status) << 16n) | (BigInt(full) << 32n),
    0n,
    0n,
    ...regs.flat(),
  ];
}

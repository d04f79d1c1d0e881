// Random x87 state for vectors: 80-bit numbers at the edges of the format and of the narrower ones, and a stack that holds
// some of them, in every rounding mode and precision. It knows no instruction.
import type { Random } from "../native/random.ts";

const TOP_BIT = 1n << 63n;
const BIAS = 16383n;

/** Significand and exponent with sign of an 80-bit number; the formats that are no longer valid come up, too. */
export function extendedNumber(r: Random): readonly [bigint, bigint] {
  const sign = BigInt(r.below(2)) << 15n;
  const fraction =
    r.pick([0n, 0n, 1n, ~0n, 1n << 62n, 0x400n, 0x7ffn, 1n << 39n, 1n << 40n, r.u64(), r.u64() & ~0xfffn]) &
    (TOP_BIT - 1n);
  const around = (e: bigint, spread: number): bigint => e + BigInt(r.below(2 * spread + 1) - spread);
  const number = (e: bigint): readonly [bigint, bigint] => [TOP_BIT | fraction, sign | e];
  switch (r.below(16)) {
    case 0:
      return [0n, sign];
    case 1:
      return [fraction | 1n, sign]; // denormal
    case 2:
      return number(0n); // pseudo-denormal
    case 3:
      return [TOP_BIT, sign | 0x7fffn];
    case 4:
      return [TOP_BIT | (1n << 62n) | fraction, sign | 0x7fffn]; // quiet
    case 5:
      return [(TOP_BIT | fraction | 1n) & ~(1n << 62n), sign | 0x7fffn]; // signalling
    case 6:
      return [fraction, sign | BigInt(1 + r.below(0x7fff))]; // unsupported
    case 7:
      return number(r.pick([1n, 2n, 0x7ffen, 0x7ffdn]));
    case 8:
      return number(around(BIAS + 40n, 40)); // up to the ends of the integers
    case 9:
      return number(around(r.pick([BIAS - 1022n, BIAS - 126n, BIAS + 1023n, BIAS + 127n]), 30));
    case 10:
      return number(around(r.pick([BIAS >> 1n, BIAS + (BIAS >> 1n)]), 4)); // whose product is at an end
    default:
      return number(around(BIAS, 6));
  }
} // prettier-ignore

export interface FpuState {
  /** FCW, FSW and the abridged FTW, 16 bits each from the lowest. */
  readonly head: bigint;
  /** Significand and the rest of ST(0), ST(1), .. */
  readonly registers: readonly bigint[];
}

/** The state of a case; with `top` 0 the stack's top is the first register. */
export function fpuState(r: Random, top = r.below(8)): FpuState {
  let control = 0x7f | (r.pick([3, 3, 3, 2, 0]) << 8) | (r.below(4) << 10);
  if (r.chance(35)) control &= ~(1 << r.below(6));
  let status = (top << 11) | (r.u32() & 0x4700);
  if (r.chance(40)) status |= r.below(128);
  // A flag that is not masked is pending with ES and B, or is not there.
  if (status & ~control & 0x3f) status = r.chance(20) ? status | 0x8080 : status & ~0x3f;
  const tags = r.chance(30) ? 0xff : r.chance(15) ? 0 : r.below(256) | r.below(256);
  const numbers = Array.from({ length: 8 }, () => extendedNumber(r));
  if (r.chance(35)) {
    // Neighbours, and their opposites.
    const [low, high] = numbers[1] ?? [0n, 0n];
    numbers[0] = [BigInt.asUintN(64, low + BigInt(r.below(5) - 2)), high ^ (BigInt(r.below(2)) << 15n)];
  }
  const head = BigInt(control) | (BigInt(status) << 16n) | (BigInt(tags) << 32n);
  return { head, registers: numbers.flat() };
} // prettier-ignore

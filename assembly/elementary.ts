// Sine, cosine, arc tangent, logarithm and exponential on wide numbers: reduced arguments, and Taylor's series by Horner's
// rule with as many terms as 128 bits need. Cells from 8 on are theirs. Constants were worked out with 600 bits.

import {
  addWide,
  cell,
  copyWide,
  divWide,
  divWideBy,
  mulWide,
  negateWide,
  setWide,
  setWideInteger,
  shiftWide,
  wideExponent,
  wideHi,
} from "./wide";

const T: usize = 8; // scratch cells
const SIN_TERMS: i32 = 17;
const ATAN_TERMS: i32 = 18;
const LOG_TERMS: i32 = 27;
const EXP_TERMS: i32 = 34;

export function setPi(d: usize): void {
  setWide(d, false, 1, 0xc90fdaa22168c234, 0xc4c6628b80dc1cd1);
}

/** d = the sum of (-1)^k a^(2k) / ((2k + from) * .. * (from + 1)), k = 0, 1, ..: sin(a)/a from 1, cos(a) from 0. */
function circular(d: usize, a: usize, from: i32): void {
  const square = cell(T);
  const term = cell(T + 1);
  const one = cell(T + 2);
  mulWide(square, a, a);
  negateWide(square);
  setWideInteger(one, 1);
  copyWide(d, one);
  for (let k = SIN_TERMS; k; k--) {
    mulWide(term, square, d);
    divWideBy(term, term, <u64>((2 * k + from) * (2 * k + from - 1)));
    addWide(d, one, term);
  }
}

/** d = sin(a), |a| up to pi/4. */
export function sineWide(d: usize, a: usize): void {
  circular(d, a, 1);
  mulWide(d, d, a);
}
/** d = cos(a). */
export function cosineWide(d: usize, a: usize): void {
  circular(d, a, 0);
}

/** d = the sum of s^k / (2k + 1): atanh(x)/x where s is x^2, atan(x)/x where it is -x^2. */
function inverse(d: usize, s: usize, terms: i32): void {
  const term = cell(T);
  const one = cell(T + 1);
  setWideInteger(one, 1);
  divWideBy(d, one, <u64>(2 * terms + 1));
  for (let k = terms - 1; k >= 0; k--) {
    mulWide(d, d, s);
    divWideBy(term, one, <u64>(2 * k + 1));
    addWide(d, d, term);
  }
}

/** d = atan(k / 8). */
function setArctangent(d: usize, k: i32): void {
  if (k == 1) setWide(d, false, -4, 0xfeadd4d5617b6e32, 0xc897989f3e888ef7);
  else if (k == 2) setWide(d, false, -3, 0xfadbafc96406eb15, 0x6dc79ef5f7a217e5);
  else if (k == 3) setWide(d, false, -2, 0xb7b0ca0f26f78473, 0x8aa32122dcfe4483);
  else if (k == 4) setWide(d, false, -2, 0xed63382b0dda7b45, 0x6fe445ecbc3a8d03);
  else if (k == 5) setWide(d, false, -1, 0x8f005d5ef7f59f9b, 0x5c835e1665c43747);
  else if (k == 6) setWide(d, false, -1, 0xa4bc7d1934f70924, 0x19a87f2a457dac9e);
  else if (k == 7) setWide(d, false, -1, 0xb8053e2bc2319e73, 0xcb2da55210a4443d);
  else setWide(d, false, -1, 0xc90fdaa22168c234, 0xc4c6628b80dc1cd1);
}

/** d = atan(a), a in [0, 1]: atan(a) = atan(c) + atan((a - c) / (1 + a c)), c the nearest multiple of 1/8. */
export function arctangentWide(d: usize, a: usize): void {
  const x = cell(T + 3);
  const c = cell(T + 4);
  const square = cell(T + 5);
  let k = 0;
  const e = wideExponent(a);
  if (e >= -4) k = (<i32>((wideHi(a) >> (59 - e)) + 1)) >> 1;
  if (k) {
    setWideInteger(c, <i64>k);
    shiftWide(c, -3);
    mulWide(square, a, c);
    setWideInteger(x, 1);
    addWide(square, square, x);
    negateWide(c);
    addWide(c, c, a);
    divWide(x, c, square);
  } else copyWide(x, a);
  mulWide(square, x, x);
  negateWide(square);
  inverse(d, square, ATAN_TERMS);
  mulWide(d, d, x);
  if (!k) return;
  setArctangent(c, k);
  addWide(d, d, c);
}

/** d = log2((1 + s) / (1 - s)). */
function logOfRatio(d: usize, s: usize): void {
  const square = cell(T + 5);
  mulWide(square, s, s);
  inverse(d, square, LOG_TERMS);
  mulWide(d, d, s);
  setWide(square, false, 1, 0xb8aa3b295c17f0bb, 0xbe87fed0691d3e88); // 2 / ln 2
  mulWide(d, d, square);
}

/** d = log2(a), a > 0. */
export function logarithmWide(d: usize, a: usize): void {
  const m = cell(T + 3);
  const s = cell(T + 4);
  const sum = cell(T + 5);
  let k = wideExponent(a);
  copyWide(m, a);
  shiftWide(m, -k);
  if (wideHi(m) > 0xb504f333f9de6484) {
    shiftWide(m, -1); // from the root of 1/2 to that of 2
    k++;
  }
  setWideInteger(s, 1);
  addWide(sum, m, s);
  negateWide(s);
  addWide(m, m, s);
  divWide(s, m, sum);
  logOfRatio(d, s);
  if (!k) return;
  setWideInteger(m, <i64>k);
  addWide(d, d, m);
}

/** d = log2(1 + a), |a| below 0.3 or so. */
export function logarithmNearOne(d: usize, a: usize): void {
  const s = cell(T + 4);
  const two = cell(T + 5);
  setWideInteger(two, 2);
  addWide(two, two, a);
  divWide(s, a, two);
  logOfRatio(d, s);
}

/** d = 2^a - 1, |a| up to 1. */
export function exponentialWide(d: usize, a: usize): void {
  const x = cell(T);
  const one = cell(T + 1);
  setWide(x, false, -1, 0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af); // ln 2
  mulWide(x, x, a);
  setWideInteger(one, 1);
  copyWide(d, one);
  for (let k = EXP_TERMS; k > 1; k--) {
    mulWide(d, d, x);
    divWideBy(d, d, <u64>k);
    addWide(d, d, one);
  }
  mulWide(d, d, x);
}

// The pi that the manual has the CPU reduce by: 0xC90FDAA22168C234C * 2^-66. SDM Vol. 1, "Approximation of Pi".
const PI_HIGH: u64 = 0xc;
const PI_LOW: u64 = 0x90fdaa22168c234c;

/**
 * d = the number of 64 significant bits sig * 2^(e - 63), e up to 62, less the nearest multiple of pi/2, exactly; answers that
 * multiple modulo 4.
 */
export function reduceWide(d: usize, e: i32, sig: u64): i32 {
  if (e < -1 || (e == -1 && sig <= 0xc90fdaa22168c234)) {
    setWide(d, false, e, sig, 0);
    return 0;
  }
  // In units of 2^-67 both are integers, of which the remainder is taken bit by bit.
  let hi: u64 = 0;
  let lo: u64 = 0;
  let whole = 0;
  for (let i = 63; i >= -4 - e; i--) {
    hi = (hi << 1) | (lo >> 63);
    lo = (lo << 1) | (i >= 0 ? (sig >> i) & 1 : 0);
    whole <<= 1;
    if (hi > PI_HIGH || (hi == PI_HIGH && lo >= PI_LOW)) {
      hi -= PI_HIGH + u64(lo < PI_LOW);
      lo -= PI_LOW;
      whole |= 1;
    }
  }
  const otherLow = PI_LOW - lo;
  const otherHigh = PI_HIGH - hi - u64(PI_LOW < lo);
  const past = hi > otherHigh || (hi == otherHigh && lo > otherLow);
  if (past) setWide(d, true, 60, otherHigh, otherLow);
  else setWide(d, false, 60, hi, lo);
  return (whole + i32(past)) & 3;
}

// Numbers with a significand of 128 bits, for the intermediate results of the transcendental functions: they are wide enough
// that what is lost here cannot be seen in a result of 64 bits but in one case in 2^50 or so. Not a format of any CPU. A
// number lies in a cell of scratch memory: (-1)^neg * hi.lo * 2^(e - 127), the highest bit of hi set unless it is 0.

import { mulHigh } from "./muldiv";

const CELLS: usize = 0xc400;
const CELL: usize = 32;
const HI: usize = 0;
const LO: usize = 8;
const E: usize = 16; // i32
const NEG: usize = 20; // i32

/** The address of cell n. */
export function cell(n: usize): usize {
  return CELLS + n * CELL;
}

export function wideHi(p: usize): u64 {
  return load<u64>(p, HI);
}
export function wideLo(p: usize): u64 {
  return load<u64>(p, LO);
}
export function wideExponent(p: usize): i32 {
  return load<i32>(p, E);
}
export function wideNegative(p: usize): bool {
  return load<i32>(p, NEG) != 0;
}
export function wideIsZero(p: usize): bool {
  return !load<u64>(p, HI);
}

/** d = (-1)^neg * hi.lo * 2^(e - 127), whatever its highest bit is. */
export function setWide(d: usize, neg: bool, e: i32, hi: u64, lo: u64): void {
  let h = hi;
  let l = lo;
  let x = e;
  if (!h) {
    h = l;
    l = 0;
    x -= 64;
  }
  if (h) {
    const n = <i32>clz<u64>(h);
    if (n) {
      h = (h << n) | (l >> (64 - n));
      l <<= n;
      x -= n;
    }
  } else x = -0x40000000;
  store<u64>(d, h, HI);
  store<u64>(d, l, LO);
  store<i32>(d, x, E);
  store<i32>(d, i32(neg), NEG);
}

export function copyWide(d: usize, a: usize): void {
  memory.copy(d, a, CELL);
}
export function negateWide(d: usize): void {
  store<i32>(d, load<i32>(d, NEG) ^ 1, NEG);
}
/** d = d * 2^n. */
export function shiftWide(d: usize, n: i32): void {
  store<i32>(d, load<i32>(d, E) + n, E);
}
export function setWideInteger(d: usize, v: i64): void {
  setWide(d, v < 0, 63, <u64>(v < 0 ? -v : v), 0);
}

/** d = a * b. */
export function mulWide(d: usize, a: usize, b: usize): void {
  const ah = load<u64>(a, HI);
  const al = load<u64>(a, LO);
  const bh = load<u64>(b, HI);
  const bl = load<u64>(b, LO);
  const neg = load<i32>(a, NEG) != load<i32>(b, NEG);
  const e = load<i32>(a, E) + load<i32>(b, E) + 1;
  let hi = mulHigh(ah, bh);
  let lo = ah * bh;
  let below = mulHigh(al, bl); // what is kept of the third word, to carry
  const c1 = ah * bl;
  below += c1;
  let carry = u64(below < c1);
  const c2 = al * bh;
  below += c2;
  carry += u64(below < c2);
  const m1 = mulHigh(ah, bl);
  lo += m1;
  hi += u64(lo < m1);
  const m2 = mulHigh(al, bh);
  lo += m2;
  hi += u64(lo < m2);
  lo += carry;
  hi += u64(lo < carry);
  if (!(hi >> 63)) {
    hi = (hi << 1) | (lo >> 63);
    lo = (lo << 1) | (below >> 63);
    setWide(d, neg, e - 1, hi, lo);
  } else setWide(d, neg, e, hi, lo);
}

/** d = a + b. What falls out of the smaller one stays in the lowest bit as "not zero". */
export function addWide(d: usize, a: usize, b: usize): void {
  let p = a;
  let q = b;
  if (load<i32>(p, E) < load<i32>(q, E)) {
    p = b;
    q = a;
  }
  if (wideIsZero(q)) return copyWide(d, p);
  if (wideIsZero(p)) return copyWide(d, q);
  const n = load<i32>(p, E) - load<i32>(q, E);
  const pNeg = load<i32>(p, NEG) != 0;
  const same = load<i32>(p, NEG) == load<i32>(q, NEG);
  const e = load<i32>(p, E);
  const ph = load<u64>(p, HI);
  const pl = load<u64>(p, LO);
  let h = load<u64>(q, HI);
  let l = load<u64>(q, LO);
  if (n >= 128) {
    h = 0;
    l = 1;
  } else if (n >= 64) {
    const lost = l != 0 || (n > 64 && h << (128 - n) != 0);
    l = (h >> (n - 64)) | u64(lost);
    h = 0;
  } else if (n) {
    l = (h << (64 - n)) | (l >> n) | u64(l << (64 - n) != 0);
    h >>= n;
  }
  if (same) {
    const lo = pl + l;
    let carry = u64(lo < pl);
    let hi = ph + h;
    const over = u64(hi < ph);
    hi += carry;
    carry = over | u64(hi < carry);
    if (carry) setWide(d, pNeg, e + 1, (hi >> 1) | ((<u64>1) << 63), (lo >> 1) | (hi << 63));
    else setWide(d, pNeg, e, hi, lo);
    return;
  }
  if (h > ph || (h == ph && l > pl)) {
    setWide(d, !pNeg, e, h - ph - u64(l < pl), l - pl);
    return;
  }
  setWide(d, pNeg, e, ph - h - u64(pl < l), pl - l);
}

/** d = a / n. */
export function divWideBy(d: usize, a: usize, n: u64): void {
  const hi = load<u64>(a, HI);
  const lo = load<u64>(a, LO);
  let r: u64 = 0;
  let qh: u64 = 0;
  let ql: u64 = 0;
  let more: u64 = 0;
  for (let i = 0; i < 6; i++) {
    const word = i < 2 ? hi >> (32 - (i << 5)) : i < 4 ? lo >> (96 - (i << 5)) : 0;
    const u = (r << 32) | (word & 0xffffffff);
    const digit = u / n;
    r = u - digit * n;
    if (i < 2) qh = (qh << 32) | digit;
    else if (i < 4) ql = (ql << 32) | digit;
    else more = (more << 32) | digit;
  }
  const z = <i32>clz<u64>(qh); // n has at most 32 bits, and so has z
  if (z) {
    qh = (qh << z) | (ql >> (64 - z));
    ql = (ql << z) | (more >> (64 - z));
  }
  setWide(d, load<i32>(a, NEG) != 0, load<i32>(a, E) - z, qh, ql);
}

/** d = a / b, b not 0, a bit at a time. */
export function divWide(d: usize, a: usize, b: usize): void {
  const bh = load<u64>(b, HI);
  const bl = load<u64>(b, LO);
  let rh = load<u64>(a, HI);
  let rl = load<u64>(a, LO);
  let e = load<i32>(a, E) - load<i32>(b, E);
  const neg = load<i32>(a, NEG) != load<i32>(b, NEG);
  if (!rh) return setWide(d, neg, 0, 0, 0);
  let over: u64 = 0; // the 129th bit of the remainder
  if (rh < bh || (rh == bh && rl < bl)) {
    over = rh >> 63;
    rh = (rh << 1) | (rl >> 63);
    rl <<= 1;
    e--;
  }
  let qh: u64 = 0;
  let ql: u64 = 0;
  for (let i = 0; i < 128; i++) {
    qh = (qh << 1) | (ql >> 63);
    ql <<= 1;
    if (over || rh > bh || (rh == bh && rl >= bl)) {
      rh -= bh + u64(rl < bl);
      rl -= bl;
      ql |= 1;
    }
    over = rh >> 63;
    rh = (rh << 1) | (rl >> 63);
    rl <<= 1;
  }
  setWide(d, neg, e, qh, ql);
}

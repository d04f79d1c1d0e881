// F2XM1, FYL2X, FYL2XP1, FPATAN, FSIN, FCOS, FSINCOS and FPTAN. Results are worked out with 128 bits and rounded once, so they are
// within 0.51 units in the last place and follow the rounding control. SDM Vol. 1, "Transcendental Instruction Accuracy";
// Vol. 2 has the tables of special values. The precision control does not count here.
// DIFFERS: where results lie near the middle between two numbers, a CPU may answer the other one of them: the manual's bound is
// 1 unit, and each model has its own last bits.

import {
  arctangentWide,
  cosineWide,
  exponentialWide,
  logarithmNearOne,
  logarithmWide,
  reduceWide,
  setPi,
  sineWide,
} from "./elementary";
import {
  BIAS80,
  SIGN,
  TOP_BIT,
  answer,
  infinity80,
  invalid80,
  isInfinite80,
  isUnsupported,
  isZero80,
  outSe,
  outSig,
  raiseF80,
  round80,
  special1,
  special2,
  unpackedExponent,
  unpackedSignificand,
  zero80,
} from "./f80";
import { PE, ZE } from "./sse-round";
import {
  addWide,
  cell,
  copyWide,
  divWide,
  mulWide,
  negateWide,
  setWide,
  setWideInteger,
  shiftWide,
  wideExponent,
  wideHi,
  wideIsZero,
  wideLo,
  wideNegative,
} from "./wide";
import {
  C2,
  FSW,
  NO_DATA,
  answerTo,
  beginX87,
  endX87,
  isFull,
  needSt,
  popStack,
  pushStack,
  seAt,
  setSt,
  sigAt,
  st,
  stackFault80,
} from "./x87-state";

const A: usize = 0;
const B: usize = 1;
const R: usize = 2;
const S: usize = 3;
const ONE_SE: u32 = 0x3fff;

/** A finite number into a cell. A denormal is reported. */
function widen(d: usize, se: u32, sig: u64): void {
  const e = unpackedExponent(se, sig) - BIAS80;
  setWide(d, (se & SIGN) != 0, e, unpackedSignificand(), 0);
}

/** Answers a cell, rounded; `exact` when nothing was lost on the way to it. */
function answerWide(p: usize, exact: bool): void {
  if (wideIsZero(p)) return zero80(wideNegative(p));
  const lo = exact ? wideLo(p) : wideLo(p) | 1;
  round80(wideNegative(p), wideExponent(p) + BIAS80, wideHi(p), lo, 0);
}

/** An answer that is exact, or that the manual does not define, as the CPU gives it that the table is compared with. */
function inexactly(se: u32, sig: u64): void {
  raiseF80(PE);
  answer(se, sig);
}

/** F2XM1: 2^x - 1. Outside of [-1, 1], where the manual defines nothing, x itself. */
export function f2xm1(up: usize): bool {
  if (!beginX87()) return false;
  if (needSt(0)) powerLessOne(seAt(st(0)), sigAt(st(0)));
  answerTo(up, 0, NO_DATA);
  return true;
}
function powerLessOne(se: u32, sig: u64): void {
  if (special1(se, sig)) return;
  if (isZero80(se, sig)) return answer(se, sig);
  if (isInfinite80(se, sig)) {
    if (se & SIGN) answer(SIGN | ONE_SE, TOP_BIT);
    else infinity80(false);
    return;
  }
  widen(cell(A), se, sig);
  const e = wideExponent(cell(A));
  if (e >= 0) {
    if (e == 0 && sig == TOP_BIT) inexactly(se & SIGN ? SIGN | (ONE_SE - 1) : ONE_SE, TOP_BIT);
    else inexactly(se, sig);
    return;
  }
  exponentialWide(cell(R), cell(A));
  answerWide(cell(R), false);
}

/** FYL2X: ST(1) * log2(ST(0)), and pops. */
export function fyl2x(up: usize): bool {
  if (!beginX87()) return false;
  if (needSt(0) && needSt(1)) timesLog(seAt(st(1)), sigAt(st(1)), seAt(st(0)), sigAt(st(0)));
  if (answerTo(up, 1, NO_DATA)) popStack();
  return true;
}
function timesLog(ySe: u32, ySig: u64, xSe: u32, xSig: u64): void {
  if (special2(ySe, ySig, xSe, xSig)) return;
  const yNeg = (ySe & SIGN) != 0;
  const yInf = isInfinite80(ySe, ySig);
  if (isZero80(xSe, xSig)) {
    if (isZero80(ySe, ySig)) return invalid80();
    if (!yInf) raiseF80(ZE);
    return infinity80(!yNeg);
  }
  if (xSe & SIGN) return invalid80();
  const one = xSe == ONE_SE && xSig == TOP_BIT;
  const below = (xSe & 0x7fff) < ONE_SE;
  if (isInfinite80(xSe, xSig)) {
    if (isZero80(ySe, ySig)) return invalid80();
    unpackedExponent(ySe, ySig);
    return infinity80(yNeg);
  }
  if (yInf) {
    if (one) return invalid80();
    unpackedExponent(xSe, xSig);
    return infinity80(below != yNeg);
  }
  widen(cell(A), xSe, xSig);
  widen(cell(B), ySe, ySig);
  if (isZero80(ySe, ySig) || one) return zero80(below != yNeg);
  const power = !(wideHi(cell(A)) << 1);
  logarithmWide(cell(R), cell(A));
  mulWide(cell(R), cell(R), cell(B));
  raiseF80(PE);
  answerWide(cell(R), power);
}

/** FYL2XP1: ST(1) * log2(1 + ST(0)), and pops. */
export function fyl2xp1(up: usize): bool {
  if (!beginX87()) return false;
  if (needSt(0) && needSt(1)) timesLogPlusOne(seAt(st(1)), sigAt(st(1)), seAt(st(0)), sigAt(st(0)));
  if (answerTo(up, 1, NO_DATA)) popStack();
  return true;
}
function timesLogPlusOne(ySe: u32, ySig: u64, xSe: u32, xSig: u64): void {
  if (special2(ySe, ySig, xSe, xSig)) return;
  const yNeg = (ySe & SIGN) != 0;
  const xNeg = (xSe & SIGN) != 0;
  const yInf = isInfinite80(ySe, ySig);
  if (isZero80(xSe, xSig)) {
    if (yInf) return invalid80();
    unpackedExponent(ySe, ySig);
    return zero80(xNeg != yNeg);
  }
  const e = <i32>(xSe & 0x7fff) - BIAS80;
  if (isInfinite80(xSe, xSig)) {
    if (xNeg || isZero80(ySe, ySig)) return invalid80();
    unpackedExponent(ySe, ySig);
    return infinity80(yNeg);
  }
  if (yInf) {
    unpackedExponent(xSe, xSig);
    return infinity80(xNeg != yNeg);
  }
  widen(cell(A), xSe, xSig);
  widen(cell(B), ySe, ySig);
  if (isZero80(ySe, ySig)) return zero80(xNeg != yNeg);
  if (xNeg && e >= 0) return inexactly(xSe, xSig); // 1 + x is not above 0
  if (e < -2) logarithmNearOne(cell(R), cell(A));
  else {
    setWideInteger(cell(S), 1);
    addWide(cell(A), cell(A), cell(S));
    logarithmWide(cell(R), cell(A));
  }
  mulWide(cell(R), cell(R), cell(B));
  answerWide(cell(R), false);
}

/** FPATAN: the angle of the point (ST(0), ST(1)), and pops. */
export function fpatan(up: usize): bool {
  if (!beginX87()) return false;
  if (needSt(0) && needSt(1)) angle(seAt(st(1)), sigAt(st(1)), seAt(st(0)), sigAt(st(0)));
  if (answerTo(up, 1, NO_DATA)) popStack();
  return true;
}
/** Answers n/4 pi with a sign. */
function quarters(neg: bool, n: i32): void {
  setPi(cell(R));
  if (n == 3) {
    setWideInteger(cell(S), 3);
    mulWide(cell(R), cell(R), cell(S));
  }
  shiftWide(cell(R), n == 4 ? 0 : n == 2 ? -1 : -2);
  if (neg) negateWide(cell(R));
  answerWide(cell(R), false);
}
function angle(ySe: u32, ySig: u64, xSe: u32, xSig: u64): void {
  if (special2(ySe, ySig, xSe, xSig)) return;
  const yNeg = (ySe & SIGN) != 0;
  const xNeg = (xSe & SIGN) != 0;
  const xInf = isInfinite80(xSe, xSig);
  const yInf = isInfinite80(ySe, ySig);
  const yZero = isZero80(ySe, ySig);
  if (xInf && yInf) return quarters(yNeg, xNeg ? 3 : 1);
  unpackedExponent(xSe, xSig);
  unpackedExponent(ySe, ySig);
  if (yInf) return quarters(yNeg, 2);
  if (xInf || yZero) {
    if (xNeg) quarters(yNeg, 4);
    else zero80(yNeg);
    return;
  }
  if (isZero80(xSe, xSig)) return quarters(yNeg, 2);
  widen(cell(A), ySe & 0x7fff, ySig);
  widen(cell(B), xSe & 0x7fff, xSig);
  const steep =
    wideExponent(cell(A)) > wideExponent(cell(B)) ||
    (wideExponent(cell(A)) == wideExponent(cell(B)) && wideHi(cell(A)) > wideHi(cell(B)));
  // Either the angle to the nearer axis, or that axis and the angle.
  if (steep) divWide(cell(S), cell(B), cell(A));
  else divWide(cell(S), cell(A), cell(B));
  arctangentWide(cell(R), cell(S));
  if (steep || xNeg) {
    if (steep != xNeg) negateWide(cell(R));
    setPi(cell(S));
    if (steep) shiftWide(cell(S), -1);
    addWide(cell(R), cell(R), cell(S));
  }
  if (yNeg) negateWide(cell(R));
  answerWide(cell(R), false);
}

/** The argument is beyond 2^63: nothing is done but C2. */
function tooLarge(se: u32, sig: u64): bool {
  return (se & 0x7fff) >= <u32>(BIAS80 + 63) && (se & 0x7fff) != 0x7fff && !isUnsupported(se, sig);
}
function setC2(on: bool): void {
  const s = <u32>load<u16>(FSW);
  store<u16>(FSW, <u16>(on ? s | C2 : s & ~C2));
}

/** R = sin, S = cos of a finite number that is not 0. */
function sineAndCosine(se: u32, sig: u64): void {
  const e = unpackedExponent(se, sig) - BIAS80;
  const n = reduceWide(cell(A), e, unpackedSignificand());
  const odd = (n & 1) != 0;
  sineWide(cell(odd ? S : R), cell(A));
  cosineWide(cell(odd ? R : S), cell(A));
  if (n == 1 || n == 2) negateWide(cell(S));
  if (n >= 2) negateWide(cell(R));
  if (se & SIGN) negateWide(cell(R));
}

export function fsin(up: usize): bool {
  if (!beginX87()) return false;
  const se = seAt(st(0));
  const sig = sigAt(st(0));
  const have = needSt(0);
  const large = have && tooLarge(se, sig);
  if (have) sine(se, sig);
  answerTo(up, 0, NO_DATA);
  setC2(large);
  return true;
}
function sine(se: u32, sig: u64): void {
  if (special1(se, sig)) return;
  if (isInfinite80(se, sig)) return invalid80();
  if (isZero80(se, sig) || tooLarge(se, sig)) return answer(se, sig);
  sineAndCosine(se, sig);
  answerWide(cell(R), false);
}

export function fcos(up: usize): bool {
  if (!beginX87()) return false;
  const se = seAt(st(0));
  const sig = sigAt(st(0));
  const have = needSt(0);
  const large = have && tooLarge(se, sig);
  if (have) cosine(se, sig);
  answerTo(up, 0, NO_DATA);
  setC2(large);
  return true;
}
function cosine(se: u32, sig: u64): void {
  if (special1(se, sig)) return;
  if (isInfinite80(se, sig)) return invalid80();
  if (tooLarge(se, sig)) return answer(se, sig);
  if (isZero80(se, sig)) return answer(ONE_SE, TOP_BIT);
  sineAndCosine(se, sig);
  answerWide(cell(S), false);
}

/** FPTAN pushes 1 after the tangent, FSINCOS the cosine after the sine. */
export function fptan(up: usize): bool {
  return twoAnswers(up, true);
}
export function fsincos(up: usize): bool {
  return twoAnswers(up, false);
}
function twoAnswers(up: usize, tangent: bool): bool {
  if (!beginX87()) return false;
  const se = seAt(st(0));
  const sig = sigAt(st(0));
  let firstSe: u32 = 0;
  let firstSig: u64 = 0;
  if (!isFull(0) || isFull(7)) {
    stackFault80(isFull(0));
    firstSe = outSe;
    firstSig = outSig;
  } else if (tooLarge(se, sig)) {
    endX87(up, NO_DATA);
    setC2(true);
    return true;
  } else if (special1(se, sig)) {
    firstSe = outSe;
    firstSig = outSig;
  } else if (isInfinite80(se, sig)) {
    invalid80();
    firstSe = outSe;
    firstSig = outSig;
  } else {
    if (isZero80(se, sig)) {
      answer(se, sig);
      firstSe = se;
      answer(ONE_SE, TOP_BIT);
    } else {
      sineAndCosine(se, sig);
      if (tangent) {
        divWide(cell(A), cell(R), cell(S));
        copyWide(cell(R), cell(A));
      }
      answerWide(cell(R), false);
      firstSe = outSe;
      firstSig = outSig;
      if (tangent) answer(ONE_SE, TOP_BIT);
      else answerWide(cell(S), false);
    }
  }
  const ends = endX87(up, NO_DATA);
  setC2(false);
  if (!ends) return true;
  setSt(0, firstSe, firstSig);
  pushStack(outSe, outSig);
  return true;
}

// SSE4.1, floating point: rounding to an integral number in the format itself, and dot products. SDM Vol. 2, ROUNDPS
// and its kin, DPPS, DPPD.

import { U_IMM } from "./abi";
import { FpAdd, FpMul, fpLane } from "./sse-arith";
import { RESULT, destination, lane, laneAt, setLane, sourceAt } from "./sse-operand";
import {
  PE,
  beginFp,
  fraction,
  integralStep,
  isNan,
  magnitude,
  nanOf,
  operandFp,
  raiseFp,
  restartFp,
  roundingMode,
  settleFp,
  signBit,
} from "./sse-round";

/** `x` rounded to an integral number as bits 2-0 of `n` say; bit 3 keeps the precision flag down. */
function integral<T>(x: u64, n: i32): u64 {
  const a = operandFp<T>(x);
  if (isNan<T>(a)) return nanOf<T>(a, a);
  const m = magnitude<T>(a);
  const e = <i32>(m >> fraction<T>()) - (sizeof<T>() == 4 ? 127 : 1023);
  const below = fraction<T>() - e; // bits of the significand behind the point
  if (!m || below <= 0) return a;
  const rc = n & 4 ? roundingMode() : <u32>(n & 3);
  const r = integralStep<T>(a, below, rc);
  if (r != a && !(n & 8)) raiseFp(PE);
  return r;
}

export function roundPacked<T>(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  const d = destination(up);
  const n = load<u8>(up, U_IMM);
  beginFp();
  for (let i: usize = 0; i < 16; i += sizeof<T>())
    setLane<T>(RESULT + i, integral<T>(lane<T>(s + i), n));
  if (!settleFp()) return false;
  store<v128>(d, load<v128>(RESULT));
  return true;
}

export function roundScalar<T>(up: usize): bool {
  const s = laneAt<T>(up);
  if (!s) return false;
  beginFp();
  const r = integral<T>(lane<T>(s), load<u8>(up, U_IMM));
  if (!settleFp()) return false;
  setLane<T>(destination(up), r);
  return true;
}

/**
 * DPPS and DPPD: bits 7-4 choose the products, bits 3-0 where the sum goes. Products first, then sums of neighbours,
 * then their sum; an unmasked exception of one step keeps the next from being looked at.
 */
export function dotProduct<T>(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  const d = destination(up);
  const n = <i32>load<u8>(up, U_IMM);
  const w: usize = sizeof<T>();
  beginFp();
  for (let i: usize = 0; i < 16 / w; i++) {
    if ((n >> (4 + <i32>i)) & 1) fpLane<FpMul, T>(d + i * w, s + i * w, RESULT + i * w);
    else setLane<T>(RESULT + i * w, 0);
  }
  if (!settleFp()) return false;
  restartFp();
  if (sizeof<T>() == 4) {
    fpLane<FpAdd, T>(RESULT, RESULT + 4, RESULT);
    fpLane<FpAdd, T>(RESULT + 8, RESULT + 12, RESULT + 4);
    if (!settleFp()) return false;
    restartFp();
    fpLane<FpAdd, T>(RESULT, RESULT + 4, RESULT);
  } else fpLane<FpAdd, T>(RESULT, RESULT + 8, RESULT);
  if (!settleFp()) return false;
  const sum = lane<T>(RESULT);
  for (let i: usize = 0; i < 16 / w; i++) setLane<T>(d + i * w, (n >> (<i32>i)) & 1 ? sum : 0);
  return true;
}

// Conversions between integers, single and double precision (the CVT instructions of SSE and SSE2), rounded as MXCSR
// says or towards zero. Those from and to MMX registers are in mmx-convert.ts.

import { U_A, U_B } from "./abi";
import {
  RESULT,
  destination,
  inMemory,
  lane,
  laneAt,
  memoryAt,
  setLane,
  sourceAt,
} from "./sse-operand";
import { beginFp, fromInteger, integerOf, reformat, settleFp } from "./sse-round";
import { the } from "./state";

/** Puts the result in place unless an unmasked exception forbids it. */
function finish(d: usize): bool {
  if (!settleFp()) return false;
  store<v128>(d, load<v128>(RESULT));
  return true;
}

/** Whether a conversion to integers follows MXCSR. */
@unmanaged
export class Rounding {
  truncates(): bool {
    return false;
  }
}
@unmanaged
export class Truncating {
  truncates(): bool {
    return true;
  }
}

/** CVTPS2DQ and CVTTPS2DQ. */
export function cvtPs2Dq<F extends Rounding>(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  beginFp();
  for (let i: usize = 0; i < 16; i += 4)
    store<i32>(RESULT + i, <i32>integerOf<i32, i32>(load<u32>(s + i), the<F>().truncates()));
  return finish(destination(up));
}

/** CVTPD2DQ and CVTTPD2DQ: the upper half becomes 0. */
export function cvtPd2Dq<F extends Rounding>(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  beginFp();
  for (let i: usize = 0; i < 2; i++)
    store<i32>(
      RESULT + i * 4,
      <i32>integerOf<i64, i32>(load<u64>(s + i * 8), the<F>().truncates()),
    );
  store<u64>(RESULT, 0, 8);
  return finish(destination(up));
}

export function cvtDq2Ps(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  beginFp();
  for (let i: usize = 0; i < 16; i += 4)
    store<u32>(RESULT + i, <u32>fromInteger<i32>(<i64>load<i32>(s + i)));
  return finish(destination(up));
}

export function cvtDq2Pd(up: usize): bool {
  const s = laneAt<u64>(up);
  if (!s) return false;
  const v = load<u64>(s);
  const d = destination(up);
  store<f64>(d, <f64>(<i32>v));
  store<f64>(d, <f64>(<i32>(v >> 32)), 8);
  return true;
}

export function cvtPs2Pd(up: usize): bool {
  const s = laneAt<u64>(up);
  if (!s) return false;
  const v = load<u64>(s);
  beginFp();
  store<u64>(RESULT, reformat<i32, i64>(v & 0xffffffff));
  store<u64>(RESULT, reformat<i32, i64>(v >> 32), 8);
  return finish(destination(up));
}

export function cvtPd2Ps(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  beginFp();
  store<u32>(RESULT, <u32>reformat<i64, i32>(load<u64>(s)));
  store<u32>(RESULT, <u32>reformat<i64, i32>(load<u64>(s, 8)), 4);
  store<u64>(RESULT, 0, 8);
  return finish(destination(up));
}

export function cvtSs2Sd(up: usize): bool {
  const s = laneAt<u32>(up);
  if (!s) return false;
  beginFp();
  const r = reformat<i32, i64>(load<u32>(s));
  if (!settleFp()) return false;
  store<u64>(destination(up), r);
  return true;
}

export function cvtSd2Ss(up: usize): bool {
  const s = laneAt<u64>(up);
  if (!s) return false;
  beginFp();
  const r = reformat<i64, i32>(load<u64>(s));
  if (!settleFp()) return false;
  store<u32>(destination(up), <u32>r);
  return true;
}

/** CVTSI2SS and CVTSI2SD from an integer of the width T, to the format of F. */
export function cvtFromInt<F extends Single, T>(up: usize): bool {
  const s = inMemory(up) ? memoryAt<T>(up, 0) : <usize>load<u16>(up, U_B);
  if (!s) return false;
  beginFp();
  const v = <i64>load<T>(s);
  const r = the<F>().fromInt(v);
  if (!settleFp()) return false;
  the<F>().put(destination(up), r);
  return true;
}

/** CVTSS2SI, CVTSD2SI and their truncating kin, to an integer of the width T. */
export function cvtToInt<F extends Single, R extends Rounding, T>(up: usize): bool {
  const s = the<F>().at(up);
  if (!s) return false;
  beginFp();
  const v = the<F>().toInt<T>(s, the<R>().truncates());
  if (!settleFp()) return false;
  store<u64>(load<u16>(up, U_A), sizeof<T>() == 4 ? <u64>(<u32>v) : <u64>v);
  return true;
}
@unmanaged
export class Single {
  at(up: usize): usize {
    return laneAt<i32>(up);
  }
  put(p: usize, v: u64): void {
    setLane<i32>(p, v);
  }
  fromInt(v: i64): u64 {
    return fromInteger<i32>(v);
  }
  toInt<T>(p: usize, truncate: bool): i64 {
    return integerOf<i32, T>(lane<i32>(p), truncate);
  }
}
@unmanaged
export class Double {
  at(up: usize): usize {
    return laneAt<i64>(up);
  }
  put(p: usize, v: u64): void {
    setLane<i64>(p, v);
  }
  fromInt(v: i64): u64 {
    return fromInteger<i64>(v);
  }
  toInt<T>(p: usize, truncate: bool): i64 {
    return integerOf<i64, T>(lane<i64>(p), truncate);
  }
}

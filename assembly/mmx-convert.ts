// Conversions between floating point in XMM registers and integers in MMX registers: CVTPI2PS, CVTPI2PD, CVTPS2PI, CVTPD2PI
// and those that truncate. SDM Vol. 2.

import { U_A, U_B } from "./abi";
import { reach } from "./mmu";
import { enterMmx, setMmx } from "./mmx";
import { eaFull } from "./operand";
import { Rounding } from "./sse-convert";
import { inMemory, laneAt, simdAllowed, sourceAt } from "./sse-operand";
import { beginFp, fromInteger, integerOf, settleFp } from "./sse-round";
import { the } from "./state";
import { nonePending } from "./x87-state";

function usable(): bool {
  return simdAllowed() && nonePending();
}

/**
 * The two integers, 0 with the fault recorded. From memory they leave the x87 state alone, a pending exception included.
 * DIFFERS: the manual says so of CVTPI2PD only; the CPU that the table is compared with does it for CVTPI2PS, too.
 */
function integersAt(up: usize): usize {
  if (!simdAllowed()) return 0;
  if (inMemory(up)) return reach<u64>(eaFull(up), 0);
  if (!nonePending()) return 0;
  enterMmx();
  return <usize>load<u16>(up, U_B);
}

export function cvtPi2Ps(up: usize): bool {
  const s = integersAt(up);
  if (!s) return false;
  const v = load<u64>(s);
  beginFp();
  const a = fromInteger<i32>(<i64>(<i32>v));
  const b = fromInteger<i32>(<i64>(<i32>(v >> 32)));
  if (!settleFp()) return false;
  store<u64>(<usize>load<u16>(up, U_A), a | (b << 32));
  return true;
}

export function cvtPi2Pd(up: usize): bool {
  const s = integersAt(up);
  if (!s) return false;
  const v = load<u64>(s);
  const d = <usize>load<u16>(up, U_A);
  store<f64>(d, <f64>(<i32>v));
  store<f64>(d, <f64>(<i32>(v >> 32)), 8);
  return true;
}

/** CVTPS2PI and CVTTPS2PI. The state is that of MMX even when an exception of the conversion faults. */
export function cvtPs2Pi<F extends Rounding>(up: usize): bool {
  if (!usable()) return false;
  const s = laneAt<u64>(up);
  if (!s) return false;
  const v = load<u64>(s);
  beginFp();
  const a = integerOf<i32, i32>(v & 0xffffffff, the<F>().truncates());
  const b = integerOf<i32, i32>(v >> 32, the<F>().truncates());
  return finish(up, a, b);
}

/** CVTPD2PI and CVTTPD2PI. */
export function cvtPd2Pi<F extends Rounding>(up: usize): bool {
  if (!usable()) return false;
  const s = sourceAt(up);
  if (!s) return false;
  beginFp();
  const a = integerOf<i64, i32>(load<u64>(s), the<F>().truncates());
  const b = integerOf<i64, i32>(load<u64>(s, 8), the<F>().truncates());
  return finish(up, a, b);
}

function finish(up: usize, a: i64, b: i64): bool {
  enterMmx();
  if (!settleFp()) return false;
  setMmx(<usize>load<u16>(up, U_A), (<u64>(<u32>a)) | ((<u64>b) << 32));
  return true;
}

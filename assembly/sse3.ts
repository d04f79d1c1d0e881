// SSE3: sums within a register, alternating sums, and the moves that double lanes. Not its x87 and MONITOR parts.
// SDM Vol. 2, ADDSUBPD to HSUBPS, MOVDDUP, MOVSHDUP, MOVSLDUP.

import { U_B } from "./abi";
import { FpAdd, FpOperation, FpSub, fpLane } from "./sse-arith";
import { RESULT, destination, inMemory, memoryAt, sourceAt } from "./sse-operand";
import { beginFp, settleFp } from "./sse-round";

/** HADDPS and its kin: neighbours of the first operand give the lower half, those of the second the upper one. */
export function horizontalFp<F extends FpOperation, T>(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  const d = destination(up);
  const n: usize = sizeof<T>();
  beginFp();
  for (let i: usize = 0; i < 8; i += n) {
    fpLane<F, T>(d + 2 * i, d + 2 * i + n, RESULT + i);
    fpLane<F, T>(s + 2 * i, s + 2 * i + n, RESULT + 8 + i);
  }
  if (!settleFp()) return false;
  store<v128>(d, load<v128>(RESULT));
  return true;
}

/** ADDSUBPS and ADDSUBPD: differences in the even lanes, sums in the odd ones. */
export function alternatingFp<T>(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  const d = destination(up);
  const n: usize = sizeof<T>();
  beginFp();
  for (let i: usize = 0; i < 16; i += 2 * n) {
    fpLane<FpSub, T>(d + i, s + i, RESULT + i);
    fpLane<FpAdd, T>(d + i + n, s + i + n, RESULT + i + n);
  }
  if (!settleFp()) return false;
  store<v128>(d, load<v128>(RESULT));
  return true;
}

/** MOVDDUP: 8 bytes of memory suffice, and need no alignment. */
export function doubleQuad(up: usize): bool {
  const s = inMemory(up) ? memoryAt<u64>(up, 0) : <usize>load<u16>(up, U_B);
  if (!s) return false;
  store<v128>(destination(up), i64x2.splat(load<i64>(s)));
  return true;
}

@unmanaged
export class Movshdup {
  of(a: v128, b: v128): v128 {
    return v128.shuffle<i32>(b, b, 1, 1, 3, 3);
  }
}
@unmanaged
export class Movsldup {
  of(a: v128, b: v128): v128 {
    return v128.shuffle<i32>(b, b, 0, 0, 2, 2);
  }
}

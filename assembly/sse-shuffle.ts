// Shuffles of SSE and SSE2 whose order is an immediate, byte shifts of a whole register, and single words in and out.
// SDM Vol. 2, PSHUFD, SHUFPS, PSLLDQ, PEXTRW and their kin.

import { U_A, U_B, U_IMM } from "./abi";
import { RESULT, destination, inMemory, memoryAt, sourceAt } from "./sse-operand";
import { the } from "./state";

@unmanaged
export class Pshufd {
  /** Fills RESULT from the first operand at `a` and the second at `b` in the order `n`. */
  fill(a: usize, b: usize, n: i32): void {
    for (let i = 0; i < 4; i++)
      store<u32>(RESULT + (i << 2), load<u32>(b + (((n >> (i << 1)) & 3) << 2)));
  }
}
@unmanaged
export class Pshuflw {
  fill(a: usize, b: usize, n: i32): void {
    for (let i = 0; i < 4; i++)
      store<u16>(RESULT + (i << 1), load<u16>(b + (((n >> (i << 1)) & 3) << 1)));
    store<u64>(RESULT, load<u64>(b, 8), 8);
  }
}
@unmanaged
export class Pshufhw {
  fill(a: usize, b: usize, n: i32): void {
    store<u64>(RESULT, load<u64>(b));
    for (let i = 0; i < 4; i++)
      store<u16>(RESULT + (i << 1), load<u16>(b + (((n >> (i << 1)) & 3) << 1), 8), 8);
  }
}
@unmanaged
export class Shufps {
  fill(a: usize, b: usize, n: i32): void {
    for (let i = 0; i < 4; i++)
      store<u32>(RESULT + (i << 2), load<u32>((i < 2 ? a : b) + (((n >> (i << 1)) & 3) << 2)));
  }
}
@unmanaged
export class Shufpd {
  fill(a: usize, b: usize, n: i32): void {
    store<u64>(RESULT, load<u64>(a + ((n & 1) << 3)));
    store<u64>(RESULT, load<u64>(b + ((n & 2) << 2)), 8);
  }
}

export function shuffle<F extends Pshufd>(up: usize): bool {
  const s = sourceAt(up);
  if (!s) return false;
  const d = destination(up);
  the<F>().fill(d, s, load<u8>(up, U_IMM));
  store<v128>(d, load<v128>(RESULT));
  return true;
}

@unmanaged
export class Pslldq {
  from(i: i32, n: i32): i32 {
    return i - n;
  }
}
@unmanaged
export class Psrldq {
  from(i: i32, n: i32): i32 {
    return i + n;
  }
}
export function shiftBytes<F extends Pslldq>(up: usize): bool {
  const d = destination(up);
  const n = <i32>load<u8>(up, U_IMM);
  for (let i = 0; i < 16; i++) {
    const from = the<F>().from(i, n);
    store<u8>(RESULT + i, <u32>from < 16 ? load<u8>(d + from) : 0);
  }
  store<v128>(d, load<v128>(RESULT));
  return true;
}

export function pextrw(up: usize): bool {
  const s = <usize>load<u16>(up, U_B) + ((load<u8>(up, U_IMM) & 7) << 1);
  store<u64>(load<u16>(up, U_A), <u64>load<u16>(s));
  return true;
}

export function pinsrw(up: usize): bool {
  const s = inMemory(up) ? memoryAt<u16>(up, 0) : <usize>load<u16>(up, U_B);
  if (!s) return false;
  store<u16>(destination(up) + ((load<u8>(up, U_IMM) & 7) << 1), load<u16>(s));
  return true;
}

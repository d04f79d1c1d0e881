// Moves of SSE and SSE2: between XMM registers, memory and general registers. A load of part of a register from memory
// clears the rest where the manual says so; from a register it never does. SDM Vol. 2, MOVAPS and its kin.

import { RDI, MISC_ADDR32, U_A, U_B, U_MISC, U_SEG } from "./abi";
import { put, reach } from "./mmu";
import { alignedAt, destination, inMemory, memoryAt } from "./sse-operand";
import { the } from "./state";

@unmanaged
export class Aligned {
  at(up: usize, w: i32): usize {
    return alignedAt(up, w);
  }
}
@unmanaged
export class Unaligned {
  at(up: usize, w: i32): usize {
    return memoryAt<v128>(up, w);
  }
}

export function loadXmm<F extends Aligned>(up: usize): bool {
  const s = inMemory(up) ? the<F>().at(up, 0) : <usize>load<u16>(up, U_B);
  if (!s) return false;
  store<v128>(destination(up), load<v128>(s));
  return true;
}

export function storeXmm<F extends Aligned>(up: usize): bool {
  const p = inMemory(up) ? the<F>().at(up, 1) : destination(up);
  if (!p) return false;
  put<v128>(p, load<v128>(load<u16>(up, U_B)));
  return true;
}

/** MOVSS and MOVSD to a register: from memory the rest becomes 0, from a register it stays. */
export function loadLane<T>(up: usize): bool {
  const d = destination(up);
  if (!inMemory(up)) {
    store<T>(d, load<T>(load<u16>(up, U_B)));
    return true;
  }
  const s = memoryAt<T>(up, 0);
  if (!s) return false;
  const v = load<T>(s);
  store<v128>(d, i64x2.splat(0));
  store<T>(d, v);
  return true;
}

/** The low lane to memory or to the low lane of a register. */
export function storeLane<T>(up: usize): bool {
  const p = inMemory(up) ? memoryAt<T>(up, 1) : destination(up);
  if (!p) return false;
  put<T>(p, load<T>(load<u16>(up, U_B)));
  return true;
}

/** MOVQ to a register: the upper half becomes 0. */
export function loadQuad(up: usize): bool {
  const s = inMemory(up) ? memoryAt<u64>(up, 0) : <usize>load<u16>(up, U_B);
  if (!s) return false;
  const d = destination(up);
  store<u64>(d, load<u64>(s));
  store<u64>(d, 0, 8);
  return true;
}

/** MOVQ from a register. */
export function storeQuad(up: usize): bool {
  if (inMemory(up)) return storeLane<u64>(up);
  const d = destination(up);
  store<u64>(d, load<u64>(load<u16>(up, U_B)));
  store<u64>(d, 0, 8);
  return true;
}

/** MOVD and MOVQ from a general register or memory; T is their width. */
export function fromGeneral<T>(up: usize): bool {
  const s = inMemory(up) ? memoryAt<T>(up, 0) : <usize>load<u16>(up, U_B);
  if (!s) return false;
  const v = sizeof<T>() == 4 ? <u64>load<u32>(s) : load<u64>(s);
  const d = destination(up);
  store<u64>(d, v);
  store<u64>(d, 0, 8);
  return true;
}

export function toGeneral<T>(up: usize): bool {
  if (inMemory(up)) return storeLane<T>(up);
  const s = load<u16>(up, U_B);
  store<u64>(load<u16>(up, U_A), sizeof<T>() == 4 ? <u64>load<u32>(s) : load<u64>(s));
  return true;
}

/** MOVLPS and MOVHPS: the half of a register at `at`. */
@unmanaged
export class Low {
  at(): i32 {
    return 0;
  }
}
@unmanaged
export class High {
  at(): i32 {
    return 8;
  }
}
export function loadHalf<F extends Low>(up: usize): bool {
  const s = memoryAt<u64>(up, 0);
  if (!s) return false;
  store<u64>(destination(up) + the<F>().at(), load<u64>(s));
  return true;
}
export function storeHalf<F extends Low>(up: usize): bool {
  const p = memoryAt<u64>(up, 1);
  if (!p) return false;
  put<u64>(p, load<u64>(load<u16>(up, U_B) + the<F>().at()));
  return true;
}

/** MOVHLPS (to the low half, from the high one) and MOVLHPS. */
export function moveHalf<F extends Low>(up: usize): bool {
  const at = the<F>().at();
  store<u64>(destination(up) + at, load<u64>(load<u16>(up, U_B) + (8 - at)));
  return true;
}

/** MOVMSKPS, MOVMSKPD, PMOVMSKB: the sign of each lane as a bit. */
export function signMask<T>(up: usize): bool {
  const v = load<v128>(load<u16>(up, U_B));
  let m: i32;
  if (sizeof<T>() == 1) m = i8x16.bitmask(v);
  else if (sizeof<T>() == 4) m = i32x4.bitmask(v);
  else m = i64x2.bitmask(v);
  store<u64>(load<u16>(up, U_A), <u64>(<u32>m));
  return true;
}

/** MASKMOVDQU: the bytes whose mask has bit 7, to rdi. All sixteen must be there to be written. */
export function maskedStore(up: usize): bool {
  const rdi = load<u64>(RDI);
  const va = load<u8>(up, U_MISC) & MISC_ADDR32 ? <u64>(<u32>rdi) : rdi;
  const p = reach<v128>(va + load<u64>(load<u16>(up, U_SEG)), 1);
  if (!p) return false;
  const mask = i8x16.shr_s(load<v128>(load<u16>(up, U_B)), 7);
  put<v128>(p, v128.bitselect(load<v128>(destination(up)), load<v128>(p), mask));
  return true;
}

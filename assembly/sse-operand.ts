// Where the operands of an SSE instruction lie. Its forms share one micro-op whatever the operand is: the record says
// whether it is memory. A memory operand of 16 bytes must be aligned unless the instruction says otherwise.

import { CR0, CR4, MISC_MEM, U_A, U_B, U_MISC, Vector } from "./abi";
import { reach } from "./mmu";
import { eaFull } from "./operand";
import { fault } from "./state";

const CR0_EM: u64 = 4;
const CR0_TS: u64 = 8;
const CR4_OSFXSR: u64 = 0x200;

/** Lanes of a result that may still be given up. */
export const RESULT: usize = 0xc0a0;

/** Whether the system lets SSE instructions execute; the fault is recorded when not. */
export function simdAllowed(): bool {
  if (load<u64>(CR0) & CR0_EM || !(load<u64>(CR4) & CR4_OSFXSR)) return fault(Vector.UD, 0);
  return load<u64>(CR0) & CR0_TS ? fault(Vector.NM, 0) : true;
}

export function inMemory(up: usize): bool {
  return (load<u8>(up, U_MISC) & MISC_MEM) != 0;
}

/** The T of memory that the instruction names. */
export function memoryAt<T>(up: usize, w: i32): usize {
  return reach<T>(eaFull(up), w);
}

/** 16 bytes of memory that must be aligned. */
export function alignedAt(up: usize, w: i32): usize {
  const va = eaFull(up);
  if (va & 15) return usize(fault(Vector.GP, 0)); // even when it is not canonical and based on rsp
  return reach<v128>(va, w);
}

/** The source of 16 bytes: a register or aligned memory. */
export function sourceAt(up: usize): usize {
  return inMemory(up) ? alignedAt(up, 0) : <usize>load<u16>(up, U_B);
}

/** The source of a T: the low lane of a register, or memory. */
export function laneAt<T>(up: usize): usize {
  return inMemory(up) ? memoryAt<T>(up, 0) : <usize>load<u16>(up, U_B);
}

/** The first operand, a register. */
export function destination(up: usize): usize {
  return load<u16>(up, U_A);
}

/** A lane as bits. */
export function lane<T>(p: usize): u64 {
  return sizeof<T>() == 4 ? <u64>load<u32>(p) : load<u64>(p);
}
export function setLane<T>(p: usize, v: u64): void {
  if (sizeof<T>() == 4) store<u32>(p, <u32>v);
  else store<u64>(p, v);
}

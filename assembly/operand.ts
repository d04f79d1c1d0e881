// Operand classes: where a micro-op's operand lies, as types, so that an operation is written once and compiled per
// shape. `at` answers a wasm address (0 with the fault recorded); get sign-extends; put of 32 bits clears the upper half.

import { MISC_ADDR32, U_A, U_B, U_BASE, U_DISP, U_IMM, U_INDEX, U_MISC, U_SEG } from "./abi";
import { put, reach } from "./mmu";

function putReg<T>(p: usize, v: i64): void {
  if (sizeof<T>() == 8) store<i64>(p, v);
  else if (sizeof<T>() == 4) store<u64>(p, <u64>(<u32>v));
  else store<T>(p, <T>v);
}

/** Address of a plain memory operand: base + displacement. */
export function ea(up: usize): u64 {
  return load<u64>(load<u16>(up, U_BASE)) + <u64>(<i64>load<i32>(up, U_DISP));
}

/** Address without the segment, with index and address size: what LEA computes. */
export function eaOffset(up: usize): u64 {
  const m = load<u8>(up, U_MISC);
  const va =
    load<u64>(load<u16>(up, U_BASE)) +
    (load<u64>(load<u16>(up, U_INDEX)) << (m & 3)) +
    <u64>(<i64>load<i32>(up, U_DISP));
  return m & MISC_ADDR32 ? <u64>(<u32>va) : va;
}

/** The address `by` bytes from an operand, within the address size. */
function eaFrom(up: usize, by: u64): u64 {
  const va = eaOffset(up) + by;
  const cut = load<u8>(up, U_MISC) & MISC_ADDR32 ? <u64>(<u32>va) : va;
  return cut + load<u64>(load<u16>(up, U_SEG));
}

export function eaFull(up: usize): u64 {
  return eaOffset(up) + load<u64>(load<u16>(up, U_SEG));
}

/**
 * What an operand class answers. TypeScript checks the classes against it; the compiler of the core instantiates
 * each operation with the class itself and makes nothing of this one.
 */
@unmanaged
export class Operand {
  mem(): bool {
    return false;
  }
  at<T>(up: usize, w: i32): usize {
    return 0;
  }
  get<T>(up: usize, p: usize): i64 {
    return 0;
  }
  put<T>(p: usize, v: i64): void {}
}
/** An operand that also has an address. */
@unmanaged
export class Memory {
  mem(): bool {
    return true;
  }
  va(up: usize): u64 {
    return 0;
  }
  vaFrom(up: usize, by: u64): u64 {
    return 0;
  }
  at<T>(up: usize, w: i32): usize {
    return 0;
  }
  get<T>(up: usize, p: usize): i64 {
    return 0;
  }
  put<T>(p: usize, v: i64): void {}
}
@unmanaged
export class RegA {
  mem(): bool {
    return false;
  }
  va(up: usize): u64 {
    return 0;
  } // for the compiler only: nobody asks a register
  vaFrom(up: usize, by: u64): u64 {
    return 0;
  }
  at<T>(up: usize, w: i32): usize {
    return load<u16>(up, U_A);
  }
  get<T>(up: usize, p: usize): i64 {
    return <i64>load<T>(p);
  }
  put<T>(p: usize, v: i64): void {
    putReg<T>(p, v);
  }
}
@unmanaged
export class RegB {
  mem(): bool {
    return false;
  }
  at<T>(up: usize, w: i32): usize {
    return load<u16>(up, U_B);
  }
  get<T>(up: usize, p: usize): i64 {
    return <i64>load<T>(p);
  }
  put<T>(p: usize, v: i64): void {
    putReg<T>(p, v);
  }
}
@unmanaged
export class Constant {
  mem(): bool {
    return false;
  }
  at<T>(up: usize, w: i32): usize {
    return 1;
  }
  get<T>(up: usize, p: usize): i64 {
    return load<i64>(up, U_IMM);
  }
  put<T>(p: usize, v: i64): void {}
}
@unmanaged
export class Mem {
  mem(): bool {
    return true;
  }
  va(up: usize): u64 {
    return ea(up);
  }
  vaFrom(up: usize, by: u64): u64 {
    return ea(up) + by;
  }
  offset(up: usize): u64 {
    return ea(up);
  }
  at<T>(up: usize, w: i32): usize {
    return reach<T>(ea(up), w);
  }
  get<T>(up: usize, p: usize): i64 {
    return <i64>load<T>(p);
  }
  put<T>(p: usize, v: i64): void {
    put<T>(p, <T>v);
  }
}
@unmanaged
export class MemX {
  mem(): bool {
    return true;
  }
  va(up: usize): u64 {
    return eaFull(up);
  }
  vaFrom(up: usize, by: u64): u64 {
    return eaFrom(up, by);
  }
  offset(up: usize): u64 {
    return eaOffset(up);
  }
  at<T>(up: usize, w: i32): usize {
    return reach<T>(eaFull(up), w);
  }
  get<T>(up: usize, p: usize): i64 {
    return <i64>load<T>(p);
  }
  put<T>(p: usize, v: i64): void {
    put<T>(p, <T>v);
  }
}

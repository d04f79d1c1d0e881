// Access to the active vCPU: registers by wasm address, faults, and where in its block a micro-op stands.
// Everything lies at the fixed addresses of abi.ts, so that no operation keeps state anywhere else.

import {
  CPL,
  EXIT,
  EXIT_ARG,
  FAULT,
  FAULT_CODE,
  FAULT_VA,
  GRANT,
  INSNS,
  LEFT,
  NONCANONICAL,
  RAX,
  RBP,
  RIP,
  RIP_PAGE,
  RSP,
  TIME,
  U_BASE,
  U_LEN,
  U_OFF,
  U_REM,
  U_SEG,
  Vector,
  ZERO,
} from "./abi";

/** The instance through which a class without fields is used as a type parameter. */
export function the<C>(): C {
  return changetype<C>(0);
}

/** A general register by number. */
export function reg(n: i32): u64 {
  return load<u64>(RAX + (n << 3));
}

export function setReg(n: i32, v: u64): void {
  store<u64>(RAX + (n << 3), v);
}

export function cpl(): i32 {
  return load<i32>(CPL);
}

/** Records a fault of the present instruction and answers false: nothing of it was done. */
export function fault(vector: i32, code: i32): bool {
  store<i32>(FAULT, vector);
  store<i32>(FAULT_CODE, code);
  return false;
}

export function pageFault(va: u64, code: i32): bool {
  store<u64>(FAULT_VA, va);
  return fault(14, code);
}

/** va of the instruction of a record. */
export function ripOf(up: usize): u64 {
  return load<u64>(RIP_PAGE) + <u64>load<u16>(up, U_OFF);
}

/** va of the instruction that follows. */
export function nextRip(up: usize): u64 {
  return load<u64>(RIP_PAGE) + <u64>(load<u16>(up, U_OFF) + <u32>load<u8>(up, U_LEN));
}

/** Gives back what the block was charged beyond `done` instructions from this record on, and leaves at `rip`. */
export function leaveAt(up: usize, rip: u64, done: i32): void {
  store<u64>(RIP, rip);
  store<i64>(LEFT, load<i64>(LEFT) + <i64>(<i32>load<u16>(up, U_REM) - done));
}

/**
 * Leaves before the instruction of this record, which was not done. A non-canonical address based on rsp or rbp is
 * #SS unless fs or gs is named; any other is #GP. SDM Vol. 1, "Memory Operand Addressing in 64-Bit Mode".
 */
export function undone(up: usize): void {
  if (load<i32>(FAULT) >= 0 && load<i32>(FAULT_CODE) == NONCANONICAL) {
    const base = load<u16>(up, U_BASE);
    const stack = (base == RSP || base == RBP) && load<u16>(up, U_SEG) == ZERO;
    fault(stack ? Vector.SS : Vector.GP, 0);
  }
  leaveAt(up, ripOf(up), 0);
}

/** Instructions that all vCPUs retired before the one of this record. */
export function insnsBefore(up: usize): u64 {
  return load<u64>(INSNS) + <u64>(load<i64>(GRANT) - load<i64>(LEFT)) - <u64>load<u16>(up, U_REM);
}

/** This vCPU's virtual time at the instruction of this record. */
export function timeAt(up: usize): u64 {
  return load<u64>(TIME) + <u64>(load<i64>(GRANT) - load<i64>(LEFT)) - <u64>load<u16>(up, U_REM);
}

/** Ends the present run after this instruction, for the host to see. */
export function exit(reason: i32, arg: u64): void {
  store<u32>(EXIT, reason);
  store<u64>(EXIT_ARG, arg);
}

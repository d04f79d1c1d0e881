// Hardware breakpoints: which of DR0 to DR3 an instruction, an access or a port meets, and MOV to and from the debug
// registers. A breakpoint on execution is a fault before the instruction, all others are traps behind it.
// SDM Vol. 3B, "Debug Registers", "Debug Exceptions".

import {
  CAREFUL,
  CAREFUL_CODE,
  CAREFUL_DATA,
  CAREFUL_IO,
  CPL,
  CR4,
  CURRENT,
  DB_PENDING,
  DR0,
  RIP,
  U_A,
  U_B,
  Vector,
} from "./abi";
import { flushTlb } from "./mmu";
import { Operand } from "./operand";
import { fault, nextRip, the } from "./state";

export const DR6: usize = DR0 + 48;
export const DR7: usize = DR0 + 56;
export const DR6_BD: u64 = 0x2000;
export const DR6_BS: u64 = 0x4000;
const DR7_GD: u64 = 0x2000;
const CR4_DE: u64 = 8;

// R/W of a breakpoint.
const ON_EXECUTE: i32 = 0;
const ON_WRITE: i32 = 1;
const ON_PORT: i32 = 2; // with CR4.DE

function enabled(i: i32): bool {
  return ((load<u64>(DR7) >> (i << 1)) & 3) != 0;
}

function kindOf(i: i32): i32 {
  return (<i32>(load<u64>(DR7) >> (16 + (i << 2)))) & 3;
}

/** Bytes that it covers: 1, 2, 8 or 4. */
function sizeOf(i: i32): u64 {
  const len = (<i32>(load<u64>(DR7) >> (18 + (i << 2)))) & 3;
  return len == 2 ? 8 : <u64>(len + 1);
}

/** After DR7 or CR4 changed: whether this vCPU has to look at each instruction, access or port. */
export function debugChanged(): void {
  const all: u32 = CAREFUL_CODE | CAREFUL_DATA | CAREFUL_IO;
  let c: u32 = 0;
  for (let i = 0; i < 4; i++) {
    if (!enabled(i)) continue;
    const kind = kindOf(i);
    if (kind == ON_EXECUTE) c |= CAREFUL_CODE;
    else if (kind == ON_PORT) c |= load<u64>(CR4) & CR4_DE ? CAREFUL_IO : 0;
    else c |= CAREFUL_DATA;
  }
  const old = load<u32>(CAREFUL);
  store<u32>(CAREFUL, (old & ~all) | c);
  if ((old ^ load<u32>(CAREFUL)) & CAREFUL_DATA) flushTlb(load<i32>(CURRENT));
}

/** Bits of DR6 for the enabled breakpoints on the execution of `rip`. */
export function breakpointsAt(rip: u64): u32 {
  let hits: u32 = 0;
  for (let i = 0; i < 4; i++) {
    if (enabled(i) && kindOf(i) == ON_EXECUTE && load<u64>(DR0 + (i << 3)) == rip) hits |= 1 << i;
  }
  return hits;
}

/** Notes the breakpoints that an access to [va, va + n) meets. */
export function noteAccess(va: u64, n: u64, write: bool): void {
  for (let i = 0; i < 4; i++) {
    if (!enabled(i)) continue;
    const kind = kindOf(i);
    if (kind == ON_EXECUTE || kind == ON_PORT || (kind == ON_WRITE && !write)) continue;
    note(i, va, n);
  }
}

/** Notes those that an access to `n` ports from `port` on meets. */
export function notePort(port: u64, n: u64): void {
  for (let i = 0; i < 4; i++) if (enabled(i) && kindOf(i) == ON_PORT) note(i, port, n);
}

function note(i: i32, at: u64, n: u64): void {
  const size = sizeOf(i);
  const lo = load<u64>(DR0 + (i << 3)) & ~(size - 1);
  if (lo < at + n && at < lo + size) store<u32>(DB_PENDING, load<u32>(DB_PENDING) | (1 << i));
}

/** The register that a number names: 4 and 5 are 6 and 7 unless CR4.DE is set. -1 with the fault recorded. */
function debugRegister(n: i32): i32 {
  if (n > 7 || ((n == 4 || n == 5) && load<u64>(CR4) & CR4_DE)) {
    fault(Vector.UD, 0);
    return -1;
  }
  if (load<i32>(CPL)) {
    fault(Vector.GP, 0);
    return -1;
  }
  if (load<u64>(DR7) & DR7_GD) {
    store<u64>(DR6, load<u64>(DR6) | DR6_BD);
    fault(Vector.DB, 0);
    return -1;
  }
  return n == 4 || n == 5 ? n + 2 : n;
}

export function movFromDr<D extends Operand, T>(up: usize): bool {
  const i = debugRegister(load<u16>(up, U_B));
  if (i < 0) return false;
  the<D>().put<T>(the<D>().at<T>(up, 1), load<i64>(DR0 + (i << 3)));
  return true;
}

export function movToDr<S extends Operand, T>(up: usize): usize {
  const i = debugRegister(load<u16>(up, U_A));
  if (i < 0) return 0;
  const v = load<u64>(load<u16>(up, U_B));
  if (i >= 6 && v >> 32) return usize(fault(Vector.GP, 0));
  store<u64>(
    DR0 + (i << 3),
    i == 6 ? (v & 0xe00f) | 0xffff0ff0 : i == 7 ? (v & 0xffff23ff) | 0x400 : v,
  );
  if (i == 7) debugChanged();
  store<u64>(RIP, nextRip(up));
  return 0;
}

// Control of the x87 FPU: its control and status words, the environment and the whole state in memory, FNINIT, FNCLEX, FFREE,
// the stack pointer, EMMS. Mnemonics with FN do not wait for pending exceptions. SDM Vol. 1, "x87 FPU Instruction and
// Data (Operand) Pointers" and the figures of the environment in memory; a T of 16 bits is the short layout.

import { CR0, RAX, U_IMM, Vector } from "./abi";
import { aligned, put, reach } from "./mmu";
import { eaFull } from "./operand";
import { fault, ripOf } from "./state";
import { stOf } from "./x87-arith";
import { mmxUsable } from "./mmx";
import {
  ALL_MASKED,
  FCW,
  FDP,
  FIP,
  FOP,
  FSW,
  FTW,
  NO_DATA,
  beginX87,
  endX87,
  fpuUsable,
  freeSt,
  nonePending,
  popStack,
  seAt,
  setTop,
  sigAt,
  st,
  summarize,
  tagOf,
  topOfStack,
} from "./x87-state";

const CR0_MP_TS: u64 = 10;
const CONTROL_ALWAYS: u16 = 0x40;
const CONTROL_BITS: u16 = 0x1f3f;

export function setControl(v: u16): void {
  store<u16>(FCW, (v & CONTROL_BITS) | CONTROL_ALWAYS);
}

export function fninit(up: usize): bool {
  if (!fpuUsable()) return false;
  store<u64>(FCW, 0x37f);
  store<u64>(FIP, 0);
  store<u64>(FDP, 0);
  return true;
}

export function fnclex(up: usize): bool {
  if (!fpuUsable()) return false;
  store<u16>(FSW, load<u16>(FSW) & 0x7f00);
  return true;
}

/** FWAIT. SDM Vol. 2, "WAIT/FWAIT": #NM only with both CR0.MP and CR0.TS. */
export function fwait(up: usize): bool {
  if ((load<u64>(CR0) & CR0_MP_TS) == CR0_MP_TS) return fault(Vector.NM, 0);
  return nonePending();
}

export function fnop(up: usize): bool {
  if (!beginX87()) return false;
  store<u16>(FOP, <u16>load<u64>(up, U_IMM));
  store<u64>(FIP, ripOf(up));
  return true;
}

export function fldcw(up: usize): bool {
  if (!beginX87()) return false;
  const p = reach<u16>(eaFull(up), 0);
  if (!p) return false;
  setControl(load<u16>(p));
  summarize();
  return true;
}
export function fnstcw(up: usize): bool {
  if (!fpuUsable()) return false;
  const p = reach<u16>(eaFull(up), 1);
  if (!p) return false;
  put<u16>(p, load<u16>(FCW));
  return true;
}
export function fnstsw(up: usize): bool {
  if (!fpuUsable()) return false;
  const p = reach<u16>(eaFull(up), 1);
  if (!p) return false;
  put<u16>(p, load<u16>(FSW));
  return true;
}
export function fnstswAx(up: usize): bool {
  if (!fpuUsable()) return false;
  store<u16>(RAX, load<u16>(FSW));
  return true;
}

function stepTop(up: usize, by: u32): bool {
  if (!beginX87()) return false;
  endX87(up, NO_DATA);
  setTop(topOfStack() + by);
  return true;
}
export function fincstp(up: usize): bool {
  return stepTop(up, 1);
}
export function fdecstp(up: usize): bool {
  return stepTop(up, 7);
}

export function ffree(up: usize): bool {
  if (!beginX87()) return false;
  endX87(up, NO_DATA);
  freeSt(stOf(up));
  return true;
}
/** FFREEP: not in the manual, and in every CPU. */
export function ffreep(up: usize): bool {
  if (!beginX87()) return false;
  endX87(up, NO_DATA);
  freeSt(stOf(up));
  popStack();
  return true;
}

export function emms(up: usize): bool {
  if (!mmxUsable()) return false;
  setTop(0);
  store<u8>(FTW, 0);
  return true;
}

/** Bytes of the environment. */
function environment<T>(): u32 {
  return sizeof<T>() == 2 ? 14 : 28;
}

/** Whether an image of `n` bytes can be reached, at most two pages. Its words are all at multiples of theirs. */
function reachAll<T>(va: u64, n: u32, w: i32): bool {
  return reach<u8>(va, w) != 0 && reach<u8>(va + n - 1, w) != 0 && aligned(va, sizeof<T>());
}

function put16(va: u64, v: u16): void {
  put<u16>(reach<u16>(va, 1), v);
}
function put32(va: u64, v: u32): void {
  put<u32>(reach<u32>(va, 1), v);
}
function get16(va: u64): u32 {
  return load<u16>(reach<u16>(va, 0));
}
function get32(va: u64): u32 {
  return load<u32>(reach<u32>(va, 0));
}

// A register of the image lies at a multiple of two.
function put64(va: u64, v: u64): void {
  for (let i: u32 = 0; i < 8; i += 2) put16(va + i, <u16>(v >> (i << 3)));
}
function get64(va: u64): u64 {
  const low = get16(va) | (get16(va + 2) << 16);
  const high = get16(va + 4) | (get16(va + 6) << 16);
  return (<u64>low) | ((<u64>high) << 32);
}

/** The full tag word, two bits for a register. */
function tagWord(): u32 {
  let t: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) t |= tagOf(i) << (i << 1);
  return t;
}

/** The selectors of the code and of the operand are not kept: CPUID says so. */
function storeEnvironment<T>(va: u64): void {
  const fip = <u32>load<u64>(FIP);
  const fdp = <u32>load<u64>(FDP);
  if (sizeof<T>() == 2) {
    put16(va, load<u16>(FCW));
    put16(va + 2, load<u16>(FSW));
    put16(va + 4, <u16>tagWord());
    put16(va + 6, <u16>fip);
    put16(va + 8, 0);
    put16(va + 10, <u16>fdp);
    put16(va + 12, 0);
    return;
  }
  put32(va, 0xffff0000 | (<u32>load<u16>(FCW)));
  put32(va + 4, 0xffff0000 | (<u32>load<u16>(FSW)));
  put32(va + 8, 0xffff0000 | tagWord());
  put32(va + 12, fip);
  put32(va + 16, ((<u32>load<u16>(FOP)) & 0x7ff) << 16);
  put32(va + 20, fdp);
  put32(va + 24, 0xffff0000);
}

function loadEnvironment<T>(va: u64): void {
  const step: u64 = sizeof<T>() == 2 ? 2 : 4;
  const control = get16(va);
  const status = get16(va + step);
  const tags = get16(va + 2 * step);
  if (sizeof<T>() == 2) {
    store<u64>(FIP, <u64>get16(va + 6));
    store<u64>(FDP, <u64>get16(va + 10));
    store<u16>(FOP, 0);
  } else {
    store<u64>(FIP, <u64>get32(va + 12));
    store<u16>(FOP, (<u16>(get32(va + 16) >> 16)) & 0x7ff);
    store<u64>(FDP, <u64>get32(va + 20));
  }
  setControl(<u16>control);
  store<u16>(FSW, <u16>status);
  setTags(tags);
  summarize();
}

/** Only whether a register is empty is taken from a tag word; the rest is in the registers. */
function setTags(tags: u32): void {
  let full: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) if (((tags >> (i << 1)) & 3) != 3) full |= 1 << i;
  store<u8>(FTW, <u8>full);
}

/** FNSTENV: afterwards every exception is masked. */
export function fnstenv<T>(up: usize): bool {
  if (!fpuUsable()) return false;
  const va = eaFull(up);
  if (!reachAll<T>(va, environment<T>(), 1)) return false;
  storeEnvironment<T>(va);
  store<u16>(FCW, load<u16>(FCW) | ALL_MASKED);
  summarize();
  return true;
}

export function fldenv<T>(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  if (!reachAll<T>(va, environment<T>(), 0)) return false;
  loadEnvironment<T>(va);
  return true;
}

/** FNSAVE: the environment and the registers from ST(0) on; then FNINIT. */
export function fnsave<T>(up: usize): bool {
  if (!fpuUsable()) return false;
  const va = eaFull(up);
  const n = environment<T>();
  if (!reachAll<T>(va, n + 80, 1)) return false;
  storeEnvironment<T>(va);
  for (let i: u32 = 0; i < 8; i++) {
    const at = va + n + i * 10;
    put64(at, sigAt(st(i)));
    put16(at + 8, <u16>seAt(st(i)));
  }
  return fninit(up);
}

export function frstor<T>(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  const n = environment<T>();
  if (!reachAll<T>(va, n + 80, 0)) return false;
  loadEnvironment<T>(va);
  for (let i: u32 = 0; i < 8; i++) {
    const at = va + n + i * 10;
    const sig = get64(at);
    const se = get16(at + 8);
    store<u64>(st(i), sig);
    store<u64>(st(i), <u64>se, 8);
  }
  return true;
}

/** FNENI, FNDISI and FNSETPM of older coprocessors: nothing is left of them. */
export function fneni(up: usize): bool {
  return fpuUsable();
}

// The x87 FPU's registers as a stack, its status word, and how an instruction begins and ends: what it waits for, which
// exceptions it reports, what it remembers of itself. SDM Vol. 1, "x87 FPU Execution Environment" and "x87 FPU
// Floating-Point Exception Handling". The control word is at FPU, the status word behind it, then a bit per physical
// register that is not empty, as FXSAVE has it; the registers lie in physical order, so that MMX names the same bytes.
// DIFFERS: with CR0.NE clear an unmasked exception is not reported at all: there is no interrupt controller behind FERR#.

import { CR0, FPU, FPU_REGS, U_IMM, Vector } from "./abi";
import {
  TOP_BIT,
  beginF80,
  invalid80,
  outSe,
  outSig,
  raiseF80,
  raisedF80,
  roundedUp,
  setRoundedUp,
} from "./f80";
import { DE, IE, OE, UE, ZE } from "./sse-round";
import { fault, ripOf } from "./state";

export const FCW: usize = FPU;
export const FSW: usize = FPU + 2;
export const FTW: usize = FPU + 4; // u8: 1 for a register that is not empty
export const FOP: usize = FPU + 6;
export const FIP: usize = FPU + 8;
export const FDP: usize = FPU + 16;
export const ALL_MASKED: u16 = 0x3f;
export const SF: u32 = 0x40;
export const ES: u32 = 0x80;
export const C0: u32 = 0x100;
export const C1: u32 = 0x200;
export const C2: u32 = 0x400;
export const C3: u32 = 0x4000;
export const BUSY: u32 = 0x8000;
const TOP: u32 = 0x3800;
const CR0_EM: u64 = 4;
const CR0_TS: u64 = 8;
const CR0_NE: u64 = 0x20;
/** What an instruction without a memory operand says of its own. */
export const NO_DATA: u64 = ~(<u64>0);

/** Whether the FPU can be used now; the fault is recorded when not. */
export function fpuUsable(): bool {
  return load<u64>(CR0) & (CR0_EM | CR0_TS) ? fault(Vector.NM, 0) : true;
}

/** Whether no unmasked exception is pending. */
export function nonePending(): bool {
  return load<u16>(FSW) & (<u16>ES) && load<u64>(CR0) & CR0_NE ? fault(Vector.MF, 0) : true;
}

/** Begins an instruction that waits for pending exceptions. */
export function beginX87(): bool {
  if (!fpuUsable() || !nonePending()) return false;
  beginF80();
  return true;
}

export function topOfStack(): u32 {
  return (load<u16>(FSW) >> 11) & 7;
}

/** Where ST(i) lies. */
export function st(i: u32): usize {
  return FPU_REGS + (((topOfStack() + i) & 7) << 4);
}

/** Whether ST(i) holds something. */
export function isFull(i: u32): bool {
  return ((load<u8>(FTW) >> ((topOfStack() + i) & 7)) & 1) != 0;
}

export function seAt(p: usize): u32 {
  return load<u16>(p, 8);
}
export function sigAt(p: usize): u64 {
  return load<u64>(p);
}

/** The bit of ST(i) in FTW. */
function bitOf(i: u32): u32 {
  return (<u32>1) << ((topOfStack() + i) & 7);
}

/** Gives ST(i) a value, empty or not. */
export function setSt(i: u32, se: u32, sig: u64): void {
  const p = st(i);
  store<u64>(p, sig);
  store<u64>(p, <u64>se, 8);
  store<u8>(FTW, <u8>((<u32>load<u8>(FTW)) | bitOf(i)));
}

export function freeSt(i: u32): void {
  store<u8>(FTW, <u8>((<u32>load<u8>(FTW)) & ~bitOf(i)));
}

export function setTop(t: u32): void {
  store<u16>(FSW, <u16>((load<u16>(FSW) & ~TOP) | ((t & 7) << 11)));
}

export function popStack(): void {
  freeSt(0);
  setTop(topOfStack() + 1);
}
export function pushStack(se: u32, sig: u64): void {
  setTop(topOfStack() - 1);
  setSt(0, se, sig);
}

/** Whether ST(i) can be read; otherwise the answer is that of a stack underflow. */
export function needSt(i: u32): bool {
  if (isFull(i)) return true;
  stackFault80(false);
  return false;
}
/** Whether there is room for one more; otherwise the answer is that of a stack overflow. */
export function needRoom(): bool {
  if (!isFull(7)) return true;
  stackFault80(true);
  return false;
}
export function stackFault80(overflow: bool): void {
  invalid80();
  raiseF80(IE | SF);
  setRoundedUp(overflow);
}

/**
 * Ends an instruction: flags are sticky, C1 is new, an unmasked one is pending from now on, and the instruction and its
 * operand are remembered. `data` is the offset of its memory operand or NO_DATA. Answers whether the result may be
 * put in place: an exception of the operands that is not masked leaves everything as it was.
 */
export function endX87(up: usize, data: u64): bool {
  return settle(up, data, IE | DE | ZE);
}
/** The same where C1 speaks of a stack fault only. */
export function endX87KeepingC1(up: usize): bool {
  const c1 = load<u16>(FSW) & (<u16>C1);
  const ends = endX87(up, NO_DATA);
  if (!(raisedF80() & SF)) store<u16>(FSW, load<u16>(FSW) | c1);
  return ends;
}
/** The same of a load, which an unmasked denormal does not keep from happening. */
export function endLoad(up: usize, data: u64): bool {
  return settle(up, data, IE);
}

function settle(up: usize, data: u64, refusing: u32): bool {
  const open = ~(<u32>load<u16>(FCW));
  let raised = raisedF80();
  const refused = (raised & open & refusing) != 0;
  if (refused) {
    // What would have come of rounding is not known then.
    if (!(raised & SF)) setRoundedUp(false);
    raised &= IE | DE | ZE | SF;
  }
  let s = (load<u16>(FSW) & ~C1) | raised;
  if (roundedUp()) s |= C1;
  if (raised & open & 0x3f) s |= ES | BUSY;
  store<u16>(FOP, <u16>load<u64>(up, U_IMM));
  store<u64>(FIP, ripOf(up));
  if (data != NO_DATA) store<u64>(FDP, data);
  store<u16>(FSW, <u16>s);
  return !refused;
}

/** The same of a store to memory, which an unmasked overflow or underflow keeps from happening, too. */
export function endStore(up: usize, data: u64): bool {
  const kept = raisedF80() & ~(<u32>load<u16>(FCW)) & (OE | UE);
  return endX87(up, data) && !kept;
}

/** Puts the answer into ST(i) unless an exception forbids it. */
export function answerTo(up: usize, i: u32, data: u64): bool {
  if (!endX87(up, data)) return false;
  setSt(i, outSe, outSig);
  return true;
}

export function setConditions(c: u32): void {
  store<u16>(FSW, <u16>((load<u16>(FSW) & ~(C0 | C2 | C3)) | c));
}

/** After the control word or the flags changed: whether something unmasked is pending. */
export function summarize(): void {
  const s = <u32>load<u16>(FSW);
  const pending = s & ~(<u32>load<u16>(FCW)) & 0x3f;
  store<u16>(FSW, <u16>(pending ? s | ES | BUSY : s & ~(ES | BUSY)));
}

/** The two bits of register `p` in the full tag word: valid, zero, special, empty. */
export function tagOf(p: u32): u32 {
  if (!((load<u8>(FTW) >> p) & 1)) return 3;
  const se = seAt(FPU_REGS + (p << 4)) & 0x7fff;
  const sig = sigAt(FPU_REGS + (p << 4));
  if (!se && !sig) return 1;
  return se == 0x7fff || !se || !(sig & TOP_BIT) ? 2 : 0;
}

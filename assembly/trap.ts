// Delivery of interrupts, traps and faults through the IDT. All reads and checks come before the first effect; a fault
// on the way becomes #DF and then shutdown, as the SDM's table of double-fault conditions has it.
// SDM Vol. 3A, "Interrupt and Exception Handling in 64-bit Mode"; Vol. 2, "INT n/INTO/INT3/INT1".

import {
  CAREFUL,
  CAREFUL_SPLIT,
  CAREFUL_STORES,
  CAREFUL_TLB,
  CPL,
  CR2,
  DR0,
  EFL,
  FAULT,
  FAULT_CODE,
  FAULT_VA,
  FrameKind,
  GDTR_BASE,
  HALTED,
  IDTR_BASE,
  IDTR_LIMIT,
  IF,
  INT_SHADOW,
  LAST,
  LAST_SOFTWARE,
  NMI_BLOCKED,
  NT,
  RF,
  RIP,
  RSP,
  SEG_CS,
  SEG_SS,
  SEG_TR,
  SHADOW_REP,
  TF,
  TR_BASE,
  TR_LIMIT,
  Vector,
} from "./abi";
import { drain } from "./adversary";
import { dropPage } from "./adversary-tlb";
import { trackEntry } from "./cet";
import { descriptor, isCode64, markAccessed } from "./descriptor";
import { rflags } from "./flags";
import { canonical, selectTlb, stackFaultWith, systemRead, systemSlot, systemWrite } from "./mmu";
import { entered, moved, record } from "./shadow";
import { fault, nextRip } from "./state";

// Where a vector comes from.
export const FAULTED: i32 = 0; // an instruction that was not done
export const SOFTWARE: i32 = 1; // INT n, INT3: the gate's DPL counts
export const EVENT: i32 = 2; // an interrupt, a NMI, a trap behind an instruction, an instruction breakpoint
export const INT1: i32 = 3; // as SOFTWARE, but any privilege may

const DR7_GD: u64 = 0x2000;

/** The vectors that push an error code. */
function hasCode(vector: i32): bool {
  return (0x227d00 >> vector) & 1 ? vector < 32 : false;
}

function contributory(vector: i32): bool {
  return vector == Vector.DE || (vector >= Vector.TS && vector <= Vector.GP) || vector == Vector.CP;
}

/** The stack of the TSS for an interrupt stack number or a privilege. 0 with #TS when it lies behind the TSS's end. */
export function tssStack(offset: i32, ext: i32): u64 {
  if (<u64>(offset + 7) > load<u64>(TR_LIMIT)) {
    fault(Vector.TS, (load<u16>(SEG_TR) & 0xfffc) | ext);
    return 0;
  }
  return systemRead<u64>(load<u64>(TR_BASE) + <u64>offset);
}

/** One attempt. False with a fault recorded when it could not be delivered; nothing was changed then. */
function attempt(vector: i32, code: i32, source: i32, rip: u64): bool {
  const ext = source == SOFTWARE ? 0 : 1;
  const gateCode = (vector << 3) | 2 | ext;
  if (<u64>(vector << 4) + 15 > load<u64>(IDTR_LIMIT)) return fault(Vector.GP, gateCode);
  const g = load<u64>(IDTR_BASE) + <u64>(vector << 4);
  const lo = systemRead<u64>(g);
  const hi = systemRead<u64>(g + 8);
  if (load<i32>(FAULT) >= 0) return false;
  const type = (<i32>(lo >> 40)) & 0x1f;
  if (type != 14 && type != 15) return fault(Vector.GP, gateCode);
  const oldCpl = load<i32>(CPL);
  if (source == SOFTWARE && ((<i32>(lo >> 45)) & 3) < oldCpl) return fault(Vector.GP, gateCode);
  if (!((lo >> 47) & 1)) return fault(Vector.NP, gateCode);
  const selector = (<i32>(lo >> 16)) & 0xffff;
  if (!(selector & 0xfffc)) return fault(Vector.GP, ext);
  const cs = descriptor(selector, ext);
  if (load<i32>(FAULT) >= 0) return false;
  const dpl = (<i32>(cs >> 45)) & 3;
  if (!isCode64(cs) || dpl > oldCpl) return fault(Vector.GP, (selector & 0xfffc) | ext);
  if (!((cs >> 47) & 1)) return fault(Vector.NP, (selector & 0xfffc) | ext);
  const newCpl = (cs >> 42) & 1 ? oldCpl : dpl;

  const ist = (<i32>(lo >> 32)) & 7;
  let sp = load<u64>(RSP);
  const switched = ist != 0 || newCpl != oldCpl;
  if (switched) {
    sp = tssStack(ist ? 28 + (ist << 3) : 4 + (newCpl << 3), ext);
    if (load<i32>(FAULT) >= 0) return false;
  }
  sp &= ~(<u64>15);
  const words = hasCode(vector) && source == FAULTED ? 6 : 5;
  const bottom = sp - <u64>(words << 3);
  systemSlot(bottom);
  if (load<i32>(FAULT) < 0) systemSlot(sp - 1);
  if (load<i32>(FAULT) >= 0) {
    stackFaultWith(ext);
    return false;
  }
  const target = ((lo >> 48) << 16) | (lo & 0xffff) | (hi << 32);
  if (!canonical(target)) return fault(Vector.GP, ext);
  if (!markAccessed(selector, cs)) return false;

  const oldSp = load<u64>(RSP);
  const oldSs = load<u16>(SEG_SS);
  // SDM Vol. 3B, "Instruction-Breakpoint Exception Condition": a fault is to be resumed without meeting its breakpoint
  // again, and so is a REP that something came between the iterations of.
  let flags = rflags();
  if (source == FAULTED || (source == EVENT && load<i32>(INT_SHADOW) & SHADOW_REP)) flags |= RF;
  store<i32>(CPL, newCpl);
  selectTlb();
  store<u64>(RSP, sp);
  if (switched) entered(rip);
  systemWrite(sp - 8, <u64>oldSs);
  systemWrite(sp - 16, oldSp);
  systemWrite(sp - 24, flags);
  systemWrite(sp - 32, <u64>load<u16>(SEG_CS));
  systemWrite(sp - 40, rip);
  if (words == 6) systemWrite(bottom, <u64>(<u32>code));
  store<u64>(RSP, bottom);
  record(sp - 40, rip, oldCpl == 3 ? FrameKind.User : FrameKind.Interrupt);
  store<u16>(SEG_CS, <u16>((selector & 0xfffc) | newCpl));
  if (newCpl != oldCpl) store<u16>(SEG_SS, <u16>newCpl);
  let clear = <u64>(TF | NT | RF);
  if (type == 14) clear |= IF;
  store<u64>(EFL, load<u64>(EFL) & ~clear);
  store<u64>(RIP, target);
  trackEntry();
  if (vector == Vector.NMI && source == EVENT) store<i32>(NMI_BLOCKED, 1);
  if (vector == Vector.DB) store<u64>(DR0 + 56, load<u64>(DR0 + 56) & ~DR7_GD);
  return true;
}

/** Delivers a vector with `rip` as the return address, escalating to #DF and shutdown. */
export function deliver(vector: i32, code: i32, rip: u64, from: i32): void {
  store<i32>(FAULT, -1);
  if (load<u32>(CAREFUL) & (CAREFUL_STORES | CAREFUL_SPLIT)) drain();
  let v = vector;
  let c = code & 0xffff;
  let source = from;
  for (;;) {
    if (v == Vector.PF && source == FAULTED) {
      store<u64>(CR2, load<u64>(FAULT_VA));
      if (load<u32>(CAREFUL) & CAREFUL_TLB) dropPage(load<u64>(FAULT_VA));
    }
    if (attempt(v, c, source, rip)) break;
    const next = load<i32>(FAULT);
    const nextCode = load<i32>(FAULT_CODE) & 0xffff;
    store<i32>(FAULT, -1);
    if (v == Vector.DF && source == FAULTED) {
      store<i32>(HALTED, 2);
      return;
    }
    // Interrupts and traps are benign whatever their vector. SDM Vol. 3A, "Interrupt 8 - Double Fault Exception".
    const double =
      source == FAULTED &&
      ((contributory(v) && contributory(next)) ||
        (v == Vector.PF && (contributory(next) || next == Vector.PF)));
    v = double ? Vector.DF : next;
    c = double ? 0 : nextCode;
    source = FAULTED;
  }
  store<i32>(HALTED, 0);
  store<i32>(INT_SHADOW, 0);
}

/**
 * INT n, INT3 and INT1. The delivery is part of the instruction: the next instruction is the return address, and when
 * it cannot be delivered the fault is that of the instruction, with nothing done.
 */
export function raise(up: usize, vector: i32, source: i32): usize {
  const efl = load<u64>(EFL);
  store<u64>(EFL, efl & ~(<u64>RF)); // the instruction is as good as done when it delivers
  if (attempt(vector, 0, source, nextRip(up))) store<u32>(LAST, load<u32>(LAST) | LAST_SOFTWARE);
  else store<u64>(EFL, efl);
  return 0;
}

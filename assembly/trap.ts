// Delivery of interrupts, traps and faults through the IDT, and IRETQ. All reads and checks come before the first
// effect; a fault on the way becomes #DF and then shutdown, as the SDM's table of double-fault conditions has it.
// SDM Vol. 3A, "Interrupt and Exception Handling in 64-bit Mode"; Vol. 2, "INT n", "IRET".

import {
  AC,
  ARITH,
  CPL,
  CR2,
  DF,
  EFL,
  FAULT,
  FAULT_CODE,
  FAULT_VA,
  FrameKind,
  GDTR_BASE,
  GDTR_LIMIT,
  HALTED,
  ID,
  IDTR_BASE,
  IDTR_LIMIT,
  IF,
  IOPL,
  NMI_BLOCKED,
  NT,
  RF,
  RIP,
  RSP,
  SEG_CS,
  SEG_SS,
  TF,
  TR_BASE,
  Vector,
} from "./abi";
import { rflags, setArithmetic } from "./flags";
import {
  reachStack,
  selectTlb,
  setEfl,
  stackFault,
  systemRead,
  systemSlot,
  systemWrite,
} from "./mmu";
import { moved, record, rose } from "./shadow";
import { fault, nextRip } from "./state";

const HARDWARE: i32 = 0; // an interrupt from outside, or a fault
const SOFTWARE: i32 = 1; // INT n, INT3: the gate's DPL counts

/** The vectors that push an error code. */
function hasCode(vector: i32): bool {
  return (0x227d00 >> vector) & 1 ? vector < 32 : false;
}

function contributory(vector: i32): bool {
  return vector == Vector.DE || (vector >= Vector.TS && vector <= Vector.GP) || vector == Vector.CP;
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
  if (<u64>(selector | 7) > load<u64>(GDTR_LIMIT))
    return fault(Vector.GP, (selector & 0xfffc) | ext);
  const cs = systemRead<u64>(load<u64>(GDTR_BASE) + <u64>(selector & 0xfff8));
  if (load<i32>(FAULT) >= 0) return false;
  const dpl = (<i32>(cs >> 45)) & 3;
  const code64 = ((cs >> 43) & 3) == 3 && ((cs >> 53) & 3) == 1;
  if (!code64 || dpl > oldCpl) return fault(Vector.GP, (selector & 0xfffc) | ext);
  if (!((cs >> 47) & 1)) return fault(Vector.NP, (selector & 0xfffc) | ext);
  const newCpl = (cs >> 42) & 1 ? oldCpl : dpl;

  const ist = (<i32>(lo >> 32)) & 7;
  let sp = load<u64>(RSP);
  const switched = ist != 0 || newCpl != oldCpl;
  if (switched) {
    sp = systemRead<u64>(load<u64>(TR_BASE) + (ist ? <u64>(28 + (ist << 3)) : 4));
    if (load<i32>(FAULT) >= 0) return false;
  }
  sp &= ~(<u64>15);
  const words = hasCode(vector) && source == HARDWARE ? 6 : 5;
  const bottom = sp - <u64>(words << 3);
  systemSlot(bottom);
  if (load<i32>(FAULT) < 0) systemSlot(sp - 1);
  if (load<i32>(FAULT) >= 0) {
    stackFault();
    return false;
  }

  const oldSp = load<u64>(RSP);
  const oldSs = load<u16>(SEG_SS);
  let flags = rflags();
  if (source == HARDWARE && vector != Vector.DB && vector != Vector.NMI && vector < 32) flags |= RF;
  store<i32>(CPL, newCpl);
  selectTlb();
  store<u64>(RSP, sp);
  if (switched) moved(rip);
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
  store<u64>(RIP, ((lo >> 48) << 16) | (lo & 0xffff) | (hi << 32));
  if (vector == Vector.NMI) store<i32>(NMI_BLOCKED, 1);
  return true;
}

/** Delivers a vector with `rip` as the return address, escalating to #DF and shutdown. */
export function deliver(vector: i32, code: i32, rip: u64): void {
  store<i32>(FAULT, -1);
  let v = vector;
  let c = code & 0xffff;
  for (;;) {
    if (v == Vector.PF) store<u64>(CR2, load<u64>(FAULT_VA));
    if (attempt(v, c, HARDWARE, rip)) return;
    const next = load<i32>(FAULT);
    const nextCode = load<i32>(FAULT_CODE) & 0xffff;
    store<i32>(FAULT, -1);
    if (v == Vector.DF) {
      store<i32>(HALTED, 2);
      return;
    }
    const double =
      (contributory(v) && contributory(next)) ||
      (v == Vector.PF && (contributory(next) || next == Vector.PF));
    v = double ? Vector.DF : next;
    c = double ? 0 : nextCode;
  }
}

/** Descriptor of a code or stack selector for a return, or 0 with the fault recorded. */
export function descriptor(selector: i32, vector: i32): u64 {
  if (<u64>(selector | 7) > load<u64>(GDTR_LIMIT) || selector & 4) {
    fault(Vector.GP, selector & 0xfffc);
    return 0;
  }
  const d = systemRead<u64>(load<u64>(GDTR_BASE) + <u64>(selector & 0xfff8));
  if (load<i32>(FAULT) >= 0) return 0;
  if (!((d >> 47) & 1)) {
    fault(vector == Vector.GP ? Vector.NP : vector, selector & 0xfffc);
    return 0;
  }
  return d;
}

/** IRETQ. */
export function iret(up: usize): usize {
  if (load<u64>(EFL) & NT) return usize(fault(Vector.GP, 0));
  const sp = load<u64>(RSP);
  let p = reachStack<u64>(sp, 0);
  if (!p) return 0;
  const rip = load<u64>(p);
  p = reachStack<u64>(sp + 8, 0);
  if (!p) return 0;
  const cs = load<i32>(p) & 0xffff;
  p = reachStack<u64>(sp + 16, 0);
  if (!p) return 0;
  const flags = load<u64>(p);
  p = reachStack<u64>(sp + 24, 0);
  if (!p) return 0;
  const newSp = load<u64>(p);
  p = reachStack<u64>(sp + 32, 0);
  if (!p) return 0;
  const ss = load<i32>(p) & 0xffff;
  const oldCpl = load<i32>(CPL);
  const newCpl = cs & 3;
  if (!(cs & 0xfffc)) return usize(fault(Vector.GP, 0));
  if (newCpl < oldCpl) return usize(fault(Vector.GP, cs & 0xfffc));
  const d = descriptor(cs, Vector.GP);
  if (load<i32>(FAULT) >= 0) return 0;
  if (((d >> 43) & 3) != 3 || ((d >> 53) & 3) != 1) return usize(fault(Vector.GP, cs & 0xfffc));
  if ((d >> 42) & 1 ? ((<i32>(d >> 45)) & 3) > newCpl : ((<i32>(d >> 45)) & 3) != newCpl) {
    return usize(fault(Vector.GP, cs & 0xfffc));
  }
  if (!(ss & 0xfffc)) {
    if (newCpl == 3) return usize(fault(Vector.GP, 0));
  } else {
    const sd = descriptor(ss, Vector.SS);
    if (load<i32>(FAULT) >= 0) return 0;
    if ((ss & 3) != newCpl || ((<i32>(sd >> 45)) & 3) != newCpl || ((sd >> 41) & 0xd) != 9) {
      return usize(fault(Vector.GP, ss & 0xfffc));
    }
  }
  if (<u64>(((<i64>rip) << 16) >> 16) != rip) return usize(fault(Vector.GP, 0));

  store<u64>(RSP, sp + 40);
  rose(sp + 40);
  let mask = <u64>(ARITH | TF | DF | NT | RF | AC | ID);
  if (oldCpl == 0) mask |= IOPL | IF;
  else if (oldCpl <= <i32>((load<u64>(EFL) >> 12) & 3)) mask |= IF;
  setEfl(((load<u64>(EFL) & ~mask) | (flags & mask)) & ~(<u64>ARITH));
  setArithmetic(<i32>flags);
  store<u16>(SEG_CS, <u16>cs);
  store<u16>(SEG_SS, <u16>ss);
  store<i32>(CPL, newCpl);
  selectTlb();
  store<u64>(RSP, newSp);
  moved(rip);
  store<i32>(NMI_BLOCKED, 0);
  store<u64>(RIP, rip);
  return 0;
}

// Whether the last block ended with a software interrupt that was delivered: no single-step trap follows it.
let software: bool = false;

/**
 * INT n, INT3 and INT1. The delivery is part of the instruction: the next instruction is the return address, and when
 * it cannot be delivered the fault is that of the instruction, with nothing done.
 */
export function raise(up: usize, vector: i32): usize {
  if (attempt(vector, 0, SOFTWARE, nextRip(up))) software = true;
  return 0;
}

export function takeSoftware(): bool {
  const s = software;
  software = false;
  return s;
}

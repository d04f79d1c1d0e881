// Transfers through a selector: IRET, far returns, far calls and jumps, call gates. 64-bit mode only: there are no task
// gates, and a far call or return keeps what it needs on one stack unless it changes privilege.
// SDM Vol. 2: "IRET/IRETD/IRETQ", "RET", "CALL", "JMP"; Vol. 3A, "IA-32e Mode Call Gates".
// DIFFERS: compatibility mode is left out: a transfer to a code segment without L ends the run as unsupported.

import {
  AC,
  ARITH,
  CPL,
  DF,
  EFL,
  Exit,
  FAULT,
  FrameKind,
  ID,
  IF,
  IOPL,
  LAST,
  LAST_IRET,
  NMI_BLOCKED,
  NT,
  RF,
  RIP,
  RSP,
  SEG_CS,
  SEG_SS,
  TF,
  U_IMM,
  Vector,
} from "./abi";
import {
  descriptor,
  dplOf,
  isCode,
  isCode64,
  isConforming,
  isPresent,
  isStack,
  markAccessed,
  typeOf,
  upperHalf,
} from "./descriptor";
import { trackEntry } from "./cet";
import { setArithmetic } from "./flags";
import {
  canonical,
  put,
  reach,
  reachStack,
  selectTlb,
  setEfl,
  stackFaultWith,
  systemSlot,
  systemWrite,
} from "./mmu";
import { Memory } from "./operand";
import { moved, record, rose } from "./shadow";
import { leaveSegments } from "./segment";
import { exit, fault, leaveAt, nextRip, ripOf, the } from "./state";
import { tssStack } from "./trap";

const VIF_VIP: u64 = 0x180000;
const CALL_GATE: i32 = 12;

function gp(selector: i32): u64 {
  fault(Vector.GP, selector & 0xfffc);
  return 0;
}

/** Leaves before a transfer to compatibility mode, for the host to see. */
export function unsupported(up: usize, selector: i32): usize {
  exit(Exit.Unsupported, selector);
  leaveAt(up, ripOf(up), 0);
  return 0;
}

/** The code segment that a return names, checked. 0 with the fault. */
function returnSegment(cs: i32): u64 {
  const rpl = cs & 3;
  if (!(cs & 0xfffc)) return gp(0);
  const d = descriptor(cs, 0);
  if (load<i32>(FAULT) >= 0) return 0;
  if (!isCode(d) || rpl < load<i32>(CPL)) return gp(cs);
  if (isConforming(d) ? dplOf(d) > rpl : dplOf(d) != rpl) return gp(cs);
  if (!isPresent(d)) {
    fault(Vector.NP, cs & 0xfffc);
    return 0;
  }
  return d;
}

/** The stack segment of a return to privilege `rpl`. A null one will do below 3. False with the fault. */
function returnStack(ss: i32, rpl: i32): bool {
  if (!(ss & 0xfffc)) return rpl == 3 ? fault(Vector.GP, 0) : true;
  const d = descriptor(ss, 0);
  if (load<i32>(FAULT) >= 0) return false;
  if ((ss & 3) != rpl || !isStack(d) || dplOf(d) != rpl) return fault(Vector.GP, ss & 0xfffc);
  if (!isPresent(d)) return fault(Vector.SS, ss & 0xfffc);
  return markAccessed(ss, d);
}

/** Word `i` of the stack, or 0 when it cannot be read. */
function word<T>(i: u64): usize {
  return reachStack<T>(load<u64>(RSP) + i * sizeof<T>(), 0);
}

/** Enters a code segment at a privilege and, unless `sp` is the present one, a stack. */
function enter(cs: i32, rpl: i32, rip: u64): void {
  store<u16>(SEG_CS, <u16>((cs & 0xfffc) | rpl));
  store<i32>(CPL, rpl);
  selectTlb();
  store<u64>(RIP, rip);
}

/** A word of the operand size as the stack or a far pointer holds it. */
function zeroExtended<T>(p: usize): u64 {
  if (sizeof<T>() == 2) return <u64>load<u16>(p);
  return sizeof<T>() == 4 ? <u64>load<u32>(p) : load<u64>(p);
}

/** IRET, IRETD and IRETQ: in 64-bit mode all of them pop ss and rsp. */
export function iret<T>(up: usize): usize {
  // SDM Vol. 3A, "Handling Multiple NMIs": executing it unblocks, whether or not it gets through.
  store<i32>(NMI_BLOCKED, 0);
  if (load<u64>(EFL) & NT) return usize(fault(Vector.GP, 0));
  let p = word<T>(0);
  if (!p) return 0;
  const rip = zeroExtended<T>(p);
  p = word<T>(1);
  if (!p) return 0;
  const cs = (<i32>load<T>(p)) & 0xffff;
  p = word<T>(2);
  if (!p) return 0;
  const flags = zeroExtended<T>(p);
  p = word<T>(3);
  if (!p) return 0;
  const newSp = zeroExtended<T>(p);
  p = word<T>(4);
  if (!p) return 0;
  const ss = (<i32>load<T>(p)) & 0xffff;
  const oldCpl = load<i32>(CPL);
  const rpl = cs & 3;
  const d = returnSegment(cs);
  if (load<i32>(FAULT) >= 0) return 0;
  if (!isCode64(d)) return unsupported(up, cs);
  if (!returnStack(ss, rpl)) return 0;
  if (!canonical(rip)) return usize(fault(Vector.GP, 0));
  if (!markAccessed(cs, d)) return 0;

  const after = load<u64>(RSP) + 5 * sizeof<T>();
  store<u64>(RSP, after);
  rose(after);
  let mask = <u64>(ARITH | TF | DF | NT);
  if (sizeof<T>() > 2) mask |= RF | AC | ID;
  if (oldCpl == 0) mask |= sizeof<T>() > 2 ? IOPL | IF | VIF_VIP : IOPL | IF;
  else if (oldCpl <= <i32>((load<u64>(EFL) >> 12) & 3)) mask |= IF;
  setEfl(((load<u64>(EFL) & ~mask) | (flags & mask)) & ~(<u64>ARITH));
  setArithmetic(<i32>flags);
  store<u16>(SEG_SS, <u16>ss);
  enter(cs, rpl, rip);
  if (rpl > oldCpl) leaveSegments(rpl);
  store<u64>(RSP, newSp);
  moved(rip);
  store<u32>(LAST, load<u32>(LAST) | LAST_IRET);
  return 0;
}

/** RETF and RETF imm16. */
export function retFar<T>(up: usize): usize {
  return farReturn<T>(up, 0);
}
export function retFarPop<T>(up: usize): usize {
  return farReturn<T>(up, <u64>load<u16>(up, U_IMM));
}

function farReturn<T>(up: usize, extra: u64): usize {
  const first = word<T>(0);
  if (!first) return 0;
  const rip = <u64>load<T>(first);
  const second = word<T>(1);
  if (!second) return 0;
  const cs = (<i32>load<T>(second)) & 0xffff;
  const rpl = cs & 3;
  const d = returnSegment(cs);
  if (load<i32>(FAULT) >= 0) return 0;
  if (!isCode64(d)) return unsupported(up, cs);
  const sp = load<u64>(RSP) + 2 * sizeof<T>() + extra;
  if (rpl == load<i32>(CPL)) {
    if (!canonical(rip)) return usize(fault(Vector.GP, 0));
    if (!markAccessed(cs, d)) return 0;
    store<u64>(RSP, sp);
    rose(sp);
    enter(cs, rpl, rip);
    return 0;
  }
  const p = reachStack<T>(sp, 0);
  if (!p) return 0;
  const newSp = zeroExtended<T>(p);
  const q = reachStack<T>(sp + sizeof<T>(), 0);
  if (!q) return 0;
  const ss = (<i32>load<T>(q)) & 0xffff;
  if (!returnStack(ss, rpl)) return 0;
  if (!canonical(rip)) return usize(fault(Vector.GP, 0));
  if (!markAccessed(cs, d)) return 0;
  store<u64>(RSP, sp + 2 * sizeof<T>());
  rose(sp + 2 * sizeof<T>());
  store<u16>(SEG_SS, <u16>ss);
  enter(cs, rpl, rip);
  leaveSegments(rpl);
  store<u64>(RSP, newSp + extra);
  moved(rip);
  return 0;
}

/** The code segment of a call or jump that names it directly. 0 with the fault. */
function directSegment(cs: i32, d: u64): bool {
  const cpl = load<i32>(CPL);
  if (isConforming(d) ? dplOf(d) > cpl : (cs & 3) > cpl || dplOf(d) != cpl) {
    return fault(Vector.GP, cs & 0xfffc);
  }
  return isPresent(d) ? true : fault(Vector.NP, cs & 0xfffc);
}

/** Pushes cs and the return address as Ts. False with the fault, nothing written. */
function pushFar<T>(ret: u64): bool {
  const sp = load<u64>(RSP);
  if (!reachStack<T>(sp - sizeof<T>(), 1)) return false;
  if (!reachStack<T>(sp - 2 * sizeof<T>(), 1)) return false;
  put<T>(reachStack<T>(sp - sizeof<T>(), 1), <T>load<u16>(SEG_CS));
  put<T>(reachStack<T>(sp - 2 * sizeof<T>(), 1), <T>ret);
  store<u64>(RSP, sp - 2 * sizeof<T>());
  if (sizeof<T>() == 8) record(sp - 16, ret, FrameKind.Call);
  return true;
}

/** CALL and JMP through a far pointer in memory: offset, then selector. */
export function callFar<D extends Memory, T>(up: usize): usize {
  return farTransfer<D, T>(up, true);
}
export function jmpFar<D extends Memory, T>(up: usize): usize {
  return farTransfer<D, T>(up, false);
}

function farTransfer<D extends Memory, T>(up: usize, calls: bool): usize {
  const p = the<D>().at<T>(up, 0);
  if (!p) return 0;
  const rip = zeroExtended<T>(p);
  const q = reach<u16>(the<D>().vaFrom(up, sizeof<T>()), 0);
  if (!q) return 0;
  const cs = <i32>load<u16>(q);
  if (!(cs & 0xfffc)) return usize(fault(Vector.GP, 0));
  const d = descriptor(cs, 0);
  if (load<i32>(FAULT) >= 0) return 0;
  if (typeOf(d) == CALL_GATE) return throughGate(up, cs, d, calls);
  if (!isCode(d)) return usize(fault(Vector.GP, cs & 0xfffc));
  if (!directSegment(cs, d)) return 0;
  if (!isCode64(d)) return unsupported(up, cs);
  if (!canonical(rip)) return usize(fault(Vector.GP, 0));
  if (!markAccessed(cs, d)) return 0;
  if (calls && !pushFar<T>(nextRip(up))) return 0;
  enter(cs, load<i32>(CPL), rip);
  trackEntry();
  return 0;
}

/** A call gate of 16 bytes. A call through it may raise the privilege and takes the stack of the TSS then. */
function throughGate(up: usize, gate: i32, lo: u64, calls: bool): usize {
  const cpl = load<i32>(CPL);
  if (dplOf(lo) < cpl || (gate & 3) > dplOf(lo)) return usize(fault(Vector.GP, gate & 0xfffc));
  if (!isPresent(lo)) return usize(fault(Vector.NP, gate & 0xfffc));
  const hi = upperHalf(gate);
  if (load<i32>(FAULT) >= 0) return 0;
  if ((hi >> 40) & 0x1f) return usize(fault(Vector.GP, gate & 0xfffc));
  const cs = (<i32>(lo >> 16)) & 0xffff;
  if (!(cs & 0xfffc)) return usize(fault(Vector.GP, 0));
  const d = descriptor(cs, 0);
  if (load<i32>(FAULT) >= 0) return 0;
  if (!isCode64(d) || dplOf(d) > cpl) return usize(fault(Vector.GP, cs & 0xfffc));
  if (!calls && !isConforming(d) && dplOf(d) != cpl) return usize(fault(Vector.GP, cs & 0xfffc));
  if (!isPresent(d)) return usize(fault(Vector.NP, cs & 0xfffc));
  const rip = ((lo >> 48) << 16) | (lo & 0xffff) | (hi << 32);
  const ret = nextRip(up);
  if (!calls || isConforming(d) || dplOf(d) == cpl) {
    if (!canonical(rip)) return usize(fault(Vector.GP, 0));
    if (!markAccessed(cs, d)) return 0;
    if (calls && !pushFar<u64>(ret)) return 0;
    enter(cs, cpl, rip);
    trackEntry();
    return 0;
  }
  const dpl = dplOf(d);
  const sp = tssStack(4 + (dpl << 3), 0);
  if (load<i32>(FAULT) >= 0) return 0;
  systemSlot(sp - 32);
  if (load<i32>(FAULT) < 0) systemSlot(sp - 1);
  if (load<i32>(FAULT) >= 0) {
    stackFaultWith(0);
    return 0;
  }
  if (!canonical(rip)) return usize(fault(Vector.GP, 0));
  if (!markAccessed(cs, d)) return 0;
  const oldSp = load<u64>(RSP);
  const oldCs = load<u16>(SEG_CS);
  const oldSs = load<u16>(SEG_SS);
  enter(cs, dpl, rip);
  trackEntry();
  store<u16>(SEG_SS, <u16>dpl);
  store<u64>(RSP, sp);
  moved(ret);
  systemWrite(sp - 8, <u64>oldSs);
  systemWrite(sp - 16, oldSp);
  systemWrite(sp - 24, <u64>oldCs);
  systemWrite(sp - 32, ret);
  store<u64>(RSP, sp - 32);
  record(sp - 32, ret, cpl == 3 ? FrameKind.User : FrameKind.Interrupt);
  return 0;
}

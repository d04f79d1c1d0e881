// The life of a vCPU between the host and the interpreter: what is delivered before the next instruction and behind the
// last one, waiting, and the instructions that have to be executed one by one because a breakpoint, a single step or
// the resume flag looks at each of them. SDM Vol. 3A, "Priority Among Concurrent Events"; Vol. 3B, "Debug Exceptions".

import {
  CAREFUL,
  CAREFUL_CODE,
  CPL,
  CR2,
  CURRENT,
  DB_PENDING,
  DR0,
  EFL,
  EXIT,
  Exit,
  FAULT,
  FAULT_CODE,
  FS_BASE,
  GS_BASE,
  HALTED,
  IF,
  INT_SHADOW,
  LAST,
  LAST_IRET,
  LAST_SOFTWARE,
  LAST_STEPPED,
  LAST_SYSCALL,
  LDTR_BASE,
  LDTR_LIMIT,
  NMI_BLOCKED,
  P_DEADLINE,
  P_INIT,
  P_NMI,
  P_SIPI,
  RAX,
  RDX,
  RF,
  RIP,
  SEG_CS,
  SEG_ES,
  SEG_SS,
  SHADOW_ALONE,
  SHADOW_REP,
  SHADOW_SS,
  SHADOW_STI,
  TF,
  TIME,
  TR_BASE,
  TR_LIMIT,
  Vector,
} from "./abi";
import { accept, apicOf, fireTimer, pending, resetApic } from "./apic";
import { breakpointsAt, debugChanged, DR6, DR6_BS } from "./debug";
import { setArithmetic } from "./flags";
import { flushTlb, selectTlb, setEfl } from "./mmu";
import { moved } from "./shadow";
import { chunk, one } from "./run";
import { deliver, EVENT, FAULTED } from "./trap";

const SHADOWS: i32 = SHADOW_STI | SHADOW_SS;

/** A unit of time that no instruction retired in. */
function pass(): void {
  store<u64>(TIME, load<u64>(TIME) + 1);
}

/** Whether the instruction that was begun did not come to its end and nothing went wrong: a watch stopped it. */
function stopped(): bool {
  const e = load<u32>(EXIT);
  return e == Exit.Stop || e == Exit.LogFull || e == Exit.Unsupported;
}

/** Delivers the fault that is pending. */
function deliverFault(): void {
  deliver(load<i32>(FAULT), load<i32>(FAULT_CODE), load<u64>(RIP), FAULTED);
  pass();
}

/** Whether an event comes before the next instruction; it is delivered then. */
function interrupted(apic: usize): bool {
  const shadow = load<i32>(INT_SHADOW);
  let vector = -1;
  if (load<u32>(apic, P_NMI) && !load<i32>(NMI_BLOCKED) && !(shadow & SHADOW_SS)) {
    store<u32>(apic, 0, P_NMI);
    vector = Vector.NMI;
  } else if (load<u64>(EFL) & IF && !(shadow & SHADOWS)) {
    vector = pending(apic);
    if (vector >= 0) accept(apic, vector);
  }
  if (vector < 0) return false;
  deliver(vector, 0, load<u64>(RIP), EVENT);
  pass();
  return true;
}

/**
 * Executes one instruction with everything that may look at it. Answers the time it took: always one unit, but none
 * when a watch stopped it.
 */
function alone(): i64 {
  const shadow = load<i32>(INT_SHADOW);
  const efl = load<u64>(EFL);
  if (load<u32>(CAREFUL) & CAREFUL_CODE && !(efl & RF) && !(shadow & SHADOW_SS)) {
    const hits = breakpointsAt(load<u64>(RIP));
    if (hits) {
      store<u64>(DR6, load<u64>(DR6) | (<u64>hits));
      deliver(Vector.DB, 0, load<u64>(RIP), EVENT);
      pass();
      return 1;
    }
  }
  store<i32>(INT_SHADOW, 0);
  store<u32>(LAST, 0);
  const held = load<u32>(DB_PENDING);
  const used = one();
  if (load<i32>(FAULT) >= 0) {
    store<u32>(DB_PENDING, 0);
    deliverFault();
    return 1;
  }
  if (stopped()) {
    store<i32>(INT_SHADOW, shadow);
    store<u32>(DB_PENDING, held);
    return 0;
  }
  const last = load<u32>(LAST);
  const between = load<i32>(INT_SHADOW) == SHADOW_REP;
  if (used == 0) pass();
  if (efl & RF && !between && !(last & LAST_IRET)) store<u64>(EFL, load<u64>(EFL) & ~(<u64>RF));
  // MOV to SS holds debug traps back until the next instruction is done.
  if (load<i32>(INT_SHADOW) & SHADOW_SS) return 1;
  let hits = <u64>load<u32>(DB_PENDING);
  const stepped = last & LAST_SYSCALL ? load<u64>(EFL) : efl;
  if (stepped & TF && !(last & LAST_SOFTWARE)) hits |= DR6_BS;
  if (hits) {
    store<u32>(DB_PENDING, 0);
    store<u64>(DR6, load<u64>(DR6) | hits);
    deliver(Vector.DB, 0, load<u64>(RIP), EVENT);
  }
  return 1;
}

/**
 * INIT: the vCPU stops where it is and waits for a start-up IPI, with the registers that the SDM's table has for INIT.
 * Floating-point state, MSRs and the TSC stay. SDM Vol. 3A, "Processor State After Reset", "MP Initialization".
 */
function initialize(apic: usize): void {
  memory.fill(RAX, 0, 128);
  store<u64>(RDX, 0x000106a0);
  setEfl(0);
  setArithmetic(0);
  store<i32>(CPL, 0);
  memory.fill(DR0, 0, 64);
  store<u64>(DR6, 0xffff0ff0);
  store<u64>(DR0 + 56, 0x400);
  debugChanged();
  store<u64>(CR2, 0);
  memory.fill(SEG_ES, 0, 16);
  store<u64>(FS_BASE, 0);
  store<u64>(GS_BASE, 0);
  store<u64>(TR_BASE, 0);
  store<u64>(TR_LIMIT, 0xffff);
  store<u64>(LDTR_BASE, 0);
  store<u64>(LDTR_LIMIT, 0xffff);
  store<i32>(INT_SHADOW, 0);
  store<i32>(NMI_BLOCKED, 0);
  store<u32>(DB_PENDING, 0);
  const sipi = load<u32>(apic, P_SIPI); // one that came behind the INIT
  resetApic(load<u32>(CURRENT));
  store<u32>(apic, sipi, P_SIPI);
  store<i32>(HALTED, 3);
  moved(0);
}

/** The start-up IPI: 64-bit mode, ring 0, interrupts off, at the page that the vector names. */
function start(apic: usize): void {
  store<u64>(RIP, (<u64>(load<u32>(apic, P_SIPI) & 0xff)) << 12);
  store<u32>(apic, 0, P_SIPI);
  store<u16>(SEG_CS, 0x10);
  store<u16>(SEG_SS, 0x18);
  store<i32>(HALTED, 0);
  selectTlb();
  flushTlb(load<i32>(CURRENT));
}

/**
 * Lets the active vCPU live for `n` units of time: instructions, deliveries of events, iterations of a long REP, or
 * waiting in HLT. Ends early with an Exit for the host. Answers how much time was used.
 */
export function run(n: i64): i64 {
  let left = n;
  store<u32>(EXIT, Exit.None);
  const apic = apicOf(load<u32>(CURRENT));
  while (left > 0) {
    if (load<u32>(apic, P_INIT)) initialize(apic);
    if (load<i32>(HALTED) == 2) {
      store<u32>(EXIT, Exit.Shutdown);
      break;
    }
    while (load<u64>(apic, P_DEADLINE) <= load<u64>(TIME)) fireTimer(apic);
    if (load<i32>(HALTED) == 3) {
      if (!load<u32>(apic, P_SIPI)) {
        store<u64>(TIME, load<u64>(TIME) + <u64>left);
        left = 0;
        store<u32>(EXIT, Exit.Halt);
        break;
      }
      start(apic);
    }
    if (interrupted(apic)) {
      left--;
      continue;
    }
    const due = load<u64>(apic, P_DEADLINE) - load<u64>(TIME);
    let most = <u64>left < due ? left : <i64>due;
    if (load<i32>(HALTED) == 1) {
      store<u64>(TIME, load<u64>(TIME) + <u64>most);
      left -= most;
      if (left <= 0) store<u32>(EXIT, Exit.Halt);
      continue;
    }
    const shadow = load<i32>(INT_SHADOW);
    if (load<u64>(EFL) & (<u64>(TF | RF)) || load<u32>(CAREFUL) || shadow & SHADOW_ALONE) {
      left -= alone();
    } else {
      if (shadow & SHADOWS) most = 1;
      store<i32>(INT_SHADOW, 0);
      store<u32>(LAST, 0);
      const used = chunk(most);
      left -= used;
      if (load<i32>(FAULT) >= 0) {
        deliverFault();
        left--;
      } else if (stopped()) {
        if (used == 0) store<i32>(INT_SHADOW, shadow);
      } else if (load<u32>(LAST) & LAST_STEPPED) {
        store<u64>(DR6, load<u64>(DR6) | DR6_BS);
        deliver(Vector.DB, 0, load<u64>(RIP), EVENT);
      } else if (load<i32>(INT_SHADOW) == SHADOW_REP) {
        pass();
        left--;
      } else if (load<i32>(INT_SHADOW) == SHADOW_ALONE) {
        // The instruction was given up before its first effect; what it stood in the shadow of still holds.
        if (used == 0) store<i32>(INT_SHADOW, SHADOW_ALONE | shadow);
      }
    }
    if (load<u32>(EXIT)) break;
  }
  return n - left;
}

// The door of the core: what the host may call. Everything else it reads and writes in the memory, at the addresses
// of abi.ts. Nothing here throws; a mistake of ours ends in `unreachable`.

import {
  ARENA,
  ARENA_NEXT,
  BLOCK_HEADER,
  CAREFUL,
  CAREFUL_TLB,
  CPU,
  CR0,
  CR3,
  CR4,
  CURRENT,
  DR0,
  EFER,
  FAULT,
  FPU,
  MSR_APIC_BASE,
  MSR_MISC,
  MSR_PAT,
  MXCSR,
  NR_VCPUS,
  P_DEADLINE,
  SAVE,
  SCRATCH,
  SEG_CS,
  SEG_SS,
  STK_TOP_VA,
  SYS,
  SYS_SIZE,
  TIME,
  U_IMM,
  U_OP,
  VCPU_SIZE,
} from "./abi";
import { dropPages } from "./adversary-tlb";
import { debugChanged } from "./debug";
import { apicOf, NEVER, resetApic } from "./apic";
import { flushCode } from "./block";
import { PAST_LIMIT, decode, servedBy } from "./decode";
import { UOP_FAULTY } from "./ids";
import { flushTlb, hostWrite, makeNoTlb, peekPa, selectTlb } from "./mmu";
import { hot } from "../build/dispatch";
import { run } from "./events";
import { MTRR_DEF } from "./msr";
import { hash, snapBack, snapBase, snapPage } from "./snapshot";
import { arithmetic, setArithmetic } from "./flags";
import { forgetStop, watchChanged } from "./watch";
import { touch } from "./pages";

export {
  arithmetic,
  flushCode,
  hash,
  hostWrite,
  hot,
  peekPa,
  run,
  setArithmetic,
  snapBack,
  snapBase,
  snapPage,
  touch,
  watchChanged,
};

/**
 * Decodes the instruction at wasm address `p`, of which `limit` bytes are at hand, as the active vCPU would, and executes
 * nothing: its length, with the vector that it raises because of what its bytes are, plus one, in bits 8 and up; -1 when
 * it goes on behind the limit.
 */
export function decodeLength(p: usize, limit: i32): i32 {
  const up: usize = SCRATCH + BLOCK_HEADER;
  const n = decode(p, limit, 0, up);
  if (n == PAST_LIMIT || load<u16>(up, U_OP) != UOP_FAULTY) return n;
  return n | ((load<i32>(up, U_IMM) + 1) << 8);
}

/** The row of the instruction table that served the last decodeLength, 0 when none did. */
export function decodedRow(): i32 {
  return servedBy();
}

/** As run, for counts that fit into 32 bits, which cross the border faster. */
export function runShort(n: i32): i32 {
  return <i32>run(<i64>n);
}

/** Makes vCPU `v` the active one. */
export function activate(v: u32): void {
  const old = load<u32>(CURRENT);
  if (old == v) return;
  memory.copy(SAVE + old * VCPU_SIZE, CPU, VCPU_SIZE);
  memory.copy(CPU, SAVE + v * VCPU_SIZE, VCPU_SIZE);
  store<u32>(CURRENT, v);
}

/** All vCPUs as the loader hands them to the kernel: long mode, ring 0, interrupts off. RIP and CR3 are the host's. */
export function reset(n: u32): void {
  store<u32>(NR_VCPUS, n);
  store<u32>(ARENA_NEXT, ARENA);
  store<i32>(FAULT, -1);
  makeNoTlb();
  flushCode();
  for (let v: u32 = 0; v < n; v++) {
    store<u32>(CURRENT, v);
    memory.fill(CPU, 0, VCPU_SIZE);
    store<u64>(CR0, 0x80050033);
    store<u64>(CR4, 0xa0);
    store<u64>(EFER, 0xd01);
    store<u16>(SEG_CS, 0x10);
    store<u16>(SEG_SS, 0x18);
    store<u64>(MSR_APIC_BASE, 0xfee00c00 | (v == 0 ? 0x100 : 0));
    store<u64>(MSR_PAT, 0x0007040600070406);
    store<u64>(MSR_MISC, 0x1801); // fast strings; no branch trace, no PEBS
    memory.fill(SYS + v * SYS_SIZE, 0, SYS_SIZE);
    store<u64>(SYS + v * SYS_SIZE + MTRR_DEF, 0xc06); // on, write-back
    store<u64>(DR0 + 48, 0xffff0ff0);
    store<u64>(DR0 + 56, 0x400);
    store<u32>(MXCSR, 0x1f80);
    store<u16>(FPU, 0x37f);
    store<u64>(STK_TOP_VA, ~(<u64>0));
    selectTlb();
    flushTlb(v);
    resetApic(v);
    memory.copy(SAVE + v * VCPU_SIZE, CPU, VCPU_SIZE);
  }
  store<u32>(CURRENT, 0);
  memory.copy(CPU, SAVE, VCPU_SIZE);
}

/** After the host changed privilege, control or debug registers, or page tables. */
export function refresh(): void {
  if (load<u32>(CAREFUL) & CAREFUL_TLB) dropPages(true);
  selectTlb();
  flushTlb(load<u32>(CURRENT));
  debugChanged();
}

/** Time to the earliest timer of any vCPU as seen from its own clock; all ones when none is armed. */
export function untilTimer(): u64 {
  let least = NEVER;
  for (let v: u32 = 0; v < load<u32>(NR_VCPUS); v++) {
    const at = load<u64>(apicOf(v), P_DEADLINE);
    if (at == NEVER) continue;
    const now = load<u64>((v == load<u32>(CURRENT) ? CPU : SAVE + v * VCPU_SIZE) + (TIME - CPU));
    const d = at > now ? at - now : 0;
    if (d < least) least = d;
  }
  return least;
}

/** After a snapshot was put back. */
export function restored(): void {
  forgetStop();
}

// Model-specific registers: the set that a kernel touches while it boots, each with the bits that it has; any other, and
// any reserved bit, is #GP. SDM Vol. 4, "IA-32 Architectural MSRs"; Vol. 3A, "Memory Type Range Registers (MTRRs)".

import {
  CSTAR,
  CURRENT,
  EFER,
  FS_BASE,
  GS_BASE,
  KERNEL_GS_BASE,
  LAST,
  LAST_SERIALIZED,
  LSTAR,
  MSR_APIC_BASE,
  MSR_MISC,
  MSR_PAT,
  P_TSC_DEADLINE,
  RAX,
  RCX,
  RDX,
  RIP,
  SFMASK,
  STAR,
  SYS,
  SYS_SIZE,
  TSC_ADJUST,
  TSC_AUX,
  Vector,
} from "./abi";
import { apicOf, apicRead, apicWrite, NEVER, resetApic, setTscDeadline, tscChanged } from "./apic";
import { cetCell, cetLegal } from "./cet";
import { canonical, flushTlb } from "./mmu";
import { fault, nextRip, timeAt } from "./state";

// In SYS.
const MTRR_VAR: u32 = 0; // eight pairs of base and mask
const MTRR_FIX: u32 = 128; // eleven
export const MTRR_DEF: u32 = 216;
const SYSENTER: u32 = 224; // cs, esp, eip
const MCG_STATUS: u32 = 248;

const PHYSICAL: u64 = 0xffffffffff; // MAXPHYADDR is 40
const BASE_BSP: u64 = 0x100;
const BASE_EXTENDED: u64 = 0x400;
const BASE_ENABLED: u64 = 0x800;

function sysCell(at: u32): usize {
  return SYS + load<u32>(CURRENT) * SYS_SIZE + at;
}

/** Where an MSR that is plain storage lies, or 0. */
function msrCell(n: u32): usize {
  if (n == 0xc0000080) return EFER;
  if (n == 0xc0000081) return STAR;
  if (n == 0xc0000082) return LSTAR;
  if (n == 0xc0000083) return CSTAR;
  if (n == 0xc0000084) return SFMASK;
  if (n == 0xc0000100) return FS_BASE;
  if (n == 0xc0000101) return GS_BASE;
  if (n == 0xc0000102) return KERNEL_GS_BASE;
  if (n == 0xc0000103) return TSC_AUX;
  if (n == 0x1b) return MSR_APIC_BASE;
  if (n == 0x277) return MSR_PAT;
  if (n == 0x1a0) return MSR_MISC;
  if (n >= 0x200 && n <= 0x20f) return sysCell(MTRR_VAR + ((n - 0x200) << 3));
  if (n == 0x250) return sysCell(MTRR_FIX);
  if (n == 0x258 || n == 0x259) return sysCell(MTRR_FIX + 8 + ((n - 0x258) << 3));
  if (n >= 0x268 && n <= 0x26f) return sysCell(MTRR_FIX + 24 + ((n - 0x268) << 3));
  if (n == 0x2ff) return sysCell(MTRR_DEF);
  if (n >= 0x174 && n <= 0x176) return sysCell(SYSENTER + ((n - 0x174) << 3));
  if (n == 0x17a) return sysCell(MCG_STATUS);
  return cetCell(n);
}

/** Registers that answer the same always; NEVER for all others. */
function constant(n: u32): u64 {
  if (n == 0x17) return 0; // IA32_PLATFORM_ID
  if (n == 0x3a) return 1; // IA32_FEATURE_CONTROL: locked, nothing enabled
  if (n == 0x8b) return 0; // IA32_BIOS_SIGN_ID: no microcode update
  if (n == 0xfe) return 0x508; // IA32_MTRRCAP: eight ranges, fixed ranges, WC
  if (n == 0x179) return 0; // IA32_MCG_CAP: no banks
  return n == 0x1d9 ? 0 : NEVER; // IA32_DEBUGCTL: no branch records
}

export function rdmsr(up: usize): bool {
  const n = load<u32>(RCX);
  let v = constant(n);
  const cell = msrCell(n);
  if (cell) v = load<u64>(cell);
  else if (n == 0x10) v = timeAt(up) + load<u64>(TSC_ADJUST);
  else if (n == 0x3b) v = load<u64>(TSC_ADJUST);
  else if (n == 0x6e0) v = load<u64>(apicOf(load<u32>(CURRENT)), P_TSC_DEADLINE);
  else if (n >= 0x800 && n < 0x900) {
    if (!extended()) return fault(Vector.GP, 0);
    v = apicRead(apicOf(load<u32>(CURRENT)), n - 0x800, timeAt(up), true);
  }
  if (v == NEVER && !cell && n != 0x3b && n != 0x10) return fault(Vector.GP, 0);
  store<u64>(RAX, v & 0xffffffff);
  store<u64>(RDX, v >> 32);
  return true;
}

function extended(): bool {
  return (load<u64>(MSR_APIC_BASE) & BASE_EXTENDED) != 0;
}

/** Whether each byte is a memory type; 7, UC-, is one of the PAT's only. */
function areTypes(v: u64, pat: bool): bool {
  for (let i = 0; i < 8; i++) {
    const t = (<u32>(v >> (i << 3))) & 0xff;
    if (t == 2 || t == 3 || t > (pat ? <u32>7 : 6)) return false;
  }
  return true;
}

/** IA32_APIC_BASE: between xAPIC and x2APIC mode only the ways that the SDM's figure of states has. */
function setApicBase(v: u64): bool {
  const old = load<u64>(MSR_APIC_BASE);
  const both = BASE_ENABLED | BASE_EXTENDED;
  if (v & ~(PHYSICAL & ~(<u64>0x2ff))) return false;
  if ((v & both) == BASE_EXTENDED) return false;
  if ((old & both) == both && (v & both) == BASE_ENABLED) return false;
  if (!(old & both) && (v & both) == both) return false;
  store<u64>(MSR_APIC_BASE, (v & ~BASE_BSP) | (old & BASE_BSP));
  if (old & BASE_ENABLED && !(v & BASE_ENABLED)) resetApic(load<u32>(CURRENT));
  return true;
}

/** Whether `v` may be written to the plain register `n`. */
function mayHold(n: u32, v: u64): bool {
  if (n == 0xc0000082 || n == 0xc0000083 || (n >= 0xc0000100 && n <= 0xc0000102)) {
    return canonical(v);
  }
  if (n == 0x175 || n == 0x176) return canonical(v);
  if (n == 0xc0000084 || n == 0xc0000103 || n == 0x174) return v >> 32 == 0;
  if (n == 0x277) return areTypes(v, true);
  if (n == 0x1a0) return !(v & ~(<u64>0x400c51889));
  if (n >= 0x200 && n <= 0x20f) {
    if (n & 1) return !(v & ~(PHYSICAL & ~(<u64>0x7ff)));
    return !(v & ~(PHYSICAL & ~(<u64>0xf00))) && areTypes(v & 0xff, false);
  }
  if (n == 0x2ff) return !(v & ~(<u64>0xcff)) && areTypes(v & 0xff, false);
  if (n >= 0x250 && n <= 0x26f) return areTypes(v, false);
  return n == 0x17a ? !(v & ~(<u64>7)) : true;
}

function setEfer(v: u64): bool {
  // SCE, LME, NXE can be written; LMA is the CPU's; long mode stays.
  if (v & ~(<u64>0xd01) || !(v & 0x100)) return false;
  store<u64>(EFER, v | 0x400);
  flushTlb(load<i32>(CURRENT));
  return true;
}

function write(up: usize, n: u32, v: u64): bool {
  const cell = msrCell(n);
  if (cell == EFER) return setEfer(v);
  if (cell == MSR_APIC_BASE) return setApicBase(v);
  if (cell) {
    if (!mayHold(n, v) || (cetCell(n) && !cetLegal(v))) return false;
    store<u64>(cell, v);
  } else if (n == 0x10 || n == 0x3b) {
    store<u64>(TSC_ADJUST, n == 0x10 ? v - timeAt(up) : v);
    tscChanged();
  } else if (n == 0x6e0) setTscDeadline(v);
  else if (n >= 0x800 && n < 0x900) {
    return extended() && apicWrite(apicOf(load<u32>(CURRENT)), n - 0x800, v, timeAt(up), true);
  } else if (n == 0x1d9) return v == 0;
  else return n == 0x8b || n == 0x79; // a microcode update is taken and changes nothing
  return true;
}

/** WRMSR ends its block: an IPI to oneself or an earlier timer may follow at once. */
export function wrmsr(up: usize): usize {
  const v = (load<u64>(RDX) << 32) | (load<u64>(RAX) & 0xffffffff);
  if (!write(up, load<u32>(RCX), v)) return usize(fault(Vector.GP, 0));
  // SDM Vol. 2, "WRMSR": it serializes, but for the x2APIC's registers and the TSC deadline.
  const n = load<u32>(RCX);
  if (n != 0x6e0 && (n < 0x800 || n > 0x8ff)) store<u32>(LAST, load<u32>(LAST) | LAST_SERIALIZED);
  store<u64>(RIP, nextRip(up));
  return 0;
}

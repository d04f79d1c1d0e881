// Privileged and system instructions. Those that change how the next instruction is fetched or whether an interrupt
// may come end their block (they answer 0 with RIP set). SDM Vol. 2 and Vol. 4, "Model-Specific Registers".

import {
  AC,
  ARITH,
  CPL,
  CR0,
  CR2,
  CR3,
  CR4,
  CSTAR,
  CURRENT,
  DR0,
  EFER,
  EFL,
  Exit,
  FAULT,
  FS_BASE,
  GDTR_BASE,
  GDTR_LIMIT,
  GS_BASE,
  HALTED,
  IDTR_BASE,
  IDTR_LIMIT,
  IF,
  INT_SHADOW,
  IOPL,
  KERNEL_GS_BASE,
  LSTAR,
  MISC_REP,
  MSR_APIC_BASE,
  MSR_MISC,
  MSR_PAT,
  P_TPR,
  P_TSC_DEADLINE,
  R11,
  RAX,
  RBX,
  RCX,
  RDX,
  RF,
  RIP,
  RSP,
  SEG_CS,
  SEG_ES,
  SEG_LDTR,
  SEG_SS,
  SEG_TR,
  SFMASK,
  STAR,
  TR_BASE,
  TR_LIMIT,
  TSC_ADJUST,
  TSC_AUX,
  U_A,
  U_B,
  U_IMM,
  U_LEN,
  U_MISC,
  Vector,
} from "./abi";
import { apicOf, apicRead, apicWrite, NEVER, setTscDeadline } from "./apic";
import { rflags, setArithmetic } from "./flags";
import { flushTlb, reach, selectTlb, setEfl } from "./mmu";
import { Memory, Operand } from "./operand";
import { moved } from "./shadow";
import { exit, fault, nextRip, the, timeAt } from "./state";
import { descriptor, raise } from "./trap";

function next(up: usize): usize {
  store<u64>(RIP, nextRip(up));
  return 0;
}

export function undefined_(up: usize): usize {
  return usize(fault(Vector.UD, 0));
}

/** A record that cannot be executed because of what its bytes are: U_IMM holds the vector, always with code 0. */
export function faulty(up: usize): usize {
  return usize(fault(<i32>load<u8>(up, U_IMM), 0));
}

/** VMCALL: from ring 0 to the host; elsewhere what it is without VMX. */
export function vmcall(up: usize): usize {
  if (load<i32>(CPL)) return usize(fault(Vector.UD, 0));
  exit(Exit.Vmcall, 0);
  return next(up);
}

export function hlt(up: usize): usize {
  store<i32>(HALTED, 1);
  return next(up);
}

function mayIo(): bool {
  return load<i32>(CPL) <= <i32>((load<u64>(EFL) >> 12) & 3);
}

export function cli(up: usize): usize {
  if (!mayIo()) return usize(fault(Vector.GP, 0));
  store<u64>(EFL, load<u64>(EFL) & ~(<u64>IF));
  return next(up);
}

export function sti(up: usize): usize {
  if (!mayIo()) return usize(fault(Vector.GP, 0));
  if (!(load<u64>(EFL) & IF)) store<i32>(INT_SHADOW, 1);
  store<u64>(EFL, load<u64>(EFL) | IF);
  return next(up);
}

/** STAC and CLAC. */
export function acFlag<F extends Stac>(up: usize): usize {
  if (load<i32>(CPL)) return usize(fault(Vector.UD, 0));
  const v = load<u64>(EFL);
  setEfl(the<F>().on() ? v | (<u64>AC) : v & ~(<u64>AC));
  return next(up);
}
@unmanaged
export class Stac {
  on(): bool {
    return true;
  }
}
@unmanaged
export class Clac {
  on(): bool {
    return false;
  }
}

export function intN(up: usize): usize {
  return raise(up, <i32>load<u8>(up, U_IMM));
}

export function int3(up: usize): usize {
  return raise(up, Vector.BP);
}

export function syscall(up: usize): usize {
  if (!(load<u64>(EFER) & 1)) return usize(fault(Vector.UD, 0));
  const flags = rflags();
  store<u64>(RCX, nextRip(up));
  store<u64>(R11, flags & ~(<u64>RF));
  store<u64>(RIP, load<u64>(LSTAR));
  const f = flags & ~load<u64>(SFMASK) & ~(<u64>RF);
  setEfl(f & ~(<u64>ARITH));
  setArithmetic(<i32>f);
  const cs = (<u16>(load<u64>(STAR) >> 32)) & 0xfffc;
  store<u16>(SEG_CS, cs);
  store<u16>(SEG_SS, cs + 8);
  store<i32>(CPL, 0);
  selectTlb();
  return 0;
}

export function sysret(up: usize): usize {
  if (!(load<u64>(EFER) & 1)) return usize(fault(Vector.UD, 0));
  const rip = load<u64>(RCX);
  if (<u64>(((<i64>rip) << 16) >> 16) != rip) return usize(fault(Vector.GP, 0));
  const f = load<u64>(R11) & 0x3c7fd7;
  setEfl(f & ~(<u64>ARITH));
  setArithmetic(<i32>f);
  const cs = <u16>(load<u64>(STAR) >> 48);
  store<u16>(SEG_CS, (cs + 16) | 3);
  store<u16>(SEG_SS, (cs + 8) | 3);
  store<i32>(CPL, 3);
  selectTlb();
  store<u64>(RIP, rip);
  return 0;
}

export function swapgs(up: usize): bool {
  const g = load<u64>(GS_BASE);
  store<u64>(GS_BASE, load<u64>(KERNEL_GS_BASE));
  store<u64>(KERNEL_GS_BASE, g);
  return true;
}

/** LGDT and LIDT; LIDT's register lies 16 bytes after LGDT's. */
export function loadTable<F extends Gdt, D extends Memory>(up: usize): bool {
  const va = the<D>().va(up);
  let p = reach<u16>(va, 0);
  if (!p) return false;
  const limit = load<u16>(p);
  p = reach<u64>(va + 2, 0);
  if (!p) return false;
  store<u64>(GDTR_BASE + the<F>().at(), load<u64>(p));
  store<u64>(GDTR_LIMIT + the<F>().at(), <u64>limit);
  return true;
}
export function storeTable<F extends Gdt, D extends Memory>(up: usize): bool {
  const va = the<D>().va(up);
  if (!reach<u16>(va, 1) || !reach<u64>(va + 2, 1)) return false;
  the<D>().put<u16>(reach<u16>(va, 1), <i64>load<u64>(GDTR_LIMIT + the<F>().at()));
  the<D>().put<u64>(reach<u64>(va + 2, 1), load<i64>(GDTR_BASE + the<F>().at()));
  return true;
}
@unmanaged
export class Gdt {
  at(): i32 {
    return 0;
  }
}
@unmanaged
export class Idt {
  at(): i32 {
    return 16;
  }
}

export function ltr<S extends Operand, T>(up: usize): bool {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  const sel = (<i32>the<S>().get<T>(up, s)) & 0xffff;
  if (!(sel & 0xfffc)) return fault(Vector.GP, 0);
  const d = descriptor(sel, Vector.GP);
  if (load<i32>(FAULT) >= 0) return false;
  const type = (<i32>(d >> 40)) & 0x1f;
  if (type != 9) return fault(Vector.GP, sel & 0xfffc);
  const hi = reach<u64>(load<u64>(GDTR_BASE) + <u64>(sel & 0xfff8) + 8, 0);
  if (!hi) return false;
  const base = ((d >> 16) & 0xffffff) | (((d >> 56) & 0xff) << 24) | (load<u64>(hi) << 32);
  const busy = reach<u8>(load<u64>(GDTR_BASE) + <u64>(sel & 0xfff8) + 5, 1);
  if (!busy) return false;
  store<u8>(busy, load<u8>(busy) | 2);
  store<u64>(TR_BASE, base);
  store<u64>(TR_LIMIT, (d & 0xffff) | ((d >> 32) & 0xf0000));
  store<u16>(SEG_TR, <u16>sel);
  return true;
}

export function lldt<S extends Operand, T>(up: usize): bool {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  const sel = (<i32>the<S>().get<T>(up, s)) & 0xffff;
  // DIFFERS: no local descriptor table; only the null selector is accepted.
  if (sel & 0xfffc) return fault(Vector.GP, sel & 0xfffc);
  store<u16>(SEG_LDTR, <u16>sel);
  return true;
}

/** STR and SLDT. */
export function storeSelector<F extends Tr, D extends Operand, T>(up: usize): bool {
  return putSelector<D, T>(up, <i64>load<u16>(SEG_ES + the<F>().at()));
}

/** A selector goes to memory as 16 bits, to a register zero-extended. */
export function putSelector<D extends Operand, T>(up: usize, v: i64): bool {
  if (!the<D>().mem()) {
    the<D>().put<T>(the<D>().at<T>(up, 1), v);
    return true;
  }
  const p = the<D>().at<u16>(up, 1);
  if (!p) return false;
  the<D>().put<u16>(p, v);
  return true;
}
@unmanaged
export class Tr {
  at(): i32 {
    return 12;
  }
}
@unmanaged
export class Ldtr {
  at(): i32 {
    return 14;
  }
}

/** MOV from a segment register: a memory destination takes 16 bits. */
export function movFromSeg<D extends Operand, T>(up: usize): bool {
  if ((load<u16>(up, U_B) & 7) > 5) return fault(Vector.UD, 0);
  return putSelector<D, T>(up, <i64>load<u16>(SEG_ES + ((load<u16>(up, U_B) & 7) << 1)));
}

/**
 * Loads segment register `n`. In 64-bit mode only FS and GS take a base from their descriptor. False with the fault
 * recorded when the selector may not be loaded.
 */
export function loadSegment(n: i32, sel: i32): bool {
  let base: u64 = 0;
  if (sel & 0xfffc) {
    const d = descriptor(sel, n == 2 ? Vector.SS : Vector.GP);
    if (load<i32>(FAULT) >= 0) return false;
    const dpl = (<i32>(d >> 45)) & 3;
    const type = (<i32>(d >> 40)) & 0x1f;
    if (n == 2) {
      if ((type & 0x1a) != 0x12 || dpl != load<i32>(CPL) || (sel & 3) != load<i32>(CPL)) {
        return fault(Vector.GP, sel & 0xfffc);
      }
    } else if (
      !(type & 16) ||
      (type & 0xa) == 8 ||
      (dpl < max<i32>(load<i32>(CPL), sel & 3) && (type & 0xc) != 12)
    ) {
      return fault(Vector.GP, sel & 0xfffc);
    }
    base = ((d >> 16) & 0xffffff) | (((d >> 56) & 0xff) << 24);
  } else if (n == 2 && (load<i32>(CPL) == 3 || (sel & 3) != load<i32>(CPL))) {
    return fault(Vector.GP, 0);
  }
  store<u16>(SEG_ES + (n << 1), <u16>sel);
  if (n == 4) store<u64>(FS_BASE, base);
  if (n == 5) store<u64>(GS_BASE, base);
  return true;
}

/** MOV to a segment register. */
export function movToSeg<S extends Operand, T>(up: usize): usize {
  const n = load<u16>(up, U_A) & 7; // REX.R does not count
  if (n == 1 || n > 5) return usize(fault(Vector.UD, 0));
  const s = the<S>().at<u16>(up, 0);
  if (the<S>().mem() && !s) return 0;
  if (!loadSegment(n, (<i32>the<S>().get<u16>(up, s)) & 0xffff)) return 0;
  if (n == 2) store<i32>(INT_SHADOW, 1);
  return next(up);
}

/** MOV from a control register: U_B is its number. */
export function movFromCr<D extends Operand, T>(up: usize): bool {
  const n = load<u16>(up, U_B);
  let v: u64;
  if (n == 0) v = load<u64>(CR0);
  else if (n == 2) v = load<u64>(CR2);
  else if (n == 3) v = load<u64>(CR3);
  else if (n == 4) v = load<u64>(CR4);
  else if (n == 8) v = <u64>(load<u32>(apicOf(load<u32>(CURRENT)), P_TPR) >> 4);
  else return fault(Vector.UD, 0);
  the<D>().put<T>(the<D>().at<T>(up, 1), <i64>v);
  return true;
}

const CR0_ALLOWED: u64 = 0xe005003f;
// VME PVI TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT UMIP FSGSBASE SMEP SMAP; the rest is not advertised.
const CR4_ALLOWED: u64 = 0x307fff & ~(<u64>0x7800);

export function movToCr<S extends Operand, T>(up: usize): usize {
  const n = load<u16>(up, U_A);
  const v = load<u64>(load<u16>(up, U_B));
  if (n == 0) {
    if (v >> 32 || (v & 0x80000001) == 0x80000000 || (v & 0x60000000) == 0x20000000)
      return usize(fault(Vector.GP, 0));
    if (!(v & 0x80000000)) return usize(fault(Vector.GP, 0)); // paging cannot be left in long mode
    store<u64>(CR0, (v & CR0_ALLOWED) | 0x10);
  } else if (n == 2) store<u64>(CR2, v);
  else if (n == 3) {
    if (v & 0xffffff0000000000) return usize(fault(Vector.GP, 0));
    store<u64>(CR3, v);
  } else if (n == 4) {
    if (v & ~CR4_ALLOWED || !(v & 0x20)) return usize(fault(Vector.GP, 0));
    store<u64>(CR4, v);
  } else if (n == 8) {
    if (v & ~(<u64>15)) return usize(fault(Vector.GP, 0));
    store<u32>(apicOf(load<u32>(CURRENT)), (<u32>v) << 4, P_TPR);
  } else return usize(fault(Vector.UD, 0));
  if (n != 2 && n != 8) flushTlb(load<i32>(CURRENT));
  return next(up);
}

/** CLTS. */
export function clts(up: usize): bool {
  store<u64>(CR0, load<u64>(CR0) & ~(<u64>8));
  return true;
}

export function movFromDr<D extends Operand, T>(up: usize): bool {
  const n = load<u16>(up, U_B);
  if (n > 7) return fault(Vector.UD, 0);
  const i = n == 4 || n == 5 ? n + 2 : n;
  the<D>().put<T>(the<D>().at<T>(up, 1), load<i64>(DR0 + (i << 3)));
  return true;
}

export function movToDr<S extends Operand, T>(up: usize): bool {
  const n = load<u16>(up, U_A);
  if (n > 7) return fault(Vector.UD, 0);
  const v = load<u64>(load<u16>(up, U_B));
  const i = n == 4 || n == 5 ? n + 2 : n;
  if (i >= 6 && v >> 32) return fault(Vector.GP, 0);
  if (i == 7 && v & 0xff) return fault(Vector.GP, 0); // DIFFERS: hardware breakpoints cannot be enabled yet
  store<u64>(
    DR0 + (i << 3),
    i == 6 ? (v & 0xe00f) | 0xffff0ff0 : i == 7 ? (v & 0xffff23ff) | 0x400 : v,
  );
  return true;
}

/** CLFLUSH: a load as far as faults go. */
export function clflush<D extends Memory>(up: usize): bool {
  return the<D>().at<u8>(up, 0) != 0;
}

export function invlpg<D extends Memory>(up: usize): usize {
  flushTlb(load<i32>(CURRENT));
  return next(up);
}

export function rdtsc(up: usize): bool {
  if (load<u64>(CR4) & 4 && load<i32>(CPL)) return fault(Vector.GP, 0);
  const t = timeAt(up) + load<u64>(TSC_ADJUST);
  store<u64>(RAX, t & 0xffffffff);
  store<u64>(RDX, t >> 32);
  return true;
}

/** RDPMC: there is no counter that could be named. */
export function rdpmc(up: usize): bool {
  return fault(Vector.GP, 0);
}

export function rdtscp(up: usize): bool {
  if (!rdtsc(up)) return false;
  store<u64>(RCX, load<u64>(TSC_AUX) & 0xffffffff);
  return true;
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
  return 0;
}

export function rdmsr(up: usize): bool {
  const n = load<u32>(RCX);
  let v: u64;
  const cell = msrCell(n);
  if (cell) v = load<u64>(cell);
  else if (n == 0x10) v = timeAt(up) + load<u64>(TSC_ADJUST);
  else if (n == 0x3b) v = load<u64>(TSC_ADJUST);
  else if (n == 0x6e0) v = load<u64>(apicOf(load<u32>(CURRENT)), P_TSC_DEADLINE);
  else if (n >= 0x800 && n < 0x900) {
    v = apicRead(n - 0x800, timeAt(up));
    if (v == NEVER) return fault(Vector.GP, 0);
  } else return fault(Vector.GP, 0);
  store<u64>(RAX, v & 0xffffffff);
  store<u64>(RDX, v >> 32);
  return true;
}

/** WRMSR ends its block: an IPI to oneself or an earlier timer may follow at once. */
export function wrmsr(up: usize): usize {
  const n = load<u32>(RCX);
  const v = (load<u64>(RDX) << 32) | (load<u64>(RAX) & 0xffffffff);
  const cell = msrCell(n);
  if (cell == EFER) {
    // SCE, LME, NXE can be written; LMA is the CPU's; long mode stays.
    if (v & ~(<u64>0xd01) || !(v & 0x100)) return usize(fault(Vector.GP, 0));
    store<u64>(EFER, v | 0x400);
    flushTlb(load<i32>(CURRENT));
  } else if (cell) {
    const address =
      cell == LSTAR ||
      cell == CSTAR ||
      cell == FS_BASE ||
      cell == GS_BASE ||
      cell == KERNEL_GS_BASE;
    if (address && <u64>(((<i64>v) << 16) >> 16) != v) return usize(fault(Vector.GP, 0));
    store<u64>(cell, v);
  } else if (n == 0x10) store<u64>(TSC_ADJUST, v - timeAt(up));
  else if (n == 0x3b) store<u64>(TSC_ADJUST, v);
  else if (n == 0x6e0) setTscDeadline(v);
  else if (n >= 0x800 && n < 0x900) {
    if (!apicWrite(n - 0x800, v, timeAt(up))) return usize(fault(Vector.GP, 0));
  } else return usize(fault(Vector.GP, 0));
  return next(up);
}

function cpuidSet(a: u32, b: u32, c: u32, d: u32): bool {
  store<u64>(RAX, <u64>a);
  store<u64>(RBX, <u64>b);
  store<u64>(RCX, <u64>c);
  store<u64>(RDX, <u64>d);
  return true;
}

/** What is advertised here works, and what is not is #UD; docs/isa.md lists both. */
export function cpuid(up: usize): bool {
  const leaf = load<u32>(RAX);
  const sub = load<u32>(RCX);
  const id = load<u32>(CURRENT);
  if (leaf == 0) return cpuidSet(0xb, 0x756e6547, 0x6c65746e, 0x49656e69); // GenuineIntel
  if (leaf == 1) {
    // PSE TSC MSR PAE CX8 APIC PGE CMOV PAT CLFSH FXSR SSE SSE2; SSE3 SSSE3 CX16 SSE4.1 SSE4.2 x2APIC MOVBE POPCNT
    // TSC-deadline hypervisor
    const d: u32 =
      (1 << 3) |
      (1 << 4) |
      (1 << 5) |
      (1 << 6) |
      (1 << 8) |
      (1 << 9) |
      (1 << 13) |
      (1 << 15) |
      (1 << 16) |
      (1 << 19) |
      (1 << 24) |
      (1 << 25) |
      (1 << 26);
    const c: u32 =
      (1 << 0) |
      (1 << 9) |
      (1 << 13) |
      (1 << 19) |
      (1 << 20) |
      (1 << 21) |
      (1 << 22) |
      (1 << 23) |
      (1 << 24) |
      ((<u32>1) << 31);
    return cpuidSet(0x000106a0, (id << 24) | 0x800, c, d);
  }
  if (leaf == 7) return cpuidSet(0, sub == 0 ? (1 << 7) | (1 << 9) | (1 << 20) : 0, 0, 0); // SMEP ERMS SMAP
  if (leaf == 0xb) return cpuidSet(0, sub == 0 ? 1 : 0, sub == 0 ? 0x100 : sub, id);
  if (leaf == 0x80000000) return cpuidSet(0x80000008, 0, 0, 0);
  if (leaf == 0x80000001) {
    return cpuidSet(
      0,
      0,
      (1 << 0) | (1 << 5) | (1 << 8),
      (1 << 11) | (1 << 20) | (1 << 26) | (1 << 27) | (1 << 29),
    );
  }
  if (leaf == 0x80000002) return cpuidSet(0x65697571, 0x20656373, 0x55504376, 0);
  if (leaf == 0x80000007) return cpuidSet(0, 0, 0, 0x100);
  if (leaf == 0x80000008) return cpuidSet(0x3028, 0, 0, 0);
  return cpuidSet(0, 0, 0, 0);
}

/** IN and OUT: no device is attached to any port. */
export function portIn<T>(up: usize): bool {
  if (!mayIo()) return fault(Vector.GP, 0);
  if (sizeof<T>() >= 4) store<u64>(RAX, 0xffffffff);
  else store<T>(RAX, <T>-1);
  return true;
}

export function portOut<T>(up: usize): bool {
  return mayIo() ? true : fault(Vector.GP, 0);
}

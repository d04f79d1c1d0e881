// Privileged and system instructions. Those that change how the next instruction is fetched or whether an interrupt
// may come end their block (they answer 0 with RIP set). SDM Vol. 2 and Vol. 4, "Model-Specific Registers".

import {
  CAREFUL,
  CAREFUL_TLB,
  AC,
  ARITH,
  CPL,
  CR0,
  CR2,
  CR3,
  CR4,
  CURRENT,
  EFER,
  EFL,
  Exit,
  GS_BASE,
  HALTED,
  IF,
  INT_SHADOW,
  KERNEL_GS_BASE,
  LAST,
  LAST_SERIALIZED,
  LAST_STEPPED,
  LAST_SYSCALL,
  LSTAR,
  P_TPR,
  R11,
  RCX,
  RF,
  RIP,
  SEG_CS,
  SEG_SS,
  SFMASK,
  SHADOW_STI,
  STAR,
  TF,
  U_A,
  U_B,
  U_IMM,
  Vector,
} from "./abi";
import { dropPage, dropPages } from "./adversary-tlb";
import { apicOf } from "./apic";
import { cetAllows, cetBits, trackEntry } from "./cet";
import { debugChanged } from "./debug";
import { unsupported } from "./far";
import { rflags, setArithmetic } from "./flags";
import { canonical, flushTlb, selectTlb, setEfl } from "./mmu";
import { Memory, Operand } from "./operand";
import { exit, fault, nextRip, the } from "./state";
import { INT1, raise, SOFTWARE } from "./trap";

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
  if (!(load<u64>(EFL) & IF)) store<i32>(INT_SHADOW, SHADOW_STI);
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
  return raise(up, <i32>load<u8>(up, U_IMM), SOFTWARE);
}

export function int3(up: usize): usize {
  return raise(up, Vector.BP, SOFTWARE);
}

/** INT1: #DB without a bit of DR6, for any privilege. */
export function int1(up: usize): usize {
  return raise(up, Vector.DB, INT1);
}

/**
 * Behind SYSCALL and SYSRET the single step goes by the TF that they leave: the one that SYSRET loads traps at once.
 * arch/x86/entry/entry_64.S, syscall_return_via_sysret.
 */
function switched(): usize {
  const tf = load<u64>(EFL) & TF;
  store<u32>(LAST, load<u32>(LAST) | LAST_SYSCALL | (tf ? LAST_STEPPED : 0));
  return 0;
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
  trackEntry();
  return switched();
}

/** SYSRET as Intel has it: the address is checked in ring 0. AMD's CPUs fault behind it, in ring 3. */
export function sysret<T>(up: usize): usize {
  if (!(load<u64>(EFER) & 1)) return usize(fault(Vector.UD, 0));
  if (load<i32>(CPL)) return usize(fault(Vector.GP, 0));
  if (sizeof<T>() < 8) return unsupported(up, (<i32>(load<u64>(STAR) >> 48)) | 3);
  const rip = load<u64>(RCX);
  if (!canonical(rip)) return usize(fault(Vector.GP, 0));
  const f = load<u64>(R11) & 0x3c7fd7;
  setEfl(f & ~(<u64>ARITH));
  setArithmetic(<i32>f);
  const cs = <u16>(load<u64>(STAR) >> 48);
  store<u16>(SEG_CS, (cs + 16) | 3);
  store<u16>(SEG_SS, (cs + 8) | 3);
  store<i32>(CPL, 3);
  selectTlb();
  store<u64>(RIP, rip);
  return switched();
}

export function swapgs(up: usize): bool {
  const g = load<u64>(GS_BASE);
  store<u64>(GS_BASE, load<u64>(KERNEL_GS_BASE));
  store<u64>(KERNEL_GS_BASE, g);
  return true;
}

/** Whether control register `n` may be moved: that it exists comes before the privilege. The fault is recorded when not. */
function mayMoveCr(n: i32): bool {
  if (n != 0 && n != 8 && (n < 2 || n > 4)) return fault(Vector.UD, 0);
  return load<i32>(CPL) ? fault(Vector.GP, 0) : true;
}

/** MOV from a control register: U_B is its number. */
export function movFromCr<D extends Operand, T>(up: usize): bool {
  const n = load<u16>(up, U_B);
  if (!mayMoveCr(n)) return false;
  let v: u64;
  if (n == 0) v = load<u64>(CR0);
  else if (n == 2) v = load<u64>(CR2);
  else if (n == 3) v = load<u64>(CR3);
  else if (n == 4) v = load<u64>(CR4);
  else v = <u64>(load<u32>(apicOf(load<u32>(CURRENT)), P_TPR) >> 4);
  the<D>().put<T>(the<D>().at<T>(up, 1), <i64>v);
  return true;
}

const CR0_ALLOWED: u64 = 0xe005003f;
// TSD DE PSE PAE MCE PGE PCE OSFXSR OSXMMEXCPT UMIP FSGSBASE SMEP SMAP; the rest is not advertised, PCIDE with it.
const CR4_ALLOWED: u64 = 0x310ffc;

export function movToCr<S extends Operand, T>(up: usize): usize {
  const n = load<u16>(up, U_A);
  if (!mayMoveCr(n)) return 0;
  const v = load<u64>(load<u16>(up, U_B));
  if (n == 0) {
    if (v >> 32 || (v & 0x80000001) == 0x80000000 || (v & 0x60000000) == 0x20000000)
      return usize(fault(Vector.GP, 0));
    if (!(v & 0x80000000)) return usize(fault(Vector.GP, 0)); // paging cannot be left in long mode
    if (!cetAllows(v, load<u64>(CR4))) return usize(fault(Vector.GP, 0));
    store<u64>(CR0, (v & CR0_ALLOWED) | 0x10);
  } else if (n == 2) store<u64>(CR2, v);
  else if (n == 3) {
    if (v & 0xffffff0000000000) return usize(fault(Vector.GP, 0));
    store<u64>(CR3, v);
  } else if (n == 4) {
    if (v & ~(CR4_ALLOWED | cetBits()) || !(v & 0x20) || !cetAllows(load<u64>(CR0), v))
      return usize(fault(Vector.GP, 0));
    store<u64>(CR4, v);
    debugChanged();
  } else {
    if (v & ~(<u64>15)) return usize(fault(Vector.GP, 0));
    store<u32>(apicOf(load<u32>(CURRENT)), (<u32>v) << 4, P_TPR);
  }
  if (n != 2 && n != 8) {
    if (load<u32>(CAREFUL) & CAREFUL_TLB) dropPages(n != 3);
    flushTlb(load<i32>(CURRENT));
  }
  if (n != 8) store<u32>(LAST, load<u32>(LAST) | LAST_SERIALIZED);
  return next(up);
}

/** CLTS. */
export function clts(up: usize): bool {
  store<u64>(CR0, load<u64>(CR0) & ~(<u64>8));
  return true;
}

/** LFENCE, MFENCE and SFENCE: nothing to wait for unless stores are buffered, which is looked at elsewhere. */
export function fence(up: usize): bool {
  return true;
}

/** SERIALIZE, and what serializes without doing anything else here. */
export function serialize(up: usize): usize {
  return next(up);
}

/** CLFLUSH: a load as far as faults go. */
export function clflush<D extends Memory>(up: usize): bool {
  return the<D>().at<u8>(up, 0) != 0;
}

export function invlpg<D extends Memory>(up: usize): usize {
  if (load<u32>(CAREFUL) & CAREFUL_TLB) dropPage(the<D>().va(up));
  flushTlb(load<i32>(CURRENT));
  return next(up);
}

// Segment and descriptor-table registers. In 64-bit mode a selector is checked as ever, but only FS and GS take a base
// from its descriptor. SDM Vol. 2: "MOV", "LDS/LES/LFS/LGS/LSS", "LGDT/LIDT", "LLDT", "LTR", "LAR", "LSL", "VERR/VERW",
// "RDFSBASE/RDGSBASE", "WRFSBASE/WRGSBASE"; Vol. 3A, "Segmentation in IA-32e Mode".

import {
  CPL,
  CR0,
  CR4,
  FAULT,
  FS_BASE,
  GDTR_BASE,
  GDTR_LIMIT,
  GS_BASE,
  INT_SHADOW,
  LDTR_BASE,
  LDTR_LIMIT,
  RIP,
  RSP,
  SEG_DPL,
  SEG_ES,
  SEG_LDTR,
  SEG_TR,
  SHADOW_SS,
  TR_BASE,
  TR_LIMIT,
  U_A,
  U_B,
  Vector,
} from "./abi";
import {
  baseOf,
  descriptor,
  descriptorVa,
  dplOf,
  isCode,
  isConforming,
  isPresent,
  isStack,
  limitOf,
  markAccessed,
  typeOf,
  upperHalf,
} from "./descriptor";
import { canonical, reach, reachStack, systemByte } from "./mmu";
import { Memory, Operand } from "./operand";
import { setZero } from "./flags";
import { rose } from "./shadow";
import { fault, nextRip, the } from "./state";

const CR4_UMIP: u64 = 0x800;
const CR4_FSGSBASE: u64 = 0x10000;
const FS: i32 = 4;
const GS: i32 = 5;
const CS: i32 = 1;
const SS: i32 = 2;
const TYPE_LDT: i32 = 2;
const TYPE_TSS: i32 = 9;

/** SGDT, SIDT, SLDT, STR and SMSW tell user mode nothing under CR4.UMIP. */
export function mayTell(): bool {
  return load<i32>(CPL) && load<u64>(CR4) & CR4_UMIP ? fault(Vector.GP, 0) : true;
}

/** LGDT and LIDT; LIDT's register lies 16 bytes after LGDT's. */
export function loadTable<F extends Gdt, D extends Memory>(up: usize): bool {
  let p = the<D>().at<u16>(up, 0);
  if (!p) return false;
  const limit = load<u16>(p);
  p = reach<u64>(the<D>().vaFrom(up, 2), 0);
  if (!p) return false;
  const base = load<u64>(p);
  if (!canonical(base)) return fault(Vector.GP, 0);
  store<u64>(GDTR_BASE + the<F>().at(), base);
  store<u64>(GDTR_LIMIT + the<F>().at(), <u64>limit);
  return true;
}
export function storeTable<F extends Gdt, D extends Memory>(up: usize): bool {
  if (!mayTell()) return false;
  const va = the<D>().va(up);
  const on = the<D>().vaFrom(up, 2);
  if (!reach<u16>(va, 1) || !reach<u64>(on, 1)) return false;
  the<D>().put<u16>(reach<u16>(va, 1), <i64>load<u64>(GDTR_LIMIT + the<F>().at()));
  the<D>().put<u64>(reach<u64>(on, 1), load<i64>(GDTR_BASE + the<F>().at()));
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

/** Selector operand of LTR and LLDT; -1 with the fault. */
function selectorAt<S extends Operand, T>(up: usize): i32 {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return -1;
  return (<i32>the<S>().get<T>(up, s)) & 0xffff;
}

/** The 64-bit base of a system descriptor. Sets FAULT if its upper half cannot be read. */
function systemBase(selector: i32, d: u64): u64 {
  return baseOf(d) | (upperHalf(selector) << 32);
}

/** The descriptor of LTR and LLDT, of one type and in the GDT. 0 with the fault. */
function systemDescriptor(sel: i32, type: i32): u64 {
  if (sel & 4) {
    fault(Vector.GP, sel & 0xfffc);
    return 0;
  }
  const d = descriptor(sel, 0);
  if (load<i32>(FAULT) >= 0) return 0;
  if (typeOf(d) != type) fault(Vector.GP, sel & 0xfffc);
  else if (!isPresent(d)) fault(Vector.NP, sel & 0xfffc);
  return d;
}

export function ltr<S extends Operand, T>(up: usize): bool {
  const sel = selectorAt<S, T>(up);
  if (sel < 0) return false;
  if (!(sel & 0xfffc)) return fault(Vector.GP, 0);
  const d = systemDescriptor(sel, TYPE_TSS);
  if (load<i32>(FAULT) >= 0) return false;
  const base = systemBase(sel, d);
  if (load<i32>(FAULT) >= 0) return false;
  if (!canonical(base)) return fault(Vector.GP, sel & 0xfffc);
  systemByte(descriptorVa(sel) + 5, <u8>((d >> 40) | 2));
  if (load<i32>(FAULT) >= 0) return false;
  store<u64>(TR_BASE, base);
  store<u64>(TR_LIMIT, limitOf(d));
  store<u16>(SEG_TR, <u16>sel);
  return true;
}

export function lldt<S extends Operand, T>(up: usize): bool {
  const sel = selectorAt<S, T>(up);
  if (sel < 0) return false;
  if (!(sel & 0xfffc)) {
    store<u64>(LDTR_BASE, 0);
    store<u64>(LDTR_LIMIT, 0);
    store<u16>(SEG_LDTR, <u16>sel);
    return true;
  }
  const d = systemDescriptor(sel, TYPE_LDT);
  if (load<i32>(FAULT) >= 0) return false;
  const base = systemBase(sel, d);
  if (load<i32>(FAULT) >= 0) return false;
  if (!canonical(base)) return fault(Vector.GP, sel & 0xfffc);
  store<u64>(LDTR_BASE, base);
  store<u64>(LDTR_LIMIT, limitOf(d));
  store<u16>(SEG_LDTR, <u16>sel);
  return true;
}

/** STR and SLDT. */
export function storeSelector<F extends Tr, D extends Operand, T>(up: usize): bool {
  if (!mayTell()) return false;
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

/** Keeps of a descriptor what a return to an outer privilege asks of it. */
function noteDpl(n: i32, dpl: u32): void {
  const at = n << 2;
  store<u32>(SEG_DPL, (load<u32>(SEG_DPL) & ~((<u32>15) << at)) | ((4 | dpl) << at));
}

/**
 * After a return from an inner privilege: data segment registers that the outer one might not have loaded become null,
 * null ones 0. The bases of FS and GS stay. A selector that the host has set counts as its RPL says.
 * SDM Vol. 2, "IRET", RETURN-TO-OUTER-PRIVILEGE-LEVEL.
 */
export function leaveSegments(cpl: u32): void {
  for (let n = 0; n <= GS; n++) {
    if (n == CS || n == SS) continue;
    const at = SEG_ES + (n << 1);
    const known = (load<u32>(SEG_DPL) >> (n << 2)) & 7;
    const dpl = known ? known & 3 : (<u32>load<u16>(at)) & 3;
    if (!(load<u16>(at) & 0xfffc) || dpl < cpl) store<u16>(at, 0);
  }
}

/** Loads segment register `n`, as MOV, POP and LSS do. False with the fault. */
export function loadSegment(n: i32, sel: i32): bool {
  const cpl = load<i32>(CPL);
  let base: u64 = 0;
  let dpl: u32 = 0;
  if (sel & 0xfffc) {
    const d = descriptor(sel, 0);
    if (load<i32>(FAULT) >= 0) return false;
    if (n == SS) {
      if (!isStack(d) || dplOf(d) != cpl || (sel & 3) != cpl) {
        return fault(Vector.GP, sel & 0xfffc);
      }
      if (!isPresent(d)) return fault(Vector.SS, sel & 0xfffc);
    } else {
      const type = typeOf(d);
      if (
        !(type & 16) ||
        (type & 0xa) == 8 || // code that cannot be read
        (!(isCode(d) && isConforming(d)) && dplOf(d) < max<i32>(cpl, sel & 3))
      ) {
        return fault(Vector.GP, sel & 0xfffc);
      }
      if (!isPresent(d)) return fault(Vector.NP, sel & 0xfffc);
    }
    if (!markAccessed(sel, d)) return false;
    base = baseOf(d);
    dpl = isCode(d) && isConforming(d) ? 3 : dplOf(d);
  } else if (n == SS && (cpl == 3 || (sel & 3) != cpl)) return fault(Vector.GP, 0);
  store<u16>(SEG_ES + (n << 1), <u16>sel);
  noteDpl(n, dpl);
  if (n == FS) store<u64>(FS_BASE, base);
  if (n == GS) store<u64>(GS_BASE, base);
  return true;
}

/** MOV to a segment register. */
export function movToSeg<S extends Operand, T>(up: usize): usize {
  const n = load<u16>(up, U_A) & 7; // REX.R does not count
  if (n == 1 || n > 5) return usize(fault(Vector.UD, 0));
  const s = the<S>().at<u16>(up, 0);
  if (the<S>().mem() && !s) return 0;
  if (!loadSegment(n, (<i32>the<S>().get<u16>(up, s)) & 0xffff)) return 0;
  if (n == SS) store<i32>(INT_SHADOW, SHADOW_SS);
  store<u64>(RIP, nextRip(up));
  return 0;
}

/** LSS, LFS and LGS: a far pointer from memory into a register and a segment register. No shadow follows LSS. */
export function loadFar<F extends Ss, D extends Operand, S extends Memory, T>(up: usize): bool {
  const p = the<S>().at<T>(up, 0);
  if (!p) return false;
  const offset = <i64>load<T>(p);
  const q = reach<u16>(the<S>().vaFrom(up, sizeof<T>()), 0);
  if (!q) return false;
  if (!loadSegment(the<F>().number(), <i32>load<u16>(q))) return false;
  the<D>().put<T>(the<D>().at<T>(up, 1), offset);
  return true;
}
@unmanaged
export class Ss {
  number(): i32 {
    return SS;
  }
}
@unmanaged
export class Fs {
  number(): i32 {
    return FS;
  }
}
@unmanaged
export class Gs {
  number(): i32 {
    return GS;
  }
}

/** POP FS and POP GS. */
export function popSelector<T>(up: usize): bool {
  const sp = load<u64>(RSP);
  const p = reachStack<T>(sp, 0);
  if (!p) return false;
  const sel = load<u16>(p);
  if (!loadSegment((load<u16>(up, U_A) & 15) >> 1, sel)) return false;
  store<u64>(RSP, sp + sizeof<T>());
  rose(sp + sizeof<T>());
  return true;
}

/** SMSW: a register gets as much of CR0 as it has room for, memory 16 bits. */
export function smsw<D extends Operand, T>(up: usize): bool {
  return mayTell() && putSelector<D, T>(up, load<i64>(CR0));
}

/** LMSW: PE, MP, EM and TS; PE cannot be cleared. */
export function lmsw<S extends Operand, U>(up: usize): bool {
  const s = the<S>().at<U>(up, 0);
  if (the<S>().mem() && !s) return false;
  const v = <u64>the<S>().get<U>(up, s);
  store<u64>(CR0, (load<u64>(CR0) & ~(<u64>14)) | (v & 15));
  return true;
}

/** The descriptor that LAR, LSL, VERR and VERW may look at, 0 when there is none. No fault but of reading it. */
function looked(sel: i32): u64 {
  if (!(sel & 0xfffc)) return 0;
  const d = descriptor(sel, 0);
  if (load<i32>(FAULT) == <i32>Vector.GP) store<i32>(FAULT, -1);
  return d;
}

function privileged(sel: i32, d: u64): bool {
  if (isCode(d) && isConforming(d)) return true;
  return dplOf(d) >= max<i32>(load<i32>(CPL), sel & 3);
}

/** LAR and LSL: access rights and limit of a segment that may be named, with ZF; nothing but ZF otherwise. */
export function lookAt<F extends Rights, D extends Operand, S extends Operand, T, U>(
  up: usize,
): bool {
  const s = the<S>().at<U>(up, 0);
  if (the<S>().mem() && !s) return false;
  const sel = (<i32>the<S>().get<U>(up, s)) & 0xffff;
  const d = looked(sel);
  if (load<i32>(FAULT) >= 0) return false;
  const type = typeOf(d);
  const known = (type & 16) != 0 || ((the<F>().types() >> type) & 1) != 0;
  const ok = d != 0 && known && privileged(sel, d);
  if (ok) the<D>().put<T>(the<D>().at<T>(up, 1), <i64>the<F>().of(d));
  setZero(ok);
  return true;
}
/** LAR: bytes 1 and 2 of the upper half. */
@unmanaged
export class Rights {
  /** The system types that it knows in long mode: LDT, TSS, call gate. */
  types(): u32 {
    return 0x1a04;
  }
  of(d: u64): u64 {
    return (d >> 32) & 0xffff00;
  }
}
/** LSL: the limit in bytes. */
@unmanaged
export class Limit {
  types(): u32 {
    return 0x0a04;
  }
  of(d: u64): u64 {
    return <u64>(<u32>limitOf(d));
  }
}

/** VERR and VERW. */
export function verify<F extends Verr, S extends Operand, U>(up: usize): bool {
  const s = the<S>().at<U>(up, 0);
  if (the<S>().mem() && !s) return false;
  const sel = (<i32>the<S>().get<U>(up, s)) & 0xffff;
  const d = looked(sel);
  if (load<i32>(FAULT) >= 0) return false;
  const type = typeOf(d);
  const may = the<F>().writes() ? (type & 0xa) == 2 : (type & 0xa) != 8;
  setZero((type & 16) != 0 && may && privileged(sel, d));
  return true;
}
@unmanaged
export class Verr {
  writes(): bool {
    return false;
  }
}
@unmanaged
export class Verw {
  writes(): bool {
    return true;
  }
}

/** RDFSBASE and RDGSBASE. */
export function readBase<F extends FsBase, D extends Operand, T>(up: usize): bool {
  if (!(load<u64>(CR4) & CR4_FSGSBASE)) return fault(Vector.UD, 0);
  the<D>().put<T>(the<D>().at<T>(up, 1), load<i64>(the<F>().base()));
  return true;
}

/** WRFSBASE and WRGSBASE. */
export function writeBase<F extends FsBase, S extends Operand, T>(up: usize): bool {
  if (!(load<u64>(CR4) & CR4_FSGSBASE)) return fault(Vector.UD, 0);
  const p = the<S>().at<T>(up, 0);
  const v = sizeof<T>() == 8 ? load<u64>(p) : <u64>load<u32>(p);
  if (!canonical(v)) return fault(Vector.GP, 0);
  store<u64>(the<F>().base(), v);
  return true;
}
@unmanaged
export class FsBase {
  base(): usize {
    return FS_BASE;
  }
}
@unmanaged
export class GsBase {
  base(): usize {
    return GS_BASE;
  }
}

// Instructions that look at a segment descriptor for the program (LAR, LSL, VERR, VERW), and loads of segment registers
// from the stack and from far pointers. Loading itself and its checks are in system.ts. SDM Vol. 2, "LAR", "LSL",
// "VERR/VERW", "LDS/LES/LFS/LGS/LSS", "POP"; Vol. 3A, "Privilege Levels" of the protection chapter.

import { CPL, CR0, FAULT, GDTR_BASE, GDTR_LIMIT, RSP, U_A } from "./abi";
import { reach, reachStack, systemRead } from "./mmu";
import { Memory, Operand } from "./operand";
import { rose } from "./shadow";
import { the } from "./state";
import { setZero } from "./flags";
import { loadSegment, putSelector } from "./system";

/** The descriptor of a selector that this privilege may see; 0 when there is none, or with a fault recorded. */
function visible(sel: i32): u64 {
  // The local table is empty.
  if (!(sel & 0xfffc) || sel & 4 || <u64>(sel | 7) > load<u64>(GDTR_LIMIT)) return 0;
  const d = systemRead<u64>(load<u64>(GDTR_BASE) + <u64>(sel & 0xfff8));
  if (load<i32>(FAULT) >= 0) return 0;
  const type = typeOf(d);
  const conforming = (type & 0x1c) == 0x1c;
  const dpl = (<i32>(d >> 45)) & 3;
  return conforming || dpl >= max<i32>(load<i32>(CPL), sel & 3) ? d : 0;
}

/** The type of a descriptor, bit 4 set for code and data. */
function typeOf(d: u64): i32 {
  return (<i32>(d >> 40)) & 0x1f;
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
    const v = (d & 0xffff) | ((d >> 32) & 0xf0000);
    return (d >> 55) & 1 ? (v << 12) | 0xfff : v;
  }
}

export function lookAt<F extends Rights, D extends Operand, S extends Operand, T, U>(
  up: usize,
): bool {
  const s = the<S>().at<U>(up, 0);
  if (the<S>().mem() && !s) return false;
  const d = visible((<i32>the<S>().get<U>(up, s)) & 0xffff);
  if (load<i32>(FAULT) >= 0) return false;
  const type = typeOf(d);
  const known = d != 0 && (type >= 16 || (the<F>().types() >> type) & 1);
  if (known) the<D>().put<T>(the<D>().at<T>(up, 1), <i64>the<F>().of(d));
  setZero(known);
  return true;
}

@unmanaged
export class Verr {
  allows(type: i32): bool {
    return type >= 16 && (type & 10) != 8; // data, or code that can be read
  }
}
@unmanaged
export class Verw {
  allows(type: i32): bool {
    return (type & 0x1a) == 0x12;
  }
}

/** VERR and VERW. */
export function verify<F extends Verr, S extends Operand, U>(up: usize): bool {
  const s = the<S>().at<U>(up, 0);
  if (the<S>().mem() && !s) return false;
  const d = visible((<i32>the<S>().get<U>(up, s)) & 0xffff);
  if (load<i32>(FAULT) >= 0) return false;
  setZero(d != 0 && the<F>().allows(typeOf(d)));
  return true;
}

/** SMSW: a register gets as much of CR0 as it has room for, memory 16 bits. */
export function smsw<D extends Operand, T>(up: usize): bool {
  return putSelector<D, T>(up, load<i64>(CR0));
}

/** LMSW: PE, MP, EM and TS; PE cannot be cleared. */
export function lmsw<S extends Operand, U>(up: usize): bool {
  const s = the<S>().at<U>(up, 0);
  if (the<S>().mem() && !s) return false;
  const v = <u64>the<S>().get<U>(up, s);
  store<u64>(CR0, (load<u64>(CR0) & ~(<u64>14)) | (v & 15));
  return true;
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

@unmanaged
export class Ss {
  number(): i32 {
    return 2;
  }
}
@unmanaged
export class Fs {
  number(): i32 {
    return 4;
  }
}
@unmanaged
export class Gs {
  number(): i32 {
    return 5;
  }
}
/** LSS, LFS and LGS: an offset of the operand's width, and the selector behind it. */
export function loadFar<F extends Ss, D extends Operand, M extends Memory, T>(up: usize): bool {
  let p = the<M>().at<T>(up, 0);
  if (!p) return false;
  const offset = <i64>load<T>(p);
  p = reach<u16>(the<M>().vaFrom(up, sizeof<T>()), 0);
  if (!p) return false;
  if (!loadSegment(the<F>().number(), load<u16>(p))) return false;
  the<D>().put<T>(the<D>().at<T>(up, 1), offset);
  return true;
}

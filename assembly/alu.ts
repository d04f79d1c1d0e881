// Integer arithmetic and data movement. Each operation is stated once over operand classes and a width; all its
// checks come before its first effect, and on a fault it answers false with the state of before.
// SDM Vol. 2, the Operation section of each instruction.

import { CC_OP, CC_R, Cc, MISC_ADDR32, RAX, RDX, U_IMM, U_MISC, U_SEG, Vector } from "./abi";
import { arithmetic, carry, CondA, lazy, lazyLogic } from "./flags";
import { aligned, put, reach } from "./mmu";
import { Memory, MemX, Operand } from "./operand";
import { fault, the } from "./state";

@unmanaged
export class Add {
  writes(): bool {
    return true;
  }
  do<T>(a: i64, b: i64): i64 {
    const r = <i64>(<T>(a + b));
    lazy(Cc.Add, r, a, b);
    return r;
  }
}
@unmanaged
export class Adc {
  writes(): bool {
    return true;
  }
  do<T>(a: i64, b: i64): i64 {
    const c = carry();
    const r = <i64>(<T>(a + b + c));
    lazy(c ? Cc.Adc : Cc.Add, r, a, b);
    return r;
  }
}
@unmanaged
export class Sub {
  writes(): bool {
    return true;
  }
  do<T>(a: i64, b: i64): i64 {
    const r = <i64>(<T>(a - b));
    lazy(Cc.Sub, r, a, b);
    return r;
  }
}
@unmanaged
export class Sbb {
  writes(): bool {
    return true;
  }
  do<T>(a: i64, b: i64): i64 {
    const c = carry();
    const r = <i64>(<T>(a - b - c));
    lazy(c ? Cc.Sbb : Cc.Sub, r, a, b);
    return r;
  }
}
@unmanaged
export class Cmp {
  writes(): bool {
    return false;
  }
  do<T>(a: i64, b: i64): i64 {
    lazy(Cc.Sub, <i64>(<T>(a - b)), a, b);
    return 0;
  }
}
@unmanaged
export class And {
  writes(): bool {
    return true;
  }
  do<T>(a: i64, b: i64): i64 {
    const r = a & b;
    lazyLogic(r);
    return r;
  }
}
@unmanaged
export class Or {
  writes(): bool {
    return true;
  }
  do<T>(a: i64, b: i64): i64 {
    const r = a | b;
    lazyLogic(r);
    return r;
  }
}
@unmanaged
export class Xor {
  writes(): bool {
    return true;
  }
  do<T>(a: i64, b: i64): i64 {
    const r = a ^ b;
    lazyLogic(r);
    return r;
  }
}
@unmanaged
export class Test {
  writes(): bool {
    return false;
  }
  do<T>(a: i64, b: i64): i64 {
    lazyLogic(a & b);
    return 0;
  }
}

/** Two operands, the first is written unless the operation only compares. */
export function alu<F extends Add, D extends Operand, S extends Operand, T>(up: usize): bool {
  const d = the<D>().at<T>(up, the<F>().writes() ? 1 : 0);
  if (the<D>().mem() && !d) return false;
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  const b = the<S>().get<T>(up, s);
  const r = the<F>().do<T>(the<D>().get<T>(up, d), b);
  if (the<F>().writes()) the<D>().put<T>(d, r);
  return true;
}

@unmanaged
export class Inc {
  do<T>(a: i64): i64 {
    const c = carry();
    const r = <i64>(<T>(a + 1));
    lazy(Cc.Inc, r, a, c);
    return r;
  }
}
@unmanaged
export class Dec {
  do<T>(a: i64): i64 {
    const c = carry();
    const r = <i64>(<T>(a - 1));
    lazy(Cc.Dec, r, a, c);
    return r;
  }
}
@unmanaged
export class Neg {
  do<T>(a: i64): i64 {
    const r = <i64>(<T>-a);
    lazy(Cc.Sub, r, 0, a);
    return r;
  }
}
@unmanaged
export class Not {
  do<T>(a: i64): i64 {
    return ~a;
  }
}

export function unary<F extends Inc, D extends Operand, T>(up: usize): bool {
  const d = the<D>().at<T>(up, 1);
  if (the<D>().mem() && !d) return false;
  the<D>().put<T>(d, the<F>().do<T>(the<D>().get<T>(up, d)));
  return true;
}

export function mov<D extends Operand, S extends Operand, T>(up: usize): bool {
  const d = the<D>().at<T>(up, 1);
  if (the<D>().mem() && !d) return false;
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  the<D>().put<T>(d, the<S>().get<T>(up, s));
  return true;
}

/** Zero-extends a U into a T. */
export function movzx<D extends Operand, S extends Operand, T, U>(up: usize): bool {
  const s = the<S>().at<U>(up, 0);
  if (the<S>().mem() && !s) return false;
  const w: i32 = sizeof<U>() * 8;
  const v = the<S>().get<U>(up, s) & ((i64(1) << w) - 1);
  the<D>().put<T>(the<D>().at<T>(up, 1), v);
  return true;
}

export function movsx<D extends Operand, S extends Operand, T, U>(up: usize): bool {
  const s = the<S>().at<U>(up, 0);
  if (the<S>().mem() && !s) return false;
  the<D>().put<T>(the<D>().at<T>(up, 1), the<S>().get<U>(up, s));
  return true;
}

export function lea<D extends Operand, S extends MemX, T>(up: usize): bool {
  the<D>().put<T>(the<D>().at<T>(up, 1), <i64>the<S>().offset(up));
  return true;
}

export function xchg<D extends Operand, S extends Operand, T>(up: usize): bool {
  const d = the<D>().at<T>(up, 1);
  if (the<D>().mem() && !d) return false;
  const s = the<S>().at<T>(up, 1);
  const a = the<D>().get<T>(up, d);
  const b = the<S>().get<T>(up, s);
  the<D>().put<T>(d, b);
  the<S>().put<T>(s, a);
  return true;
}

export function xadd<D extends Operand, S extends Operand, T>(up: usize): bool {
  const d = the<D>().at<T>(up, 1);
  if (the<D>().mem() && !d) return false;
  const s = the<S>().at<T>(up, 1);
  const a = the<D>().get<T>(up, d);
  const r = the<Add>().do<T>(a, the<S>().get<T>(up, s));
  the<S>().put<T>(s, a);
  the<D>().put<T>(d, r);
  return true;
}

export function cmpxchg<D extends Operand, S extends Operand, T>(up: usize): bool {
  const d = the<D>().at<T>(up, 1);
  if (the<D>().mem() && !d) return false;
  const a = the<D>().get<T>(up, d);
  const acc = <i64>load<T>(RAX);
  const equal = the<Sub>().do<T>(acc, a) == 0;
  if (equal) {
    the<D>().put<T>(d, the<S>().get<T>(up, the<S>().at<T>(up, 0)));
  } else {
    // A memory destination is written back; a 32-bit register destination keeps its upper half.
    if (the<D>().mem()) the<D>().put<T>(d, a);
    if (sizeof<T>() == 4) store<u64>(RAX, <u64>(<u32>a));
    else store<T>(RAX, <T>a);
  }
  return true;
}

/** CMPXCHG8B (T = i32) and CMPXCHG16B (T = i64): edx:eax against memory, ecx:ebx into it. */
export function cmpxchgPair<D extends Memory, T>(up: usize): bool {
  const va = the<D>().va(up);
  if (sizeof<T>() == 8 && va & 15) return fault(Vector.GP, 0);
  const half: u32 = sizeof<T>();
  const p = reach<T>(va, 1);
  if (!p) return false;
  const lo = <i64>load<T>(p);
  const q0 = reach<T>(va + half, 1);
  if (!q0 || !aligned(va, 2 * half)) return false;
  const hi = <i64>load<T>(q0);
  const equal = lo == <i64>load<T>(RAX) && hi == <i64>load<T>(RDX);
  const newLo = equal ? <i64>load<T>(RAX + 24) : lo;
  const newHi = equal ? <i64>load<T>(RAX + 8) : hi;
  const first = reach<T>(va, 1);
  the<D>().put<T>(first, newLo);
  const second = reach<T>(va + half, 1);
  the<D>().put<T>(second, newHi);
  if (!equal) {
    store<u64>(RAX, sizeof<T>() == 8 ? <u64>lo : <u64>(<u32>lo));
    store<u64>(RDX, sizeof<T>() == 8 ? <u64>hi : <u64>(<u32>hi));
  }
  setZf(equal);
  return true;
}

/** Changes zf and no other flag. */
export function setZf(on: bool): void {
  rawFlags();
  store<i64>(CC_R, (load<i64>(CC_R) & ~(<i64>0x40)) | (on ? 0x40 : 0));
}

/** Turns lazy flags into their bits, for operations that change some of them. */
export function rawFlags(): void {
  if (load<i32>(CC_OP) == Cc.Raw) return;
  const f = <i64>arithmetic();
  lazy(Cc.Raw, f, 0, 0);
}

export function cmov<F extends CondA, D extends Operand, S extends Operand, T>(up: usize): bool {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  const v = the<S>().get<T>(up, s);
  const d = the<D>().at<T>(up, 1);
  // A false condition still clears the upper half of a 32-bit destination.
  the<D>().put<T>(d, the<F>().test() ? v : the<D>().get<T>(up, d));
  return true;
}

export function setcc<F extends CondA, D extends Operand, T>(up: usize): bool {
  const d = the<D>().at<T>(up, 1);
  if (the<D>().mem() && !d) return false;
  the<D>().put<T>(d, <i64>the<F>().test());
  return true;
}

/** CBW, CWDE, CDQE. */
export function extendAcc<T>(up: usize): bool {
  if (sizeof<T>() == 2) store<i16>(RAX, <i16>load<i8>(RAX));
  else if (sizeof<T>() == 4) store<u64>(RAX, <u64>(<u32>(<i32>load<i16>(RAX))));
  else store<i64>(RAX, <i64>load<i32>(RAX));
  return true;
}

/** CWD, CDQ, CQO. */
export function extendPair<T>(up: usize): bool {
  const s = (<i64>load<T>(RAX)) >> 63;
  if (sizeof<T>() == 2) store<i16>(RDX, <i16>s);
  else if (sizeof<T>() == 4) store<u64>(RDX, <u64>(<u32>s));
  else store<i64>(RDX, s);
  return true;
}

export function bswap<D extends Operand, T>(up: usize): bool {
  const d = the<D>().at<T>(up, 1);
  if (sizeof<T>() == 8) store<u64>(d, bswap64(load<u64>(d)));
  else if (sizeof<T>() == 4) store<u64>(d, <u64>bswap32(load<u32>(d)));
  else store<u16>(d, 0); // undefined in the SDM; what hardware does
  return true;
}

function bswap32(v: u32): u32 {
  return (v << 24) | ((v & 0xff00) << 8) | ((v >> 8) & 0xff00) | (v >> 24);
}

function bswap64(v: u64): u64 {
  return ((<u64>bswap32(<u32>v)) << 32) | (<u64>bswap32(<u32>(v >> 32)));
}

/** MOVBE load and store. */
export function movbe<D extends Operand, S extends Operand, T>(up: usize): bool {
  const d = the<D>().at<T>(up, 1);
  if (the<D>().mem() && !d) return false;
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  const v = <u64>the<S>().get<T>(up, s);
  let r: u64;
  if (sizeof<T>() == 8) r = bswap64(v);
  else if (sizeof<T>() == 4) r = <u64>bswap32(<u32>v);
  else r = ((v & 0xff) << 8) | ((v >> 8) & 0xff);
  the<D>().put<T>(d, <i64>r);
  return true;
}

/** NOP, PAUSE, fences, prefetches, ENDBR64: nothing that this machine can see. */
export function nop(up: usize): bool {
  return true;
}

/** MOV between the accumulator and an absolute address of 64 bits in U_IMM. */
export function loadOffset<T>(up: usize): bool {
  const p = reach<T>(load<u64>(up, U_IMM) + load<u64>(load<u16>(up, U_SEG)), 0);
  if (!p) return false;
  if (sizeof<T>() == 4) store<u64>(RAX, <u64>load<u32>(p));
  else store<T>(RAX, load<T>(p));
  return true;
}

export function storeOffset<T>(up: usize): bool {
  const p = reach<T>(load<u64>(up, U_IMM) + load<u64>(load<u16>(up, U_SEG)), 1);
  if (!p) return false;
  put<T>(p, load<T>(RAX));
  return true;
}

/** XLAT. */
export function xlat(up: usize): bool {
  const va = load<u64>(RAX + 24) + <u64>load<u8>(RAX);
  const at = load<u8>(up, U_MISC) & MISC_ADDR32 ? <u64>(<u32>va) : va;
  const p = reach<u8>(at + load<u64>(load<u16>(up, U_SEG)), 0);
  if (!p) return false;
  store<u8>(RAX, load<u8>(p));
  return true;
}

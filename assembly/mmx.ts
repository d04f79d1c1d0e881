// MMX: packed integers in the significands of the x87 registers. The operations are those of SSE2 on the low half of a
// vector. Every one of them but EMMS makes the stack begin at register 0 and all registers full, and a register that it
// writes gets an exponent of ones. SDM Vol. 1, "Programming with Intel MMX Technology"; Vol. 3A, "MMX Technology System
// Programming".

import { CR0, MISC_ADDR32, MISC_MEM, RDI, U_A, U_B, U_IMM, U_MISC, U_SEG, Vector } from "./abi";
import { put, reach } from "./mmu";
import { eaFull } from "./operand";
import { PackedOperation, Psllw } from "./sse-int";
import { inMemory } from "./sse-operand";
import { fault, the } from "./state";
import { FTW, nonePending, setTop } from "./x87-state";

const CR0_EM: u64 = 4;
const CR0_TS: u64 = 8;

/** Whether an MMX instruction may execute now. */
export function mmxUsable(): bool {
  if (load<u64>(CR0) & CR0_EM) return fault(Vector.UD, 0);
  if (load<u64>(CR0) & CR0_TS) return fault(Vector.NM, 0);
  return nonePending();
}

/** From x87 to MMX. */
export function enterMmx(): void {
  setTop(0);
  store<u8>(FTW, 0xff);
}

/** Writes a register as MMX does. */
export function setMmx(p: usize, v: u64): void {
  store<u64>(p, v);
  store<u64>(p, 0xffff, 8);
}

/** The source of 64 bits, 0 with the fault recorded. */
function sourceMmx(up: usize): usize {
  return load<u8>(up, U_MISC) & MISC_MEM ? reach<u64>(eaFull(up), 0) : <usize>load<u16>(up, U_B);
}

function low(v: u64): v128 {
  return i64x2.replace_lane(i64x2.splat(0), 0, v);
}

/** Both operands as vectors whose upper halves are 0; the lower half of the result counts. */
export function mmxPacked<F extends PackedOperation>(up: usize): bool {
  if (!mmxUsable()) return false;
  const s = sourceMmx(up);
  if (!s) return false;
  const d = <usize>load<u16>(up, U_A);
  const v = the<F>().of(low(load<u64>(d)), low(load<u64>(s)));
  enterMmx();
  setMmx(d, i64x2.extract_lane(v, 0));
  return true;
}

/** PUNPCKL: only half of the memory operand is read. */
export function mmxUnpackLow<F extends PackedOperation>(up: usize): bool {
  if (!mmxUsable()) return false;
  const s = inMemory(up) ? reach<u32>(eaFull(up), 0) : <usize>load<u16>(up, U_B);
  if (!s) return false;
  const d = <usize>load<u16>(up, U_A);
  const v = the<F>().of(low(load<u64>(d)), low(<u64>load<u32>(s)));
  enterMmx();
  setMmx(d, i64x2.extract_lane(v, 0));
  return true;
}

/** PUNPCKH: what the operation on the low halves has in its upper one. */
export function mmxUnpackHigh<F extends PackedOperation>(up: usize): bool {
  if (!mmxUsable()) return false;
  const s = sourceMmx(up);
  if (!s) return false;
  const d = <usize>load<u16>(up, U_A);
  const v = the<F>().of(low(load<u64>(d)), low(load<u64>(s)));
  enterMmx();
  setMmx(d, i64x2.extract_lane(v, 1));
  return true;
}

/** PACK: both operands side by side become one half. */
export function mmxPack<F extends PackedOperation>(up: usize): bool {
  if (!mmxUsable()) return false;
  const s = sourceMmx(up);
  if (!s) return false;
  const d = <usize>load<u16>(up, U_A);
  const both = i64x2.replace_lane(low(load<u64>(d)), 1, load<u64>(s));
  enterMmx();
  setMmx(d, i64x2.extract_lane(the<F>().of(both, both), 0));
  return true;
}

export function mmxShift<F extends Psllw>(up: usize): bool {
  if (!mmxUsable()) return false;
  const s = sourceMmx(up);
  if (!s) return false;
  const d = <usize>load<u16>(up, U_A);
  const v = the<F>().of(low(load<u64>(d)), load<u64>(s));
  enterMmx();
  setMmx(d, i64x2.extract_lane(v, 0));
  return true;
}
export function mmxShiftBy<F extends Psllw>(up: usize): bool {
  if (!mmxUsable()) return false;
  const d = <usize>load<u16>(up, U_A);
  const v = the<F>().of(low(load<u64>(d)), <u64>load<u8>(up, U_IMM));
  enterMmx();
  setMmx(d, i64x2.extract_lane(v, 0));
  return true;
}

/** MOVD and MOVQ from a general register or memory of the width T. */
export function mmxFromGeneral<T>(up: usize): bool {
  if (!mmxUsable()) return false;
  const s = inMemory(up) ? reach<T>(eaFull(up), 0) : <usize>load<u16>(up, U_B);
  if (!s) return false;
  const v = sizeof<T>() == 4 ? <u64>load<u32>(s) : load<u64>(s);
  enterMmx();
  setMmx(<usize>load<u16>(up, U_A), v);
  return true;
}
export function mmxToGeneral<T>(up: usize): bool {
  if (!mmxUsable()) return false;
  const v = load<u64>(<usize>load<u16>(up, U_B));
  if (inMemory(up)) {
    const p = reach<T>(eaFull(up), 1);
    if (!p) return false;
    put<T>(p, <T>v);
  } else store<u64>(<usize>load<u16>(up, U_A), sizeof<T>() == 4 ? v & 0xffffffff : v);
  enterMmx();
  return true;
}

/** MOVQ from a register or memory, to a register or memory, and MOVNTQ. */
export function mmxLoad(up: usize): bool {
  if (!mmxUsable()) return false;
  const s = sourceMmx(up);
  if (!s) return false;
  const v = load<u64>(s);
  enterMmx();
  setMmx(<usize>load<u16>(up, U_A), v);
  return true;
}
export function mmxStore(up: usize): bool {
  if (!mmxUsable()) return false;
  const v = load<u64>(<usize>load<u16>(up, U_B));
  if (inMemory(up)) {
    const p = reach<u64>(eaFull(up), 1);
    if (!p) return false;
    put<u64>(p, v);
    enterMmx();
  } else {
    enterMmx();
    setMmx(<usize>load<u16>(up, U_A), v);
  }
  return true;
}

export function pshufw(up: usize): bool {
  if (!mmxUsable()) return false;
  const s = sourceMmx(up);
  if (!s) return false;
  const v = load<u64>(s);
  const order = <u64>load<u8>(up, U_IMM);
  let r: u64 = 0;
  for (let i: u64 = 0; i < 4; i++) {
    const word = (order >> (i << 1)) & 3;
    r |= ((v >> (word << 4)) & 0xffff) << (i << 4);
  }
  enterMmx();
  setMmx(<usize>load<u16>(up, U_A), r);
  return true;
}

export function mmxPinsrw(up: usize): bool {
  if (!mmxUsable()) return false;
  const s = inMemory(up) ? reach<u16>(eaFull(up), 0) : <usize>load<u16>(up, U_B);
  if (!s) return false;
  const at = (<u64>(load<u8>(up, U_IMM) & 3)) << 4;
  const d = <usize>load<u16>(up, U_A);
  const v = (load<u64>(d) & ~((<u64>0xffff) << at)) | ((<u64>load<u16>(s)) << at);
  enterMmx();
  setMmx(d, v);
  return true;
}
export function mmxPextrw(up: usize): bool {
  if (!mmxUsable()) return false;
  const v = load<u64>(<usize>load<u16>(up, U_B)) >> ((<u64>(load<u8>(up, U_IMM) & 3)) << 4);
  store<u64>(<usize>load<u16>(up, U_A), v & 0xffff);
  enterMmx();
  return true;
}

export function mmxSignMask(up: usize): bool {
  if (!mmxUsable()) return false;
  store<u64>(
    <usize>load<u16>(up, U_A),
    <u64>i8x16.bitmask(low(load<u64>(<usize>load<u16>(up, U_B)))),
  );
  enterMmx();
  return true;
}

/** MASKMOVQ: the bytes whose mask has its sign set go to DS:rDI. All eight must be there to be written. */
export function mmxMaskedStore(up: usize): bool {
  if (!mmxUsable()) return false;
  const rdi = load<u64>(RDI);
  const va = load<u8>(up, U_MISC) & MISC_ADDR32 ? <u64>(<u32>rdi) : rdi;
  const p = reach<u64>(va + load<u64>(load<u16>(up, U_SEG)), 1);
  if (!p) return false;
  const mask = i8x16.shr_s(low(load<u64>(<usize>load<u16>(up, U_B))), 7);
  const v = v128.bitselect(low(load<u64>(<usize>load<u16>(up, U_A))), low(load<u64>(p)), mask);
  put<u64>(p, i64x2.extract_lane(v, 0));
  enterMmx();
  return true;
}

/** MOVQ2DQ and MOVDQ2Q, between the two kinds of registers. */
export function movq2dq(up: usize): bool {
  if (!mmxUsable()) return false;
  const d = <usize>load<u16>(up, U_A);
  store<u64>(d, load<u64>(<usize>load<u16>(up, U_B)));
  store<u64>(d, 0, 8);
  enterMmx();
  return true;
}
export function movdq2q(up: usize): bool {
  if (!mmxUsable()) return false;
  const v = load<u64>(<usize>load<u16>(up, U_B));
  enterMmx();
  setMmx(<usize>load<u16>(up, U_A), v);
  return true;
}

/** PSHUFB: three bits of an index count here, not four. */
export function mmxPshufb(up: usize): bool {
  if (!mmxUsable()) return false;
  const s = sourceMmx(up);
  if (!s) return false;
  const d = <usize>load<u16>(up, U_A);
  const order = load<u64>(s) & 0x8787878787878787;
  const v = i8x16.swizzle(low(load<u64>(d)), low(order));
  enterMmx();
  setMmx(d, i64x2.extract_lane(v, 0));
  return true;
}

/** PALIGNR: eight bytes out of both operands side by side. */
export function mmxPalignr(up: usize): bool {
  if (!mmxUsable()) return false;
  const s = sourceMmx(up);
  if (!s) return false;
  const d = <usize>load<u16>(up, U_A);
  const n = (<u64>load<u8>(up, U_IMM)) << 3;
  const first = load<u64>(s);
  const second = load<u64>(d);
  let v: u64 = 0;
  if (n == 0) v = first;
  else if (n < 64) v = (first >> n) | (second << (64 - n));
  else if (n < 128) v = second >> (n - 64);
  enterMmx();
  setMmx(d, v);
  return true;
}

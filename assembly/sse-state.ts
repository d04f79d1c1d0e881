// The state of SSE as a whole: MXCSR, and the 512-byte image of FXSAVE and FXRSTOR in its 64-bit layout. SDM Vol. 1,
// "FXSAVE and FXRSTOR Instructions". The image has the x87 registers from ST(0) on, the machine in physical order.

import { CR0, FPU, MXCSR, Vector, XMM } from "./abi";
import { put, reach } from "./mmu";
import { Memory } from "./operand";
import { memoryAt } from "./sse-operand";
import { fault, the } from "./state";
import { setControl } from "./x87-control";
import { FDP, FIP, FOP, FSW, FTW, st, summarize } from "./x87-state";

const MXCSR_MASK: u32 = 0xffff;
const CR0_EM_TS: u64 = 12;
const AT_MXCSR: u32 = 24;
const AT_REGS: u32 = 32;
const AT_XMM: u32 = 160;
const IMAGE: u32 = 512;
const USED: u32 = 416; // what is behind belongs to software

export function ldmxcsr(up: usize): bool {
  const p = memoryAt<u32>(up, 0);
  if (!p) return false;
  const v = load<u32>(p);
  if (v & ~MXCSR_MASK) return fault(Vector.GP, 0);
  store<u32>(MXCSR, v);
  return true;
}

export function stmxcsr(up: usize): bool {
  const p = memoryAt<u32>(up, 1);
  if (!p) return false;
  put<u32>(p, load<u32>(MXCSR));
  return true;
}

/** The checks of both: every part of the image can be reached. Answers its address, or all ones with the fault recorded. */
function image<M extends Memory>(up: usize, w: i32): u64 {
  const va = the<M>().va(up);
  if (load<u64>(CR0) & CR0_EM_TS) fault(Vector.NM, 0);
  else if (va & 15) fault(Vector.GP, 0);
  else if (reach<v128>(va, w) && reach<v128>(va + IMAGE - 16, w)) return va;
  return ~(<u64>0);
}

/** T is 64 bits with REX.W; without it the pointers have 32 bits and selectors, which are not kept. */
export function fxsave<M extends Memory, T>(up: usize): bool {
  const va = image<M>(up, 1);
  if (va == ~(<u64>0)) return false;
  const cut: u64 = sizeof<T>() == 8 ? ~(<u64>0) : 0xffffffff;
  putWord(va, load<u64>(FPU));
  putWord(va + 8, load<u64>(FIP) & cut);
  putWord(va + 16, load<u64>(FDP) & cut);
  putWord(va + AT_MXCSR, (<u64>load<u32>(MXCSR)) | ((<u64>MXCSR_MASK) << 32));
  for (let i: u32 = 0; i < 8; i++) {
    putWord(va + AT_REGS + (i << 4), load<u64>(st(i)));
    putWord(va + AT_REGS + (i << 4) + 8, load<u64>(st(i), 8));
  }
  for (let i: u32 = AT_XMM; i < USED; i += 8) putWord(va + i, load<u64>(XMM + (i - AT_XMM)));
  return true;
}

export function fxrstor<M extends Memory, T>(up: usize): bool {
  const va = image<M>(up, 0);
  if (va == ~(<u64>0)) return false;
  const mxcsr = load<u32>(reach<u32>(va + AT_MXCSR, 0));
  if (mxcsr & ~MXCSR_MASK) return fault(Vector.GP, 0);
  store<u32>(MXCSR, mxcsr);
  const cut: u64 = sizeof<T>() == 8 ? ~(<u64>0) : 0xffffffff;
  const head = word(va);
  setControl(<u16>head);
  store<u16>(FSW, <u16>(head >> 16));
  store<u16>(FTW, (<u16>(head >> 32)) & 0xff);
  store<u16>(FOP, (<u16>(head >> 48)) & 0x7ff);
  store<u64>(FIP, word(va + 8) & cut);
  store<u64>(FDP, word(va + 16) & cut);
  for (let i: u32 = 0; i < 8; i++) {
    store<u64>(st(i), word(va + AT_REGS + (i << 4)));
    store<u64>(st(i), word(va + AT_REGS + (i << 4) + 8) & 0xffff, 8);
  }
  for (let i: u32 = AT_XMM; i < USED; i += 8) store<u64>(XMM + (i - AT_XMM), word(va + i));
  summarize();
  return true;
}

function putWord(va: u64, v: u64): void {
  put<u64>(reach<u64>(va, 1), v);
}
function word(va: u64): u64 {
  return load<u64>(reach<u64>(va, 0));
}

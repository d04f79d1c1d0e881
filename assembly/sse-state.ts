// The state of SSE as a whole: MXCSR, and the 512-byte image of FXSAVE and FXRSTOR in its 64-bit layout. SDM Vol. 1,
// "FXSAVE and FXRSTOR Instructions".
// DIFFERS: no x87: its part of the image is what FXRSTOR last put there, and nothing else reads it.

import { CR0, FPU, FPU_HEAD, FPU_REGS, MXCSR, Vector, XMM } from "./abi";
import { put, reach } from "./mmu";
import { Memory } from "./operand";
import { memoryAt } from "./sse-operand";
import { fault, the } from "./state";

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

export function fxsave<M extends Memory>(up: usize): bool {
  const va = image<M>(up, 1);
  if (va == ~(<u64>0)) return false;
  for (let i: u32 = 0; i < USED; i += 8) {
    let v: u64;
    if (i == AT_MXCSR) v = (<u64>load<u32>(MXCSR)) | ((<u64>MXCSR_MASK) << 32);
    else if (i < AT_REGS) v = load<u64>(FPU + i);
    else if (i < AT_XMM) v = load<u64>(FPU_REGS + (i - AT_REGS));
    else v = load<u64>(XMM + (i - AT_XMM));
    put<u64>(reach<u64>(va + i, 1), v);
  }
  return true;
}

export function fxrstor<M extends Memory>(up: usize): bool {
  const va = image<M>(up, 0);
  if (va == ~(<u64>0)) return false;
  const mxcsr = load<u32>(reach<u32>(va + AT_MXCSR, 0));
  if (mxcsr & ~MXCSR_MASK) return fault(Vector.GP, 0);
  store<u32>(MXCSR, mxcsr);
  for (let i: u32 = 0; i < USED; i += 8) {
    const v = load<u64>(reach<u64>(va + i, 0));
    if (i < <u32>FPU_HEAD) store<u64>(FPU + i, v);
    else if (i < AT_REGS) continue;
    else if (i < AT_XMM) store<u64>(FPU_REGS + (i - AT_REGS), i & 8 ? v & 0xffff : v);
    else store<u64>(XMM + (i - AT_XMM), v);
  }
  return true;
}

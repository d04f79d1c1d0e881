// Arithmetic of the x87 FPU: FADD, FSUB, FMUL, FDIV and their reversed, popping and integer forms, FSQRT, FRNDINT, FSCALE,
// FPREM, FXTRACT, FABS and FCHS. The numbers are f80.ts's; here is where operands come from and results go. SDM Vol. 2.

import { U_IMM } from "./abi";
import {
  BIAS80,
  SIGN,
  answer,
  inSe,
  inSig,
  infinity80,
  isInfinite80,
  isZero80,
  outSe,
  outSig,
  raiseF80,
  special1,
  unpackedExponent,
  unpackedSignificand,
} from "./f80";
import {
  add80,
  div80,
  divided80,
  mul80,
  quotient80,
  remainder80,
  scale80,
  sqrt80,
} from "./f80-arith";
import { giveFloat, giveInteger, integral80 } from "./f80-convert";
import { reach } from "./mmu";
import { eaFull, eaOffset } from "./operand";
import { ZE } from "./sse-round";
import { the } from "./state";
import {
  C0,
  C1,
  C2,
  C3,
  FSW,
  NO_DATA,
  answerTo,
  beginX87,
  endX87,
  isFull,
  needSt,
  popStack,
  pushStack,
  seAt,
  setConditions,
  setSt,
  sigAt,
  st,
  stackFault80,
} from "./x87-state";

/** ST(i) of the instruction. */
export function stOf(up: usize): u32 {
  return load<u8>(up, U_IMM) & 7;
}

@unmanaged
export class Fadd {
  of(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
    add80(aSe, aSig, bSe, bSig, false);
  }
}
@unmanaged
export class Fsub {
  of(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
    add80(aSe, aSig, bSe, bSig, true);
  }
}
@unmanaged
export class Fsubr {
  of(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
    add80(bSe, bSig, aSe, aSig, true);
  }
}
@unmanaged
export class Fmul {
  of(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
    mul80(aSe, aSig, bSe, bSig);
  }
}
@unmanaged
export class Fdiv {
  of(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
    div80(aSe, aSig, bSe, bSig);
  }
}
@unmanaged
export class Fdivr {
  of(aSe: u32, aSig: u64, bSe: u32, bSig: u64): void {
    div80(bSe, bSig, aSe, aSig);
  }
}

/** ST(0) with a single or double in memory. */
export function x87Float<F extends Fadd, T>(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  const p = reach<T>(va, 0);
  if (!p) return false;
  if (needSt(0)) {
    giveFloat<T>(sizeof<T>() == 4 ? <u64>load<u32>(p) : load<u64>(p));
    the<F>().of(seAt(st(0)), sigAt(st(0)), inSe, inSig);
  }
  answerTo(up, 0, eaOffset(up));
  return true;
}

/** ST(0) with an integer in memory. */
export function x87Int<F extends Fadd, T>(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  const p = reach<T>(va, 0);
  if (!p) return false;
  if (needSt(0)) {
    giveInteger(<i64>load<T>(p));
    the<F>().of(seAt(st(0)), sigAt(st(0)), inSe, inSig);
  }
  answerTo(up, 0, eaOffset(up));
  return true;
}

/** ST(0) = ST(0) op ST(i). */
export function x87Top<F extends Fadd>(up: usize): bool {
  if (!beginX87()) return false;
  const b = st(stOf(up));
  if (needSt(0) && needSt(stOf(up))) the<F>().of(seAt(st(0)), sigAt(st(0)), seAt(b), sigAt(b));
  answerTo(up, 0, NO_DATA);
  return true;
}

/** ST(i) = ST(i) op ST(0). */
export function x87Into<F extends Fadd>(up: usize): bool {
  if (!beginX87()) return false;
  into<F>(up);
  return true;
}
/** The same, and ST(0) is popped. */
export function x87IntoPop<F extends Fadd>(up: usize): bool {
  if (!beginX87()) return false;
  if (into<F>(up)) popStack();
  return true;
}
function into<F extends Fadd>(up: usize): bool {
  const a = st(stOf(up));
  if (needSt(0) && needSt(stOf(up))) the<F>().of(seAt(a), sigAt(a), seAt(st(0)), sigAt(st(0)));
  return answerTo(up, stOf(up), NO_DATA);
}

export function fsqrt(up: usize): bool {
  if (!beginX87()) return false;
  if (needSt(0)) sqrt80(seAt(st(0)), sigAt(st(0)));
  answerTo(up, 0, NO_DATA);
  return true;
}

export function frndint(up: usize): bool {
  if (!beginX87()) return false;
  if (needSt(0)) integral80(seAt(st(0)), sigAt(st(0)));
  answerTo(up, 0, NO_DATA);
  return true;
}

export function fscale(up: usize): bool {
  if (!beginX87()) return false;
  if (needSt(0) && needSt(1)) scale80(seAt(st(0)), sigAt(st(0)), seAt(st(1)), sigAt(st(1)));
  answerTo(up, 0, NO_DATA);
  return true;
}

/**
 * FPREM, and FPREM1 with the quotient to nearest. The three lowest bits of the quotient go to C0, C3 and C1; C0 and C3 stay as
 * they were when there is none.
 */
export function fprem<F extends Truncated>(up: usize): bool {
  if (!beginX87()) return false;
  let done: bool = true;
  let quotient: bool = false;
  let q: u64 = 0;
  if (needSt(0) && needSt(1)) {
    done = remainder80(seAt(st(0)), sigAt(st(0)), seAt(st(1)), sigAt(st(1)), the<F>().nearest());
    quotient = divided80();
    q = done ? quotient80() : 0;
  }
  const ends = answerTo(up, 0, NO_DATA);
  const s = (<u32>load<u16>(FSW)) & ~C2;
  if (!ends || !quotient) {
    store<u16>(FSW, <u16>s);
    return true;
  }
  store<u16>(FSW, <u16>(q & 1 ? s | C1 : s));
  setConditions((done ? 0 : C2) | (q & 4 ? C0 : 0) | (q & 2 ? C3 : 0));
  return true;
}
@unmanaged
export class Truncated {
  nearest(): bool {
    return false;
  }
}
@unmanaged
export class Nearest {
  nearest(): bool {
    return true;
  }
}

/** FXTRACT: the exponent replaces ST(0), the significand is pushed. */
export function fxtract(up: usize): bool {
  if (!beginX87()) return false;
  let se: u32 = 0;
  let sig: u64 = 0;
  if (!isFull(0) || isFull(7)) {
    stackFault80(isFull(0));
    se = outSe;
    sig = outSig;
  } else {
    const a = seAt(st(0));
    const s = sigAt(st(0));
    if (special1(a, s)) {
      se = outSe;
      sig = outSig;
    } else if (isZero80(a, s)) {
      raiseF80(ZE);
      se = a;
      infinity80(true);
    } else if (isInfinite80(a, s)) {
      se = a;
      sig = s;
      infinity80(false);
    } else {
      const e = unpackedExponent(a, s) - BIAS80;
      se = (a & SIGN) | (<u32>BIAS80);
      sig = unpackedSignificand();
      giveInteger(<i64>e);
      answer(inSe, inSig);
    }
  }
  if (!endX87(up, NO_DATA)) return true;
  setSt(0, outSe, outSig);
  pushStack(se, sig);
  return true;
}

/** FABS and FCHS touch nothing but the sign, whatever is behind it. */
export function x87Sign<F extends Fabs>(up: usize): bool {
  if (!beginX87()) return false;
  if (needSt(0)) answer(the<F>().of(seAt(st(0))), sigAt(st(0)));
  answerTo(up, 0, NO_DATA);
  return true;
}
@unmanaged
export class Fabs {
  of(se: u32): u32 {
    return se & 0x7fff;
  }
}
@unmanaged
export class Fchs {
  of(se: u32): u32 {
    return se ^ SIGN;
  }
}

// Comparisons of the x87 FPU: FCOM, FUCOM, FTST, FXAM into the condition codes, FCOMI and FUCOMI into rflags, and FCMOVcc
// out of them. SDM Vol. 1, "x87 FPU Comparison and Test Instructions".

import { CF, Cc, PF, ZF } from "./abi";
import {
  answer,
  given,
  inSe,
  inSig,
  isInfinite80,
  isNan80,
  isUnsupported,
  outSe,
  outSig,
} from "./f80";
import { compare80, giveFloat, giveInteger } from "./f80-convert";
import { CondO, lazy } from "./flags";
import { reach } from "./mmu";
import { eaFull, eaOffset } from "./operand";
import { the } from "./state";
import { stOf } from "./x87-arith";
import {
  C0,
  C1,
  C2,
  C3,
  FSW,
  NO_DATA,
  beginX87,
  endX87,
  endX87KeepingC1,
  isFull,
  needSt,
  popStack,
  seAt,
  setConditions,
  setSt,
  sigAt,
  st,
} from "./x87-state";

/** Greater, less, equal, unordered as condition codes. */
function conditions(r: i32): u32 {
  return r == 0 ? 0 : r == 1 ? C0 : r == 2 ? C3 : C0 | C2 | C3;
}

/** Which NaNs are invalid, and how many registers are popped. */
@unmanaged
export class Fcom {
  quiet(): bool {
    return false;
  }
  pops(): i32 {
    return 0;
  }
}
@unmanaged
export class Fcomp {
  quiet(): bool {
    return false;
  }
  pops(): i32 {
    return 1;
  }
}
@unmanaged
export class Fcompp {
  quiet(): bool {
    return false;
  }
  pops(): i32 {
    return 2;
  }
}
@unmanaged
export class Fucom {
  quiet(): bool {
    return true;
  }
  pops(): i32 {
    return 0;
  }
}
@unmanaged
export class Fucomp {
  quiet(): bool {
    return true;
  }
  pops(): i32 {
    return 1;
  }
}
@unmanaged
export class Fucompp {
  quiet(): bool {
    return true;
  }
  pops(): i32 {
    return 2;
  }
}

/**
 * ST(0) against what was given. DIFFERS: the manual has the codes unchanged by an invalid operation that is not masked; on
 * the CPU that the table is compared with they say "unordered" then, too.
 */
function against<F extends Fcom>(up: usize, have: bool, data: u64): void {
  let r = 3;
  if (have) r = compare80(seAt(st(0)), sigAt(st(0)), inSe, inSig, the<F>().quiet());
  const ends = endX87(up, data);
  setConditions(conditions(r));
  if (!ends) return;
  for (let i = the<F>().pops(); i; i--) popStack();
}

export function x87Compare<F extends Fcom>(up: usize): bool {
  if (!beginX87()) return false;
  const i = stOf(up);
  const have = needSt(0) && needSt(i);
  giveSt(i);
  against<F>(up, have, NO_DATA);
  return true;
}
export function x87CompareFloat<F extends Fcom, T>(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  const p = reach<T>(va, 0);
  if (!p) return false;
  const have = needSt(0);
  if (have) giveFloat<T>(sizeof<T>() == 4 ? <u64>load<u32>(p) : load<u64>(p));
  against<F>(up, have, eaOffset(up));
  return true;
}
export function x87CompareInt<F extends Fcom, T>(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  const p = reach<T>(va, 0);
  if (!p) return false;
  giveInteger(<i64>load<T>(p));
  against<F>(up, needSt(0), eaOffset(up));
  return true;
}
export function ftst(up: usize): bool {
  if (!beginX87()) return false;
  giveInteger(0);
  against<Fcom>(up, needSt(0), NO_DATA);
  return true;
}

function giveSt(i: u32): void {
  given(seAt(st(i)), sigAt(st(i)));
}

/** FCOMI and its kin: ZF, PF and CF as COMISD has them; an exception that is not masked only keeps the stack as it is. */
export function x87CompareFlags<F extends Fcom>(up: usize): bool {
  if (!beginX87()) return false;
  const i = stOf(up);
  let r = 3;
  if (needSt(0) && needSt(i)) {
    const b = st(i);
    r = compare80(seAt(st(0)), sigAt(st(0)), seAt(b), sigAt(b), the<F>().quiet());
  }
  const ends = endX87KeepingC1(up);
  lazy(Cc.Raw, r == 0 ? 0 : r == 1 ? CF : r == 2 ? ZF : CF | PF | ZF, 0, 0);
  if (!ends) return true;
  for (let k = the<F>().pops(); k; k--) popStack();
  return true;
}

/** FXAM: what kind of value ST(0) is, its sign in C1. */
export function fxam(up: usize): bool {
  if (!beginX87()) return false;
  const se = seAt(st(0));
  const sig = sigAt(st(0));
  let c: u32;
  if (!isFull(0)) c = C3 | C0;
  else if (isUnsupported(se, sig)) c = 0;
  else if (isNan80(se, sig)) c = C0;
  else if (isInfinite80(se, sig)) c = C2 | C0;
  else if (se & 0x7fff) c = C2;
  else c = sig ? C3 | C2 : C3;
  endX87(up, NO_DATA);
  setConditions(c);
  if (se >> 15) store<u16>(FSW, <u16>(load<u16>(FSW) | C1));
  return true;
}

/** FCMOVcc: an empty register is a fault even when nothing is moved. */
export function fcmov<C extends CondO>(up: usize): bool {
  if (!beginX87()) return false;
  const i = stOf(up);
  const moves = the<C>().test() != 0;
  if (needSt(0) && needSt(i)) {
    const from = st(moves ? i : 0);
    answer(seAt(from), sigAt(from));
  }
  if (endX87KeepingC1(up)) setSt(0, outSe, outSig);
  return true;
}

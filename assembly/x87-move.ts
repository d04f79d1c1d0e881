// Loads, stores and exchanges of the x87 FPU: FLD, FST, FILD, FIST, FISTTP, FBLD, FBSTP, FXCH and the constants. A memory
// operand is reached before anything else happens. SDM Vol. 2; Vol. 1, "x87 FPU Data Types" for what is stored when
// the value does not fit.

import {
  TOP_BIT,
  answer,
  beginF80,
  inSe,
  inSig,
  isSignalling80,
  outSe,
  outSig,
  raiseF80,
  raisedF80,
  roundingMode80,
} from "./f80";
import { giveFloat, giveInteger, narrow, toInteger80 } from "./f80-convert";
import { put, reach } from "./mmu";
import { eaFull, eaOffset } from "./operand";
import { IE } from "./sse-round";
import { the } from "./state";
import { stOf } from "./x87-arith";
import {
  NO_DATA,
  beginX87,
  endLoad,
  endStore,
  endX87,
  isFull,
  needRoom,
  needSt,
  popStack,
  pushStack,
  seAt,
  setSt,
  sigAt,
  st,
  stackFault80,
} from "./x87-state";

/** Pushes the answer unless an exception forbids it. */
function push(up: usize, data: u64): void {
  if (endLoad(up, data)) pushStack(outSe, outSig);
}

/** FLD of a single or double. */
export function fldFloat<T>(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  const p = reach<T>(va, 0);
  if (!p) return false;
  if (needRoom()) {
    giveFloat<T>(sizeof<T>() == 4 ? <u64>load<u32>(p) : load<u64>(p));
    let sig = inSig;
    if (isSignalling80(inSe, sig)) {
      raiseF80(IE);
      sig |= TOP_BIT >> 1;
    }
    answer(inSe, sig);
  }
  push(up, eaOffset(up));
  return true;
}

export function fild<T>(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  const p = reach<T>(va, 0);
  if (!p) return false;
  if (needRoom()) {
    giveInteger(<i64>load<T>(p));
    answer(inSe, inSig);
  }
  push(up, eaOffset(up));
  return true;
}

/** Whether ten bytes can be reached; they may lie in two pages. */
function reachTen(va: u64, w: i32): bool {
  return reach<u64>(va, w) != 0 && reach<u16>(va + 8, w) != 0;
}

/** FLD of 80 bits: whatever it is, as it is. */
export function fldExtended(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  if (!reachTen(va, 0)) return false;
  if (needRoom()) {
    const sig = load<u64>(reach<u64>(va, 0));
    answer(load<u16>(reach<u16>(va + 8, 0)), sig);
  }
  push(up, eaOffset(up));
  return true;
}

export function fldSt(up: usize): bool {
  if (!beginX87()) return false;
  const i = stOf(up);
  if (needSt(i) && needRoom()) answer(seAt(st(i)), sigAt(st(i)));
  push(up, NO_DATA);
  return true;
}

/** Whether a store pops. */
@unmanaged
export class Keeps {
  pops(): bool {
    return false;
  }
}
@unmanaged
export class Pops {
  pops(): bool {
    return true;
  }
}

/** FST and FSTP of a single or double. */
export function fstFloat<K extends Keeps, T>(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  if (!reach<T>(va, 1)) return false;
  if (!needSt(0)) answer(0xffff, 0xc000000000000000);
  else answer(seAt(st(0)), sigAt(st(0)));
  const v = narrow<T>(outSe, outSig);
  if (!endStore(up, eaOffset(up))) return true;
  if (sizeof<T>() == 4) put<u32>(reach<u32>(va, 1), <u32>v);
  else put<u64>(reach<u64>(va, 1), v);
  if (the<K>().pops()) popStack();
  return true;
}

function putTen(va: u64, low: u64, high: u16): void {
  put<u64>(reach<u64>(va, 1), low);
  put<u16>(reach<u16>(va + 8, 1), high);
}

/** FSTP of 80 bits. */
export function fstpExtended(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  if (!reachTen(va, 1)) return false;
  if (needSt(0)) answer(seAt(st(0)), sigAt(st(0)));
  if (!endX87(up, eaOffset(up))) return true;
  putTen(va, outSig, <u16>outSe);
  popStack();
  return true;
}

/** FST and FSTP to a register, which may be empty. */
export function fstSt<K extends Keeps>(up: usize): bool {
  if (!beginX87()) return false;
  if (needSt(0)) answer(seAt(st(0)), sigAt(st(0)));
  if (!endX87(up, NO_DATA)) return true;
  setSt(stOf(up), outSe, outSig);
  if (the<K>().pops()) popStack();
  return true;
}

/** FSTPNCE: FSTP to a register without an exception; of an empty one it stores nothing. */
export function fstUnchecked(up: usize): bool {
  if (!beginX87()) return false;
  endX87(up, NO_DATA);
  if (isFull(0)) setSt(stOf(up), seAt(st(0)), sigAt(st(0)));
  popStack();
  return true;
}

/** FIST and FISTP round as the control word says, FISTTP towards zero. */
@unmanaged
export class Fist {
  truncates(): bool {
    return false;
  }
  pops(): bool {
    return false;
  }
}
@unmanaged
export class Fistp {
  truncates(): bool {
    return false;
  }
  pops(): bool {
    return true;
  }
}
@unmanaged
export class Fisttp {
  truncates(): bool {
    return true;
  }
  pops(): bool {
    return true;
  }
}
export function x87ToInt<F extends Fist, T>(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  const p = reach<T>(va, 1);
  if (!p) return false;
  const bits = <i32>(sizeof<T>() * 8);
  const have = needSt(0);
  const v = have
    ? toInteger80(seAt(st(0)), sigAt(st(0)), bits, the<F>().truncates())
    : -(<i64>((<u64>1) << (bits - 1)));
  if (!endX87(up, eaOffset(up))) return true;
  put<T>(p, <T>v);
  if (the<F>().pops()) popStack();
  return true;
}

const DIGITS: i64 = 999999999999999999;

/** FBLD: eighteen decimal digits. What other digits than decimal ones mean is not defined; they count as what they are. */
export function fbld(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  if (!reachTen(va, 0)) return false;
  if (needRoom()) {
    const low = load<u64>(reach<u64>(va, 0));
    const high = load<u16>(reach<u16>(va + 8, 0));
    let n: u64 = <u64>((high >> 4) & 15) * 10 + <u64>(high & 15);
    for (let i = 60; i >= 0; i -= 4) n = n * 10 + ((low >> i) & 15);
    giveInteger(<i64>n);
    answer(inSe | (high & 0x8000), inSig);
  }
  push(up, eaOffset(up));
  return true;
}

export function fbstp(up: usize): bool {
  if (!beginX87()) return false;
  const va = eaFull(up);
  if (!reachTen(va, 1)) return false;
  const se = seAt(st(0));
  let low: u64 = 0xc000000000000000;
  let high: u16 = 0xffff;
  if (needSt(0)) {
    const before = raisedF80();
    const v = toInteger80(se, sigAt(st(0)), 64, false);
    if (v > DIGITS || v < -DIGITS) {
      if (!(raisedF80() & IE)) {
        beginF80();
        raiseF80(before | IE);
      }
    } else {
      let n = <u64>(v < 0 ? -v : v);
      low = 0;
      for (let i = 0; i < 64; i += 4) {
        low |= (n % 10) << i;
        n /= 10;
      }
      high = (<u16>((n / 10) << 4)) | (<u16>(n % 10)) | (<u16>(se & 0x8000));
    }
  }
  if (!endX87(up, eaOffset(up))) return true;
  putTen(va, low, high);
  popStack();
  return true;
}

/** FXCH: an empty register takes part as the indefinite value. */
export function fxch(up: usize): bool {
  if (!beginX87()) return false;
  const i = stOf(up);
  let aSe = seAt(st(0));
  let aSig = sigAt(st(0));
  let bSe = seAt(st(i));
  let bSig = sigAt(st(i));
  if (!isFull(0)) {
    stackFault80(false);
    aSe = outSe;
    aSig = outSig;
  }
  if (!isFull(i)) {
    stackFault80(false);
    bSe = outSe;
    bSig = outSig;
  }
  if (!endX87(up, NO_DATA)) return true;
  setSt(0, bSe, bSig);
  setSt(i, aSe, aSig);
  return true;
}

/** The constants, as cut off and with what rounding adds: to nearest, and towards positive infinity. */
@unmanaged
export class Fld1 {
  se(): u32 {
    return 0x3fff;
  }
  sig(): u64 {
    return TOP_BIT;
  }
  nearest(): u64 {
    return 0;
  }
  up(): u64 {
    return 0;
  }
}
@unmanaged
export class Fldz {
  se(): u32 {
    return 0;
  }
  sig(): u64 {
    return 0;
  }
  nearest(): u64 {
    return 0;
  }
  up(): u64 {
    return 0;
  }
}
@unmanaged
export class Fldl2t {
  se(): u32 {
    return 0x4000;
  }
  sig(): u64 {
    return 0xd49a784bcd1b8afe;
  }
  nearest(): u64 {
    return 0;
  }
  up(): u64 {
    return 1;
  }
}
@unmanaged
export class Fldl2e {
  se(): u32 {
    return 0x3fff;
  }
  sig(): u64 {
    return 0xb8aa3b295c17f0bb;
  }
  nearest(): u64 {
    return 1;
  }
  up(): u64 {
    return 1;
  }
}
@unmanaged
export class Fldpi {
  se(): u32 {
    return 0x4000;
  }
  sig(): u64 {
    return 0xc90fdaa22168c234;
  }
  nearest(): u64 {
    return 1;
  }
  up(): u64 {
    return 1;
  }
}
@unmanaged
export class Fldlg2 {
  se(): u32 {
    return 0x3ffd;
  }
  sig(): u64 {
    return 0x9a209a84fbcff798;
  }
  nearest(): u64 {
    return 1;
  }
  up(): u64 {
    return 1;
  }
}
@unmanaged
export class Fldln2 {
  se(): u32 {
    return 0x3ffe;
  }
  sig(): u64 {
    return 0xb17217f7d1cf79ab;
  }
  nearest(): u64 {
    return 1;
  }
  up(): u64 {
    return 1;
  }
}
export function fldConstant<F extends Fld1>(up: usize): bool {
  if (!beginX87()) return false;
  const mode = roundingMode80();
  const more = mode == 0 ? the<F>().nearest() : mode == 2 ? the<F>().up() : 0;
  if (needRoom()) answer(the<F>().se(), the<F>().sig() + more);
  push(up, NO_DATA);
  return true;
}

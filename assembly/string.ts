// String instructions, one element at a time with all registers up to date, so that a fault in the middle of a REP
// leaves a state from which the same instruction goes on. A REP counts as one instruction, when it is done; it comes up
// for events after every REP_BATCH iterations, and each time that it does takes a unit of time.
// SDM Vol. 2: "REP/REPE/REPZ/REPNE/REPNZ", "MOVS", "STOS", "LODS", "SCAS", "CMPS".

import {
  DF,
  EFL,
  INT_SHADOW,
  MISC_ADDR32,
  MISC_REP,
  MISC_REPNE,
  ONE,
  RAX,
  RCX,
  RDI,
  RSI,
  SHADOW_REP,
  U_MISC,
  U_SEG,
} from "./abi";
import { Cmp } from "./alu";
import { zero } from "./flags";
import { put, reach, reachRun } from "./mmu";
import { the } from "./state";

const REP_BATCH: u64 = 64;

export function step<T>(): i64 {
  return load<u32>(EFL) & DF ? -(<i64>sizeof<T>()) : <i64>sizeof<T>();
}

export function address(r: usize, up: usize): u64 {
  return load<u8>(up, U_MISC) & MISC_ADDR32 ? <u64>load<u32>(r) : load<u64>(r);
}

export function advance(r: usize, up: usize, by: i64): void {
  const v = load<i64>(r) + by;
  store<u64>(r, load<u8>(up, U_MISC) & MISC_ADDR32 ? <u64>(<u32>v) : <u64>v);
}

export function source<T>(up: usize): usize {
  return reach<T>(address(RSI, up) + load<u64>(load<u16>(up, U_SEG)), 0);
}

/** How many of `most` elements from `va` on lie in its page. */
function inPage<T>(va: u64, most: u64): u64 {
  return min<u64>(most, (4096 - (va & 4095)) / sizeof<T>());
}

// `do` is one element. `many` does up to `most` upward at once where they lie in one page and answers how many it did, 0
// when they have to be done one by one.
@unmanaged
export class Movs {
  many<T>(up: usize, most: u64): u64 {
    const to = load<u64>(RDI);
    const from = load<u64>(RSI) + load<u64>(load<u16>(up, U_SEG));
    const n = min<u64>(inPage<T>(from, most), inPage<T>(to, most));
    if (n < 2) return 0;
    const bytes = <u32>(n * sizeof<T>());
    const s = reachRun(from, bytes, 0);
    if (!s) return 0;
    const d = reachRun(to, bytes, 1);
    // What is written a little further on is read again: element by element, it repeats.
    if (!d || d - s < <usize>bytes) return 0;
    memory.copy(d, s, bytes);
    store<u64>(RSI, load<u64>(RSI) + bytes);
    store<u64>(RDI, to + bytes);
    return n;
  }
  compares(): bool {
    return false;
  }
  do<T>(up: usize): bool {
    const s = source<T>(up);
    if (!s) return false;
    const v = load<T>(s);
    const d = reach<T>(address(RDI, up), 1);
    if (!d) return false;
    put<T>(d, v);
    advance(RSI, up, step<T>());
    advance(RDI, up, step<T>());
    return true;
  }
}
@unmanaged
export class Stos {
  many<T>(up: usize, most: u64): u64 {
    const to = load<u64>(RDI);
    const n = inPage<T>(to, most);
    if (n < 2) return 0;
    const bytes = <u32>(n * sizeof<T>());
    const d = reachRun(to, bytes, 1);
    if (!d) return 0;
    if (sizeof<T>() == 1) memory.fill(d, load<u8>(RAX), bytes);
    else for (let i: u32 = 0; i < bytes; i += sizeof<T>()) store<T>(d + i, load<T>(RAX));
    store<u64>(RDI, to + bytes);
    return n;
  }
  compares(): bool {
    return false;
  }
  do<T>(up: usize): bool {
    const d = reach<T>(address(RDI, up), 1);
    if (!d) return false;
    put<T>(d, load<T>(RAX));
    advance(RDI, up, step<T>());
    return true;
  }
}
@unmanaged
export class Lods {
  many<T>(up: usize, most: u64): u64 {
    return 0;
  }
  compares(): bool {
    return false;
  }
  do<T>(up: usize): bool {
    const s = source<T>(up);
    if (!s) return false;
    if (sizeof<T>() == 4) store<u64>(RAX, <u64>load<u32>(s));
    else store<T>(RAX, load<T>(s));
    advance(RSI, up, step<T>());
    return true;
  }
}
@unmanaged
export class Scas {
  many<T>(up: usize, most: u64): u64 {
    return 0;
  }
  compares(): bool {
    return true;
  }
  do<T>(up: usize): bool {
    const d = reach<T>(address(RDI, up), 0);
    if (!d) return false;
    the<Cmp>().do<T>(<i64>load<T>(RAX), <i64>load<T>(d));
    advance(RDI, up, step<T>());
    return true;
  }
}
@unmanaged
export class Cmps {
  many<T>(up: usize, most: u64): u64 {
    return 0;
  }
  compares(): bool {
    return true;
  }
  do<T>(up: usize): bool {
    // The second operand is read first, as CPUs do: it counts when both fault.
    const d = reach<T>(address(RDI, up), 0);
    if (!d) return false;
    const b = <i64>load<T>(d);
    const s = source<T>(up);
    if (!s) return false;
    the<Cmp>().do<T>(<i64>load<T>(s), b);
    advance(RSI, up, step<T>());
    advance(RDI, up, step<T>());
    return true;
  }
}

/** False without a fault when there are iterations left after a batch of them. */
export function stringOp<F extends Movs, T>(up: usize): bool {
  const m = load<u8>(up, U_MISC);
  if (!(m & (MISC_REP | MISC_REPNE))) return the<F>().do<T>(up);
  const alone = load<u32>(ONE) != 0;
  const plain = !alone && !(load<u32>(EFL) & DF) && !(m & MISC_ADDR32);
  let left: u64 = alone ? 1 : REP_BATCH;
  while (address(RCX, up)) {
    if (!left) {
      store<i32>(INT_SHADOW, SHADOW_REP);
      return false;
    }
    const n = plain ? the<F>().many<T>(up, min<u64>(left, load<u64>(RCX))) : 0;
    if (n) {
      store<u64>(RCX, load<u64>(RCX) - n);
      left -= n;
      continue;
    }
    left--;
    if (!the<F>().do<T>(up)) return false;
    advance(RCX, up, -1);
    if (the<F>().compares() && zero() == i32((m & MISC_REPNE) != 0)) break;
  }
  return true;
}

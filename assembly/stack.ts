// Push and pop. Every rise of rsp is told to the shadow, and a push never records: only CALL makes frames.
// SDM Vol. 2: "PUSH", "POP", "PUSHF", "POPF", "ENTER", "LEAVE".

import {
  AC,
  ARITH,
  CPL,
  DF,
  EFL,
  ID,
  IF,
  IOPL,
  NT,
  RAX,
  RBP,
  RF,
  RSP,
  TF,
  U_A,
  U_IMM,
} from "./abi";
import { rflags, setArithmetic } from "./flags";
import { mayWriteStack, put, reachStack, setEfl } from "./mmu";
import { Operand } from "./operand";
import { rose } from "./shadow";
import { nextRip, leaveAt, the } from "./state";

export function pushValue<T>(v: i64): bool {
  const sp = load<u64>(RSP) - sizeof<T>();
  const p = reachStack<T>(sp, 1);
  if (!p) return false;
  put<T>(p, <T>v);
  store<u64>(RSP, sp);
  return true;
}

export function push<S extends Operand, T>(up: usize): bool {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  return pushValue<T>(the<S>().get<T>(up, s));
}

/** POP: the address of a memory destination is worked out after rsp was raised. */
export function pop<D extends Operand, T>(up: usize): bool {
  const sp = load<u64>(RSP);
  const p = reachStack<T>(sp, 0);
  if (!p) return false;
  const v = <i64>load<T>(p);
  store<u64>(RSP, sp + sizeof<T>());
  const d = the<D>().at<T>(up, 1);
  if (the<D>().mem() && !d) {
    store<u64>(RSP, sp);
    return false;
  }
  the<D>().put<T>(d, v);
  if (the<D>().mem() || load<u16>(up, U_A) != RSP) rose(sp + sizeof<T>());
  return true;
}

export function pushSelector<T>(up: usize): bool {
  return pushValue<T>(<i64>load<u16>(load<u16>(up, U_A)));
}

export function leave<T>(up: usize): bool {
  const bp = load<u64>(RBP);
  const p = reachStack<T>(bp, 0);
  if (!p) return false;
  const v = load<T>(p);
  store<u64>(RSP, bp + sizeof<T>());
  store<T>(RBP, v);
  return true;
}

/**
 * ENTER: imm16 bytes, imm8 levels. SDM Vol. 2, "ENTER": a final rsp that could not be written through is a page fault,
 * too. DIFFERS: an ENTER that faults has written nothing; CPUs may have written some of its slots.
 */
export function enter<T>(up: usize): bool {
  const size = <u64>load<u16>(up, U_IMM);
  const level = load<u8>(up, U_IMM + 2) & 31;
  const sp = load<u64>(RSP);
  const bp = load<u64>(RBP);
  const frame = sp - sizeof<T>();
  const bottom = frame - <u64>level * sizeof<T>();
  // All slots are checked before the first is written, in the order in which they are used.
  if (!reachStack<T>(frame, 1)) return false;
  for (let i: u64 = 1; i < level; i++) {
    if (!reachStack<T>(bp - i * sizeof<T>(), 0)) return false;
    if (!reachStack<T>(frame - i * sizeof<T>(), 1)) return false;
  }
  if (level && !reachStack<T>(bottom, 1)) return false;
  if (!mayWriteStack<T>(bottom - size)) return false;
  put<T>(reachStack<T>(frame, 1), <T>bp);
  for (let i: u64 = 1; i < level; i++) {
    const v = load<T>(reachStack<T>(bp - i * sizeof<T>(), 0));
    put<T>(reachStack<T>(frame - i * sizeof<T>(), 1), v);
  }
  if (level) put<T>(reachStack<T>(bottom, 1), <T>frame);
  store<T>(RBP, <T>frame);
  store<u64>(RSP, bottom - size);
  return true;
}

export function pushFlags<T>(up: usize): bool {
  return pushValue<T>(<i64>(rflags() & ~(<u64>RF)));
}

/** Loads what the present privilege may change. SDM Vol. 2, "POPF", Table of effects. */
export function setFlags(v: u64, width: i32): void {
  let mask = <u64>(ARITH | TF | DF | NT);
  if (width > 2) mask |= AC | ID;
  const level = load<i32>(CPL);
  if (level == 0) mask |= IOPL | IF;
  else if (level <= <i32>((load<u64>(EFL) >> 12) & 3)) mask |= IF;
  const keep = width > 2 ? ~(mask | (<u64>RF)) : ~mask;
  setEfl(((load<u64>(EFL) & keep) | (v & mask)) & ~(<u64>ARITH));
  setArithmetic(<i32>v);
}

/** POPF ends its block, because it may open the door to an interrupt. */
export function popFlags<T>(up: usize): usize {
  const sp = load<u64>(RSP);
  const p = reachStack<T>(sp, 0);
  if (!p) {
    return 0;
  }
  const v = <u64>load<T>(p);
  store<u64>(RSP, sp + sizeof<T>());
  rose(sp + sizeof<T>());
  setFlags(v, sizeof<T>());
  leaveAt(up, nextRip(up), 1);
  return 0;
}

/** LAHF and SAHF. */
export function lahf(up: usize): bool {
  store<u8>(RAX + 1, <u8>rflags());
  return true;
}

export function sahf(up: usize): bool {
  const f = load<u8>(RAX + 1);
  setArithmetic(((<i32>rflags()) & 0x800) | ((<i32>f) & 0xd5));
  return true;
}

export function setDirection<F extends Std>(up: usize): bool {
  const v = load<u64>(EFL);
  store<u64>(EFL, the<F>().on() ? v | DF : v & ~(<u64>DF));
  return true;
}
@unmanaged
export class Cld {
  on(): bool {
    return false;
  }
}
@unmanaged
export class Std {
  on(): bool {
    return true;
  }
}

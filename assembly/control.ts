// Jumps, calls and returns. These end a block: they answer the next block's address when it is known, or 0 with RIP
// set (and the charge given back) for `run` to look up, or 0 with a fault. CALL records its frame in the shadow.

import {
  B_LIVE,
  JUMPS,
  JUMP_ENTRIES,
  NO_LINK,
  RCX,
  RIP,
  RIP_PAGE,
  RSP,
  U_IMM,
  U_LEN,
  U_LINK,
  U_LINK2,
  U_MISC,
  U_OFF,
  MISC_ADDR32,
  U_TARGET,
  FrameKind,
  Vector,
} from "./abi";
import { cetOn, trackIndirect } from "./cet";
import { CondA } from "./flags";
import { put, reachStack } from "./mmu";
import { Operand } from "./operand";
import { record, rose } from "./shadow";
import { fault, nextRip, the } from "./state";

// Where `run` may store the block that it finds for a direct branch within its page.
let linkFrom: usize = 0;

export function takeLink(): usize {
  const l = linkFrom;
  linkFrom = 0;
  return l;
}

function canonical(va: u64): bool {
  return <u64>(((<i64>va) << 16) >> 16) == va;
}

/** On to `target`, relative to the page: through the link when it is there, else by look-up. */
function follow(up: usize, slot: usize, target: i64): usize {
  const b = load<u32>(up + slot);
  if (b != NO_LINK) return b;
  if (<u64>target < 4096) linkFrom = up + slot;
  store<u64>(RIP, load<u64>(RIP_PAGE) + <u64>target);
  return 0;
}

function targetOf(up: usize): u64 {
  return load<u64>(RIP_PAGE) + load<u64>(up, U_TARGET);
}

/**
 * Whether a branch to `va` may be taken: one out of the canonical addresses is #GP(0) and has not happened. SDM Vol. 2, "Jcc",
 * "JMP", "CALL", "LOOP/LOOPcc", "RET": Operation, and 64-Bit Mode Exceptions.
 */
function reachable(va: u64): bool {
  return canonical(va) || fault(Vector.GP, 0);
}

function taken(up: usize): usize {
  return reachable(targetOf(up)) ? follow(up, U_LINK, load<i64>(up, U_TARGET)) : 0;
}

/** An indirect branch to a canonical address. */
function jumpTo(va: u64): usize {
  const j = <usize>load<u32>(JUMPS) + (((<usize>(va ^ (va >> 12))) & (JUMP_ENTRIES - 1)) << 4);
  if (load<u64>(j) == va) {
    const b = load<u32>(j, 8);
    if (load<u32>(b, B_LIVE)) {
      store<u64>(RIP_PAGE, va & ~(<u64>4095));
      return b;
    }
  }
  store<u64>(RIP, va);
  return 0;
}

/** A near indirect call or jump: under CET the landing is looked at before anything executes there. */
function tracked(up: usize, va: u64): usize {
  if (!cetOn()) return jumpTo(va);
  trackIndirect(up);
  store<u64>(RIP, va);
  return 0;
}

function after(up: usize): i64 {
  return <i64>(load<u16>(up, U_OFF) + <u32>load<u8>(up, U_LEN));
}

/** The end of a block that no branch ended. The record stands at the next instruction, with length 0. */
export function goOn(up: usize): usize {
  return follow(up, U_LINK, <i64>load<u16>(up, U_OFF));
}

export function jmp(up: usize): usize {
  return taken(up);
}

export function jcc<F extends CondA>(up: usize): usize {
  return the<F>().test() ? taken(up) : follow(up, U_LINK2, after(up));
}

function counter(up: usize): u64 {
  return load<u8>(up, U_MISC) & MISC_ADDR32 ? <u64>load<u32>(RCX) : load<u64>(RCX);
}

export function jrcxz(up: usize): usize {
  return counter(up) ? follow(up, U_LINK2, after(up)) : taken(up);
}

/** LOOP, LOOPE, LOOPNE. */
export function loop<F extends CondA>(up: usize): usize {
  const n = load<u64>(RCX) - 1;
  const left = load<u8>(up, U_MISC) & MISC_ADDR32 ? <u64>(<u32>n) : n;
  const goes = left != 0 && the<F>().test() != 0;
  if (goes && !reachable(targetOf(up))) return 0;
  store<u64>(RCX, left);
  return goes ? follow(up, U_LINK, load<i64>(up, U_TARGET)) : follow(up, U_LINK2, after(up));
}
@unmanaged
export class Always {
  test(): i32 {
    return 1;
  }
  ofSub(r: i64, a: i64, b: i64): i32 {
    return 1;
  }
  ofLogic(r: i64): i32 {
    return 1;
  }
}

/** What a call to `target` does with the stack, whose slot is looked at first. */
function pushReturn(ret: u64, target: u64): bool {
  const sp = load<u64>(RSP) - 8;
  const p = reachStack<u64>(sp, 1);
  if (!p || !reachable(target)) return false;
  put<u64>(p, ret);
  store<u64>(RSP, sp);
  return true;
}

export function call(up: usize): usize {
  const ret = nextRip(up);
  if (!pushReturn(ret, targetOf(up))) return 0;
  const target = load<i64>(up, U_TARGET);
  if (target != after(up)) record(load<u64>(RSP), ret, FrameKind.Call);
  return follow(up, U_LINK, target);
}

export function callIndirect<S extends Operand, T>(up: usize): usize {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return 0;
  const target = <u64>the<S>().get<T>(up, s);
  const ret = nextRip(up);
  if (!pushReturn(ret, target)) return 0;
  record(load<u64>(RSP), ret, FrameKind.Call);
  return tracked(up, target);
}

export function jmpIndirect<S extends Operand, T>(up: usize): usize {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return 0;
  const target = <u64>the<S>().get<T>(up, s);
  if (!reachable(target)) return 0;
  return tracked(up, target);
}

export function ret(up: usize): usize {
  const sp = load<u64>(RSP);
  const p = reachStack<u64>(sp, 0);
  if (!p) return 0;
  const target = load<u64>(p);
  if (!reachable(target)) return 0;
  store<u64>(RSP, sp + 8);
  rose(sp + 8);
  return jumpTo(target);
}

/** RET imm16. */
export function retPop(up: usize): usize {
  const sp = load<u64>(RSP);
  const p = reachStack<u64>(sp, 0);
  if (!p) return 0;
  const target = load<u64>(p);
  if (!reachable(target)) return 0;
  const to = sp + 8 + <u64>load<u16>(up, U_IMM);
  store<u64>(RSP, to);
  rose(to);
  return jumpTo(target);
}

// The near forms of micro-ops: what the hot loop of the interpreter has of the commonest ones. A near form does its work
// when everything is at hand (the page in the TLB, the successor known, the shadow within reach) and otherwise leaves with
// nothing done, so that the general statement of the same micro-op decides. Nothing here calls a function that is not
// taken in, and nothing has an effect before its last check.

import {
  CC_A,
  CC_B,
  CC_OP,
  CC_R,
  Cc,
  FIRST_ROW_UOP,
  FrameKind,
  JUMPS,
  JUMP_ENTRIES,
  LINK,
  MISS,
  MISSED,
  NEAR_SENSE,
  PAGE_CLEAN,
  RAM,
  RBP,
  RIP_PAGE,
  ROW_OF,
  RSP,
  STK_LO,
  STK_SHADOW,
  STK_SIZE,
  STK_TOP,
  STK_TOP_VA,
  S_KIND,
  S_LINK,
  S_RET,
  UOP_SIZE,
  U_A,
  U_B,
  U_FACTOR,
  U_IMM,
  U_INDEX,
  U_LEN,
  U_LINK,
  U_OFF,
  U_SENSE,
  U_TARGET,
} from "./abi";
import { Add } from "./alu";
import { cetOn } from "./cet";
import { CondE, lazy } from "./flags";
import { NOT_THERE, placed } from "./mmu";
import { ea } from "./operand";
import { the } from "./state";

/** A step that was not done: the record that makes the loop end at `up`. */
export function miss(up: usize): usize {
  store<u32>(MISSED, up);
  return MISS;
}

// Operand classes of the near forms. `p` is the place in RAM of the one operand in memory that a form may have; the dispatch
// finds it (src/isa/dispatch.ts), or leaves.
@unmanaged
export class NearA {
  mem(): bool {
    return false;
  }
  va(up: usize): u64 {
    return 0;
  }
  get<T>(up: usize, p: usize): i64 {
    return <i64>load<T>(load<u16>(up, U_A));
  }
  put<T>(up: usize, p: usize, v: i64): void {
    const d = <usize>load<u16>(up, U_A);
    if (sizeof<T>() == 8) store<i64>(d, v);
    else if (sizeof<T>() == 4) store<u64>(d, <u64>(<u32>v));
    else store<T>(d, <T>v);
  }
}
@unmanaged
export class NearB {
  mem(): bool {
    return false;
  }
  va(up: usize): u64 {
    return 0;
  }
  get<T>(up: usize, p: usize): i64 {
    return <i64>load<T>(load<u16>(up, U_B));
  }
  put<T>(up: usize, p: usize, v: i64): void {}
}
@unmanaged
export class NearConstant {
  mem(): bool {
    return false;
  }
  va(up: usize): u64 {
    return 0;
  }
  get<T>(up: usize, p: usize): i64 {
    return load<i64>(up, U_IMM);
  }
  put<T>(up: usize, p: usize, v: i64): void {}
}
/** Base and displacement. */
@unmanaged
export class Near {
  mem(): bool {
    return true;
  }
  va(up: usize): u64 {
    return ea(up);
  }
  get<T>(up: usize, p: usize): i64 {
    return <i64>load<T>(p, RAM);
  }
  put<T>(up: usize, p: usize, v: i64): void {
    store<T>(p, <T>v, RAM);
  }
}
/** Base, index and displacement, without a segment base and in 64 bits: U_FACTOR is what the index is multiplied by. */
@unmanaged
export class NearX {
  mem(): bool {
    return true;
  }
  va(up: usize): u64 {
    return ea(up) + load<u64>(load<u16>(up, U_INDEX)) * <u64>(<i64>load<i16>(up, U_FACTOR));
  }
  get<T>(up: usize, p: usize): i64 {
    return <i64>load<T>(p, RAM);
  }
  put<T>(up: usize, p: usize, v: i64): void {
    store<T>(p, <T>v, RAM);
  }
}
/** The slot that a push writes. */
@unmanaged
export class NearBelow {
  va(up: usize): u64 {
    return load<u64>(RSP) - 8;
  }
}
/** The slot that a pop reads. */
@unmanaged
export class NearTop {
  va(up: usize): u64 {
    return load<u64>(RSP);
  }
}
/** The slot that LEAVE reads. */
@unmanaged
export class NearFrame {
  va(up: usize): u64 {
    return load<u64>(RBP);
  }
}

/** The row's micro-op of a record with near form `id`. */
export function rowOf(up: usize, id: i32): i32 {
  const row = <i32>load<u16>(ROW_OF + (id << 1));
  if (!(row & NEAR_SENSE)) return row;
  if (load<u8>(up, U_SENSE)) return row & ~NEAR_SENSE;
  return <i32>load<u16>(ROW_OF + ((id + FIRST_ROW_UOP) << 1));
}

// The steps answer the next record.

export function nearAlu<F extends Add, D extends NearA, S extends NearA, T>(
  up: usize,
  p: usize,
): usize {
  const b = the<S>().get<T>(up, p);
  const v = the<F>().do<T>(the<D>().get<T>(up, p), b);
  if (the<F>().writes()) the<D>().put<T>(up, p, v);
  return up + UOP_SIZE;
}

/** ADC of a register behind a comparison or subtraction. */
export function nearAdc<D extends NearA, S extends NearA, T>(up: usize, p: usize): usize {
  if (load<i32>(CC_OP) != Cc.Sub) return miss(up);
  const c = i64(load<u64>(CC_A) < load<u64>(CC_B));
  const a = the<D>().get<T>(up, p);
  const b = the<S>().get<T>(up, p);
  const v = <i64>(<T>(a + b + c));
  lazy(c ? Cc.Adc : Cc.Add, v, a, b);
  the<D>().put<T>(up, p, v);
  return up + UOP_SIZE;
}

/** SBB likewise. */
export function nearSbb<D extends NearA, S extends NearA, T>(up: usize, p: usize): usize {
  if (load<i32>(CC_OP) != Cc.Sub) return miss(up);
  const c = i64(load<u64>(CC_A) < load<u64>(CC_B));
  const a = the<D>().get<T>(up, p);
  const b = the<S>().get<T>(up, p);
  const v = <i64>(<T>(a - b - c));
  lazy(c ? Cc.Sbb : Cc.Sub, v, a, b);
  the<D>().put<T>(up, p, v);
  return up + UOP_SIZE;
}

// Quiet operations leave the flags alone: for when the next instructions that could be seen or stopped at overwrite them.
@unmanaged
export class QuietAdd {
  writes(): bool {
    return true;
  }
  do<T>(a: i64, b: i64): i64 {
    return a + b;
  }
}
@unmanaged
export class QuietSub {
  writes(): bool {
    return true;
  }
  do<T>(a: i64, b: i64): i64 {
    return a - b;
  }
}
@unmanaged
export class QuietAnd {
  writes(): bool {
    return true;
  }
  do<T>(a: i64, b: i64): i64 {
    return a & b;
  }
}
@unmanaged
export class QuietOr {
  writes(): bool {
    return true;
  }
  do<T>(a: i64, b: i64): i64 {
    return a | b;
  }
}
@unmanaged
export class QuietXor {
  writes(): bool {
    return true;
  }
  do<T>(a: i64, b: i64): i64 {
    return a ^ b;
  }
}
@unmanaged
export class QuietShl {
  do<T>(a: i64, n: i64): i64 {
    return a << n;
  }
}
@unmanaged
export class QuietShr {
  do<T>(a: i64, n: i64): i64 {
    return sizeof<T>() == 8 ? <i64>((<u64>a) >> n) : <i64>(((<u64>a) & 0xffffffff) >> n);
  }
}
@unmanaged
export class QuietSar {
  do<T>(a: i64, n: i64): i64 {
    return a >> n;
  }
}

/** A shift of a register by a constant. */
export function quietShift<F extends QuietShl, T>(up: usize): bool {
  const n = load<i64>(up, U_IMM) & (sizeof<T>() == 8 ? 63 : 31);
  the<NearA>().put<T>(up, 0, the<F>().do<T>(the<NearA>().get<T>(up, 0), n));
  return true;
}

export function nearMov<D extends NearA, S extends NearA, T>(up: usize, p: usize): usize {
  the<D>().put<T>(up, p, the<S>().get<T>(up, p));
  return up + UOP_SIZE;
}

/** A register of type T from a U, signed or not as U is. */
export function nearMovx<S extends NearA, T, U>(up: usize, p: usize): usize {
  the<NearA>().put<T>(up, p, the<S>().get<U>(up, p));
  return up + UOP_SIZE;
}

export function nearLea<S extends NearA, T>(up: usize, p: usize): usize {
  the<NearA>().put<T>(up, p, <i64>the<S>().va(up));
  return up + UOP_SIZE;
}

export function nearPush<S extends NearA>(up: usize, p: usize): usize {
  store<i64>(p, the<S>().get<i64>(up, p), RAM);
  store<u64>(RSP, load<u64>(RSP) - 8);
  return up + UOP_SIZE;
}

/** POP of a register other than rsp that does not pass a live slot. */
export function nearPop(up: usize, p: usize): usize {
  const sp = load<u64>(RSP);
  const a = <usize>load<u16>(up, U_A);
  if (i32(sp >= load<u64>(STK_TOP_VA)) | i32(a == RSP)) return miss(up);
  store<u64>(RSP, sp + 8);
  store<u64>(a, load<u64>(p, RAM));
  return up + UOP_SIZE;
}

/** LEAVE; the record that follows tells the shadow. */
export function nearLeave(up: usize, p: usize): usize {
  store<u64>(RSP, load<u64>(RBP) + 8);
  store<u64>(RBP, load<u64>(p, RAM));
  return up + UOP_SIZE;
}

/** After rsp got a new value: nothing to tell when it is on the same stack and below its lowest live slot. */
export function nearMoved(up: usize): usize {
  const sp = load<u64>(RSP);
  if (sp - 8 - load<u64>(STK_LO) >= load<u64>(STK_SIZE)) return miss(up);
  if (sp > load<u64>(STK_TOP_VA)) return miss(up);
  return up + UOP_SIZE;
}

// The forms that end a block answer the next block, or 0. Then LINK says whether they were done: it is where the link stands
// that is still empty, or 0.

/** A step that ends a block and was not done. */
function stay(): usize {
  store<u32>(LINK, 0);
  return 0;
}

/** The block behind a link. */
function follow(link: usize): usize {
  const b = load<u32>(link);
  if (!b) store<u32>(LINK, link);
  return b;
}

export function nearJmp(up: usize, p: usize): usize {
  return follow(up + U_LINK);
}

function holds(up: usize, c: i32): bool {
  return ((c << 2) ^ load<u8>(up, U_SENSE)) == 0;
}

/**
 * Behind a conditional jump whose condition, or its opposite, is `c`: the record says which. A branch decides, not the link as
 * a number, so that the processor need not wait for the condition.
 */
function branch(up: usize, c: i32): usize {
  const sense = <usize>load<u8>(up, U_SENSE);
  if (c) return follow(up + (sense ^ (U_LINK | 4)));
  return follow(up + sense + U_LINK);
}

/** A condition that is worked out from a result alone, after anything but flags that were loaded as bits. */
export function nearJccResult<C extends CondE>(up: usize, p: usize): usize {
  if (load<i32>(CC_OP) == Cc.Raw) return stay();
  return branch(up, the<C>().ofLogic(load<i64>(CC_R)));
}

/** After a subtraction or comparison. */
export function nearJcc<C extends CondE>(up: usize, p: usize): usize {
  if (load<i32>(CC_OP) != Cc.Sub) return stay();
  return branch(up, the<C>().ofSub(load<i64>(CC_R), load<i64>(CC_A), load<i64>(CC_B)));
}

export function nearCmov<C extends CondE, T>(up: usize, p: usize): usize {
  const op = load<i32>(CC_OP);
  if (op != Cc.Sub && op != Cc.Logic) return miss(up);
  const d = <usize>load<u16>(up, U_A);
  const v = load<T>(holds(up, met<C>(op)) ? load<u16>(up, U_B) : d);
  if (sizeof<T>() == 8) store<T>(d, v);
  else store<u64>(d, <u64>v);
  return up + UOP_SIZE;
}

/** Whether a condition holds after a subtraction or a logical operation, which is what `op` is. */
function met<C extends CondE>(op: i32): i32 {
  const r = load<i64>(CC_R);
  if (op == Cc.Sub) return the<C>().ofSub(r, load<i64>(CC_A), load<i64>(CC_B));
  return the<C>().ofLogic(r);
}

export function nearSetcc<C extends CondE, D extends NearA>(up: usize, p: usize): usize {
  const op = load<i32>(CC_OP);
  if (op != Cc.Sub && op != Cc.Logic) return miss(up);
  the<D>().put<u8>(up, p, <i64>holds(up, met<C>(op)));
  return up + UOP_SIZE;
}

/** The same to memory with an index, by the very condition. */
export function nearSetccX<C extends CondE>(up: usize, p: usize): usize {
  const op = load<i32>(CC_OP);
  if (op != Cc.Sub && op != Cc.Logic) return miss(up);
  the<NearX>().put<u8>(up, p, <i64>met<C>(op));
  return up + UOP_SIZE;
}

/** The block at `va` by the jump cache, with its page made the present one; 0 if it is not there. */
function jump(va: u64): usize {
  const j = <usize>load<u32>(JUMPS) + (((<usize>(va ^ (va >> 12))) & (JUMP_ENTRIES - 1)) << 4);
  if (load<u64>(j) != va) return stay();
  store<u64>(RIP_PAGE, va & ~(<u64>4095));
  return load<u32>(j, 8);
}

/** The block behind a link that is empty, if the jump cache knows it; a link within its page is filled. */
export function linkUp(link: usize): usize {
  const up = link & ~(<usize>(UOP_SIZE - 1));
  const target =
    link & 4 ? <i64>(load<u16>(up, U_OFF) + <u32>load<u8>(up, U_LEN)) : load<i64>(up, U_TARGET);
  const b = jump(load<u64>(RIP_PAGE) + <u64>target);
  if (b && <u64>target < 4096) store<u32>(link, b);
  return b;
}

@unmanaged
export class CmpThen {
  judge<C extends CondE, T>(a: i64, b: i64): i32 {
    const r = <i64>(<T>(a - b));
    lazy(Cc.Sub, r, a, b);
    return the<C>().ofSub(r, a, b);
  }
}
@unmanaged
export class TestThen {
  judge<C extends CondE, T>(a: i64, b: i64): i32 {
    const r = a & b;
    lazy(Cc.Logic, r, 0, 0);
    return the<C>().ofLogic(r);
  }
}

/** A comparison and the conditional jump in the next record; the flags are left as by the comparison alone. */
export function compareJump<
  F extends CmpThen,
  C extends CondE,
  D extends NearA,
  S extends NearA,
  T,
>(up: usize, p: usize): usize {
  const a = the<D>().get<T>(up, p);
  const b = the<S>().get<T>(up, p);
  return branch(up + UOP_SIZE, the<F>().judge<C, T>(a, b));
}

/** The shadow of slot `va` if it is on the present stack and may be written without more ado, else 0. */
function slotAt(va: u64): usize {
  const off = va - load<u64>(STK_LO);
  if (off >= load<u64>(STK_SIZE)) return 0;
  const s = load<u32>(STK_SHADOW) + ((<u32>(off >> 3)) << 4);
  return load<u8>(PAGE_CLEAN + ((<u32>(s - RAM)) >> 12)) ? 0 : s;
}

/** Pushes a return address: to `p`, where `sp` lies, and to its slot `s` of the shadow. */
function pushFrame(p: usize, s: usize, va: u64, ret: u64): void {
  store<u64>(p, ret, RAM);
  store<u64>(RSP, va);
  store<u64>(s, ret, S_RET);
  store<u32>(s, load<u32>(STK_TOP), S_LINK);
  store<u32>(s, FrameKind.Call, S_KIND);
  store<u32>(STK_TOP, <u32>((va - load<u64>(STK_LO)) >> 3) + 1);
  store<u64>(STK_TOP_VA, va);
}

/** CALL with everything at hand. One to the next instruction makes no frame and is left to the general form. */
export function nearCall(up: usize, p: usize): usize {
  const page = load<u64>(RIP_PAGE);
  const after = <u64>(load<u16>(up, U_OFF) + <u32>load<u8>(up, U_LEN));
  const target = load<u64>(up, U_TARGET);
  if (target == after) return stay();
  const sp = load<u64>(RSP) - 8;
  const s = slotAt(sp);
  if (!s) return stay();
  let b: usize = load<u32>(up, U_LINK);
  if (!b) {
    // Within a page the general form asks for a link.
    b = target < 4096 ? stay() : jump(page + target);
    if (!b) return 0;
  }
  pushFrame(p, s, sp, page + after);
  return b;
}

export function nearCallIndirect<S extends NearA>(up: usize, p: usize, r: usize): usize {
  if (cetOn()) return stay(); // the general form looks at the landing
  let q: usize = 0;
  if (the<S>().mem()) {
    q = placed<u64>(the<S>().va(up), r, 0);
    if (q == NOT_THERE) return stay();
  }
  const ret = load<u64>(RIP_PAGE) + <u64>(load<u16>(up, U_OFF) + <u32>load<u8>(up, U_LEN));
  const sp = load<u64>(RSP) - 8;
  const s = slotAt(sp);
  if (!s) return stay();
  const b = jump(<u64>the<S>().get<u64>(up, q));
  if (b) pushFrame(p, s, sp, ret);
  return b;
}

export function nearJmpIndirect<S extends NearA>(up: usize, p: usize): usize {
  if (cetOn()) return stay();
  return jump(<u64>the<S>().get<u64>(up, p));
}

/** RET: of the shadow, at most the slot that it returns from dies. */
export function nearRet(up: usize, p: usize): usize {
  const sp = load<u64>(RSP);
  const top = load<u64>(STK_TOP_VA);
  let above: u32 = load<u32>(STK_TOP);
  let aboveVa = top;
  if (sp >= top) {
    above = load<u32>(load<u32>(STK_SHADOW) + ((above - 1) << 4), S_LINK);
    aboveVa = above ? load<u64>(STK_LO) + ((<u64>(above - 1)) << 3) : ~(<u64>0);
    if (sp >= aboveVa) return stay();
  }
  const b = jump(load<u64>(p, RAM));
  if (!b) return 0;
  store<u64>(RSP, sp + 8);
  store<u32>(STK_TOP, above);
  store<u64>(STK_TOP_VA, aboveVa);
  return b;
}

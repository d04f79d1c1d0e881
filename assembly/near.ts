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
import { coversRead, coversWrite, hostAt } from "./mmu";
import { ea } from "./operand";
import { the } from "./state";

/** A step that was not done: the record that makes the loop end at \`up\`. */
function miss(up: usize): usize {
  store<u32>(MISSED, up);
  return MISS;
}

// Operand classes of the near forms. Memory has an address, which has to be covered before it is used; of the others
// these are nothing.
@unmanaged
export class NearA {
  va(up: usize): u64 {
    return 0;
  }
  covers<T>(va: u64, tlb: usize): bool {
    return true;
  }
  coversWrite<T>(va: u64, tlb: usize): bool {
    return true;
  }
  at(up: usize, va: u64, tlb: usize): usize {
    return load<u16>(up, U_A);
  }
  get<T>(up: usize, p: usize): i64 {
    return <i64>load<T>(p);
  }
  put<T>(p: usize, v: i64): void {
    if (sizeof<T>() == 8) store<i64>(p, v);
    else if (sizeof<T>() == 4) store<u64>(p, <u64>(<u32>v));
    else store<T>(p, <T>v);
  }
}
@unmanaged
export class NearB {
  va(up: usize): u64 {
    return 0;
  }
  covers<T>(va: u64, tlb: usize): bool {
    return true;
  }
  coversWrite<T>(va: u64, tlb: usize): bool {
    return true;
  }
  at(up: usize, va: u64, tlb: usize): usize {
    return load<u16>(up, U_B);
  }
  get<T>(up: usize, p: usize): i64 {
    return <i64>load<T>(p);
  }
  put<T>(p: usize, v: i64): void {}
}
@unmanaged
export class NearConstant {
  va(up: usize): u64 {
    return 0;
  }
  covers<T>(va: u64, tlb: usize): bool {
    return true;
  }
  coversWrite<T>(va: u64, tlb: usize): bool {
    return true;
  }
  at(up: usize, va: u64, tlb: usize): usize {
    return 0;
  }
  get<T>(up: usize, p: usize): i64 {
    return load<i64>(up, U_IMM);
  }
  put<T>(p: usize, v: i64): void {}
}
/** Base and displacement. */
@unmanaged
export class Near {
  va(up: usize): u64 {
    return ea(up);
  }
  covers<T>(va: u64, tlb: usize): bool {
    return coversRead<T>(va, tlb);
  }
  coversWrite<T>(va: u64, tlb: usize): bool {
    return coversWrite<T>(va, tlb);
  }
  at(up: usize, va: u64, tlb: usize): usize {
    return hostAt(va, tlb);
  }
  get<T>(up: usize, p: usize): i64 {
    return <i64>load<T>(p);
  }
  put<T>(p: usize, v: i64): void {
    store<T>(p, <T>v);
  }
}
/** Base, index and displacement, without a segment base and in 64 bits: U_FACTOR is what the index is multiplied by. */
@unmanaged
export class NearX {
  va(up: usize): u64 {
    return ea(up) + load<u64>(load<u16>(up, U_INDEX)) * <u64>load<u16>(up, U_FACTOR);
  }
  covers<T>(va: u64, tlb: usize): bool {
    return coversRead<T>(va, tlb);
  }
  coversWrite<T>(va: u64, tlb: usize): bool {
    return coversWrite<T>(va, tlb);
  }
  at(up: usize, va: u64, tlb: usize): usize {
    return hostAt(va, tlb);
  }
  get<T>(up: usize, p: usize): i64 {
    return <i64>load<T>(p);
  }
  put<T>(p: usize, v: i64): void {
    store<T>(p, <T>v);
  }
}

/** The row's micro-op of a record with near form `id`. */
export function rowOf(up: usize, id: i32): i32 {
  const row = <i32>load<u16>(ROW_OF + (id << 1));
  if (!(row & NEAR_SENSE)) return row;
  if (load<u8>(up, U_SENSE)) return row & ~NEAR_SENSE;
  return <i32>load<u16>(ROW_OF + ((id + FIRST_ROW_UOP) << 1));
}

// The steps answer the next record. \`r\` and \`w\` are the TLBs for reading and writing.

export function nearAlu<F extends Add, D extends NearA, S extends NearA, T>(
  up: usize,
  r: usize,
  w: usize,
): usize {
  const dv = the<D>().va(up);
  if (!the<D>().coversWrite<T>(dv, w)) return miss(up);
  const sv = the<S>().va(up);
  if (!the<S>().covers<T>(sv, r)) return miss(up);
  const d = the<D>().at(up, dv, w);
  const b = the<S>().get<T>(up, the<S>().at(up, sv, r));
  the<D>().put<T>(d, the<F>().do<T>(the<D>().get<T>(up, d), b));
  return up + UOP_SIZE;
}

/** SBB behind a comparison or subtraction. */
export function nearSbb<D extends NearA, S extends NearA, T>(up: usize, r: usize, w: usize): usize {
  if (load<i32>(CC_OP) != Cc.Sub) return miss(up);
  const c = i64(load<u64>(CC_A) < load<u64>(CC_B));
  const d = the<D>().at(up, 0, w);
  const a = the<D>().get<T>(up, d);
  const b = the<S>().get<T>(up, the<S>().at(up, 0, r));
  const v = <i64>(<T>(a - b - c));
  lazy(c ? Cc.Sbb : Cc.Sub, v, a, b);
  the<D>().put<T>(d, v);
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
  const d = the<NearA>().at(up, 0, 0);
  const n = load<i64>(up, U_IMM) & (sizeof<T>() == 8 ? 63 : 31);
  the<NearA>().put<T>(d, the<F>().do<T>(the<NearA>().get<T>(up, d), n));
  return true;
}

export function nearMov<D extends NearA, S extends NearA, T>(up: usize, r: usize, w: usize): usize {
  const dv = the<D>().va(up);
  if (!the<D>().coversWrite<T>(dv, w)) return miss(up);
  const sv = the<S>().va(up);
  if (!the<S>().covers<T>(sv, r)) return miss(up);
  the<D>().put<T>(the<D>().at(up, dv, w), the<S>().get<T>(up, the<S>().at(up, sv, r)));
  return up + UOP_SIZE;
}

/** A register of type T from a U, signed or not as U is. */
export function nearMovx<S extends NearA, T, U>(up: usize, r: usize, w: usize): usize {
  const sv = the<S>().va(up);
  if (!the<S>().covers<U>(sv, r)) return miss(up);
  the<NearA>().put<T>(the<NearA>().at(up, 0, w), the<S>().get<U>(up, the<S>().at(up, sv, r)));
  return up + UOP_SIZE;
}

export function nearLea<S extends NearA, T>(up: usize, r: usize, w: usize): usize {
  the<NearA>().put<T>(the<NearA>().at(up, 0, w), <i64>the<S>().va(up));
  return up + UOP_SIZE;
}

export function nearPush<S extends NearA>(up: usize, r: usize, w: usize): usize {
  const sp = load<u64>(RSP) - 8;
  if (!coversWrite<u64>(sp, w)) return miss(up);
  store<i64>(hostAt(sp, w), the<S>().get<i64>(up, the<S>().at(up, 0, r)));
  store<u64>(RSP, sp);
  return up + UOP_SIZE;
}

/** POP of a register other than rsp that does not pass a live slot. */
export function nearPop(up: usize, r: usize, w: usize): usize {
  const sp = load<u64>(RSP);
  const a = <usize>load<u16>(up, U_A);
  if (!coversRead<u64>(sp, r)) return miss(up);
  if (i32(sp >= load<u64>(STK_TOP_VA)) | i32(a == RSP)) return miss(up);
  store<u64>(RSP, sp + 8);
  store<u64>(a, load<u64>(hostAt(sp, r)));
  return up + UOP_SIZE;
}

/** LEAVE; the record that follows tells the shadow. */
export function nearLeave(up: usize, r: usize, w: usize): usize {
  const bp = load<u64>(RBP);
  if (!coversRead<u64>(bp, r)) return miss(up);
  store<u64>(RSP, bp + 8);
  store<u64>(RBP, load<u64>(hostAt(bp, r)));
  return up + UOP_SIZE;
}

/** After rsp got a new value: nothing to tell when it is on the same stack and below its lowest live slot. */
export function nearMoved(up: usize): usize {
  const sp = load<u64>(RSP);
  if (sp - 8 - load<u64>(STK_LO) >= load<u64>(STK_SIZE)) return miss(up);
  if (sp > load<u64>(STK_TOP_VA)) return miss(up);
  return up + UOP_SIZE;
}

// The forms that end a block answer where the wasm address of the next block stands: a link of their record, or a place
// in the jump cache. A link may still be empty; one of the jump cache is not.

export function nearJmp(up: usize, r: usize, w: usize): usize {
  return up + U_LINK;
}

function holds(up: usize, c: i32): bool {
  return ((c << 2) ^ load<u8>(up, U_SENSE)) == 0;
}

/** Link of a conditional jump whose condition, or its opposite, is `c`: the record says which. */
function linkOf(up: usize, c: i32): usize {
  return up + U_LINK + ((c << 2) ^ load<u8>(up, U_SENSE));
}

/** A condition that is worked out from a result alone, after anything but flags that were loaded as bits. */
export function nearJccResult<C extends CondE>(up: usize, r: usize, w: usize): usize {
  if (load<i32>(CC_OP) == Cc.Raw) return 0;
  return linkOf(up, the<C>().ofLogic(load<i64>(CC_R)));
}

/** After a subtraction or comparison. */
export function nearJcc<C extends CondE>(up: usize, r: usize, w: usize): usize {
  if (load<i32>(CC_OP) != Cc.Sub) return 0;
  return linkOf(up, the<C>().ofSub(load<i64>(CC_R), load<i64>(CC_A), load<i64>(CC_B)));
}

export function nearCmov<C extends CondE, T>(up: usize, tlbR: usize, tlbW: usize): usize {
  const op = load<i32>(CC_OP);
  if (op != Cc.Sub && op != Cc.Logic) return miss(up);
  const r = load<i64>(CC_R);
  const c =
    op == Cc.Sub ? the<C>().ofSub(r, load<i64>(CC_A), load<i64>(CC_B)) : the<C>().ofLogic(r);
  const d = <usize>load<u16>(up, U_A);
  const v = load<T>(holds(up, c) ? load<u16>(up, U_B) : d);
  if (sizeof<T>() == 8) store<T>(d, v);
  else store<u64>(d, <u64>v);
  return up + UOP_SIZE;
}

export function nearSetcc<C extends CondE>(up: usize, tlbR: usize, tlbW: usize): usize {
  const op = load<i32>(CC_OP);
  if (op != Cc.Sub && op != Cc.Logic) return miss(up);
  const r = load<i64>(CC_R);
  const c =
    op == Cc.Sub ? the<C>().ofSub(r, load<i64>(CC_A), load<i64>(CC_B)) : the<C>().ofLogic(r);
  store<u8>(load<u16>(up, U_A), <u8>holds(up, c));
  return up + UOP_SIZE;
}

/** The place in the jump cache of the block at `va`, with its page made the present one; 0 if it is not there. */
function jump(va: u64): usize {
  const j = <usize>load<u32>(JUMPS) + (((<usize>(va ^ (va >> 12))) & (JUMP_ENTRIES - 1)) << 4);
  if (load<u64>(j) != va) return 0;
  store<u64>(RIP_PAGE, va & ~(<u64>4095));
  return j + 8;
}

/** The block behind a link that is empty, if the jump cache knows it; a link within its page is filled. */
export function linkUp(link: usize): usize {
  const up = link & ~(<usize>(UOP_SIZE - 1));
  const target =
    link & 4 ? <i64>(load<u16>(up, U_OFF) + <u32>load<u8>(up, U_LEN)) : load<i64>(up, U_TARGET);
  const j = jump(load<u64>(RIP_PAGE) + <u64>target);
  if (!j) return 0;
  const b = load<u32>(j);
  if (<u64>target < 4096) store<u32>(link, b);
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
>(up: usize, r: usize, w: usize): usize {
  const dv = the<D>().va(up);
  if (!the<D>().covers<T>(dv, r)) return 0;
  const sv = the<S>().va(up);
  if (!the<S>().covers<T>(sv, r)) return 0;
  const a = the<D>().get<T>(up, the<D>().at(up, dv, r));
  const b = the<S>().get<T>(up, the<S>().at(up, sv, r));
  return linkOf(up + UOP_SIZE, the<F>().judge<C, T>(a, b));
}

/**
 * An addition of a constant to a register, and then a comparison and its jump as above: the step of a loop over memory.
 * The flags of the addition are never seen, because the comparison is known to be done before the register is changed
 * for good.
 */
export function bumpCompareJump<
  F extends CmpThen,
  C extends CondE,
  D extends NearA,
  S extends NearA,
  T,
>(up: usize, r: usize, w: usize): usize {
  const reg = <usize>load<u16>(up, U_A);
  const old = load<i64>(reg);
  store<i64>(reg, old + load<i64>(up, U_IMM));
  const compare = up + UOP_SIZE;
  const dv = the<D>().va(compare);
  const sv = the<S>().va(compare);
  if (i32(!the<D>().covers<T>(dv, r)) | i32(!the<S>().covers<T>(sv, r))) {
    store<i64>(reg, old);
    return 0;
  }
  const a = the<D>().get<T>(compare, the<D>().at(compare, dv, r));
  const b = the<S>().get<T>(compare, the<S>().at(compare, sv, r));
  return linkOf(compare + UOP_SIZE, the<F>().judge<C, T>(a, b));
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
  store<u64>(p, ret);
  store<u64>(RSP, va);
  store<u64>(s, ret, S_RET);
  store<u32>(s, load<u32>(STK_TOP), S_LINK);
  store<u32>(s, FrameKind.Call, S_KIND);
  store<u32>(STK_TOP, <u32>((va - load<u64>(STK_LO)) >> 3) + 1);
  store<u64>(STK_TOP_VA, va);
}

/** CALL with everything at hand. One to the next instruction makes no frame and is left to the general form. */
export function nearCall(up: usize, r: usize, w: usize): usize {
  const page = load<u64>(RIP_PAGE);
  const after = <u64>(load<u16>(up, U_OFF) + <u32>load<u8>(up, U_LEN));
  const target = load<u64>(up, U_TARGET);
  if (target == after) return 0;
  const sp = load<u64>(RSP) - 8;
  if (!coversWrite<u64>(sp, w)) return 0;
  const s = slotAt(sp);
  if (!s) return 0;
  let link = up + U_LINK;
  if (!load<u32>(link)) {
    // Within a page the general form asks for a link.
    link = target < 4096 ? 0 : jump(page + target);
    if (!link) return 0;
  }
  pushFrame(hostAt(sp, w), s, sp, page + after);
  return link;
}

export function nearCallIndirect<S extends NearA>(up: usize, r: usize, w: usize): usize {
  if (cetOn()) return 0; // the general form looks at the landing
  const sv = the<S>().va(up);
  if (!the<S>().covers<u64>(sv, r)) return 0;
  const ret = load<u64>(RIP_PAGE) + <u64>(load<u16>(up, U_OFF) + <u32>load<u8>(up, U_LEN));
  const sp = load<u64>(RSP) - 8;
  if (!coversWrite<u64>(sp, w)) return 0;
  const s = slotAt(sp);
  if (!s) return 0;
  const link = jump(<u64>the<S>().get<u64>(up, the<S>().at(up, sv, r)));
  if (link) pushFrame(hostAt(sp, w), s, sp, ret);
  return link;
}

export function nearJmpIndirect<S extends NearA>(up: usize, r: usize, w: usize): usize {
  if (cetOn()) return 0;
  const sv = the<S>().va(up);
  if (!the<S>().covers<u64>(sv, r)) return 0;
  return jump(<u64>the<S>().get<u64>(up, the<S>().at(up, sv, r)));
}

/** RET: of the shadow, at most the slot that it returns from dies. */
export function nearRet(up: usize, r: usize, w: usize): usize {
  const sp = load<u64>(RSP);
  if (!coversRead<u64>(sp, r)) return 0;
  const top = load<u64>(STK_TOP_VA);
  let above: u32 = load<u32>(STK_TOP);
  let aboveVa = top;
  if (sp >= top) {
    above = load<u32>(load<u32>(STK_SHADOW) + ((above - 1) << 4), S_LINK);
    aboveVa = above ? load<u64>(STK_LO) + ((<u64>(above - 1)) << 3) : ~(<u64>0);
    if (sp >= aboveVa) return 0;
  }
  const link = jump(load<u64>(hostAt(sp, r)));
  if (!link) return 0;
  store<u64>(RSP, sp + 8);
  store<u32>(STK_TOP, above);
  store<u64>(STK_TOP_VA, aboveVa);
  return link;
}

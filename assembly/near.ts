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
  NO_LINK,
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
  U_BASE,
  U_DISP,
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
import { carry, CondE, lazy, lazyLogic } from "./flags";
import { NOT_THERE, placed } from "./mmu";
import { the } from "./state";

/** Base and displacement of a record's operand in memory. */
function base(up: usize, o: usize): u64 {
  return load<u64>(load<u16>(up + o, U_BASE)) + <u64>(<i64>load<i32>(up + o, U_DISP));
}

/** A step that was not done: the record that makes the loop end at `up`. */
export function miss(up: usize): usize {
  store<u32>(MISSED, up);
  return MISS;
}

// Everything here is of the record at `up` + `o`, where `o` is a constant: a step of a chain finds its record at a distance from the
// first one, and the sum goes into the addresses of its loads.

// Operand classes of the near forms. `p` is the place in RAM of the one operand in memory that a form may have; the dispatch
// finds it (src/isa/dispatch.ts), or leaves.
@unmanaged
export class NearA {
  mem(): bool {
    return false;
  }
  va(up: usize, o: usize): u64 {
    return 0;
  }
  get<T>(up: usize, o: usize, p: usize): i64 {
    return <i64>load<T>(load<u16>(up + o, U_A));
  }
  put<T>(up: usize, o: usize, p: usize, v: i64): void {
    const d = <usize>load<u16>(up + o, U_A);
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
  va(up: usize, o: usize): u64 {
    return 0;
  }
  get<T>(up: usize, o: usize, p: usize): i64 {
    return <i64>load<T>(load<u16>(up + o, U_B));
  }
  put<T>(up: usize, o: usize, p: usize, v: i64): void {}
}
@unmanaged
export class NearConstant {
  mem(): bool {
    return false;
  }
  va(up: usize, o: usize): u64 {
    return 0;
  }
  get<T>(up: usize, o: usize, p: usize): i64 {
    return load<i64>(up + o, U_IMM);
  }
  put<T>(up: usize, o: usize, p: usize, v: i64): void {}
}
/** Base and displacement. */
@unmanaged
export class Near {
  mem(): bool {
    return true;
  }
  va(up: usize, o: usize): u64 {
    return base(up, o);
  }
  get<T>(up: usize, o: usize, p: usize): i64 {
    return <i64>load<T>(p, RAM);
  }
  put<T>(up: usize, o: usize, p: usize, v: i64): void {
    store<T>(p, <T>v, RAM);
  }
}
/** Base, index and displacement, without a segment base and in 64 bits: U_FACTOR is what the index is multiplied by. */
@unmanaged
export class NearX {
  mem(): bool {
    return true;
  }
  va(up: usize, o: usize): u64 {
    return (
      base(up, o) + load<u64>(load<u16>(up + o, U_INDEX)) * <u64>(<i64>load<i16>(up + o, U_FACTOR))
    );
  }
  get<T>(up: usize, o: usize, p: usize): i64 {
    return <i64>load<T>(p, RAM);
  }
  put<T>(up: usize, o: usize, p: usize, v: i64): void {
    store<T>(p, <T>v, RAM);
  }
}
/** The slot that a push writes. */
@unmanaged
export class NearBelow {
  va(up: usize, o: usize): u64 {
    return load<u64>(RSP) - 8;
  }
}
/** The slot that a pop reads. */
@unmanaged
export class NearTop {
  va(up: usize, o: usize): u64 {
    return load<u64>(RSP);
  }
}
/** The slot that LEAVE reads. */
@unmanaged
export class NearFrame {
  va(up: usize, o: usize): u64 {
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
  o: usize,
  p: usize,
): usize {
  const b = the<S>().get<T>(up, o, p);
  const v = the<F>().do<T>(the<D>().get<T>(up, o, p), b);
  if (the<F>().writes()) the<D>().put<T>(up, o, p, v);
  return up + o + UOP_SIZE;
}

// What a step asks before it is done.

/** Whether the flags are not those of a comparison or subtraction; \`op\` is whose they are. */
export function otherThanSub(op: i32): bool {
  return op != Cc.Sub;
}
/** Nor those of a logical operation. */
export function otherThanSubOrLogic(op: i32): bool {
  return op != Cc.Sub && op != Cc.Logic;
}
/** Whether a pop of what lies \`n\` bytes above rsp would pass a live slot. */
export function popPasses(n: u64): bool {
  return load<u64>(RSP) + n >= load<u64>(STK_TOP_VA);
}

/** ADC of a register behind a comparison or subtraction. */
export function nearAdc<D extends NearA, S extends NearA, T>(up: usize, o: usize, p: usize): usize {
  const c = i64(load<u64>(CC_A) < load<u64>(CC_B));
  const a = the<D>().get<T>(up, o, p);
  const b = the<S>().get<T>(up, o, p);
  const v = <i64>(<T>(a + b + c));
  lazy(c ? Cc.Adc : Cc.Add, v, a, b);
  the<D>().put<T>(up, o, p, v);
  return up + o + UOP_SIZE;
}

/** SBB likewise. */
export function nearSbb<D extends NearA, S extends NearA, T>(up: usize, o: usize, p: usize): usize {
  const c = i64(load<u64>(CC_A) < load<u64>(CC_B));
  const a = the<D>().get<T>(up, o, p);
  const b = the<S>().get<T>(up, o, p);
  const v = <i64>(<T>(a - b - c));
  lazy(c ? Cc.Sbb : Cc.Sub, v, a, b);
  the<D>().put<T>(up, o, p, v);
  return up + o + UOP_SIZE;
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
export function quietShift<F extends QuietShl, T>(up: usize, o: usize, p: usize): usize {
  const n = load<i64>(up + o, U_IMM) & (sizeof<T>() == 8 ? 63 : 31);
  the<NearA>().put<T>(up, o, p, the<F>().do<T>(the<NearA>().get<T>(up, o, p), n));
  return up + o + UOP_SIZE;
}

// INC and DEC where `c` is the cf that they leave.
@unmanaged
export class CountUp {
  do<T>(a: i64, c: i32): i64 {
    const r = <i64>(<T>(a + 1));
    lazy(Cc.Inc, r, a, c);
    return r;
  }
}
@unmanaged
export class CountDown {
  do<T>(a: i64, c: i32): i64 {
    const r = <i64>(<T>(a - 1));
    lazy(Cc.Dec, r, a, c);
    return r;
  }
}

/** ROR of a 64-bit register by a constant, and a count behind it, which leaves only cf of the rotation's flags. */
export function nearRorThen<F extends CountUp, T>(up: usize, o: usize, p: usize): usize {
  const n = load<i64>(up + o, U_IMM) & 63;
  const v = rotr<i64>(the<NearA>().get<i64>(up, o, p), n);
  the<NearA>().put<i64>(up, o, p, v);
  const cf = n ? <i32>((<u64>v) >> 63) : carry();
  const q = o + UOP_SIZE;
  the<NearA>().put<T>(up, q, p, the<F>().do<T>(the<NearA>().get<T>(up, q, p), cf));
  return up + q + UOP_SIZE;
}

export function nearMov<D extends NearA, S extends NearA, T>(up: usize, o: usize, p: usize): usize {
  the<D>().put<T>(up, o, p, the<S>().get<T>(up, o, p));
  return up + o + UOP_SIZE;
}

/** A register of type T from a U, signed or not as U is. */
export function nearMovx<S extends NearA, T, U>(up: usize, o: usize, p: usize): usize {
  the<NearA>().put<T>(up, o, p, the<S>().get<U>(up, o, p));
  return up + o + UOP_SIZE;
}

export function nearLea<S extends NearA, T>(up: usize, o: usize, p: usize): usize {
  the<NearA>().put<T>(up, o, p, <i64>the<S>().va(up, o));
  return up + o + UOP_SIZE;
}

export function nearPush<S extends NearA>(up: usize, o: usize, p: usize): usize {
  store<i64>(p, the<S>().get<i64>(up, o, p), RAM);
  store<u64>(RSP, load<u64>(RSP) - 8);
  return up + o + UOP_SIZE;
}

/** POP of a register other than rsp. */
export function nearPop(up: usize, o: usize, p: usize): usize {
  store<u64>(RSP, load<u64>(RSP) + 8);
  store<u64>(load<u16>(up + o, U_A), load<u64>(p, RAM));
  return up + o + UOP_SIZE;
}

/** LEAVE; the record that follows tells the shadow. */
export function nearLeave(up: usize, o: usize, p: usize): usize {
  store<u64>(RSP, load<u64>(RBP) + 8);
  store<u64>(RBP, load<u64>(p, RAM));
  return up + o + UOP_SIZE;
}

/** After rsp got a new value: nothing to tell when it is on the same stack and below its lowest live slot. */
export function nearMoved(up: usize, o: usize): usize {
  const sp = load<u64>(RSP);
  if (sp - 8 - load<u64>(STK_LO) >= load<u64>(STK_SIZE)) return miss(up + o);
  if (sp > load<u64>(STK_TOP_VA)) return miss(up + o);
  return up + o + UOP_SIZE;
}

// The forms that end a block answer the next block, or 0 when they were not done.

/** A step that ends a block and was not done. */
function stay(): usize {
  return 0;
}

/** The block behind a link, or the one that fills it. */
function follow(link: usize): usize {
  store<u32>(LINK, link);
  return load<u32>(link);
}

export function nearJmp(up: usize, o: usize, p: usize): usize {
  return follow(up + o + U_LINK);
}

function holds(up: usize, o: usize, c: i32): bool {
  return ((c << 2) ^ load<u8>(up + o, U_SENSE)) == 0;
}

/**
 * Behind a conditional jump whose condition, or its opposite, is `c`: the record says which. A branch decides, not the link as
 * a number, so that the processor need not wait for the condition.
 */
function branch(up: usize, o: usize, c: i32): usize {
  const sense = <usize>load<u8>(up + o, U_SENSE);
  if (c) return follow(up + o + (sense ^ (U_LINK | 4)));
  return follow(up + o + sense + U_LINK);
}

// Forms with a condition are given \`op\`: whose the flags are (Cc).

/** A condition that is worked out from a result alone, after anything but flags that were loaded as bits. */
export function nearJccResult<C extends CondE>(up: usize, o: usize, p: usize, op: i32): usize {
  if (op == Cc.Raw) return stay();
  return branch(up, o, the<C>().ofLogic(load<i64>(CC_R)));
}

/** After a subtraction or comparison. */
export function nearJcc<C extends CondE>(up: usize, o: usize, p: usize, op: i32): usize {
  if (op != Cc.Sub) return stay();
  return branch(up, o, the<C>().ofSub(load<i64>(CC_R), load<i64>(CC_A), load<i64>(CC_B)));
}

export function nearCmov<C extends CondE, T>(up: usize, o: usize, p: usize, op: i32): usize {
  const d = <usize>load<u16>(up + o, U_A);
  const v = load<T>(holds(up, o, met<C>(op)) ? load<u16>(up + o, U_B) : d);
  if (sizeof<T>() == 8) store<T>(d, v);
  else store<u64>(d, <u64>v);
  return up + o + UOP_SIZE;
}

/** Whether a condition holds after a subtraction or a logical operation, which is what `op` is. */
function met<C extends CondE>(op: i32): i32 {
  const r = load<i64>(CC_R);
  if (op == Cc.Sub) return the<C>().ofSub(r, load<i64>(CC_A), load<i64>(CC_B));
  return the<C>().ofLogic(r);
}

export function nearSetcc<C extends CondE, D extends NearA>(
  up: usize,
  o: usize,
  p: usize,
  op: i32,
): usize {
  the<D>().put<u8>(up, o, p, <i64>holds(up, o, met<C>(op)));
  return up + o + UOP_SIZE;
}

/** The same to memory with an index, by the very condition. */
export function nearSetccX<C extends CondE>(up: usize, o: usize, p: usize, op: i32): usize {
  the<NearX>().put<u8>(up, o, p, <i64>met<C>(op));
  return up + o + UOP_SIZE;
}

/** Where the jump cache has the block at `va`, if it knows it: then its first word is `va`. */
function jumpEntry(va: u64): usize {
  return <usize>load<u32>(JUMPS) + (((<usize>(va ^ (va >> 12))) & (JUMP_ENTRIES - 1)) << 4);
}

/** The block of such an entry, with its page made the present one. */
function arrive(j: usize, va: u64): usize {
  store<u64>(RIP_PAGE, va & ~(<u64>4095));
  return load<u32>(j, 8);
}

/** The block behind a link that is empty, if the jump cache knows it; a link within its page is filled. */
export function linkUp(link: usize): usize {
  const up = link & ~(<usize>(UOP_SIZE - 1));
  const target =
    link & 4 ? <i64>(load<u16>(up, U_OFF) + <u32>load<u8>(up, U_LEN)) : load<i64>(up, U_TARGET);
  const va = load<u64>(RIP_PAGE) + <u64>target;
  const j = jumpEntry(va);
  if (load<u64>(j) != va) return stay();
  const b = arrive(j, va);
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
    lazyLogic(r);
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
>(up: usize, o: usize, p: usize): usize {
  const a = the<D>().get<T>(up, o, p);
  const b = the<S>().get<T>(up, o, p);
  return branch(up, o + UOP_SIZE, the<F>().judge<C, T>(a, b));
}

/** Whether the slot \`off\` bytes into the present stack is on it. */
function onStack(off: u64): bool {
  return off < load<u64>(STK_SIZE);
}

/** The shadow of that slot. */
function slotAt(off: u64): usize {
  return load<u32>(STK_SHADOW) + ((<u32>(off >> 3)) << 4);
}

/** Whether a snapshot has yet to be told of a write to the shadow at \`s\`. */
function kept(s: usize): bool {
  return <bool>load<u8>(PAGE_CLEAN + ((<u32>(s - RAM)) >> 12));
}

/** Pushes a return address: to \`p\`, where \`sp\` lies, and to its slot \`s\` of the shadow, which is \`off\` into the stack. */
function pushFrame(p: usize, s: usize, sp: u64, off: u64, ret: u64): void {
  store<u64>(p, ret, RAM);
  store<u64>(RSP, sp);
  store<u64>(s, ret, S_RET);
  store<u32>(s, load<u32>(STK_TOP), S_LINK);
  store<u32>(s, FrameKind.Call, S_KIND);
  store<u32>(STK_TOP, <u32>(off >> 3) + 1);
  store<u64>(STK_TOP_VA, sp);
}

/** CALL with everything at hand, of anything but the next instruction. */
export function nearCall(up: usize, o: usize, p: usize): usize {
  const sp = load<u64>(RSP) - 8;
  const off = sp - load<u64>(STK_LO);
  if (!onStack(off)) return stay();
  const s = slotAt(off);
  if (kept(s)) return stay();
  const page = load<u64>(RIP_PAGE);
  const after = <u64>(load<u16>(up + o, U_OFF) + <u32>load<u8>(up + o, U_LEN));
  let b: usize = load<u32>(up + o, U_LINK);
  if (b == NO_LINK) {
    const target = load<u64>(up + o, U_TARGET);
    if (target < 4096) return stay(); // within a page the general form asks for a link
    const j = jumpEntry(page + target);
    if (load<u64>(j) != page + target) return stay();
    b = arrive(j, page + target);
  }
  pushFrame(p, s, sp, off, page + after);
  return b;
}

export function nearCallIndirect<S extends NearA>(up: usize, o: usize, p: usize, r: usize): usize {
  if (cetOn()) return stay(); // the general form looks at the landing
  let q: usize = 0;
  if (the<S>().mem()) {
    q = placed<u64>(the<S>().va(up, o), r, 0);
    if (q == NOT_THERE) return stay();
  }
  const sp = load<u64>(RSP) - 8;
  const off = sp - load<u64>(STK_LO);
  if (!onStack(off)) return stay();
  const s = slotAt(off);
  if (kept(s)) return stay();
  const va = <u64>the<S>().get<u64>(up, o, q);
  const j = jumpEntry(va);
  if (load<u64>(j) != va) return stay();
  const ret = load<u64>(RIP_PAGE) + <u64>(load<u16>(up + o, U_OFF) + <u32>load<u8>(up + o, U_LEN));
  pushFrame(p, s, sp, off, ret);
  return arrive(j, va);
}

export function nearJmpIndirect<S extends NearA>(up: usize, o: usize, p: usize): usize {
  if (cetOn()) return stay();
  const va = <u64>the<S>().get<u64>(up, o, p);
  const j = jumpEntry(va);
  return load<u64>(j) == va ? arrive(j, va) : stay();
}

/** RET: of the shadow, at most the slot that it returns from dies. */
export function nearRet(up: usize, o: usize, p: usize): usize {
  const sp = load<u64>(RSP);
  const top = load<u64>(STK_TOP_VA);
  let above: u32 = load<u32>(STK_TOP);
  let aboveVa = top;
  if (sp >= top) {
    above = load<u32>(load<u32>(STK_SHADOW) + ((above - 1) << 4), S_LINK);
    aboveVa = above ? load<u64>(STK_LO) + ((<u64>(above - 1)) << 3) : ~(<u64>0);
    if (sp >= aboveVa) return stay();
  }
  const va = load<u64>(p, RAM);
  const j = jumpEntry(va);
  if (load<u64>(j) != va) return stay();
  store<u64>(RSP, sp + 8);
  store<u32>(STK_TOP, above);
  store<u64>(STK_TOP_VA, aboveVa);
  return arrive(j, va);
}

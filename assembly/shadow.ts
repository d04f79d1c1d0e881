// The truth about stacks: each call records its return address in the shadow of its stack slot, and the live slots of
// a stack form a chain from the lowest up. A slot dies as soon as rsp rises above it, by whatever means; a switch of
// stacks is not a rise. A call to the next instruction (get-pc) makes no frame. Nothing here is visible to the guest.

import {
  A_END,
  A_KIND,
  A_META,
  A_SHADOW,
  A_SIZE,
  A_START,
  FrameKind,
  M_ASIDE,
  M_LEFT_RIP,
  M_PARENT,
  M_TOP,
  NR_STACK_AREAS,
  RSP,
  S_KIND,
  S_LINK,
  S_RET,
  STACK_AREAS,
  STACK_AREA_SIZE,
  STACK_META_SIZE,
  STK_LO,
  STK_META,
  STK_SHADOW,
  STK_SIZE,
  STK_TOP,
  STK_TOP_VA,
} from "./abi";
import { touch } from "./pages";

function setTop(top: u32): void {
  store<u32>(STK_TOP, top);
  store<u64>(STK_TOP_VA, top ? load<u64>(STK_LO) + ((<u64>(top - 1)) << 3) : ~(<u64>0));
}

/** Pushes the frame at slot `va` of the current stack. */
export function record(va: u64, ret: u64, kind: i32): void {
  const off = va - load<u64>(STK_LO);
  if (off >= load<u64>(STK_SIZE)) return;
  const n = <u32>(off >> 3);
  const s = load<u32>(STK_SHADOW) + (n << 4);
  touch(s);
  store<u64>(s, ret, S_RET);
  store<u32>(s, load<u32>(STK_TOP), S_LINK);
  store<u32>(s, kind, S_KIND);
  store<u32>(STK_TOP, n + 1);
  store<u64>(STK_TOP_VA, va);
}

/** After rsp rose to `sp`: the slots below it are dead. */
export function trim(sp: u64): void {
  const lo = load<u64>(STK_LO);
  const shadow = load<u32>(STK_SHADOW);
  let top = load<u32>(STK_TOP);
  while (top && lo + ((<u64>(top - 1)) << 3) < sp)
    top = load<u32>(shadow + ((top - 1) << 4), S_LINK);
  setTop(top);
}

/** After rsp was raised by a pop or a return. */
export function rose(sp: u64): void {
  if (sp > load<u64>(STK_TOP_VA)) trim(sp);
}

/** The stack area that holds slot `va`, or 0. */
function areaOf(va: u64): usize {
  const end: usize = STACK_AREAS + load<u32>(NR_STACK_AREAS) * STACK_AREA_SIZE;
  for (let a: usize = STACK_AREAS; a < end; a += STACK_AREA_SIZE) {
    if (va - load<u64>(a, A_START) < load<u64>(a, A_END) - load<u64>(a, A_START)) return a;
  }
  return 0;
}

function leaveStack(rip: u64): void {
  const meta = load<u32>(STK_META);
  if (!meta) return;
  touch(meta);
  store<u32>(meta, load<u32>(STK_TOP), M_TOP);
  store<u64>(meta, rip, M_LEFT_RIP);
}

/** The frames that a delivery on the same stack had put aside live again when it is over. */
function takeBack(): void {
  const meta = load<u32>(STK_META);
  const top = load<u32>(meta, M_ASIDE);
  if (!top) return;
  touch(meta);
  store<u32>(meta, 0, M_ASIDE);
  setTop(top);
}

/**
 * After an event switched stacks; `rip` is where it returns to. A stack of the IST may be entered at its top while it is in
 * use: a NMI in a NMI. What is live further down stays so, out of reach until the IRET.
 */
export function entered(rip: u64): void {
  const meta = load<u32>(STK_META);
  const top = load<u32>(STK_TOP);
  if (top && load<u64>(RSP) - 8 - load<u64>(STK_LO) < load<u64>(STK_SIZE)) {
    touch(meta);
    store<u32>(meta, top, M_ASIDE);
    setTop(0);
    return;
  }
  moved(rip);
}

/**
 * After rsp got a new value other than by push, pop, call or ret; `rip` executes next. rsp belongs to the stack that holds the slot below it, so that an empty stack is still that stack.
 */
export function moved(rip: u64): void {
  const sp = load<u64>(RSP);
  if (sp - 8 - load<u64>(STK_LO) < load<u64>(STK_SIZE)) {
    if (!load<u32>(STK_TOP)) takeBack();
    if (sp > load<u64>(STK_TOP_VA)) trim(sp);
    return;
  }
  const from = load<u32>(STK_META);
  leaveStack(rip);
  const a = areaOf(sp - 8);
  if (!a) {
    store<u64>(STK_LO, 0);
    store<u64>(STK_SIZE, 0);
    store<u32>(STK_META, 0);
    setTop(0);
    return;
  }
  const size = load<u64>(a, A_SIZE);
  const i = <u32>((sp - 8 - load<u64>(a, A_START)) / size);
  const meta = load<u32>(a, A_META) + i * STACK_META_SIZE;
  store<u64>(STK_LO, load<u64>(a, A_START) + <u64>i * size);
  store<u64>(STK_SIZE, size);
  store<u32>(STK_SHADOW, load<u32>(a, A_SHADOW) + i * <u32>(size << 1));
  store<u32>(STK_META, meta);
  setTop(load<u32>(meta, M_TOP));
  trim(sp);
  if (load<u32>(a, A_KIND) == 1) {
    touch(meta);
    store<u32>(meta, from, M_PARENT);
  }
}

/**
 * Puts the frame at slot `n` into the chain that starts at `top`; lower live slots stay before it. A frame that repeats
 * the return address of the interrupt frame above it is that frame, moved by the entry code (the gap of a #BP, the copy
 * of a NMI): it takes its place. Answers the new top.
 */
function insert(shadow: u32, top: u32, n: u32, ret: u64): u32 {
  let lower: u32 = 0;
  let higher = top;
  while (higher && higher - 1 < n) {
    lower = higher;
    higher = load<u32>(shadow + ((higher - 1) << 4), S_LINK);
  }
  let kind: u32 = FrameKind.Stored;
  if (higher) {
    const h = shadow + ((higher - 1) << 4);
    const was = load<u32>(h, S_KIND);
    const moves =
      (was == FrameKind.Interrupt || was == FrameKind.User) && load<u64>(h, S_RET) == ret;
    if (moves) kind = was;
    if (moves || higher - 1 == n) higher = load<u32>(h, S_LINK);
  }
  const s = shadow + (n << 4);
  touch(s);
  store<u64>(s, ret, S_RET);
  store<u32>(s, higher, S_LINK);
  store<u32>(s, kind, S_KIND);
  if (!lower) return n + 1;
  const l = shadow + ((lower - 1) << 4);
  touch(l);
  store<u32>(l, n + 1, S_LINK);
  return top;
}

/**
 * A frame made by a store, declared at a label. `fresh` says that its stack is new, so that nothing that was on it
 * counts.
 */
export function declare(va: u64, ret: u64, fresh: bool): void {
  const off = va - load<u64>(STK_LO);
  if (off < load<u64>(STK_SIZE)) {
    setTop(insert(load<u32>(STK_SHADOW), fresh ? 0 : load<u32>(STK_TOP), <u32>(off >> 3), ret));
    return;
  }
  const a = areaOf(va);
  if (!a) return;
  const size = load<u64>(a, A_SIZE);
  const i = <u32>((va - load<u64>(a, A_START)) / size);
  const meta = load<u32>(a, A_META) + i * STACK_META_SIZE;
  const shadow = load<u32>(a, A_SHADOW) + i * <u32>(size << 1);
  const n = <u32>((va - load<u64>(a, A_START) - <u64>i * size) >> 3);
  touch(meta);
  store<u32>(meta, insert(shadow, fresh ? 0 : load<u32>(meta, M_TOP), n, ret), M_TOP);
}

// The run loop of the active vCPU: events first, then blocks until the grant is used up. A block is charged when it
// is entered and gives back what it did not execute; when less is left than a block costs, single instructions are
// decoded and cached on their own, so that any run stops after exactly as many instructions as were asked for.

import {
  BLOCK_HEADER,
  NO_LINK,
  BLOCK_MAX_INSNS,
  B_COUNT,
  B_LIVE,
  B_ONE,
  CAREFUL,
  CAREFUL_SPLIT,
  CAREFUL_STALE,
  CAREFUL_STORES,
  CODE_EPOCH,
  CPL,
  CURRENT,
  EFL,
  EXIT,
  FAULT,
  GRANT,
  HALTED,
  IF,
  INSNS,
  INT_SHADOW,
  JUMPS,
  JUMP_ENTRIES,
  LEFT,
  MAX_WATCHES,
  NMI_BLOCKED,
  ONE,
  P_DEADLINE,
  P_INIT,
  P_NMI,
  RAM,
  RAM_SIZE,
  RETIRED,
  RF,
  RIP,
  RIP_PAGE,
  SCRATCH,
  TF,
  TIME,
  UOP_SIZE,
  U_IMM,
  U_LEN,
  U_LINK,
  U_LINK2,
  U_OFF,
  U_OP,
  U_REM,
  U_SEEN,
  U_TARGET,
  WATCH,
  WATCH_SIZE,
} from "./abi";
import { apicOf, pending } from "./apic";
import { afterAlone, beforeAlone, drawAgain, drawnSoFar, fetch } from "./adversary";
import { enterAcross, enterBlock, findBlock, newBlock, tailBehind } from "./block";
import { cetOn, mayLand } from "./cet";
import { takeLink } from "./control";
import { decode, ended, movesSp, PAST_LIMIT } from "./decode";
import { execute } from "../build/dispatch";
import { fetchPa } from "./mmu";
import { UOP_FAULTY, UOP_GO_ON, UOP_MOVED, UOP_WATCH } from "./ids";
import { findWatch, watched } from "./watch";
import { specialise } from "./specialise";

const SINGLE: u64 = 0x8000000000000000;
const USER_CODE: u64 = 0x4000000000000000;
const MIDDLE_CODE: u64 = 0x2000000000000000;
const NOWHERE: u64 = ~(<u64>0);
const BUFFER: usize = 0xc100; // bytes of an instruction that goes on in the next page

/** Writes the records in front of an instruction: its watches. Answers the place after them. */
function emitWatches(up: usize, va: u64, n: i32, off: i32): usize {
  for (let i = findWatch(0, va, n); i < <u32>MAX_WATCHES; i = findWatch(i + 1, va, n)) {
    store<u16>(up, UOP_WATCH, U_OP);
    store<u16>(up, <u16>off, U_OFF);
    store<u8>(up, 0, U_LEN);
    store<u64>(up, WATCH + i * WATCH_SIZE, U_IMM);
    up += UOP_SIZE;
  }
  return up;
}

/**
 * Writes the records of the instruction at `p`, of `n` bytes, from `up` on, where it has just been decoded to learn its length:
 * its watches, itself, and what tells the shadow. Answers the place after them.
 */
function emit(up: usize, n: i32, p: usize, limit: i32, off: i32, va: u64): usize {
  const at = emitWatches(up, va, n, off);
  if (at != up) decode(p, limit, off, at);
  store<u16>(at, <u16>off, U_OFF);
  if (!movesSp()) return at + UOP_SIZE;
  const after = at + UOP_SIZE;
  store<u16>(after, UOP_MOVED, U_OP);
  store<u16>(after, <u16>(off + n), U_OFF);
  store<u8>(after, 0, U_LEN);
  return after + UOP_SIZE;
}

/** Sets U_REM of all records from the front: instructions from each to the end. */
function number(b: usize, end: usize, count: i32): void {
  let left = count;
  let up = b + BLOCK_HEADER;
  while (up < end) {
    const op = load<u16>(up, U_OP);
    store<u16>(up, <u16>left, U_REM);
    if (op != UOP_WATCH && op != UOP_MOVED && op != UOP_GO_ON) left--;
    up += UOP_SIZE;
  }
}

/**
 * Decodes the block at `rip`, whose first byte lies at `pa`. An instruction that crosses into the next page makes a
 * block of its own. 0 when its second page cannot be fetched.
 */
function build(rip: u64, pa: u64, key: u64): usize {
  const single = (key & SINGLE) != 0;
  const page = rip & ~(<u64>4095);
  let off = (<i32>rip) & 4095;
  if (pa >= load<u64>(RAM_SIZE)) return build0xff(off);
  const host = RAM + <usize>(pa & ~(<u64>4095));
  let b = newBlock();
  let up = b + BLOCK_HEADER;
  let count = 0;
  const most = single ? 1 : BLOCK_MAX_INSNS;
  const start = off;
  let open = true;
  while (count < most && off < 4096) {
    const n = decode(host + off, 4096 - off, off, up);
    if (n == PAST_LIMIT) {
      if (count) break;
      return crossing(b, rip, host + off, off, key);
    }
    up = emit(up, n, host + off, 4096 - off, off, page + <u64>off);
    count++;
    off += n;
    if (ended()) {
      open = false;
      break;
    }
    if (up - b > 0x3800) break;
  }
  if (open) up = goOnAt(up, off);
  number(b, up, count);
  // A record that may execute alone keeps its row's number, which says what it is.
  if (!single) specialise(b + BLOCK_HEADER, up);

  enterBlock(b, key, off - start, count, <u32>(up - b - BLOCK_HEADER) / UOP_SIZE);
  return b;
}

function goOnAt(up: usize, off: i32): usize {
  store<u16>(up, UOP_GO_ON, U_OP);
  store<u16>(up, <u16>off, U_OFF);
  store<u8>(up, 0, U_LEN);
  store<u32>(up, NO_LINK, U_LINK);
  store<u32>(up, NO_LINK, U_LINK2);
  store<i64>(up, <i64>off, U_TARGET);
  return up + UOP_SIZE;
}

/** A block of one instruction that is not kept. */
function scratch(p: usize, limit: i32, off: i32, va: u64): i32 {
  const b = <usize>SCRATCH;
  const n = decode(p, limit, off, b + BLOCK_HEADER);
  if (n == PAST_LIMIT) return n;
  let up = emit(b + BLOCK_HEADER, n, p, limit, off, va);
  if (!ended()) up = goOnAt(up, off + n);
  number(b, up, 1);
  store<u32>(b, 1, B_COUNT);
  store<u32>(b, 0, B_LIVE); // never entered into the jump cache
  return n;
}

/**
 * A block of the instruction at `rip` that goes on in the next page, at `b` where it may be kept. In front of it stands a
 * watch of its own, which is its tail, and looks whether the next page is still the same.
 */
function crossing(b: usize, rip: u64, p: usize, off: i32, key: u64): usize {
  const have = 4096 - off;
  memory.copy(BUFFER, p, have);
  memory.fill(BUFFER + have, 0, 16);
  const next = fetchPa((rip | 4095) + 1);
  if (next == NOWHERE) return 0;
  const there = next < load<u64>(RAM_SIZE);
  if (there) memory.copy(BUFFER + have, RAM + <usize>next, 15);
  else memory.fill(BUFFER + have, 0xff, 15);
  if (key & SINGLE || !there) {
    scratch(BUFFER, 15, off, rip);
    return SCRATCH;
  }
  const first = b + BLOCK_HEADER;
  store<u16>(first, UOP_WATCH, U_OP);
  store<u16>(first, <u16>off, U_OFF);
  store<u8>(first, 0, U_LEN);
  store<u64>(first, 0, U_SEEN);
  let up = first + UOP_SIZE;
  const n = decode(BUFFER, 15, off, up);
  up = emit(up, n, BUFFER, 15, off, rip);
  if (!ended()) up = goOnAt(up, off + n);
  number(b, up, 1);
  specialise(first, up);
  const records = <u32>(up - first) / UOP_SIZE;
  store<u64>(first, tailBehind(b, records), U_IMM);
  enterAcross(b, key, have, records, next, n - have);
  return b;
}

/** Where no memory answers, the bus reads ones. */
function build0xff(off: i32): usize {
  memory.fill(BUFFER, 0xff, 16);
  scratch(BUFFER, 15, off, 0);
  return SCRATCH;
}

/** The block at RIP; 0 with a fault recorded. */
function lookUp(single: bool): usize {
  if (cetOn() && !mayLand()) return 0;
  const rip = load<u64>(RIP);
  store<u64>(RIP_PAGE, rip & ~(<u64>4095));
  const j = <usize>load<u32>(JUMPS) + (((<usize>(rip ^ (rip >> 12))) & (JUMP_ENTRIES - 1)) << 4);
  if (!single && load<u64>(j) == rip) {
    const b = load<u32>(j, 8);
    if (load<u32>(b, B_LIVE)) return b;
  }
  const pa = fetchPa(rip);
  if (pa == NOWHERE) return 0;
  // Privileged instructions decode to #GP outside ring 0, so the privileges have blocks of their own; rings 1 and 2 execute
  // alone, and have none in the jump cache.
  const cpl = load<i32>(CPL);
  const ring = cpl == 3 ? USER_CODE : cpl ? MIDDLE_CODE : 0;
  const key = pa | ring | (single ? SINGLE : 0);
  let b = findBlock(key);
  if (!b) b = build(rip, pa, key);
  if (b && !single && load<u32>(b, B_LIVE)) {
    store<u64>(j, rip);
    store<u32>(j, b, 8);
  }
  return b;
}

/** The block of the first instruction of block `b`, which RIP stands at, alone. */
function oneOf(b: usize): usize {
  const known = load<u32>(b, B_ONE);
  if (known && load<u32>(known, B_LIVE)) return known;
  const epoch = load<u32>(CODE_EPOCH);
  const found = lookUp(true);
  if (found && load<u32>(found, B_LIVE) && epoch == load<u32>(CODE_EPOCH))
    store<u32>(b, found, B_ONE);
  return found;
}

/** Brings the counters up to date with what was executed since the last grant. Answers how much that was. */
function settle(): i64 {
  const used = load<i64>(GRANT) - load<i64>(LEFT);
  store<u64>(TIME, load<u64>(TIME) + <u64>used);
  store<u64>(RETIRED, load<u64>(RETIRED) + <u64>used);
  store<u64>(INSNS, load<u64>(INSNS) + <u64>used);
  store<i64>(GRANT, 0);
  store<i64>(LEFT, 0);
  return used;
}

/** The instruction at RIP as this vCPU has fetched it, decoded but not kept; 0 with a fault recorded. */
function fetched(): usize {
  const rip = load<u64>(RIP);
  const off = (<i32>rip) & 4095;
  store<u64>(RIP_PAGE, rip & ~(<u64>4095));
  const pa = fetchPa(rip);
  if (pa == NOWHERE) return 0;
  const have = min<u32>(15, 4096 - off);
  fetch(BUFFER, pa, have);
  if (scratch(BUFFER, have, off, rip) != PAST_LIMIT) return SCRATCH;
  const next = fetchPa((rip | 4095) + 1);
  if (next == NOWHERE) return 0;
  fetch(BUFFER + have, next, 15 - have);
  scratch(BUFFER, 15, off, rip);
  return SCRATCH;
}

/** Executes one instruction on its own. Answers 1, or 0 when it was not done. */
export function one(): i64 {
  const adverse = load<u32>(CAREFUL) & (CAREFUL_STALE | CAREFUL_STORES | CAREFUL_SPLIT);
  const drawn = adverse ? drawnSoFar() : 0;
  store<i64>(GRANT, 1);
  store<i64>(LEFT, 1);
  const b = adverse & CAREFUL_STALE ? fetched() : lookUp(true);
  if (b) {
    store<i64>(LEFT, 0);
    let up = b + BLOCK_HEADER;
    // Watches come first, so that an instruction that one of them stops has left no trace.
    while (load<u16>(up, U_OP) == UOP_WATCH) {
      if (!watched(up, <usize>load<u64>(up, U_IMM))) {
        store<i64>(LEFT, 1);
        if (adverse) drawAgain(drawn);
        return settle();
      }
      up += UOP_SIZE;
    }
    store<u32>(ONE, up);
    if (adverse) beforeAlone(up);
    execute(up);
    if (adverse) afterAlone(up);
    store<u32>(ONE, 0);
  }
  takeLink();
  return settle();
}

/** Executes up to `n` instructions. */
export function chunk(n: i64): i64 {
  store<i64>(GRANT, n);
  store<i64>(LEFT, n);
  let from: usize = 0;
  while (load<i64>(LEFT) > 0) {
    const epoch = load<u32>(CODE_EPOCH);
    let b = lookUp(false);
    if (b && <i64>load<u32>(b, B_COUNT) > load<i64>(LEFT)) b = oneOf(b);
    else if (b && from && epoch == load<u32>(CODE_EPOCH) && load<u32>(b, B_LIVE))
      store<u32>(from, b);
    if (b) {
      store<i64>(LEFT, load<i64>(LEFT) - <i64>load<u32>(b, B_COUNT));
      execute(b + BLOCK_HEADER);
    }
    from = takeLink();
    if (load<i32>(FAULT) >= 0 || load<u32>(EXIT) || load<i32>(HALTED) || load<i32>(INT_SHADOW))
      break;
    if (eventsDue()) break;
  }
  return settle();
}

/** Whether an event may be delivered before the next instruction. */
function eventsDue(): bool {
  const f = load<u64>(EFL);
  if (f & (<u64>(TF | RF)) || load<u32>(CAREFUL)) return true;
  const p = apicOf(load<u32>(CURRENT));
  return (
    load<u32>(p, P_INIT) != 0 ||
    (load<u32>(p, P_NMI) != 0 && !load<i32>(NMI_BLOCKED)) ||
    ((f & IF) != 0 && pending(p) >= 0) ||
    // A timer that was set in the middle of a grant fires in the middle of it.
    load<u64>(p, P_DEADLINE) - load<u64>(TIME) < load<u64>(GRANT)
  );
}

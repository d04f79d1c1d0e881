// What a CPU may do that a simple one does not: keep stores in a buffer until something drains it, put a moment between
// the load and the store of an unlocked read-modify-write, and go on executing bytes that it fetched before they were
// changed. All of it is off unless the host asks for it, costs nothing then, and is drawn from a seed.
//
// A store buffer is first in, first out, and private: its vCPU sees what is in it, nobody else does (TSO). A split
// read-modify-write is one whose store waits in the buffer until its vCPU executes again. Fetched bytes are kept by lines
// of 64 bytes in FETCHED slots; a line is fetched anew when its slot is taken, now and then, and after a serializing
// instruction, so that an instruction across two lines may be torn.
// SDM Vol. 3A: "Memory Ordering in P6 and More Recent Processor Families", "Store Buffer", "Serializing Instructions",
// "Handling Self- and Cross-Modifying Code".

import {
  ADVERSARY,
  ADVERSARY_SIZE,
  ADV_COUNT,
  ADV_LINES,
  ADV_RANDOM,
  ADV_STORES,
  ADV_TAGS,
  BUFFERING,
  CAREFUL,
  CAREFUL_SPLIT,
  CAREFUL_STALE,
  CAREFUL_STORES,
  CURRENT,
  KINDS,
  KIND_DRAINS,
  KIND_LOCKED,
  KIND_RMW,
  KIND_SERIALIZES,
  LAST,
  LAST_SERIALIZED,
  MAX_STORES,
  MISC_LOCK,
  MISC_MEM,
  RAM,
  RAM_SIZE,
  STORE_SIZE,
  U_MISC,
  U_OP,
} from "./abi";
import { writeRam } from "./mmu";

const FETCHED: usize = 64;
const LINE: u64 = 64;
const NOTHING: u64 = ~(<u64>0);

function state(): usize {
  return ADVERSARY + load<u32>(CURRENT) * ADVERSARY_SIZE;
}

/** xorshift64*, one of each vCPU's own. Marsaglia 2003, Vigna 2016. */
function random(): u32 {
  const at = state() + ADV_RANDOM;
  let x = load<u64>(at);
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  store<u64>(at, x);
  return <u32>((x * 0x2545f4914f6cdd1d) >> 32);
}

/** The state of what is drawn, for an instruction that may yet be stopped before it begins. */
export function drawnSoFar(): u64 {
  return load<u64>(state() + ADV_RANDOM);
}

export function drawAgain(from: u64): void {
  store<u64>(state() + ADV_RANDOM, from);
}

/** Makes the oldest store of the buffer visible. */
function drainOne(): void {
  const a = state();
  const n = load<u32>(a + ADV_COUNT);
  const e = a + ADV_STORES;
  const pa = load<u64>(e);
  writeRam(pa, e + 16, load<u32>(e, 8));
  forgetLines(pa, load<u32>(e, 8));
  memory.copy(e, e + STORE_SIZE, (n - 1) * STORE_SIZE);
  store<u32>(a + ADV_COUNT, n - 1);
}

/** Makes all stores of this vCPU visible. */
export function drain(): void {
  const a = state();
  while (load<u32>(a + ADV_COUNT)) drainOne();
}

/** A store of at most 16 bytes within a page of RAM, by an instruction that executes alone. */
export function buffer(pa: u64, from: usize, n: u32): void {
  const a = state();
  if (load<u32>(a + ADV_COUNT) >= <u32>MAX_STORES) drainOne();
  const e = a + ADV_STORES + load<u32>(a + ADV_COUNT) * STORE_SIZE;
  store<u64>(e, pa);
  store<u32>(e, n, 8);
  memory.copy(e + 16, from, n);
  store<u32>(a + ADV_COUNT, load<u32>(a + ADV_COUNT) + 1);
}

/** Lays what waits in the buffer over `n` bytes that were read at `pa`: the youngest store counts. */
export function forward(to: usize, pa: u64, n: u32): void {
  const a = state();
  const nr = load<u32>(a + ADV_COUNT);
  for (let i: u32 = 0; i < nr; i++) {
    const e = a + ADV_STORES + i * STORE_SIZE;
    const at = load<u64>(e);
    const len = <u64>load<u32>(e, 8);
    const lo = max<u64>(at, pa);
    const hi = min<u64>(at + len, pa + n);
    if (lo < hi) memory.copy(to + <usize>(lo - pa), e + 16 + <usize>(lo - at), <usize>(hi - lo));
  }
}

/** Before the instruction of a record executes alone: what of the buffer has to go, and whether its stores wait. */
export function beforeAlone(up: usize): void {
  const kind = load<u8>(KINDS + load<u16>(up, U_OP));
  const misc = load<u8>(up, U_MISC);
  const locked = (misc & MISC_LOCK) != 0 || ((kind & KIND_LOCKED) != 0 && (misc & MISC_MEM) != 0);
  const c = load<u32>(CAREFUL);
  let waits = false;
  if (c & CAREFUL_STORES) {
    if (locked || kind & (KIND_DRAINS | KIND_SERIALIZES)) drain();
    else if (load<u32>(state() + ADV_COUNT) && !(random() & 7)) drainOne();
    waits = !locked;
  } else if (c & CAREFUL_SPLIT) {
    drain();
    waits = (kind & KIND_RMW) != 0 && !locked;
  }
  store<u32>(BUFFERING, u32(waits));
}

/** Behind it. */
export function afterAlone(up: usize): void {
  store<u32>(BUFFERING, 0);
  const kind = load<u8>(KINDS + load<u16>(up, U_OP));
  if (!(kind & KIND_SERIALIZES) && !(load<u32>(LAST) & LAST_SERIALIZED)) return;
  if (load<u32>(CAREFUL) & (CAREFUL_STORES | CAREFUL_SPLIT)) drain();
  if (load<u32>(CAREFUL) & CAREFUL_STALE) forgetAll();
}

/** Forgets all lines that were fetched. */
export function forgetAll(): void {
  memory.fill(state() + ADV_TAGS, 0xff, FETCHED << 3);
}

/** A vCPU sees its own stores to code: the lines that [pa, pa + n) touches are fetched anew. */
export function forgetLines(pa: u64, n: u32): void {
  if (!(load<u32>(CAREFUL) & CAREFUL_STALE)) return;
  const a = state() + ADV_TAGS;
  for (let line = pa & ~(LINE - 1); line < pa + n; line += LINE) {
    const t = a + (((<usize>(line >> 6)) & (FETCHED - 1)) << 3);
    if (load<u64>(t) == line) store<u64>(t, NOTHING);
  }
}

/** Copies `n` bytes of code at `pa`, within one page, as this vCPU has fetched them. */
export function fetch(to: usize, pa: u64, n: u32): void {
  const a = state();
  if (load<u32>(a + ADV_COUNT)) drain(); // its own stores are seen
  let done: u32 = 0;
  while (done < n) {
    const at = pa + done;
    const line = at & ~(LINE - 1);
    const i = (<usize>(line >> 6)) & (FETCHED - 1);
    const data = a + ADV_LINES + (i << 6);
    const t = a + ADV_TAGS + (i << 3);
    if (load<u64>(t) != line || !(random() & 63)) {
      store<u64>(t, line);
      if (line < load<u64>(RAM_SIZE)) memory.copy(data, RAM + <usize>line, <usize>LINE);
      else memory.fill(data, 0xff, <usize>LINE);
    }
    const inside = <u32>(at - line);
    const part = min<u32>(n - done, <u32>LINE - inside);
    memory.copy(to + done, data + inside, part);
    done += part;
  }
}

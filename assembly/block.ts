// The cache of decoded blocks, keyed by the physical address of the first byte, and its invalidation when code is
// written. A written block keeps its memory until the arena is emptied: every record becomes Stale, so that a vCPU
// in the middle of it and every link to it fall back to a look-up. Code is tracked by 64-byte lines of a page. An instruction
// in two pages is a block of its own with an entry in the list of either; where its second page lies is looked at before
// each execution (secondPage).

import {
  ARENA,
  ARENA_END,
  ARENA_NEXT,
  BLOCK_HASH,
  BLOCK_HASH_ENTRIES,
  BLOCK_HEADER,
  B_BYTES,
  B_COUNT,
  B_HASH_NEXT,
  B_LIVE,
  B_ONE,
  B_OTHER,
  B_PA,
  B_PAGE_NEXT,
  B_RECORDS,
  CODE_EPOCH,
  CODE_LINES,
  JUMPS,
  JUMP_BYTES,
  LIVE_ACROSS,
  LIVE_TAIL,
  LIVE_WHOLE,
  NR_TRACKED,
  NR_VCPUS,
  PAGE_BLOCKS,
  PAGE_CODE,
  PAGE_CODED,
  PAGE_PARTS,
  RIP_PAGE,
  TLB_EPOCH,
  UOP_SIZE,
  U_EPOCH,
  U_OP,
  U_SEEN,
} from "./abi";
import { UOP_MOVED, UOP_STALE } from "./ids";
import { fetchPa, flushTlb, flushWriteTlb } from "./mmu";

/** Bits 61 to 63 of a key: decoded for ring 1 or 2, for user mode, one instruction only. */
const KEY_PA: u64 = 0x1fffffffffffffff;
const LARGEST: u32 = 0x4000; // more than the biggest block takes
const NOWHERE: u64 = ~(<u64>0);

function bucket(key: u64): usize {
  const h = <u32>(key ^ (key >> 17) ^ (key >> 61));
  return BLOCK_HASH + ((h & (BLOCK_HASH_ENTRIES - 1)) << 2);
}

export function findBlock(key: u64): usize {
  let b = load<u32>(bucket(key));
  while (b && load<u64>(b, B_PA) != key) b = load<u32>(b, B_HASH_NEXT);
  return b;
}

/** Forgets all decoded code. Only between blocks. */
export function flushCode(): void {
  memory.fill(BLOCK_HASH, 0, BLOCK_HASH_ENTRIES << 2);
  // What lies behind the pages that there are is never touched, so that a small machine takes little memory.
  const n = load<u32>(NR_TRACKED);
  memory.fill(PAGE_BLOCKS, 0, n << 2);
  memory.fill(PAGE_CODE, 0, n);
  memory.fill(CODE_LINES, 0, n << 3);
  store<u32>(ARENA_NEXT, ARENA);
  store<u32>(CODE_EPOCH, load<u32>(CODE_EPOCH) + 1);
  for (let v: u32 = 0; v < load<u32>(NR_VCPUS); v++) flushTlb(v);
}

/** Room for one block. */
export function newBlock(): usize {
  if (load<u32>(ARENA_NEXT) + LARGEST > <u32>ARENA_END) flushCode();
  return load<u32>(ARENA_NEXT);
}

function markLines(pa: u64, bytes: u32): void {
  const at = CODE_LINES + ((<usize>(pa >> 12)) << 3);
  const first = ((<u32>pa) & 4095) >> 6;
  const last = (((<u32>pa) & 4095) + bytes - 1) >> 6;
  let m = load<u64>(at);
  for (let i = first; i <= last; i++) m |= (<u64>1) << i;
  store<u64>(at, m);
}

/** Puts a header into the list of the page in which it has `bytes` bytes. */
function enlist(b: usize, bytes: u32): void {
  const pa = load<u64>(b, B_PA) & KEY_PA;
  const page = <usize>(pa >> 12);
  store<u16>(b, <u16>bytes, B_BYTES);
  store<u32>(b, load<u32>(PAGE_BLOCKS + (page << 2)), B_PAGE_NEXT);
  store<u32>(PAGE_BLOCKS + (page << 2), b);
  // Stores into this page, or into parts of it, may be in the write TLBs.
  const flags = load<u8>(PAGE_CODE + page);
  if ((flags & (<u8>(PAGE_CODED | PAGE_PARTS))) != PAGE_CODED) {
    store<u8>(PAGE_CODE + page, (flags | (<u8>PAGE_CODED)) & ~(<u8>PAGE_PARTS));
    for (let v: u32 = 0; v < load<u32>(NR_VCPUS); v++) flushWriteTlb(v);
  }
  markLines(pa, bytes);
}

/** Enters a block that was decoded from `bytes` bytes of one page. */
export function enterBlock(b: usize, key: u64, bytes: u32, count: u32, records: u32): void {
  store<u32>(b, count, B_COUNT);
  store<u32>(b, LIVE_WHOLE, B_LIVE);
  store<u64>(b, key, B_PA);
  store<u16>(b, <u16>records, B_RECORDS);
  store<u32>(b, 0, B_ONE);
  const h = bucket(key);
  store<u32>(b, load<u32>(h), B_HASH_NEXT);
  store<u32>(h, b);
  store<u32>(ARENA_NEXT, b + BLOCK_HEADER + records * UOP_SIZE);
  enlist(b, bytes);
}

/** Where the tail of a block of so many records will be. */
export function tailBehind(b: usize, records: u32): usize {
  return b + BLOCK_HEADER + records * UOP_SIZE;
}

/** Enters a block of one instruction of which `bytes` bytes lie in its page and `rest` bytes at `pa2`, where a page begins. */
export function enterAcross(
  b: usize,
  key: u64,
  bytes: u32,
  records: u32,
  pa2: u64,
  rest: u32,
): void {
  const tail = tailBehind(b, records);
  enterBlock(b, key, bytes, 1, records);
  store<u32>(b, LIVE_ACROSS, B_LIVE);
  store<u32>(b, tail, B_OTHER);
  store<u32>(ARENA_NEXT, tail + BLOCK_HEADER);
  store<u32>(tail, 0, B_COUNT);
  store<u32>(tail, LIVE_TAIL, B_LIVE);
  store<u64>(tail, pa2, B_PA);
  store<u16>(tail, 0, B_RECORDS);
  store<u32>(tail, 0, B_HASH_NEXT);
  store<u32>(tail, b, B_OTHER);
  enlist(tail, rest);
}

/**
 * Whether the page behind the present one is where the block of `tail` has the end of its instruction from. If not, that is
 * forgotten, or the fault of the fetch is recorded. An answer holds as long as an entry of the jump cache does.
 */
export function secondPage(up: usize, tail: usize): bool {
  const seen = load<u64>(RIP_PAGE) | (<u64>(load<u32>(JUMPS) / JUMP_BYTES));
  if (load<u64>(up, U_SEEN) == seen && load<u64>(up, U_EPOCH) == load<u64>(TLB_EPOCH)) return true;
  const pa = fetchPa(load<u64>(RIP_PAGE) + 4096);
  if (pa == load<u64>(tail, B_PA)) {
    store<u64>(up, seen, U_SEEN);
    store<u64>(up, load<u64>(TLB_EPOCH), U_EPOCH);
    return true;
  }
  if (pa != NOWHERE && load<u32>(tail, B_LIVE)) {
    kill(tail);
    sweep(<usize>(load<u64>(tail, B_PA) >> 12));
  }
  return false;
}

/** Makes a block stale. Its lists keep it until they are swept; that of the other page of a block in two is. */
function kill(b: usize): void {
  const live = load<u32>(b, B_LIVE);
  if (!live) return;
  store<u32>(b, 0, B_LIVE);
  const other = <usize>load<u32>(b, B_OTHER);
  if (live == LIVE_TAIL) stale(other);
  else stale(b);
  if (live == LIVE_WHOLE) return;
  store<u32>(other, 0, B_LIVE);
  sweep(<usize>((load<u64>(other, B_PA) & KEY_PA) >> 12));
}

function stale(b: usize): void {
  const n = <u32>load<u16>(b, B_RECORDS);
  for (let i: u32 = 0; i < n; i++) {
    const up = b + BLOCK_HEADER + i * UOP_SIZE;
    // A change of rsp by the instruction that is executing must still reach the shadow.
    if (load<u16>(up, U_OP) != UOP_MOVED) store<u16>(up, UOP_STALE, U_OP);
  }
  const h = bucket(load<u64>(b, B_PA));
  let p = h;
  while (load<u32>(p) != b) p = load<u32>(p) + B_HASH_NEXT;
  store<u32>(p, load<u32>(b, B_HASH_NEXT));
}

/** Takes what is stale out of a page's list, and finds its lines anew. */
function sweep(page: usize): void {
  let p = PAGE_BLOCKS + (page << 2);
  store<u64>(CODE_LINES + (page << 3), 0);
  for (let b = <usize>load<u32>(p); b; b = <usize>load<u32>(p)) {
    if (load<u32>(b, B_LIVE)) {
      markLines(load<u64>(b, B_PA) & KEY_PA, load<u16>(b, B_BYTES));
      p = b + B_PAGE_NEXT;
    } else store<u32>(p, load<u32>(b, B_PAGE_NEXT));
  }
  if (!load<u32>(PAGE_BLOCKS + (page << 2))) {
    store<u8>(PAGE_CODE + page, load<u8>(PAGE_CODE + page) & ~(<u8>PAGE_CODED));
  }
}

/** `n` bytes at `pa`, within one page, are about to be written: blocks decoded from them are stale. */
export function codeWritten(pa: u64, n: u32): void {
  const page = <usize>(pa >> 12);
  const at = CODE_LINES + (page << 3);
  const lo = (<u32>pa) & 4095;
  const lines = load<u64>(at);
  const first = lo >> 6;
  const last = (lo + n - 1) >> 6;
  if (!((lines >> first) & 1) && !((lines >> last) & 1) && last - first < 2) return;
  let killed = false;
  let b = <usize>load<u32>(PAGE_BLOCKS + (page << 2));
  while (b) {
    const next = <usize>load<u32>(b, B_PAGE_NEXT);
    const start = (<u32>load<u64>(b, B_PA)) & 4095;
    if (start < lo + n && lo < start + <u32>load<u16>(b, B_BYTES)) {
      kill(b);
      killed = true;
    }
    b = next;
  }
  if (killed) sweep(page);
}

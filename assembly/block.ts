// The cache of decoded blocks, keyed by the physical address of the first byte, and its invalidation when code is
// written. A written block keeps its memory until the arena is emptied: every record becomes Stale, so that a vCPU
// in the middle of it and every link to it fall back to a look-up. Code is tracked by 64-byte lines of a page.

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
  B_PA,
  B_PAGE_NEXT,
  B_RECORDS,
  CODE_EPOCH,
  CODE_LINES,
  NR_TRACKED,
  NR_VCPUS,
  PAGE_BLOCKS,
  PAGE_CODE,
  PAGE_CODED,
  PAGE_PARTS,
  UOP_SIZE,
  U_OP,
} from "./abi";
import { UOP_MOVED, UOP_STALE } from "./ids";
import { flushTlb, flushWriteTlb } from "./mmu";

/** Bits 61 to 63 of a key: decoded for ring 1 or 2, for user mode, one instruction only. */
const KEY_PA: u64 = 0x1fffffffffffffff;
const LARGEST: u32 = 0x4000; // more than the biggest block takes

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

/** Enters a block that was decoded from `bytes` bytes of one page. */
export function enterBlock(b: usize, key: u64, bytes: u32, count: u32, records: u32): void {
  const pa = key & KEY_PA;
  const page = <usize>(pa >> 12);
  store<u32>(b, count, B_COUNT);
  store<u32>(b, 1, B_LIVE);
  store<u64>(b, key, B_PA);
  store<u16>(b, <u16>bytes, B_BYTES);
  store<u16>(b, <u16>records, B_RECORDS);
  const h = bucket(key);
  store<u32>(b, load<u32>(h), B_HASH_NEXT);
  store<u32>(h, b);
  store<u32>(b, load<u32>(PAGE_BLOCKS + (page << 2)), B_PAGE_NEXT);
  store<u32>(PAGE_BLOCKS + (page << 2), b);
  store<u32>(ARENA_NEXT, b + BLOCK_HEADER + records * UOP_SIZE);
  store<u32>(b, 0, B_ONE);
  // Stores into this page, or into parts of it, may be in the write TLBs.
  const flags = load<u8>(PAGE_CODE + page);
  if ((flags & (<u8>(PAGE_CODED | PAGE_PARTS))) != PAGE_CODED) {
    store<u8>(PAGE_CODE + page, (flags | (<u8>PAGE_CODED)) & ~(<u8>PAGE_PARTS));
    for (let v: u32 = 0; v < load<u32>(NR_VCPUS); v++) flushWriteTlb(v);
  }
  markLines(pa, bytes);
}

function kill(b: usize): void {
  store<u32>(b, 0, B_LIVE);
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

/** `n` bytes at `pa`, within one page, are about to be written: blocks decoded from them are stale. */
export function codeWritten(pa: u64, n: u32): void {
  const page = <usize>(pa >> 12);
  const at = CODE_LINES + (page << 3);
  const lo = (<u32>pa) & 4095;
  const lines = load<u64>(at);
  const first = lo >> 6;
  const last = (lo + n - 1) >> 6;
  if (!((lines >> first) & 1) && !((lines >> last) & 1) && last - first < 2) return;
  let p = PAGE_BLOCKS + (page << 2);
  let b = load<u32>(p);
  let killed = false;
  while (b) {
    const start = (<u32>load<u64>(b, B_PA)) & 4095;
    if (start < lo + n && lo < start + <u32>load<u16>(b, B_BYTES)) {
      kill(b);
      killed = true;
      store<u32>(p, load<u32>(b, B_PAGE_NEXT));
    } else p = b + B_PAGE_NEXT;
    b = load<u32>(b, B_PAGE_NEXT);
  }
  if (!killed) return;
  store<u64>(at, 0);
  for (b = load<u32>(PAGE_BLOCKS + (page << 2)); b; b = load<u32>(b, B_PAGE_NEXT)) {
    markLines(load<u64>(b, B_PA) & KEY_PA, load<u16>(b, B_BYTES));
  }
  if (!load<u64>(at)) {
    store<u8>(PAGE_CODE + page, load<u8>(PAGE_CODE + page) & ~(<u8>PAGE_CODED));
  }
}

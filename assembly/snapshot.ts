// The base snapshot of a machine: after `snapBase` every page is clean; the first write to one saves it. `snapBack`
// puts the saved pages back, so its cost follows the pages that were written, not the RAM. What lies outside of pages
// (vCPUs, APICs, counters) the host copies. Decoded code stays unless the bytes under it differ.

import {
  CODE_LINES,
  DIRTY_LIST,
  NR_DIRTY,
  NR_TRACKED,
  NR_VCPUS,
  PAGE_CLEAN,
  PAGE_CODE,
  RAM,
  SAVED,
  SNAP_ON,
} from "./abi";
import { codeWritten } from "./block";
import { flushTlb } from "./mmu";
import { soil } from "./pages";
import { unpack } from "./undo";

const SCRATCH_PAGE: usize = 0xd000; // the host's, who writes to it right before a call

function flushAll(): void {
  for (let v: u32 = 0; v < load<u32>(NR_VCPUS); v++) flushTlb(v);
}

/** Makes the present content of all pages the base. */
export function snapBase(): void {
  const n = load<u32>(NR_TRACKED);
  memory.fill(PAGE_CLEAN, 1, n);
  memory.fill(SAVED, 0, n << 2);
  store<u32>(NR_DIRTY, 0);
  store<u32>(SNAP_ON, 1);
  flushAll();
}

/** Tells the block cache about the lines of a page that are about to change. */
function compareCode(page: u32, to: usize, from: usize): void {
  const lines = load<u64>(CODE_LINES + (page << 3));
  for (let i: u32 = 0; i < 64; i++) {
    if (!((lines >> i) & 1)) continue;
    if (memory.compare(to + (i << 6), from + (i << 6), 64))
      codeWritten(((<u64>page) << 12) + (i << 6), 64);
  }
}

/** Puts the base back. */
export function snapBack(): void {
  const n = load<u32>(NR_DIRTY);
  for (let k: u32 = 0; k < n; k++) {
    const page = load<u32>(DIRTY_LIST + (k << 2));
    const to = RAM + (page << 12);
    const from = load<u32>(SAVED + (page << 2));
    if (load<u8>(PAGE_CODE + page)) {
      unpack(SCRATCH_PAGE, from);
      compareCode(page, to, SCRATCH_PAGE);
    }
    unpack(to, from);
    store<u8>(PAGE_CLEAN + page, 1);
  }
  store<u32>(NR_DIRTY, 0);
  flushAll();
}

/** Replaces a whole page, for a snapshot that differs from the base. */
export function snapPage(page: u32, from: usize): void {
  const to = RAM + (page << 12);
  if (load<u8>(PAGE_CLEAN + page)) soil(page);
  if (load<u8>(PAGE_CODE + page)) compareCode(page, to, from);
  memory.copy(to, from, 4096);
}

/** FNV-1a over the words of [from, from + bytes), for state hashes. */
export function hash(seed: u64, from: usize, bytes: u32): u64 {
  let h = seed;
  for (let i: u32 = 0; i < bytes; i += 8) {
    h = (h ^ load<u64>(from + i)) * 0x100000001b3;
    h ^= h >> 29;
  }
  return h;
}

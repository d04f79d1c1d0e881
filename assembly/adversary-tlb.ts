// The adversary's TLB: translations that a vCPU keeps using although their entries have changed, until something
// invalidates them. Global ones survive a load of CR3. Large pages are kept by pieces of 4 KiB and dropped as a whole.
// SDM Vol. 3A, "Caching Translation Information", "Invalidation of TLBs and Paging-Structure Caches".

import { ADVERSARY, ADVERSARY_SIZE, ADV_PAGES, CURRENT } from "./abi";

const ENTRIES: usize = 64;
const VALID: u64 = 1;

// Beside the physical address: what the walk found.
export const KEPT_USER: u64 = 1;
export const KEPT_WRITE: u64 = 2;
export const KEPT_NX: u64 = 4;
export const KEPT_GLOBAL: u64 = 8;
export const KEPT_DIRTY: u64 = 16;
const SHIFT: u64 = 5; // six bits: log2 of the page's size
const FLAGS: u64 = 0xfff;

function entries(): usize {
  return ADVERSARY + load<u32>(CURRENT) * ADVERSARY_SIZE + ADV_PAGES;
}

function place(va: u64): usize {
  return entries() + (((<usize>(va >> 12)) & (ENTRIES - 1)) << 4);
}

/** What is kept of the page of `va`: its physical address with KEPT_*, 0 when nothing is. */
export function kept(va: u64): u64 {
  const e = place(va);
  return load<u64>(e) == ((va & ~FLAGS) | VALID) ? load<u64>(e, 8) : 0;
}

export function keep(va: u64, pa: u64, shift: i32, flags: u64): void {
  const e = place(va);
  store<u64>(e, (va & ~FLAGS) | VALID);
  store<u64>(e, (pa & ~FLAGS) | ((<u64>shift) << SHIFT) | flags, 8);
}

/** INVLPG: every piece of the page that holds `va`, global or not. */
export function dropPage(va: u64): void {
  for (let i: usize = 0; i < ENTRIES; i++) {
    const e = entries() + (i << 4);
    const shift = (load<u64>(e, 8) >> SHIFT) & 63;
    if (load<u64>(e) >> shift == va >> shift) store<u64>(e, 0);
  }
}

/** A load of CR3 keeps the global ones; everything else that invalidates drops all. */
export function dropPages(globalToo: bool): void {
  for (let i: usize = 0; i < ENTRIES; i++) {
    const e = entries() + (i << 4);
    if (globalToo || !(load<u64>(e, 8) & KEPT_GLOBAL)) store<u64>(e, 0);
  }
}

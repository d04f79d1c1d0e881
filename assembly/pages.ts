// The pages that a snapshot tracks: RAM, the shadow and the stack metadata, one after the other in wasm memory. The
// first write to a page after the base snapshot saves its old content once and puts it on the dirty list.

import { DIRTY_LIST, NR_DIRTY, PAGE_CLEAN, RAM, SAVED } from "./abi";
import { keep } from "./undo";

/** Before a write to the page that holds wasm address `p`. */
export function touch(p: usize): void {
  const i = (<u32>(p - RAM)) >> 12;
  if (load<u8>(PAGE_CLEAN + i)) soil(i);
}

/** Saves page `i` if it was not saved before and marks it dirty. */
export function soil(i: u32): void {
  if (!load<u32>(SAVED + (i << 2))) store<u32>(SAVED + (i << 2), keep(i));
  store<u8>(PAGE_CLEAN + i, 0);
  const n = load<u32>(NR_DIRTY);
  store<u32>(DIRTY_LIST + (n << 2), i);
  store<u32>(NR_DIRTY, n + 1);
}

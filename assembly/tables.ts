// Pages of RAM that page walks have read. A write to an entry that a TLB may have used empties the TLBs at once, so that
// a translation never outlives its entry: a CPU may drop any translation at any time, and this one does so always, which
// makes a run independent of where it was cut. How long a CPU may keep one is shown by the adversary's option instead.
// SDM Vol. 3A, "Details of TLB Use", "Recommended Invalidation".

import { NR_VCPUS, PAGE_CODE, PAGE_TABLE, RAM, RAM_SIZE, RIP_PAGE } from "./abi";
import { codeWritten } from "./block";
import { flushTlb, flushWriteTlb, peekPa } from "./mmu";

const USED: u64 = 0x21; // present and accessed

/** Notes that a walk reads the table at `pa`. */
export function tableRead(pa: u64): void {
  if (pa >= load<u64>(RAM_SIZE)) return;
  const at = PAGE_CODE + <usize>(pa >> 12);
  const flags = load<u8>(at);
  if (flags & PAGE_TABLE) return;
  store<u8>(at, flags | (<u8>PAGE_TABLE));
  for (let v: u32 = 0; v < load<u32>(NR_VCPUS); v++) flushWriteTlb(v);
}

/** `n` bytes of a page that walks have read are about to be written. */
export function tableWritten(pa: u64, n: u32): void {
  let used: u64 = 0;
  for (let at = pa & ~(<u64>7); at < pa + n; at += 8) {
    const e = load<u64>(RAM + <usize>at);
    if ((e & USED) == USED) used = 1;
  }
  if (!used) return;
  // The block that is executing ends too: what follows it may be mapped elsewhere from now on.
  const running = peekPa(load<u64>(RIP_PAGE));
  if (running < load<u64>(RAM_SIZE)) codeWritten(running & ~(<u64>4095), 4096);
  for (let v: u32 = 0; v < load<u32>(NR_VCPUS); v++) flushTlb(v);
}

// Accesses where there is no RAM: the page of the local APIC in xAPIC mode, else devices that the host has attached, else
// nothing, which reads as ones. An instruction that reaches for a device executes alone, so that time and place are exact.
// SDM Vol. 3A, "The Local APIC Block Diagram", "Local APIC Register Address Map".

import { CURRENT, KINDS, KIND_RMW, MSR_APIC_BASE, ONE, U_OP } from "./abi";
import { apicOf, apicRead, apicWrite } from "./apic";
import { busRead, busWrite } from "./host";
import { timeAt } from "./state";

const APIC_ENABLED: u64 = 0x800;
const APIC_EXTENDED: u64 = 0x400;

/** Whether the instruction that executes alone reads what it is about to write. */
export function readsWhatItWrites(): bool {
  const up = load<u32>(ONE);
  return up != 0 && (load<u8>(KINDS + load<u16>(up, U_OP)) & KIND_RMW) != 0;
}

function apicPage(pa: u64): bool {
  const base = load<u64>(MSR_APIC_BASE);
  return (
    (base & (APIC_ENABLED | APIC_EXTENDED)) == APIC_ENABLED &&
    (pa & ~(<u64>4095)) == (base & 0xffffff000)
  );
}

/** Reads up to eight bytes. Registers of the APIC lie 16 bytes apart and are read by 32 bits. */
function read(pa: u64, n: u32): u64 {
  if (!apicPage(pa)) return busRead(pa, n);
  if ((<u32>pa) & 15 || n != 4) return 0;
  const now = timeAt(load<u32>(ONE));
  return apicRead(apicOf(load<u32>(CURRENT)), ((<u32>pa) & 4095) >> 4, now, false);
}

function write(pa: u64, n: u32, v: u64): void {
  if (!apicPage(pa)) {
    busWrite(pa, n, v);
    return;
  }
  if ((<u32>pa) & 15 || n != 4) return;
  const now = timeAt(load<u32>(ONE));
  apicWrite(apicOf(load<u32>(CURRENT)), ((<u32>pa) & 4095) >> 4, v, now, false);
}

/** The largest power of two up to eight that divides the address and fits. */
function piece(pa: u64, n: u32): u32 {
  let size: u32 = 8;
  while (size > n || (<u32>pa) & (size - 1)) size >>= 1;
  return size;
}

/** Copies `n` bytes of the bus to wasm memory. */
export function deviceIn(to: usize, pa: u64, n: u32): void {
  let done: u32 = 0;
  while (done < n) {
    const size = piece(pa + done, n - done);
    const v = read(pa + done, size);
    for (let i: u32 = 0; i < size; i++) store<u8>(to + done + i, <u8>(v >> (i << 3)));
    done += size;
  }
}

/** Writes `n` bytes of wasm memory to the bus. */
export function deviceOut(from: usize, pa: u64, n: u32): void {
  let done: u32 = 0;
  while (done < n) {
    const size = piece(pa + done, n - done);
    let v: u64 = 0;
    for (let i: u32 = 0; i < size; i++) v |= (<u64>load<u8>(from + done + i)) << (i << 3);
    write(pa + done, size, v);
    done += size;
  }
}

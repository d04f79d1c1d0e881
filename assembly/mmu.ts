// Guest memory: the software TLB in front of the page walk, and what a write has to look after (dirty pages, decoded
// code). `reach` answers a wasm address for an access that lies in one page; an access that cannot be done in place
// (it crosses a page, or no RAM is there) goes through a bounce buffer. While alignment is checked, the TLB is empty and
// every access comes to reachSlow. SDM Vol. 3A, "4-Level Paging", "Interrupt 17--Alignment Check Exception (#AC)".

import {
  AC,
  B_BYTES,
  B_PA,
  B_PAGE_NEXT,
  BUFFERING,
  CAREFUL,
  CAREFUL_ALIGN,
  CAREFUL_CODE,
  CAREFUL_DATA,
  CAREFUL_RING,
  CAREFUL_SPLIT,
  CAREFUL_STALE,
  CAREFUL_STORES,
  CAREFUL_TLB,
  CPL,
  CR0,
  CR2,
  CR3,
  CR4,
  CURRENT,
  EFER,
  EFL,
  FAULT,
  FAULT_CODE,
  INT_SHADOW,
  JUMPS,
  JUMP_BYTES,
  JUMP_CACHES,
  NONCANONICAL,
  ONE,
  PAGE_BLOCKS,
  PAGE_CLEAN,
  PAGE_CODE,
  PAGE_CODED,
  PAGE_PARTS,
  PAGE_TABLE,
  RAM,
  RAM_SIZE,
  SHADOW_ALONE,
  TLBS,
  T_ADD,
  T_SPAN,
  T_VA,
  TLB_BYTES,
  TLB_EPOCH,
  TLB_NONE,
  WINDOW,
  TLB_R,
  TLB_W,
  Vector,
} from "./abi";
import { buffer, drain, forgetLines, forward } from "./adversary";
import { codeWritten } from "./block";
import { noteAccess } from "./debug";
import { deviceIn, deviceOut, readsWhatItWrites } from "./device";
import { soil, touch } from "./pages";
import { tableRead, tableWritten } from "./tables";
import {
  dropPage,
  keep,
  kept,
  KEPT_DIRTY,
  KEPT_GLOBAL,
  KEPT_NX,
  KEPT_USER,
  KEPT_WRITE,
} from "./adversary-tlb";
import { cpl, fault, pageFault } from "./state";

export const READ: i32 = 0;
export const WRITE: i32 = 1;
export const USER: i32 = 2;
export const FETCH: i32 = 4;
const IMPLICIT: i32 = 8; // a supervisor access that no instruction names: descriptor tables, TSS

const NOWHERE: u64 = ~(<u64>0);
const BOUNCE: usize = 0xc000;
const BOUNCE_PA: usize = 0xc080; // u64: physical address of the first part
const BOUNCE_PA2: usize = 0xc088; // u64: of the part in the next page
const BOUNCE_N: usize = 0xc090; // u32: bytes in all
const BOUNCE_N1: usize = 0xc094; // u32: bytes in the first part
const ENTRY: usize = 0xc138; // u64: a page-table entry as this vCPU sees it

const MIN_SPAN: u32 = 64; // no run of pushes is wider

const PTE_P: u64 = 1;
const PTE_RW: u64 = 2;
const PTE_US: u64 = 4;
const PTE_A: u64 = 0x20;
const PTE_D: u64 = 0x40;
const PTE_PS: u64 = 0x80;
const PTE_G: u64 = 0x100;
const PTE_NX: u64 = 0x8000000000000000;
const PTE_PA: u64 = 0x000ffffffffff000;
const PA_RESERVED: u64 = 0x000fff0000000000; // MAXPHYADDR is 40
const CR0_WP: u64 = 0x10000;
const CR0_AM: u64 = 0x40000;
const CR0_PG: u64 = 0x80000000;
const CR4_PGE: u64 = 0x80;
const CR4_SMEP: u64 = 0x100000;
const CR4_SMAP: u64 = 0x200000;
const EFER_NXE: u64 = 0x800;

/** Chooses the TLBs and the jump cache of the present vCPU and privilege. */
export function selectTlb(): void {
  const v = load<u32>(CURRENT);
  const user = u32(load<i32>(CPL) == 3);
  const t = TLBS + ((v << 2) + user) * TLB_BYTES;
  store<u32>(TLB_R, t);
  store<u32>(TLB_W, t + 2 * TLB_BYTES);
  store<u32>(JUMPS, JUMP_CACHES + ((v << 1) + user) * JUMP_BYTES);
  const ring = load<i32>(CPL) % 3 ? CAREFUL_RING : 0;
  if ((load<u32>(CAREFUL) & CAREFUL_RING) != <u32>ring)
    store<u32>(CAREFUL, load<u32>(CAREFUL) ^ CAREFUL_RING);
  if (load<u64>(EFL) & (<u64>AC) || load<u32>(CAREFUL) & CAREFUL_ALIGN) checkAlignment();
}

/** Decides whether accesses are checked for alignment, after what that hangs on has changed: CPL or AC. */
function checkAlignment(): void {
  const on =
    load<i32>(CPL) == 3 && load<u64>(EFL) & (<u64>AC) && load<u64>(CR0) & CR0_AM
      ? CAREFUL_ALIGN
      : 0;
  const old = load<u32>(CAREFUL);
  if ((old & CAREFUL_ALIGN) == on) return;
  store<u32>(CAREFUL, old ^ CAREFUL_ALIGN);
  flushTlb(load<u32>(CURRENT));
}

export function flushTlb(v: i32): void {
  memory.fill(TLBS + (v << 2) * TLB_BYTES, 0xff, 2 * TLB_BYTES);
  flushWriteTlb(v);
  flushJumps(v);
}

export function flushJumps(v: i32): void {
  // An empty entry has a tag that does not belong to its place: zeros everywhere but at the first place, where ones are,
  // whose own place is another.
  store<u64>(TLB_EPOCH, load<u64>(TLB_EPOCH) + 1);
  const at = JUMP_CACHES + (v << 1) * JUMP_BYTES;
  memory.fill(at, 0, 2 * JUMP_BYTES);
  store<u64>(at, ~(<u64>1));
  store<u64>(at + JUMP_BYTES, ~(<u64>1));
}

/** Makes the TLB without entries: each holds a non-canonical address that belongs into another entry. */
export function makeNoTlb(): void {
  for (let i: usize = 0; i < <usize>TLB_BYTES; i += 16) {
    store<u64>(TLB_NONE + i, i ? 0x8000000000000000 : 0x8000000000001000, T_VA);
    store<u32>(TLB_NONE + i, MIN_SPAN, T_SPAN);
  }
}

/** After pages became clean or got decoded code: writes must come here again. */
export function flushWriteTlb(v: i32): void {
  const at = TLBS + ((v << 2) + 2) * TLB_BYTES;
  memory.copy(at, TLB_NONE, TLB_BYTES);
  memory.copy(at + TLB_BYTES, TLB_NONE, TLB_BYTES);
}

/** Sets the flags that are not lazy. Under SMAP, AC decides which translations hold for the kernel. */
export function setEfl(v: u64): void {
  const changed = (load<u64>(EFL) ^ v) & (<u64>AC);
  store<u64>(EFL, v);
  if (!changed) return;
  if (load<u64>(CR4) & CR4_SMAP) flushTlb(load<u32>(CURRENT));
  checkAlignment();
}

export function canonical(va: u64): bool {
  return <u64>(((<i64>va) << 16) >> 16) == va;
}

function physRead(pa: u64): u64 {
  if (pa + 8 > load<u64>(RAM_SIZE)) return ~(<u64>0);
  if (!buffered()) return load<u64>(RAM + <usize>pa);
  store<u64>(ENTRY, load<u64>(RAM + <usize>pa));
  forward(ENTRY, pa, 8);
  return load<u64>(ENTRY);
}

/** Whether this vCPU's stores may wait in a buffer. */
function buffered(): bool {
  return (load<u32>(CAREFUL) & (CAREFUL_STORES | CAREFUL_SPLIT)) != 0;
}

function setPte(pa: u64, old: u64, bits: u64): void {
  if ((old & bits) == bits || pa + 8 > load<u64>(RAM_SIZE)) return;
  if (buffered()) drain();
  touch(RAM + <usize>pa);
  if (load<u8>(PAGE_CODE + <usize>(pa >> 12)) & PAGE_CODED) codeWritten(pa, 8);
  store<u64>(RAM + <usize>pa, old | bits);
}

/** Whether the error code of a page fault says that it was a fetch: when rights to execute exist. SDM Vol. 3A, "Page-Fault Exceptions". */
function fetchesAreTold(): bool {
  return ((load<u64>(EFER) & EFER_NXE) | (load<u64>(CR4) & CR4_SMEP)) != 0;
}

/**
 * Translates `va` for an access and sets accessed and dirty bits. Answers the physical address, or NOWHERE with the
 * fault recorded. A walk that finds a reserved bit faults with RSVD.
 */
export function walk(va: u64, access: i32): u64 {
  if (!(load<u64>(CR0) & CR0_PG)) return va;
  const write = access & WRITE;
  const user = access & USER;
  const code = (write << 1) | (user ? 4 : 0) | (access & FETCH && fetchesAreTold() ? 16 : 0);
  if (!canonical(va)) {
    fault(Vector.GP, NONCANONICAL);
    return NOWHERE;
  }
  if (load<u32>(CAREFUL) & CAREFUL_TLB) {
    const pa = remembered(va, access);
    if (pa != NOWHERE) return pa;
  }
  let at = load<u64>(CR3) & PTE_PA;
  let rights: u64 = PTE_RW | PTE_US;
  let nx: u64 = 0;
  let shift: i32 = 39;
  let slot: u64 = 0;
  let e: u64 = 0;
  const rsvd = PA_RESERVED | (load<u64>(EFER) & EFER_NXE ? 0 : PTE_NX);
  for (;;) {
    slot = at + (((va >> shift) & 511) << 3);
    tableRead(at);
    e = physRead(slot);
    if (!(e & PTE_P)) {
      pageFault(va, code);
      return NOWHERE;
    }
    const leaf = shift == 12 || ((e & PTE_PS) != 0 && shift < 39);
    let bad = e & rsvd;
    if (e & PTE_PS) {
      if (shift == 39) bad |= PTE_PS;
      else if (shift > 12) bad |= e & ((((<u64>1) << shift) - 1) & PTE_PA & ~(<u64>0x1000));
    }
    if (bad) {
      pageFault(va, code | 9);
      return NOWHERE;
    }
    rights &= e;
    nx |= e & PTE_NX;
    if (leaf) break;
    setPte(slot, e, PTE_A);
    at = e & PTE_PA;
    shift -= 9;
  }
  if (!allowed(access, (rights & PTE_US) != 0, (rights & PTE_RW) != 0, nx != 0)) {
    pageFault(va, code | 1);
    return NOWHERE;
  }
  setPte(slot, e, write ? PTE_A | PTE_D : PTE_A);
  const mask = ((<u64>1) << shift) - 1;
  const pa = (e & PTE_PA & ~mask) | (va & mask);
  if (load<u32>(CAREFUL) & CAREFUL_TLB) {
    const global = (e & PTE_G) != 0 && (load<u64>(CR4) & CR4_PGE) != 0;
    const flags =
      (rights & PTE_US ? KEPT_USER : 0) |
      (rights & PTE_RW ? KEPT_WRITE : 0) |
      (nx ? KEPT_NX : 0) |
      (global ? KEPT_GLOBAL : 0) |
      (write || e & PTE_D ? KEPT_DIRTY : 0);
    keep(va, pa, shift, flags);
  }
  return pa;
}

/** Whether a page of these rights may be accessed so. */
function allowed(access: i32, userPage: bool, writable: bool, nx: bool): bool {
  const write = (access & WRITE) != 0;
  const fetch = (access & FETCH) != 0;
  if (access & USER) return userPage && (!write || writable) && !(fetch && nx);
  if (write && !writable && load<u64>(CR0) & CR0_WP) return false;
  if (fetch) return !nx && !(userPage && load<u64>(CR4) & CR4_SMEP);
  if (!userPage || !(load<u64>(CR4) & CR4_SMAP)) return true;
  return !(access & IMPLICIT) && (load<u64>(EFL) & (<u64>AC)) != 0;
}

/** The physical address by a translation that is kept and allows the access; NOWHERE when a walk has to decide. */
function remembered(va: u64, access: i32): u64 {
  const k = kept(va);
  if (!k) return NOWHERE;
  const user = (k & KEPT_USER) != 0;
  const dirty = !(access & WRITE) || (k & KEPT_DIRTY) != 0;
  if (dirty && allowed(access, user, (k & KEPT_WRITE) != 0, (k & KEPT_NX) != 0)) {
    return (k & PTE_PA) | (va & 4095);
  }
  dropPage(va);
  return NOWHERE;
}

function mode(w: i32): i32 {
  return w | (load<i32>(CPL) == 3 ? USER : READ);
}

/** Whether the TLBs may know a page: not while something looks at every access. */
function fillable(): bool {
  return !(load<u32>(CAREFUL) & ~CAREFUL_CODE);
}

/** What `placed` answers for what a TLB does not have. */
export const NOT_THERE: u32 = 0xffffffff;
/**
 * By so much T_VA is too low where T_ADD is not 0, so that one comparison tells the window. It changes which entry an address belongs
 * into: no address that is looked up in an entry of the kind, canonical or not, can take it for one of the window.
 */
export const OUTSIDE: u64 = 0x80000;

/** What to add to an address to have its place in RAM; 0 in the window. */
function distance(va: u64, pa: u64): u32 {
  return ((<u32>va) & WINDOW & ~4095) == <u32>(pa & ~(<u64>4095))
    ? 0
    : <u32>(pa & ~(<u64>4095)) - <u32>(va & ~(<u64>4095));
}

/** Enters what begins at `start`, in the page of `va`. */
function enter(e: usize, start: u64, va: u64, pa: u64): void {
  const add = distance(va, pa);
  store<u64>(e, add ? start - OUTSIDE : start, T_VA);
  store<u32>(e, add, T_ADD);
}

export function tlbEntry(tlb: usize, va: u64): usize {
  return tlb + ((<usize>(va >> 8)) & 0xff0);
}

/** Lets loads from the page of `va` go on without coming here. */
function fillRead(va: u64, pa: u64): void {
  if (!fillable()) return;
  enter(tlbEntry(load<u32>(TLB_R), va), va & ~(<u64>4095), va, pa);
}

/** The same for stores: to the whole page, or around `va` to where the next code lies. */
function fillWrite(va: u64, pa: u64, n: u32): void {
  if (!fillable()) return;
  const page = <usize>(pa >> 12);
  const off = (<u32>pa) & 4095;
  let lo: u32 = 0;
  let hi: u32 = 4096;
  const flags = load<u8>(PAGE_CODE + page);
  if (flags & PAGE_TABLE) return;
  if (flags & PAGE_CODED) {
    for (let b = load<u32>(PAGE_BLOCKS + (page << 2)); b; b = load<u32>(b, B_PAGE_NEXT)) {
      const start = (<u32>load<u64>(b, B_PA)) & 4095;
      const end = start + <u32>load<u16>(b, B_BYTES);
      if (end <= off) lo = max<u32>(lo, end);
      else if (start >= off + n) hi = min<u32>(hi, start);
      else return;
    }
    if (hi - lo < MIN_SPAN) return;
    store<u8>(PAGE_CODE + page, flags | (<u8>PAGE_PARTS));
  }
  const e = tlbEntry(load<u32>(TLB_W), va);
  enter(e, (va & ~(<u64>4095)) + <u64>lo, va, pa);
  store<u32>(e, hi - lo, T_SPAN);
}

/** Before `n` bytes at `pa` are written, all in one page of RAM. */
function beforeWrite(pa: u64, n: u32): void {
  const page = <usize>(pa >> 12);
  if (load<u8>(PAGE_CLEAN + page)) soil(<u32>page);
  const flags = load<u8>(PAGE_CODE + page);
  if (flags & PAGE_TABLE) tableWritten(pa, n);
  if (flags & PAGE_CODED) codeWritten(pa, n);
}

function bounceIn(n: u32, n1: u32, pa: u64, pa2: u64, w: i32): void {
  store<u64>(BOUNCE_PA, pa);
  store<u64>(BOUNCE_PA2, pa2);
  store<u32>(BOUNCE_N, n);
  store<u32>(BOUNCE_N1, n1);
  bring(BOUNCE, pa, n1, w);
  if (n1 < n) bring(BOUNCE + n1, pa2, n - n1, w);
}

/** Reads a part that lies in one page. A device is not read for the sake of a write. */
function bring(to: usize, pa: u64, n: u32, w: i32): void {
  if (pa < load<u64>(RAM_SIZE)) {
    memory.copy(to, RAM + <usize>pa, n);
    if (buffered()) forward(to, pa, n);
  } else if (w && !readsWhatItWrites()) memory.fill(to, 0, n);
  else deviceIn(to, pa, n);
}

function take(from: usize, pa: u64, n: u32): void {
  if (pa >= load<u64>(RAM_SIZE)) {
    if (buffered()) drain();
    deviceOut(from, pa, n);
  } else if (load<u32>(BUFFERING)) buffer(pa, from, n);
  else writeRam(pa, from, n);
}

/** Writes bytes that lie in one page of RAM. */
export function writeRam(pa: u64, from: usize, n: u32): void {
  beforeWrite(pa, n);
  memory.copy(RAM + <usize>pa, from, n);
}

/** Writes the bounce buffer back. */
export function bounceOut(): void {
  const n = load<u32>(BOUNCE_N);
  const n1 = load<u32>(BOUNCE_N1);
  take(BOUNCE, load<u64>(BOUNCE_PA), n1);
  if (n1 < n) take(BOUNCE + n1, load<u64>(BOUNCE_PA2), n - n1);
}

/** The general case of reach: `n` bytes at `va`. Answers a wasm address, or 0 with the fault recorded. */
function reachSlow(va: u64, n: u32, w: i32): usize {
  const access = mode(w);
  if (!canonical(va + n - 1)) {
    fault(Vector.GP, NONCANONICAL);
    return 0;
  }
  const pa = walk(va, access);
  if (pa == NOWHERE) return 0;
  const room: u32 = 4096 - ((<u32>va) & 4095);
  if (load<u32>(CAREFUL) & CAREFUL_ALIGN && (<u32>va) & (n - 1)) {
    // A page fault comes first, in either page.
    if (room >= n || walk((va + room) & ~(<u64>4095), access) != NOWHERE) fault(Vector.AC, 0);
    return 0;
  }
  if (load<u32>(CAREFUL) & CAREFUL_DATA) noteAccess(va, n, w != READ);
  if (w && load<u32>(CAREFUL) & CAREFUL_STALE) forgetLines(pa, min<u32>(n, room));
  if (room >= n && pa + n <= load<u64>(RAM_SIZE) && !buffered()) {
    if (w) {
      beforeWrite(pa, n);
      fillWrite(va, pa, n);
    } else fillRead(va, pa);
    return RAM + <usize>pa;
  }
  let pa2: u64 = 0;
  if (room < n) {
    pa2 = walk((va + room) & ~(<u64>4095), access);
    if (pa2 == NOWHERE) return 0;
    if (w && load<u32>(CAREFUL) & CAREFUL_STALE) forgetLines(pa2, n - room);
  }
  if (pa >= load<u64>(RAM_SIZE) || pa2 >= load<u64>(RAM_SIZE)) {
    if (!load<u32>(ONE)) {
      store<i32>(INT_SHADOW, SHADOW_ALONE);
      return 0;
    }
  }
  bounceIn(n, room < n ? room : n, pa, pa2, w);
  return BOUNCE;
}

/** How far the start of what entry `e` holds is from the page in which the `n` bytes at `va` end: 0 in the window, OUTSIDE outside. */
export function readGap(e: usize, va: u64, n: u64): u64 {
  return ((va + (n - 1)) & ~(<u64>4095)) - load<u64>(e, T_VA);
}

/** How far `va` is behind the start of what entry `e` holds, and OUTSIDE more outside of the window. */
export function writeGap(e: usize, va: u64): u64 {
  return va - load<u64>(e, T_VA);
}

/** The largest such distance of `n` bytes. */
export function writeRoom(e: usize, n: u64): u64 {
  return <u64>load<u32>(e, T_SPAN) - n;
}

/** Where a TLB has the T at `va` in RAM, or NOT_THERE. */
export function placed<T>(va: u64, tlb: usize, w: i32): u32 {
  const e = tlbEntry(tlb, va);
  const gap = w ? writeGap(e, va) : readGap(e, va, sizeof<T>());
  const room = w ? writeRoom(e, sizeof<T>()) : 0;
  if (gap <= room) return (<u32>va) & WINDOW;
  const add = load<u32>(e, T_ADD);
  return gap - OUTSIDE <= room && add ? <u32>va + add : NOT_THERE;
}

/** Where the T at `va` lies in wasm memory, ready to be read (w = 0) or read and written (w = 1), or 0 and a fault. */
export function reach<T>(va: u64, w: i32): usize {
  const p = placed<T>(va, load<u32>(w ? TLB_W : TLB_R), w);
  return p == NOT_THERE ? reachSlow(va, sizeof<T>(), w) : RAM + <usize>p;
}

/** As reach, for `n` bytes that lie in one page, by an instruction that does not execute alone. */
export function reachRun(va: u64, n: u32, w: i32): usize {
  const first = placed<u8>(va, load<u32>(w ? TLB_W : TLB_R), w);
  if (first == NOT_THERE) return reachSlow(va, n, w);
  if (w && placed<u8>(va + n - 1, load<u32>(TLB_W), w) == NOT_THERE) return reachSlow(va, n, w);
  return RAM + <usize>first;
}

/** Whether an operand that is reached in parts may lie at `va`, which has to be a multiple of `n`. Sets FAULT if not. */
export function aligned(va: u64, n: u32): bool {
  if (!(load<u32>(CAREFUL) & CAREFUL_ALIGN) || !((<u32>va) & (n - 1))) return true;
  return fault(Vector.AC, 0);
}

/** As reach, for an access through rsp: a non-canonical address is #SS. */
export function reachStack<T>(va: u64, w: i32): usize {
  const p = reach<T>(va, w);
  if (!p) stackFault();
  return p;
}

/** Whether a T could be written at `va` through rsp; nothing is, and no breakpoint is met. Sets FAULT if not. */
export function mayWriteStack<T>(va: u64): bool {
  if (placed<T>(va, load<u32>(TLB_W), 1) != NOT_THERE) return true;
  const last = va + (sizeof<T>() - 1);
  const access = mode(WRITE);
  const across = ((va ^ last) & ~(<u64>4095)) != 0;
  if (!canonical(last)) fault(Vector.GP, NONCANONICAL);
  else if (walk(va, access) != NOWHERE && (!across || walk(last & ~(<u64>4095), access) != NOWHERE))
    return true;
  stackFault();
  return false;
}

/** Turns a fault for a non-canonical address into #SS. */
export function stackFault(): void {
  stackFaultWith(0);
}

/** The same with an error code, which says where the stack was used from. */
export function stackFaultWith(code: i32): void {
  if (load<i32>(FAULT) >= 0 && load<i32>(FAULT_CODE) == NONCANONICAL) fault(Vector.SS, code);
}

/** Stores to where `reach` said. */
export function put<T>(p: usize, v: T): void {
  store<T>(p, v);
  if (p == BOUNCE) bounceOut();
}

/** Reads a T at CPL 0 regardless of the present privilege, for descriptor tables and the TSS. Sets FAULT if it cannot. */
export function systemRead<T>(va: u64): T {
  if (buffered()) drain();
  let v: u64 = 0;
  for (let i: u32 = 0; i < sizeof<T>(); i++) {
    const pa = walk(va + i, IMPLICIT);
    if (pa == NOWHERE) return <T>0;
    v |= u64(pa < load<u64>(RAM_SIZE) ? load<u8>(RAM + <usize>pa) : 0xff) << (i << 3);
  }
  return <T>v;
}

/** Translates a stack slot for the CPU's own push at CPL 0; nothing is written yet. */
export function systemSlot(va: u64): u64 {
  return walk(va, WRITE | IMPLICIT);
}

/** Writes eight bytes at CPL 0; the address was checked by systemSlot. */
export function systemWrite(va: u64, v: u64): void {
  if (buffered()) drain();
  for (let i: u32 = 0; i < 8; i++) {
    const pa = walk(va + i, WRITE | IMPLICIT);
    if (pa >= load<u64>(RAM_SIZE)) continue;
    beforeWrite(pa, 1);
    store<u8>(RAM + <usize>pa, <u8>(v >> (i << 3)));
  }
}

/** Writes a byte at CPL 0, for what the CPU keeps in descriptor tables. Sets FAULT if it cannot. */
export function systemByte(va: u64, v: u8): void {
  if (buffered()) drain();
  const pa = walk(va, WRITE | IMPLICIT);
  if (pa >= load<u64>(RAM_SIZE)) return;
  beforeWrite(pa, 1);
  store<u8>(RAM + <usize>pa, v);
}

/** Physical address of the code byte at `va`, or NOWHERE with the fault recorded. */
export function fetchPa(va: u64): u64 {
  return walk(va, FETCH | (cpl() == 3 ? USER : READ));
}

/** Translates for the host: no privilege, no side effect. NOWHERE when nothing is mapped. */
export function peekPa(va: u64): u64 {
  if (!(load<u64>(CR0) & CR0_PG)) return va;
  if (!canonical(va)) return NOWHERE;
  let at = load<u64>(CR3) & PTE_PA;
  for (let shift = 39; shift >= 12; shift -= 9) {
    const e = physRead(at + (((va >> shift) & 511) << 3));
    if (!(e & PTE_P)) return NOWHERE;
    if (shift == 12 || (e & PTE_PS && shift < 39)) {
      const mask = ((<u64>1) << shift) - 1;
      return (e & PTE_PA & ~mask) | (va & mask);
    }
    at = e & PTE_PA;
  }
  return NOWHERE;
}

/** Copies host bytes from wasm address `from` to physical `pa`, as a write by another agent on the bus. */
export function hostWrite(pa: u64, from: usize, n: u32): void {
  let done: u32 = 0;
  while (done < n) {
    const p = pa + done;
    if (p >= load<u64>(RAM_SIZE)) return;
    const part = min<u32>(n - done, 4096 - ((<u32>p) & 4095));
    beforeWrite(p, part);
    memory.copy(RAM + <usize>p, from + done, part);
    done += part;
  }
}

/** Clears a fault that a trial access recorded. */
export function forgetFault(): void {
  store<i32>(FAULT, -1);
}

export function setCr2(va: u64): void {
  store<u64>(CR2, va);
}

// Indirect branch tracking of CET: after a near indirect call or jump, and after every entry to a privilege that tracks,
// the next instruction must be ENDBR64; another one is #CP(3). The tracker is a bit of IA32_U_CET or IA32_S_CET, so each
// half keeps its own while the other runs. SDM Vol. 1, "Control-flow Enforcement Technology (CET)", "Indirect Branch
// Tracking", "INT3 Treatment", "#CP(ENDBRANCH) Priority w.r.t #NM and #UD", "w.r.t #BP and #DB"; Vol. 3A, "Priority Among
// Concurrent Events". A machine has it only when its configuration says so.
// DIFFERS: no shadow stacks and no legacy code page bitmap: their bits in both registers are reserved.

import {
  CET,
  CPL,
  CR0,
  CR4,
  MISC_NOTRACK,
  RAM,
  RAM_SIZE,
  RIP,
  S_CET,
  U_CET,
  U_MISC,
  Vector,
} from "./abi";
import { fetchPa } from "./mmu";
import { fault } from "./state";

const CR0_WP: u64 = 0x10000;
const CR4_CET: u64 = 0x800000;
const ENDBR_EN: u64 = 4;
const NO_TRACK_EN: u64 = 0x10;
const SUPPRESS: u64 = 0x400;
const WAITING: u64 = 0x800; // TRACKER: WAIT_FOR_ENDBRANCH
const SUPPRESS_DIS: u64 = 0x20;
const KNOWN: u64 = ENDBR_EN | NO_TRACK_EN | SUPPRESS_DIS | SUPPRESS | WAITING;
const ENDBRANCH: i32 = 3; // error code of #CP
const ENDBR64: u32 = 0xfa1e0ff3;
const INT3: u32 = 0xcc;
const INT1: u32 = 0xf1;
const FAULTED: u32 = 0x100;
const LONGEST: u64 = 15;
const NOWHERE: u64 = ~(<u64>0);

/** Whether anything here may matter. */
export function cetOn(): bool {
  return (load<u64>(CR4) & CR4_CET) != 0;
}

/** The bits of CR4 that the machine's configuration adds. */
export function cetBits(): u64 {
  return load<u32>(CET) ? CR4_CET : 0;
}

/** Whether CR0 and CR4 go together: CET needs write protection. */
export function cetAllows(cr0: u64, cr4: u64): bool {
  return !(cr4 & CR4_CET) || (cr0 & CR0_WP) != 0;
}

/** Where IA32_U_CET and IA32_S_CET lie, 0 for another number or without CET. */
export function cetCell(n: u32): usize {
  if (!load<u32>(CET)) return 0;
  return n == 0x6a0 ? U_CET : n == 0x6a2 ? S_CET : 0;
}

/** Whether `v` may be written to one of them. */
export function cetLegal(v: u64): bool {
  return !(v & ~KNOWN) && (v & (SUPPRESS | WAITING)) != (SUPPRESS | WAITING);
}

function active(): usize {
  return load<i32>(CPL) == 3 ? U_CET : S_CET;
}

/** A near indirect call or jump is about to be taken. */
export function trackIndirect(up: usize): void {
  const at = active();
  const v = load<u64>(at);
  if (!(v & ENDBR_EN) || v & SUPPRESS) return;
  if (load<u8>(up, U_MISC) & MISC_NOTRACK && v & NO_TRACK_EN) return;
  store<u64>(at, v | WAITING);
}

/** An event, a far transfer or SYSCALL has entered the present privilege. */
export function trackEntry(): void {
  if (!cetOn()) return;
  const at = active();
  const v = load<u64>(at);
  if (v & ENDBR_EN) store<u64>(at, (v & ~SUPPRESS) | WAITING);
}

/** ENDBR64; a NOP where nothing is tracked. */
export function endbr64(up: usize): bool {
  if (!cetOn()) return true;
  const at = active();
  const v = load<u64>(at);
  if (v & ENDBR_EN) store<u64>(at, v & ~(SUPPRESS | WAITING));
  return true;
}

function codeByte(va: u64): u32 {
  const pa = fetchPa(va);
  if (pa == NOWHERE) return FAULTED;
  return pa < load<u64>(RAM_SIZE) ? <u32>load<u8>(RAM + <usize>pa) : 0xff;
}

/** Prefixes but LOCK, with which INT3 and INT1 are #UD. */
function prefix(b: u32): bool {
  return (b & 0xe7) == 0x26 || (b & 0xf0) == 0x40 || (b & 0xfc) == 0x64 || (b & 0xfe) == 0xf2;
}

/** The first byte at `rip` that is no prefix. */
function opcodeAt(rip: u64): u32 {
  let b: u32 = 0;
  for (let i: u64 = 0; i < LONGEST; i++) {
    b = codeByte(rip + i);
    if (!prefix(b)) break;
  }
  return b;
}

/**
 * Whether the instruction at RIP may execute while the tracker is as it is; else the fault is recorded. INT3 and INT1 may, so
 * that a breakpoint can lie on an ENDBR64: they raise #BP and #DB, and the tracker goes on waiting. What comes of the fetch
 * comes first, and all that decoding and execution may raise comes behind.
 */
export function mayLand(): bool {
  const v = load<u64>(active());
  if (!(v & ENDBR_EN) || !(v & WAITING)) return true;
  const rip = load<u64>(RIP);
  for (let i: u32 = 0; i < 4; i++) {
    const b = codeByte(rip + i);
    if (b == FAULTED) return false;
    if (b == ((ENDBR64 >> (i << 3)) & 0xff)) continue;
    const opcode = opcodeAt(rip);
    if (opcode == FAULTED) return false;
    return opcode == INT3 || opcode == INT1 || fault(Vector.CP, ENDBRANCH);
  }
  return true;
}

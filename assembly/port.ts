// Port input and output: the privilege to do it, breakpoints on ports, and the string forms. Which device answers is the
// host's. All of these end their block, because a device may ask for an interrupt at once.
// SDM Vol. 2: "IN", "INS", "OUT", "OUTS"; Vol. 1, "I/O Permission Bit Map".

import {
  CAREFUL,
  CAREFUL_IO,
  CPL,
  EFL,
  FAULT,
  INT_SHADOW,
  MISC_REP,
  MISC_REPNE,
  RAX,
  RCX,
  RDI,
  RDX,
  RIP,
  RSI,
  SHADOW_REP,
  TR_BASE,
  TR_LIMIT,
  U_IMM,
  U_MISC,
  Vector,
} from "./abi";
import { notePort } from "./debug";
import { portRead, portWrite } from "./host";
import { put, reach, systemRead } from "./mmu";
import { fault, leaveAt, nextRip, ripOf, the } from "./state";
import { address, advance, source, step } from "./string";

const IO_MAP: u64 = 0x66; // of a 64-bit TSS: where its bit map starts

/** Whether `n` ports from `port` on may be used; the fault is recorded when not. */
function mayUse(port: u32, n: u32): bool {
  if (load<i32>(CPL) <= <i32>((load<u64>(EFL) >> 12) & 3)) return true;
  if (IO_MAP + 1 > load<u64>(TR_LIMIT)) return fault(Vector.GP, 0);
  const map = <u64>systemRead<u16>(load<u64>(TR_BASE) + IO_MAP);
  if (load<i32>(FAULT) >= 0) return false;
  // Two bytes are read whatever the port, so the map ends with a byte of ones.
  const at = map + <u64>(port >> 3);
  if (at + 1 > load<u64>(TR_LIMIT)) return fault(Vector.GP, 0);
  const bits = <u32>systemRead<u16>(load<u64>(TR_BASE) + at);
  if (load<i32>(FAULT) >= 0) return false;
  return (bits >> (port & 7)) & ((1 << n) - 1) ? fault(Vector.GP, 0) : true;
}

function done(up: usize): usize {
  store<u64>(RIP, nextRip(up));
  return 0;
}

function input<T>(port: u32): u32 {
  if (load<u32>(CAREFUL) & CAREFUL_IO) notePort(port, sizeof<T>());
  return portRead(port, sizeof<T>());
}

function output<T>(port: u32, v: u32): void {
  if (load<u32>(CAREFUL) & CAREFUL_IO) notePort(port, sizeof<T>());
  portWrite(port, sizeof<T>(), v);
}

/** The port of a form: its immediate byte, or dx. */
@unmanaged
export class Port {
  of(up: usize): u32 {
    return load<u8>(up, U_IMM);
  }
}
@unmanaged
export class PortDx {
  of(up: usize): u32 {
    return load<u16>(RDX);
  }
}

/** IN. A width of 64 bits is one of 32. */
export function portIn<P extends Port, T>(up: usize): usize {
  const port = the<P>().of(up);
  if (sizeof<T>() >= 4) {
    if (!mayUse(port, 4)) return 0;
    store<u64>(RAX, <u64>input<i32>(port));
  } else {
    if (!mayUse(port, sizeof<T>())) return 0;
    store<T>(RAX, <T>input<T>(port));
  }
  return done(up);
}

export function portOut<P extends Port, T>(up: usize): usize {
  const port = the<P>().of(up);
  if (sizeof<T>() >= 4) {
    if (!mayUse(port, 4)) return 0;
    output<i32>(port, load<u32>(RAX));
  } else {
    if (!mayUse(port, sizeof<T>())) return 0;
    output<T>(port, sizeof<T>() == 1 ? <u32>load<u8>(RAX) : <u32>load<u16>(RAX));
  }
  return done(up);
}

/** One element of INS: the place is known to be good before the port is read. */
@unmanaged
export class Ins {
  do<T>(up: usize): bool {
    const port = <u32>load<u16>(RDX);
    if (!mayUse(port, sizeof<T>())) return false;
    const d = reach<T>(address(RDI, up), 1);
    if (!d) return false;
    put<T>(d, <T>input<T>(port));
    advance(RDI, up, step<T>());
    return true;
  }
}
@unmanaged
export class Outs {
  do<T>(up: usize): bool {
    const port = <u32>load<u16>(RDX);
    if (!mayUse(port, sizeof<T>())) return false;
    const s = source<T>(up);
    if (!s) return false;
    output<T>(port, <u32>(<i32>load<T>(s)));
    advance(RSI, up, step<T>());
    return true;
  }
}

/** INS and OUTS. With REP, events are looked at between any two elements. */
function portString<F extends Ins, T>(up: usize): usize {
  if (!(load<u8>(up, U_MISC) & (MISC_REP | MISC_REPNE))) {
    return the<F>().do<T>(up) ? done(up) : 0;
  }
  // The right to the port is looked at even when nothing is left to move.
  if (!address(RCX, up)) return mayUse(load<u16>(RDX), sizeof<T>()) ? done(up) : 0;
  if (!the<F>().do<T>(up)) return 0;
  advance(RCX, up, -1);
  if (!address(RCX, up)) return done(up);
  store<i32>(INT_SHADOW, SHADOW_REP);
  leaveAt(up, ripOf(up), 0);
  return 0;
}

/** The string forms; 64 bits are 32. */
export function insOuts<F extends Ins, T>(up: usize): usize {
  return sizeof<T>() == 8 ? portString<F, i32>(up) : portString<F, T>(up);
}

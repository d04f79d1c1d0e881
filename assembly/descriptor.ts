// Segment descriptors: reading the one that a selector names, what long mode asks of code and stack segments, and the
// bit that says it was used. SDM Vol. 3A, "Segment Descriptors", "Segment Descriptor Tables in IA-32e Mode".

import { FAULT, GDTR_BASE, GDTR_LIMIT, LDTR_BASE, LDTR_LIMIT, Vector } from "./abi";
import { systemByte, systemRead } from "./mmu";
import { fault } from "./state";

/** Address of the descriptor of a selector. */
export function descriptorVa(selector: i32): u64 {
  return load<u64>(selector & 4 ? LDTR_BASE : GDTR_BASE) + <u64>(selector & 0xfff8);
}

/** The descriptor of a selector; 0 with #GP(selector) when it lies behind the end of its table. */
export function descriptor(selector: i32, ext: i32): u64 {
  if (<u64>(selector | 7) > load<u64>(selector & 4 ? LDTR_LIMIT : GDTR_LIMIT)) {
    fault(Vector.GP, (selector & 0xfffc) | ext);
    return 0;
  }
  return systemRead<u64>(descriptorVa(selector));
}

/**
 * The upper half of the system descriptor of a selector, whose type is known: it has 16 bytes. Sets FAULT when it lies
 * behind the end of its table or cannot be read.
 */
export function upperHalf(selector: i32): u64 {
  if (<u64>(selector | 7) + 8 > load<u64>(selector & 4 ? LDTR_LIMIT : GDTR_LIMIT)) {
    fault(Vector.GP, selector & 0xfffc);
    return 0;
  }
  return systemRead<u64>(descriptorVa(selector) + 8);
}

export function dplOf(d: u64): i32 {
  return (<i32>(d >> 45)) & 3;
}

export function isPresent(d: u64): bool {
  return ((d >> 47) & 1) != 0;
}

/** The 5 bits of S and type. */
export function typeOf(d: u64): i32 {
  return (<i32>(d >> 40)) & 0x1f;
}

export function isCode(d: u64): bool {
  return ((d >> 43) & 3) == 3;
}

export function isConforming(d: u64): bool {
  return ((d >> 42) & 1) != 0;
}

/** A code segment with L set and D clear. */
export function isCode64(d: u64): bool {
  return isCode(d) && ((d >> 53) & 3) == 1;
}

/** A data segment that can be written: what SS may hold. */
export function isStack(d: u64): bool {
  return (typeOf(d) & 0x1a) == 0x12;
}

/** Bits 0 to 31 of a segment's base. */
export function baseOf(d: u64): u64 {
  return ((d >> 16) & 0xffffff) | (((d >> 56) & 0xff) << 24);
}

export function limitOf(d: u64): u64 {
  const limit = (d & 0xffff) | ((d >> 32) & 0xf0000);
  return (d >> 55) & 1 ? (limit << 12) | 0xfff : limit;
}

/** Sets the accessed bit of a segment that is being loaded. False with the fault when the table cannot be written. */
export function markAccessed(selector: i32, d: u64): bool {
  if ((d >> 40) & 1) return true;
  systemByte(descriptorVa(selector) + 5, <u8>((d >> 40) | 1));
  return load<i32>(FAULT) < 0;
}

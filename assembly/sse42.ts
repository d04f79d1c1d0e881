// SSE4.2: the string comparisons and CRC32. SDM Vol. 1, "String and Text Processing Instructions", whose tables of
// aggregation, of invalid elements and of polarity are followed step by step; Vol. 2, PCMPESTRI to PCMPISTRM, CRC32.

import { RAX, RCX, RDX, U_B, U_IMM, XMM } from "./abi";
import { setArithmetic } from "./flags";
import { Operand } from "./operand";
import { destination, inMemory, memoryAt } from "./sse-operand";
import { the } from "./state";

const EQUAL_ANY: i32 = 0;
const RANGES: i32 = 1;
const EQUAL_EACH: i32 = 2;

// Of the present comparison only: the two strings, what their elements are, and how many are valid.
let first: usize = 0;
let second: usize = 0;
let control: i32 = 0;
let nr: i32 = 0;
let nrFirst: i32 = 0;
let nrSecond: i32 = 0;

function element(p: usize, i: i32): i32 {
  if (control & 1) return control & 2 ? <i32>load<i16>(p + (i << 1)) : <i32>load<u16>(p + (i << 1));
  return control & 2 ? <i32>load<i8>(p + i) : <i32>load<u8>(p + i);
}

/** Finds the operands. The second may be anywhere in memory. */
function begin(up: usize): bool {
  second = inMemory(up) ? memoryAt<v128>(up, 0) : <usize>load<u16>(up, U_B);
  if (!second) return false;
  first = destination(up);
  control = load<u8>(up, U_IMM);
  nr = control & 1 ? 8 : 16;
  return true;
}

function implicitLength(p: usize): i32 {
  let n = 0;
  while (n < nr && element(p, n)) n++;
  return n;
}

/** A length in a register: its magnitude, at most all elements. */
function explicitLength(v: i64): i32 {
  const m = <u64>(v < 0 ? -v : v);
  return m < <u64>nr ? <i32>m : nr;
}

/** Whether element `j` of the second string and element `i` of the first match, invalid elements as the mode has it. */
function matches(j: i32, i: i32): bool {
  const mode = (control >> 2) & 3;
  if (i >= nrFirst) return mode == EQUAL_EACH ? j >= nrSecond : mode > EQUAL_EACH;
  if (j >= nrSecond) return false;
  return element(first, i) == element(second, j);
}

/** The result before polarity: a bit for each element of the second string. */
function aggregate(): u32 {
  const mode = (control >> 2) & 3;
  let r: u32 = 0;
  for (let j = 0; j < nr; j++) {
    let hit = mode == EQUAL_EACH ? matches(j, j) : mode > EQUAL_EACH;
    if (mode == EQUAL_ANY) {
      for (let i = 0; i < nr; i++) if (matches(j, i)) hit = true;
    } else if (mode == RANGES) {
      for (let i = 0; i + 1 < nrFirst && j < nrSecond; i += 2) {
        const v = element(second, j);
        if (element(first, i) <= v && v <= element(first, i + 1)) hit = true;
      }
    } else if (mode > EQUAL_EACH) {
      for (let i = 0; i + j < nr; i++) if (!matches(j + i, i)) hit = false;
    }
    if (hit) r |= (<u32>1) << j;
  }
  return r;
}

/** Compares, sets the flags, and answers a bit for each element. */
function compareStrings(): u32 {
  let r = aggregate();
  const all = ((<u32>1) << nr) - 1;
  const polarity = (control >> 4) & 3;
  if (polarity == 1) r ^= all;
  else if (polarity == 3) r ^= ((<u32>1) << nrSecond) - 1;
  setArithmetic(
    (r ? 1 : 0) | (nrSecond < nr ? 0x40 : 0) | (nrFirst < nr ? 0x80 : 0) | (r & 1 ? 0x800 : 0),
  );
  return r;
}

function putIndex(r: u32): void {
  const highest = (control & 0x40) != 0;
  store<u64>(RCX, r ? <u64>(highest ? 31 - clz<u32>(r) : ctz<u32>(r)) : <u64>nr);
}

function putMask(r: u32): void {
  if (!(control & 0x40)) {
    store<u64>(XMM, <u64>r);
    store<u64>(XMM, 0, 8);
    return;
  }
  for (let i = 0; i < nr; i++) {
    const v = (r >> i) & 1 ? -1 : 0;
    if (control & 1) store<u16>(XMM + (i << 1), <u16>v);
    else store<u8>(XMM + i, <u8>v);
  }
}

/** PCMPESTRI and PCMPESTRM; T is the width of the lengths in rax and rdx. */
function explicit<T>(up: usize): bool {
  if (!begin(up)) return false;
  nrFirst = explicitLength(<i64>load<T>(RAX));
  nrSecond = explicitLength(<i64>load<T>(RDX));
  return true;
}
export function pcmpestri<T>(up: usize): bool {
  if (!explicit<T>(up)) return false;
  putIndex(compareStrings());
  return true;
}
export function pcmpestrm<T>(up: usize): bool {
  if (!explicit<T>(up)) return false;
  putMask(compareStrings());
  return true;
}

/** PCMPISTRI and PCMPISTRM: the strings end at a zero. */
function implicit(up: usize): bool {
  if (!begin(up)) return false;
  nrFirst = implicitLength(first);
  nrSecond = implicitLength(second);
  return true;
}
export function pcmpistri(up: usize): bool {
  if (!implicit(up)) return false;
  putIndex(compareStrings());
  return true;
}
export function pcmpistrm(up: usize): bool {
  if (!implicit(up)) return false;
  putMask(compareStrings());
  return true;
}

const POLYNOMIAL: u32 = 0x82f63b78; // 0x11edc6f41 with its bits reversed

/** CRC32: the sum of `T` bytes of the source goes on from the destination, and clears its upper half. */
export function crc32<D extends Operand, S extends Operand, T>(up: usize): bool {
  const s = the<S>().at<T>(up, 0);
  if (the<S>().mem() && !s) return false;
  let v = <u64>the<S>().get<T>(up, s);
  const d = the<D>().at<u32>(up, 1);
  let crc = <u32>the<D>().get<u32>(up, d);
  for (let i: u32 = 0; i < sizeof<T>(); i++) {
    crc ^= <u32>(v & 0xff);
    v >>= 8;
    for (let k = 0; k < 8; k++) crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
  }
  the<D>().put<u32>(d, <i64>crc);
  return true;
}

// Chooses the near forms of a decoded block, by the tables of src/isa/near.ts: first for each record alone or with the one
// behind it (a comparison and its jump), quiet where nobody can see the flags that it would leave, then for chains of
// near forms. The records stay what they are: a form of several is in the first one's, and the others keep their own.

import {
  CHAINS,
  CHAIN_COLUMNS,
  CHAIN_FIRST,
  CHAIN_FORM,
  CHAIN_SECOND,
  FIRST_ROW_UOP,
  FLAGS_KEPT,
  FLAGS_KILLED,
  FLAGS_SHIFT,
  FLAG_ROLE,
  LINEAR_ADD,
  LINEAR_ADD_CONSTANT,
  LINEAR_CONSTANT,
  LINEAR_LEA,
  LINEAR_MOV,
  LINEAR_OF,
  LINEAR_SHIFT,
  LINEAR_SHL,
  LINEAR_SUB,
  LINEAR_SUB_CONSTANT,
  MISC_ADDR32,
  NEAR_FACTOR,
  NEAR_NOT_NEXT,
  NEAR_NOT_RSP,
  NEAR_OF,
  NEAR_OPPOSITE,
  NEAR_SENSE,
  NEAR_UOP,
  PAIRS,
  PAIR_COLUMNS,
  PAIR_FIRST,
  PAIR_SECOND,
  QUIET_OF,
  RSP,
  UOP_SIZE,
  U_A,
  U_B,
  U_BASE,
  U_DISP,
  U_FACTOR,
  U_IMM,
  U_INDEX,
  U_LEN,
  U_MISC,
  U_OFF,
  U_OP,
  U_SEG,
  U_SENSE,
  U_TARGET,
  ZERO,
} from "./abi";

/** Puts near forms into the records of [up, end). */
export function specialise(up: usize, end: usize): void {
  chooseForms(up, end);
  while (up < end) up = chain(up, end);
}

/** Puts the longest chain that there is into the record at `up`. Answers the record behind it. */
function chain(up: usize, end: usize): usize {
  const own = longest(up, end, false);
  const linear = longest(up, end, true);
  const best = linear >>> 16 > own >>> 16 ? linear : own;
  if (!best) return up + UOP_SIZE;
  const after = up + <usize>(best >>> 16) * UOP_SIZE;
  if (best != own) {
    for (let r = up; r < after; r += UOP_SIZE) setLinear(r);
  }
  store<u16>(up, <u16>best, U_OP);
  return after;
}

/**
 * The longest chain from the record at `up`, as its form and above 16 bits how many records it takes, or 0; with `linear`, of the
 * forms of LEA that do what the records do.
 */
function longest(up: usize, end: usize, linear: bool): u32 {
  let best: u32 = 0;
  let line: usize = 0;
  for (let n: u32 = 1; up < end; n++) {
    let form = <usize>load<u16>(up, U_OP);
    if (form >= <usize>FIRST_ROW_UOP) break;
    if (linear && linearKind(up, form))
      form = load<u16>(LINEAR_OF + (form << 1)) & (<usize>(FIRST_ROW_UOP - 1));
    if (n == 1) line = load<u16>(CHAIN_FIRST + (form << 1));
    else
      line = load<u16>(
        CHAINS + ((line * CHAIN_COLUMNS + <usize>load<u8>(CHAIN_SECOND + form)) << 1),
      );
    if (!line) break;
    const whole = <u32>load<u16>(CHAIN_FORM + (line << 1));
    if (whole) best = (n << 16) | whole;
    up += UOP_SIZE;
  }
  return best;
}

/** LINEAR_* of a record with a near form, or 0 when it is no LEA or its numbers do not fit into one. */
function linearKind(up: usize, form: usize): i32 {
  const kind = (<i32>load<u16>(LINEAR_OF + (form << 1))) >> LINEAR_SHIFT;
  const v = load<i64>(up, U_IMM);
  if (kind == LINEAR_SHL && <u64>v > 14) return 0; // a count may be any byte, with its sign
  if (kind == LINEAR_SUB_CONSTANT && v == <i64>i32.MIN_VALUE) return 0;
  return kind;
}

/** Sets base, index, factor and displacement of a record to those of the LEA that does what it does. */
function setLinear(up: usize): void {
  const form = <usize>load<u16>(up, U_OP);
  const kind = linearKind(up, form);
  if (!kind) return;
  const a = load<u16>(up, U_A);
  const b = load<u16>(up, U_B);
  const v = load<i64>(up, U_IMM);
  let base: u16 = a;
  let index: u16 = <u16>ZERO;
  let factor = 1;
  let disp: i64 = 0;
  if (kind == LINEAR_LEA) {
    base = load<u16>(up, U_BASE);
    disp = <i64>load<i32>(up, U_DISP);
  } else if (kind == LINEAR_MOV) base = b;
  else if (kind == LINEAR_CONSTANT) {
    base = <u16>ZERO;
    disp = v;
  } else if (kind == LINEAR_ADD) index = b;
  else if (kind == LINEAR_SUB) {
    index = b;
    factor = -1;
  } else if (kind == LINEAR_ADD_CONSTANT) disp = v;
  else if (kind == LINEAR_SUB_CONSTANT) disp = -v;
  else {
    base = <u16>ZERO;
    index = a;
    factor = 1 << (<i32>v);
  }
  store<u16>(up, base, U_BASE);
  store<u16>(up, index, U_INDEX);
  store<i16>(up, <i16>factor, U_FACTOR);
  store<i32>(up, <i32>disp, U_DISP);
}

/** Where the next instruction is, relative to the page. */
function after(up: usize): u64 {
  return <u64>(load<u16>(up, U_OFF) + <u32>load<u8>(up, U_LEN));
}

/** From the last record to the first, so that it is known whether the flags are overwritten behind each. */
function chooseForms(first: usize, end: usize): void {
  let dead = false;
  let next: usize = 0; // the row's micro-op of the record behind
  for (let up = end - UOP_SIZE; up >= first; up -= UOP_SIZE) {
    const op = <usize>load<u16>(up, U_OP);
    const role = <i32>load<u8>(FLAG_ROLE + op);
    const line = <usize>load<u8>(PAIR_FIRST + op);
    let near = <i32>load<u16>(NEAR_OF + (op << 1));
    if (dead && load<u16>(QUIET_OF + (op << 1))) near = <i32>load<u16>(QUIET_OF + (op << 1));
    if (line && next) {
      const column = <usize>load<u8>(PAIR_SECOND + next);
      const pair = <i32>load<u16>(PAIRS + ((line * PAIR_COLUMNS + column) << 1));
      if (pair) near = pair;
    }
    if (near & NEAR_FACTOR) {
      const misc = <i32>load<u8>(up, U_MISC);
      const scale = misc & 3;
      if (load<u16>(up, U_SEG) != ZERO || misc & MISC_ADDR32) near = 0;
      else store<u16>(up, <u16>((<i32>1) << scale), U_FACTOR);
    }
    if (near & NEAR_NOT_RSP && load<u16>(up, U_A) == RSP) near = 0;
    if (near & NEAR_NOT_NEXT && load<u64>(up, U_TARGET) == after(up)) near = 0;
    if (near) store<u16>(up, <u16>(near & NEAR_UOP), U_OP);
    if (near & NEAR_SENSE) store<u8>(up, near & NEAR_OPPOSITE ? 0 : 4, U_SENSE);
    const shifts = role == FLAGS_SHIFT && (load<i64>(up, U_IMM) & 31) != 0;
    if (role == FLAGS_KILLED || shifts) dead = true;
    else if (role != FLAGS_KEPT) dead = false;
    next = op;
  }
}

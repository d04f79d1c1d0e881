// Chooses the near forms of a decoded block, by the tables of src/isa/near.ts: first for each record alone or with the one
// behind it (a comparison and its jump), quiet where nobody can see the flags that it would leave, then for chains of
// near forms. The records stay what they are: a form of several is in the first one's, and the others keep their own.

import {
  CHAINS,
  CHAIN_COLUMNS,
  CHAIN_FIRST,
  CHAIN_SECOND,
  FIRST_ROW_UOP,
  FLAGS_KEPT,
  FLAGS_KILLED,
  FLAGS_SHIFT,
  FLAG_ROLE,
  MISC_ADDR32,
  NEAR_FACTOR,
  NEAR_OF,
  NEAR_OPPOSITE,
  NEAR_SENSE,
  NEAR_UOP,
  PAIRS,
  PAIR_COLUMNS,
  PAIR_FIRST,
  PAIR_SECOND,
  QUIET_OF,
  UOP_SIZE,
  U_FACTOR,
  U_IMM,
  U_MISC,
  U_OP,
  U_SEG,
  U_SENSE,
  ZERO,
} from "./abi";

/** Puts near forms into the records of [up, end). */
export function specialise(up: usize, end: usize): void {
  chooseForms(up, end);
  for (; up < end; up += UOP_SIZE) {
    let form = <i32>load<u16>(up, U_OP);
    for (let next = up + UOP_SIZE; next < end; next += UOP_SIZE) {
      const chain = longer(form, <i32>load<u16>(next, U_OP));
      if (!chain) break;
      form = chain;
    }
    store<u16>(up, <u16>form, U_OP);
  }
}

/** The chain of a form and one more, or 0. */
function longer(form: i32, next: i32): i32 {
  if (form >= FIRST_ROW_UOP || next >= FIRST_ROW_UOP) return 0;
  const line = <usize>load<u8>(CHAIN_FIRST + <usize>form);
  if (!line) return 0;
  const column = <usize>load<u8>(CHAIN_SECOND + <usize>next);
  return <i32>load<u16>(CHAINS + ((line * CHAIN_COLUMNS + column) << 1));
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
    if (near) store<u16>(up, <u16>(near & NEAR_UOP), U_OP);
    if (near & NEAR_SENSE) store<u8>(up, near & NEAR_OPPOSITE ? 0 : 4, U_SENSE);
    const shifts = role == FLAGS_SHIFT && (load<i64>(up, U_IMM) & 31) != 0;
    if (role == FLAGS_KILLED || shifts) dead = true;
    else if (role != FLAGS_KEPT) dead = false;
    next = op;
  }
}

// What pages held at the base snapshot, packed: a word with a bit for each line of 64 bytes that is not zero, then those
// lines. Of a kernel with many tasks most pages are a stack or its shadow, with something at one end. A page with little zero in it is kept whole.

import { RAM, SAVE_END, SAVE_NEXT } from "./abi";

const LINE: usize = 64;
const PAGE: usize = 4096;
const WHOLE: u64 = 0xffffffffffffffff;
const MANY: u64 = 48; // lines from which on taking them apart gains nothing
const MOST: u32 = 8 + 4096;
const CHUNK = 64; // wasm pages by which the memory grows

function isZero(line: usize): bool {
  return !(
    load<u64>(line) |
    load<u64>(line, 8) |
    load<u64>(line, 16) |
    load<u64>(line, 24) |
    load<u64>(line, 32) |
    load<u64>(line, 40) |
    load<u64>(line, 48) |
    load<u64>(line, 56)
  );
}

function copyLine(to: usize, from: usize): void {
  store<u64>(to, load<u64>(from));
  store<u64>(to, load<u64>(from, 8), 8);
  store<u64>(to, load<u64>(from, 16), 16);
  store<u64>(to, load<u64>(from, 24), 24);
  store<u64>(to, load<u64>(from, 32), 32);
  store<u64>(to, load<u64>(from, 40), 40);
  store<u64>(to, load<u64>(from, 48), 48);
  store<u64>(to, load<u64>(from, 56), 56);
}

/** Where the next page goes, with room for a whole one. */
function place(): usize {
  const end = load<u32>(SAVE_END);
  const to = load<u32>(SAVE_NEXT);
  if (end - to >= MOST) return to;
  const at = memory.grow(CHUNK);
  if (at < 0) unreachable();
  const start = (<u32>at) << 16;
  store<u32>(SAVE_END, start + (CHUNK << 16));
  return start == end ? to : start;
}

/** Keeps the content of page `i`. Answers where. */
export function keep(i: u32): u32 {
  const from = RAM + (i << 12);
  const to = place();
  let lines: u64 = 0;
  for (let n: u64 = 0; n < 64; n++) {
    if (!isZero(from + <usize>n * LINE)) lines |= (<u64>1) << n;
  }
  let end = to + 8;
  if (popcnt(lines) >= MANY) {
    lines = WHOLE;
    memory.copy(end, from, PAGE);
    end += PAGE;
  } else {
    for (let left = lines; left; left &= left - 1) {
      copyLine(end, from + <usize>ctz(left) * LINE);
      end += LINE;
    }
  }
  store<u64>(to, lines);
  store<u32>(SAVE_NEXT, <u32>end);
  return <u32>to;
}

/** Writes a page that was kept at `from` to `to`. */
export function unpack(to: usize, from: usize): void {
  const lines = load<u64>(from);
  from += 8;
  if (lines == WHOLE) {
    memory.copy(to, from, PAGE);
    return;
  }
  memory.fill(to, 0, PAGE);
  for (let left = lines; left; left &= left - 1) {
    copyLine(to + <usize>ctz(left) * LINE, from);
    from += LINE;
  }
}

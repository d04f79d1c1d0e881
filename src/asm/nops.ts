// The bytes GNU as puts before an aligned instruction: its alternative nops (alt_patt in
// gas/config/tc-i386.c), and a jump over them when there are many.

const NOPS: readonly (readonly number[])[] = [
  [],
  [0x90],
  [0x66, 0x90],
  [0x0f, 0x1f, 0x00],
  [0x0f, 0x1f, 0x40, 0x00],
  [0x0f, 0x1f, 0x44, 0x00, 0x00],
  [0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
  [0x0f, 0x1f, 0x80, 0, 0, 0, 0],
  [0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0],
  [0x66, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0],
  [0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0],
  [0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0, 0, 0, 0],
];
const LONGEST = 11;
const MOST_NOPS = 7;

/** n bytes of padding for code. Returns Uint8Array[n]. */
export function nopFill(n: number): Uint8Array {
  const out = new Uint8Array(n);
  let at = 0;
  if (Math.floor(n / LONGEST) > MOST_NOPS) {
    if (n - 2 <= 127) {
      out.set([0xeb, n - 2]);
      at = 2;
    } else {
      out[0] = 0xe9;
      new DataView(out.buffer).setInt32(1, n - 5, true);
      at = 5;
    }
  }
  while (at < n) {
    const nop = NOPS[Math.min(n - at, LONGEST)] ?? [0x90];
    out.set(nop, at);
    at += nop.length;
  }
  return out;
}

// Random bytes that look a little like code. Which of them mean something is for the tests to find out.
import type { Random } from "../machine/native/random.ts";

export const PREFIXES = [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x3e, 0x64, 0x65] as const;

/** Sixteen bytes: plain ones, ones that begin with likely prefixes and opcode maps, or soups of prefixes. */
export function someBytes(r: Random): Uint8Array {
  const out: number[] = [];
  const kind = r.below(20);
  if (kind === 0) {
    const n = r.below(17);
    while (out.length < n) out.push(r.chance(20) ? 0x40 | r.below(16) : r.pick(PREFIXES));
  } else if (kind > 2) {
    const prefixes = r.chance(25) ? r.below(5) : r.below(2);
    for (let i = 0; i < prefixes; i++) out.push(r.pick(PREFIXES));
    if (r.chance(50)) out.push(0x40 | r.below(16));
    if (r.chance(35)) out.push(0x0f);
    if (out.at(-1) === 0x0f && r.chance(20)) out.push(r.pick([0x38, 0x3a]));
  }
  while (out.length < 16) out.push(r.below(256));
  return Uint8Array.from(out.slice(0, 16));
}

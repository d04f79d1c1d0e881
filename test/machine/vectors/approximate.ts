// RCP and RSQRT, and the x87's transcendental functions: each CPU approximates in its own way, and the manual
// only bounds the error: by 1.5 * 2^-12 of the value, and by one unit in the last place.
import { NAMES } from "../guest/words.ts";
import type { VectorForm } from "./forms.ts";
import type { VectorCase } from "./user-cases.ts";

const LEAST = 2 ** -126 * (1 + 2 ** -11);
const BOUND = 1.5 * 2 ** -12 + 2 ** -23;
/** C1 in the word that holds FSW in its second 16 bits. */
const C1 = 0x200n << 16n;
const view = new DataView(new ArrayBuffer(8));

function lanes(hex: string): number[] {
  view.setBigUint64(0, BigInt(`0x${hex}`));
  return [view.getFloat32(4), view.getFloat32(0)];
}

function near(a: string, b: string): boolean {
  if (a === b) return true;
  const y = lanes(b);
  return lanes(a).every((v, i) => {
    const w = y[i] ?? Number.NaN;
    const tiny = Math.max(Math.abs(v), Math.abs(w)) <= LEAST; // it may become 0, as the manual says
    return Object.is(v, w) || tiny || Math.abs(v - w) <= BOUND * Math.abs(w);
  });
}

/** The whole word that a token sets: its digits are the low ones, the others are what they were. */
function whole(token: string, c: VectorCase): string {
  const [name = "", digits = ""] = token.split("=");
  const before = (c.start[NAMES.indexOf(name)] ?? 0n).toString(16).padStart(16, "0");
  return before.slice(0, 16 - digits.length) + digits;
}

/** Significand and exponent of an 80-bit number as one number, in which neighbours are one apart. */
function ordered(low: bigint, high: bigint): bigint {
  const top = 1n << 63n;
  return ((high & 0x7fffn) << 63n) + (low & (top - 1n)) + (low >= top ? 0n : -top);
}

/** The words that a line sets, by name. */
function wordsOf(line: string, c: VectorCase): Map<string, bigint> {
  const set = line.split(" ").filter((t) => /^(st\d[lh]|x87)=/.test(t));
  return new Map(set.map((t) => [t.split("=")[0] ?? "", BigInt(`0x${whole(t, c)}`)]));
}

/**
 * Transcendental results of the x87: within 2 units in the last place of each other, each being within one of the true
 * value; and C1, which says how the last place was rounded.
 */
function sameTranscendental(c: VectorCase, recorded: string, seen: string): boolean {
  const other = (l: string): string => l.split(" ").filter((t) => !/^(st[01][lh]|x87)=/.test(t)).join(" ");
  if (other(recorded) !== other(seen)) return false;
  const [a, b] = [wordsOf(recorded, c), wordsOf(seen, c)];
  const word = (m: Map<string, bigint>, n: string): bigint => m.get(n) ?? c.start[NAMES.indexOf(n)] ?? 0n;
  if ((word(a, "x87") ^ word(b, "x87")) & ~C1) return false;
  return ["st0", "st1"].every((r) => {
    const [al, ah, bl, bh] = [word(a, `${r}l`), word(a, `${r}h`), word(b, `${r}l`), word(b, `${r}h`)];
    if ((ah ^ bh) & 0x8000n) return false;
    const d = ordered(al, ah) - ordered(bl, bh);
    return d <= 2n && d >= -2n;
  });
} // prettier-ignore

/** Whether two lines of a case of an approximating form differ by no more than the manual's bound. */
export function sameApproximately(
  form: VectorForm,
  c: VectorCase,
  recorded: string,
  seen: string,
): boolean {
  if (/^f(2xm1|yl2xp?1?|ptan|patan|sin|cos|sincos)$/.test(form.row.mnemonic)) {
    return sameTranscendental(c, recorded, seen);
  }
  if (!/^r(cp|sqrt)[ps]s$/.test(form.row.mnemonic)) return false;
  const a = recorded.split(" ");
  const b = seen.split(" ");
  if (a.length !== b.length) return false;
  return a.every((t, i) => {
    const u = b[i] ?? "";
    if (t === u) return true;
    const name = t.split("=")[0] ?? "";
    return name.startsWith("xmm") && u.startsWith(`${name}=`) && near(whole(t, c), whole(u, c));
  });
}

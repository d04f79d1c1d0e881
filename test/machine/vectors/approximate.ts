// RCP and RSQRT: each CPU approximates in its own way, and the manual only bounds the relative error, by 1.5 * 2^-12.
// The core answers the correctly rounded result, so that a recorded lane may be off by that much.
import { NAMES } from "../guest/words.ts";
import type { VectorForm } from "./forms.ts";
import type { VectorCase } from "./user-cases.ts";

const BOUND = 1.5 * 2 ** -12 + 2 ** -23;
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
    return Object.is(v, w) || Math.abs(v - w) <= BOUND * Math.abs(w);
  });
}

/** The whole word that a token sets: its digits are the low ones, the others are what they were. */
function whole(token: string, c: VectorCase): string {
  const [name = "", digits = ""] = token.split("=");
  const before = (c.start[NAMES.indexOf(name)] ?? 0n).toString(16).padStart(16, "0");
  return before.slice(0, 16 - digits.length) + digits;
}

/** Whether two lines of a case of an approximating form differ by no more than the manual's bound. */
export function sameApproximately(
  form: VectorForm,
  c: VectorCase,
  recorded: string,
  seen: string,
): boolean {
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

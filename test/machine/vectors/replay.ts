// A form's recorded lines against the emulator.
import type { EmulatedGuest } from "../guest/emulated.ts";
import { sameApproximately } from "./approximate.ts";
import { casesOf } from "./cases.ts";
import type { VectorForm } from "./forms.ts";
import { masked } from "./mask.ts";
import type { Block } from "./store.ts";
import { inputSum, lineOf } from "./text.ts";
import type { VectorCase } from "./user-cases.ts";

export function describeCase(c: VectorCase): string {
  const code = [...c.code].map((b) => b.toString(16).padStart(2, "0")).join(" ");
  const at = c.operand === undefined ? "" : `, operand at ${c.operand.toString(16)}`;
  return `${code} at +${c.codeOff.toString(16)}${at}`;
}

/** What is wrong with a form: its block is missing or stale, or lines differ. Empty when all is well. */
export function replay(guest: EmulatedGuest, form: VectorForm, block: Block | undefined): string[] {
  if (!block) return [`${form.key}: no vectors; node scripts/vectors.mjs record`];
  const cases = casesOf(form);
  if (inputSum(cases) !== block.sum) {
    return [`${form.key}: vectors of other inputs; node scripts/vectors.mjs record`];
  }
  return cases.flatMap((c, i) => {
    const recorded = (block.lines[i] ?? "missing").replace(/^sdm: ?/, "");
    const seen = lineOf(c, masked(form, c, guest.run(c)));
    if (seen === recorded || sameApproximately(form, c, recorded, seen)) return [];
    return [`${form.key}, ${i}: ${describeCase(c)}\n  cpu      ${recorded}\n  emulated ${seen}`];
  });
}

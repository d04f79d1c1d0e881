// More vectors than are recorded, compared live: the forms of user mode on this machine's CPU and on the emulator, case
// numbers from where the recorded ones end.
import type { RealCpu } from "../guest/cpu.ts";
import { EmulatedGuest } from "../guest/emulated.ts";
import { sameApproximately } from "./approximate.ts";
import { FORMS, needsGuest } from "./forms.ts";
import { masked } from "./mask.ts";
import { describeCase } from "./replay.ts";
import { lineOf } from "./text.ts";
import { userCase } from "./user-cases.ts";

export interface LiveResult {
  readonly forms: number;
  readonly cases: number;
  readonly wrong: readonly string[];
}

/** Cases `first` to `first + n` of every form whose name fits. */
export function compareLive(cpu: RealCpu, first: number, n: number, pattern = /./): LiveResult {
  const guest = new EmulatedGuest();
  const forms = FORMS.filter((f) => !needsGuest(f) && pattern.test(f.key));
  const wrong: string[] = [];
  let count = 0;
  for (let at = 0; at < forms.length; at += 100) {
    const part = forms
      .slice(at, at + 100)
      .flatMap((form) =>
        Array.from({ length: n }, (_, i) => ({ form, i: first + i, c: userCase(form, first + i) })),
      );
    const outcomes = cpu.run(part.map((p) => p.c));
    part.forEach(({ form, i, c }, k) => {
      const o = outcomes[k];
      if (!o) return;
      count++;
      const native = lineOf(c, masked(form, c, o));
      const seen = lineOf(c, masked(form, c, guest.run(c)));
      if (native === seen || sameApproximately(form, c, native, seen)) return;
      wrong.push(`${form.key}, ${i}: ${describeCase(c)}\n  cpu      ${native}\n  emulated ${seen}`);
    });
  }
  return { forms: forms.length, cases: count, wrong };
}

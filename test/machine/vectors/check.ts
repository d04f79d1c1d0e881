// What `scripts/vectors.mjs check` and `show` do: the recorded lines against the emulator and against this machine's
// CPU, and the lines as a reader wants them, each behind its instruction.
import { openKvm, openUser } from "../guest/cpu.ts";
import { EmulatedGuest } from "../guest/emulated.ts";
import { sameApproximately } from "./approximate.ts";
import { casesOf } from "./cases.ts";
import { needsGuest } from "./forms.ts";
import { masked } from "./mask.ts";
import { formsByFile } from "./record.ts";
import { describeCase, replay } from "./replay.ts";
import { readVectors } from "./store.ts";
import { lineOf } from "./text.ts";

export interface CheckResult {
  readonly forms: number;
  readonly wrong: readonly string[];
  /** What the CPU of this machine was asked, or why it was not. */
  readonly cpu: string;
  /** How many vectors by the manual a guest of KVM confirms, where there is one. */
  readonly kvm: string;
}

export function checkAll(pattern: RegExp): CheckResult {
  const guest = new EmulatedGuest();
  const user = openUser();
  const kvm = openKvm();
  let asked = 0;
  let confirmed = 0;
  const wrong: string[] = [];
  let forms = 0;
  for (const [file, all] of formsByFile()) {
    const { blocks } = readVectors(file);
    for (const form of all.filter((f) => pattern.test(f.key))) {
      forms++;
      const block = blocks.get(form.key);
      wrong.push(...replay(guest, form, block));
      if (!block) continue;
      const cases = casesOf(form);
      if (needsGuest(form)) {
        if (!kvm.ok) continue;
        const lines = kvm.cpu
          .run(cases)
          .map((o, i) => (cases[i] ? lineOf(cases[i], masked(form, cases[i], o)) : ""));
        asked += lines.length;
        confirmed += lines.filter((l, i) => block.lines[i]?.replace(/^sdm: ?/, "") === l).length;
        continue;
      }
      if (!user.ok) continue;
      user.cpu.run(cases).forEach((o, i) => {
        const c = cases[i];
        const recorded = block.lines[i] ?? "";
        if (!c) return;
        const seen = lineOf(c, masked(form, c, o));
        if (seen === recorded || sameApproximately(form, c, recorded, seen)) return;
        wrong.push(
          `${form.key}, ${i}: ${describeCase(c)}\n  recorded ${recorded}\n  here     ${seen}`,
        );
      });
    }
  }
  if (user.ok) user.cpu.close();
  const cpu = user.ok ? "the forms of user mode on this CPU as well" : `no CPU: ${user.reason}`;
  if (kvm.ok) kvm.cpu.close();
  const answer = kvm.ok ? `KVM confirms ${confirmed} of ${asked} of a guest's` : kvm.reason;
  return { forms, wrong, cpu, kvm: answer };
}

export function* showLines(pattern: RegExp): Generator<string> {
  for (const [file, all] of formsByFile()) {
    const { blocks, recorders } = readVectors(file);
    for (const form of all.filter((f) => pattern.test(f.key))) {
      const block = blocks.get(form.key);
      yield `${form.key}: ${block ? recorders[block.recorder] : "no vectors"}`;
      if (!block) continue;
      for (const [i, c] of casesOf(form).entries()) {
        yield `  ${describeCase(c)}: ${block.lines[i] || "nothing"}`;
      }
    }
  }
}

// The core against the recorded vectors of every form, one test for each file of them. `node scripts/vectors.mjs record`
// records what is missing; docs/vectors.md says how and what is not compared.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { openUser } from "../guest/cpu.ts";
import { EmulatedGuest } from "../guest/emulated.ts";
import { FORMS, PER_FORM, needsGuest } from "./forms.ts";
import { compareLive } from "./live.ts";
import { formsByFile } from "./record.ts";
import { replay } from "./replay.ts";
import { readVectors } from "./store.ts";

describe("recorded vectors", () => {
  const files = formsByFile().map(([name, forms]) => ({ name, forms, file: readVectors(name) }));

  test.each(files)("every form of $name does on the core what it did on the CPU", (f) => {
    const guest = new EmulatedGuest();
    const wrong = f.forms.flatMap((form) => replay(guest, form, f.file.blocks.get(form.key)));
    expect(wrong.slice(0, 10).join("\n")).toBe("");
  });

  test("every form of the table has its vectors, and no others are there", () => {
    const missing = files.flatMap(({ forms, file }) =>
      forms.filter((f) => file.blocks.get(f.key)?.lines.length !== PER_FORM).map((f) => f.key),
    );
    expect(missing).toEqual([]);
    const keys = new Set(FORMS.map((f) => f.key));
    const stray = files.flatMap(({ file }) => [...file.blocks.keys()].filter((k) => !keys.has(k)));
    expect(stray).toEqual([]);
  });

  test("only what user mode cannot show is by the manual", () => {
    const derived = files.flatMap(({ forms, file }) =>
      forms.filter((f) => file.blocks.get(f.key)?.lines.some((l) => l.startsWith("sdm:"))),
    );
    expect(derived.filter((f) => !needsGuest(f))).toEqual([]);
  });

  test("each line by the manual says so, as its recorder does, and docs/vectors.md counts them", () => {
    const blocks = files.flatMap(({ file }) =>
      [...file.blocks.values()].map((b) => ({ ...b, by: file.recorders[b.recorder] ?? "" })),
    );
    const marked = blocks.filter((b) => b.lines.some((l) => l.startsWith("sdm:")));
    for (const b of blocks) {
      const manual = b.by.startsWith("by the manual");
      expect([b.key, b.lines.filter((l) => l.startsWith("sdm:")).length]).toEqual([b.key, manual ? PER_FORM : 0]);
    }
    const text = readFileSync(join(import.meta.dirname, "../../../docs/vectors.md"), "utf8");
    const said = /\*\*(\d+) forms of (\d+) have only such lines today\*\*/.exec(text);
    expect(said?.slice(1).map(Number)).toEqual([marked.length, blocks.length]);
  }); // prettier-ignore

  const user = openUser();
  afterAll(() => {
    if (user.ok) user.cpu.close();
  });
  const why = user.ok ? "" : ` (skipped: ${user.reason})`;
  test.skipIf(!user.ok)(`this machine's CPU agrees on fresh cases of every form${why}`, () => {
    if (!user.ok) return;
    const live = compareLive(user.cpu, PER_FORM, 3);
    expect(live.wrong.slice(0, 10).join("\n")).toBe("");
    expect(live.cases).toBe(live.forms * 3);
  });

  test("each file says which CPU its vectors are of", () => {
    for (const { file } of files) {
      expect(file.recorders.length).toBeGreaterThan(0);
      for (const r of file.recorders)
        expect(r).toMatch(/^(.* family \d+ model \d+ .*|by the manual.*), \d{4}-\d\d-\d\d$/);
    }
  });
});

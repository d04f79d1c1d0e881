// What GNU as makes of a source, this assembler makes too: bytes, symbols, relocations. The golden files hold
// it for machines without GNU as; with it, the two are compared afresh.
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import type { Assembler, Obj } from "../../src/asm/index.ts";
import { makeAssembler } from "../../src/asm/index.ts";
import { differences, gas, hasGas } from "./against-gas.ts";
import { dump } from "./dump.ts";
import { randomBranches } from "./random-branches.ts";

const read = (name: string): string =>
  readFileSync(new URL(`./cases/${name}.s`, import.meta.url), "utf8");
const noInclude = { include: () => undefined };
const withGas = hasGas();

let assembler: Assembler;
beforeAll(async () => {
  assembler = await makeAssembler();
});
const ours = (text: string): Obj => assembler.assemble({ name: "in.S", text }, noInclude);

/** Every statement in a section of its own, so that one difference does not move the others. */
function apart(text: string): { readonly text: string; readonly lines: readonly string[] } {
  const lines = text.split("\n").filter((l) => l.trim() !== "" && !l.startsWith("#"));
  return { lines, text: lines.map((l, i) => `.section .s${i},"ax"\n${l}\n`).join("") };
}

describe.each(["statements", "linux-forms"])("the statements of %s.s", (table) => {
  test("have the bytes in the golden file", async () => {
    const { text, lines } = apart(read(table));
    const o = ours(text);
    const rows = lines.map((l, i) => {
      const s = o.sections.find((x) => x.name === `.s${i}`);
      const relocs = s?.relocs.map(
        (r) => ` ${r.type}+${r.offset} ${o.symbols[r.symbol]?.name}${r.addend}`,
      );
      return `${Buffer.from(s?.bytes ?? [])
        .toString("hex")
        .padEnd(30)} ${l}${relocs?.join("") ?? ""}`;
    });
    await expect(`${rows.join("\n")}\n`).toMatchFileSnapshot(`golden/${table}.txt`);
  });

  test.skipIf(!withGas)(
    "have the bytes that GNU as gives them (skipped: no GNU as on PATH)",
    () => {
      const { text, lines } = apart(read(table));
      const diff = differences(ours(text), gas(text));
      const named = diff.map((d) => `${d} in ${lines[Number(/^\.s(\d+)/.exec(d)?.[1] ?? -1)]}`);
      expect(named).toEqual([]);
    },
  );
});

const FILES = ["relocations", "nops", "macro-arguments", "control", "sections"];

describe.each(FILES)("the file %s.s", (name) => {
  test("makes the object in the golden file", async () => {
    await expect(dump(ours(read(name)))).toMatchFileSnapshot(`golden/${name}.txt`);
  });

  test.skipIf(!withGas)("makes the object GNU as makes (skipped: no GNU as on PATH)", () => {
    expect(differences(ours(read(name)), gas(read(name)))).toEqual([]);
  });
});

describe.skipIf(!withGas)("branches and alignment (skipped: no GNU as on PATH)", () => {
  test.each(Array.from({ length: 12 }, (_, i) => i + 1))(
    "relax to the sizes of GNU as in random program %i",
    (seed) => {
      const text = Array.from({ length: 4 }, (_, i) =>
        randomBranches(seed * 100 + i, `p${i}_`),
      ).join("");
      expect(differences(ours(text), gas(text))).toEqual([]);
    },
  );
});

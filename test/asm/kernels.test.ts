// Every source file of every kernel means the same to GNU as and to this assembler.
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import type { Assembler } from "../../src/asm/index.ts";
import { makeAssembler } from "../../src/asm/index.ts";
import { asmOffsetsInc } from "../../src/kernel/index.ts";
import { MEMORY_MAP } from "../../src/scenario/index.ts";
import { differences, gas, hasGas } from "./against-gas.ts";

const root = new URL("../../kernels/", import.meta.url);
const folders = existsSync(root) ? readdirSync(root) : [];
const sources = folders.flatMap((d) =>
  readdirSync(new URL(`${d}/`, root))
    .filter((f) => f.endsWith(".S"))
    .map((f) => ({ folder: d, file: f })),
);
const symbols = {
  ...MEMORY_MAP,
  HZ: 5n,
  TICK_INSNS: 400n,
  THREAD_SIZE: 16384n,
  NR_TASKS: 16n,
  KMALLOC_ARENA_SIZE: 0x8_0000n,
};

/** What a file of a folder may include: its own folder's files, the base's, and the generated offsets. */
function includes(folder: string): Record<string, string> {
  const out: Record<string, string> = {};
  for (const d of ["base", folder]) {
    for (const f of readdirSync(new URL(`${d}/`, root))) {
      if (f.endsWith(".inc")) out[f] = readFileSync(new URL(`${d}/${f}`, root), "utf8");
    }
  }
  return { ...out, "asm-offsets.inc": asmOffsetsInc() };
}

let assembler: Assembler;
beforeAll(async () => {
  assembler = await makeAssembler();
});

describe.skipIf(sources.length === 0)("the kernels' sources (skipped: there are none)", () => {
  test.each(sources)(
    "$folder/$file assembles, and as GNU as does it where it is",
    ({ folder, file }) => {
      const text = readFileSync(new URL(`${folder}/${file}`, root), "utf8");
      const files = includes(folder);
      const o = assembler.assemble({ name: file, text }, { include: (p) => files[p], symbols });
      expect(o.sections.length).toBeGreaterThan(0);
      if (hasGas()) expect(differences(o, gas(text, files, symbols))).toEqual([]);
    },
  );
});

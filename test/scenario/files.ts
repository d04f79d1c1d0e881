// The kernels/ folder as the function that loadScenario asks for text. Tests may touch files.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { makeAssembler } from "../../src/asm/index.ts";
import { asmOffsetsInc } from "../../src/kernel/index.ts";
import type { Image } from "../../src/link/index.ts";
import type { BuiltScenario, Scenario } from "../../src/scenario/index.ts";
import { assembleFile, buildScenario, linkPatch, loadScenario } from "../../src/scenario/index.ts";

const KERNELS = join(import.meta.dirname, "../../kernels");

/** The text of a file below kernels/. */
export function kernelFile(path: string): string | undefined {
  const full = join(KERNELS, path);
  return existsSync(full) ? readFileSync(full, "utf8") : undefined;
}

/** Loads and builds a scenario of kernels/, with some of its numbers changed. */
export async function buildNamed(
  name: string,
  change: Partial<Scenario> = {},
): Promise<BuiltScenario> {
  const assembler = await makeAssembler();
  const generated = { "asm-offsets.inc": asmOffsetsInc() };
  const scenario = { ...loadScenario(name, kernelFile), ...change };
  return buildScenario(scenario, { assembler, generated });
}

/** Another patch of a built scenario's kernel, by its text; it lies behind the others. */
export async function anotherPatch(
  { scenario, image }: BuiltScenario,
  name: string,
  text: string,
  behind?: Image,
): Promise<Image> {
  const assembler = await makeAssembler();
  const generated = { "asm-offsets.inc": asmOffsetsInc() };
  return linkPatch(image, assembleFile(scenario, { name, text }, { assembler, generated }), behind);
}

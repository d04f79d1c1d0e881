// Scenarios ready to be patched, shared by the tests of one file. Booting takes a second; every run starts from there.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { prepare, type Prepared } from "../../src/explore/index.ts";
import { MECHANISMS, type Mechanism } from "../../src/patch/index.ts";
import type { Scenario } from "../../src/scenario/index.ts";
import { buildNamed } from "../scenario/files.ts";

/** The compiled core. */
export const CORE = new WebAssembly.Module(
  readFileSync(join(import.meta.dirname, "../../dist/core.wasm")),
);

/** A scenario of kernels/, booted to its ready mark, with some of its numbers changed. */
export async function prepared(
  name: string,
  change: Partial<Scenario> = {},
  nrVcpus?: number,
): Promise<Prepared> {
  const built = await buildNamed(name, change);
  return prepare(built, CORE, nrVcpus === undefined ? {} : { nrVcpus });
}

/** A mechanism by name. */
export function mechanism(name: string): Mechanism {
  const m = MECHANISMS[name];
  if (m === undefined) throw new Error(`no mechanism ${name}`);
  return m;
}

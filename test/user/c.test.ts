// C programs by exec against the same programs run natively, compiled at -O0, -O2, -O3 and -Os, and at -O2 and -O3 for
// x86-64-v2: integers, SSE2 floating point, vector code, recursion, setjmp, variable arguments, switch tables, 128-bit arithmetic.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { execute, native, stored } from "./cases.ts";
import {
  C_FOLDER,
  C_PROGRAMS,
  compile,
  freestanding,
  LEVELS,
  STORED_LEVELS,
} from "./c-programs.ts";

const RECORDED: Readonly<Record<string, unknown>> = JSON.parse(
  readFileSync(join(C_FOLDER, "native.json"), "utf8"),
);

describe("a C program does what it was seen to do natively", () => {
  const names = C_PROGRAMS.flatMap((p) => STORED_LEVELS.map((l) => `${p}${l}`));
  it.each(names)("%s", (name) => {
    const { out, exit } = execute(stored(join(C_FOLDER, `${name}.gz.b64`)), name);
    expect({ out, exit }).toEqual(RECORDED[name]);
  });
});

const recipes = freestanding(LEVELS);
const { builds, folder, close } = await compile(recipes);

describe("a C program that this machine compiled does what this machine does", () => {
  afterAll(close);
  const none = builds.size === 0;
  const why = none ? " (skipped: no gcc on Linux x86-64)" : "";
  it.skipIf(none).each(recipes.map((r) => r.name))(`%s${why}`, (name) => {
    const build = builds.get(name);
    if (build === undefined) throw new Error(`${name} was not compiled`);
    const { out, exit } = execute(readFileSync(build.file), name);
    expect({ out, exit }).toEqual(native(folder, { program: name, args: [] }));
  });
});

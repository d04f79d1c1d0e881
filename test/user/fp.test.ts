// Floating point of C programs by exec against the same programs run natively: printf and the library of mathematics with 80
// bits, and exceptions as SIGFPE with the state on the frame. They need a static glibc, so no build of them is stored.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { compile, type Recipe } from "./c-programs.ts";
import { execute, native } from "./cases.ts";

const FOLDER = join(import.meta.dirname, "fp");
const recipes = ["numbers", "exceptions"].flatMap((name): readonly Recipe[] =>
  ["-O0", "-O2"].map((level) => ({
    name: `${name}${level}`,
    compiler: "gcc",
    args: [level, "-w", "-static", join(FOLDER, `${name}.c`), "-lm"],
  })),
);
const { builds, folder, close } = await compile(recipes);

describe("floating point of a program does what this machine does", () => {
  afterAll(close);
  const none = builds.size === 0;
  const why = none ? " (skipped: no gcc with a static glibc on Linux x86-64)" : "";
  it.skipIf(none).each(recipes.map((r) => r.name))(`%s${why}`, (name) => {
    const build = builds.get(name);
    if (build === undefined) throw new Error(`${name} was not compiled`);
    const { out, exit } = execute(readFileSync(build.file), name);
    expect(out.split("\n").length).toBeGreaterThan(20);
    expect({ out, exit }).toEqual(native(folder, { program: name, args: [] }));
  });
});

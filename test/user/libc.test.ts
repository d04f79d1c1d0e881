// Programs of a whole C library by exec against the same programs run natively: static glibc and, where musl-gcc is
// installed, musl. No build of them is stored.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { compile, type Recipe } from "./c-programs.ts";
import { execute, native } from "./cases.ts";

const FOLDER = join(import.meta.dirname, "libc");
const recipes = ["gcc", "musl-gcc"].flatMap((compiler): readonly Recipe[] =>
  ["-O0", "-O2"].map((level) => ({
    name: `handlers-${compiler}${level}`,
    compiler,
    args: [level, "-w", "-static", join(FOLDER, "handlers.c")],
  })),
);
const { builds, folder, close } = await compile(recipes);

describe("signals by a C library do what they do natively", () => {
  afterAll(close);
  for (const { name } of recipes) {
    const build = builds.get(name);
    const why = build === undefined ? " (skipped: that compiler makes no static program here)" : "";
    it.skipIf(build === undefined)(`${name}${why}`, () => {
      if (build === undefined) return;
      const { out, exit } = execute(readFileSync(build.file), name);
      expect({ out, exit }).toEqual(native(folder, { program: name, args: [] }));
      expect(out.split("\n").length).toBeGreaterThan(30);
    });
  }
});

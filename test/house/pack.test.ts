// The packed package: it has what it needs to run, runs beside its dependencies without a checkout, and does not try to
// build. Needs npm and tar, as a checkout does.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const TOP = join(import.meta.dirname, "../..");
const FOLDER = mkdtempSync(join(tmpdir(), "quiesce-pack-"));
const PACKAGE = join(FOLDER, "package");

function quiesce(...words: readonly string[]) {
  const bin = join(PACKAGE, "bin/quiesce.mjs");
  const r = spawnSync(process.execPath, [bin, ...words], { cwd: FOLDER, encoding: "utf8" });
  return { code: r.status, out: r.stdout, err: r.stderr };
}

describe.skipIf(!existsSync(join(TOP, "dist/.build")))("the packed package", () => {
  beforeAll(() => {
    execFileSync("npm", ["pack", "--silent", "--ignore-scripts", "--pack-destination", FOLDER], {
      cwd: TOP,
    });
    const file = readdirSync(FOLDER).find((f) => f.endsWith(".tgz")) ?? "";
    execFileSync("tar", ["-xzf", join(FOLDER, file), "-C", FOLDER]);
    symlinkSync(join(TOP, "node_modules"), join(PACKAGE, "node_modules"));
  });
  afterAll(() => rmSync(FOLDER, { recursive: true }));

  it("holds the core, the program, its types, the kernels and the documents, and no source", () => {
    for (const path of [
      "dist/core.wasm",
      "dist/src/cli/main.js",
      "dist/src/machine/index.d.ts",
      "kernels/default/scenario.json",
      "docs/ARCHITECTURE.md",
      "README.md",
      "LICENSE",
    ]) {
      expect(existsSync(join(PACKAGE, path)), path).toBe(true);
    }
    expect(existsSync(join(PACKAGE, "src", "patch"))).toBe(false);
  });

  it("runs without a checkout and without building", () => {
    const r = quiesce("list");
    expect(r).toMatchObject({ code: 0, err: "" });
    expect(r.out).toContain("default");
  });

  it("assembles its kernel", () => {
    const r = quiesce("disasm", "two-tasks", "schedule");
    expect(r).toMatchObject({ code: 0, err: "" });
  });
});

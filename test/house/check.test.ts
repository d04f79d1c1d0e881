// The quick steps of `npm run check` as a test, so that the one command which CI runs covers them.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";

const TOP = join(import.meta.dirname, "../..");

it("prettier, oxlint and the types of both languages find nothing", () => {
  const args = ["scripts/check.mjs", "--quick"];
  const r = spawnSync(process.execPath, args, { cwd: TOP, encoding: "utf8" });
  expect(r.status, `${r.stdout}${r.stderr}`).toBe(0);
});

// `npm run check`: format, lint, types of both languages, then build and tests; stops at the first that fails. With
// --quick only the steps that need no build; test/house runs those, so that `npm test` alone covers them.
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const QUICK = [
  ["prettier", ["node_modules/prettier/bin/prettier.cjs", "--check", "--log-level", "warn", "."]],
  ["oxlint", ["node_modules/oxlint/bin/oxlint", "--deny-warnings", "."]],
  ["tsc", ["node_modules/typescript/bin/tsc", "-p", "."]],
  ["tsc assembly", ["node_modules/typescript/bin/tsc", "-p", "assembly"]],
];
const REST = [
  ["vitest", ["node_modules/vitest/vitest.mjs", "run", "--exclude", "test/house/check.test.ts"]],
];

const quick = process.argv.includes("--quick");
if (!quick) {
  const { setup } = await import("./setup.mjs");
  await setup();
}
for (const [name, args] of quick ? QUICK : [...QUICK, ...REST]) {
  const r = spawnSync(process.execPath, args, { cwd: top, stdio: "inherit" });
  if (r.status !== 0) {
    process.stderr.write(`error: check: ${name} failed\n`);
    process.exit(1);
  }
  process.stdout.write(`${name}: ok\n`);
}

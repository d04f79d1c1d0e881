// `npm run check`: format, lint, types of both languages, then the build. Stops at the first that fails.
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const STEPS = [
  ["prettier", ["node_modules/prettier/bin/prettier.cjs", "--check", "--log-level", "warn", "."]],
  ["oxlint", ["node_modules/oxlint/bin/oxlint", "--quiet", "src", "test", "scripts", "bin"]],
  ["tsc", ["node_modules/typescript/bin/tsc", "-p", "."]],
  ["tsc assembly", ["node_modules/typescript/bin/tsc", "-p", "assembly"]],
  ["build", ["scripts/build.mjs"]],
];

for (const [name, args] of STEPS) {
  const r = spawnSync(process.execPath, args, { cwd: top, stdio: "inherit" });
  if (r.status !== 0) {
    process.stderr.write(`error: check: ${name} failed\n`);
    process.exit(1);
  }
  process.stdout.write(`${name}: ok\n`);
}

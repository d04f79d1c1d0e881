// Compares the shadow of the stacks with the independent model over a million instructions (or as many as the first
// argument says), a campaign too long for `npm test`.
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const insns = process.argv[2] ?? "1000000";
if (!/^[1-9][0-9]*$/.test(insns)) {
  process.stderr.write(`error: instructions: '${insns}' is not a whole number above 0\n`);
  process.exit(2);
}
const { status } = spawnSync(
  process.execPath,
  [join(top, "node_modules/vitest/vitest.mjs"), "run", "test/truth/truth.test.ts"],
  { cwd: top, stdio: "inherit", env: { ...process.env, TRUTH_INSNS: insns } },
);
process.exit(status ?? 1);

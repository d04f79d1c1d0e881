// Replaces 100,000 instructions that all vCPUs execute (or as many as the first argument says) by text_poke_bp, a campaign
// too long for `npm test`; then the ways in which text_poke may be wrong, each of which has to be seen.
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const pokes = process.argv[2] ?? "100000";
if (!/^[1-9][0-9]*$/.test(pokes)) {
  process.stderr.write(`error: pokes: '${pokes}' is not a whole number above 0\n`);
  process.exit(2);
}
const { status } = spawnSync(
  process.execPath,
  [join(top, "node_modules/vitest/vitest.mjs"), "run", "test/ftrace/pokes.test.ts"],
  { cwd: top, stdio: "inherit", env: { ...process.env, POKES: pokes } },
);
process.exit(status ?? 1);

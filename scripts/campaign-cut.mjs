// Cuts each program of test/machine/cut-programs.ts at 1,250 random places (or as many as the first argument says), with
// and without a snapshot restored there, a campaign too long for `npm test`.
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const cuts = process.argv[2] ?? "1250";
if (!/^[1-9][0-9]*$/.test(cuts)) {
  process.stderr.write(`error: cuts: '${cuts}' is not a whole number above 0\n`);
  process.exit(2);
}
const { status } = spawnSync(
  process.execPath,
  [join(top, "node_modules/vitest/vitest.mjs"), "run", "test/machine/cut.test.ts"],
  { cwd: top, stdio: "inherit", env: { ...process.env, CUTS: cuts } },
);
process.exit(status ?? 1);

// Compares every form of user mode with this machine's CPU beyond the recorded vectors: node scripts/campaign-vectors.mjs
// [CASES] [FIRST], cases of each form and the number of the first, 64 being the first that is not recorded. Needs Linux on
// x86-64, gcc and a built dist/. Exit 0: no difference; 1: some; 4: cannot run here.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const load = async (name) =>
  (await runnerImport(join(top, "test/machine", name), { root: top, configFile: false })).module;

const cases = Number(process.argv[2] ?? 200);
const first = Number(process.argv[3] ?? 64);
const { openUser } = await load("guest/cpu.ts");
const { compareLive } = await load("vectors/live.ts");
const user = openUser();
if (!user.ok) {
  process.stdout.write(`skipped: ${user.reason}\n`);
  process.exit(4);
}
const r = compareLive(user.cpu, first, cases);
user.cpu.close();
for (const w of r.wrong.slice(0, 20)) process.stdout.write(`${w}\n`);
process.stdout.write(
  `${r.forms} forms, ${r.cases} cases from number ${first} on, ${r.wrong.length} differences\n`,
);
process.exit(r.wrong.length ? 1 : 0);

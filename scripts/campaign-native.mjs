// Compares the core with this machine's CPU on random instruction sequences: node scripts/campaign-native.mjs [COUNT]
// [SEED]. Needs Linux on x86-64, gcc and a built dist/. Exit 0: no mismatch; 1: some; 4: cannot run here.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const load = async (name) =>
  (await runnerImport(join(top, "test/machine/native", name), { root: top, configFile: false }))
    .module;

const count = Number(process.argv[2] ?? 100_000);
const seed = Number(process.argv[3] ?? 1);
const { openNative } = await load("native.ts");
const { runCampaign } = await load("campaign.ts");
const native = openNative();
if (!native.ok) {
  process.stdout.write(`skipped: ${native.reason}\n`);
  process.exit(4);
}
const r = runCampaign(native.cpu, seed, count);
native.cpu.close();
for (const m of r.mismatches.slice(0, 20)) process.stdout.write(`${m}\n`);
process.stdout.write(
  `seed ${seed}: ${r.sequences} sequences, ${r.instructions} instructions, ${r.mismatches.length} mismatches\n`,
);
process.exit(r.mismatches.length ? 1 : 0);

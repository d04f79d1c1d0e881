// Damaged ELF files through exec: node scripts/campaign-elf.mjs [COUNT] [SEED]. Needs a built dist/. Exit 0: each was
// refused in one line or ran; 1: some broke exec.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const top = join(dirname(fileURLToPath(import.meta.url)), "..");
const count = Number(process.argv[2] ?? 100_000);
const seed = Number(process.argv[3] ?? 1);
const { module } = await runnerImport(join(top, "test/user/mutate.ts"), {
  root: top,
  configFile: false,
});
let refused = 0;
let ran = 0;
let wrong = 0;
for (let from = 0; from < count; from += 200) {
  const t = module.runMutations(seed, from, Math.min(200, count - from));
  refused += t.refused;
  ran += t.ran;
  wrong += t.wrong.length;
  for (const w of t.wrong) process.stdout.write(`${w}\n`);
  // Machines that are done with give their memory back between turns.
  await new Promise((done) => setImmediate(done));
}
process.stdout.write(
  `seed ${seed}: ${count} files, ${refused} refused, ${ran} accepted, ${wrong} wrong\n`,
);
process.exit(wrong ? 1 : 0);

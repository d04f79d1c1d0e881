// `npm run campaign [NAME]`: the counts that are too big for `npm test`, one command per claim, seeds fixed. Without a
// name it lists the claims. Results are recorded, with the commit, in docs/campaigns.md.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setup } from "./setup.mjs";

const CLAIMS = {
  native: "100,000 random integer sequences agree with this machine's CPU",
  vectors: "200 fresh cases of every form of user mode agree with this machine's CPU",
  truth: "the shadow equals an independent model at each of 1,000,000 instructions",
  seeds: "every mechanism on the default scenario under seeds 1..300, or as many as are asked for",
  protocol: "a patch put in and taken out 20 times by every mechanism on 1, 2, 4 and 8 vCPUs",
  scale: "100,000 tasks on 8 vCPUs: boot, load and every mechanism, in 1.5 GiB",
  sweep: "kpatch and simple requested at each of 2,000 instructions from ready",
  pokes:
    "100,000 instructions under execution replaced by text_poke_bp, with stale bytes and NMIs: none is seen torn or stale",
  cut: "eight programs cut at 10,000 random places, and restored there, end as the whole ones",
  bytes:
    "10,000,000 random instructions: iced-x86 agrees on validity and length, none hangs or throws",
  elf: "100,000 damaged ELF files: one clear line each, never a crash or a hang",
};

const [name, ...rest] = process.argv.slice(2);
if (name === undefined) {
  for (const [n, what] of Object.entries(CLAIMS)) process.stdout.write(`${n.padEnd(8)} ${what}\n`);
  process.exit(0);
}
const script = join(dirname(fileURLToPath(import.meta.url)), `campaign-${name}.mjs`);
if (!(name in CLAIMS) || !existsSync(script)) {
  process.stderr.write(
    `error: campaign: there is no '${name}', expected one of ${Object.keys(CLAIMS).join(", ")}\n`,
  );
  process.exit(2);
}
await setup();
process.exit(spawnSync(process.execPath, [script, ...rest], { stdio: "inherit" }).status ?? 1);

// Patches the default scenario by kpatch and by simple under many seeds, each run judged by every check:
// node scripts/campaign-seeds.mjs [SEEDS] [MECHANISM,..]. Needs a built dist/. Exit 0: no violation; 1: some.
import { load, mechanismsNamed, number } from "./scenario.mjs";

const seeds = number("seeds", process.argv[2], 200);
const { explore, prepared } = await load("default");
let bad = 0;
for (const mechanism of await mechanismsNamed(process.argv[3])) {
  const start = performance.now();
  const counts = {};
  let worst = 0;
  for (let seed = 1; seed <= seeds; seed++) {
    const { report } = explore.runOne(prepared, mechanism, { seed, at: 0 });
    counts[report.result] = (counts[report.result] ?? 0) + 1;
    worst = Math.max(worst, report.pauseInsns);
    if (report.violations.length === 0) continue;
    bad++;
    process.stdout.write(`${mechanism.name} seed ${seed}: ${report.violations[0].message}\n`);
  }
  const all = Object.entries(counts).map(([k, n]) => `${n} ${k}`);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  process.stdout.write(
    `${mechanism.name}: seeds 1..${seeds}: ${all.join(", ")}; ${bad} violated so far; longest pause ${worst}; ${seconds} s\n`,
  );
}
process.exit(bad > 0 ? 1 : 0);

// Patches the default scenario by every mechanism under many seeds, each run judged by every check:
// node scripts/campaign-seeds.mjs [SEEDS] [MECHANISM,..] [FIRST]. Needs a built dist/. Exit 0: the controls are caught under every
// seed, and no other mechanism under any; 1: not so.
import { load, mechanismsNamed, number } from "./scenario.mjs";

const ALL = "naive,immediate,ksplice,kpatch,kgraft,simple,klp";
/** They promise too little for this patch, and are to be caught. */
const CONTROLS = ["naive", "immediate"];
const seeds = number("seeds", process.argv[2], 300);
const first = number("first", process.argv[4], 1);
const last = first + seeds - 1;
const { explore, prepared } = await load("default");
let bad = 0;
for (const mechanism of await mechanismsNamed(process.argv[3] ?? ALL)) {
  const start = performance.now();
  const counts = {};
  const isControl = CONTROLS.includes(mechanism.name);
  let worst = 0;
  let violated = 0;
  for (let seed = first; seed <= last; seed++) {
    const { report } = explore.runOne(prepared, mechanism, { seed, at: 0 });
    counts[report.result] = (counts[report.result] ?? 0) + 1;
    worst = Math.max(worst, report.pauseInsns);
    if (report.violations.length === 0) continue;
    violated++;
    if (isControl) continue;
    process.stdout.write(`${mechanism.name} seed ${seed}: ${report.violations[0].message}\n`);
  }
  const all = Object.entries(counts).map(([k, n]) => `${n} ${k}`);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  bad += isControl ? seeds - violated : violated;
  process.stdout.write(
    `${mechanism.name}: seeds ${first}..${last}: ${all.join(", ")}; ${violated} violated; longest pause ${worst}; ${seconds} s\n`,
  );
}
process.exit(bad > 0 ? 1 : 0);

// Patches the default scenario at every one of its first instructions, by kpatch and by simple, each run judged by every
// check: node scripts/campaign-sweep.mjs [POINTS] [MECHANISM,..] [SEED]. Needs a built dist/. Exit 0: no violation.
import { load, mechanismsNamed, number } from "./scenario.mjs";

const points = number("points", process.argv[2], 2000);
const seed = number("seed", process.argv[4], 1);
const { explore, report, prepared } = await load("default");
let bad = 0;
for (const mechanism of await mechanismsNamed(process.argv[3])) {
  const start = performance.now();
  const s = await explore.sweep(prepared, mechanism, { points, seeds: [seed] }, () => true);
  bad += s.violations;
  const ms = (performance.now() - start) / Math.max(1, s.points);
  process.stdout.write(
    report
      .sweepText(s)
      .replace(/\n\s*(?=.)/g, "; ")
      .trim() + `; ${ms.toFixed(1)} ms/point\n`,
  );
  if (s.first !== null) process.stdout.write(s.first.repro ?? "");
}
process.exit(bad > 0 ? 1 : 0);

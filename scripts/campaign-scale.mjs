// Boots the default scenario with many tasks, loads its patch, and lets every mechanism put it in force, each run judged by every
// check: node scripts/campaign-scale.mjs [TASKS] [MECHANISM,..] [VCPUS]. Needs a built dist/. Exit 0: all came to their end as they
// are to, within 1.5 GiB of resident memory; 1: not so.
import { mechanismsNamed, load, number } from "./scenario.mjs";

const ALL = "ksplice,kpatch,kgraft,simple,klp,naive,immediate";
const CONTROLS = ["naive", "immediate"];
const LIMIT_MIB = 1536;
const tasks = number("tasks", process.argv[2], 100_000);
const vcpus = number("vcpus", process.argv[4], 8);
const { withTasks } = await import("../dist/src/scenario/index.js");

const peak = () => Math.round(process.resourceUsage().maxRSS / 1024);
let start = performance.now();
const seconds = () => ((performance.now() - start) / 1000).toFixed(1);
const { explore, prepared } = await load("default", { change: (s) => withTasks(s, tasks), vcpus });
process.stdout.write(
  `boot: ${tasks} slots, ${vcpus} vCPUs, ${prepared.built.scenario.ramMiB} MiB of RAM: ` +
    `${prepared.readyAt} instructions, ${seconds()} s, ${peak()} MiB\n`,
);
let bad = 0;
for (const m of await mechanismsNamed(process.argv[3] ?? ALL)) {
  start = performance.now();
  const { report, trace } = explore.runOne(prepared, m, { seed: 1, at: 0 });
  const isControl = CONTROLS.includes(m.name);
  const isAsItIsTo = report.result === "applied" && (report.verdict === "violated") === isControl;
  if (!isAsItIsTo) bad++;
  process.stdout.write(
    `${m.name}: ${report.tasks} tasks ${report.result}, ${report.verdict}; latency ${report.latencyInsns}, pause ${report.pauseInsns}, ` +
      `modelled ${report.modelledInsns}; ${trace.endedAt} instructions, ${seconds()} s, ${peak()} MiB at most until here\n`,
  );
}
if (peak() > LIMIT_MIB) {
  process.stdout.write(`${peak()} MiB, expected at most ${LIMIT_MIB}\n`);
  bad++;
}
process.exit(bad > 0 ? 1 : 0);

// Boots the default scenario with many tasks, loads its patch, and lets a mechanism put it in force, each mechanism in a process of
// its own and judged by every check: node scripts/campaign-scale.mjs [TASKS] [MECHANISM,..] [VCPUS]. Needs a built dist/. Exit 0:
// all came to their end as they are to, each within 1.5 GiB of resident memory; 1: not so.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { mechanismsNamed, load, number } from "./scenario.mjs";

const ALL = "ksplice,kpatch,kgraft,simple,klp,naive,immediate";
const CONTROLS = ["naive", "immediate"];
const LIMIT_MIB = 1536;
const tasks = number("tasks", process.argv[2], 100_000);
const vcpus = number("vcpus", process.argv[4], 8);
const mechanisms = await mechanismsNamed(process.argv[3] ?? ALL);
const [m] = mechanisms;
if (mechanisms.length > 1) {
  const ends = mechanisms.map(({ name }) => {
    const words = [fileURLToPath(import.meta.url), String(tasks), name, String(vcpus)];
    return spawnSync(process.execPath, words, { stdio: "inherit" }).status;
  });
  process.exit(ends.every((status) => status === 0) ? 0 : 1);
}

const { withTasks } = await import("../dist/src/scenario/index.js");
const peak = () => Math.round(process.resourceUsage().maxRSS / 1024);
const isControl = CONTROLS.includes(m.name);
let since = performance.now();
const seconds = () => ((performance.now() - since) / 1000).toFixed(1);
const { explore, prepared } = await load("default", { change: (s) => withTasks(s, tasks), vcpus });
process.stdout.write(
  `${m.name}: boot of ${tasks} slots on ${vcpus} vCPUs with ${prepared.built.scenario.ramMiB} MiB of RAM: ` +
    `${prepared.readyAt} instructions, ${seconds()} s, ${peak()} MiB\n`,
);
since = performance.now();
const { report, trace } = explore.runOne(prepared, m, { seed: 1, at: 0 });
const isAsItIsTo = report.result === "applied" && (report.verdict === "violated") === isControl;
const isSmall = peak() <= LIMIT_MIB;
process.stdout.write(
  `${m.name}: ${report.tasks} tasks, ${report.result}, ${report.verdict}; latency ${report.latencyInsns}, pause ${report.pauseInsns}, ` +
    `modelled ${report.modelledInsns}; ${trace.endedAt} instructions, ${seconds()} s, ${peak()} MiB` +
    `${isSmall ? "" : `, expected at most ${LIMIT_MIB}`}\n`,
);
process.exit(isAsItIsTo && isSmall ? 0 : 1);

// `quiesce start`, what `npm start` runs: the default scenario under load, patched by every mechanism, beside what the
// scenario claims of each. All as claimed is success, also where a mechanism breaks as it is said to.
import type { Run } from "../explore/index.ts";
import { prepare, runExplained } from "../explore/index.ts";
import { MECHANISMS } from "../patch/index.ts";
import { isAsClaimed, runTable, toJson as json } from "../report/index.ts";
import { RUN_LIKE, runNumbers } from "./args.ts";
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { EXIT } from "./errors.ts";
import { coreModule } from "./files.ts";
import type { Door } from "./output.ts";
import { violationText } from "./run.ts";
import { buildNamed } from "./scenarios.ts";

const SCENARIO = "default";

export const startCommand = (door: Door): Command =>
  command("start", "The default scenario by every mechanism", RUN_LIKE, async ({ args }) => {
    const numbers = runNumbers(args);
    const built = await buildNamed(SCENARIO, numbers);
    const { scenario } = built;
    const prepared = prepare(built, coreModule());
    const runs: Run[] = [];
    for (const mechanism of Object.values(MECHANISMS)) {
      door.progress(`${mechanism.name} ..`);
      const spec = { seed: numbers.seed, at: scenario.requestAt };
      runs.push(runExplained(prepared, mechanism, spec));
      if (await door.interrupted()) break;
    }
    const reports = runs.map((r) => r.report);
    const wrong = reports.filter((r) => !isAsClaimed(r, scenario.claims[r.mechanism]));
    const first = runs.find((r) => r.report.violations.length > 0);
    const text = (): string =>
      [
        `${scenario.name}: ${scenario.story}\n`,
        `${scenario.vcpus} vCPUs, ${reports[0]?.tasks ?? 0} tasks, seed ${numbers.seed}; `,
        `a virtual second is ${scenario.hz * scenario.tickInsns} instructions\n\n`,
        runTable(reports, scenario.claims),
        first === undefined ? "" : `\n${violationText(first)}`,
        wrong.length === 0
          ? "\nall as claimed\n"
          : `\nnot as claimed: ${wrong.map((r) => r.mechanism).join(", ")}\n`,
      ].join("");
    door.print(args.json === true ? json(reports) : text());
    if (wrong.length > 0) return EXIT.violated;
    return runs.length < Object.keys(MECHANISMS).length ? EXIT.budget : EXIT.consistent;
  });

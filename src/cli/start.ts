// `quiesce start`, what `npm start` runs: the default scenario under load, patched by every mechanism, beside what the
// scenario claims of each. All as claimed is success, also where a mechanism breaks as it is said to.
import type { Run } from "../explore/index.ts";
import { prepare, runOne } from "../explore/index.ts";
import { MECHANISMS } from "../patch/index.ts";
import { asClaimed, runsText, storyText } from "../report/index.ts";
import { RUN_LIKE, runNumbers } from "./args.ts";
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { EXIT } from "./errors.ts";
import { buildNamed, coreModule } from "./files.ts";
import type { Door } from "./output.ts";
import { json } from "./output.ts";

const SCENARIO = "default";

export const startCommand = (door: Door): Command =>
  command("start", "The default scenario by every mechanism", RUN_LIKE, async ({ args }) => {
    const numbers = runNumbers(args);
    const built = await buildNamed(SCENARIO, numbers);
    const { scenario } = built;
    const { claims, requestAt: at, story: tale, hz, tickInsns } = scenario;
    const prepared = prepare(built, coreModule());
    const runs: Run[] = [];
    for (const mechanism of Object.values(MECHANISMS)) {
      door.progress(`${mechanism.name} ..`);
      runs.push(runOne(prepared, mechanism, { seed: numbers.seed, at, story: true }));
      if (await door.interrupted()) break;
    }
    const reports = runs.map((r) => r.report);
    const wrong = reports.filter((r) => asClaimed(r, claims[r.mechanism]) === false);
    const insnsPerSecond = hz * tickInsns;
    const story = runs.find((r) => r.story !== undefined)?.story;
    const text = (): string =>
      [
        `${scenario.name}: ${tale}\n`,
        `${scenario.vcpus} vCPUs, ${reports[0]?.tasks ?? 0} tasks, seed ${numbers.seed}; `,
        `times in instructions of one vCPU, ${insnsPerSecond} to the virtual second\n\n`,
        runsText(reports, { claims, insnsPerSecond }),
        story === undefined ? "" : `\nThe first violation in full:\n${storyText(story)}`,
        wrong.length === 0
          ? "\nAll as claimed.\n"
          : `\nNot as claimed: ${wrong.map((r) => r.mechanism).join(", ")}.\n`,
      ].join("");
    door.print(args.json === true ? json(reports) : text());
    if (wrong.length > 0) return EXIT.violated;
    return runs.length < Object.keys(MECHANISMS).length ? EXIT.budget : EXIT.consistent;
  });

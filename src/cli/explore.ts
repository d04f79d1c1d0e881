// `quiesce explore`: the patch requested at every instruction of the unpatched run in turn, under one schedule or
// several; what is found first is made small. It ends when all is tried, when the time is over, or at Ctrl-C.
import { prepare, sweep } from "../explore/index.ts";
import { sweepText, toJson as json } from "../report/index.ts";
import { runNumbers, SEARCH_LIKE, shard, whole } from "./args.ts";
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { EXIT, UsageError } from "./errors.ts";
import { checkOutput, coreModule, writeOutput } from "./files.ts";
import type { Door } from "./output.ts";
import { mechanismsNamed, reproText } from "./run.ts";
import { buildNamed } from "./scenarios.ts";

const SECONDS = 15;
/** Runs between two looks at the clock and the signals. */
const PATIENCE = 16;

const ARGS = {
  ...SEARCH_LIKE,
  scenario: { type: "positional", required: true, description: "a scenario's name or folder" },
  mechanism: { type: "string", valueHint: "M", required: true, description: "one mechanism" },
  points: { type: "string", valueHint: "N", description: "the first N instructions (all)" },
  schedules: { type: "string", valueHint: "N", description: "seeds from --seed on (1)" },
  patch: { type: "string", valueHint: "FILE", description: "another patch, a .S file" },
  repro: { type: "string", valueHint: "FILE", description: "write the first violation's repro" },
} as const;

export const exploreCommand = (door: Door): Command =>
  command("explore", "One patch at every instruction", ARGS, async ({ args }) => {
    const numbers = runNumbers(args);
    const [mechanism, second] = mechanismsNamed(args.mechanism);
    if (mechanism === undefined || second !== undefined) {
      throw new UsageError(`mechanism: '${args.mechanism}' is not one, expected one name`);
    }
    const asked = whole("points", args.points, 1);
    const nr = whole("schedules", args.schedules, 1, 1_000_000) ?? 1;
    const seconds = whole("seconds", args.seconds) ?? SECONDS;
    const part = shard(args.shard);
    if (args.repro !== undefined) checkOutput(args.repro);
    const built = await buildNamed(args.scenario, { ...numbers, patch: args.patch });
    const prepared = prepare(built, coreModule());
    const seeds = Array.from({ length: nr }, (_, i) => numbers.seed + i);
    const points = asked ?? prepared.baseline.insns;
    const start = door.elapsed();
    let asks = 0;
    const report = await sweep(
      prepared,
      mechanism,
      { points, seeds, ...(part === undefined ? {} : { shard: part }) },
      async ({ done, of, violations }) => {
        if (asks++ % PATIENCE !== 0) return true;
        door.progress(`${done} of ${of} runs, ${violations} violated`);
        const isLate = seconds > 0 && door.elapsed() - start > seconds * 1000;
        return !isLate && !(await door.interrupted());
      },
    );
    const took = Math.round(door.elapsed() - start) / 1000;
    const repro = report.first?.repro ?? undefined;
    if (args.repro !== undefined && repro !== undefined) writeOutput(args.repro, repro);
    const out = args.deterministic === true ? report : { ...report, seconds: took };
    const inline = args.repro === undefined && repro !== undefined ? reproText(repro) : "";
    door.print(args.json === true ? json(out) : `${sweepText(report)}${inline}`);
    if (report.violations > 0) return EXIT.violated;
    return report.exhausted ? EXIT.consistent : EXIT.budget;
  });

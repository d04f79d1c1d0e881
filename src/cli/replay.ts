// `quiesce replay FILE[@N]`: a repro again, to the same instruction; or the machine as it stands N instructions after the
// ready mark of that run.
import type { ReproMismatch } from "../explore/index.ts";
import { parseRepro, prepare, replay, replayTo } from "../explore/index.ts";
import { mismatchText, momentText, replayText, toJson as json } from "../report/index.ts";
import { chosen, COMMON, MAX_INSN, whole } from "./args.ts";
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { EXIT, unknown, UsageError } from "./errors.ts";
import { coreModule, readInput } from "./files.ts";
import { MECHANISM_NAMES, UNWINDER_NAMES } from "./names.ts";
import type { Door } from "./output.ts";
import { mechanismsNamed } from "./run.ts";
import { buildNamed } from "./scenarios.ts";

const ARGS = {
  ...COMMON,
  file: { type: "positional", required: true, description: "a repro file, or FILE@N" },
  scenario: { type: "string", valueHint: "PATH", description: "the folder of a scenario of yours" },
  patch: {
    type: "string",
    valueHint: "FILE",
    description: "the patch it was made with, a .S file",
  },
} as const;

export const replayCommand = (door: Door): Command =>
  command("replay", "A repro again, to the same instruction", ARGS, async ({ args }) => {
    const [, file = "", at] = /^(.*?)(?:@([^@/]*))?$/.exec(args.file) ?? [];
    const until = whole("insn", at, 0, MAX_INSN);
    const parsed = parseRepro(readInput(file));
    if (!parsed.ok) throw new UsageError(`${file}:${parsed.line}: ${parsed.reason}`);
    const { repro } = parsed;
    if (!MECHANISM_NAMES.includes(repro.mechanism)) {
      throw unknown(`${file}: mechanism`, repro.mechanism, MECHANISM_NAMES);
    }
    const [mechanism] = mechanismsNamed(repro.mechanism);
    if (mechanism === undefined) throw new UsageError(`${file}: no mechanism, expected one`);
    const vcpus = whole(`${file}: vcpus`, String(repro.vcpus), 1, 8);
    const tasks = whole(`${file}: tasks`, String(repro.tasks), 16, 100_000);
    const built = await buildNamed(args.scenario ?? repro.scenario, {
      vcpus,
      tasks,
      patch: args.patch,
    });
    const [unwinder] = chosen(`${file}: unwinder`, repro.unwinder, UNWINDER_NAMES);
    const prepared = prepare(built, coreModule(), unwinder === undefined ? {} : { unwinder });
    if (until !== undefined) {
      const moment = replayTo(prepared, mechanism, repro, until);
      if (!moment.ok) throw mismatch(file, moment);
      door.print(args.json === true ? json(moment) : momentText(moment));
      return EXIT.consistent;
    }
    const again = replay(prepared, mechanism, repro);
    if (!again.ok) throw mismatch(file, again);
    const { reproduced, difference = null, run } = again;
    const value = { reproduced, difference, run: run.report };
    door.print(args.json === true ? json(value) : replayText(mechanism.name, again));
    return run.report.verdict === "violated" ? EXIT.violated : EXIT.consistent;
  });

function mismatch(file: string, m: ReproMismatch): UsageError {
  return new UsageError(`${file}: ${mismatchText(m).trim()}`);
}

// `quiesce run`: one patch under load, by one mechanism or by several, each from the same ready mark under the same seed.
import type { RunReport } from "../explore/index.ts";
import { prepare, runOne } from "../explore/index.ts";
import type { Mechanism } from "../patch/index.ts";
import { MECHANISMS } from "../patch/index.ts";
import { runsText, storyText } from "../report/index.ts";
import { chosen, RUN_LIKE, runNumbers, whole } from "./args.ts";
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { EXIT } from "./errors.ts";
import { buildNamed, coreModule } from "./files.ts";
import { MECHANISM_NAMES } from "./names.ts";
import type { Door } from "./output.ts";
import { json } from "./output.ts";

const ARGS = {
  ...RUN_LIKE,
  scenario: { type: "positional", required: true, description: "a scenario's name or folder" },
  mechanism: { type: "string", valueHint: "M,..", description: "mechanisms (all)" },
  at: {
    type: "string",
    valueHint: "N",
    description: "request N instructions after the ready mark",
  },
  patch: { type: "string", valueHint: "FILE", description: "another patch, a .S file" },
  log: { type: "boolean", description: "what the mechanisms said, line by line" },
} as const;

export const runCommand = (door: Door): Command =>
  command("run", "One patch under load", ARGS, async ({ args }) => {
    const numbers = runNumbers(args);
    const mechanisms = mechanismsNamed(args.mechanism);
    const at = whole("at", args.at);
    const built = await buildNamed(args.scenario, { ...numbers, patch: args.patch });
    const { scenario } = built;
    const prepared = prepare(built, coreModule());
    const reports: RunReport[] = [];
    const more: string[] = [];
    let wasStopped = false;
    for (const mechanism of mechanisms) {
      door.progress(`${mechanism.name} ..`);
      const spec = { seed: numbers.seed, at: at ?? scenario.requestAt, story: args.json !== true };
      const { report, trace, story } = runOne(prepared, mechanism, spec);
      reports.push(report);
      if (args.log === true) {
        more.push(`${mechanism.name}\n`, ...trace.logs.map((l) => `  ${l.insn}: ${l.text}\n`));
      }
      if (mechanisms.length === 1 && story !== undefined) more.push(storyText(story));
      wasStopped = await door.interrupted();
      if (wasStopped) break;
    }
    const text = (): string =>
      [
        runsText(reports, {
          claims: {},
          insnsPerSecond: scenario.hz * scenario.tickInsns,
        }),
        ...more,
      ].join("");
    door.print(args.json === true ? json(reports) : text());
    if (reports.some((r) => r.verdict === "violated")) return EXIT.violated;
    return wasStopped ? EXIT.budget : EXIT.consistent;
  });

/** The mechanisms of a list of names. */
export function mechanismsNamed(text: string | undefined): readonly Mechanism[] {
  return chosen("mechanism", text, MECHANISM_NAMES).flatMap((name) => MECHANISMS[name] ?? []);
}

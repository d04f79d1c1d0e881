// `quiesce run`: one patch under load, by one mechanism or by several, each from the same ready mark under the same seed.
import type { Run } from "../explore/index.ts";
import { prepare, runExplained } from "../explore/index.ts";
import type { Mechanism, UnwinderName } from "../patch/index.ts";
import { MECHANISMS } from "../patch/index.ts";
import {
  dmesgText,
  runTable,
  storyText,
  tasksText,
  traceLines,
  toJson as json,
} from "../report/index.ts";
import { chosen, MAX_INSN, RUN_LIKE, runNumbers, whole } from "./args.ts";
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { EXIT, unknown } from "./errors.ts";
import { checkOutput, coreModule, writeOutput } from "./files.ts";
import { MECHANISM_NAMES, UNWINDER_NAMES } from "./names.ts";
import type { Door } from "./output.ts";
import { buildNamed } from "./scenarios.ts";

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
  repro: { type: "string", valueHint: "FILE", description: "write the first violation's repro" },
  unwinder: { type: "string", valueHint: "U", description: "whose rows a mechanism walks by (fp)" },
  trace: {
    type: "string",
    valueHint: "FILE",
    description: "write what happened, a JSON line each",
  },
  log: { type: "boolean", description: "the kernel's log, as dmesg has it" },
  verbose: {
    type: "boolean",
    description: "when and how each task was switched, and what held it",
  },
} as const;

export const runCommand = (door: Door): Command =>
  command("run", "One patch under load", ARGS, async ({ args }) => {
    const numbers = runNumbers(args);
    const mechanisms = mechanismsNamed(args.mechanism);
    const asked = whole("at", args.at, 0, MAX_INSN);
    const unwinder = args.unwinder === undefined ? "fp" : oneUnwinder(args.unwinder);
    if (args.repro !== undefined) checkOutput(args.repro);
    if (args.trace !== undefined) checkOutput(args.trace);
    const built = await buildNamed(args.scenario, { ...numbers, patch: args.patch });
    const prepared = prepare(built, coreModule(), { unwinder });
    const at = asked ?? built.scenario.requestAt;
    const runs: Run[] = [];
    for (const mechanism of mechanisms) {
      door.progress(`${mechanism.name} ..`);
      runs.push(runExplained(prepared, mechanism, { seed: numbers.seed, at }));
      if (await door.interrupted()) break;
    }
    const reports = runs.map((r) => r.report);
    const first = runs.find((r) => r.report.violations.length > 0);
    const repro = first?.report.violations[0]?.repro ?? undefined;
    if (args.repro !== undefined && repro !== undefined) writeOutput(args.repro, repro);
    if (args.trace !== undefined)
      writeOutput(args.trace, runs.map((r) => traceLines(r.trace)).join(""));
    const text = (): string =>
      [
        runTable(reports),
        ...(args.verbose === true ? reports.map((r) => `\n${tasksText(r)}`) : []),
        ...(args.log === true ? runs.map(logText) : []),
        ...(first === undefined ? [] : ["\n", violationText(first, args.repro)]),
      ].join("");
    door.print(args.json === true ? json(reports) : text());
    return runs.length < mechanisms.length ? EXIT.budget : exitOf(runs);
  });

/** A run that did not end within its budget is exit 3 if nothing else is wrong with any. */
export function exitOf(runs: readonly Run[]): number {
  const failed = runs.flatMap((r) => r.report.violations).map((v) => v.check);
  if (failed.some((c) => c !== "progress")) return EXIT.violated;
  const isOpen = failed.length > 0 || runs.some((r) => r.trace.end === "budget");
  return isOpen ? EXIT.budget : EXIT.consistent;
}

function oneUnwinder(name: string): UnwinderName {
  const [unwinder] = UNWINDER_NAMES.filter((n) => n === name);
  if (unwinder === undefined) throw unknown("unwinder", name, UNWINDER_NAMES);
  return unwinder;
}

function logText({ report, trace }: Run): string {
  return `\n${report.mechanism}\n${dmesgText(trace.dmesg)}`;
}

/** The story of a run's first violation, and its repro where no file takes it. */
export function violationText({ report, story }: Run, file?: string): string {
  const repro = report.violations[0]?.repro ?? undefined;
  const saved = file === undefined || repro === undefined ? undefined : { text: repro, file };
  const told = story === undefined ? "" : storyText(report.mechanism, story, saved);
  return saved !== undefined || repro === undefined ? told : `${told}\n${reproText(repro)}`;
}

/** A repro to be saved by hand. */
export function reproText(repro: string): string {
  return `the repro, for \`quiesce replay FILE\`:\n\n${repro}`;
}

/** The mechanisms of a list of names. */
export function mechanismsNamed(text: string | undefined): readonly Mechanism[] {
  return chosen("mechanism", text, MECHANISM_NAMES).flatMap((name) => MECHANISMS[name] ?? []);
}

// `quiesce sysfs`: a scenario's patch loaded by livepatch under load, and its files read and written while the guest goes
// on: the whole tree, one file, or a sequence of reads, writes and waits.
import { prepare, runSysfs, type SysfsStep } from "../explore/index.ts";
import { strerror, sysfsText, toJson as json } from "../report/index.ts";
import { MAX_INSN, RUN_LIKE, runNumbers, whole } from "./args.ts";
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { EXIT, nearest, UsageError } from "./errors.ts";
import { coreModule } from "./files.ts";
import type { Door } from "./output.ts";
import { buildNamed } from "./scenarios.ts";

const ARGS = {
  ...RUN_LIKE,
  scenario: { type: "positional", required: true, description: "a scenario's name or folder" },
  steps: {
    type: "positional",
    required: false,
    description: "PATH shows a file or folder, PATH=VALUE writes, wait=N runs N instructions or until a transition ends; any number of them, in order",
  },
  mechanism: { type: "string", valueHint: "klp", description: "whose files they are (klp)" },
  at: { type: "string", valueHint: "N", description: "load the patch N instructions after the ready mark" },
  patch: { type: "string", valueHint: "FILE", description: "another patch, a .S file" },
  log: { type: "boolean", description: "the kernel's log behind it, as dmesg has it" },
} as const; // prettier-ignore

const ROOT = "/sys/kernel/livepatch";

export const sysfsCommand = (door: Door): Command => {
  let words: readonly string[] = [];
  const inner = command("sysfs", "Livepatch's files, under load", ARGS, async ({ args }) => {
    const numbers = runNumbers(args);
    const asked = whole("at", args.at, 0, MAX_INSN);
    if (args.mechanism !== undefined && args.mechanism !== "klp") {
      throw new UsageError(`mechanism: '${args.mechanism}' has no files in sysfs, expected klp`);
    }
    const steps = words.map(stepOf);
    const built = await buildNamed(args.scenario, { ...numbers, patch: args.patch });
    const at = asked ?? built.scenario.requestAt;
    const report = runSysfs(prepare(built, coreModule()), { seed: numbers.seed, at, steps });
    door.print(args.json === true ? json(report) : sysfsText(report, args.log === true));
    if (report.end === "no such file") {
      const path = report.actions.at(-1)?.path ?? "";
      const names = report.actions.at(-1)?.files.map((f) => f.path) ?? [];
      const near = nearest(path, names);
      const expected =
        near === undefined ? `one below ${ROOT}` : `'${near}' or another that is there`;
      const where = `at instruction ${report.actions.at(-1)?.insn ?? 0}`;
      throw new UsageError(`${path}: ${strerror(2).toLowerCase()} ${where}, expected ${expected}`);
    }
    if (report.end === "budget") return EXIT.budget;
    const isRefused = report.loaded.errno !== 0 || report.actions.some((a) => a.errno !== 0);
    return isRefused || report.end === "bug" ? EXIT.violated : EXIT.consistent;
  });
  return {
    help: inner.help,
    run: (all) => {
      const { own, rest } = split(all);
      words = rest;
      return inner.run(own);
    },
  };
};

/** A relative path is below livepatch's folder. */
function absolute(path: string): string {
  const whole = path.startsWith("/") ? path : `${ROOT}/${path}`;
  return whole.length > 1 ? whole.replace(/\/+$/, "") : whole;
}

function stepOf(word: string): SysfsStep {
  const at = word.indexOf("=");
  if (at < 0) return { action: "show", path: absolute(word) };
  const [name, value] = [word.slice(0, at), word.slice(at + 1)];
  if (name === "") throw new UsageError(`sysfs: '${word}' has no path, expected PATH=VALUE`);
  if (name !== "wait") return { action: "write", path: absolute(name), value };
  return { action: "wait", insns: whole("wait", value, 1, MAX_INSN) ?? 1 };
}

/** Our options and the scenario, and the steps behind it. */
function split(words: readonly string[]): {
  readonly own: readonly string[];
  readonly rest: readonly string[];
} {
  const flags = new Set(["--json", "--log", "--help", "-h"]);
  const own: string[] = [];
  const rest: string[] = [];
  let places = 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i] ?? "";
    if (word.startsWith("-")) {
      own.push(word);
      if (!flags.has(word) && !word.includes("=")) own.push(...words.slice(++i, i + 1));
    } else if (places++ === 0) own.push(word);
    else rest.push(word);
  }
  return { own, rest };
}

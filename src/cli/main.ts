// The command: finds the subcommand, checks the words, runs it, and turns whatever it throws into one line on standard
// error and an exit code. No subcommand's logic is here.
import { stripVTControlCharacters } from "node:util";
import type { Maker } from "./command.ts";
import { EXIT, unknown } from "./errors.ts";
import { version } from "./files.ts";
import type { Streams } from "./output.ts";
import { guardStreams, makeDoor } from "./output.ts";

interface Entry {
  readonly summary: string;
  readonly load: () => Promise<Maker>;
}

const COMMANDS: Readonly<Record<string, Entry>> = {
  start: {
    summary: "what `npm start` runs: the default scenario by every mechanism, against its claims",
    load: async () => (await import("./start.ts")).startCommand,
  },
  run: {
    summary: "one patch under load, by one mechanism or by all",
    load: async () => (await import("./run.ts")).runCommand,
  },
  explore: {
    summary: "the patch at every instruction; the first violation, made small",
    load: async () => (await import("./explore.ts")).exploreCommand,
  },
  replay: {
    summary: "a repro again, to the same instruction",
    load: async () => (await import("./replay.ts")).replayCommand,
  },
  exec: {
    summary: "a static Linux program in user mode of the machine",
    load: async () => (await import("./exec.ts")).execCommand,
  },
  list: {
    summary: "names of the scenarios, mechanisms and unwinders",
    load: async () => (await import("./list.ts")).listCommand,
  },
  disasm: {
    summary: "instructions of a function in a scenario's kernel or patch",
    load: async () => (await import("./disasm.ts")).disasmCommand,
  },
  bench: {
    summary: "how fast it is, against qemu-x86_64 and native runs of the same programs",
    load: async () => (await import("./bench.ts")).benchCommand,
  },
  sysfs: {
    summary: "livepatch's files read and written while a patch is in transition",
    load: async () => (await import("./sysfs.ts")).sysfsCommand,
  },
  unwind: {
    summary: "stacks by every unwinder against the truth, and their scores",
    load: async () => (await import("./unwind.ts")).unwindCommand,
  },
};

function help(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((n) => n.length));
  const lines = Object.entries(COMMANDS).map(([n, c]) => `  ${n.padEnd(width)}  ${c.summary}`);
  return `quiesce ${version()}: a laboratory for live kernel patching

usage: quiesce COMMAND [OPTIONS]

${lines.join("\n")}

quiesce COMMAND --help says more. Exit: 0 consistent, 1 violation found, 2 usage or bad input,
3 the budget ended before the search did, 4 skipped.
`;
}

async function dispatch(words: readonly string[], streams: Streams): Promise<number> {
  const [name, ...rest] = words;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    streams.stdout.write(help());
    return name === undefined ? EXIT.usage : EXIT.consistent;
  }
  if (name === "--version" || name === "-v") {
    streams.stdout.write(`${version()}\n`);
    return EXIT.consistent;
  }
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (entry === undefined) throw unknown("command", name, Object.keys(COMMANDS));
  const make = await entry.load();
  const bare = make(makeDoor(streams, undefined));
  const own = bare.own?.(rest) ?? rest;
  if (own.includes("--help") || own.includes("-h")) {
    const text = await bare.help();
    const plain = streams.stdout.isTTY === true ? text : stripVTControlCharacters(text);
    streams.stdout.write(`${plain}\n`);
    return EXIT.consistent;
  }
  const door = makeDoor(streams, outputOf(own));
  try {
    return await make(door).run(rest);
  } finally {
    door.close();
  }
}

/** The value of -o or --output, needed before the words are read. */
function outputOf(words: readonly string[]): string | undefined {
  for (const [i, word] of words.entries()) {
    if (word === "--") return undefined;
    if (word === "-o" || word === "--output") return words[i + 1];
    const m = /^(?:-o|--output)=(.+)$/.exec(word);
    if (m) return m[1];
  }
  return undefined;
}

/** Errors whose message is for the user, by name: their folders are loaded only by the commands that need them. */
const FOR_THE_USER = new Set([
  "UsageError",
  "CLIError",
  "ScenarioError",
  "AsmError",
  "LinkError",
  "PatchError",
  "ProgramError",
  "BudgetError",
]);

/** One line for the user; undefined for a bug of ours. */
function lineOf(e: unknown): string | undefined {
  if (!(e instanceof Error) || !FOR_THE_USER.has(e.name)) return undefined;
  return stripVTControlCharacters(e.message).split("\n").join(" ");
}

/**
 * Runs one command.
 *
 * words    the command line without node and the script
 * returns  the exit code
 */
export async function run(words: readonly string[], streams: Streams): Promise<number> {
  try {
    return await dispatch(words, streams);
  } catch (e) {
    if (process.env["QUIESCE_DEBUG"] === "1" && e instanceof Error) {
      streams.stderr.write(`${e.stack ?? e.message}\n`);
    }
    const line = lineOf(e);
    const bug = e instanceof Error ? (e.message.split("\n")[0] ?? "") : String(e);
    streams.stderr.write(
      line === undefined
        ? `error: internal: ${bug}, expected no error; QUIESCE_DEBUG=1 shows where\n`
        : `error: ${line}\n`,
    );
    return e instanceof Error && e.name === "BudgetError" ? EXIT.budget : EXIT.usage;
  }
}

/** The door of bin/quiesce.mjs. */
export async function main(words: readonly string[]): Promise<void> {
  guardStreams();
  process.exitCode = await run(words, process);
}

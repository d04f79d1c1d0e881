// `quiesce exec`: a static Linux program in ring 3 of the machine. Its output and its exit code are ours; what we say
// ourselves goes to standard error.
import type { ProcessResult } from "../user/index.ts";
import { readProgram, symbolsOf, UserProcess } from "../user/index.ts";
import { formatAddress } from "../link/index.ts";
import { whole } from "./args.ts";
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { asGiven, openLines, readDescriptor, readProgramFile } from "./descriptors.ts";
import { EXIT } from "./errors.ts";
import { compileSparingly, coreModule } from "./files.ts";
import type { Door } from "./output.ts";

const ARGS = {
  prog: {
    type: "positional",
    required: true,
    description: "a static x86-64 Linux program; its arguments follow",
  },
  stats: {
    type: "boolean",
    description: "one JSON line on standard error: insns, seconds, mips, exit",
  },
  "max-insns": {
    type: "string",
    valueHint: "N",
    description: "end after N instructions, with exit 3",
  },
  trace: {
    type: "string",
    valueHint: "FILE|-",
    description: "a line for each system call and signal",
  },
  seed: { type: "string", valueHint: "N", description: "of AT_RANDOM and getrandom (1)" },
  memory: { type: "string", valueHint: "MIB", description: "of the machine (512)" },
} as const;

const MIB = 1 << 20;
/** What the machine can have besides the shadow of the stack. */
const MOST_MIB = 2000;

export const execCommand = (door: Door): Command => {
  let given: readonly string[] = [];
  const inner = command("exec", "Run a static Linux program", ARGS, ({ args }) => {
    const maxInsns = whole("max-insns", args["max-insns"], 1);
    const seed = whole("seed", args.seed) ?? 1;
    const ramBytes = (whole("memory", args.memory, 16, MOST_MIB) ?? 512) * MIB;
    const { bytes, real } = readProgramFile(args.prog);
    const program = readProgram(bytes, args.prog);
    compileSparingly();
    const core = coreModule();
    const trace = args.trace === undefined ? undefined : openLines(args.trace);
    try {
      const run = new UserProcess({
        core,
        ramBytes,
        program,
        argv: asGiven([args.prog, ...given], "/proc/self/cmdline"),
        env: asGiven(
          Object.entries(process.env).map(([k, v]) => `${k}=${v ?? ""}`),
          "/proc/self/environ",
        ),
        exe: real,
        seed,
        io: {
          write: (fd, b) => door.raw(fd === 2 ? 2 : 1, b),
          read: (n) => readDescriptor(0, n),
          ...(trace === undefined ? {} : { trace: (line: string) => trace.add(line) }),
        },
      });
      const start = door.elapsed();
      const result = run.run(maxInsns);
      const seconds = (door.elapsed() - start) / 1000;
      const exit = exitOf(result);
      const say = (text: string): number => door.raw(2, new TextEncoder().encode(text));
      if (result.end.kind === "signal") say(result.end.report);
      if (result.end.kind === "budget") {
        const where = formatAddress(symbolsOf(program), result.end.rip);
        say(`${args.prog}: the budget of ${result.insns} instructions ended at ${where}\n`);
      }
      if (args.stats === true) say(`${stats(result, seconds, exit)}\n`);
      return exit;
    } finally {
      trace?.close();
    }
  });
  return {
    help: inner.help,
    own: (words) => split(words).own,
    run: (words) => {
      const { own, rest } = split(words);
      given = rest;
      return inner.run(own);
    },
  };
};

function exitOf({ end }: ProcessResult): number {
  if (end.kind === "exit") return end.status;
  return end.kind === "signal" ? 128 + end.signal : EXIT.budget;
}

function stats({ insns }: ProcessResult, seconds: number, exit: number): string {
  const mips = seconds > 0 ? insns / seconds / 1e6 : 0;
  const round = (v: number): number => Number(v.toPrecision(6));
  return JSON.stringify({ insns, seconds: round(seconds), mips: round(mips), exit });
}

/** Our words up to PROG, and the program's behind it, which are not looked at. */
function split(words: readonly string[]): {
  readonly own: readonly string[];
  readonly rest: readonly string[];
} {
  const values = Object.entries(ARGS).filter(([, d]) => d.type === "string");
  const takesValue = new Set(values.map(([name]) => `--${name}`));
  let at = 0;
  while (at < words.length) {
    const word = words[at] ?? "";
    if (word === "--") {
      const prog = words.slice(at + 1, at + 2).map((p) => (p.startsWith("-") ? `./${p}` : p));
      return { own: [...words.slice(0, at), ...prog], rest: words.slice(at + 2) };
    }
    if (!word.startsWith("-")) break;
    at += takesValue.has(word) ? 2 : 1;
  }
  return { own: words.slice(0, at + 1), rest: words.slice(at + 1) };
}

// Arguments: the options that commands share, a strict look at the raw words before citty reads them (it passes over
// what it does not know), and the words turned into numbers and names. It starts nothing.
import type { ArgsDef } from "citty";
import { unknown, UsageError } from "./errors.ts";

const MAX = Number.MAX_SAFE_INTEGER;
/** The last instruction that a run may be asked to go to. */
export const MAX_INSN = 1_000_000_000;

/** Slots for tasks that a scenario can have. */
export const MIN_TASKS = 16;
export const MAX_TASKS = 100_000;

/** Options of every command. */
export const COMMON = {
  json: { type: "boolean", description: "print JSON (docs/json.md)" },
  output: { type: "string", alias: "o", valueHint: "FILE", description: "write to FILE instead" },
} as const satisfies ArgsDef;

/** Options of every command that runs a scenario. */
export const RUN_LIKE = {
  ...COMMON,
  seed: { type: "string", valueHint: "N", description: "of the schedule (1)" },
  vcpus: { type: "string", valueHint: "N", description: "number of vCPUs, 1 to 8" },
  tasks: { type: "string", valueHint: "N", description: "slots for tasks, 16 to 100000" },
} as const satisfies ArgsDef;

/**
 * Refuses words that the command does not take: unknown options, options without their value, options given twice, and
 * more positional words than there are places.
 */
export function checkWords(command: string, words: readonly string[], defs: ArgsDef): void {
  const names = new Map<string, { name: string; value: boolean }>();
  const needed: string[] = [];
  const required: string[] = [];
  let places = 0;
  for (const [name, def] of Object.entries(defs)) {
    if (def.type === "positional") {
      places++;
      if (def.required === true) needed.push(name.toUpperCase());
    } else {
      const entry = { name, value: def.type !== "boolean" };
      if (def.required === true) required.push(name);
      names.set(`--${name}`, entry);
      const alias = "alias" in def ? def.alias : undefined;
      for (const a of typeof alias === "string" ? [alias] : (alias ?? [])) {
        names.set(`${a.length === 1 ? "-" : "--"}${a}`, entry);
      }
    }
  }
  const seen = new Set<string>();
  const rest = [...words];
  const all = places;
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === "--") {
      places -= rest.length;
      if (places < 0) throw tooMany(command, rest.at(places) ?? "");
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      if (--places < 0) throw tooMany(command, word);
      continue;
    }
    const [flag = "", given] = split(word);
    const def = names.get(flag);
    if (def === undefined) throw unknown(`${command}: option`, flag, [...names.keys()]);
    if (seen.has(def.name))
      throw new UsageError(`${command}: ${flag} is given twice, expected once`);
    seen.add(def.name);
    if (!def.value) {
      if (given !== undefined) throw new UsageError(`${command}: ${flag} takes no value`);
    } else if (given === undefined) {
      const value = rest.shift();
      if (value === undefined || (value.startsWith("-") && names.has(split(value)[0] ?? ""))) {
        throw new UsageError(`${command}: ${flag} has no value, expected one after it`);
      }
    } else if (given === "") {
      throw new UsageError(`${command}: ${flag} has an empty value, expected one after it`);
    }
  }
  const option = required.find((name) => !seen.has(name));
  const missing = needed[all - places] ?? (option === undefined ? undefined : `--${option}`);
  if (missing !== undefined) throw new UsageError(`${command}: ${missing} is missing, expected it`);
}

function split(word: string): readonly [string, string?] {
  const at = word.indexOf("=");
  return at < 0 ? [word] : [word.slice(0, at), word.slice(at + 1)];
}

function tooMany(command: string, word: string): UsageError {
  return new UsageError(`${command}: '${word}' is one word too many, expected as --help says`);
}

/** A whole number of an option, or undefined where the option is not given. */
export function whole(
  name: string,
  text: string | undefined,
  lo = 0,
  hi = MAX,
): number | undefined {
  if (text === undefined) return undefined;
  const n = /^(?:[0-9]+|0x[0-9a-f]+)$/i.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(n) && n >= lo && n <= hi) return n;
  const top = hi === MAX ? "2^53-1" : String(hi);
  throw new UsageError(`${name}: '${text}' is not a whole number from ${lo} to ${top}`);
}

/** The numbers of RUN_LIKE; undefined where the scenario's own holds. */
export interface RunNumbers {
  readonly seed: number;
  readonly vcpus: number | undefined;
  readonly tasks: number | undefined;
}

export function runNumbers(args: {
  readonly seed: string | undefined;
  readonly vcpus: string | undefined;
  readonly tasks: string | undefined;
}): RunNumbers {
  return {
    seed: whole("seed", args.seed) ?? 1,
    vcpus: whole("vcpus", args.vcpus, 1, 8),
    tasks: whole("tasks", args.tasks, MIN_TASKS, MAX_TASKS),
  };
}

/** A list of names with commas, each one of `names`; "all" is all of them. */
export function chosen<T extends string>(
  what: string,
  text: string | undefined,
  names: readonly T[],
): readonly T[] {
  if (text === undefined || text === "all") return names;
  const words = text.split(",").map((w) => w.trim());
  const out = words.map((word) => {
    const found = names.find((n) => n === word);
    if (found === undefined) throw unknown(what, word, [...names, "all"]);
    return found;
  });
  return [...new Set(out)];
}

/** Options of every command that searches. */
export const SEARCH_LIKE = {
  ...RUN_LIKE,
  seconds: { type: "string", valueHint: "N", description: "stop after N seconds (15); 0 is never" },
  shard: { type: "string", valueHint: "I/N", description: "take part I of N, counted from 0" },
  deterministic: { type: "boolean", description: "leave wall-clock times out of JSON" },
} as const satisfies ArgsDef;

/** A shard `i/n`. */
export function shard(
  text: string | undefined,
): { readonly index: number; readonly of: number } | undefined {
  if (text === undefined) return undefined;
  const m = /^([0-9]{1,6})\/([0-9]{1,6})$/.exec(text);
  const [index, of] = [Number(m?.[1]), Number(m?.[2])];
  if (m === null || of < 1 || index >= of) {
    throw new UsageError(`shard: '${text}' is not I/N with 0 <= I < N`);
  }
  return { index, of };
}

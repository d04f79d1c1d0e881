// The benchmark programs as data: what is run with which arguments, and the recorded facts that every run is held
// against. Sources and builds are in programs/; scripts/bench-programs.mjs makes the builds and the facts.
import * as v from "valibot";

/** The programs of the mean: what a kernel's code is made of, by gcc -O2 -mgeneral-regs-only. */
export const MIX = ["fib", "sieve", "crc32", "qsort", "kmix"] as const;

export type ProgramName =
  (typeof MIX)[number] | "wide" | "rewrite" | "beside" | "trivial" | "touch";
export const PROGRAMS: readonly ProgramName[] = [
  ...MIX,
  "wide",
  "rewrite",
  "beside",
  "trivial",
  "touch",
];

/** One run of a program: `n` times its work, in a mode that the program's head explains. */
export interface Job {
  readonly program: ProgramName;
  readonly n: number;
  readonly mode: number;
}

const job = (program: ProgramName, n: number, mode = 0): Job => ({ program, n, mode });

/** Small enough that their instructions were counted natively, by stepping. */
export const COUNTED: readonly Job[] = [
  job("fib", 1, 18),
  job("sieve", 1, 5000),
  job("crc32", 2, 4096),
  job("qsort", 1, 1000),
  job("kmix", 1),
  job("wide", 10),
  job("rewrite", 1, 0),
  job("rewrite", 2, 1),
  job("beside", 1, 0),
  job("beside", 1, 1),
  job("trivial", 1),
  job("touch", 8),
];

/** How long the runs are: "full" is about two seconds of qemu-x86_64 each, so that what a process does once weighs little. */
export type Size = "quick" | "full";
const QUICK = 16;
const FULL: readonly Job[] = [
  job("fib", 480),
  job("sieve", 240),
  job("crc32", 8800),
  job("qsort", 288),
  job("kmix", 24_000),
  job("wide", 208_000),
];

/** The run of a program of the mean, or of the wide one. */
export function jobOf(program: ProgramName, size: Size): Job {
  const full = FULL.find((j) => j.program === program);
  if (full === undefined) throw new Error(`${program} has no size`);
  return size === "full" ? full : { ...full, n: full.n / QUICK };
}

/** 2,000 rewritings of 10,000 calls each, and the same calls without. */
export const REWRITE = { plain: job("rewrite", 2000, 0), changed: job("rewrite", 2000, 1) };
/** Data on a page of their own, and beside the code. */
export const BESIDE = { plain: job("beside", 2000, 0), changed: job("beside", 2000, 1) };
export const TRIVIAL: Job = job("trivial", 1);
/** Touches nearly all of a machine of 128 MiB. */
export const TOUCH: Job = job("touch", 120);

/** Every run that has recorded facts. */
export const RECORDED: readonly Job[] = [
  ...COUNTED,
  ...FULL.flatMap((j) => [jobOf(j.program, "quick"), j]),
  REWRITE.plain,
  REWRITE.changed,
  BESIDE.plain,
  BESIDE.changed,
  TOUCH,
];

export const keyOf = (j: Job): string => `${j.program} ${j.n} ${j.mode}`;
export const argumentsOf = (j: Job): readonly string[] => [String(j.n), String(j.mode)];

const Fact = v.strictObject({ out: v.string(), insns: v.number(), counted: v.boolean() });
/**
 * What a run prints natively and how many instructions it takes: `counted` where a native stepper counted them, otherwise
 * as recorded from this machine.
 */
export type Fact = v.InferOutput<typeof Fact>;
export type Facts = Readonly<Record<string, Fact>>;

/** Reads facts.json. Throws when it has another form. */
export function parseFacts(text: string): Facts {
  const json: unknown = JSON.parse(text);
  return v.parse(v.record(v.string(), Fact), json);
}

/** A run that came out otherwise than recorded. */
export class BenchError extends Error {
  override name = "BenchError";
}

/** What a run gave. `insns` is absent where nobody counts. */
export interface Outcome {
  readonly out: string;
  readonly insns?: number;
}

/** Throws BenchError unless the run printed what it prints natively, in as many instructions as recorded. */
export function checkOutcome(facts: Facts, j: Job, where: string, seen: Outcome): void {
  const fact = facts[keyOf(j)];
  if (fact === undefined) throw new BenchError(`bench: no facts are recorded of '${keyOf(j)}'`);
  const wrong = (what: string, got: string, want: string): BenchError =>
    new BenchError(`bench: ${keyOf(j)} on ${where}: ${what} ${got}, expected ${want}`);
  if (seen.out !== fact.out) {
    throw wrong("printed", JSON.stringify(seen.out), JSON.stringify(fact.out));
  }
  if (seen.insns !== undefined && seen.insns !== fact.insns) {
    throw wrong("took", `${seen.insns} instructions`, `${fact.insns}`);
  }
}

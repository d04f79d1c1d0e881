// `bench core`: how fast guest code runs, against the same program by qemu-x86_64 in user mode and natively, in the same
// rounds; what patching and data beside code cost; start-up and memory of a whole process. Every run's output and
// instruction count is checked before its time counts.
import {
  BESIDE,
  checkOutcome,
  jobOf,
  MIX,
  REWRITE,
  TOUCH,
  TRIVIAL,
  type Job,
  type ProgramName,
  type Size,
} from "./programs.ts";
import type { Row } from "./row.ts";
import { derived, geometricMean, measured, minOf, skipped } from "./row.ts";
import { patchRows } from "./patch.ts";
import { RAM_BYTES } from "./sample.ts";
import type { World } from "./world.ts";

export interface BenchConfig {
  readonly rounds: number;
  readonly size: Size;
  /** Numbers of task slots of `latency`, where not its own. */
  readonly tasks?: readonly number[];
}

/** Times of one program, in CPU seconds, by rounds. */
interface Times {
  readonly native: number[];
  readonly qemu: number[];
  readonly exec: number[];
  readonly later: number[];
  insns: number;
}

const WIDE = "wide";
const MEAN_TARGET = { bound: "at least", value: 0.28 } as const;
const WIDE_TARGET = { bound: "at least", value: 0.12 } as const;
const MIB = 1 << 20;

/** Runs of our own process for one sample: a quick one is short, so a second run shows what the first one paid once. */
const timesOf = (size: Size): number => (size === "quick" ? 2 : 1);

async function sampleOnce(world: World, job: Job, size: Size, t: Times): Promise<void> {
  if (world.noNative === undefined) {
    const r = await world.native(job);
    checkOutcome(world.facts, job, "the CPU", r);
    t.native.push(r.seconds);
  }
  if (world.noQemu === undefined) {
    const r = await world.qemu(job);
    checkOutcome(world.facts, job, "qemu-x86_64", r);
    t.qemu.push(r.seconds);
  }
  const runs = await world.own(job, timesOf(size));
  for (const r of runs) checkOutcome(world.facts, job, "exec", r);
  const [first, ...later] = runs.map((r) => r.seconds);
  if (first !== undefined) t.exec.push(first);
  t.later.push(...later);
  t.insns = runs[0]?.insns ?? 0;
}

const ratios = (above: readonly number[], below: readonly number[]): readonly number[] =>
  above.map((a, i) => a / (below[i] ?? NaN));

/** The ratio of best times, where both sides were measured. */
function ratioOf(above: readonly number[], below: readonly number[]): number | undefined {
  return above.length > 0 && below.length > 0 ? minOf(above) / minOf(below) : undefined;
}

function programRows(world: World, program: ProgramName, t: Times): readonly Row[] {
  const seconds = (by: string, definition: string) => ({
    name: `${program}.${by}`,
    unit: "s",
    definition: `CPU time of ${definition}, first to last instruction; the best round`,
  });
  const other = (by: "native" | "qemu", what: string, why: string | undefined): Row => {
    const n = seconds(by, what);
    return why === undefined ? measured(n, t[by], "least") : skipped(n, why);
  };
  const mips = t.exec.map((s) => t.insns / s / 1e6);
  const exec = "exec in a new process, decoding and the engine's compiling of the core included";
  const rows = [
    other("native", "the program itself", world.noNative),
    other("qemu", "the program in qemu-x86_64, translation included", world.noQemu),
    measured(seconds("exec", exec), t.exec, "least"),
    measured(
      {
        name: `${program}.mips`,
        unit: "Minsns/s",
        definition: `${t.insns} instructions by exec's CPU time`,
      },
      mips,
      "most",
    ),
  ];
  const ratio = {
    name: `${program}.ratio`,
    unit: "x qemu",
    definition: "qemu's best CPU time by exec's",
    ...(program === WIDE ? { target: WIDE_TARGET } : {}),
  };
  const value = ratioOf(t.qemu, t.exec);
  if (value === undefined) return [...rows, skipped(ratio, world.noQemu ?? "no round was made")];
  rows.push(derived(ratio, value, ratios(t.qemu, t.exec)));
  const later = ratioOf(t.qemu, t.later);
  if (later !== undefined) {
    const n = {
      name: `${program}.later`,
      unit: "x qemu",
      definition: "the same for a later run in the same process, whose core is compiled",
    };
    rows.push(derived(n, later, []));
  }
  return rows;
}

function meanRow(world: World, times: ReadonlyMap<ProgramName, Times>): Row {
  const n = {
    name: "mean.ratio",
    unit: "x qemu",
    definition: `geometric mean of the ratios of ${MIX.join(", ")}`,
    target: MEAN_TARGET,
  };
  const all = MIX.map((p) => times.get(p));
  const values = all.map((t) => (t === undefined ? undefined : ratioOf(t.qemu, t.exec)));
  const known = values.filter((x) => x !== undefined);
  if (known.length < MIX.length) return skipped(n, world.noQemu ?? "no round was made");
  const nrRounds = Math.min(...all.map((t) => t?.exec.length ?? 0));
  const byRound = Array.from({ length: nrRounds }, (_, i) =>
    geometricMean(all.map((t) => (t?.qemu[i] ?? NaN) / (t?.exec[i] ?? NaN))),
  );
  return derived(n, geometricMean(known), byRound);
}

/** A program in its two modes, whose times are compared. */
async function pairRow(
  world: World,
  pair: { readonly plain: Job; readonly changed: Job },
  rounds: number,
  n: { readonly name: string; readonly definition: string; readonly most: number },
): Promise<Row> {
  const plain: number[] = [];
  const changed: number[] = [];
  for (let i = 0; i < rounds && (await world.goOn(n.name)); i++) {
    for (const [job, to] of [
      [pair.plain, plain],
      [pair.changed, changed],
    ] as const) {
      // The second run of a process: the engine's compiling is the same on both sides and would hide the difference.
      const runs = await world.own(job, 2);
      for (const r of runs) checkOutcome(world.facts, job, "exec", r);
      to.push(minOf(runs.map((r) => r.seconds)));
    }
  }
  const named = {
    name: n.name,
    unit: "x",
    definition: n.definition,
    target: { bound: "at most", value: n.most } as const,
  };
  const value = ratioOf(changed, plain);
  return value === undefined
    ? skipped(named, "no round was made")
    : derived(named, value, ratios(changed, plain));
}

async function processRows(world: World, rounds: number): Promise<readonly Row[]> {
  const starts: number[] = [];
  const cpus: number[] = [];
  const peaks: number[] = [];
  for (let i = 0; i < 2 * rounds && (await world.goOn("start-up")); i++) {
    const r = await world.whole(TRIVIAL);
    checkOutcome(world.facts, TRIVIAL, "exec", r);
    starts.push(r.seconds);
    cpus.push(r.cpuSeconds);
  }
  for (let i = 0; i < rounds && (await world.goOn("memory")); i++) {
    const r = await world.whole(TOUCH);
    checkOutcome(world.facts, TOUCH, "exec", r);
    peaks.push((r.peakBytes - RAM_BYTES) / MIB);
  }
  const start = {
    name: "exec.start",
    unit: "s",
    definition: "wall-clock time of `quiesce exec` on a trivial program, from its start to its end",
    target: { bound: "at most", value: 0.3 } as const,
  };
  const cpu = {
    name: "exec.start.cpu",
    unit: "s",
    definition: "CPU time of the same, all threads",
  };
  const memory = {
    name: "exec.memory",
    unit: "MiB",
    definition:
      "peak resident memory of a process whose program touches 120 of 128 MiB, less these 128",
    target: { bound: "at most", value: 64 } as const,
  };
  const none = "no round was made";
  return [
    starts.length === 0 ? skipped(start, none) : measured(start, starts, "least"),
    cpus.length === 0 ? skipped(cpu, none) : measured(cpu, cpus, "least"),
    peaks.length === 0 ? skipped(memory, none) : measured(memory, peaks, "least"),
  ];
}

/** Measures the core. */
export async function benchCore(world: World, config: BenchConfig): Promise<readonly Row[]> {
  const programs: readonly ProgramName[] = [...MIX, WIDE];
  const times = new Map(
    programs.map((p): [ProgramName, Times] => [
      p,
      { native: [], qemu: [], exec: [], later: [], insns: 0 },
    ]),
  );
  for (let round = 0; round < config.rounds; round++) {
    for (const [program, t] of times) {
      if (!(await world.goOn(`round ${round + 1} of ${config.rounds}: ${program}`))) break;
      await sampleOnce(world, jobOf(program, config.size), config.size, t);
    }
  }
  return [
    ...[...times].flatMap(([p, t]) => (t.exec.length === 0 ? [] : programRows(world, p, t))),
    meanRow(world, times),
    await pairRow(world, REWRITE, config.rounds, {
      name: "rewrite.exec",
      definition:
        "CPU time of 2,000 rewritings of a 5-byte entry by the program, 10,000 calls after each, by that of the same calls without",
      most: 2,
    }),
    ...(await patchRows(world, config.rounds)),
    await pairRow(world, BESIDE, config.rounds, {
      name: "beside.exec",
      definition:
        "CPU time of a function whose data lie on its own page by that of the same with its data on another one",
      most: 1.3,
    }),
    ...(await processRows(world, config.rounds)),
  ];
}

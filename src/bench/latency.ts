// `bench latency`: every mechanism that waits for something, under the default scenario's load, by the number of tasks:
// latency, pause and the cost of an attempt in virtual instructions, and the line through them, whose slope is what a task costs.
// No clock is looked at for these: the same commit gives the same figures everywhere. wall.ts has what a clock says.
import Table from "cli-table3";
import type { Trace } from "../check/index.ts";
import { prepare, runOne } from "../explore/index.ts";
import { MECHANISMS, type Mechanism } from "../patch/index.ts";
import type { BenchConfig } from "./core.ts";
import { derived, medianOf, skipped, type Row } from "./row.ts";
import { BenchError } from "./programs.ts";
import { isWall, wallRows, wallText } from "./wall.ts";
import type { World } from "./world.ts";

/** Numbers of task slots; those in use are what is counted. */
export const LATENCY_TASKS: readonly number[] = [64, 128, 256, 512, 1024];

/** What a run came to. null: the mechanism did not put the patch in force. */
interface Sample {
  readonly tasks: number;
  readonly latency: number | null;
  readonly pause: number;
  readonly modelled: number;
  readonly attempts: number;
  /** Modelled cost of the first attempt. */
  readonly attempt: number;
  readonly why: string;
}

const FIGURES = ["latency", "pause", "modelled", "attempts", "attempt"] as const;
type Figure = (typeof FIGURES)[number];

const MEANS: Readonly<Record<Figure, string>> = {
  latency: "from the request until the mechanism reports that the patch is in force",
  pause: "the longest time that a task runnable at the request was kept from running",
  modelled: "the part of the latency that is the modelled cost of the host's work",
  attempts: "how often it looked whether the moment had come; it sleeps between two attempts",
  attempt: "the modelled cost of the first attempt, which looks at every task",
};

const UNITS: Readonly<Record<Figure, string>> = {
  latency: "insns",
  pause: "insns",
  modelled: "insns",
  attempts: "",
  attempt: "insns",
};

/** A least-squares line y = at0 + slope x. r2: the part of the variance of y that it explains, 1 where there is none. */
export interface Line {
  readonly at0: number;
  readonly slope: number;
  readonly r2: number;
}

/** The line through points; undefined for fewer than two different x. */
export function fitLine(points: readonly (readonly [x: number, y: number])[]): Line | undefined {
  const n = points.length;
  const mx = points.reduce((s, [x]) => s + x, 0) / n;
  const my = points.reduce((s, [, y]) => s + y, 0) / n;
  const sxx = points.reduce((s, [x]) => s + (x - mx) ** 2, 0);
  const syy = points.reduce((s, [, y]) => s + (y - my) ** 2, 0);
  const sxy = points.reduce((s, [x, y]) => s + (x - mx) * (y - my), 0);
  if (n < 2 || sxx === 0) return undefined;
  const slope = sxy / sxx;
  return { at0: my - slope * mx, slope, r2: syy === 0 ? 1 : sxy ** 2 / (sxx * syy) };
}

/** The mechanisms that wait for a moment; the controls do not. */
function waiting(): readonly Mechanism[] {
  return Object.values(MECHANISMS).filter(
    (m) => m.leaves === "patched set" || m.leaves === "kernel",
  );
}

/** The tries that somebody held up, and the one that nobody did. */
function attemptsOf(trace: Trace): number {
  return new Set(trace.held.map((h) => h.nr)).size + 1;
}

function figureOf(s: Sample, figure: Figure): number | null {
  return s.latency === null ? null : s[figure];
}

function rowsOf(mechanism: string, samples: readonly Sample[]): readonly Row[] {
  const sizes = [...new Set(samples.map((s) => s.tasks))];
  return FIGURES.flatMap((figure) => {
    const points: (readonly [number, number])[] = [];
    const rows = sizes.map((tasks) => {
      const own = samples.filter((s) => s.tasks === tasks);
      const name = `${mechanism}.${figure}.${tasks}`;
      const n = {
        name,
        unit: UNITS[figure],
        definition: `${MEANS[figure]}, with ${tasks} tasks; the median of the seeds`,
      };
      const values = own.map((s) => figureOf(s, figure)).filter((x) => x !== null);
      if (values.length === 0) return skipped(n, own[0]?.why ?? "no run was made");
      points.push(...values.map((y) => [tasks, y] as const));
      return derived(n, medianOf(values), values);
    });
    if (figure === "attempts") return rows; // a matter of luck, not of tasks
    const line = fitLine(points);
    const slope = {
      name: `${mechanism}.${figure}.task`,
      unit: "insns",
      definition: `what one more task adds: the slope of the least-squares line through ${mechanism}.${figure}.N`,
    };
    const r2 = {
      name: `${mechanism}.${figure}.r2`,
      unit: "",
      definition: "the part of the variance that the line explains",
    };
    if (line === undefined) {
      const why = "there are fewer than two numbers of tasks at which it was applied";
      return [...rows, skipped(slope, why), skipped(r2, why)];
    }
    return [...rows, derived(slope, line.slope, []), derived(r2, line.r2, [])];
  });
}

/** Runs every mechanism at every number of tasks, under as many seeds as there are rounds. */
export async function benchLatency(world: World, config: BenchConfig): Promise<readonly Row[]> {
  const mechanisms = waiting();
  const samples = new Map(mechanisms.map((m): [string, Sample[]] => [m.name, []]));
  const sizes = config.tasks ?? LATENCY_TASKS.slice(0, config.size === "quick" ? 2 : undefined);
  let goesOn = true;
  for (const slots of sizes) {
    goesOn &&= await world.goOn(`${slots} tasks: boot`);
    if (!goesOn) break;
    const built = await world.scenario(slots);
    const prepared = prepare(built, world.core);
    for (const m of mechanisms) {
      for (let seed = 1; goesOn && seed <= config.rounds; seed++) {
        const { report, trace } = runOne(prepared, m, { seed, at: built.scenario.requestAt });
        if (report.verdict !== "consistent" && trace.end !== "budget") {
          const what = report.violations[0]?.message ?? "violated";
          throw new BenchError(
            `bench: ${m.name} with ${report.tasks} tasks, seed ${seed}: ${what}, expected a consistent run`,
          );
        }
        samples.get(m.name)?.push({
          tasks: report.tasks,
          latency: report.latencyInsns,
          pause: report.pauseInsns,
          modelled: report.modelledInsns,
          attempts: attemptsOf(trace),
          attempt: prepared.session.agent.state().progress[0]?.modelled ?? report.modelledInsns,
          why: `${report.result}: ${report.reason}`,
        });
        goesOn = await world.goOn(`${slots} tasks: ${m.name}`);
      }
    }
  }
  const rows = mechanisms.flatMap((m) => rowsOf(m.name, samples.get(m.name) ?? []));
  const isAsked = config.tasks !== undefined;
  return isAsked || !goesOn ? rows : [...rows, ...(await wallRows(world))];
}

/** No lines between the rows. */
const PLAIN = { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" } as const;

function shown(x: number | null | undefined, digits = 0): string {
  if (x === null || x === undefined) return "-";
  const [whole = "", part] = x.toFixed(digits).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, " ");
  return part === undefined ? grouped : `${grouped}.${part}`;
}

/** A table for each figure: a mechanism a line, a number of tasks a column, and the line through them. */
export function latencyText(all: readonly Row[]): string {
  const rows = all.filter((r) => !isWall(r));
  const found = new Map(rows.map((r) => [r.name, r]));
  const names = [...new Set(rows.map((r) => r.name.split(".")[0] ?? ""))];
  const last = rows.map((r) => r.name.split(".")[2] ?? "");
  const sizes = [...new Set(last.filter((s) => /^[0-9]+$/.test(s)))];
  const out: string[] = [];
  for (const figure of FIGURES) {
    const table = new Table({
      head: [figure, ...sizes.map((s) => `${s} tasks`), "per task", "R²"],
      style: { head: [], border: [] },
      chars: PLAIN,
      colAligns: ["left", ...sizes.map(() => "right" as const), "right", "right"],
    });
    for (const m of names) {
      const value = (of: string): number | null | undefined =>
        found.get(`${m}.${figure}.${of}`)?.value;
      table.push([
        m,
        ...sizes.map((s) => shown(value(s))),
        shown(value("task"), 1),
        shown(value("r2"), 4),
      ]);
    }
    const unit = UNITS[figure] === "" ? "" : ", in instructions of one vCPU's virtual time";
    out.push(table.toString(), `${MEANS[figure]}${unit}\n`);
  }
  for (const r of rows) {
    if (r.skipped !== null && r.name.includes(".latency.")) out.push(`${r.name}: ${r.skipped}`);
  }
  if (rows.length < all.length) out.push(wallText(all));
  return `${out.join("\n").trimEnd()}\n`;
}

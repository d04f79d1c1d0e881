// How long a whole run of the default scenario takes on the wall clock, by mechanism: from its ready mark through the request
// to the workload's end, with the judgement. What happens before, assembling and booting, is not in it.
import Table from "cli-table3";
import { prepare, runOne } from "../explore/index.ts";
import { MECHANISMS } from "../patch/index.ts";
import { measured, type Row } from "./row.ts";
import type { World } from "./world.ts";

/** Slots for tasks that the scenario has of its own. */
const SLOTS = 64;
/** The first run of each mechanism has the engine compile what it is made of. */
const SEEDS = 7;
const TARGET_S = 0.2;

/** Measures every mechanism, the controls too; the seeds are the samples. */
export async function wallRows(world: World): Promise<readonly Row[]> {
  const built = await world.scenario(SLOTS);
  const prepared = prepare(built, world.core);
  const rows: Row[] = [];
  for (const m of Object.values(MECHANISMS)) {
    if (!(await world.goOn(`wall clock: ${m.name}`))) break;
    const samples: number[] = [];
    for (let seed = 1; seed <= SEEDS; seed++) {
      const start = world.wallSeconds();
      runOne(prepared, m, { seed, at: built.scenario.requestAt });
      samples.push(world.wallSeconds() - start);
    }
    const n = {
      name: `${m.name}.wall`,
      unit: "s",
      definition: `wall-clock seconds of a run of the default scenario under ${m.name}, boot excluded, judgement included`,
      target: { bound: "at most", value: TARGET_S } as const,
    };
    rows.push(measured(n, samples, "least"));
  }
  return rows;
}

export function isWall(r: Row): boolean {
  return r.name.endsWith(".wall");
}

/** A table of the rows that are of the wall clock. */
export function wallText(rows: readonly Row[]): string {
  const table = new Table({
    head: ["wall", "best", "median", "worst", ""],
    style: { head: [], border: [] },
    chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" },
    colAligns: ["left", "right", "right", "right", "left"],
  });
  const shown = (x: number | null): string => (x === null ? "-" : (1000 * x).toFixed(0));
  for (const r of rows.filter(isWall)) {
    const met = r.met === true ? "met" : "MISSED";
    table.push([r.name.replace(/\.wall$/, ""), shown(r.value), shown(r.median), shown(r.max), met]);
  }
  const what = "a run of the default scenario, from the ready mark to its end, with the judgement";
  return `${table.toString()}\n${what}, in ms of the wall clock; at most ${1000 * TARGET_S}\n`;
}

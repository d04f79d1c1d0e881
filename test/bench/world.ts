// A world whose clocks and runs are made up, so that tests see the benchmark's arithmetic and not this computer.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { keyOf, type Job } from "../../src/bench/programs.ts";
import { loadScenario, withTasks } from "../../src/scenario/index.ts";
import { buildNamed, kernelFile } from "../scenario/files.ts";
import { storedFacts, type World } from "../../src/bench/world.ts";

const TOP = join(import.meta.dirname, "../..");

/** What a run is said to take, and to print where that is not the recorded output. */
export interface Said {
  readonly seconds: number;
  readonly out?: string;
  readonly insns?: number;
}

export interface FakeWorld extends World {
  /** Every run that was made, in order. */
  readonly runs: string[];
}

/** `seconds` says how long a run takes by whom; the clocks advance by a millisecond at each look. */
export function fakeWorld(
  say: (by: string, job: Job, nth: number) => Said,
  no?: string,
): FakeWorld {
  const facts = storedFacts(TOP);
  const runs: string[] = [];
  let now = 0;
  const tick = (): number => (now += 0.001);
  const run = (by: string, job: Job, nth: number) => {
    runs.push(`${by} ${keyOf(job)}`);
    const said = say(by, job, nth);
    const fact = facts[keyOf(job)];
    return { out: fact?.out ?? "", insns: fact?.insns ?? 0, ...said };
  };
  return {
    runs,
    core: new WebAssembly.Module(readFileSync(join(TOP, "dist/core.wasm"))),
    facts,
    noNative: no,
    noQemu: no,
    native: async (job) => run("native", job, 0),
    qemu: async (job) => run("qemu", job, 0),
    own: async (job, times) => Array.from({ length: times }, (_, i) => run("exec", job, i)),
    whole: async (job) => ({ ...run("whole", job, 0), cpuSeconds: 0.1, peakBytes: 180 << 20 }),
    cpuSeconds: tick,
    wallSeconds: tick,
    scenario: (tasks) =>
      buildNamed("default", withTasks(loadScenario("default", kernelFile), tasks)),
    goOn: async (what) => what !== "rewrite.host",
    close: () => {},
  };
}

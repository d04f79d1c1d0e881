// The benchmarks by name. One is a function from a World and a configuration to rows; a new one is a line here.
import { benchCore, type BenchConfig } from "./core.ts";
import { benchLatency, latencyText } from "./latency.ts";
import { benchRestore } from "./restore.ts";
import type { Row } from "./row.ts";
import type { World } from "./world.ts";

export interface Bench {
  readonly summary: string;
  readonly measure: (world: World, config: BenchConfig) => Promise<readonly Row[]>;
  /** Rounds where nobody asks for a number, if not the common one. */
  readonly rounds?: number;
  /** Its own table, where one is better than the common one. */
  readonly text?: (rows: readonly Row[]) => string;
}

export const BENCHES: Readonly<Record<string, Bench>> = {
  core: {
    summary: "guest code against qemu-x86_64 and native, patched entries, start-up, memory",
    measure: benchCore,
  },
  latency: {
    summary: "each mechanism under load, by the number of tasks, in virtual instructions",
    measure: benchLatency,
    rounds: 1,
    text: latencyText,
  },
  restore: {
    summary: "snapshots put back, and vCPUs switched, a second",
    measure: benchRestore,
  },
};

export type { BenchConfig } from "./core.ts";
export { LATENCY_TASKS } from "./latency.ts";
export { BenchError, type Size } from "./programs.ts";
export { missed, type Row, type Target } from "./row.ts";
export { benchText } from "./text.ts";
export { makeWorld, type World, type WorldConfig } from "./world.ts";

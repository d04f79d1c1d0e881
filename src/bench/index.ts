// The benchmarks by name. One is a function from a World and a configuration to rows; a new one is a line here.
import { benchCore, type BenchConfig } from "./core.ts";
import { benchRestore } from "./restore.ts";
import type { Row } from "./row.ts";
import type { World } from "./world.ts";

export interface Bench {
  readonly summary: string;
  readonly measure: (world: World, config: BenchConfig) => Promise<readonly Row[]>;
}

export const BENCHES: Readonly<Record<string, Bench>> = {
  core: {
    summary: "guest code against qemu-x86_64 and native, patched entries, start-up, memory",
    measure: benchCore,
  },
  restore: {
    summary: "snapshots put back, and vCPUs switched, a second",
    measure: benchRestore,
  },
};

export type { BenchConfig } from "./core.ts";
export { BenchError, type Size } from "./programs.ts";
export { missed, type Row, type Target } from "./row.ts";
export { benchText } from "./text.ts";
export { makeWorld, type World, type WorldConfig } from "./world.ts";

// Where a function can be hooked. kernel: kernel/trace/ftrace.c, ftrace_location().
import { look, type Program } from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import { readRecords } from "./state.ts";

const ENDBR64_SIZE = 4n;

/** The fentry site of the function that starts at `va`, also behind an endbr64; undefined when it has none. */
export function* ftraceLocation(image: Image, va: bigint): Program<bigint | undefined> {
  return yield* look("ftrace_lock", (g) => ({
    value: readRecords(g.read, image).find((r) => r.ip === va || r.ip === va + ENDBR64_SIZE)?.ip,
    cost: 0,
  }));
}

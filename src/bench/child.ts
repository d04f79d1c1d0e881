// A process of its own for runs of one program: `node child.js TOP PROGRAM N MODE TIMES` prints them as JSON. Started by
// world.ts, so that each sample begins with a cold engine, as the other emulators' do.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { prepareEngine } from "../machine/index.ts";
import { PROGRAMS } from "./programs.ts";
import { runOwn } from "./sample.ts";
import { cpuSeconds, storedElf } from "./world.ts";

const [top = "", name, n, mode, times] = process.argv.slice(2);
const program = PROGRAMS.find((p) => p === name);
if (program === undefined) {
  process.stderr.write(`error: bench: there is no program '${name}'\n`);
  process.exit(2);
}
prepareEngine(setFlagsFromString);
const core = new WebAssembly.Module(readFileSync(join(top, "dist/core.wasm")));
const elf = storedElf(top, program);
const job = { program, n: Number(n), mode: Number(mode) };
const samples = Array.from({ length: Number(times) }, () => runOwn(core, elf, job, cpuSeconds));
process.stdout.write(JSON.stringify(samples));

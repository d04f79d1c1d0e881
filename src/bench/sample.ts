// One program run once by exec, in this process: its output, its instructions, and the CPU time from its first to its last
// instruction. The clock is the caller's.
import { readProgram, UserProcess } from "../user/index.ts";
import { BenchError, argumentsOf, keyOf, type Job } from "./programs.ts";

/** RAM of the machine that runs a benchmark program. */
export const RAM_BYTES = 128 << 20;

export interface OwnSample {
  readonly out: string;
  readonly insns: number;
  /** CPU seconds, all threads of the process: decoding and the engine's compiling of the core are in it. */
  readonly seconds: number;
}

/** Runs a job. Throws BenchError when the program does not exit with 0. */
export function runOwn(
  core: WebAssembly.Module,
  elf: Uint8Array,
  job: Job,
  cpuSeconds: () => number,
): OwnSample {
  let out = "";
  const process = new UserProcess({
    core,
    ramBytes: RAM_BYTES,
    program: readProgram(elf, job.program),
    argv: [job.program, ...argumentsOf(job)],
    env: [],
    exe: `/${job.program}`,
    seed: 1,
    io: {
      write: (_, bytes) => {
        out += new TextDecoder().decode(bytes);
        return bytes.length;
      },
      read: () => new Uint8Array(0),
    },
  });
  const start = cpuSeconds();
  const { end, insns } = process.run();
  const seconds = cpuSeconds() - start;
  if (end.kind !== "exit" || end.status !== 0) {
    const how = end.kind === "exit" ? `exit ${end.status}` : end.kind;
    throw new BenchError(`bench: ${keyOf(job)}: ended by ${how}, expected exit 0`);
  }
  return { out, insns, seconds };
}

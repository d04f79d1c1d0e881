// The door of the benchmarks: stored programs, processes, clocks. Everything else in this folder is given a World.
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import * as v from "valibot";
import type { Facts, Job, ProgramName } from "./programs.ts";
import { argumentsOf, BenchError, keyOf, parseFacts } from "./programs.ts";
import type { BuiltScenario } from "../scenario/index.ts";
import type { OwnSample } from "./sample.ts";

/** A run by somebody else's CPU: what it printed, and its CPU seconds by its own clock, from start to end of its work. */
export interface OtherSample {
  readonly out: string;
  readonly seconds: number;
}

/** A whole process of ours: from the command to its end. */
export interface WholeRun {
  /** On the wall clock. */
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** The most memory that it had, in bytes. */
  readonly peakBytes: number;
  readonly out: string;
}

export interface World {
  readonly core: WebAssembly.Module;
  readonly facts: Facts;
  /** Why there is no native run here, or undefined. */
  readonly noNative: string | undefined;
  /** Why there is no run by qemu-x86_64 here, or undefined. */
  readonly noQemu: string | undefined;
  /** Runs a job natively. */
  native(job: Job): Promise<OtherSample>;
  /** Runs a job by qemu-x86_64 in user mode. */
  qemu(job: Job): Promise<OtherSample>;
  /** Runs a job `times` over in a new process of ours. */
  own(job: Job, times: number): Promise<readonly OwnSample[]>;
  /** Runs the command `quiesce exec` on a job in a new process. */
  whole(job: Job): Promise<WholeRun>;
  /** CPU seconds that this process has used. */
  cpuSeconds(): number;
  /** Wall-clock seconds of a steady clock. */
  wallSeconds(): number;
  /** The default scenario with so many task slots. */
  scenario(tasks: number): Promise<BuiltScenario>;
  /** Says what is done now; false asks to end with what there is. */
  goOn(what: string): Promise<boolean>;
  close(): void;
}

/** What the command gives to a world. */
export interface WorldConfig {
  /** The package's folder. */
  readonly top: string;
  readonly core: WebAssembly.Module;
  readonly scenario: (tasks: number) => Promise<BuiltScenario>;
  readonly goOn: (what: string) => Promise<boolean>;
}

const HERE = dirname(fileURLToPath(import.meta.url));
const folderOf = (top: string): string => join(top, "src/bench/programs");

/** The stored build of a program. */
export function storedElf(top: string, program: ProgramName): Uint8Array {
  const text = readFileSync(join(folderOf(top), `${program}.gz.b64`), "utf8");
  return new Uint8Array(gunzipSync(Buffer.from(text, "base64")));
}

export function storedFacts(top: string): Facts {
  return parseFacts(readFileSync(join(folderOf(top), "facts.json"), "utf8"));
}

export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a process to its end. Signals reach us meanwhile. */
function run(file: string, args: readonly string[]): Promise<Ended> {
  return new Promise((done, fail) => {
    const child = spawn(file, [...args], { stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    let err = "";
    child.stdout.on("data", (b: Buffer) => (out += b.toString()));
    child.stderr.on("data", (b: Buffer) => (err += b.toString()));
    child.on("error", fail);
    child.on("close", (status) => done({ status, out, err }));
  });
}

const Own = v.array(v.object({ out: v.string(), insns: v.number(), seconds: v.number() }));
const Usage = v.object({
  maxRSS: v.number(),
  userCPUTime: v.number(),
  systemCPUTime: v.number(),
});

/** Prints the resource usage of a process at its end, behind its own words on standard error. */
const AT_EXIT =
  'process.on("exit",()=>process.stderr.write("\\n"+JSON.stringify(process.resourceUsage())))';

/** Makes the world of a run; it has a folder of its own with the programs until it is closed. */
export function makeWorld({ top, core, scenario, goOn }: WorldConfig): World {
  const folder = mkdtempSync(join(tmpdir(), "quiesce-bench-"));
  const unpacked = new Set<string>();
  const pathOf = (program: ProgramName): string => {
    const path = join(folder, program);
    if (!unpacked.has(program)) {
      writeFileSync(path, storedElf(top, program));
      chmodSync(path, 0o755);
      unpacked.add(program);
    }
    return path;
  };
  const works = (file: string, args: readonly string[]): boolean =>
    spawnSync(file, [...args], { stdio: "ignore" }).status === 0;
  const linux = process.platform === "linux" && process.arch === "x64";
  const noNative = !linux
    ? "this is not Linux on x86-64"
    : works(pathOf("trivial"), [])
      ? undefined
      : "programs in the temporary folder cannot be executed";
  const noQemu = works("qemu-x86_64", ["--version"])
    ? works("qemu-x86_64", [pathOf("trivial")])
      ? undefined
      : "qemu-x86_64 does not run here"
    : "there is no qemu-x86_64 here (Debian: qemu-user)";
  const other = async (job: Job, file: string, before: readonly string[]): Promise<OtherSample> => {
    const r = await run(file, [...before, ...argumentsOf(job), "t"]);
    const nanoseconds = Number(r.err.trim());
    if (r.status !== 0 || !Number.isFinite(nanoseconds)) {
      throw new BenchError(`bench: ${keyOf(job)}: ${file} ended with ${r.status}, expected 0`);
    }
    return { out: r.out, seconds: nanoseconds / 1e9 };
  };
  return {
    core,
    facts: storedFacts(top),
    noNative,
    noQemu,
    native: (job) => other(job, pathOf(job.program), []),
    qemu: (job) => other(job, "qemu-x86_64", [pathOf(job.program)]),
    async own(job, times) {
      const words = [top, job.program, String(job.n), String(job.mode), String(times)];
      const r = await run(process.execPath, [join(HERE, "child.js"), ...words]);
      if (r.status !== 0) throw new BenchError(r.err.trim().split("\n")[0] ?? "bench: no answer");
      const json: unknown = JSON.parse(r.out);
      return v.parse(Own, json);
    },
    async whole(job) {
      const start = performance.now();
      const r = await run(process.execPath, [
        "--import",
        `data:text/javascript,${encodeURIComponent(AT_EXIT)}`,
        join(top, "bin/quiesce.mjs"),
        "exec",
        "--memory",
        "128",
        pathOf(job.program),
        ...argumentsOf(job),
      ]);
      const seconds = (performance.now() - start) / 1000;
      if (r.status !== 0) {
        throw new BenchError(`bench: exec ${keyOf(job)} ended with ${r.status}, expected 0`);
      }
      const json: unknown = JSON.parse(r.err.trim().split("\n").at(-1) ?? "");
      const usage = v.parse(Usage, json);
      return {
        seconds,
        cpuSeconds: (usage.userCPUTime + usage.systemCPUTime) / 1e6,
        peakBytes: usage.maxRSS * 1024,
        out: r.out,
      };
    },
    cpuSeconds,
    wallSeconds: () => performance.now() / 1000,
    scenario,
    goOn,
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

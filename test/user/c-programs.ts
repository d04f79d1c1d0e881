// The C programs of test/user/c: compiled by gcc at six levels, with vector code where a level makes some, two of them for
// all that the machine's CPUID advertises, and compared with what they do natively. Builds of three levels and the native
// results are stored, for machines without gcc.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";

export const C_FOLDER = join(import.meta.dirname, "c");
export const C_PROGRAMS = [
  "bitwork", "bodies", "digest", "jumps", "lists", "loops", "matrix", "pack",
  "real", "records", "recurse", "sort", "text", "varargs", "wide",
] as const; // prettier-ignore
/** By the end of a build's name. */
const FLAGS = {
  "-O0": ["-O0"],
  "-O2": ["-O2"],
  "-O3": ["-O3"],
  "-Os": ["-Os"],
  "-O2-v2": ["-O2", "-march=x86-64-v2"],
  "-O3-v2": ["-O3", "-march=x86-64-v2"],
} as const;
export type Level = keyof typeof FLAGS;
export const LEVELS: readonly Level[] = ["-O0", "-O2", "-O3", "-Os", "-O2-v2", "-O3-v2"];
/** The levels whose builds are stored. */
export const STORED_LEVELS: readonly Level[] = ["-O0", "-O3", "-O3-v2"];
const FREESTANDING = [
  "-w", "-static", "-nostdlib", "-fno-stack-protector", "-fno-math-errno", "-Wl,-z,noseparate-code,--build-id=none",
]; // prettier-ignore

export interface Build {
  readonly name: string;
  /** Path of the executable. */
  readonly file: string;
}

export interface Recipe {
  readonly name: string;
  readonly compiler: string;
  readonly args: readonly string[];
}

/** The freestanding programs at the levels given. */
export function freestanding(levels: readonly Level[]): readonly Recipe[] {
  return C_PROGRAMS.flatMap((p) =>
    levels.map((level) => ({
      name: `${p}${level}`,
      compiler: "gcc",
      args: [...FLAGS[level], ...FREESTANDING, join(C_FOLDER, `${p}.c`), "-lgcc"],
    })),
  );
}

function run(command: string, args: readonly string[]): Promise<number> {
  return new Promise((done) => {
    const child = spawn(command, args, { stdio: "ignore" });
    child.on("error", () => done(-1));
    child.on("close", (code) => done(code ?? -1));
  });
}

/** Compiles into a folder of its own, a few at a time. What cannot be compiled is left out. */
export async function compile(recipes: readonly Recipe[]): Promise<{
  readonly builds: ReadonlyMap<string, Build>;
  readonly folder: string;
  close(): void;
}> {
  const folder = mkdtempSync(join(tmpdir(), "quiesce-c-"));
  const builds = new Map<string, Build>();
  const close = (): void => rmSync(folder, { recursive: true });
  if (process.platform !== "linux" || process.arch !== "x64") return { builds, folder, close };
  const left = [...recipes];
  const worker = async (): Promise<void> => {
    for (let r = left.shift(); r !== undefined; r = left.shift()) {
      const file = join(folder, r.name);
      if ((await run(r.compiler, [...r.args, "-o", file])) === 0) {
        builds.set(r.name, { name: r.name, file });
      }
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return { builds, folder, close };
}

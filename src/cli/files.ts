// Files by path: the package's own, the compiled core, what the user named, results. Paths are below the package's
// folder unless the user gave one. Scenarios are found in scenarios.ts; nothing heavy is loaded here.
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { prepareEngine } from "../machine/index.ts";
import { UsageError } from "./errors.ts";

/** The package's folder: the nearest above this file that has kernels/ and package.json. */
export const TOP = ((): string => {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, "package.json")) && dir !== dirname(dir)) dir = dirname(dir);
  return dir;
})();

/** Text of a file, or undefined if there is none. */
export function textOf(path: string): string | undefined {
  return existsSync(path) && statSync(path).isFile() ? readFileSync(path, "utf8") : undefined;
}

/** The version in package.json. */
export function version(): string {
  return /"version": "([^"]+)"/.exec(textOf(join(TOP, "package.json")) ?? "")?.[1] ?? "unknown";
}

/** The compiled core. */
export function coreModule(): WebAssembly.Module {
  prepareEngine(setFlagsFromString);
  const path = join(TOP, "dist/core.wasm");
  if (!existsSync(path)) throw new UsageError("dist/core.wasm: no such file, expected a build");
  return new WebAssembly.Module(readFileSync(path));
}

/**
 * Asks the engine to compile sparingly, for a process whose memory is the guest's and whose work is the core's: one function
 * of the core at a time, since each thread that compiles keeps what it took for it, 5 MiB and more, and the host's
 * own functions only when they are hot for some hundred thousand system calls.
 */
export function compileSparingly(): void {
  setFlagsFromString("--wasm-num-compilation-tasks=1");
  setFlagsFromString("--interrupt-budget=800000");
}

/** The text of a file that the user named. */
export function readInput(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (e) {
    throw new UsageError(`${path}: ${causeOf(e)}, expected a file that can be read`);
  }
}

/** Refuses a result file that cannot be made, before the work begins. */
export function checkOutput(path: string): void {
  if (existsSync(path) && statSync(path).isDirectory()) {
    throw new UsageError(`${path}: is a folder, expected a file to write`);
  }
  if (!existsSync(dirname(resolve(path)))) {
    throw new UsageError(`${path}: its folder does not exist, expected one to write in`);
  }
}

/** Writes a result file: the whole of it or nothing. A device or pipe is written as it is. */
export function writeOutput(path: string, text: string): void {
  const special = existsSync(path) && !statSync(path).isFile();
  const target = existsSync(path) && !special ? realpathSync(path) : path;
  const temporary = special
    ? target
    : join(dirname(target), `.${basename(target)}.${process.pid}.tmp`);
  try {
    const fd = openSync(temporary, "w");
    try {
      const bytes = Buffer.from(text);
      for (let done = 0; done < bytes.length;) done += writeSync(fd, bytes, done);
      if (!special) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    if (!special) renameSync(temporary, target);
  } catch (e) {
    if (!special) rmSync(temporary, { force: true });
    throw new UsageError(`${path}: ${causeOf(e)}, expected a file that can be written`);
  }
}

/** Why a read or write failed, in words. */
export function causeOf(e: unknown): string {
  const code = e instanceof Error && "code" in e ? String(e.code) : "";
  const causes: Readonly<Record<string, string>> = {
    ENOSPC: "the disk is full",
    EACCES: "permission denied",
    EPERM: "permission denied",
    EROFS: "the file system is read-only",
    ENOENT: "no such file",
    EISDIR: "is a folder",
  };
  return causes[code] ?? (e instanceof Error ? (e.message.split("\n")[0] ?? code) : String(e));
}

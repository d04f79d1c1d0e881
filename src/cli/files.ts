// The only file of the project that reads and writes files: scenario folders, the compiled core, results. Paths are
// below the package's own folder unless the user gave one.
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { makeAssembler } from "../asm/index.ts";
import { asmOffsetsInc } from "../kernel/index.ts";
import type { BuiltScenario, Scenario, Toolchain } from "../scenario/index.ts";
import { buildScenario, loadScenario } from "../scenario/index.ts";
import { unknown, UsageError } from "./errors.ts";

/** The package's folder: the nearest above this file that has kernels/ and package.json. */
const TOP = ((): string => {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, "package.json")) && dir !== dirname(dir)) dir = dirname(dir);
  return dir;
})();

/** Text of a file, or undefined if there is none. */
function textOf(path: string): string | undefined {
  return existsSync(path) && statSync(path).isFile() ? readFileSync(path, "utf8") : undefined;
}

/** The version in package.json. */
export function version(): string {
  return /"version": "([^"]+)"/.exec(textOf(join(TOP, "package.json")) ?? "")?.[1] ?? "unknown";
}

/** The compiled core. */
export function coreModule(): WebAssembly.Module {
  const path = join(TOP, "dist/core.wasm");
  if (!existsSync(path)) throw new UsageError("dist/core.wasm: no such file, expected a build");
  return new WebAssembly.Module(readFileSync(path));
}

/** Names of the scenarios that come with the package, "default" first. */
export function scenarioNames(): readonly string[] {
  const has = (name: string): boolean => existsSync(join(TOP, "kernels", name, "scenario.json"));
  const names = readdirSync(join(TOP, "kernels")).filter(has).sort();
  return names.includes("default") ? ["default", ...names.filter((n) => n !== "default")] : names;
}

/** What the command line may change in a scenario. */
export interface ScenarioChanges {
  readonly vcpus?: number | undefined;
  readonly tasks?: number | undefined;
  readonly patch?: string | undefined;
}

/** Loads a scenario by its name, or by the path of the user's own folder. */
export function readScenario(name: string, changes: ScenarioChanges = {}): Scenario {
  const own = /[/\\]|^\.\.?$/.test(name) ? resolve(name) : undefined;
  if (own === undefined && !scenarioNames().includes(name)) {
    throw unknown("scenario", name, scenarioNames());
  }
  if (own !== undefined && !existsSync(join(own, "scenario.json"))) {
    throw new UsageError(`scenario: ${name}: no scenario.json there, expected a scenario's folder`);
  }
  const folder = own === undefined ? name : basename(own);
  const scenario = loadScenario(folder, (path) => {
    if (own !== undefined && path.startsWith(`${folder}/`)) {
      const text = textOf(join(own, path.slice(folder.length + 1)));
      if (text !== undefined) return text;
    }
    return textOf(join(TOP, "kernels", path));
  });
  return {
    ...scenario,
    vcpus: changes.vcpus ?? scenario.vcpus,
    tasks: changes.tasks ?? scenario.tasks,
    ...(changes.patch === undefined ? {} : { patch: readPatch(changes.patch) }),
  };
}

function readPatch(path: string): { readonly name: string; readonly text: string } {
  if (!path.endsWith(".S")) throw new UsageError(`patch: ${path}: expected a .S file`);
  return { name: path, text: readInput(path) };
}

/** Loads, assembles and links a scenario. */
export async function buildNamed(
  name: string,
  changes: ScenarioChanges = {},
): Promise<BuiltScenario> {
  const scenario = readScenario(name, changes);
  return buildScenario(scenario, await toolchain());
}

async function toolchain(): Promise<Toolchain> {
  return {
    assembler: await makeAssembler(),
    generated: { "asm-offsets.inc": asmOffsetsInc() },
  };
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

// Scenarios by their names or by the path of the user's own folder, loaded, assembled and linked. It is apart from
// files.ts so that commands without a scenario do not load the assembler.
import { existsSync, readdirSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { makeAssembler } from "../asm/index.ts";
import { asmOffsetsInc } from "../kernel/index.ts";
import { patchName } from "../patch/index.ts";
import type { BuiltScenario, PatchFile, Scenario, Toolchain } from "../scenario/index.ts";
import { buildScenario, leastTasks, loadScenario, withTasks } from "../scenario/index.ts";
import { unknown, UsageError } from "./errors.ts";
import { readInput, textOf, TOP } from "./files.ts";

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
  const vcpus = changes.vcpus ?? scenario.vcpus;
  const least = leastTasks(scenario, vcpus);
  if (changes.tasks !== undefined && changes.tasks < least) {
    throw new UsageError(
      `tasks: ${changes.tasks} slots are too few for ${name} on ${vcpus} vCPUs, expected at least ${least}`,
    );
  }
  const sized = changes.tasks === undefined ? scenario : withTasks(scenario, changes.tasks);
  return {
    ...sized,
    vcpus,
    ...(changes.patch === undefined ? {} : { patch: readPatch(changes.patch) }),
  };
}

function readPatch(path: string): PatchFile {
  if (!path.endsWith(".S")) throw new UsageError(`patch: ${path}: expected a .S file`);
  return { name: path, text: readInput(path), module: patchName(basename(path)) };
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

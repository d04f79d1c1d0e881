// A scenario folder as one frozen value: its description, the text of every source file that its kernel is
// built from, and the files those include. Pure: the caller says how a path becomes text.
import * as v from "valibot";
import type { RESULTS, VERDICTS } from "./schema.ts";
import { ScenarioFile } from "./schema.ts";

/** The scenario's files are not what they should be; the message says what, where and what was expected. */
export class ScenarioError extends Error {
  override name = "ScenarioError";
}

/** What a mechanism is expected to do. */
export interface Claim {
  readonly result: (typeof RESULTS)[number];
  readonly verdict: (typeof VERDICTS)[number];
}

/** A source file: its path below kernels/ and its text. */
export interface SourceFile {
  readonly name: string;
  readonly text: string;
}

/** A patch's file. module: what its module is called, where that is not SCENARIO_FILE. */
export interface PatchFile extends SourceFile {
  readonly module?: string;
}

/**
 * A scenario.
 *
 * tasks        slots of the task arena, the CPUs' idle tasks included
 * ownTasks     how many tasks there are at the ready mark beside each CPU's own
 * hz           ticks per virtual second; tickInsns: instructions per tick
 * sources      the kernel's files in link order, then the scenario's
 * includes     text by the name that `.include` uses
 * modules      loadable modules, which nobody loads by himself; a module's name is its file's
 * functions    names of the functions that the patch replaces
 * results      guest symbols of 8 bytes that must equal an unpatched run's when the workload is done
 * budgetInsns  instructions from the ready mark within which everything must have happened
 * requestAt    instructions after the ready mark at which the patch is requested
 */
export interface Scenario {
  readonly name: string;
  readonly story: string;
  readonly kernel: string;
  readonly vcpus: number;
  readonly tasks: number;
  readonly ownTasks: number;
  readonly hz: number;
  readonly tickInsns: number;
  readonly ramMiB: number;
  readonly threadSize: number;
  readonly sources: readonly SourceFile[];
  readonly includes: Readonly<Record<string, string>>;
  readonly patch: PatchFile | undefined;
  readonly modules: readonly SourceFile[];
  readonly functions: readonly string[];
  readonly claims: Readonly<Record<string, Claim>>;
  readonly results: readonly string[];
  readonly budgetInsns: number;
  readonly requestAt: number;
}

/** What a patch that comes later may include beside what the scenario's own files do. */
const FOR_PATCHES = ["ksplice-patch.inc", "kpatch-macros.inc"];

/**
 * Loads a scenario.
 *
 * name    its folder below kernels/
 * files   the text of a file by its path below kernels/, or undefined if there is none
 * throws  ScenarioError
 */
export function loadScenario(name: string, files: (path: string) => string | undefined): Scenario {
  const path = `${name}/scenario.json`;
  const file = parse(path, need(files, path));
  const folders = [name, file.kernel];
  const sources = [
    ...kernelFiles(file.kernel, files).map((f) => `${file.kernel}/${f}`),
    ...file.sources.map((f) => `${name}/${f}`),
  ].map((p): SourceFile => ({ name: p, text: need(files, p) }));
  const { patch: patchName, modules: moduleNames, ...rest } = file;
  const modules = moduleNames.map((f): SourceFile => ({
    name: `${name}/${f}`,
    text: need(files, `${name}/${f}`),
  }));
  const patch =
    patchName === undefined
      ? undefined
      : { name: `${name}/${patchName}`, text: need(files, `${name}/${patchName}`) };
  const includes: Record<string, string> = {};
  const all = [...sources, ...(patch === undefined ? [] : [patch]), ...modules];
  for (const source of all) collectIncludes(source.text, folders, files, includes);
  for (const f of FOR_PATCHES) collectIncludes(`.include "${f}"`, folders, files, includes);
  return Object.freeze({ ...rest, sources, includes, patch, modules });
}

function need(files: (path: string) => string | undefined, path: string): string {
  const text = files(path);
  if (text === undefined) throw new ScenarioError(`kernels/${path}: no such file`);
  return text;
}

function parse(path: string, text: string): v.InferOutput<typeof ScenarioFile> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (e) {
    throw new ScenarioError(`kernels/${path}: ${e instanceof Error ? e.message : "not JSON"}`);
  }
  const result = v.safeParse(ScenarioFile, json);
  if (result.success) return result.output;
  const issue = result.issues[0];
  const where = v.getDotPath(issue);
  throw new ScenarioError(`kernels/${path}: ${where === null ? "" : `${where}: `}${issue.message}`);
}

/** The kernel's files in link order: the obj-y lines of its Kbuild. */
function kernelFiles(
  kernel: string,
  files: (path: string) => string | undefined,
): readonly string[] {
  const path = `${kernel}/Kbuild`;
  const names: string[] = [];
  for (const [i, line] of need(files, path).split("\n").entries()) {
    const text = line.replace(/#.*/, "").trim();
    if (text === "") continue;
    const m = /^obj-y \+= (.+)$/.exec(text);
    if (m === null)
      throw new ScenarioError(`kernels/${path}:${i + 1}: expected obj-y += FILE.o ..`);
    for (const obj of (m[1] ?? "").split(/\s+/)) names.push(obj.replace(/\.o$/, ".S"));
  }
  return names;
}

// A file that no folder has is left to the build, which knows the generated ones.
function collectIncludes(
  text: string,
  folders: readonly string[],
  files: (path: string) => string | undefined,
  out: Record<string, string>,
): void {
  for (const m of text.matchAll(/^\s*\.include\s+"([^"]+)"/gm)) {
    const name = m[1] ?? "";
    if (name in out) continue;
    const found = folders.map((f) => files(`${f}/${name}`)).find((t) => t !== undefined);
    if (found === undefined) continue;
    out[name] = found;
    collectIncludes(found, folders, files, out);
  }
}

/** Slots that are kept for idle tasks, one for each possible CPU; a CPU's other tasks: its stopper and its kworker. */
const IDLE_SLOTS = 8;
const TASKS_PER_CPU = 2;

/** With fewer slots a scenario does not come to its ready mark. */
export function leastTasks(scenario: Scenario, vcpus: number): number {
  return IDLE_SLOTS + TASKS_PER_CPU * vcpus + scenario.ownTasks;
}

/** Above so many tasks stacks are small. DIFFERS: THREAD_SIZE is 16 KiB in the kernel; at scale it is 4 KiB here. */
const SMALL_STACKS_FROM = 1024;
/** What the kernel and a task take of RAM, from above: its image and tables; its task_struct and what kmalloc has for it. */
const KERNEL_MIB = 34;
const BYTES_PER_TASK = 512 + 64;

/** What it takes to ask a task, to hear from it and to let it go. */
const INSNS_PER_TASK = 6000;

/** A virtual second is long enough that in some of them one CPU can do something about each task. */
const TICK_INSNS_PER_TASK = 40;

/** A scenario with another number of task slots, and with the stacks and the RAM that these need. */
export function withTasks(scenario: Scenario, tasks: number): Scenario {
  const threadSize = tasks > SMALL_STACKS_FROM ? 4096 : scenario.threadSize;
  const need = KERNEL_MIB + Math.ceil((tasks * (threadSize + BYTES_PER_TASK)) / 2 ** 20);
  const more = Math.max(0, tasks - scenario.tasks);
  return {
    ...scenario,
    tasks,
    threadSize,
    tickInsns: Math.max(scenario.tickInsns, more * TICK_INSNS_PER_TASK),
    ramMiB: Math.max(scenario.ramMiB, need),
    budgetInsns: scenario.budgetInsns + more * INSNS_PER_TASK,
  };
}

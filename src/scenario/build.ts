// Builds a scenario: assembles the kernel's files and the scenario's, links them by the kernel's layout, and
// links the patch as a module. It runs nothing.
import type { Assembler, Obj } from "../asm/index.ts";
import type { Image } from "../link/index.ts";
import { findSymbol, link, linkModule } from "../link/index.ts";
import { KERNEL_LAYOUT, MEMORY_MAP } from "./layout.ts";
import type { Scenario, SourceFile } from "./load.ts";
import { ScenarioError } from "./load.ts";

/** What a scenario is built with: the assembler, and files that are generated (`asm-offsets.inc`). */
export interface Toolchain {
  readonly assembler: Assembler;
  readonly generated: Readonly<Record<string, string>>;
}

/** A built scenario. patch is undefined where the scenario has none. */
export interface BuiltScenario {
  readonly scenario: Scenario;
  readonly image: Image;
  readonly patch: Image | undefined;
  /** Loadable modules by name, not linked: where one goes is known when it is loaded. */
  readonly modules: Readonly<Record<string, Obj>>;
}

const PAGE_SIZE = 4096n;

/** What kmalloc has: enough for every structure of patching and tracing, and something for each task. */
function kmallocArenaSize({ tasks }: Scenario): bigint {
  return 0x8_0000n + ((BigInt(tasks) * 64n) & ~0xffffn);
}

/** The scenario's constants as assembly symbols. */
export function scenarioSymbols(scenario: Scenario): Readonly<Record<string, bigint>> {
  return {
    ...MEMORY_MAP,
    HZ: BigInt(scenario.hz),
    TICK_INSNS: BigInt(scenario.tickInsns),
    THREAD_SIZE: BigInt(scenario.threadSize),
    NR_TASKS: BigInt(scenario.tasks),
    KMALLOC_ARENA_SIZE: kmallocArenaSize(scenario),
  };
}

/**
 * Assembles and links a scenario's kernel and its patch.
 *
 * throws  AsmError, LinkError: of the source; ScenarioError: the image does not fit the RAM
 */
export function buildScenario(scenario: Scenario, tools: Toolchain): BuiltScenario {
  const objs = scenario.sources.map((source) => assembleFile(scenario, source, tools));
  const image = link(objs, { ...KERNEL_LAYOUT, name: scenario.name });
  const ram = BigInt(scenario.ramMiB) << 20n;
  for (const s of image.segments) {
    if (s.pa + BigInt(s.memSize) > ram) {
      throw new ScenarioError(
        `${scenario.name}: segment ${s.name} ends at 0x${(s.pa + BigInt(s.memSize)).toString(16)}, ` +
          `expected at most ${scenario.ramMiB} MiB`,
      );
    }
  }
  const patch = scenario.patch === undefined ? undefined : buildPatch(image, scenario, tools);
  const modules = Object.fromEntries(
    scenario.modules.map((m) => [moduleName(m), assembleFile(scenario, m, tools)]),
  );
  return { scenario, image, patch, modules };
}

/** KBUILD_MODNAME: the file's name with `-` as `_`. */
function moduleName({ name }: SourceFile): string {
  return name.replace(/^.*\//, "").replace(/\.S$/, "").replaceAll("-", "_");
}

/** Links a patch object at the place that the kernel keeps for it. behind: a patch that lies there already. */
export function linkPatch(image: Image, obj: Obj, behind?: Image): Image {
  const room = findSymbol(image, "patch_room");
  if (room === undefined) throw new ScenarioError(`${image.name}: the kernel has no patch_room`);
  const segment = image.segments.find((s) => room.va >= s.va && room.va < s.va + BigInt(s.memSize));
  if (segment === undefined) throw new ScenarioError(`${image.name}: patch_room has no memory`);
  const ends = (behind?.segments ?? []).map((s) => s.va + BigInt(s.memSize) - room.va);
  const end = ends.reduce((a, b) => (a > b ? a : b), 0n);
  const skip = (end + PAGE_SIZE - 1n) & -PAGE_SIZE;
  const pa = segment.pa + (room.va - segment.va);
  return linkModule(obj, image, {
    va: room.va + skip,
    pa: pa + skip,
    room: Number(room.size - skip),
  });
}

/** Assembles one file with the scenario's constants and includes. */
export function assembleFile(scenario: Scenario, source: SourceFile, tools: Toolchain): Obj {
  return tools.assembler.assemble(source, {
    include: (path) => tools.generated[path] ?? scenario.includes[path],
    symbols: scenarioSymbols(scenario),
  });
}

function buildPatch(image: Image, scenario: Scenario, tools: Toolchain): Image {
  const { patch } = scenario;
  if (patch === undefined) throw new ScenarioError(`${scenario.name} has no patch`);
  return linkPatch(image, assembleFile(scenario, patch, tools));
}

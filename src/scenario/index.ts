// The scenario's door: a folder of kernels/ in, a frozen value and a linked kernel out.
export { assembleFile, buildScenario, linkPatch, scenarioSymbols } from "./build.ts";
export type { BuiltScenario, Toolchain } from "./build.ts";
export { KERNEL_LAYOUT, MEMORY_MAP } from "./layout.ts";
export { leastTasks, loadScenario, ScenarioError, withTasks } from "./load.ts";
export type { Claim, PatchFile, Scenario, SourceFile } from "./load.ts";

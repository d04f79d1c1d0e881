// The package as a library: the pipeline that the command runs, stage by stage. Each stage is one function with plain
// data in and out; files, clocks and the process are the caller's.
export { AsmError, makeAssembler, type Assembler, type Obj, type Source } from "./asm/index.ts";
export { judge, tellStory, type Trace, type Verdict, type Violation } from "./check/index.ts";
export {
  formatRepro,
  minimise,
  parseRepro,
  prepare,
  replay,
  replayTo,
  runExplained,
  runOne,
  sweep,
  type Prepared,
  type Repro,
  type Run,
  type RunReport,
  type RunSpec,
  type SweepReport,
  type SweepSpec,
} from "./explore/index.ts";
export { asmOffsetsInc, readTasks, type Task } from "./kernel/index.ts";
export {
  findSymbol,
  formatAddress,
  link,
  LinkError,
  linkModule,
  readElf,
  symbolAt,
  type Image,
  type Layout,
} from "./link/index.ts";
export {
  boot,
  Machine,
  Scheduler,
  seededSchedule,
  trueStack,
  type Schedule,
  type Snapshot,
} from "./machine/index.ts";
export {
  MECHANISMS,
  PatchError,
  planPatch,
  Session,
  type Mechanism,
  type Outcome,
  type PatchPlan,
} from "./patch/index.ts";
export { isAsClaimed, runTable, storyText, sweepText, toJson } from "./report/index.ts";
export {
  buildScenario,
  loadScenario,
  ScenarioError,
  type BuiltScenario,
  type Scenario,
} from "./scenario/index.ts";
export {
  archStackWalk,
  UNWINDERS,
  type Trace as StackTrace,
  type Unwinder,
} from "./unwind/index.ts";

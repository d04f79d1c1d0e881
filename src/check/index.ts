// The checks' door: what a run is judged by.
export { addressName, hex, oldAt } from "./address.ts";
export { windowContents, windowState, type WindowState } from "./half-written.ts";
export { judge } from "./judge.ts";
export { leftovers, takeInventory, type Inventory } from "./leftovers.ts";
export {
  observe,
  readResults,
  trueStacks,
  watchPlan,
  type Observation,
  type ObservedRun,
} from "./observe.ts";
export { PROMISES, promiseOf, type MechanismPromise } from "./promises.ts";
export {
  stacksNow,
  tellStory,
  type CpuNow,
  type StackNow,
  type Story,
  type StoryTask,
  type StoryVariant,
} from "./story.ts";
export { pauseInsns } from "./timing.ts";
export {
  CHECKS,
  ENTRY_KINDS,
  type CheckName,
  type Commit,
  type Entry,
  type EntryKind,
  type RunEnd,
  type Trace,
  type TraceFrame,
  type TraceStack,
  type TraceTask,
  type Verdict,
  type Violation,
} from "./trace.ts";
export {
  compareFrames,
  judgeTrace,
  SCORE_VERDICTS,
  ScoreMeter,
  trueAddresses,
  walkInactive,
  walkRunning,
  type ScoreExample,
  type ScoreVerdict,
  type UnwindScore,
} from "./score.ts";
export {
  scoreUnwinders,
  showStacks,
  type StackFrame,
  type StackRun,
  type TaskStacks,
  type UnwoundStack,
} from "./unwind-run.ts";

// The checks' door: what a run is judged by.
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

// The exploration's door: runs from a ready mark, one by one, over points and schedules.
export { minimise, runExplained } from "./minimise.ts";
export { BudgetError, prepare, type Baseline, type Prepared } from "./prepare.ts";
export {
  runProtocol,
  type Entered,
  type ProtocolRound,
  type ProtocolRun,
  type ProtocolSpec,
} from "./protocol.ts";
export { replay, replayTo, type Moment, type Replayed, type ReproMismatch } from "./replay.ts";
export { formatRepro, parseRepro, REPRO_VERSION, type Repro, type ReproText } from "./repro.ts";
export {
  runOne,
  showMoment,
  type ReportBlocker,
  type ReportFrame,
  type ReportHeld,
  type ReportViolation,
  type Run,
  type RunReport,
  type RunSpec,
} from "./run.ts";
export {
  runSysfs,
  type SysfsDone,
  type SysfsFile,
  type SysfsReport,
  type SysfsSpec,
  type SysfsStep,
} from "./sysfs.ts";
export { sweep, type SweepProgress, type SweepReport, type SweepSpec } from "./sweep.ts";

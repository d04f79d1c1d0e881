// The exploration's door: runs from a ready mark, one by one, over points and schedules.
export { prepare, type Baseline, type Prepared } from "./prepare.ts";
export {
  runOne,
  showMoment,
  type ReportBlocker,
  type ReportFrame,
  type ReportViolation,
  type Run,
  type RunReport,
  type RunSpec,
} from "./run.ts";

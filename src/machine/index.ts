// The machine's door.
export { prepareEngine } from "./engine.ts";
export {
  Machine,
  REGISTERS,
  UnmappedError,
  type ExitReason,
  type GeneralRegister,
  type MachineConfig,
  type Register,
  type RunOutcome,
  type StackArea,
  type WatchKind,
  type WatchSpec,
} from "./machine.ts";
export { fxInitial, fxRestore, fxSave } from "./fx.ts";
export type { Adversary } from "./adversary.ts";
export {
  type AccessSpace,
  type Device,
  type DeviceAccess,
  type DeviceRange,
  type InterruptLines,
} from "./device.ts";
export { Uart, type UartConfig } from "./uart.ts";
export { RecordLog, type LogRecord } from "./record-log.ts";
export type { Snapshot } from "./snapshot.ts";
export { boot, NOP5, type BootConfig, type StoredFrame } from "./boot.ts";
export {
  DEFAULT_SLICE,
  Scheduler,
  seededSchedule,
  type Cursor,
  type Schedule,
  type Slice,
  SliceLog,
  type StopReason,
} from "./schedule.ts";
export {
  runnerOf,
  runners,
  trueStack,
  trueStackOf,
  type TruthFrame,
  type TruthKind,
  type TruthStack,
} from "./truth.ts";

// The machine's door.
export {
  Machine,
  REGISTERS,
  UnmappedError,
  type ExitReason,
  type GeneralRegister,
  type LogRecord,
  type MachineConfig,
  type Register,
  type RunOutcome,
  type StackArea,
  type WatchKind,
  type WatchSpec,
} from "./machine.ts";
export type { Snapshot } from "./snapshot.ts";

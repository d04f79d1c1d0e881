// The door of ftrace: fentry sites, ops and their filters, and the modification of live text.
export {
  freeFtraceOps,
  ftraceEnableSysctl,
  ftraceFreeFilter,
  ftraceSetFilterIp,
  ftraceSetFilterIps,
  makeFtraceOps,
  registerFtraceFunction,
  unregisterFtraceFunction,
} from "./ftrace.ts";
export { ftraceLocation } from "./location.ts";
export { synchronizeCallbacks, synchronizeRcuTasks } from "./rcu-tasks.ts";
export {
  isFtraceTrampoline,
  readFtrace,
  readFtraceOps,
  readOpsList,
  readRecords,
  type DynFtrace,
  type FtraceOps,
  type FtraceState,
} from "./state.ts";
export { branchTo, NOP5, textPokeBp, textPokeBpLocked, type TextPokeLoc } from "./text-poke.ts";
export { readTrace, startFunctionTracer, stopFunctionTracer, type TraceEntry } from "./tracer.ts";
export {
  ftraceModuleEnable,
  ftraceModuleInit,
  ftraceReleaseMod,
  type ModuleRange,
} from "./module.ts";
export { registerFtraceGraph, unregisterFtraceGraph } from "./fgraph.ts";
export {
  kprobesModuleGoing,
  registerKprobe,
  registerKprobeAt,
  serveKprobeUpcall,
  unregisterKprobe,
  unregisterKprobeAt,
  type KprobeHandlers,
  type ProbedText,
  type Registered,
} from "./kprobes.ts";

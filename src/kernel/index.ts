// The toy kernel's door: struct layouts, and readers that turn guest memory into tasks and registers.
export { fieldVa, nrCpus, perCpuVa, readField, readString, readUint, symbolVa } from "./image.ts";
export type { Read } from "./image.ts";
export {
  asmOffsetsInc,
  BP_DESC,
  BUG_ENTRY,
  CONSTANTS,
  CPU_STOPPER,
  ERRNO,
  INACTIVE_FRAME,
  KPATCH_FUNC,
  MULTI_STOP_DATA,
  MUTEX,
  PCPU_HOT,
  PERCPU,
  PT_REGS,
  RQ,
  TASK,
  TASK_STATE,
  TEXT_POKE_LOC,
  TIF,
  TSS,
  WAIT_QUEUE_ENTRY,
  WAIT_QUEUE_HEAD,
} from "./layout.ts";
export {
  KGR_PATCH,
  KGR_PATCH_FUN,
  KLP_CONSTANTS,
  KLP_FUNC,
  KLP_OBJECT,
  KLP_OPS,
  KLP_PATCH,
  KLP_SHADOW,
  KLP_STATE,
} from "./klp-layout.ts";
export type { Field, Struct } from "./struct.ts";
export { declaredFrames, readImage, stackAreas } from "./stacks.ts";
export type { DeclaredFrame, StackArea } from "./stacks.ts";
export {
  currentTask,
  nrTaskSlots,
  readInactiveFrame,
  readPtRegs,
  readRunQueues,
  readTask,
  readTasks,
  stateName,
  threadSize,
} from "./task.ts";
export type { InactiveFrame, PtRegs, StackRange, Task } from "./task.ts";
export {
  call,
  callUp,
  cmpxchg,
  clearBit,
  log,
  look,
  progress,
  reply,
  setBit,
  sleep,
  stopMachine,
  wait,
  withLock,
  withMutex,
  write,
  writeField,
  writeWord,
} from "./patch-call.ts";
export type {
  GuestView,
  Looked,
  Message,
  Program,
  Seen,
  Step,
  Under,
  Upcall,
} from "./patch-call.ts";
export {
  DYN_FTRACE,
  FTRACE_CONSTANTS,
  FTRACE_HASH,
  FTRACE_OPS,
  FTRACE_PAGE,
  FTRACE_RET_STACK,
  KPROBE,
  RETHOOK_NODE,
  TRACE_ENTRY,
} from "./ftrace-layout.ts";
export { dynamicText, ftraceTrampolines, type TextRange } from "./dynamic-text.ts";
export {
  KERNEL_PARAM,
  MODULE,
  MODULE_CONSTANTS,
  readModule,
  readModules,
  type GuestModule,
  type ModuleState,
} from "./module-layout.ts";
export { recoverRetAddr, returnTrampolines, type ReturnTrampoline } from "./return-trampolines.ts";

// The door of a Linux user process: reading an executable, and running it in ring 3 of a machine.
export type { ProgramIo } from "./context.ts";
export { ProgramError, readProgram, type LoadSegment, type Program } from "./elf.ts";
export { signalName } from "./linux.ts";
export { UserProcess, type ProcessConfig, type ProcessEnd, type ProcessResult } from "./process.ts";
export { symbolsOf } from "./symbols.ts";

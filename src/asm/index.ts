// The assembler's door: GNU as source text in, relocatable object out.
export { makeAssembler } from "./assemble.ts";
export type { AssembleOptions, Assembler, Source } from "./assemble.ts";
export { AsmError } from "./errors.ts";
export type { SourceLine } from "./errors.ts";
export type {
  CfiDirective,
  CfiProc,
  LineEntry,
  Obj,
  ObjSymbol,
  Reloc,
  RelocType,
  Section,
} from "./obj.ts";

// The assembler's result: sections, symbols, relocations and call-frame directives as plain data,
// with the names that ELF and the x86-64 psABI use. It is not an ELF file; src/link reads this and
// ELF alike.

/** Relocation types as the psABI names them (System V ABI, AMD64 supplement, "Relocation Types"). */
export type RelocType =
  | "R_X86_64_64"
  | "R_X86_64_PC32"
  | "R_X86_64_PLT32"
  | "R_X86_64_32"
  | "R_X86_64_32S"
  | "R_X86_64_PC64"
  | "R_X86_64_16"
  | "R_X86_64_8"
  | "R_X86_64_PC8"
  | "R_X86_64_PC16";

/** One RELA entry. offset: bytes from the start of the section; symbol: index in Obj.symbols. */
export interface Reloc {
  readonly offset: number;
  readonly type: RelocType;
  readonly symbol: number;
  readonly addend: bigint;
}

/** A section. bytes: Uint8Array[size], or Uint8Array[0] for nobits. align: a power of two. */
export interface Section {
  readonly name: string;
  readonly type: "progbits" | "nobits" | "note";
  readonly flags: { readonly alloc: boolean; readonly write: boolean; readonly exec: boolean };
  readonly align: number;
  readonly bytes: Uint8Array;
  readonly size: number;
  readonly relocs: readonly Reloc[];
}

/** A symbol. section: index in Obj.sections; value: bytes from its start, or the value if "abs". */
export interface ObjSymbol {
  readonly name: string;
  readonly section: number | "undef" | "abs";
  readonly value: bigint;
  readonly size: bigint;
  readonly type: "notype" | "object" | "func" | "section";
  readonly bind: "local" | "global" | "weak";
}

/** One .cfi_* directive. offset: bytes from the start of the section. */
export interface CfiDirective {
  readonly offset: number;
  readonly op: string;
  readonly args: readonly (number | string)[];
}

/** What stands between .cfi_startproc and .cfi_endproc: code [start, end) of a section. */
export interface CfiProc {
  readonly section: number;
  readonly start: number;
  readonly end: number;
  readonly simple: boolean;
  readonly directives: readonly CfiDirective[];
}

/** The source line of the bytes at an offset, one entry per statement that made bytes. */
export interface LineEntry {
  readonly section: number;
  readonly offset: number;
  readonly file: string;
  readonly line: number;
}

/** A relocatable object. symbols: locals first, in order of first mention, then the others. */
export interface Obj {
  readonly name: string;
  readonly sections: readonly Section[];
  readonly symbols: readonly ObjSymbol[];
  readonly cfi: readonly CfiProc[];
  readonly lines: readonly LineEntry[];
}

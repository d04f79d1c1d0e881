// Reads a relocatable x86-64 ELF file (ELF64, little-endian, ET_REL) into the assembler's Obj, so that the
// linker takes gcc's .o files too. It reads sections, symbols and RELA, and nothing of DWARF or programs.
import type { Obj, ObjSymbol, Reloc, RelocType, Section } from "../asm/index.ts";

/** The file is not an ELF file this reader takes; the message says where and what was expected. */
export class ElfError extends Error {
  override name = "ElfError";
}

const SHT_PROGBITS = 1;
const SHT_SYMTAB = 2;
const SHT_RELA = 4;
const SHT_NOTE = 7;
const SHT_NOBITS = 8;
const SHT_INIT_ARRAY = 14;
const SHT_FINI_ARRAY = 15;
const SHT_PREINIT_ARRAY = 16;
const SHT_X86_64_UNWIND = 0x70000001;
const SHF_WRITE = 1n;
const SHF_ALLOC = 2n;
const SHF_EXECINSTR = 4n;
const SHN_UNDEF = 0;
const SHN_ABS = 0xfff1;
const SHN_COMMON = 0xfff2;
const SHN_XINDEX = 0xffff;
const EHDR_SIZE = 64;
const SHDR_SIZE = 64;
const SYM_SIZE = 24;
const RELA_SIZE = 24;
const STT_FILE = 4;

// System V ABI, AMD64 supplement, "Relocation Types".
const RELOC_TYPES: ReadonlyMap<number, RelocType> = new Map<number, RelocType>([
  [1, "R_X86_64_64"],
  [2, "R_X86_64_PC32"],
  [4, "R_X86_64_PLT32"],
  [10, "R_X86_64_32"],
  [11, "R_X86_64_32S"],
  [12, "R_X86_64_16"],
  [13, "R_X86_64_PC16"],
  [14, "R_X86_64_8"],
  [15, "R_X86_64_PC8"],
  [24, "R_X86_64_PC64"],
]);

interface Shdr {
  readonly name: string;
  readonly type: number;
  readonly flags: bigint;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly align: number;
  readonly entsize: number;
}

/** A symbol's index in the file -> its index in Obj.symbols. */
type SymbolMap = ReadonlyMap<number, number>;

/** Bounds-checked reads; every failure is an ElfError that names the place. */
class Bytes {
  readonly #file: Uint8Array;
  readonly #view: DataView;
  readonly #name: string;

  constructor(file: Uint8Array, name: string) {
    this.#file = file;
    this.#view = new DataView(file.buffer, file.byteOffset, file.byteLength);
    this.#name = name;
  }

  fail(what: string): never {
    throw new ElfError(`${this.#name}: ${what}`);
  }

  need(at: number, n: number, what: string): void {
    if (at < 0 || n < 0 || at + n > this.#file.length) {
      this.fail(
        `${what} at 0x${at.toString(16)} with ${n} bytes is outside the file of ${this.#file.length} bytes`,
      );
    }
  }

  u8(at: number): number {
    this.need(at, 1, "a byte");
    return this.#view.getUint8(at);
  }

  u16(at: number): number {
    this.need(at, 2, "a half word");
    return this.#view.getUint16(at, true);
  }

  u32(at: number): number {
    this.need(at, 4, "a word");
    return this.#view.getUint32(at, true);
  }

  u64(at: number): bigint {
    this.need(at, 8, "a quad word");
    return this.#view.getBigUint64(at, true);
  }

  /** A 64-bit offset or size, which must be one a file can have. */
  length(at: number, what: string): number {
    const v = this.u64(at);
    if (v > BigInt(Number.MAX_SAFE_INTEGER)) this.fail(`${what} is 0x${v.toString(16)}`);
    return Number(v);
  }

  slice(at: number, n: number, what: string): Uint8Array {
    this.need(at, n, what);
    return this.#file.slice(at, at + n);
  }

  text(table: Shdr, at: number): string {
    const from = table.offset + at;
    if (at < 0 || at >= table.size)
      this.fail(`string 0x${at.toString(16)} is outside ${table.name}`);
    this.need(table.offset, table.size, "a string table");
    const end = this.#file.indexOf(0, from);
    if (end < 0 || end >= table.offset + table.size)
      this.fail(`string 0x${at.toString(16)} has no end`);
    return new TextDecoder().decode(this.#file.subarray(from, end));
  }
}

/**
 * Reads an ELF64 x86-64 relocatable file.
 *
 * file    Uint8Array[n], the whole file
 * name    what errors call it
 * throws  ElfError
 */
export function readElf(file: Uint8Array, name: string): Obj {
  const b = new Bytes(file, name);
  if (file.length < EHDR_SIZE) b.fail(`${file.length} bytes are no ELF file: expected at least 64`);
  if (b.u32(0) !== 0x464c457f) b.fail("no ELF magic: expected 7f 45 4c 46");
  if (b.u8(4) !== 2 || b.u8(5) !== 1) b.fail("expected ELFCLASS64, little-endian");
  if (b.u16(16) !== 1) b.fail(`e_type is ${b.u16(16)}: expected 1, a relocatable file`);
  if (b.u16(18) !== 62) b.fail(`e_machine is ${b.u16(18)}: expected 62, x86-64`);
  const headers = sectionHeaders(b);

  const kept = new Map<number, number>();
  for (const [i, h] of headers.entries()) {
    if (isContent(h.type)) kept.set(i, kept.size);
  }
  const { symbols, map } = readSymbols(b, headers, kept);
  const sections: Section[] = [];
  for (const [i, h] of headers.entries()) {
    if (!kept.has(i)) continue;
    const nobits = h.type === SHT_NOBITS;
    if (h.align !== 0 && (h.align & (h.align - 1)) !== 0) {
      b.fail(`section ${h.name}: alignment ${h.align} is not a power of two`);
    }
    sections.push({
      name: h.name,
      type: nobits ? "nobits" : h.type === SHT_NOTE ? "note" : "progbits",
      flags: {
        alloc: (h.flags & SHF_ALLOC) !== 0n,
        write: (h.flags & SHF_WRITE) !== 0n,
        exec: (h.flags & SHF_EXECINSTR) !== 0n,
      },
      align: Math.max(h.align, 1),
      bytes: nobits ? new Uint8Array(0) : b.slice(h.offset, h.size, `section ${h.name}`),
      size: h.size,
      relocs: headers
        .filter((r) => r.type === SHT_RELA && r.info === i && (h.flags & SHF_ALLOC) !== 0n)
        .flatMap((r) => readRela(b, r, h, map)),
    });
  }
  return { name, sections, symbols, cfi: [], lines: [] };
}

function isContent(type: number): boolean {
  return (
    type === SHT_PROGBITS ||
    type === SHT_NOBITS ||
    type === SHT_NOTE ||
    type === SHT_X86_64_UNWIND ||
    (type >= SHT_INIT_ARRAY && type <= SHT_FINI_ARRAY) ||
    type === SHT_PREINIT_ARRAY
  );
}

function sectionHeaders(b: Bytes): Shdr[] {
  const shoff = b.length(0x28, "e_shoff");
  const entsize = b.u16(0x3a);
  const nr = b.u16(0x3c);
  const strIndex = b.u16(0x3e);
  if (nr === 0) b.fail("no section headers");
  if (entsize !== SHDR_SIZE) b.fail(`e_shentsize is ${entsize}: expected ${SHDR_SIZE}`);
  b.need(shoff, nr * SHDR_SIZE, "the section header table");
  const raw = Array.from({ length: nr }, (_, i) => {
    const at = shoff + i * SHDR_SIZE;
    return {
      nameAt: b.u32(at),
      type: b.u32(at + 4),
      flags: b.u64(at + 8),
      offset: b.length(at + 24, "sh_offset"),
      size: b.length(at + 32, "sh_size"),
      link: b.u32(at + 40),
      info: b.u32(at + 44),
      align: b.length(at + 48, "sh_addralign"),
      entsize: b.length(at + 56, "sh_entsize"),
    };
  });
  const strings = raw[strIndex];
  if (strings === undefined) b.fail(`e_shstrndx is ${strIndex}: expected less than ${nr}`);
  const table = { ...strings, name: ".shstrtab" };
  return raw.map((h, i) => ({ ...h, name: i === 0 ? "" : b.text(table, h.nameAt) }));
}

function readSymbols(
  b: Bytes,
  headers: readonly Shdr[],
  kept: ReadonlyMap<number, number>,
): { readonly symbols: readonly ObjSymbol[]; readonly map: SymbolMap } {
  const symtab = headers.find((h) => h.type === SHT_SYMTAB);
  const symbols: ObjSymbol[] = [];
  const map = new Map<number, number>();
  if (symtab === undefined) return { symbols, map };
  const strtab = headers[symtab.link];
  if (strtab === undefined) b.fail(`.symtab: sh_link is ${symtab.link}`);
  if (symtab.entsize !== SYM_SIZE || symtab.size % SYM_SIZE !== 0) {
    b.fail(`.symtab: expected entries of ${SYM_SIZE} bytes`);
  }
  b.need(symtab.offset, symtab.size, ".symtab");
  for (let i = 1; i < symtab.size / SYM_SIZE; i++) {
    const at = symtab.offset + i * SYM_SIZE;
    const info = b.u8(at + 4);
    const shndx = b.u16(at + 6);
    const kind = info & 15;
    if (kind === STT_FILE) continue;
    const section = symbolSection(b, shndx, kept, i);
    if (section === undefined) continue;
    const inSection = typeof section === "number" ? headers[shndx] : undefined;
    const name = kind === 3 && inSection !== undefined ? inSection.name : b.text(strtab, b.u32(at));
    map.set(i, symbols.length);
    const bind = info >> 4;
    symbols.push({
      name,
      section,
      value: b.u64(at + 8),
      size: b.u64(at + 16),
      type: kind === 1 ? "object" : kind === 2 ? "func" : kind === 3 ? "section" : "notype",
      bind: bind === 1 ? "global" : bind === 2 ? "weak" : "local",
    });
  }
  return { symbols, map };
}

function symbolSection(
  b: Bytes,
  shndx: number,
  kept: ReadonlyMap<number, number>,
  i: number,
): ObjSymbol["section"] | undefined {
  if (shndx === SHN_UNDEF) return "undef";
  if (shndx === SHN_ABS) return "abs";
  if (shndx === SHN_COMMON) b.fail(`symbol ${i} is common: expected gcc -fno-common`);
  if (shndx === SHN_XINDEX) b.fail(`symbol ${i} has an extended section index`);
  return kept.get(shndx);
}

function readRela(b: Bytes, r: Shdr, target: Shdr, map: SymbolMap): Reloc[] {
  if (r.entsize !== RELA_SIZE || r.size % RELA_SIZE !== 0) {
    b.fail(`${r.name}: expected entries of ${RELA_SIZE} bytes`);
  }
  b.need(r.offset, r.size, r.name);
  return Array.from({ length: r.size / RELA_SIZE }, (_, k) => {
    const at = r.offset + k * RELA_SIZE;
    const offset = b.length(at, "r_offset");
    const info = b.u64(at + 8);
    const type = RELOC_TYPES.get(Number(info & 0xffffffffn));
    const symbol = map.get(Number(info >> 32n));
    if (type === undefined) {
      b.fail(
        `${r.name}: relocation type ${info & 0xffffffffn} at 0x${offset.toString(16)} is not supported`,
      );
    }
    if (symbol === undefined)
      b.fail(`${r.name}: relocation ${k} names symbol ${info >> 32n}, which is not there`);
    if (offset >= target.size)
      b.fail(`${r.name}: relocation ${k} at 0x${offset.toString(16)} is outside ${target.name}`);
    return { offset, type, symbol, addend: BigInt.asIntN(64, b.u64(at + 16)) };
  });
}

// A program's symbol table as an Image, so that addresses print as f+0x12/0x40. Symbols are optional: a file whose
// sections make no sense has none. Read when the first address is printed, not when the program starts.
import type { Image, ImageSection, ImageSymbol } from "../link/index.ts";
import type { Program } from "./elf.ts";

const SHDR_SIZE = 64;
const SYM_SIZE = 24;
const SHT_SYMTAB = 2;
const SHN_LORESERVE = 0xff00;
const STT_FUNC = 2;
const STT_IFUNC = 10;

interface Shdr {
  readonly nameAt: number;
  readonly type: number;
  readonly va: bigint;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
}

/** The program's functions and objects at their run-time addresses. */
export function symbolsOf(program: Program): Image {
  const { name, entry } = program;
  let tables: Pick<Image, "symbols" | "sections"> = { symbols: [], sections: [] };
  try {
    tables = readTables(program);
  } catch (e) {
    // A read outside of the file: DataView's own check.
    if (!(e instanceof RangeError)) throw e;
  }
  return { name, entry, segments: [], constants: [], fentrySites: [], hash: "", ...tables };
}

function readTables(program: Program): Pick<Image, "symbols" | "sections"> {
  const { file, bias } = program;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const shoff = Number(view.getBigUint64(40, true));
  const nr = view.getUint16(60, true);
  const headers = Array.from({ length: nr }, (_, i): Shdr => {
    const at = shoff + i * SHDR_SIZE;
    return {
      nameAt: view.getUint32(at, true),
      type: view.getUint32(at + 4, true),
      va: view.getBigUint64(at + 16, true),
      offset: Number(view.getBigUint64(at + 24, true)),
      size: Number(view.getBigUint64(at + 32, true)),
      link: view.getUint32(at + 40, true),
    };
  });
  const strings = headers[view.getUint16(62, true)];
  const sections = headers.map((h, i): ImageSection => {
    const text = strings === undefined ? "" : textAt(file, strings, h.nameAt);
    return { name: `${i}:${text}`, va: h.va + bias, size: h.size };
  });
  const symtab = headers.find((h) => h.type === SHT_SYMTAB);
  const strtab = symtab === undefined ? undefined : headers[symtab.link];
  const symbols: ImageSymbol[] = [];
  if (symtab !== undefined && strtab !== undefined) {
    const end = Math.min(symtab.offset + symtab.size, file.length);
    for (let at = symtab.offset; at + SYM_SIZE <= end; at += SYM_SIZE) {
      const info = view.getUint8(at + 4);
      const shndx = view.getUint16(at + 6, true);
      const kind = info & 15;
      if (shndx === 0 || shndx >= SHN_LORESERVE || (kind > STT_FUNC && kind !== STT_IFUNC))
        continue;
      const text = textAt(file, strtab, view.getUint32(at, true));
      if (text === "") continue;
      symbols.push({
        name: text,
        va: BigInt.asUintN(64, view.getBigUint64(at + 8, true) + bias),
        size: view.getBigUint64(at + 16, true),
        type: kind === 0 ? "notype" : kind === 1 ? "object" : "func",
        bind: info >> 4 === 0 ? "local" : info >> 4 === 2 ? "weak" : "global",
        section: sections[shndx]?.name ?? "",
      });
    }
  }
  symbols.sort((a, b) => (a.va < b.va ? -1 : a.va > b.va ? 1 : 0));
  return { symbols, sections };
}

/** Printable text of a string table, at most 200 characters. */
function textAt(file: Uint8Array, table: Shdr, at: number): string {
  const from = table.offset + at;
  const end = file.indexOf(0, from);
  if (from >= file.length || end < 0) return "";
  return new TextDecoder()
    .decode(file.subarray(from, Math.min(end, from + 200)))
    .replace(/[^\x20-\x7e]/g, "?");
}

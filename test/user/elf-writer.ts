// Writes small static ELF files for tests: assembled text and data with one PT_LOAD each, and no sections. It is not a
// linker; the addresses are fixed.
import { makeAssembler } from "../../src/asm/index.ts";
import { link } from "../../src/link/index.ts";

export const TEXT = 0x401000n;
export const DATA = 0x402000n;
const EHDR = 64;
const PHDR = 56;

export interface Load {
  readonly va: bigint;
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly memSize?: bigint;
}

/** type: 2 ET_EXEC, 3 ET_DYN. Each segment starts at its own page of the file. */
export function writeElf(entry: bigint, loads: readonly Load[], type = 2): Uint8Array {
  const offsets: number[] = [];
  let size = 4096;
  for (const l of loads) {
    offsets.push(size);
    size += Math.ceil(l.bytes.length / 4096) * 4096;
  }
  const file = new Uint8Array(size);
  const v = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  v.setUint16(16, type, true);
  v.setUint16(18, 62, true);
  v.setUint32(20, 1, true);
  v.setBigUint64(24, entry, true);
  v.setBigUint64(32, BigInt(EHDR), true);
  v.setUint16(52, EHDR, true);
  v.setUint16(54, PHDR, true);
  v.setUint16(56, loads.length, true);
  for (const [i, l] of loads.entries()) {
    const at = EHDR + i * PHDR;
    v.setUint32(at, 1, true);
    v.setUint32(at + 4, l.flags, true);
    v.setBigUint64(at + 8, BigInt(offsets[i] ?? 0), true);
    v.setBigUint64(at + 16, l.va, true);
    v.setBigUint64(at + 24, l.va, true);
    v.setBigUint64(at + 32, BigInt(l.bytes.length), true);
    v.setBigUint64(at + 40, l.memSize ?? BigInt(l.bytes.length), true);
    v.setBigUint64(at + 48, 4096n, true);
    file.set(l.bytes, offsets[i] ?? 0);
  }
  return file;
}

const FLAGS = { read: true, write: false, exec: true, user: true };

/** Assembles text with sections .text and .data and the symbol `_start`. */
export async function assembleElf(text: string, type = 2): Promise<Uint8Array> {
  const assembler = await makeAssembler();
  const obj = assembler.assemble({ name: "program.S", text }, { include: () => undefined });
  const image = link([obj], {
    name: "program",
    entry: "_start",
    regions: [
      { name: ".text", va: TEXT, pa: 0n, sections: [".text"], align: 4096, flags: FLAGS },
      { name: ".data", va: DATA, pa: 0x1000n, sections: [".data"], align: 4096, flags: FLAGS },
    ],
  });
  const loads = image.segments
    .filter((s) => s.memSize > 0)
    .map((s): Load => ({
      va: s.va,
      flags: s.va === TEXT ? 5 : 6,
      bytes: s.bytes,
      memSize: BigInt(s.memSize),
    }));
  return writeElf(image.entry, loads, type);
}

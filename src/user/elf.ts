// Reads an x86-64 ELF executable into what the loader maps: segments, entry, program headers. It takes static programs
// and static-PIE, checks everything that mapping relies on, and reads no section (symbols.ts does). gABI, "Program
// Loading"; the kernel's fs/binfmt_elf.c for what is accepted.
import { MMAP_MIN_ADDR, PAGE, PROT_EXEC, PROT_READ, PROT_WRITE } from "./linux.ts";

/** The file cannot be run; the message says what, where, and what was expected, on one line. */
export class ProgramError extends Error {
  override name = "ProgramError";
}

/** A PT_LOAD at its run-time address. bytes: Uint8Array[<= memSize], the rest is zero. */
export interface LoadSegment {
  readonly va: bigint;
  readonly memSize: bigint;
  /** Where bytes lie in the file. */
  readonly offset: number;
  readonly fileSize: number;
  /** PROT_ bits. */
  readonly prot: number;
}

export interface Program {
  readonly name: string;
  readonly file: Uint8Array;
  readonly entry: bigint;
  /** What was added to the addresses in the file: 0 unless the program is static-PIE. */
  readonly bias: bigint;
  readonly segments: readonly LoadSegment[];
  /** AT_PHDR: where the program headers are mapped, 0 when they are not. */
  readonly phdr: bigint;
  readonly phnum: number;
  /** Whether PT_GNU_STACK asks for a stack that can be executed; without one it is none. */
  readonly executableStack: boolean;
}

/** Where programs may lie: below everything that the loader itself places. */
export const PROGRAM_END = 0x7f00_0000_0000n;
const PIE_BASE = 0x5555_5555_4000n;
const EHDR_SIZE = 64;
const PHDR_SIZE = 56;
const ET_EXEC = 2;
const ET_DYN = 3;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_INTERP = 3;
const PT_GNU_STACK = 0x6474_e551;
const PN_XNUM = 0xffff;
const PF_X = 1;
const PF_W = 2;
const PF_R = 4;
const TYPES: Readonly<Record<number, string>> = {
  0: "no type",
  1: "a relocatable file",
  4: "a core dump",
};
const MACHINES: Readonly<Record<number, string>> = {
  3: "i386",
  40: "ARM",
  183: "AArch64",
  243: "RISC-V",
};

interface Phdr {
  readonly index: number;
  readonly type: number;
  readonly flags: number;
  readonly offset: bigint;
  readonly va: bigint;
  readonly fileSize: bigint;
  readonly memSize: bigint;
  readonly align: bigint;
}

const hex = (v: bigint | number): string => `0x${v.toString(16)}`;
const pageDown = (v: bigint): bigint => v & ~0xfffn;
const pageUp = (v: bigint): bigint => (v + 0xfffn) & ~0xfffn;

/**
 * Reads an executable.
 *
 * file    Uint8Array[n], the whole file
 * name    what errors call it
 * throws  ProgramError
 */
export function readProgram(file: Uint8Array, name: string): Program {
  const fail = (what: string): never => {
    throw new ProgramError(`${name}: ${what}`);
  };
  if (
    file.length < 4 ||
    file[0] !== 0x7f ||
    file[1] !== 0x45 ||
    file[2] !== 0x4c ||
    file[3] !== 0x46
  ) {
    fail("no ELF magic at offset 0x0, expected 7f 45 4c 46");
  }
  if (file.length < EHDR_SIZE)
    fail(`${file.length} bytes, expected at least the ${EHDR_SIZE} of an ELF header`);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file[4] !== 2)
    fail(
      `e_ident[EI_CLASS] is ${file[4]}${file[4] === 1 ? ", a 32-bit file" : ""}, expected 2, a 64-bit file`,
    );
  if (file[5] !== 1) fail(`e_ident[EI_DATA] is ${file[5]}, expected 1, little-endian`);
  const machine = view.getUint16(18, true);
  if (machine !== EM_X86_64) {
    fail(`e_machine is ${machine}${name_(MACHINES, machine)}, expected ${EM_X86_64}, x86-64`);
  }
  const type = view.getUint16(16, true);
  if (type !== ET_EXEC && type !== ET_DYN) {
    fail(`e_type is ${type}${name_(TYPES, type)}, expected ${ET_EXEC} or ${ET_DYN}, an executable`);
  }
  const phdrs = readPhdrs(file, view, fail);
  const interp = phdrs.find((p) => p.type === PT_INTERP);
  if (interp !== undefined) {
    fail(
      `program header ${interp.index} is PT_INTERP: a dynamically linked program, expected a static one (gcc -static)`,
    );
  }
  const loads = phdrs.filter((p) => p.type === PT_LOAD && p.memSize > 0n);
  if (loads.length === 0)
    fail(`${phdrs.length} program headers without a PT_LOAD, expected one at least`);
  for (const p of loads) checkLoad(p, file.length, fail);
  checkOverlaps(loads, fail);
  const bias = type === ET_DYN ? biasOf(loads) : 0n;
  const segments = loads.map((p) => ({
    va: p.va + bias,
    memSize: p.memSize,
    offset: Number(p.offset),
    fileSize: Number(p.fileSize),
    prot:
      (p.flags & PF_R ? PROT_READ : 0) |
      (p.flags & PF_W ? PROT_WRITE : 0) |
      (p.flags & PF_X ? PROT_EXEC : 0),
  }));
  for (const [i, s] of segments.entries()) {
    const where = `program header ${loads[i]?.index}: PT_LOAD at ${hex(s.va)} with ${hex(s.memSize)} bytes`;
    if (pageDown(s.va) < MMAP_MIN_ADDR)
      fail(`${where} is below ${hex(MMAP_MIN_ADDR)}, expected it above`);
    if (s.va + s.memSize > PROGRAM_END)
      fail(`${where} ends above ${hex(PROGRAM_END)}, expected it below`);
  }
  const entry = BigInt.asUintN(64, view.getBigUint64(24, true) + bias);
  const home = segments.find((s) => entry >= s.va && entry < s.va + s.memSize);
  if (home === undefined || !(home.prot & PROT_EXEC)) {
    fail(
      `entry ${hex(entry)} lies in ${home === undefined ? "no segment" : "a segment without PF_X"}, expected an executable one`,
    );
  }
  const phoff = view.getBigUint64(32, true);
  const holder = loads.find((p) => phoff >= p.offset && phoff < p.offset + p.fileSize);
  const phdr = holder === undefined ? 0n : holder.va + (phoff - holder.offset) + bias;
  // Of several the last one counts.
  const stack = phdrs.findLast((p) => p.type === PT_GNU_STACK);
  const executableStack = stack !== undefined && (stack.flags & PF_X) !== 0;
  return { name, file, entry, bias, segments, phdr, phnum: phdrs.length, executableStack };
}

function name_(names: Readonly<Record<number, string>>, key: number): string {
  const found = names[key];
  return found === undefined ? "" : ` (${found})`;
}

function readPhdrs(
  file: Uint8Array,
  view: DataView,
  fail: (what: string) => never,
): readonly Phdr[] {
  const at = view.getBigUint64(32, true);
  const size = view.getUint16(54, true);
  const nr = view.getUint16(56, true);
  if (nr === 0) fail("e_phnum is 0, expected program headers of an executable");
  if (nr === PN_XNUM) fail(`e_phnum is ${hex(nr)} (PN_XNUM), expected fewer program headers`);
  if (size !== PHDR_SIZE) fail(`e_phentsize is ${size}, expected ${PHDR_SIZE}`);
  if (at + BigInt(nr * PHDR_SIZE) > BigInt(file.length)) {
    fail(
      `${nr} program headers at offset ${hex(at)} go beyond the file of ${file.length} bytes, expected them inside`,
    );
  }
  return Array.from({ length: nr }, (_, index) => {
    const p = Number(at) + index * PHDR_SIZE;
    const u64 = (o: number): bigint => view.getBigUint64(p + o, true);
    return {
      index,
      type: view.getUint32(p, true),
      flags: view.getUint32(p + 4, true),
      offset: u64(8),
      va: u64(16),
      fileSize: u64(32),
      memSize: u64(40),
      align: u64(48),
    };
  });
}

function checkLoad(p: Phdr, fileLength: number, fail: (what: string) => never): void {
  const where = `program header ${p.index}: PT_LOAD at ${hex(p.va)}`;
  if (p.fileSize > p.memSize) {
    fail(
      `${where} has p_filesz ${hex(p.fileSize)} above p_memsz ${hex(p.memSize)}, expected at most that`,
    );
  }
  if (p.offset + p.fileSize > BigInt(fileLength)) {
    fail(
      `${where} wants ${hex(p.fileSize)} bytes at offset ${hex(p.offset)} of a file of ${hex(fileLength)}, expected them inside: the file is truncated`,
    );
  }
  if (p.va + p.memSize > PROGRAM_END) {
    fail(`${where} with ${hex(p.memSize)} bytes ends above ${hex(PROGRAM_END)}, expected it below`);
  }
  if ((p.va - p.offset) % BigInt(PAGE) !== 0n) {
    fail(
      `${where} is not congruent to its offset ${hex(p.offset)}, expected the same place in a page of ${PAGE}`,
    );
  }
}

function checkOverlaps(loads: readonly Phdr[], fail: (what: string) => never): void {
  const sorted = loads.toSorted((a, b) => (a.va < b.va ? -1 : a.va > b.va ? 1 : 0));
  for (const [i, p] of sorted.entries()) {
    const before = sorted[i - 1];
    if (before !== undefined && before.va + before.memSize > p.va) {
      fail(
        `program headers ${before.index} and ${p.index} overlap at ${hex(p.va)}, expected segments apart`,
      );
    }
  }
}

/** Where a static-PIE goes: at a fixed base, aligned as its segments ask. */
function biasOf(loads: readonly Phdr[]): bigint {
  let lowest = PROGRAM_END;
  let align = BigInt(PAGE);
  for (const p of loads) {
    if (p.va < lowest) lowest = p.va;
    const power = p.align > 0n && (p.align & (p.align - 1n)) === 0n;
    if (power && p.align > align && p.align <= 0x4000_0000n) align = p.align;
  }
  const base = PIE_BASE & ~(align - 1n);
  return base - (pageDown(lowest) & ~(align - 1n));
}

/** Bytes of memory that the segments take, in whole pages. */
export function memoryOf(program: Program): bigint {
  let sum = 0n;
  for (const s of program.segments) sum += pageUp(s.va + s.memSize) - pageDown(s.va);
  return sum;
}

/** The end of the last segment: where the heap starts. */
export function endOf(program: Program): bigint {
  let end = 0n;
  for (const s of program.segments) if (s.va + s.memSize > end) end = s.va + s.memSize;
  return pageUp(end);
}

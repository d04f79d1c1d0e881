// How this folder reads a running kernel: a function over guest virtual memory and the image's symbols.
// It knows structs and symbols, not the machine.
import type { Image } from "../link/index.ts";
import { findSymbol } from "../link/index.ts";
import type { Field, Struct } from "./struct.ts";
import { CONSTANTS, PERCPU } from "./layout.ts";

/** Reads n bytes of guest memory at a kernel virtual address. */
export type Read = (va: bigint, n: number) => Uint8Array;

/** The address of a kernel symbol; its absence is a bug of ours. */
export function symbolVa(image: Image, name: string): bigint {
  const s = findSymbol(image, name);
  if (s === undefined) throw new Error(`${image.name}: the kernel has no symbol ${name}`);
  return s.va;
}

/** Reads an unsigned little-endian value of 1, 2, 4 or 8 bytes. */
export function readUint(read: Read, va: bigint, size: number): bigint {
  const bytes = read(va, size);
  let lo = 0;
  let hi = 0;
  for (let i = Math.min(size, 4) - 1; i >= 0; i--) lo = lo * 256 + (bytes[i] ?? 0);
  for (let i = size - 1; i >= 4; i--) hi = hi * 256 + (bytes[i] ?? 0);
  return hi === 0 ? BigInt(lo) : (BigInt(hi) << 32n) | BigInt(lo);
}

/** Reads one field of a struct that lies at va. */
export function readField<F extends string>(
  read: Read,
  struct: Struct<F>,
  va: bigint,
  field: NoInfer<F>,
): bigint {
  const f: Field = struct.fields[field];
  return readUint(read, va + BigInt(f.offset), f.size);
}

const STRING_MAX = 512;
const PAGE_SIZE = 4096;
/** Bytes of a string that are read at once: never across a page. */
const CHUNK = 32;

/** The NUL-terminated string at va; a longer one is cut. */
export function readString(read: Read, va: bigint): string {
  let text = "";
  for (let at = va; text.length < STRING_MAX;) {
    const bytes = read(at, Math.min(CHUNK, PAGE_SIZE - Number(at % BigInt(PAGE_SIZE))));
    const end = bytes.indexOf(0);
    text += String.fromCharCode(...(end < 0 ? bytes : bytes.subarray(0, end)));
    if (end >= 0) break;
    at += BigInt(bytes.length);
  }
  return text.slice(0, STRING_MAX);
}

/** The address of one field of a struct that lies at va. */
export function fieldVa<F extends string>(
  struct: Struct<F>,
  va: bigint,
  field: NoInfer<F>,
): bigint {
  return va + BigInt(struct.fields[field].offset);
}

/** The address of CPU i's per-CPU area, its GS base in the kernel. */
export function perCpuVa(image: Image, cpu: number): bigint {
  if (cpu < 0 || cpu >= CONSTANTS.NR_CPUS) throw new Error(`no CPU ${cpu}`);
  return symbolVa(image, "per_cpu_area") + BigInt(cpu * PERCPU.size);
}

/** How many CPUs the kernel was started with. */
export function nrCpus(read: Read, image: Image): number {
  return Number(readUint(read, symbolVa(image, "nr_cpu_ids"), 4));
}

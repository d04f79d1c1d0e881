// What a system call works on, and how it ends. process.ts provides it; the sys-*.ts files use it.
import { EFAULT } from "./linux.ts";
import type { Descriptors } from "./descriptors.ts";
import type { RandomBytes } from "./random.ts";
import type { RseqArea } from "./rseq.ts";
import type { Registers, SignalInfo, Signals } from "./signals.ts";
import type { AddressSpace } from "./space.ts";

/** The world that the program sees besides memory. */
export interface ProgramIo {
  /** Writes to descriptor 1 or 2: the number of bytes taken, or a negative error number. */
  write(fd: number, bytes: Uint8Array): number;
  /** The next bytes of descriptor 0, at most n; none at its end, or a negative error number. */
  read(n: number): Uint8Array | number;
  /** A line for each system call and signal. */
  trace?(line: string): void;
}

export interface Context {
  readonly space: AddressSpace;
  readonly signals: Signals;
  readonly io: ProgramIo;
  readonly random: RandomBytes;
  /** What /proc/self/exe points to. */
  readonly exe: string;
  readonly pid: number;
  readonly uid: number;
  /** The heap: [start, end), both the program break's. */
  readonly heap: { readonly start: bigint; end: bigint };
  readonly files: Descriptors;
  /** The working folder. */
  cwd: string;
  umask: number;
  /** The thread's name, at most 15 bytes. */
  name: Uint8Array;
  /** By RLIMIT_ number: soft, hard. */
  readonly limits: [bigint, bigint][];
  rseq: RseqArea | undefined;
  /** Nanoseconds since the start: instructions, and what was slept. */
  now(): bigint;
  sleep(ns: bigint): void;
  rsp(): bigint;
  /** All registers, as after the system call. */
  registers(): Registers;
  base(which: "fs_base" | "gs_base"): bigint;
  setBase(which: "fs_base" | "gs_base", va: bigint): void;
}

/** How a system call ends that does not return a number. */
export type Ending =
  | { readonly kind: "exit"; readonly status: number }
  | { readonly kind: "registers"; readonly registers: Registers }
  | { readonly kind: "killed"; readonly info: SignalInfo };

/** A result as rax has it, negative for an error. */
export type SyscallResult = bigint | number | Ending;

/** Six arguments, as 64-bit words. */
export type Arguments = readonly [bigint, bigint, bigint, bigint, bigint, bigint];

export interface Syscall {
  readonly name: string;
  /** The kinds of its arguments for traces, one letter each, as trace.ts reads them. */
  readonly args: string;
  readonly run: (c: Context, a: Arguments) => SyscallResult;
}

/** The low 32 bits as an int. */
export const int = (v: bigint): number => Number(BigInt.asIntN(32, v));

/** Text up to a NUL, which may be missing within the first `most` bytes; undefined is EFAULT. */
export function textAt(c: Context, va: bigint, most: number): string | undefined {
  const n = c.space.reachable(va, most, "read");
  const bytes = c.space.read(va, n);
  const end = bytes?.indexOf(0) ?? -1;
  if (bytes === undefined || (end < 0 && n < most)) return undefined;
  return new TextDecoder().decode(bytes.subarray(0, end < 0 ? n : end));
}

/** Writes to an address that may be null; a number is the result. */
export function give(c: Context, va: bigint, bytes: Uint8Array): number {
  return va === 0n || c.space.write(va, bytes) ? 0 : -EFAULT;
}

/** Little-endian 64-bit words as bytes. */
export function quads(...words: readonly bigint[]): Uint8Array {
  const b = new Uint8Array(words.length * 8);
  const v = new DataView(b.buffer);
  for (const [i, w] of words.entries()) v.setBigUint64(i * 8, BigInt.asUintN(64, w), true);
  return b;
}

/** Reads words; undefined is EFAULT. */
export function readQuads(c: Context, va: bigint, n: number): readonly bigint[] | undefined {
  const b = c.space.read(va, n * 8);
  if (b === undefined) return undefined;
  const v = new DataView(b.buffer);
  return Array.from({ length: n }, (_, i) => v.getBigUint64(i * 8, true));
}

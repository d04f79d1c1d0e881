// Restartable sequences of the one thread: registration, and what happens to a critical section that a signal interrupts.
// The CPU's number is always 0, so a sequence is never moved, only interrupted. kernel/rseq.c, rseq_ip_fixup().
import type { Arguments, Context } from "./context.ts";
import { int } from "./context.ts";
import { EBUSY, EFAULT, EINVAL, EPERM, TASK_SIZE } from "./linux.ts";
import type { Registers } from "./signals.ts";
import type { AddressSpace } from "./space.ts";

/** The thread's struct rseq, as it registered it. */
export interface RseqArea {
  readonly va: bigint;
  readonly size: bigint;
  readonly signature: number;
}

/** The size of the structure as it was at first; a later one says its own in AT_RSEQ_FEATURE_SIZE. */
const ORIG_SIZE = 32n;
const UNREGISTER = 1;
const UNINITIALIZED = 0xffff_ffff;
const RSEQ_CS = 8n;

/** cpu_id_start, cpu_id, and behind rseq_cs and flags the node's and the memory map's number of the CPU. */
function publish(c: Context, va: bigint, cpu: number): boolean {
  const b = new Uint8Array(8);
  new DataView(b.buffer).setUint32(4, cpu, true);
  return c.space.write(va, b) && c.space.write(va + 20n, new Uint8Array(8));
}

export function rseq(c: Context, [va, length, flagWord, signatureWord]: Arguments): number {
  const [flags, signature] = [int(flagWord), int(signatureWord)];
  const now = c.rseq;
  if ((flags & UNREGISTER) !== 0) {
    if (flags !== UNREGISTER) return -EINVAL;
    if (now === undefined || now.va !== va || now.size !== BigInt.asUintN(32, length))
      return -EINVAL;
    if (now.signature !== signature) return -EPERM;
    if (!publish(c, va, UNINITIALIZED)) return -EFAULT;
    c.rseq = undefined;
    return 0;
  }
  if (flags !== 0) return -EINVAL;
  const size = BigInt.asUintN(32, length);
  if (now !== undefined) {
    if (now.va !== va || now.size !== size) return -EINVAL;
    return now.signature === signature ? -EBUSY : -EPERM;
  }
  if (size < ORIG_SIZE || (va & 31n) !== 0n) return -EINVAL;
  if (!publish(c, va, 0)) return -EFAULT;
  c.rseq = { va, size, signature };
  return 0;
}

/**
 * Takes a thread that a signal interrupts out of its critical section.
 *
 * returns  the registers to interrupt; undefined is a SIGSEGV: the descriptor makes no sense
 */
export function abortSequence(
  space: AddressSpace,
  area: RseqArea,
  r: Registers,
): Registers | undefined {
  const pointer = space.read(area.va + RSEQ_CS, 8);
  if (pointer === undefined) return undefined;
  const cs = new DataView(pointer.buffer).getBigUint64(0, true);
  if (cs === 0n) return r;
  const b = cs < TASK_SIZE ? space.read(cs, 32) : undefined;
  if (b === undefined) return undefined;
  const v = new DataView(b.buffer);
  const [start, offset, abort] = [8, 16, 24].map((at) => v.getBigUint64(at, true));
  if (start === undefined || offset === undefined || abort === undefined) return undefined;
  const outside = start >= TASK_SIZE || start + offset >= TASK_SIZE || abort >= TASK_SIZE;
  if (outside || v.getUint32(0, true) > 0) return undefined;
  if (abort >= start && abort - start < offset) return undefined;
  const mark = space.read(abort - 4n, 4);
  if (mark === undefined || new DataView(mark.buffer).getInt32(0, true) !== area.signature) {
    return undefined;
  }
  const inside = r.rip >= start && r.rip - start < offset;
  if (!space.write(area.va + RSEQ_CS, new Uint8Array(8))) return undefined;
  return inside ? { ...r, rip: abort } : r;
}

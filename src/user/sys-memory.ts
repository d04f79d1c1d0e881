// System calls about memory: brk, mmap and what goes with it. Only anonymous memory exists; mapping a file is ENODEV.
// The checks and their order are those of the kernel's mm/mmap.c, mprotect.c and mremap.c.
import type { Context, Syscall, SyscallResult } from "./context.ts";
import { int } from "./context.ts";
import {
  EBADF,
  EEXIST,
  EFAULT,
  EINVAL,
  ENODEV,
  ENOMEM,
  EPERM,
  MADV_DONTNEED,
  MADV_FREE,
  MAP_32BIT,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_HUGETLB,
  MAP_NORESERVE,
  MAP_SHARED,
  MAP_SHARED_VALIDATE,
  MAP_TYPE,
  MMAP_MIN_ADDR,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PROT_READ,
  PROT_SEM,
  PROT_WRITE,
  TASK_SIZE,
} from "./linux.ts";

/** Where MAP_32BIT looks: find_start_end(). */
const [LOW_START, LOW_END] = [0x4000_0000n, 0x8000_0000n];

const up = (v: bigint): bigint => (v + 0xfffn) & ~0xfffn;
const aligned = (v: bigint): boolean => (v & 0xfffn) === 0n;

function brk(c: Context, to: bigint): bigint {
  const { heap } = c;
  if (to < heap.start || to >= TASK_SIZE) return heap.end;
  const [old, next] = [up(heap.end), up(to)];
  if (next > old) {
    if (!c.space.isFree(old, next - old)) return heap.end;
    if (!c.space.map(old, next - old, { prot: PROT_READ | PROT_WRITE })) return heap.end;
  } else if (next < old) c.space.unmap(next, old - next);
  heap.end = to;
  return to;
}

function mmap(
  c: Context,
  [addr, length, protection, flagWord, fd, offset]: Parameters<Syscall["run"]>[1],
): SyscallResult {
  const flags = int(flagWord);
  const fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) !== 0;
  if (!aligned(offset)) return -EINVAL;
  if (length === 0n) return -EINVAL;
  if (length > TASK_SIZE) return -ENOMEM;
  const bytes = up(length);
  if ((flags & MAP_ANONYMOUS) === 0) return c.files.find(int(fd)) !== undefined ? -ENODEV : -EBADF;
  if ((flags & MAP_HUGETLB) !== 0) return -ENOMEM; // there are no huge pages
  const type = flags & MAP_TYPE;
  if (type < 1 || type >= MAP_SHARED_VALIDATE) return -EINVAL;
  let va = addr;
  if (fixed) {
    if (!aligned(addr)) return -EINVAL;
    if (addr + bytes > TASK_SIZE) return -ENOMEM;
    if (addr < MMAP_MIN_ADDR) return -EPERM;
    if ((flags & MAP_FIXED) === 0 && !c.space.isFree(addr, bytes)) return -EEXIST;
  } else {
    const low = (flags & MAP_32BIT) !== 0;
    va = addr & ~0xfffn;
    if (va === 0n || !c.space.isFree(va, bytes) || (low && va + bytes > LOW_END)) {
      const gap = low ? c.space.findGapIn(LOW_START, LOW_END, bytes) : c.space.findGap(bytes);
      if (gap === undefined) return -ENOMEM;
      va = gap;
    }
  }
  const prot = int(protection) & 7;
  const noReserve = (flags & MAP_NORESERVE) !== 0;
  // What is shared is a file of its own, with nobody to share it with.
  const anonymous = type !== MAP_SHARED;
  return c.space.map(va, bytes, { prot, noReserve, anonymous }) ? va : -ENOMEM;
}

function munmap(c: Context, va: bigint, length: bigint): number {
  if (!aligned(va) || length === 0n || va >= TASK_SIZE || length > TASK_SIZE - va) return -EINVAL;
  c.space.unmap(va, up(length));
  return 0;
}

function mprotect(c: Context, va: bigint, length: bigint, prot: number): number {
  if (!aligned(va) || (prot & ~(7 | PROT_SEM)) !== 0) return -EINVAL;
  if (length === 0n) return 0;
  if (va >= TASK_SIZE || length > TASK_SIZE - va) return -ENOMEM;
  return c.space.protect(va, up(length), prot & 7) === "ok" ? 0 : -ENOMEM;
}

function mremap(
  c: Context,
  [va, oldLength, newLength, flagWord, target]: Parameters<Syscall["run"]>[1],
): SyscallResult {
  const flags = int(flagWord);
  const fixed = (flags & MREMAP_FIXED) !== 0;
  if ((flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED)) !== 0 || !aligned(va)) return -EINVAL;
  if (fixed && ((flags & MREMAP_MAYMOVE) === 0 || !aligned(target))) return -EINVAL;
  if (newLength === 0n || oldLength === 0n || newLength > TASK_SIZE || oldLength > TASK_SIZE)
    return -EINVAL;
  const [from, to] = [up(oldLength), up(newLength)];
  if (c.space.rangeOf(va, from) === undefined) return -EFAULT;
  if (!fixed) {
    if (to <= from) {
      if (to < from) c.space.unmap(va + to, from - to);
      return va;
    }
    if (c.space.isFree(va + from, to - from))
      return c.space.extend(va + from, va + to) ? va : -ENOMEM;
    if ((flags & MREMAP_MAYMOVE) === 0) return -ENOMEM;
  }
  let at = target;
  if (fixed) {
    if (target < MMAP_MIN_ADDR || target + to > TASK_SIZE) return -EINVAL;
    if (target < va + from && va < target + to) return -EINVAL;
    c.space.unmap(target, to);
  } else {
    const gap = c.space.findGap(to);
    if (gap === undefined) return -ENOMEM;
    at = gap;
  }
  let kept = from;
  if (to < from) {
    c.space.unmap(va + to, from - to);
    kept = to;
  }
  return c.space.move(va, kept, at, to) ? at : -ENOMEM;
}

/** MADV_ numbers that exist for anonymous memory; all but DONTNEED are advice that may be passed over. */
function isAdvice(n: number): boolean {
  return (n >= 0 && n <= 4) || n === 8 || (n >= 10 && n <= 25);
}

function madvise(c: Context, va: bigint, length: bigint, advice: number): number {
  if (!isAdvice(advice) || !aligned(va)) return -EINVAL;
  if (length > TASK_SIZE || va > TASK_SIZE - length) return -EINVAL;
  if (length === 0n) return 0;
  if (advice === MADV_FREE && !c.space.isAnonymous(va, up(length))) return -EINVAL;
  if (advice === MADV_DONTNEED) c.space.discard(va, up(length));
  return c.space.isMapped(va, up(length)) ? 0 : -ENOMEM;
}

export const MEMORY_CALLS: Readonly<Record<number, Syscall>> = {
  9: { name: "mmap", args: "x d P M d x", run: mmap },
  10: { name: "mprotect", args: "x d P", run: (c, a) => mprotect(c, a[0], a[1], int(a[2])) },
  11: { name: "munmap", args: "x d", run: (c, a) => munmap(c, a[0], a[1]) },
  12: { name: "brk", args: "x", run: (c, a) => brk(c, a[0]) },
  25: { name: "mremap", args: "x d d d x", run: mremap },
  28: { name: "madvise", args: "x d d", run: (c, a) => madvise(c, a[0], a[1], int(a[2])) },
};

// System calls about files. There are three descriptors, all of them character devices: 0 is read through the host,
// 1 and 2 are written through it. DIFFERS: there is no file system; every path is ENOENT but /proc/self/exe.
import type { Context, Syscall, SyscallResult } from "./context.ts";
import { int, readQuads, textAt } from "./context.ts";
import {
  EBADF,
  EFAULT,
  EINVAL,
  ENOENT,
  ENOTTY,
  EPIPE,
  ERANGE,
  ESPIPE,
  SIGPIPE,
  SI_USER,
} from "./linux.ts";

/** One transfer moves at most this much; the rest is a short count. */
const MOST = 0x10_0000;
const IOV_MAX = 1024;
const FIOCLEX = 0x5451;
const AT_EMPTY_PATH = 0x1000;
const S_IFCHR = 0o020000;

function write(c: Context, fd: number, va: bigint, length: bigint): SyscallResult {
  if (!c.open.has(fd) || fd === 0) return -EBADF;
  const wanted = length > BigInt(MOST) ? MOST : Number(length);
  const n = c.space.reachable(va, wanted, "read");
  const bytes = c.space.read(va, n);
  if (bytes === undefined || (n === 0 && wanted > 0)) return -EFAULT;
  if (n === 0) return 0;
  const done = c.io.write(fd, bytes);
  if (done === -EPIPE) c.signals.send({ signal: SIGPIPE, code: SI_USER, pid: c.pid, uid: c.uid });
  return done;
}

function read(c: Context, fd: number, va: bigint, length: bigint): SyscallResult {
  if (!c.open.has(fd) || fd !== 0) return -EBADF;
  const wanted = length > BigInt(MOST) ? MOST : Number(length);
  const n = c.space.reachable(va, wanted, "write");
  if (n === 0) return wanted > 0 ? -EFAULT : 0;
  const bytes = c.io.read(n);
  return c.space.write(va, bytes) ? bytes.length : -EFAULT;
}

/** writev and readv: pieces one after the other until one is short. */
function vector(
  c: Context,
  va: bigint,
  count: number,
  one: (at: bigint, n: bigint) => SyscallResult,
): SyscallResult {
  if (count < 0 || count > IOV_MAX) return -EINVAL;
  const iov = readQuads(c, va, count * 2);
  if (iov === undefined) return -EFAULT;
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const [at = 0n, n = 0n] = [iov[2 * i], iov[2 * i + 1]];
    if (n >= 1n << 63n) return -EINVAL;
    if (n === 0n) continue;
    const r = one(at, n);
    if (typeof r !== "number") return r;
    if (r < 0) return sum > 0 ? sum : r;
    sum += r;
    if (BigInt(r) < n) break;
  }
  return sum;
}

/** struct stat of a terminal that is none: a character device. */
function stat(c: Context, fd: number, va: bigint): number {
  if (!c.open.has(fd)) return -EBADF;
  const b = new Uint8Array(144);
  const v = new DataView(b.buffer);
  v.setBigUint64(0, 5n, true); // st_dev
  v.setBigUint64(8, BigInt(fd + 1), true); // st_ino
  v.setBigUint64(16, 1n, true); // st_nlink
  v.setUint32(24, S_IFCHR | 0o620, true);
  v.setUint32(28, c.uid, true);
  v.setUint32(32, c.uid, true);
  v.setBigUint64(40, 0x103n, true); // st_rdev: as /dev/null
  v.setBigUint64(56, 1024n, true); // st_blksize
  return c.space.write(va, b) ? 0 : -EFAULT;
}

function statAt(c: Context, dir: number, path: bigint, va: bigint, flags: number): number {
  const text = textAt(c, path);
  if (text === undefined) return -EFAULT;
  return text === "" && (flags & AT_EMPTY_PATH) !== 0 ? stat(c, dir, va) : -ENOENT;
}

function readlink(c: Context, path: bigint, va: bigint, size: number): number {
  if (size <= 0) return -EINVAL;
  const text = textAt(c, path);
  if (text === undefined) return -EFAULT;
  if (text !== "/proc/self/exe") return -ENOENT;
  const bytes = new TextEncoder().encode(c.exe).subarray(0, size);
  return c.space.write(va, bytes) ? bytes.length : -EFAULT;
}

function noSuchFile(c: Context, path: bigint): number {
  return textAt(c, path) === undefined ? -EFAULT : -ENOENT;
}

function getcwd(c: Context, va: bigint, size: bigint): number {
  if (size < 2n) return -ERANGE;
  return c.space.write(va, Uint8Array.of(0x2f, 0)) ? 2 : -EFAULT;
}

function fcntl(c: Context, fd: number, command: number): number {
  if (!c.open.has(fd)) return -EBADF;
  if (command === 3) return fd === 0 ? 0 : 1; // F_GETFL: O_RDONLY, O_WRONLY
  return command === 1 || command === 2 || command === 4 ? 0 : -EINVAL; // F_GETFD, F_SETFD, F_SETFL
}

function ioctl(c: Context, fd: number, request: number): number {
  if (!c.open.has(fd)) return -EBADF;
  return request === FIOCLEX ? 0 : -ENOTTY;
}

export const FILE_CALLS: Readonly<Record<number, Syscall>> = {
  0: { name: "read", shown: 3, run: (c, a) => read(c, int(a[0]), a[1], a[2]) },
  1: { name: "write", shown: 3, run: (c, a) => write(c, int(a[0]), a[1], a[2]) },
  2: { name: "open", shown: 3, run: (c, a) => noSuchFile(c, a[0]) },
  3: { name: "close", shown: 1, run: (c, a) => (c.open.delete(int(a[0])) ? 0 : -EBADF) },
  4: { name: "stat", shown: 2, run: (c, a) => noSuchFile(c, a[0]) },
  5: { name: "fstat", shown: 2, run: (c, a) => stat(c, int(a[0]), a[1]) },
  6: { name: "lstat", shown: 2, run: (c, a) => noSuchFile(c, a[0]) },
  8: { name: "lseek", shown: 3, run: (c, a) => (c.open.has(int(a[0])) ? -ESPIPE : -EBADF) },
  16: { name: "ioctl", shown: 3, run: (c, a) => ioctl(c, int(a[0]), int(a[1])) },
  19: {
    name: "readv",
    shown: 3,
    run: (c, a) => vector(c, a[1], int(a[2]), (at, n) => read(c, int(a[0]), at, n)),
  },
  20: {
    name: "writev",
    shown: 3,
    run: (c, a) => vector(c, a[1], int(a[2]), (at, n) => write(c, int(a[0]), at, n)),
  },
  21: { name: "access", shown: 2, run: (c, a) => noSuchFile(c, a[0]) },
  72: { name: "fcntl", shown: 3, run: (c, a) => fcntl(c, int(a[0]), int(a[1])) },
  79: { name: "getcwd", shown: 2, run: (c, a) => getcwd(c, a[0], a[1]) },
  89: { name: "readlink", shown: 3, run: (c, a) => readlink(c, a[0], a[1], int(a[2])) },
  257: { name: "openat", shown: 4, run: (c, a) => noSuchFile(c, a[1]) },
  262: { name: "newfstatat", shown: 4, run: (c, a) => statAt(c, int(a[0]), a[1], a[2], int(a[3])) },
  267: { name: "readlinkat", shown: 4, run: (c, a) => readlink(c, a[1], a[2], int(a[3])) },
  269: { name: "faccessat", shown: 3, run: (c, a) => noSuchFile(c, a[1]) },
};

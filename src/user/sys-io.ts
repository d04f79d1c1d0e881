// System calls on descriptors: transfers, copies, pipes, waiting. Nothing waits in earnest: the host's input blocks the
// host, and a wait that only another process could end is an error. fs/read_write.c, fs/pipe.c and fs/select.c have the rules.
import type { Arguments, Context, Syscall, SyscallResult } from "./context.ts";
import { int, quads, readQuads } from "./context.ts";
import {
  canRead,
  canWrite,
  makePipe,
  O_ACCMODE,
  O_RDONLY,
  O_WRONLY,
  NOFILE,
  pipeLength,
  pipePut,
  pipeTake,
  type OpenFile,
} from "./descriptors.ts";
import {
  EAGAIN,
  EBADF,
  EDEADLK,
  EFAULT,
  EINTR,
  EINVAL,
  EISDIR,
  ENOSPC,
  ENOTTY,
  EPIPE,
  ESPIPE,
  PAGE,
  SIGPIPE,
  SI_USER,
  TASK_SIZE,
} from "./linux.ts";
import { duration } from "./sys-time.ts";

/** One transfer moves at most this much; the rest is a short count. */
const MOST = 0x10_0000;
/** MAX_RW_COUNT: a longer transfer is cut to it before anything else. */
const MAX_RW_COUNT = 0x7fff_f000n;
const IOV_MAX = 1024;
const FIONCLEX = 0x5450;
const FIOCLEX = 0x5451;
const FIONBIO = 0x5421;
const FIONREAD = 0x541b;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const O_DIRECT = 0o40000;
/** What F_SETFL may change: O_APPEND, O_ASYNC, O_DIRECT, O_NOATIME, O_NONBLOCK. */
const SETFL = 0o2000 | 0o20000 | O_DIRECT | 0o1000000 | O_NONBLOCK;

/** access_ok(): the range must be the program's half, whatever is mapped there. */
function inUserSpace(va: bigint, n: bigint): boolean {
  return va < TASK_SIZE && n <= TASK_SIZE - va;
}

/** DIFFERS: a wait that could only be ended by another process is EDEADLK instead of for ever. */
const wouldWait = (file: OpenFile): number => (file.flags & O_NONBLOCK ? -EAGAIN : -EDEADLK);

function put(c: Context, file: OpenFile, bytes: Uint8Array): number {
  const { what } = file;
  switch (what.kind) {
    case "output":
      return c.io.write(what.to, bytes);
    case "full":
      return -ENOSPC;
    case "writer": {
      if (what.pipe.readers === 0) return -EPIPE;
      const n = pipePut(what.pipe, bytes);
      return n === 0 && bytes.length > 0 ? wouldWait(file) : n;
    }
    default:
      return bytes.length;
  }
}

function take(c: Context, file: OpenFile, n: number): Uint8Array | number {
  const { what } = file;
  switch (what.kind) {
    case "input":
      return c.io.read(n);
    case "null":
      return new Uint8Array(0);
    case "zero":
    case "full":
      return new Uint8Array(n);
    case "random":
      return c.random(n);
    case "folder":
      return -EISDIR;
    case "reader": {
      const { pipe } = what;
      return pipe.pages.length === 0 && pipe.writers > 0 ? wouldWait(file) : pipeTake(pipe, n);
    }
    default:
      return -EBADF;
  }
}

function write(c: Context, fd: number, va: bigint, length: bigint): SyscallResult {
  const file = c.files.find(fd);
  if (file === undefined || (file.flags & O_ACCMODE) === O_RDONLY) return -EBADF;
  if (!inUserSpace(va, length)) return -EFAULT;
  // /dev/null takes bytes that it does not look at.
  if (file.what.kind === "null") return length > MAX_RW_COUNT ? MAX_RW_COUNT : length;
  const wanted = length > BigInt(MOST) ? MOST : Number(length);
  const n = c.space.reachable(va, wanted, "read");
  // A pipe takes a page as a whole or not at all.
  const usable = n < wanted && file.what.kind === "writer" ? n - (n % PAGE) : n;
  const bytes = c.space.read(va, usable);
  if (bytes === undefined || (usable === 0 && wanted > 0)) return -EFAULT;
  if (usable === 0) return 0;
  const done = put(c, file, bytes);
  if (done === -EPIPE) c.signals.send({ signal: SIGPIPE, code: SI_USER, pid: c.pid, uid: c.uid });
  return done;
}

function read(c: Context, fd: number, va: bigint, length: bigint): SyscallResult {
  const file = c.files.find(fd);
  if (file === undefined || (file.flags & O_ACCMODE) === O_WRONLY) return -EBADF;
  if (!inUserSpace(va, length)) return -EFAULT;
  const wanted = length > BigInt(MOST) ? MOST : Number(length);
  const n = c.space.reachable(va, wanted, "write");
  if (n === 0 && wanted > 0) return file.what.kind === "null" ? 0 : -EFAULT;
  if (n === 0) return 0;
  if (file.what.kind === "reader" && n < Math.min(wanted, pipeLength(file.what.pipe))) {
    return -EFAULT;
  }
  const bytes = take(c, file, n);
  if (typeof bytes === "number") return bytes;
  return c.space.write(va, bytes) ? bytes.length : -EFAULT;
}

/** writev and readv: pieces one after the other until one is short. */
function vector(
  c: Context,
  fd: number,
  va: bigint,
  count: number,
  one: (at: bigint, n: bigint) => SyscallResult,
): SyscallResult {
  if (c.files.find(fd) === undefined) return -EBADF;
  if (count < 0 || count > IOV_MAX) return -EINVAL;
  const iov = readQuads(c, va, count * 2);
  if (iov === undefined) return -EFAULT;
  for (let i = 0; i < count; i++) {
    const [at = 0n, n = 0n] = [iov[2 * i], iov[2 * i + 1]];
    if (n >= 1n << 63n) return -EINVAL;
    if (!inUserSpace(at, n)) return -EFAULT;
  }
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const [at = 0n, n = 0n] = [iov[2 * i], iov[2 * i + 1]];
    if (n === 0n) continue;
    const r = Number(one(at, n));
    if (r < 0) return sum > 0 ? sum : r;
    sum += r;
    if (BigInt(r) < n) break;
  }
  return sum;
}

function lseek(c: Context, fd: number, offset: bigint, whence: number): SyscallResult {
  const file = c.files.find(fd);
  if (file === undefined) return -EBADF;
  if (whence < 0 || whence > 4) return -EINVAL;
  const { kind } = file.what;
  if (kind === "null" || kind === "zero" || kind === "full") return 0;
  if (kind !== "folder" && kind !== "random") return -ESPIPE;
  return whence > 2 ? -EINVAL : BigInt.asIntN(64, offset) < 0n ? -EINVAL : offset;
}

function fcntl(c: Context, fd: number, command: number, arg: bigint): number {
  const file = c.files.find(fd);
  if (file === undefined) return -EBADF;
  switch (command) {
    case 0: // F_DUPFD
    case 1030: // F_DUPFD_CLOEXEC
      return c.files.copy(fd, command === 1030, int(arg) < 0 ? NOFILE : int(arg));
    case 1: // F_GETFD
      return c.files.closeOnExec(fd) ? 1 : 0;
    case 2: // F_SETFD
      c.files.setCloseOnExec(fd, (arg & 1n) !== 0n);
      return 0;
    case 3: // F_GETFL
      return file.flags;
    case 4: // F_SETFL
      file.flags = (file.flags & ~SETFL) | (int(arg) & SETFL);
      return 0;
    default:
      return -EINVAL;
  }
}

/** No descriptor is a terminal. */
function ioctl(c: Context, fd: number, request: number, arg: bigint): number {
  const file = c.files.find(fd);
  if (file === undefined) return -EBADF;
  const { what } = file;
  if (request === FIOCLEX || request === FIONCLEX) {
    c.files.setCloseOnExec(fd, request === FIOCLEX);
    return 0;
  }
  if (request === FIONBIO) {
    const b = c.space.read(arg, 4);
    if (b === undefined) return -EFAULT;
    const on = b.some((x) => x !== 0);
    file.flags = on ? file.flags | O_NONBLOCK : file.flags & ~O_NONBLOCK;
    return 0;
  }
  if (request === FIONREAD && (what.kind === "reader" || what.kind === "writer")) {
    const b = new Uint8Array(4);
    new DataView(b.buffer).setInt32(0, pipeLength(what.pipe), true);
    return c.space.write(arg, b) ? 0 : -EFAULT;
  }
  return -ENOTTY;
}

function dup2(c: Context, fd: number, to: number): number {
  if (fd !== to) return c.files.copyTo(fd, to, false);
  return c.files.find(fd) === undefined ? -EBADF : fd;
}

function dup3(c: Context, fd: number, to: number, flags: number): number {
  if (fd === to || (flags & ~O_CLOEXEC) !== 0) return -EINVAL;
  return c.files.copyTo(fd, to, flags !== 0);
}

function pipe(c: Context, va: bigint, flags: number): number {
  if ((flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT)) !== 0) return -EINVAL;
  const { reader, writer } = makePipe(flags & ~O_CLOEXEC);
  const onExec = (flags & O_CLOEXEC) !== 0;
  const from = c.files.add(reader, onExec);
  const to = from < 0 ? from : c.files.add(writer, onExec);
  const b = new Uint8Array(8);
  new DataView(b.buffer).setInt32(0, from, true);
  new DataView(b.buffer).setInt32(4, to, true);
  const written = to >= 0 && c.space.write(va, b);
  if (written) return 0;
  for (const fd of [from, to]) if (fd >= 0) c.files.close(fd);
  return to < 0 ? to : -EFAULT;
}

/** POLL bits. */
const IN = 0x41; // and RDNORM
const OUT = 0x104; // and WRNORM
const ERR = 8;
const HUP = 0x10;
const NVAL = 0x20;

function ready(file: OpenFile, wanted: number): number {
  const { what } = file;
  const mode = file.flags & O_ACCMODE;
  let now =
    (mode !== O_WRONLY && canRead(file) ? IN : 0) | (mode !== O_RDONLY && canWrite(file) ? OUT : 0);
  if (what.kind === "reader" && what.pipe.writers === 0) {
    now = HUP | (what.pipe.pages.length > 0 ? IN : 0);
  }
  if (what.kind === "writer" && what.pipe.readers === 0) now |= ERR;
  return now & (wanted | ERR | HUP);
}

/** The mask of ppoll and pselect6, which may be null; a number is an error. set_user_sigmask() */
function maskAt(c: Context, va: bigint, size: bigint): bigint | number | undefined {
  if (va === 0n) return undefined;
  return size === 8n ? (readQuads(c, va, 1)?.[0] ?? -EFAULT) : -EINVAL;
}

/** Nothing is ready: a signal that the mask lets in ends the wait, or the time does. */
function wait(c: Context, ns: bigint | undefined, mask: bigint | undefined): number {
  if (mask !== undefined && c.signals.suspend(mask)) return -EINTR;
  if (ns === undefined) return -EDEADLK;
  c.sleep(ns);
  return 0;
}

/** poll and ppoll. `ns` undefined waits for ever. */
function poll(
  c: Context,
  va: bigint,
  count: bigint,
  ns: bigint | undefined,
  mask?: bigint,
): number {
  if (count > BigInt(NOFILE)) return -EINVAL;
  const b = c.space.read(va, Number(count) * 8);
  if (b === undefined) return -EFAULT;
  const v = new DataView(b.buffer);
  let nr = 0;
  for (let at = 0; at < b.length; at += 8) {
    const fd = v.getInt32(at, true);
    const file = c.files.find(fd);
    const events = fd < 0 ? 0 : file === undefined ? NVAL : ready(file, v.getUint16(at + 4, true));
    v.setUint16(at + 6, events, true);
    if (events !== 0) nr++;
  }
  if (!c.space.write(va, b)) return -EFAULT;
  return nr > 0 ? nr : wait(c, ns, mask);
}

function ppoll(c: Context, [va, count, timeout, set, size]: Arguments): number {
  const ns = timeout === 0n ? undefined : duration(c, timeout);
  if (typeof ns === "number") return ns;
  const mask = maskAt(c, set, size);
  return typeof mask === "number" ? mask : poll(c, va, count, ns, mask);
}

function pselect(c: Context, a: Arguments): number {
  const ns = a[4] === 0n ? undefined : duration(c, a[4]);
  const [set = 0n, size = 0n] = a[5] === 0n ? [] : (readQuads(c, a[5], 2) ?? [1n, 8n]);
  const mask = typeof ns === "number" ? ns : maskAt(c, set, size);
  return typeof mask === "number" ? mask : select(c, a, ns, mask);
}

/** select and pselect6: three sets of 64-bit words. */
function select(
  c: Context,
  [nrWord, ...sets]: Arguments,
  ns: bigint | number | undefined,
  mask?: bigint,
): number {
  if (typeof ns === "number") return ns;
  const nr = int(nrWord);
  if (nr < 0) return -EINVAL;
  const words = Math.ceil(Math.min(nr, NOFILE) / 64);
  const out: (readonly [bigint, readonly bigint[]])[] = [];
  let sum = 0;
  for (const [which, va] of sets.slice(0, 3).entries()) {
    if (va === 0n) continue;
    const asked = readQuads(c, va, words);
    if (asked === undefined) return -EFAULT;
    const answer = asked.map(() => 0n);
    for (let fd = 0; fd < Math.min(nr, NOFILE); fd++) {
      const bit = 1n << BigInt(fd & 63);
      if (((asked[fd >> 6] ?? 0n) & bit) === 0n) continue;
      const file = c.files.find(fd);
      if (file === undefined) return -EBADF;
      const wanted = which === 0 ? IN | HUP : which === 1 ? OUT | ERR : 0;
      if ((ready(file, wanted) & wanted) === 0) continue;
      answer[fd >> 6] = (answer[fd >> 6] ?? 0n) | bit;
      sum++;
    }
    out.push([va, answer]);
  }
  const waited = sum === 0 ? wait(c, ns, mask) : 0;
  if (waited < 0) return waited;
  return out.every(([va, answer]) => c.space.write(va, quads(...answer))) ? sum : -EFAULT;
}

/** The nanoseconds of a struct timeval that may be null. */
function timeval(c: Context, va: bigint): bigint | number | undefined {
  if (va === 0n) return undefined;
  const words = readQuads(c, va, 2);
  if (words === undefined) return -EFAULT;
  const [s = 0n, us = 0n] = words.map((w) => BigInt.asIntN(64, w));
  return s < 0n || us < 0n ? -EINVAL : s * 1_000_000_000n + us * 1000n;
}

export const IO_CALLS: Readonly<Record<number, Syscall>> = {
  0: { name: "read", args: "d r d", run: (c, a) => read(c, int(a[0]), a[1], a[2]) },
  1: { name: "write", args: "d w d", run: (c, a) => write(c, int(a[0]), a[1], a[2]) },
  3: { name: "close", args: "d", run: (c, a) => (c.files.close(int(a[0])) ? 0 : -EBADF) },
  7: {
    name: "poll",
    args: "x d d",
    run: (c, a) => poll(c, a[0], a[1], int(a[2]) < 0 ? undefined : BigInt(int(a[2])) * 1_000_000n),
  },
  8: { name: "lseek", args: "d d d", run: (c, a) => lseek(c, int(a[0]), a[1], int(a[2])) },
  16: { name: "ioctl", args: "d x x", run: (c, a) => ioctl(c, int(a[0]), int(a[1]), a[2]) },
  19: {
    name: "readv",
    args: "d x d",
    run: (c, a) => vector(c, int(a[0]), a[1], int(a[2]), (at, n) => read(c, int(a[0]), at, n)),
  },
  20: {
    name: "writev",
    args: "d v d",
    run: (c, a) => vector(c, int(a[0]), a[1], int(a[2]), (at, n) => write(c, int(a[0]), at, n)),
  },
  22: { name: "pipe", args: "x", run: (c, a) => pipe(c, a[0], 0) },
  23: { name: "select", args: "d x x x x", run: (c, a) => select(c, a, timeval(c, a[4])) },
  32: { name: "dup", args: "d", run: (c, a) => c.files.copy(int(a[0])) },
  33: { name: "dup2", args: "d d", run: (c, a) => dup2(c, int(a[0]), int(a[1])) },
  72: { name: "fcntl", args: "d d x", run: (c, a) => fcntl(c, int(a[0]), int(a[1]), a[2]) },
  270: {
    name: "pselect6",
    args: "d x x x x x",
    run: pselect,
  },
  271: { name: "ppoll", args: "x d x x d", run: ppoll },
  292: { name: "dup3", args: "d d O", run: (c, a) => dup3(c, int(a[0]), int(a[1]), int(a[2])) },
  293: { name: "pipe2", args: "x O", run: (c, a) => pipe(c, a[0], int(a[1])) },
};

// System calls about paths. DIFFERS: there is no file system but a root and a few devices: /dev/null, zero, full, random,
// urandom, the three standard streams, and /proc/self/exe as a link; every other path is ENOENT, and nothing can be made.
import type { Context, Syscall } from "./context.ts";
import { int, textAt } from "./context.ts";
import { O_ACCMODE, O_RDONLY, type FileKind, type OpenFile } from "./descriptors.ts";
import {
  EACCES,
  EBADF,
  EEXIST,
  EFAULT,
  EINVAL,
  EISDIR,
  ENAMETOOLONG,
  ENOENT,
  ENOSYS,
  ENOTDIR,
  ERANGE,
  EROFS,
} from "./linux.ts";

const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_SYMLINK_NOFOLLOW = 0x100;
const S_IFCHR = 0o020000;
const S_IFDIR = 0o040000;
const S_IFIFO = 0o010000;
const S_IFLNK = 0o120000;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_DIRECTORY = 0o200000;
const O_CLOEXEC = 0o2000000;
const PATH_MAX = 4096;

const FOLDERS = new Set(["/", "/dev", "/proc", "/proc/self"]);
const DEVICES: Readonly<Record<string, FileKind["kind"] & ("null" | "zero" | "full" | "random")>> =
  {
    "/dev/null": "null",
    "/dev/zero": "zero",
    "/dev/full": "full",
    "/dev/random": "random",
    "/dev/urandom": "random",
  };
const STREAMS: Readonly<Record<string, number>> = {
  "/dev/stdin": 0,
  "/dev/stdout": 1,
  "/dev/stderr": 2,
};
const LINK = "/proc/self/exe";

/** A path without its dots, from the root. Undefined when it goes through something that is no folder. */
function resolve(from: string, path: string): string | undefined {
  const out = path.startsWith("/") ? [] : from.split("/").filter((p) => p !== "");
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (!FOLDERS.has(`/${out.join("/")}`)) return undefined;
    if (part === "..") out.pop();
    else out.push(part);
  }
  return `/${out.join("/")}`;
}

interface Place {
  readonly path: string;
  readonly kind: "folder" | "device" | "stream" | "link";
}

/** What a path argument names, or a negative error. */
function placeAt(c: Context, dir: number, va: bigint): Place | number {
  const text = textAt(c, va, PATH_MAX);
  if (text === undefined) return -EFAULT;
  if (text.length >= PATH_MAX) return -ENAMETOOLONG;
  if (text === "") return -ENOENT;
  let from = c.cwd;
  if (!text.startsWith("/") && dir !== AT_FDCWD) {
    const what = c.files.find(dir)?.what;
    if (what === undefined) return -EBADF;
    if (what.kind !== "folder") return -ENOTDIR;
    from = what.path;
  }
  const path = resolve(from, text);
  if (path === undefined) return -ENOENT;
  const kind = FOLDERS.has(path)
    ? "folder"
    : path in DEVICES
      ? "device"
      : path in STREAMS
        ? "stream"
        : path === LINK
          ? "link"
          : undefined;
  if (kind === undefined) return -ENOENT;
  return kind !== "folder" && /\/\.?$/.test(text) ? -ENOTDIR : { path, kind };
}

/** struct stat: mode, links, inode, device number. */
function statBytes(c: Context, mode: number, ino: number, rdev: bigint): Uint8Array {
  const b = new Uint8Array(144);
  const v = new DataView(b.buffer);
  const root = (mode & 0o170000) === S_IFDIR;
  const owner = root || rdev !== 0n ? 0 : c.uid;
  v.setBigUint64(0, 5n, true); // st_dev
  v.setBigUint64(8, BigInt(ino), true); // st_ino
  v.setBigUint64(16, root ? 2n : 1n, true); // st_nlink
  v.setUint32(24, mode, true);
  v.setUint32(28, owner, true);
  v.setUint32(32, owner, true);
  v.setBigUint64(40, rdev, true); // st_rdev
  v.setBigUint64(56, (mode & 0o170000) === S_IFCHR ? 1024n : 4096n, true); // st_blksize
  return b;
}

/** Major 1: the numbers of Documentation/admin-guide/devices.txt. */
const MINORS = { null: 3n, zero: 5n, full: 7n, random: 9n } as const;

function statOf(c: Context, { what }: OpenFile): Uint8Array {
  switch (what.kind) {
    case "folder":
      return statBytes(c, S_IFDIR | 0o555, inodeOf(what.path), 0n);
    case "reader":
    case "writer":
      return statBytes(c, S_IFIFO | 0o600, 100, 0n);
    case "input":
      return statBytes(c, S_IFCHR | 0o620, 1, 0x103n);
    case "output":
      return statBytes(c, S_IFCHR | 0o620, 1 + what.to, 0x103n);
    default:
      return statBytes(
        c,
        S_IFCHR | 0o666,
        10 + Number(MINORS[what.kind]),
        0x100n | MINORS[what.kind],
      );
  }
}

const inodeOf = (path: string): number => 1000 + [...FOLDERS].indexOf(path);

function fstat(c: Context, fd: number, va: bigint): number {
  const file = c.files.find(fd);
  if (file === undefined) return -EBADF;
  return c.space.write(va, statOf(c, file)) ? 0 : -EFAULT;
}

function stat(c: Context, dir: number, path: bigint, va: bigint, flags: number): number {
  if ((flags & AT_EMPTY_PATH) !== 0 && textAt(c, path, PATH_MAX) === "") {
    if (dir !== AT_FDCWD) return fstat(c, dir, va);
    return c.space.write(va, statBytes(c, S_IFDIR | 0o555, inodeOf(c.cwd), 0n)) ? 0 : -EFAULT;
  }
  const place = placeAt(c, dir, path);
  if (typeof place === "number") return place;
  let bytes: Uint8Array;
  if (place.kind === "link") {
    bytes =
      (flags & AT_SYMLINK_NOFOLLOW) !== 0
        ? statBytes(c, S_IFLNK | 0o777, 20, 0n)
        : statBytes(c, 0o100755, 21, 0n);
  } else {
    const file = fileOf(c, place, O_RDONLY);
    if (typeof file === "number") return file;
    bytes = statOf(c, file);
  }
  return c.space.write(va, bytes) ? 0 : -EFAULT;
}

function fileOf(c: Context, { path, kind }: Place, flags: number): OpenFile | number {
  if (kind === "folder") return { what: { kind, path }, flags };
  if (kind === "stream") return c.files.find(STREAMS[path] ?? 0) ?? -ENOENT;
  const device = DEVICES[path];
  // The program's own file cannot be read: there are no files.
  return device === undefined ? -EACCES : { what: { kind: device }, flags };
}

function open(c: Context, dir: number, path: bigint, flags: number): number {
  const place = placeAt(c, dir, path);
  const writes = (flags & O_ACCMODE) !== O_RDONLY;
  if (place === -ENOENT && (flags & O_CREAT) !== 0) {
    return textAt(c, path, PATH_MAX)?.replace(/^\/+/, "").includes("/") === true ? -ENOENT : -EROFS;
  }
  if (typeof place === "number") return place;
  if ((flags & (O_CREAT | O_EXCL)) === (O_CREAT | O_EXCL)) return -EEXIST;
  if (place.kind === "folder" && (writes || (flags & O_CREAT) !== 0)) return -EISDIR;
  if (place.kind !== "folder" && (flags & O_DIRECTORY) !== 0) return -ENOTDIR;
  const file = fileOf(c, place, flags & (O_ACCMODE | 0o6000));
  return typeof file === "number" ? file : c.files.add(file, (flags & O_CLOEXEC) !== 0);
}

function access(c: Context, dir: number, path: bigint, mode: number): number {
  if ((mode & ~7) !== 0) return -EINVAL;
  const place = placeAt(c, dir, path);
  if (typeof place === "number") return place;
  if (place.kind === "folder") return mode & 2 ? -EROFS : 0;
  if (place.kind === "link") return mode & 2 ? -EACCES : 0;
  return mode & 1 ? -EACCES : 0;
}

function readlink(c: Context, dir: number, path: bigint, va: bigint, size: number): number {
  if (size <= 0) return -EINVAL;
  const place = placeAt(c, dir, path);
  if (typeof place === "number") return place;
  if (place.kind !== "link") return -EINVAL;
  const bytes = new TextEncoder().encode(c.exe).subarray(0, size);
  return c.space.write(va, bytes) ? bytes.length : -EFAULT;
}

function chdir(c: Context, path: bigint): number {
  const place = placeAt(c, AT_FDCWD, path);
  if (typeof place === "number") return place;
  if (place.kind !== "folder") return -ENOTDIR;
  c.cwd = place.path;
  return 0;
}

function getcwd(c: Context, va: bigint, size: bigint): number {
  const bytes = new TextEncoder().encode(`${c.cwd}\0`);
  if (size < BigInt(bytes.length)) return -ERANGE;
  return c.space.write(va, bytes) ? bytes.length : -EFAULT;
}

/** mkdir, unlink and the like: what is not there is not there, and what is there stays. */
function change(c: Context, dir: number, path: bigint): number {
  const place = placeAt(c, dir, path);
  return typeof place === "number" ? place : -EROFS;
}

function make(c: Context, dir: number, path: bigint): number {
  const place = placeAt(c, dir, path);
  return place === -ENOENT ? -EROFS : typeof place === "number" ? place : -EEXIST;
}

/** There is nothing to execute but the program itself, which would be a new process image. */
function execve(c: Context, path: bigint): number {
  const place = placeAt(c, AT_FDCWD, path);
  if (typeof place === "number") return place;
  return place.kind === "link" ? -ENOSYS : -EACCES;
}

const FOLLOW = 0;

export const FILE_CALLS: Readonly<Record<number, Syscall>> = {
  2: { name: "open", args: "s O o", run: (c, a) => open(c, AT_FDCWD, a[0], int(a[1])) },
  4: { name: "stat", args: "s x", run: (c, a) => stat(c, AT_FDCWD, a[0], a[1], FOLLOW) },
  5: { name: "fstat", args: "d x", run: (c, a) => fstat(c, int(a[0]), a[1]) },
  6: {
    name: "lstat",
    args: "s x",
    run: (c, a) => stat(c, AT_FDCWD, a[0], a[1], AT_SYMLINK_NOFOLLOW),
  },
  21: { name: "access", args: "s d", run: (c, a) => access(c, AT_FDCWD, a[0], int(a[1])) },
  59: { name: "execve", args: "s x x", run: (c, a) => execve(c, a[0]) },
  79: { name: "getcwd", args: "x d", run: (c, a) => getcwd(c, a[0], a[1]) },
  80: { name: "chdir", args: "s", run: (c, a) => chdir(c, a[0]) },
  83: { name: "mkdir", args: "s o", run: (c, a) => make(c, AT_FDCWD, a[0]) },
  84: { name: "rmdir", args: "s", run: (c, a) => change(c, AT_FDCWD, a[0]) },
  87: { name: "unlink", args: "s", run: (c, a) => change(c, AT_FDCWD, a[0]) },
  89: {
    name: "readlink",
    args: "s r d",
    run: (c, a) => readlink(c, AT_FDCWD, a[0], a[1], int(a[2])),
  },
  257: { name: "openat", args: "f s O o", run: (c, a) => open(c, int(a[0]), a[1], int(a[2])) },
  262: {
    name: "newfstatat",
    args: "f s x x",
    run: (c, a) => stat(c, int(a[0]), a[1], a[2], int(a[3])),
  },
  263: { name: "unlinkat", args: "f s x", run: (c, a) => change(c, int(a[0]), a[1]) },
  267: {
    name: "readlinkat",
    args: "f s r d",
    run: (c, a) => readlink(c, int(a[0]), a[1], a[2], int(a[3])),
  },
  269: { name: "faccessat", args: "f s d", run: (c, a) => access(c, int(a[0]), a[1], int(a[2])) },
  439: {
    name: "faccessat2",
    args: "f s d x",
    run: (c, a) => access(c, int(a[0]), a[1], int(a[2])),
  },
};

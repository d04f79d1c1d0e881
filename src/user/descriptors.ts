// The open files of the program: the three that it starts with, devices, directories, and pipes, whose bytes stay in
// here. Descriptors share an open file as dup leaves them. It knows no system call; fs/file.c and fs/pipe.c have the rules.
import { EBADF, EINVAL, EMFILE, PAGE } from "./linux.ts";

/** A page of a pipe with the bytes [start, end) in it. */
interface PipePage {
  readonly bytes: Uint8Array;
  start: number;
  end: number;
}

/** What a pipe holds, and how many of its ends' files are open. */
export interface Pipe {
  readonly pages: PipePage[];
  writers: number;
  readers: number;
}

export type FileKind =
  | { readonly kind: "input" }
  | { readonly kind: "output"; readonly to: 1 | 2 }
  | { readonly kind: "null" | "zero" | "full" | "random" }
  | { readonly kind: "folder"; readonly path: string }
  | { readonly kind: "reader" | "writer"; readonly pipe: Pipe };

/** An open file description: what dup shares. */
export interface OpenFile {
  readonly what: FileKind;
  /** O_ flags: the access mode, and those that F_SETFL changes. */
  flags: number;
}

interface Slot {
  readonly file: OpenFile;
  closeOnExec: boolean;
}

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_ACCMODE = 3;
/** PIPE_DEF_BUFFERS: the pages that a pipe has. */
const PIPE_PAGES = 16;
/** RLIMIT_NOFILE. */
export const NOFILE = 1024;

export class Descriptors {
  readonly #slots = new Map<number, Slot>();

  constructor() {
    this.#put(0, { what: { kind: "input" }, flags: O_RDONLY }, false);
    this.#put(1, { what: { kind: "output", to: 1 }, flags: O_WRONLY }, false);
    this.#put(2, { what: { kind: "output", to: 2 }, flags: O_WRONLY }, false);
  }

  #put(fd: number, file: OpenFile, closeOnExec: boolean): void {
    this.#slots.set(fd, { file, closeOnExec });
  }

  /** The open file of a descriptor. */
  find(fd: number): OpenFile | undefined {
    return this.#slots.get(fd)?.file;
  }

  /** Gives a file the lowest free descriptor that is not below `least`: it, or -EMFILE. */
  add(file: OpenFile, closeOnExec: boolean, least = 0): number {
    let fd = least;
    while (this.#slots.has(fd)) fd++;
    if (fd >= NOFILE) return -EMFILE;
    this.#put(fd, file, closeOnExec);
    return fd;
  }

  /** dup and F_DUPFD. */
  copy(fd: number, closeOnExec = false, least = 0): number {
    const file = this.find(fd);
    if (file === undefined) return -EBADF;
    return least < 0 || least >= NOFILE ? -EINVAL : this.add(file, closeOnExec, least);
  }

  /** dup2 and dup3 of two different numbers: `to` is closed first. */
  copyTo(fd: number, to: number, closeOnExec: boolean): number {
    const file = this.find(fd);
    if (file === undefined || to < 0 || to >= NOFILE) return -EBADF;
    if (this.#slots.has(to)) this.close(to);
    this.#put(to, file, closeOnExec);
    return to;
  }

  closeOnExec(fd: number): boolean {
    return this.#slots.get(fd)?.closeOnExec === true;
  }

  setCloseOnExec(fd: number, on: boolean): void {
    const slot = this.#slots.get(fd);
    if (slot !== undefined) slot.closeOnExec = on;
  }

  /** Answers whether it was open. The last descriptor of a pipe's end takes that end away. */
  close(fd: number): boolean {
    const file = this.find(fd);
    if (file === undefined) return false;
    this.#slots.delete(fd);
    const shared = [...this.#slots.values()].some((s) => s.file === file);
    const { what } = file;
    if (!shared && what.kind === "reader") what.pipe.readers--;
    if (!shared && what.kind === "writer") what.pipe.writers--;
    return true;
  }
}

/** The two ends of a new pipe. */
export function makePipe(flags: number): { readonly reader: OpenFile; readonly writer: OpenFile } {
  const pipe: Pipe = { pages: [], writers: 1, readers: 1 };
  return {
    reader: { what: { kind: "reader", pipe }, flags: O_RDONLY | flags },
    writer: { what: { kind: "writer", pipe }, flags: O_WRONLY | flags },
  };
}

/** Bytes that wait in a pipe. */
export function pipeLength({ pages }: Pipe): number {
  return pages.reduce((n, p) => n + p.end - p.start, 0);
}

/**
 * Puts bytes into a pipe: what is over whole pages goes behind the last bytes if it fits there, the rest into new pages.
 *
 * returns  how many bytes went in; 0 when the pipe is full
 */
export function pipePut({ pages }: Pipe, bytes: Uint8Array): number {
  let done = 0;
  const last = pages.at(-1);
  const rest = bytes.length % PAGE;
  if (last !== undefined && rest > 0 && last.end + rest <= PAGE) {
    last.bytes.set(bytes.subarray(0, rest), last.end);
    last.end += rest;
    done = rest;
  }
  while (done < bytes.length && pages.length < PIPE_PAGES) {
    const part = bytes.subarray(done, done + PAGE);
    const page = new Uint8Array(PAGE);
    page.set(part);
    pages.push({ bytes: page, start: 0, end: part.length });
    done += part.length;
  }
  return done;
}

/** Takes at most n bytes out of a pipe. */
export function pipeTake(pipe: Pipe, n: number): Uint8Array {
  const out = new Uint8Array(Math.min(n, pipeLength(pipe)));
  let done = 0;
  for (let page = pipe.pages[0]; page !== undefined && done < out.length; page = pipe.pages[0]) {
    const part = page.bytes.subarray(
      page.start,
      Math.min(page.end, page.start + out.length - done),
    );
    out.set(part, done);
    done += part.length;
    page.start += part.length;
    if (page.start === page.end) pipe.pages.shift();
  }
  return out;
}

/** Whether a read would not wait: the host's input is always taken as ready. */
export function canRead({ what }: OpenFile): boolean {
  return what.kind !== "reader" || what.pipe.pages.length > 0 || what.pipe.writers === 0;
}

/** Whether a write would not wait. */
export function canWrite({ what }: OpenFile): boolean {
  return what.kind !== "writer" || what.pipe.readers === 0 || what.pipe.pages.length < PIPE_PAGES;
}

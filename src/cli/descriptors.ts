// Bytes to and from open descriptors, at once and whole, for a program that runs with ours: its output must not wait in
// a queue when it dies. Errors come back as Linux's numbers, negative, as the program's system call returns them.
import {
  closeSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  statSync,
  writeSync,
} from "node:fs";
import { UsageError } from "./errors.ts";
import { causeOf } from "./files.ts";

const ERRNO: Readonly<Record<string, number>> = {
  EIO: 5,
  EBADF: 9,
  EISDIR: 21,
  EFBIG: 27,
  ENOSPC: 28,
  EPIPE: 32,
};
const EIO = 5;
const ENOSPC = 28;
const PAUSE = new Int32Array(new SharedArrayBuffer(4));

function codeOf(e: unknown): string {
  return e instanceof Error && "code" in e ? String(e.code) : "";
}

/** Tries until the descriptor is ready. */
function ready<T>(work: () => T): T {
  for (;;) {
    try {
      return work();
    } catch (e) {
      if (codeOf(e) !== "EAGAIN") throw e;
      Atomics.wait(PAUSE, 0, 0, 1);
    }
  }
}

/** Writes all bytes; answers their number, or a negative error number. */
export function writeDescriptor(fd: number, bytes: Uint8Array): number {
  let done = 0;
  try {
    while (done < bytes.length) done += ready(() => writeSync(fd, bytes, done));
    return done;
  } catch (e) {
    return done > 0 ? done : -(ERRNO[codeOf(e)] ?? EIO);
  }
}

/** Reads what is there, at most n bytes; none at the end, or a negative error number. */
export function readDescriptor(fd: number, n: number): Uint8Array | number {
  const b = new Uint8Array(n);
  try {
    return b.subarray(
      0,
      ready(() => readSync(fd, b)),
    );
  } catch (e) {
    return codeOf(e) === "EOF" ? b.subarray(0, 0) : -(ERRNO[codeOf(e)] ?? EIO);
  }
}

/** The bytes of a file that the user named, and its real path. */
export function readProgramFile(path: string): {
  readonly bytes: Uint8Array;
  readonly real: string;
} {
  if (path === "") throw new UsageError("exec: PROG is empty, expected a program's path");
  try {
    // A device or pipe might never end.
    if (!statSync(path).isFile() && !statSync(path).isDirectory()) {
      throw new Error("is no regular file");
    }
    return { bytes: readFileSync(path), real: realpathSync(path) };
  } catch (e) {
    throw new UsageError(`${path}: ${causeOf(e)}, expected a program that can be read`);
  }
}

/** A file that lines are added to as they come. */
export interface LineFile {
  add(line: string): void;
  close(): void;
}

/** Each line is written when it comes, so that a program that is interrupted leaves all of them. */
export function openLines(path: string): LineFile {
  let fd: number;
  try {
    fd = path === "-" ? 2 : openSync(path, "w");
  } catch (e) {
    throw new UsageError(`${path}: ${causeOf(e)}, expected a file that can be written`);
  }
  return {
    add(line) {
      const bytes = new TextEncoder().encode(`${line}\n`);
      const done = writeDescriptor(fd, bytes);
      // Standard error may be closed; a file that was asked for may not be short.
      if (done < bytes.length && fd !== 2) {
        const full = done === -ENOSPC || done >= 0;
        throw new UsageError(
          `${path}: ${full ? "the disk is full" : "cannot be written"}, expected room for the trace`,
        );
      }
    },
    close() {
      if (fd !== 2) closeSync(fd);
    },
  };
}

/** What text has where bytes are no UTF-8. */
const REPLACEMENT = "\ufffd";

/**
 * Words of our own command line or environment as the bytes that they were. Node makes text of them, which those that
 * are no UTF-8 do not survive; Linux still has them.
 *
 * file     where the bytes are, a NUL behind each word
 * returns  for each word itself, or its bytes where text cannot have them
 */
export function asGiven(words: readonly string[], file: string): readonly (string | Uint8Array)[] {
  if (!words.some((w) => w.includes(REPLACEMENT))) return words;
  const raw = new Map<string, Uint8Array[]>();
  try {
    const bytes = readFileSync(file);
    for (let at = 0; at < bytes.length;) {
      const end = bytes.indexOf(0, at);
      const word = bytes.subarray(at, end < 0 ? bytes.length : end);
      const text = word.toString("utf8");
      raw.set(text, [...(raw.get(text) ?? []), word]);
      at += word.length + 1;
    }
  } catch {
    return words;
  }
  // Several that make the same text keep their order.
  return words.map((w) => (w.includes(REPLACEMENT) ? (raw.get(w)?.shift() ?? w) : w));
}

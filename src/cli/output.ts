// Where a command's words go: results to standard output or a file, progress to a terminal's last line, and the wish to
// stop that Ctrl-C leaves. Pipelines get none of this; they are asked for the next piece or not.
import { stripVTControlCharacters } from "node:util";
import { writeDescriptor } from "./descriptors.ts";
import { causeOf, checkOutput, writeOutput } from "./files.ts";

/** What a command may do to the world. */
export interface Door {
  /** Prints a result: text with its final newline. */
  print(text: string): void;
  /** Writes bytes as they are, at once: how many, or a negative Linux error number. */
  raw(fd: 1 | 2, bytes: Uint8Array): number;
  /** Shows how far the work is, on a terminal only. */
  progress(text: string): void;
  /** Gives signals a chance to arrive, then says whether to stop. */
  interrupted(): Promise<boolean>;
  /** Milliseconds since the start. */
  elapsed(): number;
  /** Takes the last line of a terminal back, and leaves signals to Node again. */
  close(): void;
}

/** The streams that a door speaks to; `process` has them. */
export interface Streams {
  readonly stdout: Stream;
  readonly stderr: Stream;
}

export interface Stream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  /** The descriptor, where there is one behind it. */
  readonly fd?: number;
}

export function makeDoor(streams: Streams, output: string | undefined): Door {
  if (output !== undefined) checkOutput(output);
  const start = performance.now();
  let line = 0;
  let stop = false;
  let listening = false;
  const clear = (): void => {
    if (line > 0) streams.stderr.write(`\r${" ".repeat(line)}\r`);
    line = 0;
  };
  const onSignal = (): void => {
    if (stop) process.exit(130);
    stop = true;
  };
  return {
    print(text) {
      clear();
      const plain = streams.stdout.isTTY === true && output === undefined;
      const out = plain ? text : stripVTControlCharacters(text);
      if (output === undefined) streams.stdout.write(out);
      else writeOutput(output, out);
    },
    raw(fd, bytes) {
      clear();
      const stream = fd === 1 ? streams.stdout : streams.stderr;
      if (stream.fd !== undefined) return writeDescriptor(stream.fd, bytes);
      stream.write(new TextDecoder().decode(bytes));
      return bytes.length;
    },
    progress(text) {
      if (streams.stderr.isTTY !== true) return;
      clear();
      line = text.length;
      streams.stderr.write(text);
    },
    async interrupted() {
      if (!listening) process.on("SIGINT", onSignal);
      listening = true;
      await new Promise((done) => setImmediate(done));
      return stop;
    },
    elapsed: () => performance.now() - start,
    close() {
      clear();
      process.off("SIGINT", onSignal);
    },
  };
}

/** A closed pipe ends us quietly; a full disk is an error like any other. */
export function guardStreams(): void {
  process.stdout.on("error", (e: NodeJS.ErrnoException) => {
    if (e.code === "EPIPE") process.exit();
    process.stderr.write(`error: standard output: ${causeOf(e)}, expected it to take the result\n`);
    process.exit(2);
  });
  process.stderr.on("error", () => process.exit());
}

// The stack of things being read: files, macro bodies, repetitions. It hands out one statement at a time with the
// way it got there; it executes nothing.
import { AsmError, Reason } from "./errors.ts";
import type { StatementPlace } from "./layout.ts";
import type { Statement } from "./source.ts";
import { splitSource } from "./source.ts";

interface Frame {
  readonly kind: "file" | "macro" | "rept";
  /** What the backtrace says of this frame: "macro FOO at a.S:3". */
  readonly why: string;
  readonly statements: readonly Statement[];
  readonly ifDepth: number;
  next: number;
}

const MAX_DEPTH = 100;
const MAX_STATEMENTS = 2_000_000;

/** Files already cut into statements, by name; an included file is read by every source. */
export type SplitFiles = Map<
  string,
  { readonly text: string; readonly statements: readonly Statement[] }
>;

/** Reads statements through nested sources. */
export class Input {
  readonly #files: SplitFiles;
  readonly #stack: Frame[] = [];
  #executed = 0;

  constructor(files: SplitFiles) {
    this.#files = files;
  }

  pushFile(name: string, text: string, why: string): void {
    let file = this.#files.get(name);
    if (file?.text !== text) {
      file = { text, statements: splitSource(text, name) };
      this.#files.set(name, file);
    }
    this.#push({ kind: "file", why, statements: file.statements, ifDepth: 0, next: 0 });
  }

  /** lines: expanded text, each with the place it came from. */
  pushExpansion(
    kind: "macro" | "rept",
    why: string,
    lines: readonly Statement[],
    ifDepth: number,
  ): void {
    const statements = lines.flatMap((l) =>
      needsSplit(l.text)
        ? splitSource(l.text, l.file, l.line).map((s) => ({ ...s, line: l.line }))
        : [l],
    );
    this.#push({ kind, why, statements, ifDepth, next: 0 });
  }

  /** The next statement, or undefined at the end of everything. */
  next(): Statement | undefined {
    for (;;) {
      const top = this.#stack[this.#stack.length - 1];
      if (top === undefined) return undefined;
      const s = top.statements[top.next];
      if (s === undefined) {
        this.#stack.pop();
        continue;
      }
      top.next++;
      if (++this.#executed > MAX_STATEMENTS) {
        throw new AsmError(s, s.text, `more than ${MAX_STATEMENTS} statements: a loop?`);
      }
      return s;
    }
  }

  /** Collects up to the closing directive, nested ones of the same kind included in the body. */
  collect(opener: RegExp, closer: RegExp, what: string): Statement[] {
    const top = this.#stack[this.#stack.length - 1];
    const body: Statement[] = [];
    let depth = 1;
    while (top !== undefined) {
      const s = top.statements[top.next++];
      if (s === undefined) break;
      if (opener.test(s.text)) depth++;
      else if (closer.test(s.text) && --depth === 0) return body;
      body.push(s);
    }
    throw new Reason(`${what} without its end`);
  }

  /** `.exitm`: leaves the innermost macro; returns the `.if` depth at its start. */
  exitMacro(): number {
    for (let i = this.#stack.length - 1; i >= 0; i--) {
      const f = this.#stack[i];
      if (f?.kind !== "macro") continue;
      this.#stack.length = i;
      return f.ifDepth;
    }
    throw new Reason(".exitm outside a macro");
  }

  /** The rest of the innermost file is not read. */
  endAll(): void {
    this.#stack.length = 0;
  }

  place(s: Statement): StatementPlace {
    const backtrace = this.#stack.map((f) => f.why).filter((w) => w !== "");
    return { at: { file: s.file, line: s.line }, text: s.text, backtrace: backtrace.reverse() };
  }

  #push(f: Frame): void {
    // A finished frame has nothing more to say, and tail calls must not fill the stack.
    if (this.#stack.length >= MAX_DEPTH) throw new Reason(`nested more than ${MAX_DEPTH} deep`);
    this.#stack.push(f);
  }
}

function needsSplit(text: string): boolean {
  return /[;#\n]|\/\*/.test(text);
}

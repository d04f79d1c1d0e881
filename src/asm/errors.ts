// The one error the assembler throws: where, which statement, why, and how the text got there
// (macro calls and includes). It is not used for bugs in the assembler itself.

/** A place in a source file. line counts from 1. */
export interface SourceLine {
  readonly file: string;
  readonly line: number;
}

/** A statement could not be assembled; the message is one line. */
export class AsmError extends Error {
  readonly file: string;
  readonly line: number;
  readonly statement: string;
  readonly reason: string;
  /** Innermost first: "macro FOO at a.S:3", "included at b.S:1". */
  readonly backtrace: readonly string[];

  constructor(
    at: SourceLine,
    statement: string,
    reason: string,
    backtrace: readonly string[] = [],
  ) {
    const flat = statement.replace(/\s+/g, " ").trim();
    const shown = flat.length > 120 ? `${flat.slice(0, 117)}...` : flat;
    const via = backtrace.length > 0 ? ` (${backtrace.join(", ")})` : "";
    super(
      `${at.file}:${at.line}: ${oneLine(reason)}${shown === "" ? "" : ` in "${shown}"`}${oneLine(via)}`,
    );
    this.name = "AsmError";
    this.file = at.file;
    this.line = at.line;
    this.statement = shown;
    this.reason = oneLine(reason);
    this.backtrace = backtrace;
  }
}

/** What the parsers throw: a reason alone. The driver, which knows the place, makes an AsmError. */
export class Reason extends Error {
  override name = "Reason";
}

function oneLine(text: string): string {
  return text.replace(/[\r\n]+/g, " ");
}

// Cuts GNU as source text into statements: comments out, `;` apart, each with its line. It knows
// strings and character constants and nothing of what a statement means.
import { AsmError, Reason } from "./errors.ts";

/** One statement, trimmed, never empty. */
export interface Statement {
  readonly text: string;
  readonly file: string;
  readonly line: number;
}

/**
 * Splits text into statements as gas's scrubber does for x86: `#` and C comments go, a `/` at the start of a
 * line makes a comment line, `;` and newline separate.
 */
export function splitSource(text: string, file: string, firstLine = 1): Statement[] {
  const out: Statement[] = [];
  const n = text.length;
  let line = firstLine;
  let startLine = line;
  let current = "";
  const flush = (): void => {
    const trimmed = current.trim();
    if (trimmed !== "") out.push({ text: trimmed, file, line: startLine });
    current = "";
    startLine = line;
  };
  let i = 0;
  while (i < n) {
    const c = text[i] ?? "";
    if (c === "\n") {
      flush();
      line++;
      startLine = line;
      i++;
    } else if (c === ";") {
      flush();
      i++;
    } else if (c === "#") {
      while (i < n && text[i] !== "\n") i++;
    } else if (c === "/" && text[i + 1] === "*") {
      const end = text.indexOf("*/", i + 2);
      if (end < 0) throw new AsmError({ file, line }, "", "comment without an end: expected */");
      for (let j = i; j < end; j++) if (text[j] === "\n") line++;
      if (current.trim() === "") startLine = line;
      current += " ";
      i = end + 2;
    } else if (c === "/" && current.trim() === "" && atLineStart(text, i)) {
      while (i < n && text[i] !== "\n") i++;
    } else if (c === '"') {
      const end = stringEnd(text, i);
      if (end < 0) {
        throw new AsmError({ file, line }, current, 'string without an end: expected "');
      }
      current += text.slice(i, end);
      for (let j = i; j < end; j++) if (text[j] === "\n") line++;
      i = end;
    } else if (c === "'" && i + 1 < n && text[i + 1] !== "\n") {
      const len = charLength(text, i);
      current += text.slice(i, i + len);
      i += len;
    } else {
      current += c;
      i++;
    }
  }
  flush();
  return out;
}

/** End (past the quote) of the string that starts at i, or -1. */
export function stringEnd(text: string, i: number): number {
  let j = i + 1;
  while (j < text.length) {
    if (text[j] === "\\") j += 2;
    else if (text[j] === '"') return j + 1;
    else j++;
  }
  return -1;
}

// A character constant: 'x or 'x', '\\x or '\\x'.
function charLength(text: string, i: number): number {
  const n = text[i + 1] === "\\" ? 3 : 2;
  return text[i + n] === "'" ? n + 1 : n;
}

function atLineStart(text: string, i: number): boolean {
  let j = i - 1;
  while (j >= 0 && (text[j] === " " || text[j] === "\t")) j--;
  return j < 0 || text[j] === "\n";
}

/** Splits at commas outside strings and parentheses. An empty text has no parts. */
export function splitCommas(text: string): string[] {
  if (text.trim() === "") return [];
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '"') {
      const end = stringEnd(text, i);
      if (end < 0) throw new Reason('string without an end: expected "');
      i = end - 1;
    } else if (c === "'") i += charLength(text, i) - 1;
    else if (c === "(") depth++;
    else if (c === ")") depth--;
    else if (c === "," && depth === 0) {
      parts.push(text.slice(from, i).trim());
      from = i + 1;
    }
  }
  parts.push(text.slice(from).trim());
  return parts;
}

/** The bytes of one or several juxtaposed string literals, escapes resolved. */
export function parseStringLiteral(text: string): Uint8Array {
  const out: number[] = [];
  let i = 0;
  const t = text.trim();
  if (!t.startsWith('"')) throw new Reason(`expected a string, found "${t}"`);
  while (i < t.length) {
    if (t[i] !== '"') throw new Reason(`expected a string, found "${t.slice(i)}"`);
    const end = stringEnd(t, i);
    if (end < 0) throw new Reason('string without an end: expected "');
    unescapeInto(t.slice(i + 1, end - 1), out);
    i = end;
    while (i < t.length && /\s/.test(t[i] ?? "")) i++;
  }
  return Uint8Array.from(out);
}

const ESCAPES: Readonly<Record<string, number>> = {
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
  "\\": 92,
  '"': 34,
};

function unescapeInto(body: string, out: number[]): void {
  const raw = new TextEncoder().encode(body);
  for (let i = 0; i < raw.length; i++) {
    const c = raw[i] ?? 0;
    if (c !== 92) {
      out.push(c);
      continue;
    }
    i++;
    const e = String.fromCharCode(raw[i] ?? 0);
    const simple = ESCAPES[e];
    if (simple !== undefined) out.push(simple);
    else if (/[0-7]/.test(e)) {
      let v = 0;
      let k = 0;
      while (k < 3 && /[0-7]/.test(String.fromCharCode(raw[i] ?? 0)) && i < raw.length) {
        v = v * 8 + ((raw[i] ?? 0) - 48);
        i++;
        k++;
      }
      i--;
      out.push(v & 0xff);
    } else if (e === "x" || e === "X") {
      let v = 0;
      while (i + 1 < raw.length && /[0-9a-fA-F]/.test(String.fromCharCode(raw[i + 1] ?? 0))) {
        v = (v * 16 + Number.parseInt(String.fromCharCode(raw[i + 1] ?? 0), 16)) & 0xff;
        i++;
      }
      out.push(v);
    } else throw new Reason(`unknown escape \\${e} in a string`);
  }
}

// The directives that decide what is read: conditionals, macros, repetitions and includes. They act on the Input and
// evaluate conditions in the Program; they emit nothing.
import { Reason } from "./errors.ts";
import type { Input } from "./input.ts";
import type { StatementPlace } from "./layout.ts";
import type { Macro } from "./macro.ts";
import {
  bindArguments,
  parseMacroHead,
  scrub,
  splitArguments,
  substitute,
  unquote,
} from "./macro.ts";
import type { Program } from "./program.ts";
import type { Statement } from "./source.ts";
import { parseStringLiteral, splitCommas } from "./source.ts";

interface Condition {
  active: boolean;
  /** A branch of this .if has been taken, or the whole stands in skipped text. */
  done: boolean;
  sawElse: boolean;
  readonly stmt: StatementPlace;
}

const MAX_MACRO_LINES = 1_000_000;

/** The state of conditionals and macros of one assembly. */
export class Control {
  readonly #program: Program;
  readonly #input: Input;
  readonly #include: (path: string) => string | undefined;
  readonly #conditions: Condition[] = [];
  readonly #macros = new Map<string, Macro>();
  #nrExpanded = 0;
  #nrLines = 0;

  constructor(program: Program, input: Input, include: (path: string) => string | undefined) {
    this.#program = program;
    this.#input = input;
    this.#include = include;
  }

  /** True while statements are to be skipped. */
  skipping(): boolean {
    return this.#conditions.some((c) => !c.active);
  }

  /** The innermost .if without its .endif. */
  openIf(): StatementPlace | undefined {
    return this.#conditions[this.#conditions.length - 1]?.stmt;
  }

  findMacro(name: string): Macro | undefined {
    return this.#macros.get(name);
  }

  /** Handles a conditional directive; false if it is none. Runs in skipped text too. */
  conditional(name: string, args: string, stmt: StatementPlace): boolean {
    if (name === "endif") {
      if (this.#conditions.pop() === undefined) throw new Reason(".endif without .if");
      return true;
    }
    if (name === "else" || name === "elseif") {
      const c = this.#conditions[this.#conditions.length - 1];
      if (c === undefined) throw new Reason(`.${name} without .if`);
      if (c.sawElse) throw new Reason(`.${name} after .else`);
      c.sawElse = name === "else";
      c.active = false;
      if (!c.done && (name === "else" || this.#program.needConstant(args) !== 0n)) {
        c.active = true;
        c.done = true;
      }
      return true;
    }
    if (!IF_NAMES.has(name)) return false;
    const skipped = this.skipping();
    const truth = !skipped && this.#truth(name, args);
    this.#conditions.push({ active: truth, done: truth || skipped, sawElse: false, stmt });
    return true;
  }

  /** Handles .macro, .rept, .include and their like; false if it is none. */
  directive(name: string, args: string, stmt: StatementPlace, s: Statement): boolean {
    switch (name) {
      case "macro":
        this.#define(args);
        return true;
      case "endm":
      case "endr":
        throw new Reason(`.${name} without its beginning`);
      case "purgem":
        for (const n of splitCommas(args)) {
          if (!this.#macros.delete(n.toLowerCase())) throw new Reason(`no macro ${n} to purge`);
        }
        return true;
      case "exitm":
        this.#conditions.length = Math.min(this.#conditions.length, this.#input.exitMacro());
        return true;
      case "rept":
        this.#rept(args, s);
        return true;
      case "irp":
      case "irpc":
        this.#irp(name, args, s);
        return true;
      case "include":
        this.#includeFile(args, stmt);
        return true;
      case "error":
        throw new Reason(args.trim() === "" ? ".error directive invoked" : textOf(args));
      case "err":
        throw new Reason(".err encountered");
      case "warning":
        return true;
      case "end":
        this.#input.endAll();
        this.#conditions.length = 0;
        return true;
      default:
        return false;
    }
  }

  /** Expands a macro call. */
  call(macro: Macro, args: string, s: Statement): void {
    const bound = bindArguments(macro, args);
    const count = this.#nrExpanded++;
    const lines = macro.body.map((l) => ({ ...l, text: substitute(l.text, bound, count) }));
    this.#countLines(lines.length);
    this.#input.pushExpansion(
      "macro",
      `macro ${macro.name} at ${s.file}:${s.line}`,
      lines,
      this.#conditions.length,
    );
  }

  #truth(name: string, args: string): boolean {
    const p = this.#program;
    switch (name) {
      case "ifdef":
        return (
          p.isDefined(args.trim()) ||
          (p.symbols.get(args.trim())?.declared === true && isReferable(p, args.trim()))
        );
      case "ifndef":
      case "ifnotdef":
        return !this.#truth("ifdef", args);
      case "ifb":
        return args.trim() === "";
      case "ifnb":
        return args.trim() !== "";
      case "ifc":
      case "ifnc": {
        const [a = "", b = "", ...more] = splitCommas(args);
        if (more.length > 0) throw new Reason(`.${name} takes two strings`);
        return (bare(a) === bare(b)) === (name === "ifc");
      }
      case "ifeqs":
      case "ifnes": {
        const [a = "", b = ""] = splitCommas(args);
        return (textOf(a) === textOf(b)) === (name === "ifeqs");
      }
      default: {
        const v = p.needConstant(args);
        if (name === "if" || name === "ifne") return v !== 0n;
        if (name === "ifeq") return v === 0n;
        if (name === "ifge") return v >= 0n;
        if (name === "ifgt") return v > 0n;
        return name === "ifle" ? v <= 0n : v < 0n;
      }
    }
  }

  #define(args: string): void {
    const body = this.#input.collect(/^\.macro(\s|$)/i, /^\.endm(\s|$)/i, ".macro");
    const head = parseMacroHead(args);
    const name = head.name.toLowerCase();
    if (this.#macros.has(name)) throw new Reason(`macro ${head.name} is already defined`);
    this.#macros.set(name, { ...head, body });
  }

  #body(what: string): Statement[] {
    return this.#input.collect(/^\.(rept|irpc?)(\s|$)/i, /^\.endr(\s|$)/i, what);
  }

  #rept(args: string, s: Statement): void {
    const n = this.#program.needCount(args);
    const body = this.#body(".rept");
    this.#countLines(n * body.length);
    const lines: Statement[] = [];
    if (body.length > 0) for (let i = 0; i < n; i++) lines.push(...body);
    this.#input.pushExpansion("rept", `.rept at ${s.file}:${s.line}`, lines, 0);
  }

  #irp(kind: "irp" | "irpc", args: string, s: Statement): void {
    const m = /^([A-Za-z_.$][\w.$]*)\s*(?:,\s*|\s+|$)([^]*)$/.exec(args.trim());
    if (m?.[1] === undefined) throw new Reason(`.${kind} needs a name`);
    const name = m[1];
    const rest = scrub((m[2] ?? "").trim());
    const body = this.#body(`.${kind}`);
    const values =
      kind === "irpc" ? [...unquote(rest).replace(/\s/g, "")] : splitArguments(rest).map(unquote);
    if (values.length === 0) values.push("");
    this.#countLines(values.length * body.length);
    const lines = values.flatMap((v) => {
      const bound = new Map([[name, v]]);
      const count = this.#nrExpanded;
      return body.map((l) => ({ ...l, text: substitute(l.text, bound, count) }));
    });
    this.#input.pushExpansion("rept", `.${kind} at ${s.file}:${s.line}`, lines, 0);
  }

  #includeFile(args: string, stmt: StatementPlace): void {
    const path = textOf(args);
    const slash = stmt.at.file.lastIndexOf("/");
    const beside = slash < 0 ? path : stmt.at.file.slice(0, slash + 1) + path;
    const besideText = beside === path ? undefined : this.#include(beside);
    const text = besideText ?? this.#include(path);
    if (text === undefined) throw new Reason(`cannot find the file "${path}"`);
    const name = besideText === undefined ? path : beside;
    this.#input.pushFile(name, text, `included at ${stmt.at.file}:${stmt.at.line}`);
  }

  #countLines(n: number): void {
    this.#nrLines += n;
    if (this.#nrLines > MAX_MACRO_LINES) {
      throw new Reason(`macros and repetitions make more than ${MAX_MACRO_LINES} lines`);
    }
  }
}

const IF_NAMES: ReadonlySet<string> = new Set(
  "if ifne ifeq ifge ifgt ifle iflt ifdef ifndef ifnotdef ifb ifnb ifc ifnc ifeqs ifnes".split(" "),
);

function isReferable(p: Program, name: string): boolean {
  return p.commons.some((c) => c.sym.name === name);
}

function bare(text: string): string {
  return /^'[^]*'$/.test(text) ? text.slice(1, -1) : text;
}

function textOf(args: string): string {
  return new TextDecoder().decode(parseStringLiteral(args));
}

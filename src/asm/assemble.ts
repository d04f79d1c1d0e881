// The driver: reads statements, gives each to control, directives or the encoder, and turns what came of it
// into an Obj. Every failure on the way leaves as one AsmError.
import { Control } from "./control.ts";
import { DATA_DIRECTIVES } from "./data.ts";
import { DIRECTIVES, cfiDirective } from "./directives.ts";
import type { Encoder } from "./encode.ts";
import { makeEncoder } from "./encode.ts";
import { loadEngine } from "./engine.ts";
import { AsmError, Reason } from "./errors.ts";
import type { SplitFiles } from "./input.ts";
import { Input } from "./input.ts";
import { assembleInstruction } from "./instruction.ts";
import type { StatementPlace } from "./layout.ts";
import { LateError } from "./layout.ts";
import type { Obj } from "./obj.ts";
import { makeObj } from "./object.ts";
import { Program } from "./program.ts";
import type { Statement } from "./source.ts";

/** A source file as text. */
export interface Source {
  readonly name: string;
  readonly text: string;
}

export interface AssembleOptions {
  /** The text of an included file, or undefined if there is none of that name. */
  readonly include: (path: string) => string | undefined;
  /** Symbols with a value from outside, as --defsym. */
  readonly symbols?: Readonly<Record<string, bigint>>;
}

/** An assembler; one per process is enough, it keeps the encodings it has made. */
export interface Assembler {
  /** Assembles one source file. Throws AsmError, and nothing else. */
  assemble(source: Source, options: AssembleOptions): Obj;
}

/** Loads the encoder and makes an assembler. */
export async function makeAssembler(): Promise<Assembler> {
  const encoder = makeEncoder(await loadEngine());
  const files: SplitFiles = new Map();
  return { assemble: (source, options) => assembleSource(encoder, files, source, options) };
}

function assembleSource(
  encoder: Encoder,
  files: SplitFiles,
  source: Source,
  options: AssembleOptions,
): Obj {
  const program = new Program();
  for (const [name, v] of Object.entries(options.symbols ?? {})) {
    program.assign(name, { k: "num", v: BigInt.asIntN(64, v) });
  }
  const input = new Input(files);
  const control = new Control(program, input, options.include);
  let where: StatementPlace = {
    at: { file: source.name, line: 1 },
    text: "",
    backtrace: [],
  };
  try {
    input.pushFile(source.name, source.text, "");
    for (let s = input.next(); s !== undefined; s = input.next()) {
      where = input.place(s);
      execute(program, encoder, control, s, where);
    }
    const open = control.openIf();
    if (open !== undefined) {
      where = open;
      throw new Reason(".if without its .endif");
    }
    where = { at: { file: source.name, line: 1 }, text: "", backtrace: [] };
    return makeObj(source.name, program);
  } catch (e) {
    if (e instanceof AsmError) throw e;
    const stmt = e instanceof LateError ? e.stmt : where;
    if (e instanceof Reason || e instanceof LateError) {
      throw new AsmError(stmt.at, stmt.text, e.message, stmt.backtrace);
    }
    throw e;
  }
}

const LABEL = /^(?:([A-Za-z_.$][\w.$]*|"[^"]+")|(\d+))\s*:(?!:)/;

function execute(
  program: Program,
  encoder: Encoder,
  control: Control,
  s: Statement,
  stmt: StatementPlace,
): void {
  let text = s.text;
  if (control.skipping()) {
    const d = /^\.([A-Za-z]+)(?:\s+|$|(?=[^\w.]))([^]*)$/.exec(text);
    if (d?.[1] !== undefined) control.conditional(d[1].toLowerCase(), d[2] ?? "", stmt);
    return;
  }
  for (let m = LABEL.exec(text); m !== null; m = LABEL.exec(text)) {
    if (m[2] !== undefined) program.defineNumbered(Number(m[2]));
    else program.defineLabel((m[1] ?? "").replaceAll('"', ""));
    text = text.slice(m[0].length).trim();
  }
  if (text === "") return;
  const assign = /^([A-Za-z_.$][\w.$]*)\s*==?\s*([^=][^]*)$/.exec(text);
  if (assign?.[1] !== undefined && assign[2] !== undefined) {
    if (assign[1] === ".") {
      DATA_DIRECTIVES.get("org")?.(program, assign[2], stmt);
      return;
    }
    program.assign(assign[1], program.parse(assign[2]));
    return;
  }
  const word = /^([A-Za-z_.$][\w.$]*)\s*([^]*)$/.exec(text);
  const name = (word?.[1] ?? "").toLowerCase();
  const args = word?.[2] ?? "";
  const macro = control.findMacro(name);
  if (macro !== undefined) {
    control.call(macro, args, s);
    return;
  }
  if (!name.startsWith(".")) {
    assembleInstruction(program, encoder, text, stmt);
    return;
  }
  const directive = name.slice(1);
  if (control.conditional(directive, args, stmt)) return;
  if (control.directive(directive, args, stmt, s)) return;
  const action = DATA_DIRECTIVES.get(directive) ?? DIRECTIVES.get(directive);
  if (action !== undefined) {
    if (DATA_DIRECTIVES.has(directive)) {
      program.lines.push({ at: program.current.here(), file: s.file, line: s.line });
    }
    action(program, args, stmt);
  } else if (directive.startsWith("cfi_")) cfiDirective(program, directive, args);
  else throw new Reason(`unknown directive .${directive}`);
}

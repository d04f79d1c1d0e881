// Parses one AT&T instruction: prefixes, mnemonic, operands. It gives each operand a shape and an
// expression; it does not know which instructions exist.
import { Reason } from "./errors.ts";
import type { Expr, Names } from "./expr.ts";
import { parseExpr } from "./expr.ts";
import type { Register } from "./registers.ts";
import { REGISTERS } from "./registers.ts";
import { splitCommas } from "./source.ts";

/** A memory operand; base rip means relative to the next instruction. */
export interface Mem<S> {
  readonly k: "mem";
  readonly segment: Register | undefined;
  readonly disp: Expr<S> | undefined;
  readonly base: Register | undefined;
  readonly index: Register | undefined;
  readonly scale: 1 | 2 | 4 | 8;
  /** Written with a `*`, as jmp and call want it. */
  readonly indirect: boolean;
}

export type Operand<S> =
  | { readonly k: "reg"; readonly reg: Register; readonly indirect: boolean }
  | { readonly k: "imm"; readonly expr: Expr<S> }
  | Mem<S>
  /** A bare expression: a branch target, or an absolute address. plt: written sym@PLT. */
  | {
      readonly k: "expr";
      readonly expr: Expr<S>;
      readonly plt: boolean;
      readonly segment: Register | undefined;
      readonly indirect: boolean;
    };

/** An instruction as written. Operands are in AT&T order: sources first. */
export interface Instruction<S> {
  readonly prefixes: readonly string[];
  readonly mnemonic: string;
  readonly operands: readonly Operand<S>[];
}

const PREFIXES: ReadonlySet<string> = new Set(
  "lock rep repe repz repne repnz data16 addr32 cs ds es ss fs gs notrack rex64 rex.w".split(" "),
);

/** Parses an instruction; a statement of prefixes alone has the mnemonic "". */
export function parseInstruction<S>(text: string, names: Names<S>): Instruction<S> {
  const prefixes: string[] = [];
  let rest = text;
  for (;;) {
    const m = /^\s*([A-Za-z][\w.]*)(?=\s|$)\s*/.exec(rest);
    const word = m?.[1]?.toLowerCase();
    if (m === null || word === undefined || !PREFIXES.has(word)) break;
    prefixes.push(word);
    rest = rest.slice(m[0].length);
  }
  if (rest.trim() === "") return { prefixes, mnemonic: "", operands: [] };
  const m = /^\s*([A-Za-z][\w.]*)(?=\s|$|[*$%(])\s*/.exec(rest);
  if (m?.[1] === undefined) throw new Reason("expected a mnemonic");
  const operands = splitCommas(rest.slice(m[0].length)).map((t) => parseOperand(t, names));
  return { prefixes, mnemonic: m[1].toLowerCase(), operands };
}

function parseOperand<S>(text: string, names: Names<S>): Operand<S> {
  let t = text.trim();
  if (t === "") throw new Reason("empty operand");
  if (t.startsWith("$")) return { k: "imm", expr: parseExpr(t.slice(1), names) };
  const indirect = t.startsWith("*");
  if (indirect) t = t.slice(1).trim();
  let segment: Register | undefined;
  const seg = /^%\s*([a-z]+)\s*:\s*/i.exec(t);
  if (seg?.[1] !== undefined) {
    segment = register(seg[1]);
    if (segment.cls !== "segment") throw new Reason(`%${segment.name} is not a segment register`);
    t = t.slice(seg[0].length);
  } else if (t.startsWith("%")) {
    const reg = register(t.slice(1).trim());
    return { k: "reg", reg, indirect };
  }
  if (/^\(\s*%dx\s*\)$/i.test(t)) return { k: "reg", reg: register("dx"), indirect };
  const open = memoryGroup(t);
  if (open !== undefined) {
    const group = t.slice(open + 1, -1);
    const dispText = t.slice(0, open).trim();
    const disp = dispText === "" ? undefined : parseExpr(dispText, names);
    return { ...parseGroup(group), k: "mem", segment, disp, indirect };
  }
  const plt = /@PLT\s*$/i.exec(t);
  if (plt !== null) t = t.slice(0, plt.index);
  else if (/@[A-Z]/i.test(t))
    throw new Reason(`relocation operator in "${t}" is not supported: expected @PLT`);
  return { k: "expr", expr: parseExpr(t, names), plt: plt !== null, segment, indirect };
}

/** Index of the parenthesis that opens (base,index,scale) at the end of t. */
function memoryGroup(t: string): number | undefined {
  if (!t.endsWith(")")) return undefined;
  let depth = 0;
  for (let i = t.length - 1; i >= 0; i--) {
    if (t[i] === ")") depth++;
    else if (t[i] === "(" && --depth === 0) {
      return /^\(\s*[%,]/.test(t.slice(i)) ? i : undefined;
    }
  }
  return undefined;
}

function parseGroup(group: string): Pick<Mem<never>, "base" | "index" | "scale"> {
  const parts = group.split(",").map((p) => p.trim());
  const [b = "", i = "", s = "1"] = parts;
  if (parts.length > 3) throw new Reason(`bad memory operand (${group})`);
  const base = b === "" ? undefined : addressRegister(b);
  const index = i === "" ? undefined : addressRegister(i);
  if (s !== "1" && s !== "2" && s !== "4" && s !== "8" && s !== "") {
    throw new Reason(`bad scale ${s}: expected 1, 2, 4 or 8`);
  }
  const scale = s === "2" ? 2 : s === "4" ? 4 : s === "8" ? 8 : 1;
  if (index?.num === 4) throw new Reason(`%${index.name} cannot be an index`);
  if (index !== undefined && (index.cls === "ip" || base?.cls === "ip")) {
    throw new Reason("%rip takes no index");
  }
  if (base !== undefined && index !== undefined && base.size !== index.size) {
    throw new Reason(`base %${base.name} and index %${index.name} differ in size`);
  }
  return { base, index, scale };
}

function addressRegister(text: string): Register {
  if (!text.startsWith("%")) throw new Reason(`expected a register, found "${text}"`);
  const r = register(text.slice(1).trim());
  if ((r.cls !== "gpr" && r.cls !== "ip") || r.size < 4) {
    throw new Reason(`%${r.name} cannot address memory`);
  }
  return r;
}

function register(name: string): Register {
  const r = REGISTERS.get(name.toLowerCase());
  if (r === undefined) throw new Reason(`unknown register %${name}`);
  return r;
}

// Expressions of GNU as: the parser (gas's operators and precedence) and their value as a sum of
// symbols and a constant. Where symbols are is asked of the caller; this file knows no sections.
import { Reason } from "./errors.ts";

/** A parsed expression over symbols of type S. */
export type Expr<S> =
  | { readonly k: "num"; readonly v: bigint }
  | { readonly k: "sym"; readonly s: S }
  | { readonly k: "un"; readonly op: string; readonly a: Expr<S> }
  | { readonly k: "bin"; readonly op: string; readonly a: Expr<S>; readonly b: Expr<S> };

/** What names in an expression stand for. */
export interface Names<S> {
  /** A symbol or, if it is known to be a constant, its value. */
  lookup(name: string): Expr<S>;
  /** `.`, the current location. */
  here(): Expr<S>;
  /** `1f`, `1b`. */
  localLabel(n: number, forward: boolean): Expr<S>;
}

// Binary operators by rank, as op_rank[] in gas/expr.c.
const RANK: Readonly<Record<string, number>> = {
  "*": 8,
  "/": 8,
  "%": 8,
  "<<": 8,
  ">>": 8,
  "|": 7,
  "^": 7,
  "&": 7,
  "!": 7,
  "+": 5,
  "-": 5,
  "==": 4,
  "=": 4,
  "<>": 4,
  "!=": 4,
  "<": 4,
  ">": 4,
  "<=": 4,
  ">=": 4,
  "&&": 3,
  "||": 2,
};

const TOKEN =
  /\s*(?:(\d[\w$.]*)|([A-Za-z_.$][\w.$]*)|"((?:[^"\\]|\\.)*)"|'(\\.|[^\\])'?|(<<|>>|<=|>=|==|!=|<>|&&|\|\||[-+*/%|^&!<>=~()@]))/y;

const MAX_DEPTH = 200;

/** Parses a whole text as one expression. */
export function parseExpr<S>(text: string, names: Names<S>): Expr<S> {
  const p = parseExprPrefix(text, names);
  if (text.slice(p.end).trim() !== "") {
    throw new Reason(`junk "${text.slice(p.end).trim()}" after the expression`);
  }
  return p.expr;
}

/** Parses as much of the text as is an expression; end is where it stops. */
export function parseExprPrefix<S>(
  text: string,
  names: Names<S>,
): { readonly expr: Expr<S>; readonly end: number } {
  let pos = 0;
  let depth = 0;

  const peek = (): RegExpExecArray | undefined => {
    TOKEN.lastIndex = pos;
    return TOKEN.exec(text) ?? undefined;
  };

  const primary = (): Expr<S> => {
    if (++depth > MAX_DEPTH) throw new Reason("expression nested too deeply");
    const t = peek();
    if (t === undefined) {
      const rest = text.slice(pos).trim();
      throw new Reason(rest === "" ? "missing expression" : `bad expression at "${rest}"`);
    }
    pos = TOKEN.lastIndex;
    let e: Expr<S>;
    const op = t[5];
    if (t[1] !== undefined) e = number(t[1], names);
    else if (t[2] !== undefined) {
      e = t[2] === "." ? names.here() : names.lookup(t[2]);
    } else if (t[3] !== undefined) e = names.lookup(t[3]);
    else if (t[4] !== undefined) e = { k: "num", v: BigInt(charValue(t[4])) };
    else if (op === "(") {
      e = binary(0);
      const close = peek();
      if (close?.[5] !== ")") throw new Reason("missing )");
      pos = TOKEN.lastIndex;
    } else if (op === "-" || op === "~" || op === "!" || op === "+") {
      const a = primary();
      e = op === "+" ? a : fold({ k: "un", op, a });
    } else throw new Reason(`bad expression at "${text.slice(t.index).trim()}"`);
    depth--;
    return e;
  };

  const binary = (minRank: number): Expr<S> => {
    if (++depth > MAX_DEPTH) throw new Reason("expression nested too deeply");
    let a = primary();
    for (;;) {
      const t = peek();
      const op = t?.[5];
      const rank = op === undefined ? undefined : RANK[op];
      if (op === undefined || rank === undefined || rank <= minRank) break;
      pos = TOKEN.lastIndex;
      const b = binary(rank);
      a = fold({ k: "bin", op, a, b });
    }
    depth--;
    return a;
  };

  const expr = binary(0);
  return { expr, end: pos };
}

function charValue(c: string): number {
  if (!c.startsWith("\\")) return c.codePointAt(0) ?? 0;
  const map: Record<string, number> = { n: 10, t: 9, r: 13, b: 8, f: 12, "0": 0 };
  const k = c.slice(1);
  return map[k] ?? k.charCodeAt(0);
}

function number<S>(t: string, names: Names<S>): Expr<S> {
  if (/^0[xX][0-9a-fA-F]+$/.test(t) || /^0[bB][01]+$/.test(t))
    return { k: "num", v: BigInt(t.toLowerCase()) };
  if (/^0[0-7]+$/.test(t)) return { k: "num", v: BigInt(`0o${t.slice(1)}`) };
  if (/^\d+$/.test(t) && (t === "0" || !t.startsWith("0"))) return { k: "num", v: BigInt(t) };
  const local = /^(\d+)([fbFB])$/.exec(t);
  if (local?.[1] !== undefined)
    return names.localLabel(Number(local[1]), /[fF]/.test(local[2] ?? ""));
  throw new Reason(`bad number "${t}"`);
}

/** The expression with an operation on constants done. */
function fold<S>(e: Expr<S>): Expr<S> {
  if (e.k === "un" && e.a.k === "num") return { k: "num", v: unary(e.op, e.a.v) };
  if (e.k === "bin" && e.a.k === "num" && e.b.k === "num") {
    return { k: "num", v: binaryOp(e.op, e.a.v, e.b.v) };
  }
  return e;
}

const s64 = (v: bigint): bigint => BigInt.asIntN(64, v);
const u64 = (v: bigint): bigint => BigInt.asUintN(64, v);

function unary(op: string, a: bigint): bigint {
  if (op === "-") return s64(-a);
  if (op === "~") return s64(~a);
  return u64(a) === 0n ? 1n : 0n;
}

// Comparisons are -1 when true; logical operators are 1; >> is unsigned, / and % signed (gas/expr.c).
function binaryOp(op: string, a0: bigint, b0: bigint): bigint {
  const a = s64(a0);
  const b = s64(b0);
  const truth = (t: boolean): bigint => (t ? -1n : 0n);
  switch (op) {
    case "*":
      return s64(a * b);
    case "/":
    case "%":
      if (b === 0n) throw new Reason("division by zero");
      return s64(op === "/" ? a / b : a % b);
    case "<<":
      return b < 0n || b > 63n ? 0n : s64(u64(a) << b);
    case ">>":
      return b < 0n || b > 63n ? 0n : s64(u64(a) >> b);
    case "|":
      return s64(a | b);
    case "^":
      return s64(a ^ b);
    case "&":
      return s64(a & b);
    case "!":
      return s64(a | ~b);
    case "+":
      return s64(a + b);
    case "-":
      return s64(a - b);
    case "==":
    case "=":
      return truth(a === b);
    case "<>":
    case "!=":
      return truth(a !== b);
    case "<":
      return truth(a < b);
    case ">":
      return truth(a > b);
    case "<=":
      return truth(a <= b);
    case ">=":
      return truth(a >= b);
    case "&&":
      return a !== 0n && b !== 0n ? 1n : 0n;
    case "||":
      return a !== 0n || b !== 0n ? 1n : 0n;
    default:
      throw new Reason(`unknown operator ${op}`);
  }
}

/** constant + sum of plus - sum of minus */
export interface Sum<S> {
  readonly c: bigint;
  readonly plus: readonly S[];
  readonly minus: readonly S[];
}

/** How evaluate learns where symbols are. */
export interface Places<S> {
  /** The sum an equated symbol stands for; undefined for one that stands for itself. */
  equated(s: S): Expr<S> | undefined;
  /** a - b in bytes if that is known. */
  distance(a: S, b: S): bigint | undefined;
}

/** Steps that one value may take; equates of equates can double at each level. */
const MAX_STEPS = 50_000;

/** The value as far as places knows it; undefined if it is no sum of symbols and a constant. */
export function evaluate<S>(e: Expr<S>, places: Places<S>): Sum<S> | undefined {
  let steps = 0;
  const walk = (x: Expr<S>, depth: number): Sum<S> | undefined => {
    if (depth > MAX_DEPTH * 2 || ++steps > MAX_STEPS) {
      throw new Reason("expression too deep, or a symbol defined by itself");
    }
    switch (x.k) {
      case "num":
        return { c: x.v, plus: [], minus: [] };
      case "sym": {
        const eq = places.equated(x.s);
        return eq === undefined ? { c: 0n, plus: [x.s], minus: [] } : walk(eq, depth + 1);
      }
      case "un": {
        const a = walk(x.a, depth + 1);
        if (a === undefined) return undefined;
        if (x.op === "-") return cancel({ c: s64(-a.c), plus: a.minus, minus: a.plus }, places);
        return isConstant(a) ? { c: unary(x.op, a.c), plus: [], minus: [] } : undefined;
      }
      case "bin": {
        const a = walk(x.a, depth + 1);
        const b = a === undefined ? undefined : walk(x.b, depth + 1);
        return a === undefined || b === undefined ? undefined : combine(x.op, a, b, places);
      }
    }
  };
  return walk(e, 0);
}

function combine<S>(op: string, a: Sum<S>, b: Sum<S>, places: Places<S>): Sum<S> | undefined {
  if (isConstant(a) && isConstant(b)) return { c: binaryOp(op, a.c, b.c), plus: [], minus: [] };
  if (op === "+") {
    return cancel(
      { c: s64(a.c + b.c), plus: [...a.plus, ...b.plus], minus: [...a.minus, ...b.minus] },
      places,
    );
  }
  const diff = cancel(
    { c: s64(a.c - b.c), plus: [...a.plus, ...b.minus], minus: [...a.minus, ...b.plus] },
    places,
  );
  if (op === "-") return diff;
  if (RANK[op] === 4 && isConstant(diff)) {
    return { c: binaryOp(op, diff.c, 0n), plus: [], minus: [] };
  }
  return undefined;
}

/** True if no symbol is left. */
export function isConstant<S>(v: Sum<S>): boolean {
  return v.plus.length === 0 && v.minus.length === 0;
}

function cancel<S>(v: Sum<S>, places: Places<S>): Sum<S> {
  const plus = [...v.plus];
  const minus: S[] = [];
  let c = v.c;
  for (const m of v.minus) {
    const i = plus.findIndex((p) => places.distance(p, m) !== undefined);
    const p = plus[i];
    const d = p === undefined ? undefined : places.distance(p, m);
    if (d === undefined) minus.push(m);
    else {
      c = s64(c + d);
      plus.splice(i, 1);
    }
  }
  return { c, plus, minus };
}

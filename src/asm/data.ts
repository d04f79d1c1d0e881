// Directives that put bytes into a section: data, strings, fills and alignment.
import { Reason } from "./errors.ts";
import type { StatementPlace } from "./layout.ts";
import type { Program } from "./program.ts";
import { parseStringLiteral, splitCommas } from "./source.ts";

/** A directive's action on its argument text. */
export type Directive = (p: Program, args: string, stmt: StatementPlace) => void;

const zeroTerminated: Directive = (p, args) => {
  for (const a of splitCommas(args)) p.emit([...parseStringLiteral(a), 0]);
};

const skip: Directive = (p, args, stmt) => {
  const parts = splitCommas(args);
  if (parts.length < 1 || parts.length > 2)
    throw new Reason("expected a size and perhaps a fill byte");
  const fill = parts[1] === undefined ? 0 : Number(BigInt.asUintN(8, p.needConstant(parts[1])));
  if (fill !== 0 && p.current.type === "nobits")
    throw new Reason(`section ${p.current.name} holds no bytes`);
  const e = p.parse(parts[0] ?? "");
  const n = p.constant(e);
  if (n === undefined) {
    p.current.addFrag({ k: "space", expr: e, fill, size: 0, stmt });
    return;
  }
  const signed = BigInt.asIntN(64, n);
  if (signed < 0n) throw new Reason(`the size is negative (${signed})`);
  const most = p.current.type === "nobits" ? 36n : 28n;
  if (signed > 1n << most) throw new Reason(`the size ${signed} is beyond 2^${most} bytes`);
  p.current.emitFill(Number(signed), fill);
};

const values =
  (size: 1 | 2 | 4 | 8): Directive =>
  (p, args, stmt) => {
    for (const a of splitCommas(args)) {
      const e = p.parse(a);
      const v = p.constant(e);
      if (v === undefined) {
        if (p.current.type === "nobits")
          throw new Reason(`section ${p.current.name} holds no bytes`);
        p.fixup({ size, expr: e, pcTail: undefined, signed: false, branch: false, stmt });
        p.emit(new Uint8Array(size));
      } else p.emit(littleEndian(v, size));
    }
  };

/** The low bytes of v; lost bits that are neither all clear nor all set are refused, as gas warns. */
export function littleEndian(v: bigint, size: number): Uint8Array {
  const bits = BigInt(size * 8);
  const s = BigInt.asIntN(64, v);
  const beyond = size < 8 ? s >> bits : 0n;
  if (beyond !== 0n && beyond !== -1n) {
    throw new Reason(`value ${s} does not fit ${size} bytes`);
  }
  const out = new Uint8Array(size);
  let rest = BigInt.asUintN(64, v);
  for (let i = 0; i < size; i++) {
    out[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return out;
}

const align =
  (power: boolean, fillSize: number): Directive =>
  (p, args) => {
    const [n = "", fill = "", max = "", ...more] = splitCommas(args);
    if (more.length > 0) throw new Reason("too many arguments");
    const given = n === "" ? 0 : p.needCount(n);
    if (power && given > 28)
      throw new Reason(`alignment 2^${given} is too large: expected at most 2^28`);
    const to = power ? 2 ** given : Math.max(given, 1);
    if ((to & (to - 1)) !== 0) throw new Reason(`alignment ${to} is not a power of two`);
    const most = max === "" ? 0 : p.needCount(max);
    let pattern: readonly number[] | undefined;
    if (fill !== "") {
      pattern = Array.from(littleEndian(p.needConstant(fill), fillSize));
      const nop = fillSize === 1 && pattern[0] === 0x90;
      if (nop && p.current.flags.exec) pattern = undefined;
      else if (p.current.type === "nobits" && pattern.some((b) => b !== 0)) {
        throw new Reason(`section ${p.current.name} holds no bytes`);
      }
    }
    if (to > 1) {
      p.current.addFrag({ k: "align", to, fill: pattern, max: most, size: 0 });
      if (to > p.current.align) p.current.align = to;
    }
  };

const fill: Directive = (p, args) => {
  const [n = "0", size = "1", value = "0"] = splitCommas(args);
  const count = p.needCount(n);
  const width = Math.min(p.needCount(size), 8);
  const one = new Uint8Array(width);
  // Only the low four bytes of the value count (GNU as manual, ".fill").
  const low = BigInt.asUintN(32, p.needConstant(value));
  one.set(littleEndian(low, 4).subarray(0, width));
  if (count * width > 1 << 28) throw new Reason(`the size ${count * width} is beyond 2^28 bytes`);
  const all = new Uint8Array(count * width);
  for (let i = 0; i < count && width > 0; i++) all.set(one, i * width);
  p.emit(all);
};

const org: Directive = (p, args, stmt) => {
  const [to = "", byte] = splitCommas(args);
  const value = byte === undefined ? 0 : Number(BigInt.asUintN(8, p.needConstant(byte)));
  p.current.addFrag({ k: "org", expr: p.parse(to), fill: value, size: 0, stmt });
};

const leb128 =
  (signed: boolean): Directive =>
  (p, args) => {
    for (const a of splitCommas(args)) {
      let v = p.needConstant(a);
      const out: number[] = [];
      for (;;) {
        const b = Number(v & 0x7fn);
        v = signed ? v >> 7n : BigInt.asUintN(64, v) >> 7n;
        const done = signed ? (v === 0n && b < 64) || (v === -1n && b >= 64) : v === 0n;
        out.push(done ? b : b | 0x80);
        if (done) break;
      }
      p.emit(out);
    }
  };

/** Directives by name without the dot. */
export const DATA_DIRECTIVES: ReadonlyMap<string, Directive> = new Map<string, Directive>([
  ...["byte"].map((n): [string, Directive] => [n, values(1)]),
  ...["word", "short", "hword", "value", "2byte"].map((n): [string, Directive] => [n, values(2)]),
  ...["long", "int", "4byte"].map((n): [string, Directive] => [n, values(4)]),
  ...["quad", "8byte"].map((n): [string, Directive] => [n, values(8)]),
  [
    "ascii",
    (p, args) => {
      for (const a of splitCommas(args)) p.emit(parseStringLiteral(a));
    },
  ],
  ["asciz", zeroTerminated],
  ["string", zeroTerminated],
  ["zero", skip],
  ["skip", skip],
  ["space", skip],
  ["fill", fill],
  ["org", org],
  ["align", align(false, 1)],
  ["balign", align(false, 1)],
  ["balignw", align(false, 2)],
  ["balignl", align(false, 4)],
  ["p2align", align(true, 1)],
  ["p2alignw", align(true, 2)],
  ["p2alignl", align(true, 4)],
  ["uleb128", leb128(false)],
  ["sleb128", leb128(true)],
]);

// One parsed instruction -> bytes and the fields that need a symbol's address. It remembers every
// canonical text, so a kernel's repeated statements cost one lookup. jmp, jCC and call with a label
// are the caller's: their size depends on the layout.
import { bytesOf } from "./bytes-of.ts";
import type { Engine } from "./engine.ts";
import { Reason } from "./errors.ts";
import type { Expr } from "./expr.ts";
import {
  COUNT_FIRST,
  IMM16,
  NEEDS_SIZE,
  PREFIX_BYTES,
  SHORT_BRANCHES,
  STRING_OPERATIONS,
  WIDE_IMMEDIATE,
  splitSuffix,
  suffixOf,
} from "./mnemonics.ts";
import type { Instruction, Operand } from "./operand.ts";
import type { FieldOffsets, PlainOperand } from "./verify.ts";
import { verify } from "./verify.ts";

/** A field of an encoded instruction that waits for an address. off, size: bytes. */
export interface Field<S> {
  readonly off: number;
  readonly size: 1 | 2 | 4 | 8;
  readonly expr: Expr<S>;
  readonly pcRelative: boolean;
  readonly signed: boolean;
}

export interface Encoded<S> {
  readonly bytes: Uint8Array;
  readonly fields: readonly Field<S>[];
}

/** Encodes instructions; remembers every canonical text it has seen. */
export interface Encoder {
  /** constant: the value of an expression if it is known already. */
  encode<S>(ins: Instruction<S>, constant: (e: Expr<S>) => bigint | undefined): Encoded<S>;
}

interface Memo {
  readonly bytes: Uint8Array;
  readonly offsets: FieldOffsets;
}

/** An encoder over an engine. */
export function makeEncoder(engine: Engine): Encoder {
  const memo = new Map<string, Memo>();
  return {
    encode(ins, constant) {
      const prefixes = ins.prefixes.map((p) => PREFIX_BYTES[p] ?? 0);
      if (ins.mnemonic === "") return { bytes: Uint8Array.from(prefixes), fields: [] };
      const short = SHORT_BRANCHES[ins.mnemonic];
      if (short !== undefined) return shortBranch(ins, short);
      const plain = plainOperands(ins, constant);
      const key = `${ins.prefixes.join(" ")} ${plain.mnemonic} ${plain.operands.map(textOf).join(",")}`;
      let known = memo.get(key);
      if (known === undefined) {
        const bytes = bytesOf(engine, plain.mnemonic, plain.operands, prefixes);
        known = { bytes, offsets: verify(bytes, plain.mnemonic, plain.operands) };
        memo.set(key, known);
      }
      return { bytes: known.bytes, fields: fieldsOf(plain, known.offsets) };
    },
  };
}

interface Plain<S> {
  readonly mnemonic: string;
  readonly operands: readonly PlainOperand[];
  readonly imm: { readonly expr: Expr<S>; readonly signed: boolean } | undefined;
  readonly disp:
    { readonly expr: Expr<S>; readonly pcRelative: boolean; readonly signed: boolean } | undefined;
}

/** A key that tells plain operands apart. */
function textOf(o: PlainOperand): string {
  if (o.k === "reg") return `${o.indirect ? "*" : ""}%${o.name}`;
  if (o.k === "imm") return `$${o.value}`;
  return `${o.indirect ? "*" : ""}${o.segment ?? ""}:${o.disp}(${o.base ?? ""},${o.index ?? ""},${o.scale})`;
}

const PLACEHOLDER: Readonly<Record<number, bigint>> = {
  1: 0x12n,
  2: 0x1234n,
  4: 0x12345678n,
  8: 0x1122334455667788n,
};

/** Puts values and placeholders in, and settles the mnemonic's sizes. */
function plainOperands<S>(
  ins: Instruction<S>,
  constant: (e: Expr<S>) => bigint | undefined,
): Plain<S> {
  const mnemonic = fullMnemonic(ins);
  const { base, size } = splitSuffix(mnemonic);
  const width = operandWidth(base, size, ins.operands);
  if (/^l?(jmp|call)$/.test(base)) {
    if (!ins.operands.every((o) => o.k !== "imm" && o.indirect)) {
      throw new Reason(`indirect ${base} needs a *`);
    }
  } else if (ins.operands.some((o) => o.k !== "imm" && o.indirect)) {
    throw new Reason(`* does not go with ${mnemonic}`);
  }
  const nrMem = ins.operands.filter((o) => o.k === "mem" || o.k === "expr").length;
  if ((NEEDS_SIZE.has(base) || STRING_OPERATIONS.has(base)) && width === undefined && nrMem > 0) {
    throw new Reason("no register tells the operand's size: expected a suffix b, w, l or q");
  }
  let imm: Plain<S>["imm"];
  let disp: Plain<S>["disp"];
  const operands = ins.operands.map((o, i): PlainOperand => {
    if (o.k === "reg") return { k: "reg", name: o.reg.name, indirect: o.indirect };
    if (o.k === "imm") {
      const value = constant(o.expr);
      const wide = WIDE_IMMEDIATE.has(base);
      const bytes = wide ? (width ?? 8) : IMM16.has(base) && i === 0 ? 2 : 1;
      if (value !== undefined) return plainImmediate(value, bytes, wide, base);
      const field = bytes === 8 && base !== "movabs" ? 4 : bytes;
      imm = { expr: o.expr, signed: bytes === 8 && field === 4 };
      return { k: "imm", value: PLACEHOLDER[field] ?? 0n, bits: bytes * 8 };
    }
    const mem = o.k === "mem" ? o : undefined;
    const expr = o.k === "mem" ? o.disp : o.expr;
    if (o.k === "expr" && o.plt) throw new Reason("@PLT goes with call and jmp only");
    const moffs = base === "movabs";
    if (moffs && mem?.base !== undefined) throw new Reason("movabs takes an absolute address only");
    const narrow = (mem?.base ?? mem?.index)?.size === 4;
    let value = expr === undefined ? 0n : constant(expr);
    if (value === undefined && expr !== undefined) {
      disp = {
        expr,
        pcRelative: mem?.base?.cls === "ip",
        signed: !narrow && !ins.prefixes.includes("addr32"),
      };
      value = PLACEHOLDER[moffs ? 8 : 4] ?? 0n;
    } else if (value !== undefined && !moffs) value = plainDisplacement(value, narrow);
    const segment = o.segment?.name;
    const stack =
      mem?.base !== undefined &&
      (mem.base.num === 4 || mem.base.num === 5) &&
      mem.base.cls === "gpr";
    return {
      k: "mem",
      segment: segment === (stack ? "ss" : "ds") ? undefined : segment,
      disp: value ?? 0n,
      base: mem?.base?.name,
      index: mem?.index?.name,
      scale: mem?.scale ?? 1,
      indirect: o.indirect,
    };
  });
  return { mnemonic, operands, imm, disp };
}

/** movzb, movzx and their like with both sizes written out. */
function fullMnemonic<S>(ins: Instruction<S>): string {
  const m = ins.mnemonic;
  const [src, dst] = ins.operands;
  if (ins.operands.length !== 2 || dst?.k !== "reg" || src === undefined) return m;
  if (m === "movsxd") return "movslq";
  const x = /^mov([sz])([xbw])$/.exec(m);
  if (x === null) return m;
  if (x[2] !== "x") return `${m}${suffixOf(dst.reg.size)}`;
  if (src.k !== "reg")
    throw new Reason(`the source's size is unknown: expected mov${x[1]}b or mov${x[1]}w`);
  if (src.reg.size === 4) return "movslq";
  return `mov${x[1]}${suffixOf(src.reg.size)}${suffixOf(dst.reg.size)}`;
}

/** The size of the operation in bytes, from the suffix or the registers. */
function operandWidth<S>(
  base: string,
  suffix: number | undefined,
  operands: readonly Operand<S>[],
): number | undefined {
  if (suffix !== undefined) return suffix;
  const telling = COUNT_FIRST.has(base) ? operands.slice(-1) : operands;
  for (const o of [...telling].reverse()) {
    if (o.k === "reg") return o.reg.size;
  }
  return base === "push" ? 8 : undefined;
}

function plainImmediate(value: bigint, bytes: number, wide: boolean, base: string): PlainOperand {
  const bits = bytes * 8;
  const signed = BigInt.asIntN(64, value);
  if (bytes === 8) {
    const fits = signed >= -(1n << 31n) && signed < 1n << 31n;
    if (!fits && base !== "mov" && base !== "movabs") {
      throw new Reason(`immediate ${signed} does not fit 32 bits sign-extended`);
    }
    return { k: "imm", value: signed, bits: 64 };
  }
  // gas looks at the bits beyond the operand: all clear or all set is no loss (`andl $~0x80000000`).
  const beyond = signed >> BigInt(bits);
  if (beyond !== 0n && beyond !== -1n) {
    throw new Reason(`immediate ${signed} does not fit ${bits} bits`);
  }
  return {
    k: "imm",
    value: wide ? BigInt.asIntN(bits, signed) : BigInt.asUintN(bits, signed),
    bits,
  };
}

function plainDisplacement(value: bigint, narrow: boolean): bigint {
  const signed = BigInt.asIntN(64, value);
  if (narrow && signed >= -(1n << 31n) && signed < 1n << 32n) return BigInt.asIntN(32, signed);
  if (signed < -(1n << 31n) || signed >= 1n << 31n) {
    throw new Reason(`displacement ${signed} does not fit 32 bits sign-extended`);
  }
  return signed;
}

function fieldsOf<S>(plain: Plain<S>, at: FieldOffsets): Field<S>[] {
  const out: Field<S>[] = [];
  if (plain.disp !== undefined) {
    const size = fieldSize(at.dispSize);
    out.push({ off: at.dispOff, size, ...plain.disp, signed: plain.disp.signed && size === 4 });
  }
  if (plain.imm !== undefined) {
    out.push({ off: at.immOff, size: fieldSize(at.immSize), ...plain.imm, pcRelative: false });
  }
  return out;
}

function fieldSize(n: number): 1 | 2 | 4 | 8 {
  if (n === 1 || n === 2 || n === 4 || n === 8) return n;
  throw new Reason("the instruction has no field for the symbol");
}

function shortBranch<S>(ins: Instruction<S>, opcode: readonly number[]): Encoded<S> {
  const o = ins.operands[0];
  if (ins.operands.length !== 1 || o?.k !== "expr" || ins.prefixes.length > 0) {
    throw new Reason(`${ins.mnemonic} takes one label`);
  }
  return {
    bytes: Uint8Array.from([...opcode, 0]),
    fields: [{ off: opcode.length, size: 1, expr: o.expr, pcRelative: true, signed: true }],
  };
}

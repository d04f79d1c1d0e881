// Turns the rows of the instruction table into what the decoder reads from wasm memory (slots, groups, rows), and deals
// out the micro-op numbers. The build packs: it writes the dispatch from the list of operations, and puts the tables
// into core.wasm.
import {
  ATTR_BRANCH,
  ATTR_D64,
  ATTR_END,
  ATTR_F64,
  ATTR_LOCK,
  ATTR_MODRM,
  ATTR_PRIV,
  ATTR_REP,
  ATTR_REXW,
  ATTR_SP,
  ATTR_SP_ALWAYS,
  ATTR_SP_ANY,
  ATTR_X87,
  FIXED_REG,
  FIRST_ROW_UOP,
  Form as FormKind,
  GROUPS,
  GROUP_BYTES,
  Imm,
  MAX_GROUPS,
  MAX_ROWS,
  MAX_SMALL_GROUPS,
  Operand,
  ROWS,
  ROW_SIZE,
  SLOTS,
  SLOT_GROUP,
  SLOT_GROUP_PLAIN,
  SLOT_GROUP_SMALL,
  SMALL_GROUPS,
  SMALL_GROUP_BYTES,
  Width,
} from "../../assembly/abi.ts";
import { kindTable } from "./kinds.ts";
import { packNear, type PackedNear } from "./near.ts";
import { X86, type Form } from "./x86.ts";

/** One micro-op of the dispatch: the call that executes it, and whether it ends a block. */
export interface UopCall {
  readonly call: string;
  readonly ends: boolean;
}

/** A part of wasm memory to be written at start. */
export interface Patch {
  readonly at: number;
  readonly bytes: Uint8Array;
}

export interface PackedIsa {
  /** In the order of their numbers: common steps, rare steps, those that end a block, then SIMD. */
  readonly uops: readonly UopCall[];
  /** The near forms of some of them. */
  readonly near: PackedNear;
  /** How many of the uops are common steps, up to the last rare step, and up to the last one that ends a block. */
  readonly nrCommon: number;
  readonly nrSteps: number;
  readonly nrEnds: number;
  readonly patches: readonly Patch[];
  /** Row numbers as the decoder knows them; entry 0 is no row. */
  readonly forms: readonly (Form | undefined)[];
}

/** Encoding of a form, parsed from its opcode column. */
export interface Encoding {
  readonly prefix: "any" | "np" | "66" | "f3" | "f2";
  readonly map: 0 | 1 | 2 | 3;
  readonly opcode: number;
  readonly plusReg: boolean;
  readonly modrm: boolean;
  readonly digit: number | undefined;
  readonly fixed: number | undefined;
  /** ModRM names a register, whichever. */
  readonly registers: boolean;
  readonly imm: number;
}

const IMMEDIATES: Readonly<Record<string, number>> = {
  ib: Imm.Byte,
  iw: Imm.Word,
  iz: Imm.Z,
  iv: Imm.V,
  rel8: Imm.Rel8,
  rel32: Imm.Rel32,
  mo: Imm.Offset,
  en: Imm.Enter,
};

/** Parses the opcode column of a form. Throws on a notation it does not know: a mistake in the table. */
export function encodingOf(form: Form): Encoding {
  const tokens = form.opcode.split(" ");
  let prefix: Encoding["prefix"] = "any";
  const first = tokens[0];
  if (first === "np" || first === "66" || first === "f3" || first === "f2") {
    prefix = first;
    tokens.shift();
  }
  let map: Encoding["map"] = 0;
  if (tokens[0] === "0f") {
    tokens.shift();
    map = 1;
    const escape = tokens.at(0);
    if (escape === "38" || escape === "3a") {
      map = escape === "38" ? 2 : 3;
      tokens.shift();
    }
  }
  const op = /^([0-9a-f]{2})(\+r)?$/.exec(tokens.shift() ?? "");
  if (!op) throw new Error(`isa: no opcode in "${form.opcode}"`);
  const opcode = parseInt(op[1] ?? "", 16);
  let digit: number | undefined;
  let fixed: number | undefined;
  let modrm = false;
  let registers = false;
  let imm: number = form.syntax.endsWith(", 1") ? Imm.One : Imm.None;
  for (const t of tokens) {
    const known = IMMEDIATES[t];
    if (t === "/r") modrm = true;
    else if (/^\/[0-7]$/.test(t)) {
      modrm = true;
      digit = Number(t[1]);
    } else if (/^[c-f][08]-[c-f][7f]$/.test(t)) {
      modrm = true;
      registers = true;
      digit = (parseInt(t, 16) >> 3) & 7;
    } else if (known !== undefined) imm = known;
    else if (/^[0-9a-f]{2}$/.test(t)) {
      modrm = true;
      fixed = parseInt(t, 16);
    } else throw new Error(`isa: "${t}" in "${form.opcode}" is no known notation`);
  }
  return { prefix, map, opcode, plusReg: op[2] !== undefined, modrm, digit, fixed, registers, imm };
}

/** The operands of a form as written in its syntax column. */
export function operandsOf(form: Form): readonly string[] {
  const at = form.syntax.indexOf(" ");
  return at < 0 ? [] : form.syntax.slice(at + 1).split(", ");
}

const FIXED: Readonly<Record<string, number>> = { AL: 0, eAX: 0, rAX: 0 };
const WIDTHS: Readonly<Record<string, readonly string[]>> = {
  b: ["i8"],
  w: ["i16"],
  d: ["i32"],
  q: ["i64"],
  v: ["i16", "i32", "i64"],
  y: ["i32", "i64"],
};

/** Forms on XMM state, whose micro-ops have a switch of their own. */
function isSimd(form: Form): boolean {
  return form.attrs.split(" ").includes("simd");
}
/** Forms on XMM, MMX or x87 state: one micro-op each, which finds its operands itself. */
function findsOperands(form: Form): boolean {
  return form.attrs.split(" ").some((w) => w === "simd" || w === "mmx" || w === "x87");
}

interface Shape {
  readonly calls: readonly string[];
  readonly width: number;
  readonly form: number;
  readonly a: number;
  readonly b: number;
  readonly bytes: number;
}

function source(o: string): number {
  const fixed = FIXED[o];
  if (fixed !== undefined) return FIXED_REG | fixed;
  switch (o[0]) {
    case "E":
    case "R":
      return Operand.Rm;
    case "G":
      return Operand.Reg;
    case "Z":
      return Operand.Opcode;
    case "V":
      return Operand.XmmReg;
    case "W":
    case "U":
      return Operand.XmmRm;
    case "P":
      return Operand.MmxReg;
    case "Q":
    case "N":
      return Operand.MmxRm;
    case "S":
    case "C":
    case "D":
      return o === "CL" || o === "DX" ? Operand.None : Operand.Number;
    case "F":
      return FIXED_REG | 4;
    default:
      return Operand.None;
  }
}

function isMemoryOnly(o: string): boolean {
  return o[0] === "M";
}

function shapeOf(form: Form): Shape {
  const m = /^(\w+)((?:\.\w+)*)(?::(\w))?(!)?$/.exec(form.does);
  if (!m) throw new Error(`isa: "${form.does}" names no operation`);
  const [, fn, names, given, bare] = m;
  const cls = names?.slice(1).replaceAll(".", ", ");
  const operands = operandsOf(form);
  const simd = findsOperands(form);
  const letters = operands
    .filter((o) => (simd ? /^[EG]y$/ : /^[EGZMR]\w$|^[AR]?rAX$|^AL$/).test(o))
    .map((o) => (o === "AL" ? "b" : o === "rAX" ? "v" : (o[1] ?? "")));
  const first = given ?? (bare ? undefined : letters[0]);
  const types = first === undefined ? undefined : WIDTHS[first];
  if (first !== undefined && !types) throw new Error(`isa: width "${first}" of "${form.syntax}"`);
  const second = letters.find((l) => l !== first);
  const extra =
    second !== undefined && given === undefined && !bare ? WIDTHS[second]?.[0] : undefined;
  const hasE = operands.some((o) => o[0] === "E");
  const hasM = operands.some(isMemoryOnly);
  const hasR = operands.some((o) => o[0] === "R");
  const kind = simd
    ? FormKind.None
    : hasE
      ? FormKind.E
      : hasM
        ? FormKind.M
        : hasR
          ? FormKind.R
          : FormKind.None;
  const memories = simd ? [""] : hasE ? ["", "Mem", "MemX"] : hasM ? ["Mem", "MemX"] : [""];
  const calls: string[] = [];
  for (const t of types ?? [""]) {
    for (const memory of memories) {
      const classes: string[] = [];
      operands.forEach((o, i) => {
        if (
          bare ||
          simd ||
          source(o) === Operand.Number ||
          o[0] === "J" ||
          o[0] === "O" ||
          o === "DX" ||
          o === "FS" ||
          o === "GS"
        )
          return;
        if (o[0] === "I" || o === "1") classes.push("Constant");
        else if (o === "CL") classes.push("Cl");
        else if ((o[0] === "E" || o[0] === "M") && memory) classes.push(memory);
        else classes.push(i === 0 ? "RegA" : "RegB");
      });
      const args = [cls, ...classes, t || undefined, extra].filter(
        (s) => s !== undefined && s !== "",
      );
      calls.push(`${fn}${args.length ? `<${args.join(", ")}>` : ""}(up)`);
    }
  }
  const a = operands[0];
  const b = operands[1];
  const byte = (o: string | undefined): boolean =>
    o !== undefined && (o === "AL" || /^[EGZ]b$/.test(o));
  const segment = a === "FS" || a === "GS";
  return {
    calls,
    width:
      types === undefined || types.length === 1
        ? Width.One
        : types.length === 2
          ? Width.Y
          : Width.V,
    form: kind,
    a: segment
      ? a === "FS"
        ? Operand.Fs
        : Operand.Gs
      : a === undefined
        ? Operand.None
        : source(a),
    b: b === undefined ? Operand.None : source(b),
    bytes: (byte(a) ? 1 : 0) | (byte(b) ? 2 : 0),
  };
}

const ATTRS: Readonly<Record<string, number>> = {
  lock: ATTR_LOCK,
  end: ATTR_END,
  branch: ATTR_BRANCH,
  f64: ATTR_F64,
  d64: ATTR_D64,
  priv: ATTR_PRIV,
  rep: ATTR_REP,
  rexw: ATTR_REXW,
  sp: ATTR_SP,
  spany: ATTR_SP_ANY,
  spalways: ATTR_SP_ALWAYS,
  simd: 0,
  mmx: 0,
  x87: ATTR_X87,
};

const PREFIXES = ["np", "66", "f3", "f2"] as const;

/** How much of the encoding space a form leaves open: a narrower form wins over a wider one. */
function breadth(e: Encoding): number {
  return (
    (e.prefix === "any" ? 8 : 0) +
    (e.fixed !== undefined ? 0 : e.digit !== undefined ? 1 : 2) +
    (e.plusReg ? 1 : 0)
  );
}

interface Candidate {
  readonly row: number;
  readonly encoding: Encoding;
  readonly form: Form;
  readonly memoryOnly: boolean;
  readonly registerOnly: boolean;
}

/** The candidates of one opcode as a table over prefix, mod, reg and rm. Two of the same breadth in one place throw. */
function groupTable(candidates: readonly Candidate[], plain: boolean): Uint16Array {
  const table = new Uint16Array(512);
  const claimed = new Int8Array(512).fill(127);
  for (const c of candidates) {
    for (let i = 0; i < 512; i++) {
      const e = c.encoding;
      const mod3 = (i & 0x40) !== 0;
      if (e.prefix !== "any" && PREFIXES[i >> 7] !== e.prefix) continue;
      if (plain) {
        if (!e.plusReg && (i & 0x38) !== 0 && candidates.some((o) => o.encoding.plusReg)) continue;
      } else {
        if (e.digit !== undefined && ((i >> 3) & 7) !== e.digit) continue;
        if (e.fixed !== undefined && (!mod3 || (i & 0x3f) !== (e.fixed & 0x3f))) continue;
        if (c.memoryOnly ? mod3 : c.registerOnly && !mod3) continue;
      }
      const b = breadth(e);
      const held = claimed[i] ?? 127;
      if (b === held) {
        throw new Error(`isa: "${c.form.opcode}" and another form claim the same encoding`);
      }
      if (b > held) continue;
      claimed[i] = b;
      table[i] = c.row;
    }
  }
  return table;
}

function attributesOf(form: Form, e: Encoding): number {
  let attr = e.modrm ? ATTR_MODRM : 0;
  for (const w of form.attrs === "" ? [] : form.attrs.split(" ")) {
    const bit = ATTRS[w];
    if (bit === undefined) throw new Error(`isa: attribute "${w}" of "${form.syntax}"`);
    attr |= bit;
  }
  return attr;
}

function startsWith(
  list: readonly UopCall[],
  at: number,
  calls: readonly string[],
  ends: boolean,
): boolean {
  return calls.every((c, i) => list[at + i]?.call === c && list[at + i]?.ends === ends);
}

// The steps are dealt out to two switches: binaryen turns a switch into a jump table only up to 1024 cases, and a chain of
// comparisons costs hundreds of nanoseconds.
const RARE =
  /^(alu<(Adc|Sbb)|shift<(Rcl|Rcr|Rol)|shiftDouble|bit|scan|lzcnt|popcount|crc32|mulAcc|divAcc|movbe|bswap|xadd|cmpxchg|xlat|loadOffset|storeOffset|enter|lahf|sahf|setCarry|setDirection|pushFlags|popFlags|pushSelector|popSelector|lookAt|verify|smsw|lmsw|loadFar|loop|jrcxz|retPop|portIn|portOut|storeSelector|storeTable|loadTable|lldt|ltr|fxsave|fxrstor|movFrom|movTo|wrmsr|rdmsr|rdtsc|rdpmc|cpuid|clts|invlpg|hlt|cli|sti|acFlag|vmcall|swapgs|int|iret|syscall|sysret|undefined_|stringOp|retFar|callFar|jmpFar|readBase|writeBase|rdpid|serialize|insOuts|fence)/;

function rank(form: Form, call: string, ends: boolean): number {
  if (isSimd(form)) return 3;
  if (ends) return 2;
  return findsOperands(form) || RARE.test(call) ? 1 : 0;
}

/** Packs the table. Deterministic, so that the build's dispatch and the host's tables agree. */
export function packIsa(forms: readonly Form[] = X86): PackedIsa {
  const uops: UopCall[] = [];
  const starts = new Map<string, number>();
  const rows = new Uint8Array(MAX_ROWS * ROW_SIZE);
  const view = new DataView(rows.buffer);
  const byOpcode = new Map<number, Candidate[]>();
  const numbered: (Form | undefined)[] = [undefined];
  if (forms.length >= MAX_ROWS) throw new Error(`isa: more than ${MAX_ROWS - 1} rows`);
  const parsed = forms.map((form, i) => {
    numbered.push(form);
    const e = encodingOf(form);
    const attr = attributesOf(form, e);
    const ends = (attr & ATTR_END) !== 0;
    const s = shapeOf(form);
    return { row: i + 1, form, e, s, attr, ends, rank: rank(form, s.calls[0] ?? "", ends) };
  });
  const nr = [0, 0, 0, 0];
  for (const { row, form, e, s, attr, ends, rank } of parsed.toSorted((a, b) => a.rank - b.rank)) {
    const key = `${ends} ${s.calls[0]}`;
    let at = starts.get(key) ?? -1;
    if (at < 0 || !startsWith(uops, at, s.calls, ends)) {
      at = uops.length;
      for (const call of s.calls) uops.push({ call, ends });
      nr[rank] = uops.length;
      if (!starts.has(key)) starts.set(key, at);
    }
    const p = row * ROW_SIZE;
    view.setUint16(p, FIRST_ROW_UOP + at, true);
    view.setUint8(p + 2, s.width);
    view.setUint8(p + 3, s.form);
    view.setUint8(p + 4, s.a);
    view.setUint8(p + 5, s.b);
    view.setUint8(p + 6, e.imm);
    view.setUint8(p + 7, s.bytes);
    view.setUint16(p + 8, attr, true);
    for (let r = 0; r < (e.plusReg ? 8 : 1); r++) {
      const slot = (e.map << 8) | (e.opcode + r);
      const list = byOpcode.get(slot) ?? [];
      list.push({
        row,
        encoding: e,
        form,
        memoryOnly: operandsOf(form).some(isMemoryOnly),
        registerOnly: e.registers || operandsOf(form).some((o) => /^[UN]|^ST|^Ry$/.test(o)),
      });
      byOpcode.set(slot, list);
    }
  }

  const slots = new Uint16Array(1024);
  const groups: Uint16Array[] = [];
  const small: Uint16Array[] = [];
  for (const [slot, candidates] of byOpcode) {
    const only = candidates.length === 1 ? candidates[0] : undefined;
    if (
      only &&
      only.encoding.prefix === "any" &&
      only.encoding.digit === undefined &&
      only.encoding.fixed === undefined
    ) {
      slots[slot] = only.row;
      continue;
    }
    const plain = candidates.every((c) => !c.encoding.modrm);
    if (!plain && candidates.some((c) => !c.encoding.modrm)) {
      throw new Error(`isa: opcode ${slot.toString(16)} has forms with and without ModRM`);
    }
    const table = groupTable(candidates, plain);
    const bare = (e: Encoding): boolean => e.digit === undefined && e.fixed === undefined;
    if (!plain && candidates.every((c) => bare(c.encoding))) {
      if (small.length >= MAX_SMALL_GROUPS) throw new Error("isa: too many small groups");
      slots[slot] = SLOT_GROUP | SLOT_GROUP_SMALL | small.length;
      small.push(table.filter((_, i) => (i & 0x3f) === 0));
      continue;
    }
    if (groups.length >= MAX_GROUPS) throw new Error(`isa: more than ${MAX_GROUPS} groups`);
    slots[slot] = SLOT_GROUP | (plain ? SLOT_GROUP_PLAIN : 0) | groups.length;
    groups.push(table);
  }
  const groupBytes = new Uint8Array(groups.length * GROUP_BYTES);
  groups.forEach((g, i) => groupBytes.set(new Uint8Array(g.buffer), i * GROUP_BYTES));
  const smallBytes = new Uint8Array(small.length * SMALL_GROUP_BYTES);
  small.forEach((g, i) => smallBytes.set(new Uint8Array(g.buffer), i * SMALL_GROUP_BYTES));
  const near = packNear(uops);
  return {
    uops,
    near,
    nrCommon: nr[0] ?? 0,
    nrSteps: Math.max(...nr.slice(0, 2)),
    nrEnds: Math.max(...nr.slice(0, 3)),
    forms: numbered,
    patches: [
      { at: SLOTS, bytes: new Uint8Array(slots.buffer) },
      { at: GROUPS, bytes: groupBytes },
      { at: SMALL_GROUPS, bytes: smallBytes },
      { at: ROWS, bytes: rows },
      kindTable(uops.map((u) => u.call)),
      ...near.patches,
    ],
  };
}

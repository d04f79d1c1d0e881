// The near forms of micro-ops: which of the table's micro-ops the interpreter's hot loop has, and which in a row it does
// at once. A near form is the same statement over operands that are at hand (assembly/near.ts); whatever it finds
// not to be at hand it leaves to the row's own micro-op, so a form that is not listed here is slower and nothing else.
import {
  BLOCK_HEADER,
  CHAINS,
  CHAIN_COLUMNS,
  CHAIN_FIRST,
  CHAIN_FORM,
  CHAIN_SECOND,
  FIRST_NEAR_UOP,
  FIRST_ROW_UOP,
  FLAGS_KEPT,
  FLAGS_KILLED,
  FLAGS_SHIFT,
  FLAG_ROLE,
  LINEAR_ADD,
  LINEAR_ADD_CONSTANT,
  LINEAR_CONSTANT,
  LINEAR_LEA,
  LINEAR_MOV,
  LINEAR_OF,
  LINEAR_SHIFT,
  LINEAR_SHL,
  LINEAR_SUB,
  LINEAR_SUB_CONSTANT,
  MAX_CHAIN_LINES,
  MAX_PAIR_LINES,
  MAX_UOPS,
  MISS,
  NEAR_FACTOR,
  NEAR_NOT_NEXT,
  NEAR_NOT_RSP,
  NEAR_OF,
  NEAR_OPPOSITE,
  NEAR_SENSE,
  NO_LINK,
  PAIRS,
  PAIR_COLUMNS,
  PAIR_FIRST,
  PAIR_SECOND,
  QUIET_OF,
  ROW_OF,
  UOP_LINK_UP,
  UOP_MISS,
} from "../../assembly/abi.ts";
import { CHAINED } from "./chains.ts";
import type { Patch, UopCall } from "./pack.ts";

/** One near form: its call, and whether it answers where the next block stands instead of whether it was done. */
export interface NearUop {
  readonly call: string;
  readonly ends: boolean;
  /** The calls of a chain. */
  readonly chain?: readonly string[];
}

/** The operand in memory of a near form. */
export interface NearAccess {
  /** Its class in assembly/near.ts, which knows the address. */
  readonly operand: string;
  readonly type: string;
  readonly write: boolean;
}

/** What a near form's call accesses. */
export function accessOf(call: string): NearAccess | undefined {
  const [, name = "", list = ""] = /^(\w+)(?:<(.*)>)?\(/.exec(call) ?? [];
  const words = list.split(", ");
  const type = words.at(-1) ?? "";
  const operand = words.find((w) => w === "Near" || w === "NearX");
  if (/^near(Push|Call|CallIndirect)$/.test(name))
    return { operand: "NearBelow", type: "u64", write: true };
  if (/^near(Pop|Ret)$/.test(name)) return { operand: "NearTop", type: "u64", write: false };
  if (name === "nearLeave") return { operand: "NearFrame", type: "u64", write: false };
  if (name === "nearSetccX") return { operand: "NearX", type: "u8", write: true };
  if (operand === undefined || name === "nearLea") return undefined;
  if (name === "nearSetcc") return { operand, type: "u8", write: true };
  if (name === "nearJmpIndirect") return { operand, type: "u64", write: false };
  const first = words[name === "nearAlu" ? 1 : 0] === operand;
  const writes = name === "nearMov" || (name === "nearAlu" && !/^(Cmp|Test)$/.test(words[0] ?? ""));
  return { operand, type, write: first && writes };
}

export interface PackedNear {
  /** In the order of their numbers, from FIRST_NEAR_UOP on. */
  readonly uops: readonly NearUop[];
  readonly patches: readonly Patch[];
}

/**
 * Steps in which only the classes of memory operands change. V8's time and memory for the loop grow with them, so this
 * is what compilers emit most and no more.
 */
const STEPS: readonly RegExp[] = [
  /^mov<RegA, (RegB|Constant|MemX?), i(32|64)>/,
  /^mov<(Mem, (RegB|Constant)|MemX, RegB), i(8|16|32|64)>/,
  /^mov<MemX, Constant, i(8|32)>/,
  /^movzx<RegA, (RegB|MemX?), i32, i(8|16)>/,
  /^movsx<RegA, (RegB|MemX?), (i64, i32|i32, i8)>/,
  /^mov<RegA, MemX?, i8>/,
  /^movsx<RegA, Mem, i64, i8>/,
  /^movsx<RegA, RegB, i64, i8>/,
  /^lea<.*, i(32|64)>/,
  /^extendAcc<i64>/,
  /^alu<(Add|Sub|And|Or|Xor), RegA, (RegB|Constant), i(32|64)>/,
  /^alu<(Add|Sub|And|Or|Xor), RegA, Mem, i(32|64)>/,
  /^alu<(Add|Xor), RegA, MemX, i(32|64)>/,
  /^alu<(Add|Sub|Or), Mem, (RegB|Constant), i(32|64)>/,
  /^alu<Xor, Mem, RegB, i64>/,
  /^alu<Sbb, RegA, (RegB|Constant), i(32|64)>/,
  /^alu<Adc, RegA, (RegB|Constant), i(32|64)>/,
  /^alu<(Cmp|Test), RegA, (RegB|Constant), i(8|32|64)>/,
  /^alu<Cmp, (Mem, Constant|RegA, Mem), i(8|32|64)>/,
  /^unary<(Neg|Not|Inc|Dec), RegA, i(32|64)>/,
  /^shift<(Shl|Shr|Sar), RegA, (Constant|Cl), i(32|64)>/,
  /^mulAcc<Mul, RegA, i64>/,
  /^shift<Ror, RegA, Constant, i64>/,
  /^shift<Shr, RegA, Constant, i8>/,
  /^imul<RegA, RegB, i(32|64)>/,
  /^imulBy<RegA, RegB, Constant, i(32|64)>/,
  /^nop\b/,
];

/** What the near statements of memory forms are called. */
const STATEMENTS: readonly (readonly [RegExp, string])[] = [
  [/^alu<(Adc|Sbb), (.*)>/, "near$1<$2>"],
  [/^alu<(.*)>/, "nearAlu<$1>"],
  [/^mov<(.*)>/, "nearMov<$1>"],
  [/^movzx<RegA, (\w+), (\w+), i(\d+)>/, "nearMovx<$1, $2, u$3>"],
  [/^movsx<RegA, (.*)>/, "nearMovx<$1>"],
  [/^lea<RegA, (.*)>/, "nearLea<$1>"],
];

/** Micro-ops with a near statement of their own. */
const OWN: Readonly<Record<string, string>> = {
  "push<RegA, i64>(up)": "nearPush<NearA>",
  "push<Constant, i64>(up)": "nearPush<NearConstant>",
  "pop<RegA, i64>(up)": "nearPop",
  "leave<i64>(up)": "nearLeave",
  "jmp(up)": "nearJmp",
  "call(up)": "nearCall",
  "ret(up)": "nearRet",
  "callIndirect<RegA, i64>(up)": "nearCallIndirect<NearA>",
  "callIndirect<Mem, i64>(up)": "nearCallIndirect<Near>",
  "callIndirect<MemX, i64>(up)": "nearCallIndirect<NearX>",
  "jmpIndirect<RegA, i64>(up)": "nearJmpIndirect<NearA>",
  "jmpIndirect<Mem, i64>(up)": "nearJmpIndirect<Near>",
  "jmpIndirect<MemX, i64>(up)": "nearJmpIndirect<NearX>",
};

/** The conditions that near forms test, and their opposites. */
const OPPOSITES: Readonly<Record<string, string>> = {
  Ne: "E",
  Ae: "B",
  A: "Be",
  Ns: "S",
  Ge: "L",
  G: "Le",
};
const TESTED = new Set(Object.values(OPPOSITES));
const FROM_RESULT = new Set(["E", "S"]);

interface Choice {
  readonly call: string;
  /** For a form with a condition: whether the micro-op asks for the opposite. */
  readonly opposite?: boolean;
}

function nearOf(call: string): Choice | undefined {
  const own = OWN[call];
  if (own !== undefined) {
    return { call: own.startsWith("nearCallIndirect") ? `${own}(up, p, r)` : `${own}(up, p)` };
  }
  const [, op, condition] = /^(jcc|cmov|setcc)<Cond(\w+)/.exec(call) ?? [];
  if (op !== undefined && condition !== undefined) {
    const tested = OPPOSITES[condition] ?? condition;
    if (!TESTED.has(tested)) return undefined;
    const opposite = tested !== condition;
    if (op === "jcc") {
      const form = FROM_RESULT.has(tested) ? "nearJccResult" : "nearJcc";
      return { call: `${form}<Cond${tested}>(up, p)`, opposite };
    }
    if (op === "setcc") {
      const [, to = ""] = /, (\w+), i8>/.exec(call) ?? [];
      // An index stands where the sense would.
      if (to === "MemX") return { call: `nearSetccX<Cond${condition}>(up, p)` };
      return { call: `nearSetcc<Cond${tested}, ${overNear(to)}>(up, p)`, opposite };
    }
    const width = /RegB, i(32|64)/.exec(call)?.[1];
    if (width === undefined) return undefined;
    return { call: `nearCmov<Cond${tested}, u${width}>(up, p)`, opposite };
  }
  if (!STEPS.some((r) => r.test(call))) return undefined;
  const plain = call.startsWith("mov<") ? call.replace(", i", ", u") : call;
  return { call: /Mem|^alu<(Adc|Sbb)/.test(call) ? near(plain) : plain };
}

const CLASSES: Readonly<Record<string, string>> = {
  RegA: "NearA",
  RegB: "NearB",
  Constant: "NearConstant",
  Mem: "Near",
  MemX: "NearX",
};

/** A call over near operands. */
function near(call: string): string {
  const [pattern, text] = STATEMENTS.find(([r]) => r.test(call)) ?? [];
  if (pattern === undefined || text === undefined) {
    throw new Error(`isa: "${call}" has no near statement`);
  }
  const [, head = ""] = /^(.*)\(up\)$/.exec(call) ?? [];
  return `${overNear(head.replace(pattern, text))}(up, p)`;
}

function overNear(text: string): string {
  return text.replace(/\b(RegA|RegB|Constant|MemX?)\b/g, (c) => CLASSES[c] ?? c);
}

/** Comparisons that are done together with a conditional jump behind them, by the conditions that follow them. */
const COMPARE = /^alu<(Cmp|Test), (.*), (i\d+)>\(up\)$/;
const COMPARISONS: readonly (readonly [RegExp, readonly string[]])[] = [
  [/^alu<Cmp, RegA, (RegB|Constant), i(32|64)>/, ["E", "B", "Be", "L", "Le"]],
  [/^alu<Cmp, RegA, (RegB|Constant), i8>/, ["E", "B", "Be"]],
  [/^alu<Cmp, (RegA, Mem|Mem, RegB), i(32|64)>/, ["E", "B", "Be", "L", "Le"]],
  [/^alu<Cmp, Mem, Constant, i(32|64)>/, ["E", "Be", "Le"]],
  [/^alu<Cmp, (RegA, MemX|MemX, RegB), i64>/, ["L", "Le"]],
  [/^alu<Cmp, (MemX?, Constant|MemX, RegB), i8>/, ["E"]],
  [/^alu<Test, RegA, RegB, i(32|64)>/, ["E", "S", "Le"]],
  [/^alu<Test, RegA, RegB, i8>/, ["E", "S"]],
  [/^alu<Test, RegA, Constant, i(8|32)>/, ["E"]],
  [/^alu<Test, Mem, Constant, i(8|32)>/, ["E"]],
];

/** The near form of two micro-ops in a row. */
function pairOf(first: string, second: string): string | undefined {
  const [, op, operands, width] = COMPARE.exec(first) ?? [];
  const [, condition] = /^jcc<Cond(\w+)>/.exec(second) ?? [];
  if (op === undefined || condition === undefined) return undefined;
  const tested = OPPOSITES[condition] ?? condition;
  if (!COMPARISONS.some(([r, list]) => r.test(first) && list.includes(tested))) return undefined;
  return overNear(`compareJump<${op}Then, Cond${tested}, ${operands}, ${width}>(up, p)`);
}

/** The form of a micro-op that leaves the flags alone. */
function quietOf(call: string): string | undefined {
  const shift = /^shift<(Shl|Shr|Sar), RegA, Constant, (i32|i64)>/.exec(call);
  if (shift && STEPS.some((r) => r.test(call))) {
    const [, op, width = ""] = shift;
    return `quietShift<Quiet${op}, ${op === "Sar" ? width : width.replace("i", "u")}>(up)`;
  }
  if (!QUIET.some((r) => r.test(call))) return undefined;
  // No flag asks for the sign, and a load that leaves it out needs no conversion.
  const quiet = call.replace("<", "<Quiet").replace(", i", ", u");
  return call.includes("Mem") ? near(quiet) : quiet;
}

const QUIET: readonly RegExp[] = [
  /^alu<(Add|Sub|And|Or|Xor), RegA, (RegB|Constant), i(32|64)>/,
  /^alu<(Add|Xor), RegA, MemX?, i(32|64)>/,
];

function roleOf(call: string): number {
  if (SHIFTS.test(call)) return FLAGS_SHIFT;
  return KILLS.test(call) ? FLAGS_KILLED : KEEPS.test(call) ? FLAGS_KEPT : 0;
}

/** Micro-ops that overwrite all flags, or look at none, and at which nothing can stop: they touch registers alone. */
const KILLS = /^(alu<(Add|Sub|And|Or|Xor|Cmp|Test), RegA, (RegB|Constant),|unary<Neg, RegA,)/;
const KEEPS =
  /^(mov<RegA, (RegB|Constant),|mov[sz]x<RegA, RegB,|lea<|nop\b|extend|unary<Not, RegA,)/;

/** Shifts by a constant, which overwrite all flags unless it is 0. */
const SHIFTS = /^shift<(Shl|Shr|Sar), RegA, Constant,/;

/** Forms that are a LEA in other words, when their flags are not seen, and what is to be set in their records. */
const LINEAR: readonly (readonly [RegExp, number])[] = [
  [/^nearLea<Near, i(32|64)>/, LINEAR_LEA],
  [/^mov<RegA, RegB, u(32|64)>/, LINEAR_MOV],
  [/^mov<RegA, Constant, u(32)>/, LINEAR_CONSTANT],
  [/^alu<QuietAdd, RegA, RegB, u(32|64)>/, LINEAR_ADD],
  [/^alu<QuietSub, RegA, RegB, u(32|64)>/, LINEAR_SUB],
  [/^alu<QuietAdd, RegA, Constant, u(32|64)>/, LINEAR_ADD_CONSTANT],
  [/^alu<QuietSub, RegA, Constant, u(32|64)>/, LINEAR_SUB_CONSTANT],
  [/^quietShift<QuietShl, u(32|64)>/, LINEAR_SHL],
];

function packLinear(uops: readonly NearUop[]): Uint16Array {
  const numbers = new Map(uops.map((u, i) => [u.call, FIRST_NEAR_UOP + i]));
  const linear = new Uint16Array(FIRST_ROW_UOP);
  for (const [call, form] of numbers) {
    const [pattern, kind = 0] = LINEAR.find(([r]) => r.test(call)) ?? [];
    const lea = numbers.get(`nearLea<NearX, i${pattern?.exec(call)?.[1] ?? ""}>(up, p)`);
    if (lea !== undefined) linear[form] = lea | (kind << LINEAR_SHIFT);
  }
  return linear;
}

interface PackedChains {
  /** By form: the line of the chains that begin with it. */
  readonly first: Uint16Array;
  /** By form: the column of those that go on with it. */
  readonly second: Uint8Array;
  /** By line: the form of the chain that ends there. */
  readonly forms: Uint16Array;
  readonly chains: Uint16Array;
  /** The form of a chain, and that of its first record alone. */
  readonly firsts: readonly (readonly [number, number])[];
}

/** Numbers the chains. A line stands for what they begin with. */
function packChains(uops: readonly NearUop[], number: (u: NearUop) => number): PackedChains {
  const known = new Map(uops.map((u, i) => [u.call.replace(/\(.*/, ""), FIRST_NEAR_UOP + i]));
  const first = new Uint16Array(FIRST_ROW_UOP);
  const second = new Uint8Array(FIRST_ROW_UOP);
  const forms = new Uint16Array(MAX_CHAIN_LINES + 1);
  const chains = new Uint16Array((MAX_CHAIN_LINES + 1) * CHAIN_COLUMNS);
  const firsts: [number, number][] = [];
  let lines = 0;
  let columns = 0;
  const line = (): number => {
    if (++lines > MAX_CHAIN_LINES) throw new Error("isa: too many beginnings of chains");
    return lines;
  };
  const column = (): number => {
    if (++columns >= CHAIN_COLUMNS) throw new Error("isa: too many forms behind others in chains");
    return columns;
  };
  for (const chain of CHAINED) {
    const steps = chain.split("; ").map((name) => {
      const form = known.get(name);
      const u = form === undefined ? undefined : uops[form - FIRST_NEAR_UOP];
      if (form === undefined || u === undefined)
        throw new Error(`isa: no form "${name}" for a chain`);
      return { form, u };
    });
    const [head, last] = [steps[0], steps.at(-1)];
    if (head === undefined || last === undefined || steps.length < 2)
      throw new Error(`isa: "${chain}" is no chain`);
    let at = (first[head.form] ||= line());
    for (const { form } of steps.slice(1)) {
      at = chains[at * CHAIN_COLUMNS + (second[form] ||= column())] ||= line();
    }
    const calls = steps.map(({ u }) => u.call);
    const whole = number({ call: calls.join(" "), ends: last.u.ends, chain: calls });
    forms[at] = whole;
    firsts.push([whole, head.form]);
  }
  return { first, second, forms, chains, firsts };
}

/** What decides for each record whether it may have the form. */
function conditions(call: string): number {
  if (/^nearPop\b/.test(call)) return NEAR_NOT_RSP;
  if (/^nearCall\b/.test(call)) return NEAR_NOT_NEXT;
  return /NearX|nearSetccX/.test(call) ? NEAR_FACTOR : 0;
}

/** Chooses the near forms of the table's micro-ops, which are given in the order of their numbers. */
export function packNear(rows: readonly UopCall[]): PackedNear {
  if (FIRST_ROW_UOP + rows.length > MAX_UOPS) throw new Error(`isa: more than ${MAX_UOPS} uops`);
  const uops: NearUop[] = [];
  const numbers = new Map<string, number>();
  const nearTable = new Uint16Array(MAX_UOPS);
  const rowTable = new Uint16Array(2 * FIRST_ROW_UOP);
  const add = (u: NearUop): number => {
    const known = numbers.get(u.call);
    if (known !== undefined) return known;
    const n = FIRST_NEAR_UOP + uops.length;
    if (n >= FIRST_ROW_UOP) throw new Error(`isa: more than ${FIRST_ROW_UOP} near forms`);
    uops.push(u);
    numbers.set(u.call, n);
    return n;
  };
  const number = (call: string, ends: boolean): number => add({ call, ends });
  rows.forEach(({ call, ends }, i) => {
    const c = nearOf(call);
    const row = FIRST_ROW_UOP + i;
    if (c === undefined) return;
    const sense = c.opposite === undefined ? 0 : NEAR_SENSE | (c.opposite ? NEAR_OPPOSITE : 0);
    const n = number(c.call, ends);
    nearTable[row] = n | sense | conditions(c.call);
    if (c.opposite === true) rowTable[FIRST_ROW_UOP + n] = row;
    else rowTable[n] = row | sense;
  });
  const lines = new Uint8Array(MAX_UOPS);
  const columns = new Uint8Array(MAX_UOPS);
  const pairs = new Uint16Array((MAX_PAIR_LINES + 1) * PAIR_COLUMNS);
  const seconds = rows.flatMap(({ call }, i) => (call.startsWith("jcc<") ? [i] : []));
  if (seconds.length >= PAIR_COLUMNS) throw new Error("isa: too many second halves of pairs");
  seconds.forEach((i, k) => (columns[FIRST_ROW_UOP + i] = k + 1));
  const known = new Map<string, number>();
  rows.forEach(({ call }, i) => {
    if (!COMPARE.test(call)) return;
    let line = known.get(call);
    if (line === undefined) {
      line = known.size + 1;
      if (line > MAX_PAIR_LINES) throw new Error("isa: too many first halves of pairs");
      known.set(call, line);
      for (const [k, j] of seconds.entries()) {
        const c = pairOf(call, rows[j]?.call ?? "");
        if (c !== undefined) {
          const n = number(c, true);
          pairs[line * PAIR_COLUMNS + k + 1] = n | conditions(c);
          rowTable[n] = FIRST_ROW_UOP + i;
        }
      }
    }
    lines[FIRST_ROW_UOP + i] = line;
  });
  const quiet = new Uint16Array(MAX_UOPS);
  const roles = new Uint8Array(MAX_UOPS);
  rows.forEach(({ call }, i) => {
    const row = FIRST_ROW_UOP + i;
    roles[row] = roleOf(call);
    const c = quietOf(call);
    if (c === undefined) return;
    const n = number(c, false);
    quiet[row] = n | conditions(c);
    rowTable[n] = row;
  });
  const linear = packLinear(uops);
  const { first, second, forms, chains, firsts } = packChains([...uops], add);
  for (const [n, i] of firsts) {
    rowTable[n] = rowTable[i] ?? 0;
    rowTable[FIRST_ROW_UOP + n] = rowTable[FIRST_ROW_UOP + i] ?? 0;
  }
  const bytes = (t: Uint16Array): Uint8Array => new Uint8Array(t.buffer);
  return {
    uops,
    patches: [
      { at: NEAR_OF, bytes: bytes(nearTable) },
      { at: ROW_OF, bytes: bytes(rowTable) },
      { at: PAIR_FIRST, bytes: lines },
      { at: PAIR_SECOND, bytes: columns },
      { at: PAIRS, bytes: bytes(pairs) },
      { at: QUIET_OF, bytes: bytes(quiet) },
      { at: FLAG_ROLE, bytes: roles },
      { at: CHAIN_FIRST, bytes: bytes(first) },
      { at: CHAIN_SECOND, bytes: second },
      { at: CHAIN_FORM, bytes: bytes(forms) },
      { at: LINEAR_OF, bytes: bytes(linear) },
      { at: CHAINS, bytes: bytes(chains) },
      { at: MISS, bytes: Uint8Array.of(UOP_MISS, 0) },
      { at: NO_LINK + BLOCK_HEADER, bytes: Uint8Array.of(UOP_LINK_UP, 0) },
    ],
  };
}

// Decodes what was encoded with iced-x86 and compares it with the statement: mnemonic, registers, memory,
// immediates, sizes. It also says where the displacement and the immediate are. It encodes nothing.
import {
  Code,
  Decoder,
  DecoderOptions,
  MemorySizeExt,
  Mnemonic,
  OpKind,
  Register as IcedRegister,
} from "iced-x86";
import type { Instruction as Decoded } from "iced-x86";
import { CC, SDM_NAME, STRING_OPERATIONS, splitSuffix } from "./mnemonics.ts";
import { Reason } from "./errors.ts";
import { REGISTERS } from "./registers.ts";

/** An operand with its values known (placeholders where a symbol goes). */
export type PlainOperand =
  | { readonly k: "reg"; readonly name: string; readonly indirect: boolean }
  | { readonly k: "imm"; readonly value: bigint; readonly bits: number }
  | {
      readonly k: "mem";
      readonly segment: string | undefined;
      readonly disp: bigint;
      readonly base: string | undefined;
      readonly index: string | undefined;
      readonly scale: number;
      readonly indirect: boolean;
    };

/** Offsets in bytes from the start of the instruction; size 0: there is none. */
export interface FieldOffsets {
  readonly dispOff: number;
  readonly dispSize: number;
  readonly immOff: number;
  readonly immSize: number;
}

/** Throws Reason unless bytes are exactly one instruction that says what the statement says. */
export function verify(
  bytes: Uint8Array,
  mnemonic: string,
  operands: readonly PlainOperand[],
): FieldOffsets {
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  const insn = decoder.decode();
  try {
    if (insn.code === Code.INVALID) throw new Reason(`not a legal instruction (${hex(bytes)})`);
    if (insn.length !== bytes.length) {
      throw new Reason(`encoded as more than one instruction (${hex(bytes)})`);
    }
    const name = mnemonicName(insn);
    if (!sameMnemonic(mnemonic, name)) {
      throw new Reason(`encoded as ${name} (${hex(bytes)})`);
    }
    compareOperands(insn, mnemonic, operands, bytes);
    const c = decoder.getConstantOffsets(insn);
    const out = {
      dispOff: c.displacementOffset,
      dispSize: c.hasDisplacement ? c.displacementSize : 0,
      immOff: c.immediateOffset,
      immSize: c.hasImmediate ? c.immediateSize : 0,
    };
    c.free();
    return out;
  } finally {
    insn.free();
    decoder.free();
  }
}

function mnemonicName(insn: Decoded): string {
  return (Mnemonic[insn.mnemonic] ?? "").toLowerCase();
}

function canonicalCondition(name: string): string {
  const m = /^(j|set|cmov|loop)([a-z]+)$/.exec(name);
  const cc = m?.[2] === undefined ? undefined : CC[m[2]];
  return m === null || cc === undefined ? name : `${m[1]}#${cc}`;
}

function sameMnemonic(written: string, decoded: string): boolean {
  const { base, size } = splitSuffix(written);
  const names = [written, SDM_NAME[written], base, SDM_NAME[base]];
  if (/^set[a-z]+b$/.test(written)) names.push(written.slice(0, -1));
  if (/^movz([bw]|[bw][wlq])$/.test(written)) names.push("movzx");
  if (/^movs([bw]|[bw][wlq])$/.test(written)) names.push("movsx");
  if (STRING_OPERATIONS.has(base) && size === undefined) {
    names.push(...["b", "w", "d", "q"].map((x) => base + x));
  }
  if (base === "xchg") names.push("nop");
  if (written === "int") names.push("int3");
  if (base === "iret" && size === 8) names.push("iretq");
  if (/^(pushf|popf|sysret|sysexit)$/.test(base)) names.push(`${base}q`, base);
  const d = canonicalCondition(decoded);
  return names.some((n) => n !== undefined && canonicalCondition(n) === d);
}

const COMMUTES: ReadonlySet<string> = new Set(["test", "xchg"]);

function compareOperands(
  insn: Decoded,
  mnemonic: string,
  attOperands: readonly PlainOperand[],
  bytes: Uint8Array,
): void {
  const operands = [...attOperands].reverse();
  const { base, size } = splitSuffix(mnemonic);
  if (operands.length === 0 || insn.mnemonic === Mnemonic.Int3) return;
  if (base === "xchg" && insn.mnemonic === Mnemonic.Nop) {
    // ax and rax exchanged with themselves are nops; eax is not (it clears the upper half).
    if (operands.some((o) => o.k !== "reg" || !/^r?ax$/.test(o.name))) {
      throw mismatch(bytes, "it is a nop");
    }
    return;
  }
  if (base === "enter") operands.reverse();
  let nr = insn.opCount;
  const implied =
    nr === operands.length + 1 &&
    ((insn.opKind(nr - 1) === OpKind.Immediate8 && insn.immediate(nr - 1) === 1n) ||
      (base === "imul" && operands[0]?.k === "reg"));
  let shift = 0;
  if (implied && base === "imul") {
    if (insn.opRegister(0) !== insn.opRegister(1)) throw mismatch(bytes, "its registers differ");
    shift = 1;
  } else if (implied) nr--;
  else if (nr !== operands.length) {
    throw mismatch(bytes, `it has ${nr} operands, the statement ${operands.length}`);
  }
  const test = (order: readonly PlainOperand[]): string | undefined => {
    for (const [i, o] of order.entries()) {
      const why = compareOne(insn, i + shift, o, SELECTOR.has(base));
      if (why !== undefined) return why;
    }
    return undefined;
  };
  let why = test(operands);
  if (why !== undefined && COMMUTES.has(base)) why = test([...operands].reverse());
  if (why !== undefined) throw mismatch(bytes, why);
  if (size !== undefined && operands.some((o) => o.k === "mem")) {
    const have = MemorySizeExt.size(insn.memorySize);
    const sized =
      !/^(lea|nop|ljmp|lcall|[ls][gi]dt|movs|movz|crc32|smsw|str|sldt|lldt|lmsw|ltr|l[as][rl])$/.test(
        base,
      );
    if (sized && have !== 0 && have !== size) {
      throw mismatch(bytes, `its memory operand has ${have} bytes, the statement's ${size}`);
    }
  }
}

function mismatch(bytes: Uint8Array, why: string): Reason {
  return new Reason(
    `the operands do not match the instruction: encoded as ${hex(bytes)}, but ${why}`,
  );
}

// These read 16 bits of whatever register is written; the decoder shows the 32-bit name.
const SELECTOR: ReadonlySet<string> = new Set("lldt ltr lmsw verr verw lar lsl mov".split(" "));

function compareOne(
  insn: Decoded,
  i: number,
  o: PlainOperand,
  selector: boolean,
): string | undefined {
  const kind = insn.opKind(i);
  if (o.k === "reg") {
    if (kind !== OpKind.Register) return "a register is missing";
    const have = IcedRegister[insn.opRegister(i)];
    const segmentMove = [0, 1].some(
      (n) =>
        insn.opKind(n) === OpKind.Register &&
        /^[A-Z]S$/.test(IcedRegister[insn.opRegister(n)] ?? ""),
    );
    if (selector && (segmentMove || insn.mnemonic !== Mnemonic.Mov)) {
      const number = (name: string): number | undefined => REGISTERS.get(name)?.num;
      if (number(o.name) === number((have ?? "").toLowerCase())) return undefined;
    }
    return have === icedName(o.name) ? undefined : `it has ${have}, the statement %${o.name}`;
  }
  if (o.k === "imm") {
    if (kind === OpKind.Register || kind === OpKind.Memory) return "an immediate is missing";
    const have = BigInt.asUintN(o.bits, insn.immediate(i));
    const want = BigInt.asUintN(o.bits, o.value);
    return have === want ? undefined : `its immediate is 0x${have.toString(16)}`;
  }
  if (kind === OpKind.Register || isImmediate(kind)) return "a memory operand is missing";
  if (kind !== OpKind.Memory) return undefined;
  return compareMemory(insn, o);
}

function compareMemory(insn: Decoded, o: Extract<PlainOperand, { k: "mem" }>): string | undefined {
  const base = IcedRegister[insn.memoryBase];
  const index = IcedRegister[insn.memoryIndex];
  const wantBase = o.base === undefined ? "None" : icedName(o.base);
  const wantIndex = o.index === undefined ? "None" : icedName(o.index);
  if (base !== wantBase || index !== wantIndex) return `its base and index are ${base}, ${index}`;
  if (o.index !== undefined && insn.memoryIndexScale !== o.scale) return "its scale differs";
  const narrow = /^(E|R\d+D)/.test(wantBase === "None" ? wantIndex : wantBase);
  const bits = narrow ? 32 : 64;
  const relative = o.base === "rip" || o.base === "eip";
  const have = insn.memoryDisplacement - (relative ? BigInt(insn.length) : 0n);
  if (BigInt.asUintN(bits, have) !== BigInt.asUintN(bits, o.disp)) {
    return `its displacement is 0x${BigInt.asUintN(bits, have).toString(16)}`;
  }
  const segment = IcedRegister[insn.segmentPrefix];
  const want = o.segment === undefined ? "None" : o.segment.toUpperCase();
  return segment === want ? undefined : `its segment is ${segment}`;
}

function isImmediate(kind: OpKind): boolean {
  return kind >= OpKind.Immediate8 && kind <= OpKind.Immediate32to64;
}

function icedName(name: string): string {
  const r = /^r(\d+)b$/.exec(name)?.[1];
  if (r !== undefined) return `R${r}L`;
  const db = /^db(\d)$/.exec(name)?.[1];
  return db === undefined ? name.toUpperCase() : `DR${db}`;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(" ");
}

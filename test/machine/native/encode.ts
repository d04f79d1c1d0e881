// Encodes one instruction from its row: prefixes, REX, opcode, ModRM and its memory operand, immediate. It is not an
// assembler: operands are given as numbers, and nonsense in gives nonsense out. SDM Vol. 2A, "Instruction Format".
import type { Row } from "./rows.ts";

export interface MemoryOperand {
  /** Base register, or "rip" with `disp` from the end of the instruction, or "none" for a plain disp32. */
  readonly base: number | "rip" | "none";
  readonly index?: number;
  readonly scale?: number;
  readonly disp: number;
}

export interface Operands {
  readonly size: 8 | 16 | 32 | 64;
  readonly reg: number;
  readonly rm: number | MemoryOperand;
  readonly imm: bigint;
  readonly addr32: boolean;
  readonly lock: boolean;
  readonly rep: number;
  readonly segment: number;
  readonly padding: readonly number[];
}

const IMM_BYTES: Readonly<Record<string, (o: Operands) => number>> = {
  ib: () => 1,
  iw: () => 2,
  iz: (o) => (o.size === 16 ? 2 : 4),
  iv: (o) => o.size / 8,
  rel8: () => 1,
  rel32: () => 4,
  mo: (o) => (o.addr32 ? 4 : 8),
  en: () => 3,
};

export function immediateBytes(row: Row, o: Operands): number {
  for (const t of row.form.opcode.split(" ")) {
    const f = IMM_BYTES[t];
    if (f) return f(o);
  }
  return 0;
}

function le(v: bigint, n: number): number[] {
  return Array.from({ length: n }, (_, i) => Number((v >> BigInt(i * 8)) & 0xffn));
}

/** ModRM, SIB and displacement, with the REX bits that they need. */
function memory(reg: number, m: MemoryOperand, tail: number): { bytes: number[]; rex: number } {
  const r = (reg & 7) << 3;
  let rex = reg & 8 ? 4 : 0;
  if (m.base === "rip") {
    return { bytes: [r | 5, ...le(BigInt(m.disp - tail), 4)], rex };
  }
  if (m.index !== undefined && m.index & 8) rex |= 2;
  const index = m.index === undefined ? 4 : m.index & 7;
  const scale = (m.scale ?? 0) << 6;
  if (m.base === "none")
    return { bytes: [r | 4, scale | (index << 3) | 5, ...le(BigInt(m.disp), 4)], rex };
  if (m.base & 8) rex |= 1;
  const base = m.base & 7;
  const sib = m.index !== undefined || base === 4;
  const short = m.disp >= -128 && m.disp <= 127;
  const mod = m.disp === 0 && base !== 5 ? 0 : short ? 0x40 : 0x80;
  return {
    bytes: [
      mod | r | (sib ? 4 : base),
      ...(sib ? [scale | (index << 3) | base] : []),
      ...(mod === 0 ? [] : le(BigInt(m.disp), short ? 1 : 4)),
    ],
    rex,
  };
}

export function encode(row: Row, o: Operands): number[] {
  const e = row.encoding;
  const nImm = immediateBytes(row, o);
  const out: number[] = [...o.padding];
  const wide = o.size === 64 && !row.attrs.has("f64") && !row.attrs.has("d64");
  if (o.size === 16 || e.prefix === "66") out.push(0x66);
  if (o.addr32) out.push(0x67);
  if (o.lock) out.push(0xf0);
  if (o.segment) out.push(o.segment);
  const rep = e.prefix === "f3" ? 0xf3 : e.prefix === "f2" ? 0xf2 : o.rep;
  if (rep) out.push(rep);
  let rex = wide ? 8 : 0;
  let modrm: number[] = [];
  let opcode = e.opcode;
  if (e.plusReg) {
    if (o.reg & 8) rex |= 1;
    opcode |= o.reg & 7;
  } else if (e.fixed !== undefined) {
    modrm = [e.fixed];
  } else if (e.modrm) {
    const reg = e.digit ?? o.reg;
    if (typeof o.rm === "number") {
      modrm = [0xc0 | ((reg & 7) << 3) | (o.rm & 7)];
      rex |= (reg & 8 ? 4 : 0) | (o.rm & 8 ? 1 : 0);
    } else {
      const m = memory(reg, o.rm, nImm);
      modrm = m.bytes;
      rex |= m.rex;
    }
  }
  // A byte operand in spl, bpl, sil or dil needs a REX; without one it is ah, ch, dh or bh.
  if (rex || row.attrs.has("rexw") || o.padding.includes(0x40)) {
    const w = row.attrs.has("rexw") ? 8 : 0;
    const at = out.indexOf(0x40);
    if (at >= 0) out.splice(at, 1);
    out.push(0x40 | rex | w);
  }
  if (e.map) out.push(0x0f);
  if (e.map === 2) out.push(0x38);
  if (e.map === 3) out.push(0x3a);
  return [...out, opcode, ...modrm, ...le(BigInt.asUintN(64, o.imm), nImm)];
}

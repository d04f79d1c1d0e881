// Random cases from the rows of the table: a handful of instructions with what they need in front of them (pointers,
// counts, targets), so that most of them do something. It tracks which flags the manual leaves undefined and lets
// none of them reach an instruction that reads flags. Every case ends in an int3 or a fault.
import { encode, type Operands } from "./encode.ts";
import { extended, fpWord, someFpu, someMxcsr, textWord } from "./fp.ts";
import { CODE, DATA, HOT, MXCSR_RESET, NO_FPU, NO_XMM, RO, STACK, type Case } from "./layout.ts";
import { Random, edgy } from "./random.ts";
import {
  INDEX,
  POINTERS,
  RAX,
  RBP,
  RBX,
  RCX,
  RDI,
  RDX,
  RSI,
  RSP,
  memory,
  operands,
  pointer,
  register,
} from "./operands.ts";
import { ALL, ROWS, Z, notNative, type Row } from "./rows.ts";
import { Sequence } from "./sequence.ts";

const FLAGS = 0xcd5n;

function row(opcode: string): Row {
  const r = ROWS.find((x) => x.form.opcode === opcode);
  if (!r) throw new Error(`generate: no row "${opcode}"`);
  return r;
}

const MOV_IMM = row("b8+r iv");
const MOV_REG = row("89 /r");
const LEA = row("8d /r");
const STORE_IMM = row("c7 /0 iz");
const PUSH = row("50+r");
const PUSH_IMM = row("68 iz");
const PUSHF = row("9c");
const XOR = row("31 /r");
const CMP = row("38 /r");
const CDQ = row("99");
const CLD = row("fc");
const STD = row("fd");
const ENDS_CASE =
  /^(in|out|hlt|cli|lmsw|rdpmc|sti|clac|stac|swapgs|lgdt|lidt|invlpg|lldt|ltr|wrmsr|rdmsr|clts|invd|wbinvd|sysretq|ud0|ud1|ud2|int3|int)$/;

/** Whether a row works on XMM state. */
function isSse(row: Row): boolean {
  return row.attrs.has("simd") || row.attrs.has("mmx") || /^fx(save|rstor)$/.test(row.mnemonic);
}

/** Whether a row works on x87 or MMX registers. */
function isFpu(row: Row): boolean {
  return row.attrs.has("x87") || row.attrs.has("mmx");
}

/** Whether a row works on an image of the state in memory. Which of its bytes faults first is the CPU's own. */
function isImage(row: Row): boolean {
  return /^(fxsave|fxrstor|fnstenv|fldenv|fnsave|frstor)$/.test(row.mnemonic);
}

class Generator {
  readonly r: Random;
  readonly seq = new Sequence();
  /** XMM registers that some instruction names. */
  readonly xmm = new Set<number>();
  /** Whether some instruction compares strings. */
  text = false;

  constructor(r: Random) {
    this.r = r;
  }

  plain(row: Row, o: Partial<Operands>): void {
    this.seq.plain(row, o);
  }

  setRegister(reg: number, v: bigint): void {
    const small = v >= 0n && v < 1n << 32n;
    this.plain(MOV_IMM, { size: small && this.r.chance(50) ? 32 : 64, reg, imm: v });
  }

  /** Emits `row`, after what it needs to be of interest. */
  instruction(row: Row): void {
    const r = this.r;
    const need =
      row.reads | (row.mnemonic === "iretq" ? ALL : 0) | (/^loopn?e/.test(row.mnemonic) ? Z : 0);
    // A jump brings its own undefined flags, so the next item may have more than here.
    if (this.seq.openHere() & need) {
      this.plain(XOR, { size: 32, reg: RBP, rm: RBP });
      if (this.seq.openHere() & need & ~0x10) return;
      this.plain(CMP, { reg: RBP, rm: RAX });
      if (this.seq.openHere() & need) return;
    }
    const wild = r.chance(4);
    const given: { -readonly [K in keyof Operands]?: Operands[K] } = {};
    let jump: { size: number; ahead: number } | undefined;
    const m = row.mnemonic;
    const does = row.form.does;
    if (row.attrs.has("branch")) {
      const size = row.encoding.imm === 5 ? 1 : 4;
      jump = { size, ahead: 1 + r.below(4) };
      given.imm = 0n;
      if (wild && size === 4 && r.chance(30)) {
        jump = undefined;
        given.imm = BigInt(r.u32() | 0);
        if (CODE + given.imm >= CODE - 0x4000n && CODE + given.imm < CODE + 0x4000n)
          given.imm = 0x100000n;
      }
      if (m === "jrcxz" || m.startsWith("loop")) {
        given.addr32 = r.chance(20);
        if (r.chance(60))
          this.setRegister(RCX, r.pick([0n, 1n, 2n, 0x1_0000_0000n, 0x1_0000_0001n]));
      }
    }
    if (
      (m === "jmp" && !row.attrs.has("branch")) ||
      (m === "call" && !row.attrs.has("branch")) ||
      m === "ret"
    ) {
      if (!wild) return this.#indirect(row);
      // A return to a place of the sequence would bring flags there that nobody expects.
      if (m === "ret") this.plain(PUSH, { reg: r.pick([RDX, RBP]) });
      else given.rm = r.chance(50) ? register(r) : memory(r);
    }
    if (m === "iretq") return this.#iret(row); // where it faults first on a bad stack is the CPU's own
    if (does.startsWith("stringOp") && !wild) this.#stringSetUp();
    if (row.attrs.has("rep")) {
      given.rep = r.pick([0, 0xf3, 0xf2]);
      if (given.rep && !wild) this.setRegister(RCX, r.chance(20) ? 0n : BigInt(r.below(40)));
      given.addr32 = r.chance(8);
      given.segment = r.chance(4) ? r.pick([0x64, 0x65]) : 0;
      given.padding = [];
    }
    if (m === "xlat" && !wild) this.setRegister(RBX, pointer(r));
    if (m === "movsxd") given.size = r.pick([32, 64]);
    if (m === "leave" && !wild) {
      this.plain(LEA, { reg: RBP, rm: { base: RSP, disp: r.below(8) * 8 } });
    }
    if (m === "enter") {
      // A nested ENTER that faults half-way has written on the CPU; here it has not.
      this.plain(LEA, { reg: RBP, rm: { base: RSP, disp: r.below(8) * 8 } });
      given.imm = BigInt(r.below(128) * 8) | (BigInt(r.below(r.chance(80) ? 3 : 40)) << 16n);
    }
    if (does.startsWith("divAcc") && r.chance(80)) this.#divisionSetUp(row);
    if (does.startsWith("loadOffset") || does.startsWith("storeOffset")) {
      given.imm = wild ? edgy(r) : pointer(r);
      given.addr32 = r.chance(10);
      given.segment = r.chance(6) ? r.pick([0x64, 0x65]) : 0;
      given.padding = [];
    }
    if (m === "popf") {
      this.plain(PUSH_IMM, { size: 64, imm: BigInt(r.u32()) & FLAGS });
      given.size = 64;
    }
    if (m === "cmpxchg8b" && r.chance(70))
      given.rm = { base: r.pick(POINTERS), disp: r.below(4) * 16 - 32 };
    if (does === "movToSeg") {
      given.reg = r.pick([0, 0, 2, 3, 3, 1, 6, 7]);
      given.rm = RAX;
      this.setRegister(RAX, BigInt(given.reg === 2 ? 0x2b : r.pick([0, 1, 2, 3, 0x2b])));
      given.size = 32;
    }
    if (does === "movFromSeg" && r.chance(90)) given.reg = r.pick([0, 1, 2, 3, 4, 5]);
    if (/^mov(From|To)[CD]r/.test(does)) given.reg = r.pick([0, 2, 3]);
    if (/^(lar|lsl|verr|verw)$/.test(m)) {
      // Those selectors which name the same descriptors on both sides.
      given.rm = RAX;
      const sel = r.pick([0, 1, 2, 3, 0x28, 0x2b, 0x33, 0x30, 0x80, 0xfff8, 0xffff, 0x34, 0x2f]);
      this.setRegister(RAX, BigInt(sel) | (BigInt(r.u32()) << 16n));
    }
    if (m === "prefetch") given.rm = memory(r); // a register is a NOP for Intel, #UD for AMD
    if (m === "lss") given.size = r.pick([16, 32]); // AMD knows no m16:64
    if (m === "lss" && !wild) {
      const base = r.pick(POINTERS);
      this.setRegister(base, DATA + BigInt(HOT) + BigInt(r.below(100)));
      given.rm = { base, disp: 4 };
      const at = 4 + (given.size === 16 ? 2 : 4);
      const sel = r.pick([0x2b, 0x2b, 0x2b, 3, 0x33]);
      this.plain(STORE_IMM, { size: 16, rm: { base, disp: at }, imm: BigInt(sel) });
      given.segment = 0;
      given.addr32 = false;
    }
    if (m === "int") given.imm = r.pick([0n, 1n, 3n, 6n, 8n, 0x0dn, 0x0en, 0x20n]);
    if (does.startsWith("nop") && m === "nop" && row.encoding.modrm) given.reg = r.below(8);
    if (isSse(row) || isFpu(row)) this.#simd(row, given, wild);
    if (row.encoding.plusReg) {
      given.padding = [];
      if (does === "xchg") given.reg = 1 + r.below(15);
      if (given.reg === RSP && !wild) given.reg = RBP;
    }
    if (does.startsWith("shiftDouble") && row.operands.includes("CL")) {
      given.size = r.pick([16, 32, 64]);
      // Sixteen bits shifted by more than sixteen are not defined.
      if (given.size === 16) this.setRegister(RCX, BigInt(1 + r.below(15)));
    }
    const o = operands(r, row, given);
    this.#emit(row, o, need, jump, wild);
  }

  #emit(
    row: Row,
    o0: Operands,
    need: number,
    jump: { size: number; ahead: number } | undefined,
    wild: boolean,
  ): void {
    if (this.seq.openHere() & need) return;
    let o = o0;
    if (row.form.does.startsWith("shiftDouble") && o.size === 16 && !row.operands.includes("CL"))
      o = { ...o, imm: BigInt(1 + this.r.below(15)) };
    if (typeof o.rm !== "number" && o.rm.base === "rip") {
      // From the middle of the code's first page to the hot bytes; the offset of the case is added to both alike.
      const to = wild ? this.r.below(0x3000) : HOT + this.r.below(96);
      o = { ...o, rm: { base: "rip", disp: Number(DATA - CODE) + to - 0x1000 }, addr32: false };
    }
    if (this.r.chance(2) && typeof o.rm !== "number" && o.rm.base !== "rip") {
      o = { ...o, rm: { base: "none", disp: Number(RO) + this.r.below(64) } };
    }
    const bytes = encode(row, o);
    if (bytes.length > 15) return;
    const at = this.seq.items.length;
    if (jump) {
      const to = this.seq.group + jump.ahead;
      this.seq.place({ bytes, jump: { at: bytes.length - jump.size, size: jump.size, to } }, row);
      this.seq.effect(row, o);
      this.seq.jumpTo(to);
    } else {
      this.seq.place({ bytes }, row);
      this.seq.effect(row, o);
      this.#forgetPointers(row, o);
    }
    if (at > 200) throw new Error("generate: a case grew without end");
  }

  /** Registers of both kinds, and memory that is mostly aligned where it must be. */
  #simd(row: Row, given: { -readonly [K in keyof Operands]?: Operands[K] }, wild: boolean): void {
    const r = this.r;
    const xmmReg = row.operands.some((o) => o[0] === "V");
    const xmmRm = row.operands.some((o) => o[0] === "W" || o[0] === "U");
    const inMemory =
      row.operands.some((o) => o[0] === "M") ||
      (row.operands.some((o) => /^[EWQ]/.test(o)) && r.chance(45));
    const some = (): number => {
      const n = r.below(16);
      this.xmm.add(n);
      return n;
    };
    if (xmmReg) given.reg = some();
    const fpuRm = row.operands.some((o) => /^[QN]|^ST/.test(o));
    if (row.operands.some((o) => o[0] === "P")) given.reg = r.below(8);
    if (!inMemory) given.rm = xmmRm ? some() : fpuRm ? r.below(8) : register(r);
    else if ((!wild && r.chance(85)) || isImage(row)) {
      // Which byte of an FXSAVE image faults first is the CPU's own, so its address is always good.
      const base = r.pick(POINTERS);
      const step = isFpu(row) && r.chance(30) ? 1 : 16;
      this.setRegister(base, DATA + BigInt(HOT) + BigInt(r.below((7 * 16) / step) * step));
      const index = r.chance(20) && base !== 8 ? { index: 8, scale: r.below(4) } : {};
      if ("index" in index) this.setRegister(8, 0n);
      given.rm = {
        base,
        ...index,
        disp: isImage(row) ? 16 : r.pick([0, 0, 16, -16]),
      };
      given.segment = 0;
      given.addr32 = false;
      if (row.mnemonic === "ldmxcsr" || row.mnemonic === "fxrstor") {
        const m = { base, disp: given.rm.disp + (row.mnemonic === "fxrstor" ? 24 : 0) };
        given.rm = { base, disp: given.rm.disp };
        this.plain(STORE_IMM, { size: 32, rm: m, imm: someMxcsr(r) });
      }
    }
    if (row.mnemonic.startsWith("pcmp") && row.mnemonic.includes("str")) {
      this.text = true;
      if (!wild && row.mnemonic.startsWith("pcmpe")) {
        this.setRegister(RAX, BigInt.asUintN(64, BigInt(r.below(40) - 20)));
        this.setRegister(RDX, BigInt.asUintN(64, BigInt(r.below(40) - 20)));
      }
      given.imm = BigInt(r.below(256));
    }
    if (/blendv/.test(row.mnemonic)) this.xmm.add(0);
    if (/^(round|dp|mpsad|insertps)/.test(row.mnemonic)) given.imm = BigInt(r.below(256));
    // Whether MASKMOVQ that faults has left the x87 state for MMX is the CPU's own.
    if (row.mnemonic === "maskmovq" || (row.mnemonic === "maskmovdqu" && !wild)) {
      this.setRegister(RDI, DATA + BigInt(HOT) + BigInt(r.below(100)));
      given.segment = r.chance(10) ? 0x64 : 0;
    }
    if (row.operands.includes("Ib") && given.imm === undefined && r.chance(60))
      given.imm = BigInt(r.below(34));
  }

  /** FNSTENV and FNSAVE show pointers that the CPU keeps only while an exception is pending: zeros in their place. */
  #forgetPointers(row: Row, o: Operands): void {
    if (!/^fn(stenv|save)$/.test(row.mnemonic) || typeof o.rm === "number") return;
    for (const at of o.size === 16 ? [6, 10] : [12, 16, 20, 24]) {
      const rm = { ...o.rm, disp: o.rm.disp + at };
      this.plain(STORE_IMM, { size: 32, rm, imm: 0n });
    }
  }

  #stringSetUp(): void {
    const r = this.r;
    this.setRegister(RSI, pointer(r));
    this.setRegister(RDI, pointer(r));
    const kind = r.below(10);
    if (kind < 2) this.plain(STD, {});
    else if (kind < 4) this.plain(CLD, {});
  }

  #divisionSetUp(row: Row): void {
    const r = this.r;
    if (row.operands[0] === "Eb") this.setRegister(RAX, BigInt(r.below(2048)));
    else if (row.mnemonic === "idiv" && r.chance(60)) this.plain(CDQ, { size: r.pick([32, 64]) });
    else this.setRegister(RDX, r.chance(70) ? 0n : BigInt(r.below(256)));
  }

  /** A jump, call or return to an item a little ahead, through a register or the stack. */
  #indirect(row: Row): void {
    const r = this.r;
    const reg = r.pick([RAX, RCX, RDX, 8, 9, 10]);
    const viaStack = row.mnemonic === "ret" || r.chance(40);
    const to = this.seq.group + 1 + r.below(3);
    const lea = encode(
      LEA,
      operands(r, LEA, {
        size: 64,
        reg,
        rm: { base: "rip", disp: 0 },
        addr32: false,
        segment: 0,
        padding: [],
      }),
    );
    this.seq.place({ bytes: lea, jump: { at: lea.length - 4, size: 4, to } }, LEA);
    if (viaStack) this.plain(PUSH, { reg });
    const o = operands(r, row, {
      size: 64,
      rm: viaStack ? { base: RSP, disp: 0 } : reg,
      imm: BigInt(r.below(4) * 8),
      segment: 0,
      addr32: false,
    });
    this.seq.place({ bytes: encode(row, o) }, row);
    this.seq.jumpTo(to);
  }

  #iret(row: Row): void {
    const r = this.r;
    const to = this.seq.group + 1 + r.below(2);
    this.plain(PUSH_IMM, { imm: 0x2bn });
    this.plain(PUSH_IMM, { imm: STACK + 0x1000n + BigInt(r.below(16)) });
    if (r.chance(50)) this.plain(PUSHF, {});
    else this.plain(PUSH_IMM, { imm: (BigInt(r.u32()) & FLAGS) | 0x202n });
    this.plain(PUSH_IMM, { imm: 0x33n });
    const lea = encode(
      LEA,
      operands(r, LEA, {
        size: 64,
        reg: RAX,
        rm: { base: "rip", disp: 0 },
        addr32: false,
        segment: 0,
        padding: [],
      }),
    );
    this.seq.place({ bytes: lea, jump: { at: lea.length - 4, size: 4, to } }, LEA);
    this.plain(PUSH, { reg: RAX });
    this.plain(MOV_REG, { reg: RAX, rm: RAX });
    this.seq.place({ bytes: encode(row, operands(r, row, { padding: [] })) }, row);
  }
}

const NATIVE = ROWS.filter((r) => notNative(r) === undefined);
const ENDING = NATIVE.filter(
  (r) => ENDS_CASE.test(r.mnemonic) || /^mov(From|To)[CD]r/.test(r.form.does),
);
const ORDINARY = NATIVE.filter((r) => !ENDING.includes(r));

/** One case. `must` is a row that it is to hold. */
export function generateCase(seed: number, must?: Row): Case {
  const r = new Random(seed);
  const g = new Generator(r);
  const n = must ? 1 : 1 + r.below(8);
  const end =
    must && ENDING.includes(must) ? must : !must && r.chance(6) ? r.pick(ENDING) : undefined;
  for (let i = 0; i < n; i++) {
    g.seq.begin();
    if (must && must !== end) g.instruction(must);
    else if (!must) g.instruction(r.pick(ORDINARY));
  }
  g.seq.begin();
  if (end) g.instruction(end);
  g.seq.finish();
  const starts: number[] = [];
  let at = 0;
  for (const it of g.seq.items) {
    starts.push(at);
    at += it.bytes.length;
  }
  starts.push(at);
  const runsOff = r.chance(2);
  const code = new Uint8Array(at + (runsOff ? 0 : 1));
  g.seq.items.forEach((it, i) => {
    const start = starts[i] ?? 0;
    code.set(it.bytes, start);
    if (!it.jump) return;
    const target = starts[g.seq.startOf(it.jump.to)] ?? at;
    const d = target - (start + it.bytes.length);
    for (let k = 0; k < it.jump.size; k++) code[start + it.jump.at + k] = (d >> (k * 8)) & 0xff;
  });
  if (!runsOff) code[at] = 0xcc;
  const size = Math.ceil(code.length / 8) * 8;
  let codeOff = 0x1000 - (r.chance(50) ? r.below(code.length + 8) : 0x200 + r.below(64));
  if (runsOff || r.chance(1)) codeOff = 0x2000 - size;
  const body = runsOff ? shifted(code, size) : code;
  const skew = body.length - code.length;
  const undefinedAt: (readonly [number, number])[] = g.seq.marks.map(([i, f]) => [
    (starts[i] ?? at) + skew,
    f,
  ]);
  undefinedAt.push([at + skew + 1, undefinedAt.at(-1)?.[1] ?? 0], [-1, g.seq.ever]);
  const regs = Array.from({ length: 16 }, () => edgy(r));
  for (const p of POINTERS)
    if (!r.chance(3))
      regs[p] = DATA + 0x1000n + BigInt(r.below(5) * 16 - 32 + (r.chance(20) ? r.below(16) : 0));
  regs[INDEX] = r.chance(90) ? BigInt.asUintN(64, BigInt(r.below(9) - 4)) : (regs[INDEX] ?? 0n);
  if (!r.chance(3)) regs[RSP] = STACK + 0x1000n + BigInt(r.below(8) * 8 - 32);
  if (r.chance(40)) regs[RBP] = STACK + 0x1000n + BigInt(r.below(64));
  const hot = new Uint8Array(128);
  const hv = new DataView(hot.buffer);
  for (let i = 0; i < 16; i++) hv.setBigUint64(i * 8, edgy(r), true);
  const rflags = (BigInt(r.u32()) & (r.chance(90) ? 0x8d5n : FLAGS)) | 0x202n;
  const rows = [...new Set(g.seq.rows)];
  const sse = rows.some((i) => ROWS[i] && isSse(ROWS[i]));
  if (sse)
    for (let i = 0; i < 16; i++)
      if (r.chance(80)) hv.setBigUint64(i * 8, g.text ? textWord(r) : fpWord(r), true);
  const xmm = sse
    ? Array.from({ length: 32 }, (_, i) => {
        if (g.text && r.chance(70)) return textWord(r);
        return g.xmm.has(i >> 1) || r.chance(8) ? fpWord(r) : 0n;
      })
    : NO_XMM;
  const mxcsr = sse ? someMxcsr(r) : MXCSR_RESET;
  const x87 = rows.some((i) => ROWS[i] && isFpu(ROWS[i]));
  const fpu = x87 ? someFpu(r) : NO_FPU;
  if (x87) for (let i = 0; i < 8; i++) if (r.chance(40)) putExtended(hv, i * 16, extended(r));
  return { code: body, codeOff, regs, rflags, mxcsr, xmm, fpu, hot, rows, undefinedAt };
}

function putExtended(v: DataView, at: number, [sig, se]: readonly [bigint, bigint]): void {
  v.setBigUint64(at, sig, true);
  v.setUint16(at + 8, Number(se), true);
}

/** Moves code to the end of its room, behind nops, so that it ends where the page ends. */
function shifted(code: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(size).fill(0x90);
  out.set(code, size - code.length);
  return out;
}

// What the manual's Operation sections say of the instructions that user mode cannot show, as functions on the state of a
// case: the vectors of these forms where no CPU can be asked. Written from the manual and apart from the core; one
// function for each family. SDM Vol. 2, the instructions by name; Vol. 3A, "Control Registers", "Debug Registers".
import { HAS_CODE } from "../guest/cpu.ts";
import type { Outcome } from "../guest/guest.ts";
import { CODE, GDT, GDT_LIMIT, KERNEL, TSS, makeWorld, paOf } from "../guest/world.ts";
import { W, type State } from "../guest/words.ts";
import type { VectorForm } from "./forms.ts";
import type { GuestVector } from "./guest-cases.ts";

const WORLD = new DataView(makeWorld().buffer);
const ARITH = 0x8d5n;
const RF = 0x1_0000n;

class Fault extends Error {
  readonly vector: number;
  readonly code: bigint;
  constructor(vector: number, code = 0n) {
    super(`#${vector}`);
    this.vector = vector;
    this.code = code;
  }
}

function gp(selector = 0n): Fault {
  return new Fault(13, selector & 0xfffcn);
}

class Cpu {
  readonly s: State;
  readonly c: GuestVector;
  readonly form: VectorForm;
  readonly bytes = new Map<number, number>(); // by physical address
  /** A software interrupt that was delivered. */
  raised: number | undefined;

  constructor(form: VectorForm, c: GuestVector) {
    this.form = form;
    this.c = c;
    this.s = c.start.slice();
    for (const p of c.patches) p.bytes.forEach((b, i) => this.bytes.set(p.pa + i, b));
  }

  get(w: number): bigint {
    return this.s[w] ?? 0n;
  }

  byte(pa: number): number {
    return this.bytes.get(pa) ?? WORLD.getUint8(pa);
  }

  read(va: bigint, n: number): bigint {
    let v = 0n;
    for (let i = n - 1; i >= 0; i--) v = (v << 8n) | BigInt(this.byte(paOf(va) + i));
    return v;
  }

  write(va: bigint, n: number, v: bigint): void {
    for (let i = 0; i < n; i++) this.bytes.set(paOf(va) + i, Number((v >> BigInt(i * 8)) & 0xffn));
  }

  ring(): bigint {
    return this.get(W.cs) & 3n;
  }

  /** The r/m operand as `n` bytes. */
  source(n: number): bigint {
    const { rm } = this.c.operands;
    const mask = (1n << BigInt(n * 8)) - 1n;
    if (typeof rm === "number") return this.get(rm) & mask;
    return this.read(this.c.operand ?? 0n, n);
  }

  setReg(i: number, v: bigint, bits: number): void {
    const low = (1n << BigInt(bits)) - 1n;
    this.s[i] = bits >= 32 ? v & low : (this.get(i) & ~low) | (v & low);
  }

  flags(clear: bigint, set: bigint): void {
    this.s[W.rflags] = (this.get(W.rflags) & ~clear) | set;
  }

  /** A selector's descriptor, or #GP beyond the table; there is no LDT. */
  descriptor(sel: bigint): bigint {
    const local = (sel & 4n) !== 0n;
    if (local || Number(sel | 7n) > GDT_LIMIT) throw gp(sel);
    let d = 0n;
    for (let i = 7; i >= 0; i--) d = (d << 8n) | BigInt(this.byte(GDT + Number(sel & 0xfff8n) + i));
    return d;
  }

  rax(bits: number, v: bigint): void {
    this.setReg(W.rax, v, bits);
  }
}

function canonical(v: bigint): boolean {
  return BigInt.asUintN(64, BigInt.asIntN(48, v)) === v;
}

const type = (d: bigint): number => Number((d >> 40n) & 0x1fn);
const dpl = (d: bigint): bigint => (d >> 45n) & 3n;
const present = (d: bigint): boolean => ((d >> 47n) & 1n) === 1n;
const code64 = (d: bigint): boolean => (type(d) & 0x18) === 0x18 && ((d >> 53n) & 3n) === 1n;

const MSR: Readonly<Record<string, number>> = {
  c0000081: W.star, c0000082: W.lstar, c0000083: W.cstar, c0000084: W.sfmask, c0000100: W.fsBase, c0000101: W.gsBase,
  c0000102: W.kernelGsBase, c0000103: W.tscAux,
}; // prettier-ignore

function msr(m: Cpu): number {
  const w = MSR[(m.get(W.rcx) & 0xffff_ffffn).toString(16)];
  if (w === undefined) throw gp();
  return w;
}

/** The checks of a code segment that is returned to or jumped to, at privilege `cpl`. */
function codeSegment(m: Cpu, sel: bigint, cpl: bigint): void {
  if ((sel & 0xfffcn) === 0n) throw gp();
  const d = m.descriptor(sel);
  if (!code64(d)) throw gp(sel);
  const conforming = (type(d) & 4) !== 0;
  if (conforming ? dpl(d) > cpl : dpl(d) !== cpl) throw gp(sel);
  if (!present(d)) throw new Fault(11, sel & 0xfffcn);
}

function far(m: Cpu, call: boolean): bigint {
  const n = m.c.operands.size / 8;
  const at = m.c.operand ?? 0n;
  const rip = m.read(at, n);
  const sel = m.read(at + BigInt(n), 2);
  if (sel & 3n) throw gp(sel);
  codeSegment(m, sel, 0n);
  if (call) {
    const next = CODE + BigInt(m.c.codeOff + m.c.code.length);
    const sp = m.get(W.rsp);
    m.write(sp - BigInt(n), n, m.get(W.cs));
    m.write(sp - BigInt(2 * n), n, next);
    m.s[W.rsp] = sp - BigInt(2 * n);
  }
  m.s[W.cs] = sel;
  return rip;
}

function iret(m: Cpu): bigint {
  if (m.get(W.rflags) & 0x4000n) throw gp();
  const sp = m.get(W.rsp);
  const n = m.c.operands.size / 8;
  const [rip = 0n, cs = 0n, flags = 0n, rsp = 0n, ss = 0n] = [0, 1, 2, 3, 4].map((i) => m.read(sp + BigInt(i * n), n));
  const sel = cs & 0xffffn;
  const rpl = sel & 3n;
  if ((sel & 0xfffcn) === 0n) throw gp();
  codeSegment(m, sel, rpl);
  const stack = ss & 0xffffn;
  if ((stack & 0xfffcn) === 0n) {
    if (rpl === 3n || (stack & 3n) !== rpl) throw gp();
  } else {
    const d = m.descriptor(stack);
    if ((stack & 3n) !== rpl || (type(d) & 0x1a) !== 0x12 || dpl(d) !== rpl) throw gp(stack);
    if (!present(d)) throw new Fault(12, stack & 0xfffcn);
  }
  if (!canonical(rip)) throw gp();
  const may = (ARITH | 0x25_7600n) & (n === 2 ? 0xffffn : ~0n); // from ring 0 with IF and IOPL
  m.s[W.rflags] = (m.get(W.rflags) & ~may) | (flags & may);
  m.s[W.cs] = sel;
  m.s[W.ss] = stack;
  m.s[W.rsp] = rsp;
  return rip;
} // prettier-ignore

/** By `does`: answers where it goes on when that is not the next instruction. */
const OPERATIONS: readonly (readonly [RegExp, (m: Cpu) => bigint | undefined | void])[] = [
  [/^cli/, (m) => m.flags(0x200n, 0n)],
  [/^sti/, (m) => m.flags(0n, 0x200n)],
  [/^acFlag.Clac/, (m) => m.flags(0x4_0000n, 0n)],
  [/^acFlag.Stac/, (m) => m.flags(0n, 0x4_0000n)],
  [/^clts/, (m) => { m.s[W.cr0] = m.get(W.cr0) & ~8n; }],
  [/^(nop|invlpg|hlt|portOut|serialize|wbinvd|invd)/, () => undefined],
  [/^portIn.*:b/, (m) => m.rax(8, 0xffn)],
  [/^portIn.*:v/, (m) => m.rax(m.c.operands.size === 16 ? 16 : 32, 0xffff_ffffn)],
  [/^swapgs/, (m) => { const g = m.get(W.gsBase); m.s[W.gsBase] = m.get(W.kernelGsBase); m.s[W.kernelGsBase] = g; }],
  [/^storeTable.(Gdt|Idt)/, (m) => {
    const at = /Gdt/.test(m.form.row.form.does) ? W.gdtBase : W.idtBase;
    m.write(m.c.operand ?? 0n, 2, m.get(at + 1));
    m.write((m.c.operand ?? 0n) + 2n, 8, m.get(at));
  }],
  [/^loadTable.(Gdt|Idt)/, (m) => {
    const at = /Gdt/.test(m.form.row.form.does) ? W.gdtBase : W.idtBase;
    const base = m.read((m.c.operand ?? 0n) + 2n, 8);
    if (!canonical(base)) throw gp();
    m.s[at + 1] = m.read(m.c.operand ?? 0n, 2);
    m.s[at] = base;
  }],
  [/^(storeSelector|smsw)/, (m) => {
    const does = m.form.row.form.does;
    const v = does === "smsw" ? m.get(W.cr0) : m.get(/Tr/.test(does) ? W.tr : W.ldtr);
    const { rm, size } = m.c.operands;
    if (typeof rm === "number") m.setReg(rm, does === "smsw" ? v : v & 0xffffn, size);
    else m.write(m.c.operand ?? 0n, 2, v);
  }],
  [/^lmsw/, (m) => {
    const v = m.source(2) & 0xfn;
    m.s[W.cr0] = (m.get(W.cr0) & ~0xen) | v | (m.get(W.cr0) & 1n);
  }],
  [/^lldt/, (m) => {
    const sel = m.source(2);
    if (sel & 0xfffcn) {
      if ((sel & 4n) !== 0n) throw gp(sel);
      const d = m.descriptor(sel);
      if (type(d) !== 2) throw gp(sel);
    }
    m.s[W.ldtr] = sel;
  }],
  [/^ltr/, (m) => {
    const sel = m.source(2);
    if ((sel & 0xfffcn) === 0n) throw gp();
    const d = m.descriptor(sel);
    if (type(d) !== 9) throw gp(sel);
    if (!present(d)) throw new Fault(11, sel & 0xfffcn);
    m.bytes.set(GDT + Number(sel & 0xfff8n) + 5, Number((d >> 40n) & 0xffn) | 2);
    m.s[W.tr] = sel;
    m.s[W.trBase] = KERNEL + BigInt(TSS);
    m.s[W.trLimit] = 0x67n;
  }],
  [/^movFromCr/, (m) => {
    const w = { 0: W.cr0, 2: W.cr2, 3: W.cr3, 4: W.cr4 }[m.c.operands.reg];
    const { rm, reg } = m.c.operands;
    if (w === undefined && reg !== 8) throw new Fault(6);
    if (typeof rm === "number") m.s[rm] = w === undefined ? 0n : m.get(w);
  }],
  [/^movToCr/, (m) => {
    const v = m.source(8);
    const { reg } = m.c.operands;
    if (reg === 0) {
      if (v >> 32n || !(v & 1n) || !(v & 0x8000_0000n) || (v & 0x6000_0000n) === 0x2000_0000n) throw gp();
      m.s[W.cr0] = v | 0x10n;
    } else if (reg === 2) m.s[W.cr2] = v;
    else if (reg === 3) m.s[W.cr3] = v;
    else if (reg === 4) {
      if (v >> 23n || !(v & 0x20n)) throw gp();
      m.s[W.cr4] = v;
    } else if (reg === 8) {
      if (v > 15n) throw gp();
    } else throw new Fault(6);
  }],
  [/^mov(From|To)Dr/, (m) => {
    const { rm, reg } = m.c.operands;
    if ((reg === 4 || reg === 5) && m.get(W.cr4) & 8n) throw new Fault(6);
    const n = reg === 4 || reg === 5 ? reg + 2 : reg;
    const w = n < 4 ? W.dr0 + n : n === 6 ? W.dr6 : W.dr7;
    if (typeof rm !== "number") return;
    if (/From/.test(m.form.row.form.does)) m.s[rm] = m.get(w);
    else {
      const v = m.get(rm);
      if (n >= 6 && v >> 32n) throw gp();
      m.s[w] = n === 6 ? (v & 0xe00fn) | 0xffff_0ff0n : n === 7 ? (v & 0xffff_23ffn) | 0x400n : v;
    }
  }],
  [/^rdmsr/, (m) => { const v = m.get(msr(m)); m.s[W.rax] = v & 0xffff_ffffn; m.s[W.rdx] = v >> 32n; }],
  [/^wrmsr/, (m) => {
    const w = msr(m);
    const v = (m.get(W.rdx) << 32n) | (m.get(W.rax) & 0xffff_ffffn);
    const value = BigInt.asUintN(64, v);
    const address = w === W.lstar || w === W.cstar || w === W.fsBase || w === W.gsBase || w === W.kernelGsBase;
    if (address && !canonical(value)) throw gp();
    if ((w === W.sfmask || w === W.tscAux) && value >> 32n) throw gp();
    m.s[w] = value;
  }],
  [/^movToSeg/, (m) => {
    const n = m.c.operands.reg;
    if (n === 1 || n > 5) throw new Fault(6);
    const sel = m.source(2);
    const w = W.es + n;
    let base = 0n;
    if (sel & 0xfffcn) {
      const d = m.descriptor(sel);
      const t = type(d);
      if (n === 2) {
        if ((sel & 3n) !== 0n || (t & 0x1a) !== 0x12 || dpl(d) !== 0n) throw gp(sel);
        if (!present(d)) throw new Fault(12, sel & 0xfffcn);
      } else {
        const readable = (t & 0x18) === 0x10 || (t & 0x1a) === 0x1a;
        if (!readable || ((t & 0x1c) !== 0x1c && dpl(d) < (sel & 3n))) throw gp(sel);
        if (!present(d)) throw new Fault(11, sel & 0xfffcn);
      }
      base = ((d >> 16n) & 0xff_ffffn) | (((d >> 56n) & 0xffn) << 24n);
    } else if (n === 2 && (sel & 3n) !== 0n) throw gp();
    m.s[w] = sel;
    if (n === 4) m.s[W.fsBase] = base;
    if (n === 5) m.s[W.gsBase] = base;
  }],
  [/^popFlags/, (m) => {
    const n = m.c.operands.size === 16 ? 2 : 8;
    const v = m.read(m.get(W.rsp), n);
    const may = n === 2 ? 0x7fd5n : 0x24_7fd5n;
    m.s[W.rflags] = (m.get(W.rflags) & ~(may | RF)) | (v & may);
    m.s[W.rsp] = m.get(W.rsp) + BigInt(n);
  }],
  [/^(intN|int3|int1)/, (m) => { m.raised = /int3/.test(m.form.row.form.does) ? 3 : /int1/.test(m.form.row.form.does) ? 1 : Number(m.c.operands.imm); }],
  [/^syscall/, (m) => {
    if (!(m.get(W.efer) & 1n)) throw new Fault(6);
    m.s[W.rcx] = CODE + BigInt(m.c.codeOff + m.c.code.length);
    m.s[W.r11] = m.get(W.rflags) & ~RF;
    m.s[W.rflags] = (m.get(W.rflags) & ~(m.get(W.sfmask) | RF)) | 2n;
    m.s[W.cs] = (m.get(W.star) >> 32n) & 0xfffcn;
    m.s[W.ss] = m.get(W.cs) + 8n;
    return m.get(W.lstar);
  }],
  [/^sysret/, (m) => {
    if (!(m.get(W.efer) & 1n)) throw new Fault(6);
    m.s[W.rflags] = (m.get(W.r11) & 0x3c_7fd7n) | 2n;
    const sel = m.get(W.star) >> 48n;
    m.s[W.cs] = (sel + 16n) | 3n;
    m.s[W.ss] = (sel + 8n) | 3n;
    return m.get(W.rcx);
  }],
  [/^iret/, iret],
  [/^retFar/, (m) => {
    const n = m.c.operands.size / 8;
    const sp = m.get(W.rsp);
    const rip = m.read(sp, n);
    const sel = m.read(sp + BigInt(n), n) & 0xffffn;
    codeSegment(m, sel, 0n);
    m.s[W.cs] = sel;
    m.s[W.rsp] = sp + BigInt(2 * n) + (/Pop/.test(m.form.row.form.does) ? m.c.operands.imm & 0xffffn : 0n);
    return rip;
  }],
  [/^callFar/, (m) => far(m, true)],
  [/^jmpFar/, (m) => far(m, false)],
  [/^rdpid/, (m) => { if (typeof m.c.operands.rm === "number") m.s[m.c.operands.rm] = m.get(W.tscAux); }],
  [/^vmcall/, (m) => { if (m.ring()) throw new Fault(6); }],
  [/^rdtsc/, (m) => { m.s[W.rax] = 0n; m.s[W.rdx] = 0n; if (m.form.row.mnemonic === "rdtscp") m.s[W.rcx] = m.get(W.tscAux); }],
]; // prettier-ignore

export function isDerivable(form: VectorForm): boolean {
  return OPERATIONS.some(([re]) => re.test(form.row.form.does));
}

/** The outcome of a case by the manual. */
export function derive(form: VectorForm, c: GuestVector): Outcome {
  const m = new Cpu(form, c);
  const operation = OPERATIONS.find(([re]) => re.test(form.row.form.does))?.[1];
  if (!operation) throw new Error(`no operation for "${form.key}"`);
  const next = CODE + BigInt(c.codeOff + c.code.length);
  try {
    const to = operation(m);
    if (form.row.form.does === "hlt") return end(m, c, next, undefined);
    if (m.raised !== undefined) return end(m, c, next, m.raised, undefined);
    return arrive(m, c, to ?? next);
  } catch (e) {
    if (!(e instanceof Fault)) throw e;
    const state = c.start.slice();
    state[W.rflags] = (state[W.rflags] ?? 0n) | RF;
    const code = HAS_CODE.has(e.vector) ? e.code : undefined;
    return {
      exit: "halt",
      trap: { vector: e.vector, code, arrival: undefined },
      state,
      changes: [],
    };
  }
}

/** What is at the place where it went on: a HLT, which ring 0 halts at and user mode may not; an int3; or no page. */
function arrive(m: Cpu, c: GuestVector, to: bigint): Outcome {
  const inside = to >= CODE && to < CODE + 0x2000n;
  if (!inside) {
    m.s[W.cr2] = to;
    m.s[W.rflags] = m.get(W.rflags) | RF;
    return end(m, c, to, 14, m.ring() ? 0x14n : 0x10n);
  }
  const there = m.byte(paOf(to));
  if (there === 0xcc) return end(m, c, to + 1n, 3);
  if (m.ring() === 0n) return end(m, c, to + 1n, undefined);
  m.s[W.rflags] = m.get(W.rflags) | RF;
  return end(m, c, to, 13, 0n);
}

function end(m: Cpu, c: GuestVector, rip: bigint, vector: number | undefined, code?: bigint): Outcome {
  m.s[W.rip] = rip;
  const words = new Map<number, bigint>();
  for (const pa of m.bytes.keys()) words.set(pa & ~7, 0n);
  const before = new Map<number, number>();
  for (const p of c.patches) p.bytes.forEach((b, i) => before.set(p.pa + i, b));
  const changes = [...words.keys()].toSorted((a, b) => a - b).flatMap((pa): (readonly [number, bigint])[] => {
    let v = 0n;
    let old = 0n;
    for (let i = 7; i >= 0; i--) {
      v = (v << 8n) | BigInt(m.byte(pa + i));
      old = (old << 8n) | BigInt(before.get(pa + i) ?? WORLD.getUint8(pa + i));
    }
    return v === old ? [] : [[pa, v]];
  });
  const trap = vector === undefined ? undefined : { vector, code, arrival: undefined };
  return { exit: "halt", trap, state: m.s, changes };
} // prettier-ignore

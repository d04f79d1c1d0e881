// The inputs of the vectors that user mode cannot show: what ring 0 does, and the few instructions that show or reach the
// system from ring 3. Made from the seed as user-cases.ts does it; memory operands are always good here, the table of
// faults has the others.
import { CODE, SEL } from "../guest/world.ts";
import { W } from "../guest/words.ts";
import type { Operands } from "../native/encode.ts";
import { edgy } from "../native/random.ts";
import { Draft, RAX, RCX, RDX, RSP } from "./draft.ts";
import type { VectorForm } from "./forms.ts";
import { fnv, type VectorCase } from "./user-cases.ts";

export interface GuestVector extends VectorCase {
  readonly operands: Operands;
}

const MSRS = [
  0xc000_0081n,
  0xc000_0082n,
  0xc000_0083n,
  0xc000_0084n,
  0xc000_0100n,
  0xc000_0101n,
  0xc000_0102n,
  0xc000_0103n,
];
const CR4_BITS = [0x4n, 0x8n, 0x80n, 0x100n, 0x200n, 0x400n, 0x800n]; // TSD DE PGE PCE OSFXSR OSXMMEXCPT UMIP
const CR0_BITS = [0x2n, 0x4n, 0x8n, 0x20n, 0x1_0000n, 0x4_0000n, 0x4000_0000n]; // MP EM TS NE WP AM CD

function canonical(v: bigint): bigint {
  return BigInt.asUintN(64, BigInt.asIntN(48, v));
}

/** Somewhere behind the instruction, in the bytes that halt. */
function near(d: Draft): bigint {
  return CODE + BigInt(d.codeOff + 15 + d.r.below(8));
}

const SETUPS: readonly (readonly [RegExp, (d: Draft) => void])[] = [
  [/^movToCr/, controlWrite],
  [/^movFromCr/, (d) => { d.o.reg = d.r.pick([0, 0, 2, 3, 4, 8, 1, 5]); d.state[W.cr2] = canonical(edgy(d.r)); }],
  [/^mov(To|From)Dr/, debug],
  [/^(wrmsr|rdmsr)/, (d) => {
    d.reg(RCX, (edgy(d.r) & ~0xffff_ffffn) | d.r.pick(d.r.chance(8) ? [0x1234n, 0xc000_0200n] : MSRS));
    const v = d.r.chance(80) ? canonical(edgy(d.r)) : edgy(d.r);
    d.reg(RAX, (edgy(d.r) & ~0xffff_ffffn) | (v & 0xffff_ffffn));
    d.reg(RDX, (edgy(d.r) & ~0xffff_ffffn) | (v >> 32n));
    for (const w of [W.lstar, W.cstar, W.kernelGsBase, W.gsBase, W.fsBase]) d.state[w] = canonical(edgy(d.r));
    d.state[W.star] = edgy(d.r);
    d.state[W.sfmask] = edgy(d.r) & 0xffff_ffffn;
    d.state[W.tscAux] = edgy(d.r) & 0xffff_ffffn;
  }],
  [/^swapgs/, (d) => { d.state[W.gsBase] = canonical(edgy(d.r)); d.state[W.kernelGsBase] = canonical(edgy(d.r)); }],
  [/^loadTable/, (d) => {
    const at = d.address();
    d.poke(at, edgy(d.r), 2);
    d.poke(at + 2n, d.r.chance(85) ? canonical(edgy(d.r)) : edgy(d.r), 8);
  }],
  [/^storeTable/, (d) => {
    if (d.form.ring !== 0) return;
    d.state[W.gdtBase] = canonical(edgy(d.r));
    d.state[W.gdtLimit] = edgy(d.r) & 0xffffn;
    d.state[W.idtBase] = canonical(edgy(d.r));
    d.state[W.idtLimit] = edgy(d.r) & 0xffffn;
  }],
  [/^lldt/, (d) => selector(d, [0, 1, 2, 3, SEL.kernelDs, SEL.userCs | 3, SEL.tss, 0x7f8, 0x7ff])],
  [/^ltr/, (d) => selector(d, [0, 3, SEL.otherTss, SEL.otherTss, SEL.otherTss | 3, SEL.tss, SEL.absentTss, SEL.kernelDs, SEL.ldt, 0x7f8, SEL.otherTss | 4])],
  [/^movToSeg/, (d) => {
    d.o.reg = d.r.pick([0, 2, 2, 3, 4, 5, 1, 6]);
    selector(d, [0, 1, SEL.kernelDs, SEL.kernelDs, SEL.userDs | 3, SEL.userDs, SEL.absentDs, SEL.readOnlyDs, SEL.conforming, SEL.basedDs | 3, SEL.kernelCs, SEL.tss, 0x7f8, SEL.kernelDs | 3]);
  }],
  [/^popFlags/, (d) => d.poke(d.state[RSP] ?? 0n, BigInt(d.r.u32()) & ~0x1a_8100n, 8)], // neither TF nor the VM bits
  [/^intN/, (d) => { d.o.imm = BigInt(d.r.below(256)); }],
  [/^syscall/, (d) => {
    d.state[W.star] = (BigInt(SEL.kernelCs) << 32n) | (BigInt(SEL.userCs32 | 3) << 48n);
    d.state[W.lstar] = near(d);
    d.state[W.sfmask] = BigInt(d.r.u32()) & 0x4fffdn; // not bit 1, which is always set
    if (d.r.chance(10)) d.state[W.efer] = 0xd00n;
  }],
  [/^sysret/, (d) => {
    d.state[W.star] = BigInt(SEL.userCs32 | 3) << 48n;
    d.reg(RCX, near(d));
    d.reg(11, BigInt(d.r.u32()) & ~0x4_0100n); // neither TF nor AC
    if (d.r.chance(10)) d.state[W.efer] = 0xd00n;
  }],
  [/^iret/, (d) => {
    const { r } = d;
    const outer = r.chance(50);
    const sp = d.state[RSP] ?? 0n;
    const bad = r.chance(25);
    const cs = bad ? r.pick([0, SEL.kernelDs, SEL.absentUserCs | 3, SEL.userCs | 1, SEL.kernelCs | 3, 0x7f8]) : outer ? SEL.userCs | 3 : SEL.kernelCs;
    const ss = bad && r.chance(50) ? r.pick([0, SEL.absentDs | 3, SEL.readOnlyDs, SEL.kernelCs, 0x7f8]) : outer ? SEL.userDs | 3 : SEL.kernelDs;
    const n = d.o.size / 8;
    const slot = (i: number, v: bigint): void => d.poke(sp + BigInt(i * n), v, n);
    slot(0, bad && r.chance(20) && n === 8 ? 0x8000_0000_0000n : near(d));
    slot(1, BigInt(cs) | (BigInt(r.u32()) << 32n));
    slot(2, BigInt(r.u32()) & ~0x5b_8100n);
    slot(3, edgy(r));
    slot(4, BigInt(ss));
    d.flag(0x4000n, r.chance(5));
  }],
  [/^(retFar)/, (d) => {
    const n = d.o.size / 8;
    const sp = d.state[RSP] ?? 0n;
    d.o.imm = BigInt(d.r.below(8) * 8);
    d.poke(sp, near(d), n);
    d.poke(sp + BigInt(n), BigInt(d.r.pick([SEL.kernelCs, SEL.kernelCs, SEL.kernelCs, 0, SEL.kernelDs, SEL.absentKernelCs, 0x7f8])), n);
  }],
  [/^(callFar|jmpFar)/, (d) => {
    const n = d.o.size / 8;
    d.poke(d.address(), near(d), n);
    d.poke(d.address() + BigInt(n), BigInt(d.r.pick([SEL.kernelCs, SEL.kernelCs, SEL.kernelCs, 0, SEL.kernelDs, SEL.absentKernelCs, 0x7f8])), 2);
  }],
  [/^lmsw/, (d) => selector(d, [0, 1, 2, 3, 4, 8, 9, 0xf, 0x8, 0xe, 0xfff0])],
  [/^rdpid/, (d) => { d.state[W.tscAux] = edgy(d.r) & 0xffff_ffffn; }],
  [/^rdtsc/, (d) => { if (d.r.chance(30)) d.state[W.cr4] = 0x624n; }],
]; // prettier-ignore

function selector(d: Draft, from: readonly number[]): void {
  const v = BigInt(d.r.pick(from));
  if (typeof d.o.rm === "number") d.reg(d.o.rm, (edgy(d.r) & ~0xffffn) | v);
  else d.poke(d.address(), v, 2);
}

function controlWrite(d: Draft): void {
  const { r, o } = d;
  o.reg = r.pick([0, 0, 2, 3, 4, 4, 8, 1]);
  if (typeof o.rm !== "number") return;
  let v = canonical(edgy(r));
  if (o.reg === 0) {
    v = 0x8005_0033n;
    for (let i = 0; i < 3; i++) v ^= r.pick(CR0_BITS);
    if (r.chance(20)) v = r.pick([0x5_0033n, 0x8005_0032n, 0xa005_0033n, 0x1_8005_0033n]);
  } else if (o.reg === 3) v = 0x1000n | BigInt(r.below(0x1000) & ~0xe7);
  else if (o.reg === 4) {
    v = 0x620n;
    for (let i = 0; i < 3; i++) v ^= r.pick(CR4_BITS);
    if (r.chance(20)) v = r.pick([0x600n, 0x8000_0620n, 0x1_0000_0620n]);
  } else if (o.reg === 8) v = BigInt(r.below(18));
  d.reg(o.rm, v);
}

function debug(d: Draft): void {
  const { r, o } = d;
  o.reg = r.below(8);
  for (let i = 0; i < 4; i++) d.state[W.dr0 + i] = canonical(edgy(r));
  if (r.chance(20)) d.state[W.cr4] = 0x628n;
  if (typeof o.rm !== "number" || !/To/.test(d.form.row.form.does)) return;
  const low = BigInt(r.u32());
  const free = o.reg < 4 ? canonical(edgy(r)) : low & ~0x20ffn; // nothing enabled, no GD
  d.reg(o.rm, o.reg >= 4 && r.chance(10) ? free | (1n << 40n) : free);
}

/** Vector number `i` of a form that needs a guest. */
export function guestCase(form: VectorForm, i: number): GuestVector {
  for (let attempt = 0; ; attempt++) {
    const d = new Draft(form, fnv(`${form.key} ${i} ${attempt}`));
    if (d.wild || d.codeOff > 0x1fc0) continue;
    if (form.ring === 0) d.flag(0x3000n, false);
    d.o.lock = false;
    d.o.padding = d.o.padding.filter((b) => b === 0x40);
    d.o.addr32 = false;
    d.o.segment = 0;
    if (form.kind === "mem") d.alignedOperand([0, 3, 16, -16]);
    SETUPS.find(([re]) => re.test(form.row.form.does))?.[1](d);
    const code = d.encode();
    const after = new Uint8Array(24).fill(form.ring === 0 || /syscall/.test(form.row.mnemonic) ? 0xf4 : 0xcc);
    after.set(code);
    const patches = d.patches(after);
    d.state[W.rip] = CODE + BigInt(d.codeOff);
    return {
      start: d.state,
      patches,
      code,
      codeOff: d.codeOff,
      operand: typeof d.o.rm === "number" ? undefined : d.address(),
      undefinedFlags: 0,
      system: true,
      operands: d.o,
    };
  }
} // prettier-ignore

// The emulator's side: the same addresses in ring 3, under page tables of a supervisor that has nothing but an interrupt
// table whose every gate leads to a vmcall. What the gate pushed is the outcome.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CPU, CR4, FPU, FPU_REGS, IDTR_BASE, MXCSR, RAM, RAX, XMM } from "../../../assembly/abi.ts";
import { Machine } from "../../../src/machine/index.ts";
import {
  CODE,
  CODE_SIZE,
  DATA,
  DATA_SIZE,
  FS_BASE,
  GS_BASE,
  HOT,
  RO,
  STACK,
  STACK_SIZE,
  baseMemory,
  type Case,
  type Outcome,
} from "./layout.ts";

const KERNEL = 0xffff_ffff_8000_0000n;
const PML4 = 0x1000;
const PDPT_LOW = 0x2000;
const PDPT_HIGH = 0x3000;
const PD_LOW = 0x4000;
const PD_HIGH = 0x5000;
const PT = 0x6000; // code, data, stack
const GDT = 0xa000;
const TSS = 0xb000;
const IDT = 0xc000;
const STUBS = 0xd000;
const KSTACK = 0x10000; // its top
const PA_CODE = 0x20000;
const PA_DATA = 0x30000;
const PA_STACK = 0x40000;
const HAS_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21]);
const MAX_TIME = 200_000;

export const USER_CS = 0x33;
export const USER_DS = 0x2b;

/** Where word `i` of the stack's registers lies: the machine has them in physical order. */
function registerAt(top: number, i: number): number {
  return FPU_REGS + ((top + (i >> 1)) & 7) * 16 + (i & 1) * 8;
}

export class EmulatedCpu {
  readonly machine: Machine;
  readonly #start: ReturnType<Machine["snapshot"]>;

  constructor() {
    const core = new WebAssembly.Module(
      readFileSync(join(import.meta.dirname, "../../../dist/core.wasm")),
    );
    const m = new Machine({ core, ramBytes: 0x60000, nrVcpus: 1, stackAreas: [] });
    this.machine = m;
    const put = (pa: number, v: bigint): void => {
      const b = new Uint8Array(8);
      new DataView(b.buffer).setBigUint64(0, v, true);
      m.writePhys(BigInt(pa), b);
    };
    const table = (pa: number): bigint => BigInt(pa) | 7n;
    put(PML4, table(PDPT_LOW));
    put(PML4 + 511 * 8, table(PDPT_HIGH));
    put(PDPT_LOW, table(PD_LOW));
    put(PDPT_HIGH + 510 * 8, table(PD_HIGH));
    put(PD_HIGH, 0x83n); // the first 2 MiB, supervisor
    const map = (va: bigint, pt: number, pa: number, size: number, flags: bigint): void => {
      put(PD_LOW + Number((va >> 21n) & 511n) * 8, table(pt));
      for (let i = 0; i < size / 4096; i++) {
        put(pt + (Number((va >> 12n) & 511n) + i) * 8, BigInt(pa + i * 4096) | flags);
      }
    };
    const nx = 1n << 63n;
    map(CODE, PT, PA_CODE, CODE_SIZE, 5n);
    map(DATA, PT + 0x1000, PA_DATA, DATA_SIZE, 7n | nx);
    map(RO, PT + 0x1000, PA_DATA + DATA_SIZE, 0x1000, 5n | nx);
    map(STACK, PT + 0x2000, PA_STACK, STACK_SIZE, 7n | nx);
    put(GDT + 0x10, 0x00af9b000000ffffn);
    put(GDT + 0x18, 0x00cf93000000ffffn);
    put(GDT + 0x28, 0x00cff3000000ffffn);
    put(GDT + 0x30, 0x00affb000000ffffn);
    put(TSS + 4, KERNEL + BigInt(KSTACK));
    put(TSS + 96, 0x68n << 48n); // no I/O bit map
    for (let v = 0; v < 32; v++) {
      const to = KERNEL + BigInt(STUBS + v * 16);
      const dpl = v === 3 || v === 4 ? 3n : 0n;
      put(
        IDT + v * 16,
        (to & 0xffffn) |
          (0x10n << 16n) |
          ((0x8en | (dpl << 5n)) << 40n) |
          (((to >> 16n) & 0xffffn) << 48n),
      );
      put(IDT + v * 16 + 8, to >> 32n);
      m.writePhys(BigInt(STUBS + v * 16), Uint8Array.of(0x0f, 0x01, 0xc1));
    }
    const memory = baseMemory();
    m.writePhys(BigInt(PA_DATA), memory.subarray(0, DATA_SIZE));
    m.writePhys(BigInt(PA_DATA + DATA_SIZE), memory.subarray(0, 4096));
    m.writePhys(BigInt(PA_STACK), memory.subarray(DATA_SIZE));
    m.setReg(0, "cr3", BigInt(PML4));
    m.core.setU64(CR4, m.core.u64(CR4) | 0x600n); // OSFXSR, OSXMMEXCPT
    m.setReg(0, "fs_base", FS_BASE);
    m.setReg(0, "gs_base", GS_BASE);
    m.core.setU64(IDTR_BASE - 16, KERNEL + BigInt(GDT));
    m.core.setU64(IDTR_BASE - 8, 0x3fn);
    m.core.setU64(IDTR_BASE, KERNEL + BigInt(IDT));
    m.core.setU64(IDTR_BASE + 8, 0xfffn);
    m.core.setU64(IDTR_BASE + 16, KERNEL + BigInt(TSS));
    m.core.setU64(IDTR_BASE + 24, 0x67n);
    m.setReg(0, "cs", BigInt(USER_CS));
    m.setReg(0, "ss", BigInt(USER_DS));
    m.setReg(0, "cpl", 3n);
    this.#start = m.snapshot();
  }

  /** Puts a case in place without running it. */
  prepare(c: Case): void {
    const m = this.machine;
    m.restore(this.#start);
    m.writePhys(BigInt(PA_DATA + HOT), c.hot);
    const padded = new Uint8Array(Math.ceil(c.code.length / 8) * 8).fill(0xcc);
    padded.set(c.code);
    m.writePhys(BigInt(PA_CODE + c.codeOff), padded);
    c.regs.forEach((v, i) => m.core.setU64(RAX + i * 8, v));
    m.setReg(0, "rip", CODE + BigInt(c.codeOff));
    m.setReg(0, "rflags", c.rflags);
    m.core.setU32(MXCSR, Number(c.mxcsr));
    c.xmm.forEach((w, i) => m.core.setU64(XMM + i * 8, w));
    for (let i = 0; i < 3; i++) m.core.setU64(FPU + i * 8, c.fpu[i] ?? 0n);
    const top = Number((c.fpu[0] ?? 0n) >> 27n) & 7;
    for (let i = 0; i < 16; i++) m.core.setU64(registerAt(top, i), c.fpu[3 + i] ?? 0n);
  }

  /** Runs to the end, in slices of `slice` units of time. */
  finish(slice = MAX_TIME): void {
    const m = this.machine;
    let time = 0;
    for (;;) {
      const r = m.run(0, Math.min(slice, MAX_TIME));
      time += r.used;
      if (r.exit === "vmcall") return;
      if (r.exit !== "none" || time >= MAX_TIME) {
        throw new Error(`emulated: the case ended with ${r.exit} after ${time}`);
      }
    }
  }

  outcome(dump = false): Outcome {
    const m = this.machine;
    const vector = Number(m.reg(0, "rip") - KERNEL - BigInt(STUBS)) >> 4;
    let sp = RAM + Number(m.reg(0, "rsp") - KERNEL);
    let code = 0n;
    if (HAS_CODE.has(vector)) {
      code = m.core.u64(sp);
      sp += 8;
    }
    const e = m.core.exports;
    const hashed = e.hash(e.hash(0n, RAM + PA_DATA, DATA_SIZE), RAM + PA_STACK, STACK_SIZE);
    const regs = Array.from({ length: 16 }, (_, i) => m.core.u64(CPU + i * 8));
    regs[4] = m.core.u64(sp + 24);
    return {
      regs,
      rip: m.core.u64(sp),
      rflags: m.core.u64(sp + 16),
      vector,
      code,
      cr2: m.reg(0, "cr2"),
      hash: BigInt.asUintN(64, hashed),
      mxcsr: BigInt(m.core.u32(MXCSR)),
      xmm: Array.from({ length: 32 }, (_, i) => m.core.u64(XMM + i * 8)),
      fpu: this.#fpu(),
      ...(dump ? { memory: this.#memory() } : {}),
    };
  }

  #fpu(): bigint[] {
    const head = Array.from({ length: 3 }, (_, i) => this.machine.core.u64(FPU + i * 8));
    const top = Number((head[0] ?? 0n) >> 27n) & 7;
    const regs = Array.from({ length: 16 }, (_, i) => this.machine.core.u64(registerAt(top, i)));
    return [...head, ...regs];
  }

  #memory(): Uint8Array {
    const out = new Uint8Array(DATA_SIZE + STACK_SIZE);
    out.set(this.machine.readPhys(BigInt(PA_DATA), DATA_SIZE));
    out.set(this.machine.readPhys(BigInt(PA_STACK), STACK_SIZE), DATA_SIZE);
    return out;
  }

  run(c: Case, options?: { dump?: boolean; slice?: number }): Outcome {
    this.prepare(c);
    this.finish(options?.slice);
    return this.outcome(options?.dump);
  }
}

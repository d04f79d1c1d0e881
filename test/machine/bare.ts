// A machine with nothing on it but page tables, descriptor tables and a piece of assembly: for tests of what the
// manual says about traps, paging and the APIC. Every gate leads to a vmcall, so that the host sees the trap.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  CPU,
  GDTR_BASE,
  GDTR_LIMIT,
  IDTR_BASE,
  IDTR_LIMIT,
  TR_BASE,
  TR_LIMIT,
} from "../../assembly/abi.ts";
import type { Assembler } from "../../src/asm/index.ts";
import { makeAssembler } from "../../src/asm/index.ts";
import type { Image } from "../../src/link/index.ts";
import { findSymbol, link } from "../../src/link/index.ts";
import { Machine, type MachineConfig, type RunOutcome } from "../../src/machine/index.ts";

export const KERNEL = 0xffff_ffff_8000_0000n;
export const TEXT = KERNEL + 0x100000n;
export const USER = 0x400000n;
export const USER_DATA = 0x410000n; // four pages
export const USER_STACK_TOP = 0x430000n; // two pages below
export const KSTACK_TOP = KERNEL + 0x80000n; // rsp0
export const IST1_TOP = KERNEL + 0x90000n;
export const BOOT_TOP = KERNEL + 0xa0000n;
export const USER_CS = 0x33n;
export const USER_DS = 0x2bn;
const PML4 = 0x1000n;
const PD_LOW = 0x4000n;
const PT = 0x6000n;
const GDT = 0xa000n;
const TSS = 0xb000n; // 0x100 bytes per vCPU
const IDT = 0xc000n;
const STUBS = 0xd000n;
const USER_PA = 0x200000n;
const HAS_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21]);
const R = { read: true, write: false, exec: false, user: false };

export const P = 1n;
export const RW = 2n;
export const US = 4n;
export const ACCESSED = 0x20n;
export const DIRTY = 0x40n;
export const NX = 1n << 63n;

/** What a gate's stub saw. */
export interface Trap {
  readonly vector: number;
  readonly code: bigint;
  readonly rip: bigint;
  readonly cs: bigint;
  readonly rflags: bigint;
  readonly rsp: bigint;
  readonly ss: bigint;
  /** rsp in the handler. */
  readonly frame: bigint;
}

export interface GateOptions {
  readonly dpl?: number;
  readonly ist?: number;
  readonly trap?: boolean;
  readonly to?: bigint;
  readonly absent?: boolean;
}

export interface BareOptions extends Pick<MachineConfig, "devices" | "adversary" | "cet"> {
  readonly vcpus?: number;
}

const CORE = new WebAssembly.Module(
  readFileSync(join(import.meta.dirname, "../../dist/core.wasm")),
);
let assembler: Assembler | undefined;

export class Bare {
  readonly machine: Machine;
  readonly image: Image;

  static async make(text: string, options: BareOptions = {}): Promise<Bare> {
    assembler ??= await makeAssembler();
    const obj = assembler.assemble({ name: "bare.S", text }, { include: () => undefined });
    const image = link([obj], {
      name: "bare",
      entry: "start",
      regions: [
        { name: ".text", va: TEXT, pa: 0x100000n, sections: [".text"], align: 4096, flags: { ...R, exec: true } },
        { name: ".user", va: USER, pa: USER_PA, sections: [".user"], align: 4096, flags: { ...R, exec: true, user: true } },
      ],
    }); // prettier-ignore
    return new Bare(image, options);
  }

  private constructor(image: Image, options: BareOptions) {
    const { vcpus = 1, ...rest } = options;
    this.image = image;
    const m = new Machine({
      core: CORE,
      ramBytes: 4 << 20,
      nrVcpus: vcpus,
      stackAreas: [],
      ...rest,
    });
    this.machine = m;
    this.put(PML4, 0x2007n);
    this.put(PML4 + 511n * 8n, 0x3007n);
    this.put(0x2000n, PD_LOW | 7n);
    this.put(0x3000n + 510n * 8n, 0x5007n);
    this.put(0x5000n, 0x83n);
    this.put(0x5008n, 0x200083n);
    this.put(PD_LOW + 2n * 8n, PT | 7n);
    for (let i = 0n; i < 2n; i++) this.map(USER + i * 0x1000n, P | US);
    for (let i = 0n; i < 4n; i++) this.map(USER_DATA + i * 0x1000n, P | RW | US | NX);
    for (let i = 1n; i <= 2n; i++) this.map(USER_STACK_TOP - i * 0x1000n, P | RW | US | NX);
    for (const s of image.segments) m.writePhys(s.pa, s.bytes);
    this.put(GDT + 0x10n, 0x00af9b000000ffffn);
    this.put(GDT + 0x18n, 0x00cf93000000ffffn);
    this.put(GDT + 0x20n, 0x00affb000000ffffn);
    this.put(GDT + 0x28n, 0x00cff3000000ffffn);
    this.put(GDT + 0x30n, 0x00affb000000ffffn);
    for (let v = 0; v < 256; v++) {
      m.writePhys(STUBS + BigInt(v * 16), Uint8Array.of(0x0f, 0x01, 0xc1));
      this.gate(v, {});
    }
    for (let v = 0; v < vcpus; v++) {
      const tss = TSS + BigInt(v * 0x100);
      const apart = BigInt(v) * 0x1000n;
      this.put(tss + 4n, KSTACK_TOP - apart);
      this.put(tss + 36n, IST1_TOP - apart);
      this.put(tss + 96n, 0x68n << 48n); // no I/O bit map
      this.set(v, GDTR_BASE, KERNEL + GDT);
      this.set(v, GDTR_LIMIT, 0x6fn);
      this.set(v, IDTR_BASE, KERNEL + IDT);
      this.set(v, IDTR_LIMIT, 0xfffn);
      this.set(v, TR_BASE, KERNEL + tss);
      this.set(v, TR_LIMIT, 0x67n);
      m.setReg(v, "cr3", PML4);
      m.setReg(v, "rip", image.entry);
      m.setReg(v, "rsp", BOOT_TOP - apart);
      m.setReg(v, "rflags", 2n);
    }
  }

  /** Writes a word of physical memory. */
  put(pa: bigint, value: bigint): void {
    const b = new Uint8Array(8);
    new DataView(b.buffer).setBigUint64(0, value, true);
    this.machine.writePhys(pa, b);
  }

  get(pa: bigint): bigint {
    return new DataView(this.machine.readPhys(pa, 8).buffer).getBigUint64(0, true);
  }

  /** A field of a vCPU's state block. */
  set(vcpu: number, at: number, value: bigint): void {
    this.machine.core.setU64(this.machine.stateOf(vcpu) + at - CPU, value);
  }

  pteAt(va: bigint): bigint {
    return PT + ((va >> 12n) & 511n) * 8n;
  }

  /** Maps a page of the user's 2 MiB onto its own physical page, or onto another one. The TLB is not told. */
  map(va: bigint, flags: bigint, pa = USER_PA + (va - USER)): void {
    this.put(this.pteAt(va), pa | flags);
  }

  pte(va: bigint): bigint {
    return this.get(this.pteAt(va));
  }

  symbol(name: string): bigint {
    const s = findSymbol(this.image, name);
    if (!s) throw new Error(`no symbol ${name}`);
    return s.va;
  }

  gate(vector: number, o: GateOptions): void {
    const to = o.to ?? KERNEL + STUBS + BigInt(vector * 16);
    const type = (o.absent ? 0n : 0x80n) | (BigInt(o.dpl ?? 0) << 5n) | (o.trap ? 15n : 14n);
    const at = IDT + BigInt(vector * 16);
    const low = (to & 0xffffn) | (0x10n << 16n) | (BigInt(o.ist ?? 0) << 32n) | (type << 40n);
    this.put(at, low | (((to >> 16n) & 0xffffn) << 48n));
    this.put(at + 8n, (to >> 32n) & 0xffffffffn);
  }

  /** Puts a vCPU into user mode at `name`. */
  enterUser(name: string, vcpu = 0, rflags = 0x202n): void {
    const m = this.machine;
    m.setReg(vcpu, "cpl", 3n);
    m.setReg(vcpu, "cs", USER_CS);
    m.setReg(vcpu, "ss", USER_DS);
    m.setReg(vcpu, "rip", this.symbol(name));
    m.setReg(vcpu, "rsp", USER_STACK_TOP);
    m.setReg(vcpu, "rflags", rflags);
  }

  run(n = 10_000, vcpu = 0): RunOutcome {
    return this.machine.run(vcpu, n);
  }

  /** Runs to a vmcall that is no gate's. */
  toVmcall(n = 10_000, vcpu = 0): RunOutcome {
    const r = this.run(n, vcpu);
    const at = this.machine.reg(vcpu, "rip") - KERNEL - STUBS;
    if (r.exit === "vmcall" && at >= 0n && at < 0x1000n) {
      throw new Error(
        `a trap: ${JSON.stringify(this.seen(vcpu), (_, v) => (typeof v === "bigint" ? v.toString(16) : v))}`,
      );
    }
    if (r.exit !== "vmcall") throw new Error(`the run ended with ${r.exit} after ${r.used}`);
    return r;
  }

  /** Runs to a trap and answers what its gate saw. */
  toTrap(n = 10_000, vcpu = 0): Trap {
    const r = this.run(n, vcpu);
    if (r.exit !== "vmcall") throw new Error(`no trap: ${r.exit} after ${r.used}`);
    return this.seen(vcpu);
  }

  seen(vcpu = 0): Trap {
    const m = this.machine;
    const at = m.reg(vcpu, "rip") - KERNEL - STUBS;
    if (at < 0n || at >= 0x1000n)
      throw new Error(`at 0x${m.reg(vcpu, "rip").toString(16)}, no gate's stub`);
    const vector = Number(at >> 4n);
    const frame = m.reg(vcpu, "rsp");
    const skip = HAS_CODE.has(vector) ? 8n : 0n;
    const word = (i: bigint): bigint => m.read64(frame + skip + i * 8n, vcpu);
    const code = skip ? m.read64(frame, vcpu) : 0n;
    return {
      vector,
      code,
      rip: word(0n),
      cs: word(1n),
      rflags: word(2n),
      rsp: word(3n),
      ss: word(4n),
      frame,
    };
  }
}

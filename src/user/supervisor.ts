// The supervisor side of the machine that runs a program: page tables for itself, GDT, TSS, IDT, and a page of stubs.
// `syscall` and every trap lead to a stub whose first instruction is vmcall, so that the host is the kernel; the stub's
// remaining instructions return to user mode. The stubs' instructions are the only ones that are not the program's.
import type { GeneralRegister, Machine } from "../machine/index.ts";
import { PAGE } from "./linux.ts";

/** Physical address of the top-level page table. */
export const PML4 = 0x1000;
/** The first byte of RAM that is the program's. */
export const FREE = 0xa000;
const PDPT = 0x2000;
const PD = 0x3000;
const PT = 0x4000;
const GDT = 0x5000; // and the TSS in its upper half
const TSS = 0x5800;
const IDT = 0x6000;
const TRAP_STUBS = 0x7000; // 16 bytes for each vector
const CALL_STUBS = 0x8000;
const STACK = 0x9000;
const NR_VECTORS = 32;

const BASE = 0xffff_ffff_8000_0000n;
const FRAME = STACK + PAGE - 40;
const USER_CS = 0x33n;
const USER_SS = 0x2bn;
const HAS_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21]);

const VMCALL = [0x0f, 0x01, 0xc1];
const IRETQ = [0x48, 0xcf];
// mov $FRAME, %rsp: the move tells the machine that the user's stack is left, not unwound.
const TO_FRAME = [0x48, 0xc7, 0xc4, FRAME & 0xff, FRAME >> 8, 0, 0x80];
const AT = {
  syscall: 0,
  iret: 16,
  lgdt: 32,
  lidt: 48,
  ltr: 64,
  wrmsr: 80,
  cpuid: 96,
  tables: 256,
} as const;

const DR6_BS = 0x4000n;
const DR6_CLEAR = 0xffff_0ff0n;
const CR4_OSFXSR = 0x200n;
const CR4_OSXMMEXCPT = 0x400n;
const CR4_FSGSBASE = 0x1_0000n;
const MSR_STAR = 0xc000_0081n;
const MSR_LSTAR = 0xc000_0082n;
const MSR_SFMASK = 0xc000_0084n;
const STAR = (0x23n << 48n) | (0x10n << 32n);
// As the kernel's syscall_init: everything but the reserved bit and ID.
const SFMASK = 0x257fd5n;

/** The registers of the program at a trap or system call: the words of pt_regs that are not special to a way in. */
export interface UserState {
  readonly rip: bigint;
  readonly rsp: bigint;
  readonly rflags: bigint;
}

/** What brought the machine to the host. */
export type Entry =
  | { readonly kind: "syscall" }
  | {
      readonly kind: "trap";
      readonly vector: number;
      readonly code: number;
      readonly user: boolean;
      readonly state: UserState;
    };

/** Stub instructions behind the vmcall, by the way back to user mode. */
export const RETURN_INSNS = { syscall: 1, trap: 2, iret: 2 } as const;

export class Supervisor {
  readonly #machine: Machine;

  /** Writes the tables and loads them. The machine is new; its first instructions are executed here. */
  constructor(machine: Machine) {
    this.#machine = machine;
    const put = (pa: number, v: bigint): void => machine.writePhys(BigInt(pa), words([v]));
    put(PML4 + 511 * 8, BigInt(PDPT) | 0x23n);
    put(PDPT + 510 * 8, BigInt(PD) | 0x23n);
    put(PD, BigInt(PT) | 0x23n);
    for (const pa of [GDT, IDT, STACK]) put(PT + (pa / PAGE) * 8, BigInt(pa) | (1n << 63n) | 0x63n);
    for (const pa of [TRAP_STUBS, CALL_STUBS]) put(PT + (pa / PAGE) * 8, BigInt(pa) | 0x21n);
    const tss = BASE + BigInt(TSS);
    const descriptor =
      0x67n | ((tss & 0xff_ffffn) << 16n) | (0x89n << 40n) | (((tss >> 24n) & 0xffn) << 56n);
    machine.writePhys(
      BigInt(GDT + 0x10),
      words([
        0x00af9b000000ffffn, // 0x10 kernel code
        0x00cf93000000ffffn, // 0x18 kernel data
        0x00cffb000000ffffn, // 0x20 user code, 32 bits
        0x00cff3000000ffffn, // 0x28 user data
        0x00affb000000ffffn, // 0x30 user code
        0n,
        descriptor, // 0x40
        tss >> 32n,
      ]),
    );
    // Every gate uses IST1, so that a trap from the stubs has its frame there too.
    put(TSS + 36, BASE + BigInt(STACK + PAGE));
    put(TSS + 96, 0x68n << 48n); // no I/O bit map
    for (let v = 0; v < NR_VECTORS; v++) {
      machine.writePhys(
        BigInt(TRAP_STUBS + v * 16),
        Uint8Array.from([...VMCALL, ...TO_FRAME, ...IRETQ]),
      );
      const to = BASE + BigInt(TRAP_STUBS + v * 16);
      const type = v === 3 || v === 4 ? 0xeen : 0x8en;
      const low =
        (to & 0xffffn) |
        (0x10n << 16n) |
        (1n << 32n) |
        (type << 40n) |
        (((to >> 16n) & 0xffffn) << 48n);
      machine.writePhys(BigInt(IDT + v * 16), words([low, to >> 32n]));
    }
    const stub = (at: number, bytes: readonly number[]): void =>
      machine.writePhys(BigInt(CALL_STUBS + at), Uint8Array.from(bytes));
    stub(AT.syscall, [...VMCALL, 0x48, 0x0f, 0x07]);
    stub(AT.iret, [...TO_FRAME, ...IRETQ]);
    stub(AT.lgdt, [0x0f, 0x01, 0x10, ...VMCALL]);
    stub(AT.lidt, [0x0f, 0x01, 0x18, ...VMCALL]);
    stub(AT.ltr, [0x0f, 0x00, 0xd8, ...VMCALL]);
    stub(AT.wrmsr, [0x0f, 0x30, ...VMCALL]);
    stub(AT.cpuid, [0x0f, 0xa2, ...VMCALL]);
    machine.setReg(0, "cr3", BigInt(PML4));
    machine.setReg(0, "cr4", machine.reg(0, "cr4") | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE);
    this.#table(AT.lgdt, GDT, 0x4f);
    this.#table(AT.lidt, IDT, NR_VECTORS * 16 - 1);
    this.#execute(AT.ltr, { rax: 0x40n });
    this.#wrmsr(MSR_STAR, STAR);
    this.#wrmsr(MSR_LSTAR, BASE + BigInt(CALL_STUBS + AT.syscall));
    this.#wrmsr(MSR_SFMASK, SFMASK);
  }

  /** Executes one supervisor instruction with the registers given. */
  #execute(at: number, registers: Partial<Record<GeneralRegister, bigint>>): void {
    const m = this.#machine;
    for (const [name, value] of Object.entries(registers)) {
      if (isGeneral(name)) m.setReg(0, name, value);
    }
    m.setReg(0, "rip", BASE + BigInt(CALL_STUBS + at));
    const r = m.run(0, 16);
    if (r.exit !== "vmcall" || this.#offset() < BigInt(CALL_STUBS)) {
      throw new Error(`the machine did not start: ${r.exit} at 0x${m.reg(0, "rip").toString(16)}`);
    }
  }

  #table(at: number, table: number, limit: number): void {
    const b = new Uint8Array(10);
    const view = new DataView(b.buffer);
    view.setUint16(0, limit, true);
    view.setBigUint64(2, BASE + BigInt(table), true);
    this.#machine.writePhys(BigInt(CALL_STUBS + AT.tables), b);
    this.#execute(at, { rax: BASE + BigInt(CALL_STUBS + AT.tables) });
  }

  #wrmsr(msr: bigint, v: bigint): void {
    this.#execute(AT.wrmsr, { rcx: msr, rax: v & 0xffff_ffffn, rdx: v >> 32n });
  }

  /** CPUID leaf 1, EDX: what the kernel passes as AT_HWCAP. */
  features(): bigint {
    this.#execute(AT.cpuid, { rax: 1n, rcx: 0n });
    return this.#machine.reg(0, "rdx") & 0xffff_ffffn;
  }

  #offset(): bigint {
    return this.#machine.reg(0, "rip") - BASE;
  }

  /** Which stub the machine stands in after a vmcall. */
  entry(): Entry {
    const at = Number(this.#offset());
    if (at === CALL_STUBS + AT.syscall + VMCALL.length) return { kind: "syscall" };
    const vector = (at - TRAP_STUBS) >> 4;
    if (vector < 0 || vector >= NR_VECTORS) throw new Error(`a vmcall at 0x${at.toString(16)}`);
    const b = this.#machine.readPhys(BigInt(FRAME - 8), 48);
    const view = new DataView(b.buffer);
    const word = (i: number): bigint => view.getBigUint64(8 + i * 8, true);
    return {
      kind: "trap",
      vector,
      code: HAS_CODE.has(vector) ? view.getUint32(0, true) : 0,
      user: (word(1) & 3n) === 3n,
      state: { rip: word(0), rflags: word(2), rsp: word(3) },
    };
  }

  /** Whether the #DB that just came was a single step; DR6 is clear afterwards, as the kernel leaves it. */
  stepped(): boolean {
    const bs = (this.#machine.reg(0, "dr6") & DR6_BS) !== 0n;
    this.#machine.setReg(0, "dr6", DR6_CLEAR);
    return bs;
  }

  /** Makes the way back from a trap, or the one of `leave`, end in this state. */
  setFrame(s: UserState): void {
    this.#machine.writePhys(BigInt(FRAME), words([s.rip, USER_CS, s.rflags, s.rsp, USER_SS]));
  }

  /** Goes on by IRETQ: for the first entry, and from a system call whose registers are not the ones it came with. */
  leave(s: UserState): void {
    this.setFrame(s);
    this.#machine.setReg(0, "rip", BASE + BigInt(CALL_STUBS + AT.iret));
  }
}

const GENERAL = new Set(["rax", "rcx", "rdx"]);

function isGeneral(name: string): name is GeneralRegister {
  return GENERAL.has(name);
}

function words(list: readonly bigint[]): Uint8Array {
  const b = new Uint8Array(list.length * 8);
  const view = new DataView(b.buffer);
  for (const [i, w] of list.entries()) view.setBigUint64(i * 8, BigInt.asUintN(64, w), true);
  return b;
}

// Page rights, error codes, accessed and dirty bits, and accesses and instructions that cross pages. SDM Vol. 3A,
// "4-Level Paging" and "Page-Fault Exceptions".
import { describe, expect, test } from "vitest";
import { EFER } from "../../assembly/abi.ts";
import {
  ACCESSED,
  BOOT_TOP,
  Bare,
  type BareOptions,
  DIRTY,
  KERNEL,
  NX,
  P,
  RW,
  TEXT,
  US,
  USER,
  USER_DATA,
} from "./bare.ts";

const D = USER_DATA;
const CR4_SMEP = 0x100000n;
const CR4_PGE = 0x80n;
const GLOBAL = 0x100n;
const CR4_SMAP = 0x200000n;
const CR0_WP = 0x10000n;
const AC = 0x40000n;

interface Access {
  readonly what: string;
  readonly insn: string;
  readonly flags: bigint;
  readonly user?: boolean;
  readonly cr4?: bigint;
  readonly noWp?: boolean;
  readonly noNx?: boolean;
  readonly rflags?: bigint;
  /** Error code, undefined when nothing faults. */
  readonly code: bigint | undefined;
}

const LOAD = "mov (%rdi), %rax";
const STORE = "mov %rax, (%rdi)";
const JUMP = "jmp *%rdi";
// prettier-ignore
const ACCESSES: readonly Access[] = [
  { what: "a user load of nothing", insn: LOAD, flags: 0n, user: true, code: 4n },
  { what: "a user store to nothing", insn: STORE, flags: 0n, user: true, code: 6n },
  { what: "a user fetch of nothing", insn: JUMP, flags: 0n, user: true, code: 0x14n },
  { what: "a user load of a supervisor page", insn: LOAD, flags: P | RW, user: true, code: 5n },
  { what: "a user store to a read-only page", insn: STORE, flags: P | US, user: true, code: 7n },
  { what: "a user store to a page it may write", insn: STORE, flags: P | US | RW, user: true, code: undefined },
  { what: "a user fetch of an NX page", insn: JUMP, flags: P | US | RW | NX, user: true, code: 0x15n },
  { what: "a reserved bit", insn: LOAD, flags: P | US | (1n << 45n), user: true, code: 0xdn },
  { what: "a kernel load of nothing", insn: LOAD, flags: 0n, code: 0n },
  { what: "a kernel store to a read-only page", insn: STORE, flags: P, code: 3n },
  { what: "the same with CR0.WP clear", insn: STORE, flags: P, noWp: true, code: undefined },
  { what: "a kernel fetch of an NX page", insn: JUMP, flags: P | NX, code: 0x11n },
  { what: "a kernel fetch of a user page under SMEP", insn: JUMP, flags: P | US, cr4: CR4_SMEP, code: 0x11n },
  { what: "the same without NX", insn: JUMP, flags: P | US, cr4: CR4_SMEP, noNx: true, code: 0x11n },
  { what: "a user fetch of nothing without NX and SMEP", insn: JUMP, flags: 0n, user: true, noNx: true, code: 4n },
  { what: "a kernel load of a user page", insn: LOAD, flags: P | US, code: undefined },
  { what: "the same under SMAP", insn: LOAD, flags: P | US, cr4: CR4_SMAP, code: 1n },
  { what: "a store under SMAP", insn: STORE, flags: P | US | RW, cr4: CR4_SMAP, code: 3n },
  { what: "a load under SMAP with AC set", insn: LOAD, flags: P | US, cr4: CR4_SMAP, rflags: AC, code: undefined },
  { what: "a locked comparison that writes nothing back", insn: "lock cmpxchg %rdx, (%rdi)", flags: P | US, user: true, code: 7n },
];

describe("page rights", () => {
  test.each(ACCESSES)("$what", async (a) => {
    const b = await Bare.make(
      `start: ${a.insn}\n vmcall\n.section .user,"ax"\nprobe: ${a.insn}\n int3\n`,
    );
    const m = b.machine;
    b.gate(3, { dpl: 3 });
    b.put(0x20_0000n + (D - USER), 0xccn); // an int3, for fetches that succeed
    b.map(D, a.flags);
    if (a.user) b.enterUser("probe", 0, (a.rflags ?? 0n) | 2n);
    else m.setReg(0, "rflags", (a.rflags ?? 0n) | 2n);
    m.setReg(0, "cr4", m.reg(0, "cr4") | (a.cr4 ?? 0n));
    if (a.noNx) b.set(0, EFER, 0x501n);
    if (a.noWp) m.setReg(0, "cr0", m.reg(0, "cr0") & ~CR0_WP);
    m.setReg(0, "rdi", D);
    m.setReg(0, "rax", 0xccn);
    const rsp = m.reg(0, "rsp");
    if (a.code === undefined) {
      if (a.user) expect(b.toTrap().vector).toBe(3);
      else b.toVmcall();
      expect(b.pte(D) & (ACCESSED | DIRTY)).toBe(a.insn === STORE ? ACCESSED | DIRTY : ACCESSED);
      return;
    }
    const t = b.toTrap();
    const at = a.insn === JUMP ? D : a.user ? b.symbol("probe") : TEXT;
    expect(t).toMatchObject({ vector: 14, code: a.code, rip: at, rsp });
    expect(m.reg(0, "cr2")).toBe(D);
    expect(b.pte(D) & (ACCESSED | DIRTY)).toBe(0n);
    expect((t.rflags >> 16n) & 1n).toBe(1n); // rf: a fault
  });

  test("the rights of every level count", async () => {
    const b = await Bare.make(`start: vmcall\n.section .user,"ax"\nprobe: mov %rax, (%rdi)\n`);
    b.enterUser("probe");
    b.machine.setReg(0, "rdi", D);
    b.put(0x4000n + 16n, 0x6005n); // the page directory's entry: no RW
    expect(b.toTrap()).toMatchObject({ vector: 14, code: 7n });
  });

  test("the first write to a page that was read sets its dirty bit", async () => {
    const b = await Bare.make(`start: mov (%rdi), %rax\n vmcall\n mov %rax, (%rdi)\n vmcall\n`);
    b.machine.setReg(0, "rdi", D);
    b.toVmcall();
    expect(b.pte(D) & DIRTY).toBe(0n);
    b.toVmcall();
    expect(b.pte(D) & DIRTY).toBe(DIRTY);
  });

  const REMAP = (flush: string): string =>
    `start: mov (%rdi), %rax\n mov %rsi, (%rdx)\n mov (%rdi), %rbx\n vmcall\n ${flush}\n mov (%rdi), %rcx\n vmcall\n`;
  async function remapped(flush: string, options: BareOptions, flags = 0n): Promise<Bare> {
    const b = await Bare.make(REMAP(flush), options);
    const m = b.machine;
    b.put(0x20_0000n + (D - USER), 1n);
    b.put(0x20_1000n + (D - USER), 2n);
    b.map(D, P | RW | US | flags);
    m.setReg(0, "cr4", m.reg(0, "cr4") | CR4_PGE);
    m.setReg(0, "rdi", D);
    m.setReg(0, "rdx", KERNEL + b.pteAt(D));
    m.setReg(0, "rsi", (0x20_1000n + (D - USER)) | P | RW | US | flags);
    b.toVmcall();
    return b;
  }
  const STALE_TLB = { adversary: { staleTlb: true } };
  const RELOAD = "mov %cr3, %r8\n mov %r8, %cr3";
  const TOGGLE = "mov %cr4, %r8\n btc $7, %r8\n mov %r8, %cr4";

  test("a changed entry is seen by the next access, invalidated or not", async () => {
    const b = await remapped("nop", {});
    expect([b.machine.reg(0, "rax"), b.machine.reg(0, "rbx")]).toEqual([1n, 2n]);
  });

  test.each([
    ["invlpg (%rdi)", 0n, 2n],
    ["invlpg 0x1000(%rdi)", 0n, 1n],
    [RELOAD, 0n, 2n],
    [RELOAD, GLOBAL, 1n],
    ["invlpg 0xfff(%rdi)", GLOBAL, 2n],
    [TOGGLE, GLOBAL, 2n],
  ])(
    "with stale translations it is not, and %s of an entry with flags %d brings %d",
    async (flush, flags, after) => {
      const b = await remapped(flush, STALE_TLB, flags);
      expect([b.machine.reg(0, "rax"), b.machine.reg(0, "rbx")]).toEqual([1n, 1n]);
      b.toVmcall();
      expect(b.machine.reg(0, "rcx")).toBe(after);
    },
  );

  test("a stale translation is part of a snapshot", async () => {
    const b = await remapped("nop", STALE_TLB);
    const s = b.machine.snapshot();
    b.toVmcall();
    const end = b.machine.stateHash();
    b.machine.restore(s);
    b.toVmcall();
    expect(b.machine.reg(0, "rcx")).toBe(1n);
    expect(b.machine.stateHash()).toBe(end);
  });

  test("a fault drops the translation of its page", async () => {
    const b = await Bare.make(
      `start: mov (%rdi), %rax\n mov %rsi, (%rdx)\n mov %rax, (%rdi)\n vmcall\n`,
      STALE_TLB,
    );
    b.map(D, P | US);
    b.machine.setReg(0, "rdi", D);
    b.machine.setReg(0, "rdx", KERNEL + b.pteAt(D));
    b.machine.setReg(0, "rsi", (0x20_0000n + (D - USER)) | P | RW | US);
    b.toVmcall(); // the walk that decides about the fault sees the new rights
    expect(b.pte(D) & DIRTY).toBe(DIRTY);
  });

  test("code that moves itself to another page goes on there, however the run is cut", async () => {
    // The entry of the page that executes is changed: the next instruction comes from the new page.
    const text = `start: vmcall\n.section .user,"ax"\nprobe: mov %rsi, (%rdx)\n mov $1, %eax\n nop\n int3\n`;
    const ends: bigint[] = [];
    for (const cut of [1, 2, 100]) {
      const b = await Bare.make(text);
      const m = b.machine;
      const code = m.readPhys(0x20_0000n, 0x40);
      code[Number(b.symbol("probe") - USER) + 4] = 2; // mov $2, %eax
      m.writePhys(0x20_3000n, code);
      b.map(USER, P | RW | US);
      b.gate(3, { dpl: 3 });
      b.enterUser("probe");
      m.setReg(0, "cr0", m.reg(0, "cr0") & ~0x10000n);
      b.map(D + 0x3000n, P | RW | US, 0x6000n);
      m.setReg(0, "rdx", D + 0x3000n + (b.pteAt(USER) & 0xfffn));
      m.setReg(0, "rsi", 0x20_3000n | P | RW | US);
      for (let i = 0; i < 200 && m.run(0, cut).exit !== "vmcall"; i++);
      ends.push(m.reg(0, "rax"));
    }
    expect(ends).toEqual([2n, 2n, 2n]);
  });
});

describe("SMAP", () => {
  test("a translation that was made with AC set does not outlive AC, however it is cleared", async () => {
    for (const clear of ["clac", "pushfq\n btrq $18, (%rsp)\n popfq"]) {
      const b = await Bare.make(
        `start: stac\n mov (%rdi), %rax\n ${clear}\nhere: mov (%rdi), %rax\n`,
      );
      b.machine.setReg(0, "cr4", b.machine.reg(0, "cr4") | CR4_SMAP);
      b.machine.setReg(0, "rdi", D);
      expect(b.toTrap()).toMatchObject({ vector: 14, code: 1n, rip: b.symbol("here") });
    }
  });
});

describe("crossing pages", () => {
  test("loads, stores and read-modify-writes join both pages, wherever they lie", async () => {
    const b = await Bare.make(`
start:	mov (%rdi), %rax
	add %rsi, (%rdi)
	mov 4(%rdi), %ebx
	lock incw 7(%rdi)
	vmcall
`);
    const m = b.machine;
    b.map(D, P | RW | US, 0x30_5000n);
    b.map(D + 0x1000n, P | RW | US, 0x30_2000n);
    m.write(D + 0xff9n, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9));
    m.setReg(0, "rdi", D + 0xff9n);
    m.setReg(0, "rsi", 0x0101010101010101n);
    b.toVmcall();
    expect(m.reg(0, "rax")).toBe(0x0807060504030201n);
    expect(m.reg(0, "rbx")).toBe(0x09080706n);
    expect([...m.readPhys(0x30_5ff9n, 7)]).toEqual([2, 3, 4, 5, 6, 7, 8]);
    expect([...m.readPhys(0x30_2000n, 2)]).toEqual([10, 9]);
  });

  test("a store whose second page cannot be written writes nothing, and cr2 is that page", async () => {
    const b = await Bare.make(`start: mov %rax, (%rdi)\n`);
    b.map(D + 0x1000n, P | US);
    b.machine.setReg(0, "rdi", D + 0xffcn);
    b.machine.setReg(0, "rax", ~0n & 0xffffffffffffffffn);
    expect(b.toTrap()).toMatchObject({ vector: 14, code: 3n, rip: TEXT });
    expect(b.machine.reg(0, "cr2")).toBe(D + 0x1000n);
    expect([...b.machine.readPhys(0x21_0ffcn, 4)]).toEqual([0, 0, 0, 0]);
  });

  test("an instruction that crosses a page runs, and faults at its start when the rest is not there", async () => {
    const b = await Bare.make(
      `start: jmp *%rdi\n.section .user,"ax"\n .skip 0xffd\nprobe: movabs $0x1122334455667788, %rax\n vmcall\n`,
    );
    const m = b.machine;
    m.setReg(0, "rdi", USER + 0xffdn);
    b.toVmcall();
    expect(m.reg(0, "rax")).toBe(0x1122334455667788n);
    const c = await Bare.make(
      `start: jmp *%rdi\n.section .user,"ax"\n .skip 0xffd\nprobe: movabs $0x1122334455667788, %rax\n`,
    );
    c.map(USER + 0x1000n, 0n);
    c.machine.setReg(0, "rdi", USER + 0xffdn);
    expect(c.toTrap()).toMatchObject({ vector: 14, code: 0x10n, rip: USER + 0xffdn });
    expect(c.machine.reg(0, "cr2")).toBe(USER + 0x1000n);
  });

  test("the halves of an instruction may come from different places", async () => {
    const b = await Bare.make(
      `start: jmp *%rdi\n.section .user,"ax"\n .skip 0xffd\nprobe: mov $0x11223344, %eax\n vmcall\n`,
    );
    const m = b.machine;
    m.writePhys(0x30_0000n, Uint8Array.of(0x55, 0x66, 0x0f, 0x01, 0xc1));
    b.map(USER + 0x1000n, P, 0x30_0000n);
    m.setReg(0, "rdi", USER + 0xffdn);
    b.toVmcall();
    // b8 44 33 in the first page; then the other page's bytes
    expect(m.reg(0, "rax")).toBe(0x66553344n);
  });
});

describe("a fault in the middle of a REP", () => {
  test("leaves the registers at the element, and the instruction goes on from there", async () => {
    const b = await Bare.make(`start: rep movsb\n vmcall\n`);
    const m = b.machine;
    b.map(D + 0x1000n, 0n);
    m.write(
      D,
      Uint8Array.from({ length: 16 }, (_, i) => i + 1),
    );
    m.setReg(0, "rsi", D);
    m.setReg(0, "rdi", D + 0xffan);
    m.setReg(0, "rcx", 16n);
    expect(b.toTrap()).toMatchObject({ vector: 14, code: 2n, rip: TEXT, rsp: BOOT_TOP });
    expect([m.reg(0, "rcx"), m.reg(0, "rsi"), m.reg(0, "rdi")]).toEqual([10n, D + 6n, D + 0x1000n]);
    b.map(D + 0x1000n, P | RW);
    m.setReg(0, "rip", TEXT);
    m.setReg(0, "rsp", BOOT_TOP);
    b.toVmcall();
    expect(m.reg(0, "rcx")).toBe(0n);
    expect([...m.read(D + 0xffan, 16)]).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
  });
});

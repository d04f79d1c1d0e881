// Far transfers and what loads selectors, as SDM Vol. 2 has "IRET", "RET", "CALL" and "LAR" in 64-bit mode.
import { describe, expect, test } from "vitest";
import { GDTR_LIMIT, LDTR_BASE, SEG_CS, SEG_ES, TR_LIMIT } from "../../assembly/abi.ts";
import { Bare, KSTACK_TOP, USER_CS, USER_DS } from "./bare.ts";

const GDT = 0xa000n;
/** Descriptors behind the machine's own, at 0x70, 0x78, .. */
async function withDescriptors(text: string, ...d: bigint[]): Promise<Bare> {
  const b = await Bare.make(text);
  d.forEach((v, i) => b.put(GDT + 0x70n + BigInt(i * 8), v));
  b.set(0, GDTR_LIMIT, 0x70n + BigInt(d.length * 8) - 1n);
  return b;
}
const gate = (to: bigint, selector: bigint, dpl: bigint, type = 12n): [bigint, bigint] => [
  (to & 0xffffn) | (selector << 16n) | (((0x80n | (dpl << 5n) | type) & 0xffn) << 40n) | (((to >> 16n) & 0xffffn) << 48n),
  (to >> 32n) & 0xffffffffn,
]; // prettier-ignore
const CODE32 = 0x00cf9b000000ffffn;
const CODE64_ABSENT = 0x00af1b000000ffffn;
const CODE64_FRESH = 0x00af9a000000ffffn; // never used
const CONFORMING = 0x00af9f000000ffffn;

const IRET = (ss: string, cs: string): string => `
start:	push $${ss}
	push $0x42fff0
	push $0x202
	push $${cs}
	push $probe
here:	iretq
	.section .user,"ax"
probe:	int3
`;

describe("iretq", () => {
  test.each([
    ["a null code segment", "0x2b", "0", 13, 0n],
    ["a code segment behind the table", "0x2b", "0x7b", 13, 0x78n],
    ["a data segment as code", "0x2b", "0x2b", 13, 0x28n],
    ["a code segment of another privilege", "0x2b", "0x13", 13, 0x10n],
    ["a code segment that is not present", "0x2b", "0x70", 11, 0x70n],
    ["a null stack segment for ring 3", "0", "0x33", 13, 0n],
    ["a stack segment of another privilege", "0x1b", "0x33", 13, 0x18n],
    ["code as the stack segment", "0x33", "0x33", 13, 0x30n],
    ["a stack segment behind the table", "0x7b", "0x33", 13, 0x78n],
  ] as const)("with %s faults before anything", async (_, ss, cs, vector, code) => {
    const b = await withDescriptors(IRET(ss, cs), CODE64_ABSENT);
    expect(b.toTrap()).toMatchObject({ vector, code, rip: b.symbol("here"), cs: 0x10n });
  });

  test("with a stack segment that is not present is #SS", async () => {
    const b = await withDescriptors(IRET("0x73", "0x33"), 0x00cf73000000ffffn);
    expect(b.toTrap()).toMatchObject({ vector: 12, code: 0x70n });
  });

  test("with NT set is #GP(0)", async () => {
    const b = await Bare.make(`start: pushfq\n orl $0x4000, (%rsp)\n popfq\nhere: iretq\n`);
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 0n, rip: b.symbol("here") });
  });

  test("to ring 0 takes a null stack segment and loads rsp", async () => {
    const b = await Bare.make(
      `start: push $0\n push $0x1234\n push $2\n push $0x10\n lea out(%rip), %rax\n push %rax\n iretq\nout: vmcall\n`,
    );
    b.toVmcall();
    expect([b.machine.reg(0, "rsp"), b.machine.reg(0, "ss")]).toEqual([0x1234n, 0n]);
  });

  test("to a segment of 32 bits ends the run as unsupported, before the instruction", async () => {
    const b = await withDescriptors(IRET("0x2b", "0x70"), CODE32);
    const r = b.run(100);
    expect(r).toMatchObject({ exit: "unsupported", arg: 0x70n, used: 5 });
    expect(b.machine.reg(0, "rip")).toBe(b.symbol("here"));
  });

  test("of 32 bits pops five double words", async () => {
    const b = await Bare.make(`
start:	movabs $0x0000020200000010, %rax
	push $0x18
	movabs $0x0000123400000002, %rax
	lea 1f(%rip), %rcx
	sub $24, %rsp
	movl $probe, (%rsp)
	movl $0x33, 4(%rsp)
	movl $0x202, 8(%rsp)
	movl $0x42fff0, 12(%rsp)
	movl $0x2b, 16(%rsp)
1:	iretl
	.section .user,"ax"
probe:	int3
`);
    b.gate(3, { dpl: 3 });
    expect(b.toTrap()).toMatchObject({ vector: 3, cs: USER_CS, ss: USER_DS, rsp: 0x42fff0n });
  });

  test("marks the segments that it loads as accessed", async () => {
    const b = await withDescriptors(IRET("0", "0x70"), CODE64_FRESH);
    b.run(6);
    expect(b.get(GDT + 0x70n)).toBe(CODE64_FRESH | (1n << 40n));
  });
});

describe("far returns and calls", () => {
  test("retfq goes to ring 3 and takes rsp and ss from behind the arguments", async () => {
    const b = await Bare.make(`
start:	push $0x2b
	push $0x42fff0
	push $0x1111			/* two words of arguments */
	push $0x2222
	push $0x33
	push $probe
	lretq $16
	.section .user,"ax"
probe:	int3
`);
    b.gate(3, { dpl: 3 });
    expect(b.toTrap()).toMatchObject({ vector: 3, cs: USER_CS, ss: USER_DS, rsp: 0x430000n });
  });

  test("a far call pushes cs and the return address, and retfq comes back", async () => {
    const b = await Bare.make(`
start:	lea there(%rip), %rax
	mov %rax, pointer(%rip)
	rex.W lcall *pointer(%rip)
	mov $1, %edx
	vmcall
there:	mov 8(%rsp), %rcx
	mov (%rsp), %rbx
	lretq
	.balign 8
pointer: .quad 0
	.word 0x10
`);
    b.machine.write(b.symbol("pointer"), new Uint8Array(8));
    b.toVmcall();
    expect([b.machine.reg(0, "rcx"), b.machine.reg(0, "rdx")]).toEqual([0x10n, 1n]);
  });

  const GATE = `
start:	vmcall
inner:	mov (%rsp), %r8
	mov 8(%rsp), %r9
	mov 16(%rsp), %r10
	mov 24(%rsp), %r11
	mov %ss, %r12d
	mov %cs, %r13d
	vmcall
	.section .user,"ax"
probe:	push $0x73
	push $0
	lcall *(%rsp)
after:	nop
`;
  test("a call gate raises the privilege onto the stack of the TSS", async () => {
    const b = await Bare.make(GATE);
    b.toVmcall();
    gate(b.symbol("inner"), 0x10n, 3n).forEach((v, i) => b.put(GDT + 0x70n + BigInt(i * 8), v));
    b.set(0, GDTR_LIMIT, 0x7fn);
    b.enterUser("probe");
    b.machine.write(0x42fffcn, new Uint8Array(4));
    // m16:32 at rsp: offset 0 and, in its upper half, the selector.
    b.machine.write64(0x42fff0n, 0x7300000000n);
    b.machine.setReg(0, "rip", b.symbol("probe") + 4n);
    b.machine.setReg(0, "rsp", 0x42fff0n);
    b.toVmcall();
    const m = b.machine;
    expect(m.reg(0, "r8")).toBe(b.symbol("after"));
    expect([m.reg(0, "r9"), m.reg(0, "r10"), m.reg(0, "r11")]).toEqual([
      USER_CS,
      0x42fff0n,
      USER_DS,
    ]);
    expect([m.reg(0, "r12"), m.reg(0, "r13")]).toEqual([0n, 0x10n]);
    expect(m.reg(0, "rsp")).toBe(KSTACK_TOP - 32n);
  });

  test.each([
    ["of too low a privilege", 0n, 0x10n, 12n, 13, 0x70n],
    ["to a null segment", 3n, 0n, 12n, 13, 0n],
    ["to data", 3n, 0x18n, 12n, 13, 0x18n],
    ["that is a task gate", 3n, 0x10n, 5n, 13, 0x70n],
  ] as const)("a gate %s is #GP", async (_, dpl, selector, type, vector, code) => {
    const b = await Bare.make(GATE);
    b.toVmcall();
    gate(b.symbol("inner"), selector, dpl, type).forEach((v, i) =>
      b.put(GDT + 0x70n + BigInt(i * 8), v),
    );
    b.set(0, GDTR_LIMIT, 0x7fn);
    b.enterUser("probe");
    b.machine.write64(0x42fff0n, 0x7300000000n);
    b.machine.setReg(0, "rip", b.symbol("probe") + 4n);
    b.machine.setReg(0, "rsp", 0x42fff0n);
    expect(b.toTrap()).toMatchObject({ vector, code, cs: USER_CS, rsp: 0x42fff0n });
  });

  test("a call to a conforming segment keeps the privilege", async () => {
    const b = await withDescriptors(
      `start: push $0x73\n lea there(%rip), %rax\n push %rax\n rex.W lcall *(%rsp)\nthere: vmcall\n`,
      CONFORMING,
    );
    b.toVmcall();
    expect(b.machine.reg(0, "cs")).toBe(0x70n);
    expect(SEG_CS > 0).toBe(true);
  });
});

/** es, ds, fs and gs. */
const dataSegments = (b: Bare): readonly number[] =>
  [0, 3, 4, 5].map((i) => b.machine.core.view().getUint16(SEG_ES + i * 2, true));

describe("a return to an outer privilege", () => {
  const LOAD = `
start:	mov $0x2b, %eax
	mov %eax, %es
	mov $0x18, %eax
	mov %eax, %ds
	mov $3, %eax
	mov %eax, %fs
	mov $0x70, %eax
	mov %eax, %gs
`;
  test.each([
    ["iretq", "push $0x2b\n push $0x42fff0\n push $2\n push $0x33\n push $probe\n iretq"],
    ["lretq", "push $0x2b\n push $0x42fff0\n push $0x33\n push $probe\n lretq"],
  ])("by %s takes the data segments away that it could not load", async (_, text) => {
    const b = await withDescriptors(
      `${LOAD} ${text}\n.section .user,"ax"\nprobe: vmcall\n`,
      CONFORMING,
    );
    expect(b.toTrap()).toMatchObject({ vector: 6, cs: USER_CS });
    expect(dataSegments(b)).toEqual([0x2b, 0, 0, 0x70]);
  });

  test("to the same one leaves them", async () => {
    const b = await withDescriptors(
      `${LOAD} push $0x18\n push %rsp\n push $2\n push $0x10\n lea 1f(%rip), %rax\n push %rax\n iretq\n1: vmcall\n`,
      CONFORMING,
    );
    b.toVmcall();
    expect(dataSegments(b)).toEqual([0x2b, 0x18, 3, 0x70]);
  });
});

describe("ring 1", () => {
  test.each([
    ["clts", 13],
    ["mov %cr3, %rax", 13],
    ["vmcall", 6],
  ])("has no part in what ring 0 has decoded at the same place: %s", async (insn, vector) => {
    const b = await withDescriptors(
      `
start:	mov $2, %ebx
	jmp probe
again:	dec %ebx
	jnz probe
	push $0x79
	push $0x1000
	push $2
	push $0x71
	lea probe(%rip), %rax
	push %rax
	iretq
probe:	${insn === "vmcall" ? "test %ebx, %ebx\n jnz again" : insn}
inner:	${insn === "vmcall" ? "vmcall" : "jmp again"}
`,
      0x00afbb000000ffffn,
      0x00cfb3000000ffffn,
    );
    const rip = b.symbol(vector === 6 ? "inner" : "probe");
    expect(b.toTrap()).toMatchObject({ vector, cs: 0x71n, ss: 0x79n, rsp: 0x1000n, rip });
  });

  test("reaches the supervisor's pages and is cut anywhere alike", async () => {
    const text = `
start:	push $0x79
	lea top(%rip), %rax
	push %rax
	push $2
	push $0x71
	lea inner(%rip), %rax
	push %rax
	iretq
inner:	mov $100, %ecx
1:	push %rcx
	pop %rdx
	add %rdx, %rbx
	loop 1b
	hlt
	.balign 64
	.skip 64
top:
`;
    const ends = [];
    for (const slice of [1, 3, 10_000]) {
      const b = await withDescriptors(text, 0x00afbb000000ffffn, 0x00cfb3000000ffffn);
      while (b.run(slice).exit === "none");
      expect(b.seen()).toMatchObject({ vector: 13, code: 0n, cs: 0x71n });
      ends.push([b.machine.reg(0, "rbx"), b.machine.retired]);
    }
    expect(ends[0]?.[0]).toBe(5050n);
    expect(new Set(ends.map(String)).size).toBe(1);
  });
});

describe("selectors", () => {
  test.each([
    ["ltr", 0x89n],
    ["lldt", 0x82n],
  ])("%s needs all sixteen bytes of the descriptor within the table", async (insn, type) => {
    const b = await withDescriptors(`start: mov $0x70, %eax\nhere: ${insn} %ax\n`, (type << 40n) | 0x67n);
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 0x70n, rip: b.symbol("here") });
  }); // prettier-ignore

  test("a local descriptor table is used for selectors with bit 2 set, and lldt checks it", async () => {
    const LDT = [0x0000820000000017n | (0xf000n << 16n), 0xffffffff80000000n >> 32n] as const;
    const b = await withDescriptors(
      `start: mov $0x70, %eax\n lldt %ax\n mov $0x0f, %ecx\n mov %ecx, %fs\n mov $0x1f, %edx\nthere: mov %edx, %gs\n`,
      LDT[0] | (0x80n << 56n),
      LDT[1],
    );
    b.put(0xf008n, 0x00cff3000000ffffn | (0x1234n << 16n));
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 0x1cn, rip: b.symbol("there") });
    expect(b.machine.reg(0, "fs_base")).toBe(0x1234n);
    expect(b.machine.core.u64(b.machine.stateOf(0) + LDTR_BASE - 0x1000)).toBe(
      0xffff_ffff_8000_f000n,
    );
  });

  test("lar and lsl answer for what may be named, and clear ZF otherwise", async () => {
    const b = await Bare.make(`
start:	mov $0x33, %eax
	lar %eax, %rbx
	lsl %eax, %ecx
	mov $0x7b, %eax
	mov $77, %edx
	lar %eax, %edx
	setz %sil
	mov $0x2b, %eax
	verw %ax
	setz %dil
	mov $0x33, %eax
	verw %ax
	setz %bpl
	vmcall
`);
    for (const r of ["rsi", "rdi", "rbp"] as const) b.machine.setReg(0, r, 0n);
    b.toVmcall();
    const m = b.machine;
    expect([m.reg(0, "rbx"), m.reg(0, "rcx"), m.reg(0, "rdx")]).toEqual([
      0xaffb00n,
      0xffffffffn,
      77n,
    ]);
    expect([m.reg(0, "rsi"), m.reg(0, "rdi"), m.reg(0, "rbp")]).toEqual([0n, 1n, 0n]);
  });
});

describe("delivery", () => {
  test("through a TSS that is too short is #TS with its selector", async () => {
    const b = await Bare.make(`start: ud2\n`);
    b.gate(6, { ist: 7 });
    b.set(0, TR_LIMIT, 0x50n);
    expect(b.toTrap()).toMatchObject({ vector: 10, code: 1n });
  });

  test("to an address that is not canonical is #GP with EXT", async () => {
    const b = await Bare.make(`start: ud2\n`);
    b.gate(6, { to: 0x8000_0000_0000n });
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 1n, rip: b.symbol("start") });
  });

  test("onto a stack that is not canonical is #SS with EXT", async () => {
    const b = await Bare.make(`start: movabs $0x800000001000, %rsp\nhere: ud2\n`);
    b.gate(12, { ist: 1 });
    expect(b.toTrap()).toMatchObject({ vector: 12, code: 1n, rip: b.symbol("here") });
  });

  test("of an interrupt that fails is not a double fault, and its EXT is set", async () => {
    const b = await Bare.make(`start: sti\n nop\nthere: jmp there\n`);
    b.gate(0x41, { absent: true });
    b.machine.core.setU32(0x5000 + 68, 0x1ff);
    b.machine.interrupt(0, 0x41);
    expect(b.toTrap()).toMatchObject({ vector: 11, code: 0x41n * 8n + 3n });
  });
});

// Traps, interrupts and privilege, as SDM Vol. 3A "Interrupt and Exception Handling" has them.
import { describe, expect, test } from "vitest";
import { STAR } from "../../assembly/abi.ts";
import {
  BOOT_TOP,
  Bare,
  IST1_TOP,
  KERNEL,
  KSTACK_TOP,
  USER,
  USER_CS,
  USER_DS,
  USER_STACK_TOP,
} from "./bare.ts";

const TSS = 0xb000n;
const HAS_CODE = new Set([8, 10, 11, 12, 13, 14, 17, 21]);

describe("privilege", () => {
  const GP = ["hlt", "invlpg (%rax)", "lgdt (%rax)", "lidt (%rax)", "ltr %ax", "lldt %ax", "mov %cr0, %rax", "mov %rax, %cr3",
    "mov %rax, %cr4", "mov %db7, %rax", "mov %rax, %db0", "rdmsr", "wrmsr", "clts", "swapgs", "sysretq", "wbinvd", "cli", "sti",
    "in %dx, %al", "out %al, %dx", "int $0x50"]; // prettier-ignore
  test.each(GP)("%s in ring 3 is #GP and does nothing", async (insn) => {
    const b = await Bare.make(`start: vmcall\n.section .user,"ax"\nprobe: ${insn}\n nop\n`);
    b.enterUser("probe");
    const t = b.toTrap();
    expect(t).toMatchObject({
      vector: 13,
      rip: USER,
      cs: USER_CS,
      ss: USER_DS,
      rsp: USER_STACK_TOP,
    });
    expect(t.code).toBe(insn.startsWith("int") ? 0x50n * 8n + 2n : 0n);
    expect(t.frame).toBe(KSTACK_TOP - 48n);
  });

  test.each(["stac", "clac", "ud2"])("%s in ring 3 is #UD", async (insn) => {
    const b = await Bare.make(`start: vmcall\n.section .user,"ax"\nprobe: ${insn}\n`);
    b.enterUser("probe");
    expect(b.toTrap()).toMatchObject({ vector: 6, rip: USER, code: 0n });
  });

  test("popf in ring 3 changes neither IF nor IOPL", async () => {
    const b = await Bare.make(
      `start: vmcall\n.section .user,"ax"\nprobe: push $0x3cd5\n popfq\n int3\n`,
    );
    b.gate(3, { dpl: 3 });
    b.enterUser("probe");
    expect(b.toTrap().rflags & 0x3ed5n).toBe(0xed5n);
  });
});

describe("gates", () => {
  test("int3 in ring 3 needs a gate of DPL 3; its return address is the next instruction", async () => {
    const b = await Bare.make(`start: vmcall\n.section .user,"ax"\nprobe: int3\n nop\n`);
    b.enterUser("probe");
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 3n * 8n + 2n, rip: USER });
    b.gate(3, { dpl: 3 });
    b.enterUser("probe");
    expect(b.toTrap()).toMatchObject({ vector: 3, rip: USER + 1n });
  });

  test("a software interrupt of a fault's number pushes no error code and does not touch cr2", async () => {
    const b = await Bare.make(`start: vmcall\n.section .user,"ax"\nprobe: int $14\n`);
    b.gate(14, { dpl: 3 });
    b.enterUser("probe");
    b.machine.setReg(0, "cr2", 0x1234n);
    b.run(10);
    expect(b.machine.reg(0, "rsp")).toBe(KSTACK_TOP - 40n);
    expect(b.machine.read64(KSTACK_TOP - 40n)).toBe(USER + 2n);
    expect(b.machine.reg(0, "cr2")).toBe(0x1234n);
  });

  test("int 8 through a gate that user mode may not use is #GP, not a double fault", async () => {
    const b = await Bare.make(`start: vmcall\n.section .user,"ax"\nprobe: int $8\n`);
    b.enterUser("probe");
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 0x42n, rip: USER });
  });

  test("an interrupt gate clears IF, a trap gate does not", async () => {
    for (const trap of [false, true]) {
      const b = await Bare.make(`start: sti\n nop\n int $0x40\n`);
      b.gate(0x40, { trap });
      b.toTrap();
      expect((b.machine.reg(0, "rflags") >> 9n) & 1n).toBe(trap ? 1n : 0n);
    }
  });

  test("a gate with an IST switches stacks even in ring 0, and aligns", async () => {
    const b = await Bare.make(`start: sub $4, %rsp\n ud2\n`);
    expect(b.toTrap().frame).toBe(((BOOT_TOP - 4n) / 16n) * 16n - 40n);
    const c = await Bare.make(`start: sub $4, %rsp\n ud2\n`);
    c.gate(6, { ist: 1 });
    expect(c.toTrap()).toMatchObject({ frame: IST1_TOP - 40n, rsp: BOOT_TOP - 4n, ss: 0x18n });
  });

  test("iretq goes to ring 3 and a trap comes back on rsp0", async () => {
    const b = await Bare.make(`
start:	push $0x2b
	push $0x42fff0
	push $0x202
	push $0x33
	push $probe
	iretq
	.section .user,"ax"
probe:	mov %cs, %eax
	int3
`);
    b.gate(3, { dpl: 3 });
    const t = b.toTrap();
    expect(t).toMatchObject({
      vector: 3,
      cs: USER_CS,
      ss: USER_DS,
      rsp: 0x42fff0n,
      frame: KSTACK_TOP - 40n,
    });
    expect(b.machine.reg(0, "rax")).toBe(USER_CS);
    expect(b.machine.reg(0, "ss")).toBe(0n);
  });

  test("iretq to a non-canonical address is #GP in ring 0 at the iretq", async () => {
    const b = await Bare.make(`
start:	push $0x2b
	push $0x42fff0
	push $0x202
	push $0x33
	movabs $0x800000000000, %rax
	push %rax
here:	iretq
`);
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 0n, rip: b.symbol("here"), cs: 0x10n });
  });
});

describe("syscall and sysret", () => {
  test("go to LSTAR with the flags masked and come back to rcx", async () => {
    const b = await Bare.make(`
start:	mov $0xc0000081, %ecx		/* STAR */
	xor %eax, %eax
	mov $0x00230010, %edx
	wrmsr
	mov $0xc0000082, %ecx
	lea entry(%rip), %rax
	mov $0xffffffff, %edx
	wrmsr
	mov $0xc0000084, %ecx
	mov $0x700, %eax
	xor %edx, %edx
	wrmsr
	vmcall
entry:	mov %rcx, %r8
	mov %cs, %r9d
	mov %ss, %r10d
	pushfq
	pop %r12
	sysretq
	.section .user,"ax"
probe:	std
	syscall
after:	mov %cs, %eax
	mov %ss, %ebx
	pushfq
	pop %rdx
	int3
`);
    b.toVmcall();
    b.gate(3, { dpl: 3 });
    b.enterUser("probe");
    // The user's stack pointer stays: the entry pushes onto it, as nothing has switched.
    b.toTrap();
    const m = b.machine;
    expect(m.reg(0, "r8")).toBe(b.symbol("after"));
    expect([m.reg(0, "r9"), m.reg(0, "r10")]).toEqual([0x10n, 0x18n]);
    expect(m.reg(0, "r12") & 0x700n).toBe(0n);
    expect([m.reg(0, "rax"), m.reg(0, "rbx")]).toEqual([0x33n, 0x2bn]);
    expect(m.reg(0, "rdx") & 0x700n).toBe(0x600n);
  });
});

describe("sysret", () => {
  test("to a non-canonical address is #GP in ring 0, on the stack that rsp is on, with nothing loaded", async () => {
    const b = await Bare.make(`start: sysretq\n`);
    const m = b.machine;
    b.set(0, STAR, 0x0023_0010_0000_0000n);
    m.setReg(0, "rcx", 0x8000_0000_0000n);
    m.setReg(0, "r11", 0x246n);
    m.setReg(0, "rsp", 0x42_fff0n);
    const t = b.toTrap();
    expect(t).toMatchObject({ vector: 13, code: 0n, rip: b.symbol("start"), cs: 0x10n, rsp: 0x42_fff0n });
    // Ring 0 to ring 0: the frame lies where the user's rsp points. It is why the kernel looks at rcx first.
    expect(t.frame).toBe(0x42_fff0n - 48n);
    expect(t.rflags & 0x246n).toBe(2n);
    const ring3 = await Bare.make(`start: nop\n	.section .user,"ax"\nprobe: sysretq\n`);
    ring3.enterUser("probe");
    expect(ring3.toTrap()).toMatchObject({ vector: 13, code: 0n, rip: ring3.symbol("probe") });
  });
}); // prettier-ignore

describe("faults in delivery", () => {
  test("a fault whose gate is absent becomes #NP, and one whose stack is unmapped #DF", async () => {
    const b = await Bare.make(`start: ud2\n`);
    b.gate(6, { absent: true });
    expect(b.toTrap()).toMatchObject({ vector: 11, code: 6n * 8n + 3n });
    const c = await Bare.make(`start: mov $0x123000, %esp\n mov (%rsp), %rax\n`);
    c.gate(8, { ist: 1 });
    expect(c.toTrap()).toMatchObject({
      vector: 8,
      code: 0n,
      frame: IST1_TOP - 48n,
      rsp: 0x123000n,
    });
  });

  test("a fault in the delivery of #DF shuts the vCPU down", async () => {
    const b = await Bare.make(`start: mov $0x123000, %esp\n push %rax\n`);
    expect(b.run(100).exit).toBe("shutdown");
    expect(b.machine.halted(0)).toBe(true);
    expect(b.run(100)).toMatchObject({ exit: "shutdown", used: 0 });
  });

  // SDM Vol. 3A, "Conditions for Generating a Double Fault".
  test.each([
    ["#UD", "ud2", 6, "#NP", 11],
    ["#UD", "ud2", 6, "#PF", 14],
    ["#BP", "int3", 3, "#PF", 14],
    ["#DE", "div %ecx", 0, "#NP", 8],
    ["#DE", "div %ecx", 0, "#PF", 14],
    ["#GP", "mov (%rbx), %eax", 13, "#NP", 8],
    ["#GP", "mov (%rbx), %eax", 13, "#PF", 14],
    ["#PF", "mov 0x123000, %eax", 14, "#NP", 8],
    ["#PF", "mov 0x123000, %eax", 14, "#PF", 8],
  ] as const)("%s (%s, vector %i) and then %s in its delivery come as vector %i", async (_, insn, vector, second, as) => {
    const b = await Bare.make(`start: xor %ecx, %ecx\n mov $1, %ebx\n shl $47, %rbx\nhere: ${insn}\n`);
    b.put(TSS + 44n, 0x12_3000n); // the second stack of the table lies nowhere
    if (second === "#NP") b.gate(vector, { absent: true });
    else b.gate(vector, { ist: 2 });
    if (as !== 8) b.gate(8, { absent: true });
    const t = b.toTrap();
    expect(t).toMatchObject({ vector: as, rip: b.symbol("here") });
    if (as === 14) expect([t.code, b.machine.reg(0, "cr2")]).toEqual([2n, 0x12_3000n - (HAS_CODE.has(vector) ? 48n : 40n)]);
    if (as === 8) expect(t.code).toBe(0n);
    if (as === 11) expect(t.code).toBe(BigInt(vector * 8 + 3));
  }); // prettier-ignore

  test("#DE in the delivery of #DE is #DF: contributory after contributory", async () => {
    const b = await Bare.make(`start: xor %ecx, %ecx\n div %ecx\n`);
    b.gate(0, { absent: true });
    b.gate(11, { absent: true });
    expect(b.toTrap()).toMatchObject({ vector: 8 });
  });
});

describe("addresses", () => {
  test("a return to the last address is a page fault there", async () => {
    const b = await Bare.make(`start: push $-1\n ret\n`);
    expect(b.toTrap()).toMatchObject({ vector: 14, rip: 0xffff_ffff_ffff_ffffn, code: 0x10n });
  });

  test("a non-canonical address is #SS through rsp and rbp, and #GP otherwise", async () => {
    const bad = "movabs $0x800000000100, %rax\n";
    for (const [insn, vector] of [
      ["mov %rax, %rbp\n mov 8(%rbp), %rcx", 12],
      ["mov %rax, %rbp\n mov %gs:8(%rbp), %rcx", 13],
      ["mov 8(%rax), %rcx", 13],
      ["push (%rax)", 13],
    ] as const) {
      const b = await Bare.make(`start: ${bad} ${insn}\n`);
      expect(b.toTrap()).toMatchObject({ vector, code: 0n });
    }
    const b = await Bare.make(`start: ${bad} mov %rax, %rsp\n push %rcx\n`);
    b.gate(12, { ist: 1 });
    expect(b.toTrap()).toMatchObject({ vector: 12, rsp: 0x8000_0000_0100n });
  });
});

test("an address that differs in its highest bit from one that was just accessed is #GP", async () => {
  const accesses = ["mov (%rbx), %rcx", "mov %rcx, (%rbx)", "push %rcx\n pop (%rbx)"];
  // By an address whose low bits are its place in RAM, and by another one.
  for (const [access, more] of accesses.flatMap(
    (a) =>
      [
        [a, 0],
        [a, 0x400000],
      ] as const,
  )) {
    const b = await Bare.make(`
start:	lea there(%rip), %rbx
	add $${more}, %rbx
	mov $40, %edx
1:	mov (%rbx), %rcx
	mov %rcx, (%rbx)
	dec %edx
	jnz 1b
	btc $63, %rbx
bad:	${access}
	.balign 4096
there:	.quad 0
`);
    b.put(0x5010n, 0x83n);
    expect(b.toTrap(), access).toMatchObject({ vector: 13, code: 0n });
  }
});

describe("interrupt shadows and NMI", () => {
  const ARM = `
	mov $0x80f, %ecx
	mov $0x1ff, %eax
	xor %edx, %edx
	wrmsr
	mov $0x83f, %ecx
	mov $0x40, %eax
	wrmsr				/* an interrupt to oneself */
`;
  test("sti delays an interrupt by one instruction", async () => {
    const b = await Bare.make(`start: ${ARM}\n sti\none: nop\ntwo: nop\n`);
    expect(b.toTrap()).toMatchObject({ vector: 0x40, rip: b.symbol("two") });
  });

  test("a second sti delays nothing more, and hlt in the shadow of sti is ended by what was pending", async () => {
    const b = await Bare.make(`start: ${ARM}\n sti\none: sti\ntwo: nop\n nop\n`);
    expect(b.toTrap()).toMatchObject({ vector: 0x40, rip: b.symbol("two") });
    const c = await Bare.make(`start: ${ARM}\n sti\n hlt\nbehind: nop\n`);
    expect(c.toTrap()).toMatchObject({ vector: 0x40, rip: c.symbol("behind") });
  });

  test("sti followed by cli lets nothing in", async () => {
    const b = await Bare.make(`start: ${ARM}\n sti\n cli\n nop\n nop\n vmcall\n`);
    b.toVmcall();
    expect(b.machine.reg(0, "rsp")).toBe(BOOT_TOP);
  });

  test("a move to ss delays an NMI and an interrupt by one instruction", async () => {
    const b = await Bare.make(`
start:	sti
	nop
	mov $0x80f, %ecx
	mov $0x1ff, %eax
	xor %edx, %edx
	wrmsr
	mov $0x83f, %ecx
	mov $0x40, %eax
	mov $0x18, %ebx
	jmp 1f
1:	mov %ebx, %ss
one:	wrmsr
two:	nop
`);
    // The interrupt is raised inside the shadow, and taken when it is over.
    expect(b.toTrap()).toMatchObject({ vector: 0x40, rip: b.symbol("two") });
  });

  test("an NMI blocks NMIs until the next iretq, not until the next sti", async () => {
    const b = await Bare.make(`
start:	mov $0x830, %ecx
	mov $0x40400, %eax		/* NMI to oneself */
	xor %edx, %edx
	wrmsr
	nop
	vmcall
handler: inc %r8d
	cmp $1, %r8d
	jne 1f
	wrmsr				/* a second one, inside the first */
	nop
	nop
	mov %r8d, %r9d			/* still 1 */
1:	iretq
`);
    b.gate(2, { to: b.symbol("handler"), ist: 1 });
    b.toVmcall();
    expect([b.machine.reg(0, "r8"), b.machine.reg(0, "r9")]).toEqual([2n, 1n]);
  });

  test("TF traps after each instruction, with the next one's address", async () => {
    const b = await Bare.make(`start: pushfq\n orl $0x100, (%rsp)\n popfq\none: nop\ntwo: nop\n`);
    expect(b.toTrap()).toMatchObject({ vector: 1, rip: b.symbol("two") });
  });

  test("vmcall leaves to the host with the next instruction in rip", async () => {
    const b = await Bare.make(`start: nop\n vmcall\nafter: nop\n`);
    expect(b.toVmcall()).toMatchObject({ used: 2, exit: "vmcall" });
    expect(b.machine.reg(0, "rip")).toBe(b.symbol("after"));
    expect(b.symbol("after") > KERNEL).toBe(true);
  });
});

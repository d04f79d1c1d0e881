// Hardware breakpoints, single steps and the resume flag, as SDM Vol. 3B "Debug Exceptions" has them.
import { describe, expect, test } from "vitest";
import { DR0, LSTAR, STAR } from "../../assembly/abi.ts";
import { Bare, BOOT_TOP, KERNEL, USER_DATA, USER_STACK_TOP } from "./bare.ts";

const DATA = "0xffffffff80070000"; // writable, used by nobody else
const dr = (b: Bare, n: number): bigint =>
  b.machine.core.u64(b.machine.stateOf(0) + DR0 - 0x1000 + n * 8);
const setDr7 = (v: string): string => `	mov $${v}, %eax\n	mov %rax, %db7\n`;
const setDr = (n: number, value: string): string => `	lea ${value}, %rax\n	mov %rax, %db${n}\n`;
const B = 0xffff0ff0n;

describe("breakpoints on execution", () => {
  test("are faults before the instruction, with its bit in dr6 and RF clear in the frame", async () => {
    const b = await Bare.make(`
start:	${setDr(1, "there(%rip)")} ${setDr7("0x4")}
	xor %ecx, %ecx
there:	inc %ecx
	vmcall
`);
    const t = b.toTrap();
    expect(t).toMatchObject({ vector: 1, rip: b.symbol("there") });
    expect(t.rflags & 0x10000n).toBe(0n);
    expect(b.machine.reg(0, "rcx")).toBe(0n);
    expect(dr(b, 6)).toBe(B | 2n);
  });

  test("are passed by an iretq with RF set, once", async () => {
    const b = await Bare.make(`
start:	${setDr(0, "there(%rip)")} ${setDr7("0x1")}
	mov $3, %ecx
there:	dec %ecx
	jnz there
	vmcall
handler: inc %edx
	orl $0x10000, 16(%rsp)
	iretq
`);
    b.gate(1, { to: b.symbol("handler") });
    b.machine.setReg(0, "rdx", 0n);
    b.toVmcall();
    expect(b.machine.reg(0, "rdx")).toBe(3n); // each time around
    expect(b.machine.reg(0, "rcx")).toBe(0n);
    expect(b.machine.reg(0, "rflags") & 0x10000n).toBe(0n);
  });

  test("fire before a fault of the instruction itself, and a fault in it is resumed with RF", async () => {
    const b = await Bare.make(`
start:	${setDr(0, "there(%rip)")} ${setDr7("0x1")}
	xor %edx, %edx
there:	mov 0x123000, %eax
	vmcall
debug:	inc %edx
	orl $0x10000, 16(%rsp)
	iretq
fault:	mov 24(%rsp), %r8		/* the flags in the frame of the page fault */
	addq $7, 8(%rsp)
	add $8, %rsp
	iretq
`);
    b.gate(1, { to: b.symbol("debug") });
    b.gate(14, { to: b.symbol("fault") });
    b.toVmcall();
    expect(b.machine.reg(0, "rdx")).toBe(1n);
    expect(b.machine.reg(0, "r8") & 0x10000n).toBe(0x10000n);
  });

  test("on the instruction behind a move to ss are not met", async () => {
    const b = await Bare.make(`
start:	${setDr(0, "there(%rip)")} ${setDr7("0x1")}
	mov %ss, %ecx
	mov %ecx, %ss
there:	nop
	vmcall
`);
    b.toVmcall();
    expect(dr(b, 6)).toBe(B);
  });
});

describe("breakpoints on data", () => {
  const WRITE = "0xd0001"; // dr0: writes, four bytes, local
  const ACCESS = "0xb0001"; // dr0: reads and writes, eight bytes

  test("on writes are traps behind the store, and reads do not meet them", async () => {
    const b = await Bare.make(`
start:	mov $${DATA}, %rbx
	mov %rbx, %rax
	mov %rax, %db0
	${setDr7(WRITE)}
	mov (%rbx), %ecx
	movb $7, 3(%rbx)
behind:	nop
	vmcall
`);
    const t = b.toTrap();
    expect(t).toMatchObject({ vector: 1, rip: b.symbol("behind") });
    expect(b.machine.read(BigInt(DATA) + 3n, 1)[0]).toBe(7);
    expect(dr(b, 6)).toBe(B | 1n);
  });

  test("cover the bytes of their length, aligned, and any byte of an access meets them", async () => {
    for (const [at, size, met] of [
      [7, "b", false],
      [7, "w", true],
      [8, "b", true],
      [15, "b", true],
      [16, "q", false],
    ] as const) {
      const b = await Bare.make(`
start:	mov $${DATA}, %rbx
	lea 11(%rbx), %rax		/* the low three bits do not count */
	mov %rax, %db0
	${setDr7(ACCESS)}
	mov $0, %ecx
	mov ${at}(%rbx), %${size === "b" ? "cl" : size === "w" ? "cx" : "rcx"}
	vmcall
`);
      const r = b.run(100);
      expect(r.exit).toBe("vmcall");
      expect(dr(b, 6), `${at} ${size}`).toBe(met ? B | 1n : B);
    }
  });

  test("come up between the iterations of a REP, with RF in the frame", async () => {
    const b = await Bare.make(`
start:	mov $${DATA}, %rdi
	lea 4(%rdi), %rax
	mov %rax, %db0
	${setDr7("0x10001")}
	mov $16, %ecx
	mov $0x55, %al
there:	rep stosb
	vmcall
`);
    const t = b.toTrap();
    expect(t).toMatchObject({ vector: 1, rip: b.symbol("there") });
    expect(t.rflags & 0x10000n).toBe(0x10000n);
    expect(b.machine.reg(0, "rcx")).toBe(11n);
    expect(b.machine.reg(0, "rdi")).toBe(BigInt(DATA) + 5n);
  });

  test("met by a move to ss wait until the next instruction is done, even if that is int3", async () => {
    const b = await Bare.make(`
start:	mov $${DATA}, %rbx
	movw $0x18, (%rbx)
	mov %rbx, %rax
	mov %rax, %db0
	${setDr7("0x30001")}
	mov (%rbx), %ss
	int3
	nop
`);
    const t = b.toTrap();
    // The first instruction of the handler of #BP has not executed.
    expect(t).toMatchObject({ vector: 1, rip: KERNEL + 0xd000n + 48n });
  });

  test("met by a move to ss wait behind a syscall, and come at its first instruction in ring 0", async () => {
    const b = await Bare.make(`
start:	mov $0x410000, %rbx
	mov %rbx, %rax
	mov %rax, %db0
	${setDr7("0x30001")}
	vmcall
entry:	nop
	.section .user,"ax"
probe:	mov (%rbx), %ss
	syscall
	nop
`);
    b.toVmcall();
    b.set(0, STAR, 0x0023_0010_0000_0000n);
    b.set(0, LSTAR, b.symbol("entry"));
    b.gate(1, { ist: 1 });
    b.machine.write(USER_DATA, Uint8Array.of(0x2b, 0));
    b.enterUser("probe");
    expect(b.toTrap()).toMatchObject({
      vector: 1,
      rip: b.symbol("entry"),
      cs: 0x10n,
      rsp: USER_STACK_TOP,
    });
  });

  test("are lost when the instruction faults", async () => {
    const b = await Bare.make(`
start:	mov $${DATA}, %rsi
	mov %rsi, %rax
	mov %rax, %db0
	${setDr7("0x30001")}
	mov $0x123000, %edi
	movsb
`);
    expect(b.toTrap()).toMatchObject({ vector: 14 });
    expect(dr(b, 6)).toBe(B);
  });
});

describe("breakpoints on ports", () => {
  const text = (cr4: string): string => `
start:	mov %cr4, %rax
	or $${cr4}, %rax
	mov %rax, %cr4
	mov $0x71, %eax
	mov %rax, %db0
	${setDr7("0x20001")}
	in $0x70, %al
	in $0x71, %al
behind:	nop
	vmcall
`;
  test("need CR4.DE and are traps behind the access", async () => {
    const b = await Bare.make(text("8"));
    expect(b.toTrap()).toMatchObject({ vector: 1, rip: b.symbol("behind") });
    const c = await Bare.make(text("0"));
    c.toVmcall();
  });
});

describe("debug registers", () => {
  test("general detect is a fault at the move, sets BD and is off in the handler", async () => {
    const b = await Bare.make(`start: ${setDr7("0x2000")}\nthere: mov %db0, %rcx\n`);
    const t = b.toTrap();
    expect(t).toMatchObject({ vector: 1, rip: b.symbol("there") });
    expect(dr(b, 6)).toBe(B | 0x2000n);
    expect(dr(b, 7)).toBe(0x400n);
  });

  test("4 and 5 are 6 and 7, and #UD with CR4.DE; high bits of 6 and 7 are #GP", async () => {
    const b = await Bare.make(`start: .byte 0x0f, 0x21, 0xe1, 0x0f, 0x21, 0xea\n vmcall\n`);
    b.toVmcall();
    expect([b.machine.reg(0, "rcx"), b.machine.reg(0, "rdx")]).toEqual([B, 0x400n]);
    const c = await Bare.make(
      `start: mov %cr4, %rax\n or $8, %rax\n mov %rax, %cr4\nthere: .byte 0x0f, 0x21, 0xe1\n`,
    );
    expect(c.toTrap()).toMatchObject({ vector: 6, rip: c.symbol("there") });
    for (const n of [6, 7]) {
      const d = await Bare.make(`start: mov $1, %rax\n shl $32, %rax\nthere: mov %rax, %db${n}\n`);
      expect(d.toTrap()).toMatchObject({ vector: 13, code: 0n, rip: d.symbol("there") });
    }
  });
});

describe("single steps", () => {
  const STEP = `	pushfq\n	orl $0x100, (%rsp)\n	popfq\n`;

  test("int1 pushes the next instruction and leaves dr6 alone", async () => {
    const b = await Bare.make(`start: int1\nbehind: nop\n`);
    expect(b.toTrap()).toMatchObject({ vector: 1, rip: b.symbol("behind") });
    expect(dr(b, 6)).toBe(B);
  });

  test("set BS, and do not follow a software interrupt", async () => {
    const b = await Bare.make(`start: ${STEP} int3\n`);
    b.gate(3, {});
    expect(b.toTrap()).toMatchObject({ vector: 3 });
    const c = await Bare.make(`start: ${STEP} nop\nbehind: nop\n`);
    expect(c.toTrap()).toMatchObject({ vector: 1, rip: c.symbol("behind") });
    expect(dr(c, 6)).toBe(B | 0x4000n);
  });

  test("skip the move to ss and come behind the next instruction", async () => {
    const b = await Bare.make(`start: mov %ss, %ecx\n ${STEP} mov %ecx, %ss\n nop\nbehind: nop\n`);
    // The trap behind the move is the one that is held back.
    expect(b.toTrap()).toMatchObject({ vector: 1, rip: b.symbol("behind") });
  });

  test("come behind each iteration of a REP", async () => {
    const b = await Bare.make(`
start:	mov $${DATA}, %rdi
	mov $3, %ecx
	${STEP}
there:	rep stosb
	nop
	vmcall
handler: inc %edx
	mov (%rsp), %r8
	iretq
`);
    b.gate(1, { to: b.symbol("handler") });
    b.machine.setReg(0, "rdx", 0n);
    while (b.machine.reg(0, "rdx") === 0n) b.machine.run(0, 1);
    b.machine.run(0, 1);
    expect(b.machine.reg(0, "r8")).toBe(b.symbol("there"));
    expect(b.machine.reg(0, "rcx") < 3n).toBe(true);
    b.toVmcall();
    expect(b.machine.reg(0, "rdx")).toBe(4n); // three iterations and the nop
  });

  test("end a halt", async () => {
    const b = await Bare.make(`start: ${STEP} hlt\nbehind: nop\n`);
    expect(b.toTrap()).toMatchObject({ vector: 1, rip: b.symbol("behind") });
    expect(b.machine.reg(0, "rsp")).toBe(BOOT_TOP - 40n);
  });

  test("by sysret come at once, and syscall masks them", async () => {
    const b = await Bare.make(`
start:	mov $0xc0000081, %ecx
	xor %eax, %eax
	mov $0x00230010, %edx
	wrmsr
	mov $0xc0000084, %ecx
	mov $0x100, %eax
	xor %edx, %edx
	wrmsr
	mov $0xc0000082, %ecx
	lea entry(%rip), %rax
	mov $0xffffffff, %edx
	wrmsr
	mov $0x102, %r11d
	mov $probe, %ecx
	sysretq
entry:	nop
	.section .user,"ax"
probe:	nop
`);
    // TF is loaded by SYSRET, and the trap comes before the first instruction in user mode.
    expect(b.toTrap()).toMatchObject({ vector: 1, rip: b.symbol("probe"), cs: 0x33n });
    const c = await Bare.make(`
start:	vmcall
entry:	mov %r11, %r13
	sysretq
	.section .user,"ax"
probe:	syscall
behind:	nop
`);
    c.toVmcall();
    c.machine.setReg(0, "rdx", 0n);
    c.enterUser("probe", 0, 0x302n);
    c.machine.core.setU64(c.machine.stateOf(0) + 0x108, 0x0023001000000000n);
    c.machine.core.setU64(c.machine.stateOf(0) + 0x110, c.symbol("entry"));
    c.machine.core.setU64(c.machine.stateOf(0) + 0x120, 0x100n);
    // No trap behind SYSCALL, which masked TF; one at once behind SYSRET, which brought it back.
    expect(c.toTrap()).toMatchObject({ vector: 1, rip: c.symbol("behind"), cs: 0x33n });
    expect(c.machine.reg(0, "r13") & 0x100n).toBe(0x100n);
  });
});

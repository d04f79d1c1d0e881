// Code that changes: by itself, through another mapping, from the host, from another vCPU. The machine executes what is
// in memory when an instruction starts, as CPUs do for their own stores. SDM Vol. 3A, "Self-Modifying Code".
import { describe, expect, test } from "vitest";
import { Bare, KERNEL, P, TEXT, USER } from "./bare.ts";

const ALIAS = KERNEL + 0x20_0000n; // the same memory as USER, writable

describe("self-modifying code", () => {
  test("a store changes an instruction of the block that is executing", async () => {
    const b = await Bare.make(`
start:	movb $0x22, next+1(%rip)
next:	mov $0x11, %al
	vmcall
`);
    b.toVmcall();
    expect(b.machine.reg(0, "rax") & 0xffn).toBe(0x22n);
  });

  test("a store behind itself in a loop counts each time around", async () => {
    const b = await Bare.make(`
start:	mov $2, %ecx
again:	incb here+3(%rip)
	nop
here:	add $1, %rax
	dec %ecx
	jnz again
	vmcall
`);
    b.toVmcall();
    // 2 the first time, 3 the second
    expect(b.machine.reg(0, "rax")).toBe(5n);
  });

  test("an instruction may overwrite itself", async () => {
    const b = await Bare.make(`start: movl $0x90909090, start(%rip)\n vmcall\n`);
    b.toVmcall();
    expect([...b.machine.readPhys(0x100000n, 4)]).toEqual([0x90, 0x90, 0x90, 0x90]);
  });

  test("rep stosb over the code behind it is seen at once", async () => {
    const b = await Bare.make(`
start:	lea next(%rip), %rdi
	mov $2, %ecx
	mov $0x90, %al
	mov $7, %ebx
	rep stosb
next:	inc %ebx
	vmcall
`);
    b.toVmcall();
    expect(b.machine.reg(0, "rbx")).toBe(7n);
  });

  test("a store that crosses into code invalidates it", async () => {
    const b = await Bare.make(`
start:	call f
	mov $0x9090909090909090, %rax
	mov %rax, f-5(%rip)
	call f
	vmcall
	.skip 16
f:	inc %r8d			/* three bytes */
	ret
`);
    b.toVmcall();
    expect(b.machine.reg(0, "r8")).toBe(1n);
  });

  test("stores beside code are done, and stores into it are seen", async () => {
    const b = await Bare.make(`
start:	mov $100, %ecx
1:	addq $1, data(%rip)
	addb $1, data+9(%rip)
	call f
	dec %ecx
	jnz 1b
	movb $5, f+1(%rip)
	call f
	addq $1, data(%rip)
	vmcall
f:	mov $1, %al
	ret
data:	.quad 0
	.quad 0
`);
    b.toVmcall();
    expect(b.machine.reg(0, "rax") & 0xffn).toBe(5n);
    expect(b.machine.read64(b.symbol("data"))).toBe(101n);
    expect(b.machine.read64(b.symbol("data") + 8n)).toBe(100n << 8n);
  });

  test("data that becomes code is looked after from then on", async () => {
    const b = await Bare.make(`
start:	movl $0xc301b0, g(%rip)		/* mov $1, %al; ret */
	call g
	mov %al, %bl
	movb $2, g+1(%rip)
	call g
	vmcall
	.skip 64
g:	.skip 16
`);
    b.toVmcall();
    expect(b.machine.reg(0, "rbx") & 0xffn).toBe(1n);
    expect(b.machine.reg(0, "rax") & 0xffn).toBe(2n);
  });

  test("an entry that is rewritten before each call is called as it is then", async () => {
    const b = await Bare.make(`
start:	mov $200, %ecx
1:	mov %ecx, f+1(%rip)
	call f
	add %rax, %rbx
	call f
	sub $1, %ecx
	jnz 1b
	vmcall
	.balign 16
f:	mov $0, %eax			/* five bytes */
	add %rax, %rdx
	ret
`);
    b.machine.setReg(0, "rbx", 0n);
    b.machine.setReg(0, "rdx", 0n);
    b.toVmcall();
    expect(b.machine.reg(0, "rbx")).toBe(20_100n);
    expect(b.machine.reg(0, "rdx")).toBe(40_200n);
  });

  test("a store through another mapping is seen", async () => {
    const b = await Bare.make(`
start:	mov $0x400000, %edi
	call *%rdi
	movb $0x22, (%rsi)
	call *%rdi
	vmcall
	.section .user,"ax"
f:	mov $0x11, %al
	ret
`);
    b.machine.setReg(0, "rsi", ALIAS + 1n);
    b.toVmcall();
    expect(b.machine.reg(0, "rax") & 0xffn).toBe(0x22n);
  });
});

describe("code changed from outside", () => {
  test("a host write is seen by the next instruction, even in the middle of a loop", async () => {
    const b = await Bare.make(`start: inc %r8\nf: nop\n nop\n nop\n jmp start\n`);
    b.run(1000);
    b.machine.writePhys(0x100000n + (b.symbol("f") - TEXT), Uint8Array.of(0x0f, 0x01, 0xc1));
    expect(b.toVmcall(10).used).toBeLessThanOrEqual(5);
  });

  test("another vCPU's store is seen", async () => {
    const b = await Bare.make(
      `start: test %edi, %edi\n jne other\n1: nop\nf: jmp 1b\nafter: vmcall\nother: movw $0x9090, f(%rip)\n vmcall\n`,
      { vcpus: 2 },
    );
    b.machine.setReg(1, "rdi", 1n);
    expect(b.run(1000).exit).toBe("none");
    b.toVmcall(10, 1);
    b.toVmcall(10, 0);
    expect(b.machine.reg(0, "rip")).toBe(b.symbol("after") + 3n);
  });

  test("a page that is mapped elsewhere is fetched from there after invlpg", async () => {
    const b = await Bare.make(`
start:	mov $0x400000, %edi
	call *%rdi
	mov %rdx, (%rsi)
	invlpg (%rdi)
	call *%rdi
	vmcall
	.section .user,"ax"
f:	mov $0x11, %al
	ret
`);
    const m = b.machine;
    m.writePhys(0x30_0000n, Uint8Array.of(0xb0, 0x33, 0xc3));
    m.setReg(0, "rsi", KERNEL + b.pteAt(USER));
    m.setReg(0, "rdx", 0x30_0000n | P);
    b.toVmcall();
    expect(m.reg(0, "rax") & 0xffn).toBe(0x33n);
  });
});

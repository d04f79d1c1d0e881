// A guest that does a bit of everything that could tell where a run was cut: timer interrupts, IPIs, locked counters, its
// own code, string moves, the TSC, user mode.
import { Bare, type BareOptions } from "./bare.ts";

const GUEST = `
	.macro apic reg, value, high=0
	mov $\\reg, %ecx
	mov $\\value, %eax
	mov $\\high, %edx
	wrmsr
	.endm
start:	apic 0x80f, 0x1ff
	apic 0x83e, 0xb
	apic 0x832, 0x20040
	apic 0x838, 173
	apic 0xc0000081, 0, 0x00230010
	mov $0xc0000082, %ecx
	lea entry(%rip), %rax
	mov $0xffffffff, %edx
	wrmsr
	apic 0xc0000084, 0x700
	mov %rdi, %r15
	lea table(%rip), %rbx
	sti
again:	imul $1103515245, %r8, %r8	/* a small random number */
	add $12345, %r8
	mov %r8, %rsi
	shr $16, %rsi
	and $0xf8, %esi
	add %r8, (%rbx,%rsi)
	lock incq shared(%rip)
	test $0x10000, %r8d
	jz 1f
	call f
1:	test $0x70000, %r8d
	jnz 2f
	mov %r8b, patched+3(%rip)	/* its own code */
2:	call patched
	lea 0x100(%rbx), %rdi
	mov $13, %ecx
	mov %rbx, %rsi
	rep movsb
	test $0x1f0000, %r8d
	jnz 3f
	rdtsc
	add %rax, %r14
	mov $0x830, %ecx			/* an IPI to the other vCPU */
	mov $0xc0051, %eax
	xor %edx, %edx
	wrmsr
3:	test $0x3f0000, %r8d
	jnz 4f
	hlt
4:	test $0xe0000, %r8d
	jnz again
	push $0x2b			/* to ring 3; it comes back by syscall */
	push %rsp
	push $0x202
	push $0x33
	push $user
	iretq
entry:	lea stacks_end(%rip), %rsp
	mov %r15, %rax
	shl $12, %rax
	sub %rax, %rsp
	sti
	jmp again
f:	push %rax
	xchg %rax, other(%rip)
	pop %rax
	div %r15
	ret
patched: add $0x11, %r13
	ret
tick:	push %rax
	push %rcx
	push %rdx
	incq ticks(%rip)
	apic 0x80b, 0
	pop %rdx
	pop %rcx
	pop %rax
	iretq
divide:	addq $3, (%rsp)			/* over the div */
	incq divides(%rip)
	iretq
	.balign 8
ticks:	.quad 0
divides: .quad 0
shared:	.quad 0
other:	.quad 0
table:	.fill 0x200, 1, 7
	.balign 4096
	.skip 0x8000
stacks_end:
	.section .user,"ax"
user:	inc %r12
	mov %r12, 0x410000
	syscall
`;

/** The guest on its start line, its vCPUs on different ways. */
export async function bootGuest(
  vcpus: number,
  seed: number,
  options: BareOptions = {},
): Promise<Bare> {
  const b = await Bare.make(GUEST, { ...options, vcpus });
  b.gate(0x40, { to: b.symbol("tick") });
  b.gate(0x51, { to: b.symbol("tick") });
  b.gate(0, { to: b.symbol("divide") });
  for (let v = 0; v < vcpus; v++) {
    b.machine.setReg(v, "rdi", BigInt(v));
    b.machine.setReg(v, "r8", BigInt(seed * 7919 + v));
  }
  return b;
}

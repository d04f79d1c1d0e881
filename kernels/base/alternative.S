# arch/x86/kernel/alternative.c: the #BP half of text_poke_bp. While a site's first byte is int3, a CPU
# that executes it runs the *new* instruction here. The writing half is done through the patch call.
# Not traceable, and never poked itself.

	.include "kernel.inc"

	.section .noinstr.text, "ax", @progbits

# rdi: pt_regs. Returns 1 if the int3 was a poked site.
# Pairs with the patch call: bp_desc.refs is set after vec and nr_entries are, and before any int3 is.
C_FUNC_START_NOTRACE poke_int3_handler
	pushq	%rbx
	testb	$3, CS(%rdi)
	jnz	.Lnot_ours
	/* try_get_desc(): take a reference unless there is none to take. */
	movl	bp_desc+BPD_refs(%rip), %eax
1:	testl	%eax, %eax
	jz	.Lnot_ours
	leal	1(%rax), %edx
	lock cmpxchgl %edx, bp_desc+BPD_refs(%rip)
	jne	1b

	movq	RIP(%rdi), %rsi
	decq	%rsi				/* the site */
	/* patch_cmp(): the vector is sorted; between rbx and rcx entries further. */
	movq	bp_desc+BPD_vec(%rip), %rbx
	movl	bp_desc+BPD_nr_entries(%rip), %ecx
2:	testl	%ecx, %ecx
	jz	.Lput_not_ours
	movl	%ecx, %eax
	shrl	%eax
	imulq	$SIZEOF_text_poke_loc, %rax, %rdx
	addq	%rbx, %rdx
	cmpq	%rsi, TP_addr(%rdx)
	je	3f
	ja	4f
	leaq	SIZEOF_text_poke_loc(%rdx), %rbx
	subl	%eax, %ecx
	decl	%ecx
	jmp	2b
4:	movl	%eax, %ecx
	jmp	2b
3:	movq	%rdx, %rbx
	movzbl	TP_opcode(%rbx), %eax
	cmpl	$0xe8, %eax
	je	.Lemulate_call
	cmpl	$0xe9, %eax
	je	.Lemulate_jmp
	cmpl	$0xeb, %eax
	je	.Lemulate_jmp
	cmpl	$0xc3, %eax
	je	.Lemulate_ret
	cmpl	$0xcc, %eax
	je	.Lput_not_ours			/* someone wants an int3 here */
	movl	%eax, %edx
	andl	$0xf0, %edx
	cmpl	$0x70, %edx
	je	.Lemulate_jcc
.Lnext:
	movzbl	TP_len(%rbx), %eax		/* a nop */
	addq	%rax, %rsi
	movq	%rsi, RIP(%rdi)
	jmp	.Lput
	/* int3_emulate_jcc(): the condition's number in bits 1 to 3, its negation in bit 0. */
.Lemulate_jcc:
	movl	EFLAGS(%rdi), %edx
	movl	%eax, %ecx
	shrl	%ecx
	andl	$7, %ecx
	cmpl	$6, %ecx
	jae	5f
	andl	jcc_mask(,%rcx,4), %edx
	setnz	%dl
	jmp	7f
5:	movl	%edx, %r8d			/* l, le: sf != of; le also zf */
	shrl	$4, %r8d
	xorl	%edx, %r8d
	shrl	$7, %r8d
	andl	$1, %r8d
	cmpl	$7, %ecx
	jne	6f
	shrl	$6, %edx
	andl	$1, %edx
	orl	%edx, %r8d
6:	movl	%r8d, %edx
7:	xorl	%eax, %edx
	testl	$1, %edx
	jz	.Lnext
.Lemulate_jmp:
	movq	TP_target(%rbx), %rax
	movq	%rax, RIP(%rdi)
	jmp	.Lput
.Lemulate_ret:
	movq	RSP(%rdi), %rax
	movq	(%rax), %rdx
	addq	$8, %rax
	movq	%rax, RSP(%rdi)
	movq	%rdx, RIP(%rdi)
	jmp	.Lput
.Lemulate_call:
	addq	$5, %rsi			/* CALL_INSN_SIZE */
	movq	RSP(%rdi), %rax
	subq	$8, %rax			/* in the gap that the entry code left */
	movq	%rax, RSP(%rdi)
	movq	%rsi, (%rax)
	TRUE_FRAME 0, 0
	movq	TP_target(%rbx), %rax
	movq	%rax, RIP(%rdi)
.Lput:
	lock decl bp_desc+BPD_refs(%rip)
	movl	$1, %eax
	popq	%rbx
	FRAME_END
	ret
.Lput_not_ours:
	lock decl bp_desc+BPD_refs(%rip)
.Lnot_ours:
	xorl	%eax, %eax
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END poke_int3_handler

	.section .rodata, "a", @progbits
	.p2align 2
jcc_mask:					/* o, b, e, be, s, p */
	.long	0x800, 0x1, 0x40, 0x41, 0x80, 0x4

	.data
SYM_DATA_START bp_desc
	.quad	tp_vec
	.long	0
	.long	0
SYM_DATA_END bp_desc
	.p2align 3
SYM_DATA_START tp_vec
	.skip	TP_VEC_MAX * SIZEOF_text_poke_loc
SYM_DATA_END tp_vec

# DEFINE_MUTEX(text_mutex)
DEFINE_MUTEX text_mutex

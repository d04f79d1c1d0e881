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
	movq	bp_desc+BPD_vec(%rip), %rbx
	movl	bp_desc+BPD_nr_entries(%rip), %ecx
2:	testl	%ecx, %ecx
	jz	.Lput_not_ours
	cmpq	%rsi, TP_addr(%rbx)
	je	3f
	addq	$SIZEOF_text_poke_loc, %rbx
	decl	%ecx
	jmp	2b
3:	movzbl	TP_opcode(%rbx), %eax
	cmpl	$0xe8, %eax
	je	.Lemulate_call
	cmpl	$0xe9, %eax
	je	.Lemulate_jmp
	cmpl	$0xeb, %eax
	je	.Lemulate_jmp
	cmpl	$0xcc, %eax
	je	.Lput_not_ours			/* someone wants an int3 here */
	movzbl	TP_len(%rbx), %eax		/* a nop */
	addq	%rax, %rsi
	movq	%rsi, RIP(%rdi)
	jmp	.Lput
.Lemulate_jmp:
	movq	TP_target(%rbx), %rax
	movq	%rax, RIP(%rdi)
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

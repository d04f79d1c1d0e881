# kernel/kprobes.c and arch/x86/kernel/kprobes: a probe on a fentry site is called by ftrace, any other one by its int3;
# the probed instruction then executes in a slot elsewhere, with an int3 behind it that brings it back.
# Registering is decided through the patch call (src/ftrace). Nothing here is traceable or may be probed.
# DIFFERS: no jump optimisation; instructions that branch or change IF are not probed instead of emulated.

	.include "kernel.inc"

	.section .noinstr.text, "ax", @progbits

# rdi: address. Returns the kprobe or 0. DIFFERS: a list instead of a hash.
C_FUNC_START_NOTRACE get_kprobe
	movq	kprobe_list(%rip), %rax
1:	testq	%rax, %rax
	jz	2f
	cmpq	%rdi, KP_addr(%rax)
	je	2f
	movq	KP_next(%rax), %rax
	jmp	1b
2:	FRAME_END
	ret
SYM_FUNC_END get_kprobe

# The callback of kprobe_ftrace_ops and kprobe_ipmodify_ops. rdi: ip, rsi: parent_ip, rdx: ops, rcx: pt_regs.
C_FUNC_START_NOTRACE kprobe_ftrace_handler
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	subq	$8, %rsp
	movq	%rdi, %rbx
	movq	%rcx, %r12
	movl	$TRACE_FTRACE_START, %edi
	call	trace_test_and_set_recursion
	testl	%eax, %eax
	js	4f
	movl	%eax, %r14d
	movq	%rbx, %rdi
	call	get_kprobe
	testq	%rax, %rax
	jz	3f
	movq	%rax, %r13
	cmpq	$0, %gs:current_kprobe
	je	1f
	lock incq KP_nmissed(%r13)
	jmp	3f
1:	movq	RIP(%r12), %r15
	leaq	1(%rbx), %rax			/* as if a breakpoint had been hit */
	movq	%rax, RIP(%r12)
	movq	%r13, %gs:current_kprobe
	movq	KP_pre_handler(%r13), %rax
	testq	%rax, %rax
	jz	2f
	movq	%r13, %rdi
	movq	%r12, %rsi
	call	*%rax
	testl	%eax, %eax
	jnz	5f				/* it has changed regs->ip */
2:	leaq	5(%rbx), %rax			/* as if a nop of 5 bytes had been stepped */
	movq	%rax, RIP(%r12)
	movq	KP_post_handler(%r13), %rax
	testq	%rax, %rax
	jz	6f
	movq	%r13, %rdi
	movq	%r12, %rsi
	call	*%rax
6:	movq	%r15, RIP(%r12)
5:	movq	$0, %gs:current_kprobe
3:	movl	%r14d, %edi
	call	trace_clear_recursion
4:	addq	$8, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END kprobe_ftrace_handler

# rdi: pt_regs of an int3. Returns 1 if it was a probe's. Interrupts are off, and stay off while the slot executes.
C_FUNC_START_NOTRACE kprobe_int3_handler
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	testb	$3, CS(%rdi)
	jnz	8f
	movq	RIP(%rdi), %rdi
	decq	%rdi
	call	get_kprobe
	testq	%rax, %rax
	jz	3f
	movq	%rax, %r12
	cmpq	$0, %gs:current_kprobe
	je	1f
	lock incq KP_nmissed(%r12)		/* reenter_kprobe(): stepped, and nothing is called */
	jmp	2f
1:	movq	%r12, %gs:current_kprobe
	movq	KP_pre_handler(%r12), %rax
	testq	%rax, %rax
	jz	2f
	movq	%r12, %rdi
	movq	%rbx, %rsi
	call	*%rax
	testl	%eax, %eax
	jz	2f
	movq	$0, %gs:current_kprobe		/* it has changed regs->ip */
	jmp	9f
	/* setup_singlestep() */
2:	PREEMPT_DISABLE
	movq	EFLAGS(%rbx), %rax
	andl	$X86_EFLAGS_IF, %eax
	orl	%eax, %gs:kprobe_saved_flags
	andq	$~X86_EFLAGS_IF, EFLAGS(%rbx)
	movq	KP_slot(%r12), %rax
	movq	%rax, RIP(%rbx)
	jmp	9f
	/* The int3 behind a slot's instruction? resume_singlestep(), kprobe_post_process() */
3:	movq	RIP(%rbx), %rdi
	decq	%rdi
	movq	kprobe_list(%rip), %r12
4:	testq	%r12, %r12
	jz	8f
	movq	KP_slot(%r12), %rax
	testq	%rax, %rax
	jz	5f
	movzbl	KP_len(%r12), %edx
	addq	%rdx, %rax
	cmpq	%rdi, %rax
	je	6f
5:	movq	KP_next(%r12), %r12
	jmp	4b
6:	addq	KP_addr(%r12), %rdx
	movq	%rdx, RIP(%rbx)
	movl	%gs:kprobe_saved_flags, %eax
	orq	%rax, EFLAGS(%rbx)
	movl	$0, %gs:kprobe_saved_flags
	cmpq	%r12, %gs:current_kprobe
	jne	7f				/* it was reentered */
	movq	KP_post_handler(%r12), %rax
	testq	%rax, %rax
	jz	10f
	movq	%r12, %rdi
	movq	%rbx, %rsi
	call	*%rax
10:	movq	$0, %gs:current_kprobe
7:	PREEMPT_ENABLE_NO_RESCHED
9:	movl	$1, %eax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
8:	xorl	%eax, %eax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END kprobe_int3_handler

	.data
SYM_DATA_START kprobe_list
	.quad	0
SYM_DATA_END kprobe_list
SYM_DATA_START kprobe_ftrace_enabled
	.long	0
SYM_DATA_END kprobe_ftrace_enabled
SYM_DATA_START kprobe_ipmodify_enabled
	.long	0
SYM_DATA_END kprobe_ipmodify_enabled
	.p2align 3
SYM_DATA_START kprobe_ftrace_ops
	.quad	kprobe_ftrace_handler, 0, FTRACE_OPS_FL_SAVE_REGS, 0, 0, 0, 0
SYM_DATA_END kprobe_ftrace_ops
SYM_DATA_START kprobe_ipmodify_ops
	.quad	kprobe_ftrace_handler, 0, FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY, 0, 0, 0, 0
SYM_DATA_END kprobe_ipmodify_ops
DEFINE_MUTEX kprobe_mutex

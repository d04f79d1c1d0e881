# kernel/kprobes.c and arch/x86/kernel/kprobes: a probe on a fentry site is called by ftrace, any other one by its int3;
# the probed instruction then executes in a slot elsewhere, with an int3 behind it that brings it back.
# Registering is decided through the patch call (src/ftrace). Nothing that runs when one is hit is traceable or may be probed.
# Several probes at one address are one in the list, whose handlers call theirs in turn.
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

# The pre_handler of an aggr_kprobe: those of its members, until one has changed regs->ip. rdi: kprobe, rsi: pt_regs.
C_FUNC_START_NOTRACE aggr_pre_handler
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	subq	$8, %rsp
	leaq	KP_list(%rdi), %rbx
	movq	%rsi, %r12
	movq	(%rbx), %r13
1:	xorl	%eax, %eax
	cmpq	%rbx, %r13
	je	3f
	leaq	-KP_list(%r13), %rdi
	movq	KP_pre_handler(%rdi), %rax
	testq	%rax, %rax
	jz	2f
	testl	$KPROBE_FLAG_DISABLED | KPROBE_FLAG_GONE, KP_flags(%rdi)
	jnz	2f
	movq	%r12, %rsi
	call	*%rax
	testl	%eax, %eax
	jnz	4f
2:	movq	(%r13), %r13
	jmp	1b
4:	movl	$1, %eax
3:	addq	$8, %rsp
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END aggr_pre_handler

# Its post_handler, once one of them has one. rdi: kprobe, rsi: pt_regs, edx: flags.
C_FUNC_START_NOTRACE aggr_post_handler
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	leaq	KP_list(%rdi), %rbx
	movq	%rsi, %r12
	movl	%edx, %r14d
	movq	(%rbx), %r13
1:	cmpq	%rbx, %r13
	je	3f
	leaq	-KP_list(%r13), %rdi
	movq	KP_post_handler(%rdi), %rax
	testq	%rax, %rax
	jz	2f
	testl	$KPROBE_FLAG_DISABLED | KPROBE_FLAG_GONE, KP_flags(%rdi)
	jnz	2f
	movq	%r12, %rsi
	movl	%r14d, %edx
	call	*%rax
2:	movq	(%r13), %r13
	jmp	1b
3:	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END aggr_post_handler

# rdi: a kprobe that was hit and is not called. Of an aggr_kprobe every member has missed.
C_FUNC_START_NOTRACE kprobes_inc_nmissed_count
	cmpq	$aggr_pre_handler, KP_pre_handler(%rdi)
	je	1f
	lock incq KP_nmissed(%rdi)
	jmp	3f
1:	leaq	KP_list(%rdi), %rdx
	movq	(%rdx), %rax
2:	cmpq	%rdx, %rax
	je	3f
	lock incq KP_nmissed - KP_list(%rax)
	movq	(%rax), %rax
	jmp	2b
3:	FRAME_END
	ret
SYM_FUNC_END kprobes_inc_nmissed_count

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
	testl	$KPROBE_FLAG_DISABLED | KPROBE_FLAG_GONE, KP_flags(%rax)
	jnz	3f
	movq	%rax, %r13
	cmpq	$0, %gs:current_kprobe
	je	1f
	movq	%r13, %rdi
	call	kprobes_inc_nmissed_count
	jmp	3f
1:	movq	RIP(%r12), %r15
	leaq	1(%rbx), %rax			/* as if a breakpoint had been hit */
	movq	%rax, RIP(%r12)
	movq	%r13, %gs:current_kprobe
	movl	$KPROBE_HIT_ACTIVE, %gs:kprobe_ctlblk+KCB_kprobe_status
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
	movl	$KPROBE_HIT_SSDONE, %gs:kprobe_ctlblk+KCB_kprobe_status
	movq	%r13, %rdi
	movq	%r12, %rsi
	xorl	%edx, %edx
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

# rdi: pt_regs of an int3. Returns 1 if it was a probe's. Interrupts are off, and stay off while the slot executes: only a
# NMI comes in between.
C_FUNC_START_NOTRACE kprobe_int3_handler
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	testb	$3, CS(%rdi)
	jnz	.Lnot_a_probe
	movq	RIP(%rdi), %rdi
	decq	%rdi
	call	get_kprobe
	testq	%rax, %rax
	jz	.Lsingle_step
	movq	%rax, %r12
	cmpq	$0, %gs:current_kprobe
	jne	.Lreenter_kprobe
	call	set_current_kprobe
	movl	$KPROBE_HIT_ACTIVE, %gs:kprobe_ctlblk+KCB_kprobe_status
	movq	KP_pre_handler(%r12), %rax
	testq	%rax, %rax
	jz	1f
	movq	%r12, %rdi
	movq	%rbx, %rsi
	call	*%rax
	testl	%eax, %eax
	jz	1f
	movq	$0, %gs:current_kprobe		/* it has changed regs->ip */
	jmp	.La_probe
1:	movl	$KPROBE_HIT_SS, %gs:kprobe_ctlblk+KCB_kprobe_status
.Lsetup_singlestep:
	andq	$~X86_EFLAGS_IF, EFLAGS(%rbx)
	movq	KP_slot(%r12), %rax
	movq	%rax, RIP(%rbx)
	jmp	.La_probe

	/* reenter_kprobe(): in a handler, or by a NMI while a slot executes. Stepped, and nothing is called. */
.Lreenter_kprobe:
	cmpl	$KPROBE_REENTER, %gs:kprobe_ctlblk+KCB_kprobe_status
	je	.Lunrecoverable
	movq	%r12, %rdi
	call	kprobes_inc_nmissed_count
	movq	%gs:current_kprobe, %rax	/* save_previous_kprobe() */
	movq	%rax, %gs:kprobe_ctlblk+KCB_prev_kp
	movl	%gs:kprobe_ctlblk+KCB_kprobe_status, %eax
	movl	%eax, %gs:kprobe_ctlblk+KCB_prev_status
	movl	%gs:kprobe_ctlblk+KCB_kprobe_saved_flags, %eax
	movl	%eax, %gs:kprobe_ctlblk+KCB_prev_saved_flags
	call	set_current_kprobe
	movl	$KPROBE_REENTER, %gs:kprobe_ctlblk+KCB_kprobe_status
	jmp	.Lsetup_singlestep
.Lunrecoverable:
	BUG "Unrecoverable kprobe detected."

	/* The int3 behind a slot's instruction? */
.Lsingle_step:
	testl	$KPROBE_HIT_SS | KPROBE_REENTER, %gs:kprobe_ctlblk+KCB_kprobe_status
	jz	.Lnot_a_probe
	movq	%gs:current_kprobe, %r12
	movq	RIP(%rbx), %rax
	subq	KP_slot(%r12), %rax
	jbe	.Lnot_a_probe
	cmpq	$MAX_INSN_SIZE, %rax
	jae	.Lnot_a_probe
	movzbl	KP_len(%r12), %eax		/* resume_singlestep() */
	addq	KP_addr(%r12), %rax
	movq	%rax, RIP(%rbx)
	movl	%gs:kprobe_ctlblk+KCB_kprobe_saved_flags, %eax
	orq	%rax, EFLAGS(%rbx)
	cmpl	$KPROBE_REENTER, %gs:kprobe_ctlblk+KCB_kprobe_status
	je	.Lrestore_previous_kprobe
	movl	$KPROBE_HIT_SSDONE, %gs:kprobe_ctlblk+KCB_kprobe_status
	movq	KP_post_handler(%r12), %rax
	testq	%rax, %rax
	jz	1f
	movq	%r12, %rdi
	movq	%rbx, %rsi
	xorl	%edx, %edx
	call	*%rax
1:	movq	$0, %gs:current_kprobe		/* reset_current_kprobe() */
	jmp	.La_probe
.Lrestore_previous_kprobe:
	movl	%gs:kprobe_ctlblk+KCB_prev_saved_flags, %eax
	movl	%eax, %gs:kprobe_ctlblk+KCB_kprobe_saved_flags
	movl	%gs:kprobe_ctlblk+KCB_prev_status, %eax
	movl	%eax, %gs:kprobe_ctlblk+KCB_kprobe_status
	movq	%gs:kprobe_ctlblk+KCB_prev_kp, %rax
	movq	%rax, %gs:current_kprobe
.La_probe:
	movl	$1, %eax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
.Lnot_a_probe:
	xorl	%eax, %eax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END kprobe_int3_handler

# rbx: pt_regs, r12: kprobe. First it is current: a NMI with a probe that comes in between puts back what it finds here.
C_FUNC_START_NOTRACE set_current_kprobe
	movq	%r12, %gs:current_kprobe
	movq	EFLAGS(%rbx), %rax
	andl	$X86_EFLAGS_IF, %eax
	movl	%eax, %gs:kprobe_ctlblk+KCB_kprobe_saved_flags
	FRAME_END
	ret
SYM_FUNC_END set_current_kprobe

	.text

# rdi: kprobe, with an address or the name of a symbol. Returns 0 or an errno. From the init function of a module.
C_FUNC_START register_kprobe
	movq	%rdi, %rsi
	movl	$UPCALL_REGISTER_KPROBE, %edi
	call	patch_upcall
	FRAME_END
	ret
SYM_FUNC_END register_kprobe

# rdi: kprobe. When it returns nobody is in its handlers. From the exit function of a module, or its init function.
C_FUNC_START unregister_kprobe
	movq	%rdi, %rsi
	movl	$UPCALL_UNREGISTER_KPROBE, %edi
	call	patch_upcall
	FRAME_END
	ret
SYM_FUNC_END unregister_kprobe

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

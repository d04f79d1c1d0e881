# kernel/entry/common.c and arch/x86/entry/common.c: the C half of entry and exit. Not traceable
# (noinstr there). Every way to user mode passes exit_to_user_mode_loop while work is pending.

	.include "kernel.inc"

	.section .noinstr.text, "ax", @progbits

# rdi: pt_regs, rsi: system-call number. Returns 1 in al if SYSRET may be used.
# DIFFERS: the call is indirect through sys_call_table, as before v6.9.
C_FUNC_START_NOTRACE do_syscall_64
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	movl	%esi, %r12d
	sti
	GET_CURRENT %rax
	incq	TASK_syscalls(%rax)
	testl	$_TIF_CHECKPOINT, TASK_TI_flags(%rax)
	jnz	.Lenter_work
.Ldispatch:
	leaq	sys_call_table(,%r12,8), %rax
	cmpq	$__stop_sys_call_table, %rax
	jae	.Lexit				/* ax is -ENOSYS already */
	movq	%rbx, %rdi
	call	*(%rax)
	movq	%rax, RAX(%rbx)
.Lexit:
	movq	%rbx, %rdi
	call	syscall_exit_to_user_mode

	/* SYSRET needs rcx == rip, r11 == rflags, the standard selectors and a user rip. */
	xorl	%eax, %eax
	movq	RIP(%rbx), %rcx
	cmpq	RCX(%rbx), %rcx
	jne	.Lret
	movq	EFLAGS(%rbx), %rdx
	cmpq	R11(%rbx), %rdx
	jne	.Lret
	cmpq	$__USER_CS, CS(%rbx)
	jne	.Lret
	cmpq	$__USER_DS, SS(%rbx)
	jne	.Lret
	shrq	$47, %rcx
	jnz	.Lret
	testl	$(X86_EFLAGS_RF | X86_EFLAGS_TF), %edx
	jnz	.Lret
	movl	$1, %eax
.Lret:
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
.Lenter_work:
	call	checkpoint_stop			/* syscall_trace_enter()'s place */
	jmp	.Ldispatch
SYM_FUNC_END do_syscall_64

# rdi: pt_regs. Returns with interrupts off and no work pending.
C_FUNC_START_NOTRACE syscall_exit_to_user_mode
	cli
	GET_CURRENT %rax
	testl	$EXIT_TO_USER_MODE_WORK, TASK_TI_flags(%rax)
	jz	1f
	call	exit_to_user_mode_loop
1:	FRAME_END
	ret
SYM_FUNC_END syscall_exit_to_user_mode

# rdi: pt_regs. Entered and left with interrupts off.
C_FUNC_START_NOTRACE exit_to_user_mode_loop
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	movq	%rdi, %rbx
	GET_CURRENT %r12
1:	sti
	movl	TASK_TI_flags(%r12), %r13d
	testl	$_TIF_NEED_RESCHED, %r13d
	jz	2f
	call	schedule
2:	testl	$_TIF_PATCH_PENDING, %r13d
	jz	3f
	movq	%r12, %rdi
	call	klp_update_patch_state
3:	testl	$_TIF_CHECKPOINT, %r13d
	jz	4f
	call	checkpoint_stop
4:	testl	$_TIF_ANY_SIGNAL, %r13d
	jz	5f
	movq	%rbx, %rdi
	call	arch_do_signal_or_restart
5:	cli
	testl	$EXIT_TO_USER_MODE_WORK, TASK_TI_flags(%r12)
	jnz	1b
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END exit_to_user_mode_loop

# rdi: pt_regs of the interrupt that is about to return; interrupts are off.
C_FUNC_START_NOTRACE irqentry_exit
	testb	$3, CS(%rdi)
	jz	1f
	GET_CURRENT %rax
	incq	TASK_nvcsw(%rax)		/* it was in user mode: a quiescent state of its own */
	testl	$EXIT_TO_USER_MODE_WORK, TASK_TI_flags(%rax)
	jz	2f
	call	exit_to_user_mode_loop
	jmp	2f
1:	testl	$X86_EFLAGS_IF, EFLAGS(%rdi)
	jz	2f
	cmpl	$0, %gs:pcpu_hot+X86_preempt_count
	jne	2f
	call	preempt_schedule_irq
2:	FRAME_END
	ret
SYM_FUNC_END irqentry_exit

# kernel/signal.c and arch/x86/kernel/signal.c: the pending mask, waking, system-call restart.
# SIGKILL and SIGTERM end the task; every other signal, and the fake one that carries none, only
# interrupts its system call. DIFFERS: no handlers, no process groups; the mask is a word of the task.

	.include "kernel.inc"

	.text

# rdi: task, esi: additional state mask. Gets the task to look at its thread flags.
C_FUNC_START signal_wake_up_state
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
	lock btsl $TIF_SIGPENDING, TASK_TI_flags(%rbx)
	orl	$TASK_INTERRUPTIBLE, %esi
	call	wake_up_state
	testl	%eax, %eax
	jnz	1f
	movq	%rbx, %rdi
	call	kick_process
1:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END signal_wake_up_state

# rdi: task. A signal without data: an interruptible sleeper returns to the boundary and restarts.
C_FUNC_START send_fake_signal
	xorl	%esi, %esi
	call	signal_wake_up_state
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END send_fake_signal

# rdi: task. __set_notify_signal() and its kick.
C_FUNC_START set_notify_signal
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
	lock btsl $TIF_NOTIFY_SIGNAL, TASK_TI_flags(%rbx)
	jc	1f
	movl	$TASK_INTERRUPTIBLE, %esi
	call	wake_up_state
	testl	%eax, %eax
	jnz	1f
	movq	%rbx, %rdi
	call	kick_process
1:	xorl	%eax, %eax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END set_notify_signal

# rdi: task, esi: signal number.
C_FUNC_START send_signal_locked
	leal	-1(%rsi), %eax
	lock btsq %rax, TASK_pending(%rdi)
	movl	%esi, %eax
	xorl	%esi, %esi
	cmpl	$SIGKILL, %eax
	jne	1f
	movl	$TASK_WAKEKILL, %esi
1:	call	signal_wake_up_state
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END send_signal_locked

# Takes what is pending for current. Does not return if a signal ends it.
C_FUNC_START get_signal
	call	try_to_freeze
	GET_CURRENT %rdx
	lock andl $~_TIF_ANY_SIGNAL, TASK_TI_flags(%rdx)
	xorl	%eax, %eax
	xchgq	%rax, TASK_pending(%rdx)
	movl	$SIGKILL, %edi
	testl	$(1 << (SIGKILL - 1)), %eax
	jnz	1f
	movl	$SIGTERM, %edi
	testl	$(1 << (SIGTERM - 1)), %eax
	jnz	1f
	xorl	%eax, %eax
	FRAME_END
	ret
1:	call	do_group_exit
	ud2
SYM_FUNC_END get_signal

# rdi: pt_regs. Restarts an interrupted system call by going back over its two bytes.
C_FUNC_START arch_do_signal_or_restart
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
	call	get_signal
	cmpq	$0, ORIG_RAX(%rbx)
	jl	2f				/* not from a system call */
	movq	RAX(%rbx), %rax
	cmpq	$-ERESTART_RESTARTBLOCK, %rax
	je	1f
	cmpq	$-ERESTARTSYS, %rax
	je	3f
	cmpq	$-ERESTARTNOINTR, %rax
	je	3f
	cmpq	$-ERESTARTNOHAND, %rax
	jne	2f
3:	movq	ORIG_RAX(%rbx), %rax
	movq	%rax, RAX(%rbx)
	subq	$2, RIP(%rbx)
	jmp	2f
1:	movq	$__NR_restart_syscall, RAX(%rbx)
	subq	$2, RIP(%rbx)
2:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END arch_do_signal_or_restart

C_FUNC_START __x64_sys_restart_syscall
	GET_CURRENT %rdi
	call	*TASK_restart_fn(%rdi)
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_restart_syscall

C_FUNC_START do_no_restart_syscall
	movq	$-EINTR, %rax
	FRAME_END
	ret
SYM_FUNC_END do_no_restart_syscall

# kill(pid, sig)
C_FUNC_START __x64_sys_kill
	pushq	%rbx
	pushq	%r12
	movl	RDI(%rdi), %ebx
	movl	RSI(%rdi), %r12d
	cmpl	$64, %r12d
	ja	3f
	movq	$tasklist_lock, %rdi
	call	_raw_spin_lock
	movl	%ebx, %edi
	call	find_task_by_vpid
	movq	$-ESRCH, %rbx
	testq	%rax, %rax
	jz	1f
	xorl	%ebx, %ebx
	testl	%r12d, %r12d
	jz	1f
	testl	$PF_KTHREAD, TASK_flags(%rax)
	jnz	1f
	movq	%rax, %rdi
	movl	%r12d, %esi
	call	send_signal_locked
1:	movq	$tasklist_lock, %rdi
	call	_raw_spin_unlock
	movq	%rbx, %rax
2:	popq	%r12
	popq	%rbx
	FRAME_END
	ret
3:	movq	$-EINVAL, %rax
	jmp	2b
SYM_FUNC_END __x64_sys_kill

C_FUNC_START __x64_sys_pause
	pushq	%rbx
	subq	$8, %rsp
	GET_CURRENT %rbx
1:	testl	$_TIF_ANY_SIGNAL, TASK_TI_flags(%rbx)
	jnz	2f
	movl	$TASK_INTERRUPTIBLE, TASK_state(%rbx)
	call	schedule
	jmp	1b
2:	movq	$-ERESTARTNOHAND, %rax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_pause

# kernel/exit.c. There is nobody to wait for a task: it leaves the list here, and the next task on
# its CPU frees its slot (finish_task_switch), as the kernel does for a self-reaping thread.

	.include "kernel.inc"

	.text

# edi: exit code or signal. Does not return.
C_FUNC_START do_exit
	pushq	%rbx
	subq	$8, %rsp
	GET_CURRENT %rbx
	orl	$PF_EXITING, TASK_flags(%rbx)
	movl	%edi, TASK_exit_code(%rbx)
	testl	$PF_KTHREAD, TASK_flags(%rbx)
	jz	1f
	leaq	TASK_kthread_exited(%rbx), %rdi	/* complete_vfork_done(): to kthread_stop() */
	call	complete
1:	movq	%rbx, %rdi
	call	exit_notify
	call	do_task_dead
	ud2
SYM_FUNC_END do_exit

# rdi: current.
C_FUNC_START exit_notify
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
	movq	$tasklist_lock, %rdi
	call	_raw_spin_lock
	leaq	TASK_tasks(%rbx), %rsi
	LIST_DEL %rsi, %rax, %rdx
	movq	%rbx, %rdi
	call	detach_pid
	decl	nr_threads(%rip)
	movq	$tasklist_lock, %rdi
	call	_raw_spin_unlock
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END exit_notify

C_FUNC_START do_task_dead
	PREEMPT_DISABLE
	GET_CURRENT %rax
	movl	$TASK_DEAD, %edx
	xchgl	%edx, TASK_state(%rax)
	xorl	%edi, %edi
	call	__schedule
	BUG "a dead task was scheduled"
SYM_FUNC_END do_task_dead

C_FUNC_START do_group_exit
	call	do_exit
	ud2
SYM_FUNC_END do_group_exit

C_FUNC_START __x64_sys_exit
	movl	RDI(%rdi), %edi
	shll	$8, %edi
	call	do_exit
	ud2
SYM_FUNC_END __x64_sys_exit

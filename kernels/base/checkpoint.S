# The patching checkpoint: where a user task holds no kernel state. It is passed at system-call entry,
# with pt_regs complete and no handler called, and in exit_to_user_mode_loop. While a request is in
# force a flagged task queues there (policy queue) or clears its flag and goes on (policy pass).
# DIFFERS: not in any release of the kernel; the "simple method" of February 2015.
# Locking: checkpoint_request is written before the flags are; a task joins checkpoint_wait before it
# looks at the request, so a release either is seen by it or wakes it.

	.include "kernel.inc"

	.text

# In the context of a user task at the boundary, interrupts on. notrace: it is on the stack of every
# task that waits here.
C_FUNC_START_NOTRACE checkpoint_stop
	pushq	%rbx
	pushq	%r12
	subq	$SIZEOF_wait_queue_entry, %rsp
	GET_CURRENT %rbx
	/* Cleared first: a request that comes while this task is leaving sets it again. */
	lock btrl $TIF_CHECKPOINT, TASK_TI_flags(%rbx)
777:
	cmpl	$CHECKPOINT_POLICY_PASS, checkpoint_policy(%rip)
	je	4f
	movq	%rsp, %r12
	movq	%r12, %rdi
	call	init_wait
1:	movq	$checkpoint_wait, %rdi
	movq	%r12, %rsi
	movl	$TASK_CHECKPOINT, %edx
	call	prepare_to_wait
	cmpl	$0, checkpoint_request(%rip)
	je	3f
	movl	$1, TASK_checkpointed(%rbx)
	call	schedule
	jmp	1b
3:	movl	$0, TASK_checkpointed(%rbx)
	movq	$checkpoint_wait, %rdi
	movq	%r12, %rsi
	call	finish_wait
SYM_INNER_LABEL checkpoint_leave
2:	addq	$SIZEOF_wait_queue_entry, %rsp
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
4:	movq	%rbx, %rdi
SYM_INNER_LABEL checkpoint_pass
	jmp	2b
SYM_FUNC_END checkpoint_stop

# rdi: a user task. Makes it come to the checkpoint: flag, fake signal, wake-up or kick.
C_FUNC_START_NOTRACE checkpoint_notify
	lock btsl $TIF_CHECKPOINT, TASK_TI_flags(%rdi)
	call	send_fake_signal
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END checkpoint_notify

# Withdraws the request: clears every flag and wakes everybody who waits.
C_FUNC_START_NOTRACE checkpoint_release
	movl	$0, checkpoint_request(%rip)
	movq	$tasklist_lock, %rdi
	call	_raw_spin_lock
	movq	$init_task + TASK_tasks, %rdx
	movq	(%rdx), %rax
1:	cmpq	%rdx, %rax
	je	2f
	lock btrl $TIF_CHECKPOINT, TASK_TI_flags - TASK_tasks(%rax)
	movq	(%rax), %rax
	jmp	1b
2:	movq	$tasklist_lock, %rdi
	call	_raw_spin_unlock
	movq	$checkpoint_wait, %rdi
	movl	$TASK_CHECKPOINT, %esi
	xorl	%edx, %edx
	call	__wake_up
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END checkpoint_release

	.section .rodata, "a", @progbits
# Where a task has just cleared its flag; no label, which would be the name of what follows on every stack.
SYM_DATA_START checkpoint_cleared
	.quad	777b
SYM_DATA_END checkpoint_cleared

	.data
SYM_DATA_START checkpoint_request
	.long	0
SYM_DATA_END checkpoint_request
SYM_DATA_START checkpoint_policy
	.long	CHECKPOINT_POLICY_QUEUE
SYM_DATA_END checkpoint_policy
DECLARE_WAIT_QUEUE_HEAD checkpoint_wait

# kernel/sched/wait.c: wait queues. Entries lie on the waiter's stack and are removed by the wake-up.

	.include "kernel.inc"

	.text

# rdi: entry. current waits.
C_FUNC_START_NOTRACE init_wait
	GET_CURRENT %rax
	movq	%rax, WQE_private(%rdi)
	leaq	WQE_entry(%rdi), %rax
	LIST_HEAD_INIT %rax
	FRAME_END
	ret
SYM_FUNC_END init_wait

# rdi: wait_queue_head, rsi: entry, edx: state.
C_FUNC_START prepare_to_wait
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	subq	$8, %rsp
	movq	%rdi, %rbx
	movq	%rsi, %r12
	movl	%edx, %r13d
	call	_raw_spin_lock_irqsave
	leaq	WQE_entry(%r12), %rsi
	cmpq	%rsi, (%rsi)
	jne	1f
	leaq	WQH_head(%rbx), %rcx
	LIST_ADD_TAIL %rsi, %rcx, %rdx
1:	GET_CURRENT %rdx
	xchgl	%r13d, TASK_state(%rdx)		/* set_current_state(): a full barrier */
	movq	%rbx, %rdi
	movq	%rax, %rsi
	call	_raw_spin_unlock_irqrestore
	addq	$8, %rsp
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END prepare_to_wait

# rdi: wait_queue_head, rsi: entry.
C_FUNC_START finish_wait
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	movq	%rsi, %r12
	GET_CURRENT %rax
	movl	$TASK_RUNNING, TASK_state(%rax)
	leaq	WQE_entry(%r12), %rax		/* list_empty_careful(): prev is written last */
	cmpq	%rax, (%rax)
	jne	2f
	cmpq	%rax, 8(%rax)
	je	1f
2:	call	_raw_spin_lock_irqsave
	leaq	WQE_entry(%r12), %rsi
	LIST_DEL %rsi, %rcx, %rdx
	LIST_HEAD_INIT %rsi
	movq	%rbx, %rdi
	movq	%rax, %rsi
	call	_raw_spin_unlock_irqrestore
1:	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END finish_wait

# rdi: wait_queue_head, esi: state mask, edx: how many (0: all).
C_FUNC_START __wake_up
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	subq	$8, %rsp
	movq	%rdi, %rbx
	movl	%esi, %r12d
	movl	%edx, %r13d
	call	_raw_spin_lock_irqsave
	movq	%rax, (%rsp)
	movq	WQH_head(%rbx), %r14
1:	leaq	WQH_head(%rbx), %rax
	cmpq	%rax, %r14
	je	2f
	leaq	-WQE_entry(%r14), %r15
	movq	(%r14), %r14			/* next, before the entry goes */
	movq	WQE_private(%r15), %rdi
	movl	%r12d, %esi
	call	try_to_wake_up
	testl	%eax, %eax
	jz	1b
	leaq	WQE_entry(%r15), %rsi		/* autoremove_wake_function() */
	LIST_DEL %rsi, %rcx, %rdx
	LIST_HEAD_INIT %rsi
	decl	%r13d
	jnz	1b
2:	movq	%rbx, %rdi
	movq	(%rsp), %rsi
	call	_raw_spin_unlock_irqrestore
	addq	$8, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __wake_up

# kernel/sched/completion.c and swait.c: a count of events, and who waits for one. The lock is held from the event to the wake-up,
# so that whoever has waited may give the completion's memory back at once.

	.include "kernel.inc"

	.text

# rdi: completion.
C_FUNC_START_NOTRACE init_completion
	movl	$0, COMPLETION_done(%rdi)
	movl	$0, COMPLETION_lock(%rdi)
	addq	$COMPLETION_head, %rdi
	LIST_HEAD_INIT %rdi
	FRAME_END
	ret
SYM_FUNC_END init_completion

# rdi: completion. Lets one waiter go, now or later.
C_FUNC_START complete
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	leaq	COMPLETION_lock(%rbx), %rdi
	call	_raw_spin_lock_irqsave
	movq	%rax, %r12
	incl	COMPLETION_done(%rbx)
	leaq	COMPLETION_head(%rbx), %rax	/* swake_up_locked() */
	movq	(%rax), %rsi
	cmpq	%rax, %rsi
	je	1f
	LIST_DEL %rsi, %rcx, %rdx
	LIST_HEAD_INIT %rsi
	movq	WQE_private - WQE_entry(%rsi), %rdi
	movl	$TASK_NORMAL, %esi
	call	try_to_wake_up
1:	leaq	COMPLETION_lock(%rbx), %rdi
	movq	%r12, %rsi
	call	_raw_spin_unlock_irqrestore
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END complete

# rdi: completion. Sleeps uninterruptibly until it has been completed once more than it was waited for.
C_FUNC_START wait_for_completion
	pushq	%rbx
	pushq	%r12
	subq	$SIZEOF_wait_queue_entry, %rsp
	movq	%rdi, %rbx
	movq	%rsp, %r12
	movq	%r12, %rdi
	call	init_wait
	leaq	COMPLETION_lock(%rbx), %rdi
	call	_raw_spin_lock_irq
1:	cmpl	$0, COMPLETION_done(%rbx)
	jne	3f
	leaq	WQE_entry(%r12), %rsi		/* __prepare_to_swait() */
	cmpq	%rsi, (%rsi)
	jne	2f
	leaq	COMPLETION_head(%rbx), %rcx
	LIST_ADD_TAIL %rsi, %rcx, %rdx
2:	GET_CURRENT %rdx
	movl	$TASK_UNINTERRUPTIBLE, TASK_state(%rdx)
	leaq	COMPLETION_lock(%rbx), %rdi
	call	_raw_spin_unlock_irq
	call	schedule
	leaq	COMPLETION_lock(%rbx), %rdi
	call	_raw_spin_lock_irq
	jmp	1b
3:	GET_CURRENT %rdx			/* __finish_swait() */
	movl	$TASK_RUNNING, TASK_state(%rdx)
	leaq	WQE_entry(%r12), %rsi
	LIST_DEL %rsi, %rcx, %rdx
	decl	COMPLETION_done(%rbx)
	leaq	COMPLETION_lock(%rbx), %rdi
	call	_raw_spin_unlock_irq
	addq	$SIZEOF_wait_queue_entry, %rsp
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END wait_for_completion

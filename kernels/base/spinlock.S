# kernel/locking/spinlock.c and mutex.c: spinlocks and the sleeping mutex.
# DIFFERS: a test-and-set word instead of a queued spinlock: 0 free, 1 held; not fair.

	.include "kernel.inc"

	.text

# rdi: lock word.
C_FUNC_START _raw_spin_lock
	PREEMPT_DISABLE
	movl	$1, %edx
1:	xorl	%eax, %eax
	lock cmpxchgl %edx, (%rdi)
	jne	2f
	FRAME_END
	ret
2:	pause
	cmpl	$0, (%rdi)
	jne	2b
	jmp	1b
SYM_FUNC_END _raw_spin_lock

C_FUNC_START _raw_spin_unlock
	movl	$0, (%rdi)
	PREEMPT_ENABLE
	FRAME_END
	ret
SYM_FUNC_END _raw_spin_unlock

# Returns the flags to give to _raw_spin_unlock_irqrestore.
C_FUNC_START _raw_spin_lock_irqsave
	pushfq
	popq	%rsi
	cli
	PREEMPT_DISABLE
	movl	$1, %edx
1:	xorl	%eax, %eax
	lock cmpxchgl %edx, (%rdi)
	jne	2f
	movq	%rsi, %rax
	FRAME_END
	ret
2:	pause
	cmpl	$0, (%rdi)
	jne	2b
	jmp	1b
SYM_FUNC_END _raw_spin_lock_irqsave

# rdi: lock word, rsi: flags.
C_FUNC_START _raw_spin_unlock_irqrestore
	movl	$0, (%rdi)
	testl	$X86_EFLAGS_IF, %esi
	jz	1f
	sti
1:	PREEMPT_ENABLE
	FRAME_END
	ret
SYM_FUNC_END _raw_spin_unlock_irqrestore

C_FUNC_START _raw_spin_lock_irq
	cli
	PREEMPT_DISABLE
	movl	$1, %edx
1:	xorl	%eax, %eax
	lock cmpxchgl %edx, (%rdi)
	jne	2f
	FRAME_END
	ret
2:	pause
	cmpl	$0, (%rdi)
	jne	2b
	jmp	1b
SYM_FUNC_END _raw_spin_lock_irq

C_FUNC_START _raw_spin_unlock_irq
	movl	$0, (%rdi)
	sti
	PREEMPT_ENABLE
	FRAME_END
	ret
SYM_FUNC_END _raw_spin_unlock_irq

# rdi: mutex.
C_FUNC_START mutex_lock
	pushq	%rbx
	movq	%rdi, %rbx
	GET_CURRENT %rdx
	xorl	%eax, %eax
	lock cmpxchgq %rdx, MUTEX_owner(%rbx)
	je	1f
	movq	%rbx, %rdi
	call	__mutex_lock_slowpath
1:	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END mutex_lock

C_FUNC_START __mutex_lock_slowpath
	pushq	%rbx
	pushq	%r12
	subq	$SIZEOF_wait_queue_entry, %rsp
	movq	%rdi, %rbx
	movq	%rsp, %r12
	movq	%r12, %rdi
	call	init_wait
1:	leaq	MUTEX_wait(%rbx), %rdi
	movq	%r12, %rsi
	movl	$TASK_UNINTERRUPTIBLE, %edx
	call	prepare_to_wait
	GET_CURRENT %rdx
	xorl	%eax, %eax
	lock cmpxchgq %rdx, MUTEX_owner(%rbx)
	je	2f
	call	schedule
	jmp	1b
2:	leaq	MUTEX_wait(%rbx), %rdi
	movq	%r12, %rsi
	call	finish_wait
	addq	$SIZEOF_wait_queue_entry, %rsp
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __mutex_lock_slowpath

C_FUNC_START mutex_unlock
	movq	$0, MUTEX_owner(%rdi)
	addq	$MUTEX_wait, %rdi
	movl	$TASK_NORMAL, %esi
	movl	$1, %edx
	call	__wake_up
	FRAME_END
	ret
SYM_FUNC_END mutex_unlock

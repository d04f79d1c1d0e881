# kernel/freezer.c: the refrigerator, and who is put into it. A task freezes where it asks, at try_to_freeze(): a kernel thread
# once round its loop if it has declared itself freezable, a user task on its way through get_signal(); one that sleeps in
# TASK_FREEZABLE is frozen there, and `saved_state` says how it slept.
# Locking: freezer_lock guards the transitions between freezing and frozen, rq->lock inside of it the states; a task's state alone
# says that it is frozen.
# DIFFERS: freezer_active is a word, not a static key; no cgroups.

	.include "kernel.inc"

	.text

# rdi: task. Returns 1 in eax if it is to freeze. include/linux/freezer.h
C_FUNC_START_NOTRACE freezing
	xorl	%eax, %eax
	cmpl	$0, freezer_active(%rip)
	je	1f
	call	freezing_slow_path
1:	FRAME_END
	ret
SYM_FUNC_END freezing

# rdi: task.
C_FUNC_START freezing_slow_path
	xorl	%eax, %eax
	testl	$PF_NOFREEZE, TASK_flags(%rdi)
	jnz	2f
	cmpl	$0, pm_nosig_freezing(%rip)
	jne	1f
	cmpl	$0, pm_freezing(%rip)
	je	2f
	testl	$PF_KTHREAD, TASK_flags(%rdi)
	jnz	2f
1:	movl	$1, %eax
2:	FRAME_END
	ret
SYM_FUNC_END freezing_slow_path

# edi: 1 if it comes out when the thread is to stop. current freezes for as long as it is to. Returns 1 if it was frozen.
C_FUNC_START __refrigerator
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	movl	%edi, %r13d
	xorl	%r12d, %r12d
	GET_CURRENT %rbx
1:	movl	$TASK_FROZEN, %eax
	xchgl	%eax, TASK_state(%rbx)
	movq	$freezer_lock, %rdi
	call	_raw_spin_lock_irq
	movq	%rbx, %rdi
	call	freezing
	movl	%eax, %r14d
	testl	%r13d, %r13d
	jz	2f
	btl	$KTHREAD_SHOULD_STOP, TASK_kthread_flags(%rbx)
	jnc	2f
	xorl	%r14d, %r14d
2:	movq	$freezer_lock, %rdi
	call	_raw_spin_unlock_irq
	testl	%r14d, %r14d
	jz	3f
	movl	$1, %r12d
	call	schedule
	jmp	1b
3:	movl	$TASK_RUNNING, TASK_state(%rbx)
	movl	%r12d, %eax
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __refrigerator

# current freezes here if it is to. Returns 1 if it was frozen. Of a kernel thread it is an annotated point of kGraft too.
C_FUNC_START_NOTRACE try_to_freeze
	GET_CURRENT %rdi
	testl	$PF_KTHREAD, TASK_flags(%rdi)
	jz	1f
	call	kgr_task_safe
	GET_CURRENT %rdi
1:	call	freezing
	testl	%eax, %eax
	jz	2f
	xorl	%edi, %edi
	call	__refrigerator
2:	FRAME_END
	ret
SYM_FUNC_END try_to_freeze

# current, a kernel thread, may be frozen from now on.
C_FUNC_START set_freezable
	pushq	%rbx
	subq	$8, %rsp
	GET_CURRENT %rbx
	movq	$freezer_lock, %rdi
	call	_raw_spin_lock_irq
	andl	$~PF_NOFREEZE, TASK_flags(%rbx)
	movq	$freezer_lock, %rdi
	call	_raw_spin_unlock_irq
	call	try_to_freeze
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END set_freezable

# kthread_should_stop() of a thread that may be frozen: it comes out of the refrigerator to stop. kernel/kthread.c
C_FUNC_START kthread_freezable_should_stop
	GET_CURRENT %rdi
	call	freezing
	testl	%eax, %eax
	jz	1f
	movl	$1, %edi
	call	__refrigerator
1:	call	kthread_should_stop
	FRAME_END
	ret
SYM_FUNC_END kthread_freezable_should_stop

# rdi: task. Freezes it where it sleeps, if it says by its state that it may be. Returns 1 if it did.
# kernel: __freeze_task(), __set_task_frozen() under task_call_func()
C_FUNC_START __freeze_task
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	xorl	%r12d, %r12d
	movl	TASK_TI_cpu(%rbx), %eax
	movq	__per_cpu_offset(,%rax,8), %rdi
	addq	$runqueues, %rdi
	call	_raw_spin_lock_irqsave
	movl	TASK_TI_cpu(%rbx), %ecx
	movq	__per_cpu_offset(,%rcx,8), %rdi
	addq	$runqueues, %rdi
	cmpl	$0, TASK_on_rq(%rbx)
	jne	1f
	cmpq	%rbx, RQ_curr(%rdi)		/* task_curr() */
	je	1f
	movl	TASK_state(%rbx), %edx
	testl	$TASK_FREEZABLE, %edx
	jz	1f
	movl	%edx, TASK_saved_state(%rbx)
	movl	$TASK_FROZEN, TASK_state(%rbx)
	movl	$1, %r12d
1:	movq	%rax, %rsi
	call	_raw_spin_unlock_irqrestore
	movl	%r12d, %eax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __freeze_task

# rdi: a frozen task. Lets it sleep on as it slept. Returns 0 if it was not asleep, or has been woken since.
# kernel: __restore_freezer_state() under task_call_func()
C_FUNC_START __restore_freezer_state
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	xorl	%r12d, %r12d
	movl	TASK_TI_cpu(%rbx), %eax
	movq	__per_cpu_offset(,%rax,8), %rdi
	addq	$runqueues, %rdi
	call	_raw_spin_lock_irqsave
	xorl	%edx, %edx
	xchgl	%edx, TASK_saved_state(%rbx)
	testl	%edx, %edx
	jz	1f
	movl	%edx, TASK_state(%rbx)
	movl	$1, %r12d
1:	movl	TASK_TI_cpu(%rbx), %ecx
	movq	__per_cpu_offset(,%rcx,8), %rdi
	addq	$runqueues, %rdi
	movq	%rax, %rsi
	call	_raw_spin_unlock_irqrestore
	movl	%r12d, %eax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __restore_freezer_state

# rdi: task. Asks it to freeze, if it is to. Returns 1 if it was asked, 0 if it is not to or is frozen.
C_FUNC_START freeze_task
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	subq	$8, %rsp
	movq	%rdi, %rbx
	xorl	%r12d, %r12d
	movq	$freezer_lock, %rdi
	call	_raw_spin_lock_irqsave
	movq	%rax, %r13
	movq	%rbx, %rdi
	call	freezing
	testl	%eax, %eax
	jz	2f
	testl	$TASK_FROZEN, TASK_state(%rbx)
	jnz	2f
	movq	%rbx, %rdi
	call	__freeze_task
	testl	%eax, %eax
	jnz	2f
	movl	$1, %r12d
	movq	%rbx, %rdi
	testl	$PF_KTHREAD, TASK_flags(%rbx)
	jnz	1f
	call	send_fake_signal
	jmp	2f
1:	movl	$TASK_NORMAL, %esi
	call	wake_up_state
2:	movq	$freezer_lock, %rdi
	movq	%r13, %rsi
	call	_raw_spin_unlock_irqrestore
	movl	%r12d, %eax
	addq	$8, %rsp
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END freeze_task

# rdi: task, no longer to freeze. Lets it out.
C_FUNC_START __thaw_task
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	movq	$freezer_lock, %rdi
	call	_raw_spin_lock_irqsave
	movq	%rax, %r12
	testl	$TASK_FROZEN, TASK_state(%rbx)
	jz	1f
	movq	%rbx, %rdi
	call	__restore_freezer_state
	testl	%eax, %eax
	jnz	1f
	movq	%rbx, %rdi
	movl	$TASK_FROZEN, %esi
	call	wake_up_state
1:	movq	$freezer_lock, %rdi
	movq	%r12, %rsi
	call	_raw_spin_unlock_irqrestore
	xorl	%eax, %eax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __thaw_task

	.data
# How many freezings are under way.
SYM_DATA_START freezer_active
	.long	0
SYM_DATA_END freezer_active
# User tasks are to freeze; then everybody who may.
SYM_DATA_START pm_freezing
	.long	0
SYM_DATA_END pm_freezing
SYM_DATA_START pm_nosig_freezing
	.long	0
SYM_DATA_END pm_nosig_freezing
SYM_DATA_START freezer_lock
	.long	0
SYM_DATA_END freezer_lock

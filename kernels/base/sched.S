# kernel/sched/core.c: the run queues, schedule() and the wake-ups.
# Locking: everything in struct rq, and state/on_rq of a task of that CPU, is under rq->lock with
# interrupts off; the lock is taken by prev and released by next (finish_task_switch).
# Every switch happens at a preempt_count of exactly 2: preempt_disable() and rq->lock.
# DIFFERS: one round-robin queue per CPU below the cpu_stopper; tasks never migrate; a wake-up
# preempts only a task of lower priority: the idle task, or anybody for patchd and a cpu_stopper.

	.include "kernel.inc"

	.text

# rdi: cpu. Returns its rq.
C_FUNC_START_NOTRACE cpu_rq
	movl	%edi, %edi
	movq	__per_cpu_offset(,%rdi,8), %rax
	addq	$runqueues, %rax
	FRAME_END
	ret
SYM_FUNC_END cpu_rq

# rdi: rq. Its current task shall call schedule() soon. rq->lock is held.
C_FUNC_START resched_curr
	movq	RQ_curr(%rdi), %rax
	lock btsl $TIF_NEED_RESCHED, TASK_TI_flags(%rax)
	jc	2f
	movl	RQ_cpu(%rdi), %edi
	cmpl	%edi, %gs:pcpu_hot+X86_cpu_number
	jne	1f
	andl	$~PREEMPT_NEED_RESCHED, %gs:pcpu_hot+X86_preempt_count
	jmp	2f
1:	call	arch_smp_send_reschedule
2:	FRAME_END
	ret
SYM_FUNC_END resched_curr

# rdi: rq, rsi: task.
C_FUNC_START enqueue_task
	movl	$1, TASK_on_rq(%rsi)
	cmpq	%rsi, RQ_stop(%rdi)
	je	1f
	leaq	RQ_queue(%rdi), %rax
	cmpl	$DEFAULT_PRIO, TASK_prio(%rsi)
	jae	2f
	movq	(%rax), %rax			/* before everybody */
2:	addq	$TASK_run_list, %rsi
	LIST_ADD_TAIL %rsi, %rax, %rdx
	incl	RQ_nr_running(%rdi)
1:	FRAME_END
	ret
SYM_FUNC_END enqueue_task

C_FUNC_START dequeue_task
	movl	$0, TASK_on_rq(%rsi)
	cmpq	%rsi, RQ_stop(%rdi)
	je	1f
	addq	$TASK_run_list, %rsi
	LIST_DEL %rsi, %rax, %rdx
	decl	RQ_nr_running(%rdi)
1:	FRAME_END
	ret
SYM_FUNC_END dequeue_task

# rdi: rq, rsi: the task that was woken.
C_FUNC_START wakeup_preempt
	movq	RQ_curr(%rdi), %rax
	movl	TASK_prio(%rsi), %edx
	cmpl	TASK_prio(%rax), %edx
	jae	1f
	call	resched_curr
1:	FRAME_END
	ret
SYM_FUNC_END wakeup_preempt

# rdi: task, esi: state mask. Returns 1 if it was woken, 0 if its state is not in the mask.
C_FUNC_START try_to_wake_up
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	subq	$8, %rsp
	movq	%rdi, %rbx
	movl	%esi, %r12d
	xorl	%r15d, %r15d
	movl	TASK_TI_cpu(%rbx), %eax
	movq	__per_cpu_offset(,%rax,8), %r13
	addq	$runqueues, %r13
	movq	%r13, %rdi
	call	_raw_spin_lock_irqsave
	movq	%rax, %r14
	testl	%r12d, TASK_state(%rbx)		/* ttwu_state_match() */
	jz	3f
	cmpl	$0, TASK_on_rq(%rbx)
	jne	1f
	movq	%r13, %rdi
	movq	%rbx, %rsi
	call	enqueue_task
	movq	%r13, %rdi
	movq	%rbx, %rsi
	call	wakeup_preempt
1:	movl	$TASK_RUNNING, TASK_state(%rbx)
	movl	$1, %r15d
2:	movq	%r13, %rdi
	movq	%r14, %rsi
	call	_raw_spin_unlock_irqrestore
	movl	%r15d, %eax
	addq	$8, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
3:	testl	%r12d, TASK_saved_state(%rbx)
	jz	2b
	movl	$TASK_RUNNING, TASK_saved_state(%rbx)	/* it is frozen where it slept: __thaw_task() wakes it */
	jmp	2b
SYM_FUNC_END try_to_wake_up

# rdi: task.
C_FUNC_START wake_up_process
	movl	$TASK_NORMAL, %esi
	call	try_to_wake_up
	FRAME_END
	ret
SYM_FUNC_END wake_up_process

# rdi: task, esi: state mask.
C_FUNC_START wake_up_state
	call	try_to_wake_up
	FRAME_END
	ret
SYM_FUNC_END wake_up_state

# rdi: a task that kernel_clone has just made and nobody has woken. Puts it on a CPU: round robin.
C_FUNC_START wake_up_new_task
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	call	select_task_rq
	movl	%eax, TASK_TI_cpu(%rbx)
	movl	%eax, %edi
	call	cpu_rq
	movq	%rax, %r12
	movq	%rax, %rdi
	call	_raw_spin_lock_irqsave
	pushq	%rax
	subq	$8, %rsp
	movl	$TASK_RUNNING, TASK_state(%rbx)
	movq	%r12, %rdi
	movq	%rbx, %rsi
	call	enqueue_task
	movq	%r12, %rdi
	movq	%rbx, %rsi
	call	wakeup_preempt
	addq	$8, %rsp
	popq	%rsi
	movq	%r12, %rdi
	call	_raw_spin_unlock_irqrestore
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END wake_up_new_task

# Returns the next online CPU in turn.
C_FUNC_START select_task_rq
	movl	$1, %eax
	lock xaddl %eax, next_rq_cpu(%rip)
	xorl	%edx, %edx
	divl	nr_cpu_ids(%rip)
	movl	%edx, %eax
	FRAME_END
	ret
SYM_FUNC_END select_task_rq

# rdi: task. Enters the kernel soon if it runs on another CPU.
C_FUNC_START kick_process
	movl	TASK_TI_cpu(%rdi), %eax
	cmpl	%eax, %gs:pcpu_hot+X86_cpu_number
	je	1f
	cmpl	$0, TASK_on_cpu(%rdi)
	je	1f
	movl	%eax, %edi
	call	arch_smp_send_reschedule
1:	FRAME_END
	ret
SYM_FUNC_END kick_process

# rdi: rq, rsi: prev. Returns the task to run. A prev that stays runnable goes to the tail.
C_FUNC_START pick_next_task
	cmpl	$0, TASK_on_rq(%rsi)
	je	1f
	cmpl	$DEFAULT_PRIO, TASK_prio(%rsi)
	jb	1f				/* the stopper, patchd: they stay in front */
	addq	$TASK_run_list, %rsi
	LIST_DEL %rsi, %rax, %rdx
	leaq	RQ_queue(%rdi), %rax
	LIST_ADD_TAIL %rsi, %rax, %rdx
1:	movq	RQ_stop(%rdi), %rax
	testq	%rax, %rax
	jz	2f
	cmpl	$0, TASK_on_rq(%rax)
	jne	4f
2:	leaq	RQ_queue(%rdi), %rdx
	movq	(%rdx), %rax
	cmpq	%rdx, %rax
	je	3f
	subq	$TASK_run_list, %rax
	movl	$SCHED_SLICE, TASK_time_slice(%rax)
	jmp	4f
3:	movq	RQ_idle(%rdi), %rax
4:	FRAME_END
	ret
SYM_FUNC_END pick_next_task

# edi: SM_NONE or SM_PREEMPT. Preemption is disabled once; interrupts are on again on return.
C_FUNC_START_NOTRACE __schedule
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	subq	$8, %rsp
	movl	%edi, %r13d
	movq	%gs:this_cpu_off, %rbx
	addq	$runqueues, %rbx
	movq	RQ_curr(%rbx), %r12		/* prev */
	cli
	movq	%rbx, %rdi
	call	_raw_spin_lock
	testl	%r13d, %r13d
	jnz	2f				/* preempted: stays runnable, whatever its state */
	incq	TASK_nvcsw(%r12)		/* rcu_tasks_qs() */
	movl	TASK_state(%r12), %eax
	testl	%eax, %eax
	jz	2f
	testl	$(TASK_INTERRUPTIBLE | TASK_WAKEKILL), %eax
	jz	1f
	testl	$_TIF_ANY_SIGNAL, TASK_TI_flags(%r12)
	jz	1f
	movl	$TASK_RUNNING, TASK_state(%r12)	/* signal_pending_state() */
	jmp	2f
1:	movq	%rbx, %rdi
	movq	%r12, %rsi
	call	dequeue_task
2:	movq	%rbx, %rdi
	movq	%r12, %rsi
	call	pick_next_task
	lock btrl $TIF_NEED_RESCHED, TASK_TI_flags(%r12)
	orl	$PREEMPT_NEED_RESCHED, %gs:pcpu_hot+X86_preempt_count
	cmpq	%r12, %rax
	je	3f
	incq	RQ_nr_switches(%rbx)
	movq	%rax, RQ_curr(%rbx)
	movl	$1, TASK_on_cpu(%rax)
	/* context_switch() */
	movq	%r12, %rdi
	movq	%rax, %rsi
	call	__switch_to_asm
	movq	%rax, %rdi
	call	finish_task_switch
	jmp	4f
3:	movq	%rbx, %rdi
	call	_raw_spin_unlock_irq
4:	addq	$8, %rsp
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __schedule

# rdi: the task that ran before on this CPU. Runs on the new task's stack, releases rq->lock.
C_FUNC_START finish_task_switch
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	movl	TASK_state(%rbx), %r12d
	movl	$0, TASK_on_cpu(%rbx)
	movq	%gs:this_cpu_off, %rdi
	addq	$runqueues, %rdi
	call	_raw_spin_unlock_irq
	cmpl	$TASK_DEAD, %r12d
	jne	1f
	movq	%rbx, %rdi
	call	put_task_struct
1:	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END finish_task_switch

# rdi: prev. First thing a new task does.
C_FUNC_START schedule_tail
	call	finish_task_switch
	PREEMPT_ENABLE
	FRAME_END
	ret
SYM_FUNC_END schedule_tail

C_FUNC_START schedule
1:	PREEMPT_DISABLE
	xorl	%edi, %edi			/* SM_NONE */
	call	__schedule
	PREEMPT_ENABLE_NO_RESCHED
	GET_CURRENT %rax
	testl	$_TIF_NEED_RESCHED, TASK_TI_flags(%rax)
	jnz	1b
	FRAME_END
	ret
SYM_FUNC_END schedule

# The idle task's: its preempt_count is 1 for ever.
C_FUNC_START schedule_idle
1:	xorl	%edi, %edi
	call	__schedule
	GET_CURRENT %rax
	testl	$_TIF_NEED_RESCHED, TASK_TI_flags(%rax)
	jnz	1b
	FRAME_END
	ret
SYM_FUNC_END schedule_idle

# From preempt_enable() when the count has become 0 and a reschedule is wanted.
C_FUNC_START_NOTRACE preempt_schedule
	pushfq
	popq	%rax
	testl	$X86_EFLAGS_IF, %eax
	jz	2f
1:	PREEMPT_DISABLE
	movl	$SM_PREEMPT, %edi
	call	__schedule
	PREEMPT_ENABLE_NO_RESCHED
	GET_CURRENT %rax
	testl	$_TIF_NEED_RESCHED, TASK_TI_flags(%rax)
	jnz	1b
2:	FRAME_END
	ret
SYM_FUNC_END preempt_schedule

# From an interrupt's return to kernel code that may be preempted; interrupts are off, on both ends.
C_FUNC_START preempt_schedule_irq
1:	PREEMPT_DISABLE
	sti
	movl	$SM_PREEMPT, %edi
	call	__schedule
	cli
	PREEMPT_ENABLE_NO_RESCHED
	GET_CURRENT %rax
	testl	$_TIF_NEED_RESCHED, TASK_TI_flags(%rax)
	jnz	1b
	FRAME_END
	ret
SYM_FUNC_END preempt_schedule_irq

C_FUNC_START __cond_resched
	cmpl	$0, klp_resched_enabled(%rip)	/* klp_cond_resched() */
	je	3f
	call	__klp_sched_try_switch
3:	cmpl	$0, %gs:pcpu_hot+X86_preempt_count
	jne	1f
	call	preempt_schedule
	movl	$1, %eax
	jmp	2f
1:	xorl	%eax, %eax
2:	FRAME_END
	ret
SYM_FUNC_END __cond_resched

# From the timer interrupt.
C_FUNC_START sched_tick
	movq	%gs:this_cpu_off, %rdi
	addq	$runqueues, %rdi
	movq	RQ_curr(%rdi), %rax
	decl	TASK_time_slice(%rax)
	jg	1f
	movl	$SCHED_SLICE, TASK_time_slice(%rax)
	cmpl	$2, RQ_nr_running(%rdi)
	jb	1f
	call	resched_curr
1:	FRAME_END
	ret
SYM_FUNC_END sched_tick

# kernel/sched/syscalls.c
C_FUNC_START __x64_sys_sched_yield
	call	schedule
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_sched_yield

	.data
SYM_DATA_START next_rq_cpu
	.long	0
SYM_DATA_END next_rq_cpu

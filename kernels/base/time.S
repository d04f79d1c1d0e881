# kernel/time: jiffies, the tick, schedule_timeout and nanosleep.
# Locking: a CPU's timer list is touched by that CPU only, with interrupts off.
# DIFFERS: no timer wheel: one list per CPU sorted by expiry; a task has one timer, in its task_struct.

	.include "kernel.inc"

	.text

# From sysvec_apic_timer_interrupt, in interrupt context.
C_FUNC_START tick_handle_periodic
	cmpl	$0, %gs:pcpu_hot+X86_cpu_number
	jne	1f
	incq	jiffies(%rip)			/* tick_do_timer_cpu */
1:	movq	%gs:timer_base, %rax
	testq	%rax, %rax
	jz	2f
	movq	TASK_timer_expires(%rax), %rdx
	cmpq	jiffies(%rip), %rdx
	ja	2f
	call	run_local_timers
2:	call	sched_tick
	FRAME_END
	ret
SYM_FUNC_END tick_handle_periodic

# Wakes every task of this CPU whose timer has expired.
C_FUNC_START run_local_timers
1:	movq	%gs:timer_base, %rdi
	testq	%rdi, %rdi
	jz	2f
	movq	TASK_timer_expires(%rdi), %rax
	cmpq	jiffies(%rip), %rax
	ja	2f
	movq	TASK_timer_next(%rdi), %rax
	movq	%rax, %gs:timer_base
	movq	$0, TASK_timer_pending(%rdi)
	call	process_timeout
	jmp	1b
2:	FRAME_END
	ret
SYM_FUNC_END run_local_timers

# rdi: task.
C_FUNC_START process_timeout
	movl	$TASK_NORMAL, %esi
	call	try_to_wake_up
	FRAME_END
	ret
SYM_FUNC_END process_timeout

# rdi: current, with timer_expires set; interrupts are off.
C_FUNC_START add_timer
	movq	$1, TASK_timer_pending(%rdi)
	movq	TASK_timer_expires(%rdi), %rax
	movq	%gs:this_cpu_off, %rcx
	leaq	timer_base - TASK_timer_next(%rcx), %rcx	/* as if the base were a task */
1:	movq	TASK_timer_next(%rcx), %rdx
	testq	%rdx, %rdx
	jz	2f
	cmpq	%rax, TASK_timer_expires(%rdx)
	ja	2f
	movq	%rdx, %rcx
	jmp	1b
2:	movq	%rdx, TASK_timer_next(%rdi)
	movq	%rdi, TASK_timer_next(%rcx)
	FRAME_END
	ret
SYM_FUNC_END add_timer

# rdi: current; interrupts are off.
C_FUNC_START timer_delete
	movq	%gs:this_cpu_off, %rcx
	leaq	timer_base - TASK_timer_next(%rcx), %rcx
1:	movq	TASK_timer_next(%rcx), %rdx
	testq	%rdx, %rdx
	jz	3f
	cmpq	%rdi, %rdx
	je	2f
	movq	%rdx, %rcx
	jmp	1b
2:	movq	TASK_timer_next(%rdx), %rax
	movq	%rax, TASK_timer_next(%rcx)
	movq	$0, TASK_timer_pending(%rdx)
3:	FRAME_END
	ret
SYM_FUNC_END timer_delete

# rdi: ticks, negative for ever. current's state is set. Returns the ticks left, 0 if it timed out.
C_FUNC_START schedule_timeout
	pushq	%rbx
	pushq	%r12
	testq	%rdi, %rdi
	js	3f
	GET_CURRENT %rbx
	cli
	addq	jiffies(%rip), %rdi
	movq	%rdi, %r12
	movq	%rdi, TASK_timer_expires(%rbx)
	movq	%rbx, %rdi
	call	add_timer
	sti
	call	schedule
	cli
	cmpq	$0, TASK_timer_pending(%rbx)
	je	1f
	movq	%rbx, %rdi
	call	timer_delete
1:	sti
	subq	jiffies(%rip), %r12
	movl	$0, %eax
	cmovsq	%rax, %r12
	movq	%r12, %rax
2:	popq	%r12
	popq	%rbx
	FRAME_END
	ret
3:	movq	%rdi, %rbx			/* MAX_SCHEDULE_TIMEOUT */
	call	schedule
	movq	%rbx, %rax
	jmp	2b
SYM_FUNC_END schedule_timeout

# rdi: ticks.
C_FUNC_START schedule_timeout_interruptible
	GET_CURRENT %rax
	movl	$TASK_INTERRUPTIBLE, TASK_state(%rax)
	call	schedule_timeout
	FRAME_END
	ret
SYM_FUNC_END schedule_timeout_interruptible

# rdi: ticks.
C_FUNC_START schedule_timeout_uninterruptible
	GET_CURRENT %rax
	movl	$TASK_UNINTERRUPTIBLE, TASK_state(%rax)
	call	schedule_timeout
	FRAME_END
	ret
SYM_FUNC_END schedule_timeout_uninterruptible

# rdi: jiffies to sleep until. Returns 0 or -ERESTART_RESTARTBLOCK.
C_FUNC_START do_nanosleep
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
1:	movq	%rbx, %rdi
	xorl	%eax, %eax
	subq	jiffies(%rip), %rdi
	jbe	2f
	GET_CURRENT %rax
	testl	$_TIF_ANY_SIGNAL, TASK_TI_flags(%rax)
	movl	$0, %eax
	jnz	3f
	call	schedule_timeout_interruptible
	jmp	1b
3:	GET_CURRENT %rax
	movq	%rbx, TASK_restart_expires(%rax)
	movq	$hrtimer_nanosleep_restart, TASK_restart_fn(%rax)
	movq	$-ERESTART_RESTARTBLOCK, %rax
2:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END do_nanosleep

# rdi: task (its restart_block).
C_FUNC_START hrtimer_nanosleep_restart
	movq	TASK_restart_expires(%rdi), %rdi
	call	do_nanosleep
	FRAME_END
	ret
SYM_FUNC_END hrtimer_nanosleep_restart

# nanosleep(ticks). DIFFERS: the argument is a number of ticks.
C_FUNC_START __x64_sys_nanosleep
	movq	RDI(%rdi), %rdi
	addq	jiffies(%rip), %rdi
	call	do_nanosleep
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_nanosleep

	.data
SYM_DATA_START jiffies
	.quad	0
SYM_DATA_END jiffies

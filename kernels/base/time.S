# kernel/time: the tick, jiffies, timers by the tick and timers by the clock, nanosleep.
# The local APIC's timer is in TSC-deadline mode: each CPU is interrupted at the next tick or at its first hrtimer,
# whichever comes first, as in the kernel's high-resolution mode.
# Locking: a CPU's timer lists are touched by that CPU only, with interrupts off.
# DIFFERS: no timer wheel and no rbtree: a list sorted by expiry, searched from its end; a task has one timer of each
# kind, in its task_struct; the clock is the CPU's own TSC, and tasks do not migrate.

	.include "kernel.inc"

	.set	MSR_IA32_TSC_DEADLINE, 0x6e0

# rdtsc_ordered(), into rax.
.macro RDTSC_ORDERED
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
.endm

	.text

# From sysvec_apic_timer_interrupt, in interrupt context.
C_FUNC_START hrtimer_interrupt
	RDTSC_ORDERED
	xorl	%ecx, %ecx
1:	cmpq	%rax, %gs:next_tick
	ja	2f
	addq	$TICK_INSNS, %gs:next_tick
	incq	%rcx
	jmp	1b
2:	testq	%rcx, %rcx
	jz	3f
	movq	%rcx, %rdi
	call	tick_sched_handle
3:	call	hrtimer_run_queues
	call	tick_program_event
	FRAME_END
	ret
SYM_FUNC_END hrtimer_interrupt

# rdi: ticks that are due, more than one if this CPU could not be interrupted.
C_FUNC_START tick_sched_handle
	cmpl	$0, %gs:pcpu_hot+X86_cpu_number
	jne	1f
	addq	%rdi, jiffies(%rip)		/* tick_do_timer_cpu */
1:	movq	%gs:this_cpu_off, %rdi
	addq	$timer_base, %rdi
	cmpq	%rdi, (%rdi)
	je	2f
	movq	jiffies(%rip), %rsi
	movl	$TASK_timer, %edx
	call	expire_timers
2:	call	sched_tick
	FRAME_END
	ret
SYM_FUNC_END tick_sched_handle

C_FUNC_START hrtimer_run_queues
	RDTSC_ORDERED
	movq	%rax, %rsi
	movq	%gs:this_cpu_off, %rdi
	addq	$hrtimer_base, %rdi
	movl	$TASK_hrtimer, %edx
	call	expire_timers
	FRAME_END
	ret
SYM_FUNC_END hrtimer_run_queues

# The next interrupt of the timer: interrupts are off.
C_FUNC_START tick_program_event
	movq	%gs:next_tick, %rax
	movq	%gs:this_cpu_off, %rdx
	addq	$hrtimer_base, %rdx
	movq	(%rdx), %rcx
	cmpq	%rdx, %rcx
	je	1f
	cmpq	%rax, TIMER_expires - TIMER_entry(%rcx)
	cmovbq	TIMER_expires - TIMER_entry(%rcx), %rax
1:	movq	%rax, %rdx
	shrq	$32, %rdx
	movl	$MSR_IA32_TSC_DEADLINE, %ecx
	wrmsr
	FRAME_END
	ret
SYM_FUNC_END tick_program_event

# rdi: base, rsi: now, rdx: where in its task such a timer is. Wakes every task whose timer has expired.
C_FUNC_START expire_timers
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	subq	$8, %rsp
	movq	%rdi, %rbx
	movq	%rsi, %r12
	movq	%rdx, %r13
1:	movq	(%rbx), %rdi
	cmpq	%rbx, %rdi
	je	2f
	subq	$TIMER_entry, %rdi
	cmpq	%r12, TIMER_expires(%rdi)
	ja	2f
	call	detach_timer
	subq	%r13, %rdi
	call	process_timeout
	jmp	1b
2:	addq	$8, %rsp
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END expire_timers

# rdi: task.
C_FUNC_START process_timeout
	movl	$TASK_NORMAL, %esi
	call	try_to_wake_up
	FRAME_END
	ret
SYM_FUNC_END process_timeout

# rdi: timer, which stays in rdi.
C_FUNC_START_NOTRACE detach_timer
	leaq	TIMER_entry(%rdi), %rsi
	LIST_DEL %rsi, %rax, %rdx
	movq	$0, (%rsi)
	FRAME_END
	ret
SYM_FUNC_END detach_timer

# rdi: timer with `expires` set, rsi: base; interrupts are off. Goes behind those that expire at the same time.
C_FUNC_START enqueue_timer
	movq	TIMER_expires(%rdi), %rax
	movq	8(%rsi), %rcx
1:	cmpq	%rsi, %rcx
	je	2f
	cmpq	%rax, TIMER_expires - TIMER_entry(%rcx)
	jbe	2f
	movq	8(%rcx), %rcx
	jmp	1b
2:	addq	$TIMER_entry, %rdi		/* list_add(entry, rcx) */
	movq	(%rcx), %rdx
	movq	%rdx, (%rdi)
	movq	%rcx, 8(%rdi)
	movq	%rdi, 8(%rdx)
	movq	%rdi, (%rcx)
	FRAME_END
	ret
SYM_FUNC_END enqueue_timer

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
	movq	%rdi, TASK_timer + TIMER_expires(%rbx)
	leaq	TASK_timer(%rbx), %rdi
	movq	%gs:this_cpu_off, %rsi
	addq	$timer_base, %rsi
	call	enqueue_timer
	sti
	call	schedule
	cli
	cmpq	$0, TASK_timer + TIMER_entry(%rbx)
	je	1f
	leaq	TASK_timer(%rbx), %rdi
	call	detach_timer
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

# rdi: the TSC at which to wake. current's state is set. Returns 0 if it timed out, -EINTR otherwise.
C_FUNC_START schedule_hrtimeout
	pushq	%rbx
	subq	$8, %rsp
	GET_CURRENT %rbx
	cli
	movq	%rdi, TASK_hrtimer + TIMER_expires(%rbx)
	leaq	TASK_hrtimer(%rbx), %rdi
	movq	%gs:this_cpu_off, %rsi
	addq	$hrtimer_base, %rsi
	call	enqueue_timer
	call	tick_program_event
	sti
	call	schedule
	cli
	xorl	%eax, %eax
	cmpq	$0, TASK_hrtimer + TIMER_entry(%rbx)
	je	1f
	leaq	TASK_hrtimer(%rbx), %rdi
	call	detach_timer
	movq	$-EINTR, %rax
1:	sti
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END schedule_hrtimeout

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

# rdi: ticks from now. Sleeps interruptibly, by the clock.
C_FUNC_START schedule_hrtimeout_interruptible
	imulq	$TICK_INSNS, %rdi, %rdi
	RDTSC_ORDERED
	addq	%rax, %rdi
	GET_CURRENT %rax
	movl	$TASK_INTERRUPTIBLE, TASK_state(%rax)
	call	schedule_hrtimeout
	FRAME_END
	ret
SYM_FUNC_END schedule_hrtimeout_interruptible

# rdi: the TSC to sleep until. Returns 0 or -ERESTART_RESTARTBLOCK.
C_FUNC_START do_nanosleep
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	GET_CURRENT %r12
1:	RDTSC_ORDERED
	cmpq	%rax, %rbx
	movl	$0, %eax
	jbe	2f
	movl	$(TASK_INTERRUPTIBLE | TASK_FREEZABLE), %eax
	xchgl	%eax, TASK_state(%r12)		/* before the look: a signal that comes now wakes */
	testl	$_TIF_ANY_SIGNAL, TASK_TI_flags(%r12)
	jnz	3f
	movq	%rbx, %rdi
	call	schedule_hrtimeout
	jmp	1b
3:	movl	$TASK_RUNNING, TASK_state(%r12)
	movq	%rbx, TASK_restart_expires(%r12)
	movq	$hrtimer_nanosleep_restart, TASK_restart_fn(%r12)
	movq	$-ERESTART_RESTARTBLOCK, %rax
2:	popq	%r12
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

# nanosleep(ticks). DIFFERS: the argument is a number of ticks, not a timespec.
C_FUNC_START __x64_sys_nanosleep
	movq	RDI(%rdi), %rdi
	imulq	$TICK_INSNS, %rdi, %rdi
	RDTSC_ORDERED
	addq	%rax, %rdi
	call	do_nanosleep
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_nanosleep

	.data
SYM_DATA_START jiffies
	.quad	0
SYM_DATA_END jiffies

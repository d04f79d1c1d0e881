# arch/x86/kernel/apic: the local APIC in x2APIC mode, its timer, the IPIs; and smp.c's cross calls.
# The APIC ID of a CPU is its number.

	.include "kernel.inc"

	.set	MSR_IA32_APICBASE, 0x1b
	.set	APIC_EOI, 0x80b
	.set	APIC_SPIV, 0x80f
	.set	APIC_ICR, 0x830
	.set	APIC_LVTT, 0x832
	.set	APIC_LVT_TIMER_TSCDEADLINE, 2 << 17
	.set	APIC_DEST_ALLBUT, 3 << 18

.macro WRMSR_IMM msr, value
	movl	$\msr, %ecx
	movl	$\value, %eax
	xorl	%edx, %edx
	wrmsr
.endm

# The body of a sysvec_*: on the interrupt stack if it came from the kernel's, not from the user's.
.macro DEFINE_IDTENTRY_SYSVEC name, handler
C_FUNC_START_NOTRACE \name
	pushq	%rbx
	movq	%rdi, %rbx
	addl	$HARDIRQ_OFFSET, %gs:pcpu_hot+X86_preempt_count
	testb	$3, CS(%rbx)
	jnz	1f
	cmpb	$0, %gs:pcpu_hot+X86_hardirq_stack_inuse
	jne	1f
	movb	$1, %gs:pcpu_hot+X86_hardirq_stack_inuse
	movq	%gs:pcpu_hot+X86_hardirq_stack_ptr, %rax
	movq	%rsp, (%rax)
	movq	%rax, %rsp
	call	\handler
	popq	%rsp
	movb	$0, %gs:pcpu_hot+X86_hardirq_stack_inuse
	jmp	2f
1:	call	\handler
2:	subl	$HARDIRQ_OFFSET, %gs:pcpu_hot+X86_preempt_count
	movq	%rbx, %rdi
	call	irqentry_exit
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END \name
.endm

	.section .noinstr.text, "ax", @progbits

DEFINE_IDTENTRY_SYSVEC sysvec_apic_timer_interrupt, __sysvec_apic_timer_interrupt
DEFINE_IDTENTRY_SYSVEC sysvec_call_function, __sysvec_call_function
DEFINE_IDTENTRY_SYSVEC sysvec_hypervisor_callback, __sysvec_hypervisor_callback

# DEFINE_IDTENTRY_SYSVEC_SIMPLE: stays on the stack it came on.
C_FUNC_START_NOTRACE sysvec_reschedule_ipi
	pushq	%rbx
	movq	%rdi, %rbx
	WRMSR_IMM APIC_EOI, 0
	addl	$HARDIRQ_OFFSET, %gs:pcpu_hot+X86_preempt_count
	call	scheduler_ipi
	subl	$HARDIRQ_OFFSET, %gs:pcpu_hot+X86_preempt_count
	movq	%rbx, %rdi
	call	irqentry_exit
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END sysvec_reschedule_ipi

C_FUNC_START_NOTRACE sysvec_spurious_apic_interrupt
	FRAME_END
	ret
SYM_FUNC_END sysvec_spurious_apic_interrupt

	.text

C_FUNC_START __sysvec_apic_timer_interrupt
	WRMSR_IMM APIC_EOI, 0
	incq	%gs:irq_count
	call	hrtimer_interrupt
	FRAME_END
	ret
SYM_FUNC_END __sysvec_apic_timer_interrupt

C_FUNC_START __sysvec_call_function
	WRMSR_IMM APIC_EOI, 0
	incq	%gs:irq_count
	call	generic_smp_call_function_interrupt
	FRAME_END
	ret
SYM_FUNC_END __sysvec_call_function

# The host has a request for patchd, as a device would have: it comes between any two instructions.
C_FUNC_START __sysvec_hypervisor_callback
	WRMSR_IMM APIC_EOI, 0
	incq	%gs:irq_count
	movl	$1, patchd_wanted(%rip)
	movq	patchd_task(%rip), %rdi
	call	wake_up_process
	FRAME_END
	ret
SYM_FUNC_END __sysvec_hypervisor_callback

# preempt_fold_need_resched()
C_FUNC_START scheduler_ipi
	GET_CURRENT %rax
	testl	$_TIF_NEED_RESCHED, TASK_TI_flags(%rax)
	jz	1f
	andl	$~PREEMPT_NEED_RESCHED, %gs:pcpu_hot+X86_preempt_count
1:	FRAME_END
	ret
SYM_FUNC_END scheduler_ipi

# edi: cpu.
C_FUNC_START arch_smp_send_reschedule
	movl	%edi, %edx
	movl	$RESCHEDULE_VECTOR, %eax
	movl	$APIC_ICR, %ecx
	wrmsr
	FRAME_END
	ret
SYM_FUNC_END arch_smp_send_reschedule

# rdi: function, rsi: its argument. Runs it on every other CPU, in interrupt context, and waits.
# Interrupts must be on: a CPU that waits here must still serve the others' calls.
# DIFFERS: one call at a time in the whole system.
C_FUNC_START smp_call_function
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	movq	%rsi, %r12
	movq	$call_function_lock, %rdi
	call	_raw_spin_lock
	movq	%rbx, call_function_fn(%rip)
	movq	%r12, call_function_info(%rip)
	movl	nr_cpu_ids(%rip), %eax
	decl	%eax
	jz	2f
	movl	%eax, call_function_pending(%rip)
	WRMSR_IMM APIC_ICR, (APIC_DEST_ALLBUT | CALL_FUNCTION_VECTOR)
1:	pause
	cmpl	$0, call_function_pending(%rip)
	jne	1b
2:	movq	$call_function_lock, %rdi
	call	_raw_spin_unlock
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END smp_call_function

C_FUNC_START generic_smp_call_function_interrupt
	movq	call_function_info(%rip), %rdi
	call	*call_function_fn(%rip)
	lock decl call_function_pending(%rip)
	FRAME_END
	ret
SYM_FUNC_END generic_smp_call_function_interrupt

# A serializing instruction: iret_to_self(), arch/x86/include/asm/sync_core.h.
C_FUNC_START_NOTRACE do_sync_core
	movl	%ss, %eax
	pushq	%rax
	pushq	%rsp
	addq	$8, (%rsp)
	pushfq
	movl	%cs, %eax
	pushq	%rax
	pushq	$1f
	iretq
1:	FRAME_END
	ret
SYM_FUNC_END do_sync_core

# text_poke_sync(): every CPU has executed a serializing instruction when this returns.
C_FUNC_START smp_sync_cores
	movq	$do_sync_core, %rdi
	xorl	%esi, %esi
	call	smp_call_function
	call	do_sync_core
	FRAME_END
	ret
SYM_FUNC_END smp_sync_cores

# On each CPU: x2APIC on, the timer by the TSC. One count of the TSC is one instruction.
C_FUNC_START_NOTRACE setup_local_APIC
	movl	$MSR_IA32_APICBASE, %ecx
	rdmsr
	orl	$0xc00, %eax			/* EN | EXTD */
	wrmsr
	WRMSR_IMM APIC_SPIV, (0x100 | SPURIOUS_APIC_VECTOR)
	WRMSR_IMM APIC_LVTT, (APIC_LVT_TIMER_TSCDEADLINE | LOCAL_TIMER_VECTOR)
	/* skew_tick: CPU n ticks n / (2 * nr_cpu_ids) of a period after CPU 0, so that they do not all tick at once. */
	movl	%gs:pcpu_hot+X86_cpu_number, %eax
	imull	$TICK_INSNS / 2, %eax, %eax
	xorl	%edx, %edx
	divl	nr_cpu_ids(%rip)
	movl	%eax, %esi
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	xorl	%edx, %edx
	movl	$TICK_INSNS, %ecx
	divq	%rcx
	incq	%rax
	imulq	%rcx, %rax
	addq	%rsi, %rax
	movq	%rax, %gs:next_tick
	call	tick_program_event
	FRAME_END
	ret
SYM_FUNC_END setup_local_APIC

	.data
SYM_DATA_START call_function_lock
	.long	0
SYM_DATA_END call_function_lock
SYM_DATA_START call_function_pending
	.long	0
SYM_DATA_END call_function_pending
SYM_DATA_START call_function_fn
	.quad	0
SYM_DATA_END call_function_fn
SYM_DATA_START call_function_info
	.quad	0
SYM_DATA_END call_function_info

# arch/x86/entry/entry_64.S: system-call entry and exit, IDT entries, the stack switch between tasks
# and a new task's first return. Nothing here is traceable.
# DIFFERS: no KPTI, no speculation barriers, TSS.sp0 is the task's own stack (no entry trampoline),
# registers are saved in the entry itself (error_entry would have to move its return address).

	.include "kernel.inc"
	.include "calling.inc"

	.section .entry.text, "ax", @progbits

SYM_CODE_START entry_SYSCALL_64
	swapgs
	movq	%rsp, %gs:cpu_tss_rw+TSS_sp2
	movq	%gs:pcpu_hot+X86_top_of_stack, %rsp
SYM_INNER_LABEL entry_SYSCALL_64_safe_stack
	pushq	$__USER_DS			/* pt_regs->ss */
	pushq	%gs:cpu_tss_rw+TSS_sp2		/* pt_regs->sp */
	pushq	%r11				/* pt_regs->flags */
	pushq	$__USER_CS			/* pt_regs->cs */
	pushq	%rcx				/* pt_regs->ip */
SYM_INNER_LABEL entry_SYSCALL_64_after_hwframe
	pushq	%rax				/* pt_regs->orig_ax */
	PUSH_AND_CLEAR_REGS rax=$-ENOSYS

	movq	%rsp, %rdi
	movslq	%eax, %rsi
	call	do_syscall_64			/* returns with interrupts off */

	testb	%al, %al
	jz	swapgs_restore_regs_and_return_to_usermode
SYM_INNER_LABEL syscall_return_via_sysret
	POP_REGS
	movq	RSP-ORIG_RAX(%rsp), %rsp
SYM_INNER_LABEL entry_SYSRETQ_unsafe_stack
	swapgs
	sysretq
SYM_CODE_END entry_SYSCALL_64

# rdi: prev task, rsi: next task. Returns prev in rax, on next's stack.
SYM_FUNC_START __switch_to_asm
	/* struct inactive_task_frame */
	pushq	%rbp
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15

	movq	%rsp, TASK_threadsp(%rdi)
	movq	TASK_threadsp(%rsi), %rsp

	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	jmp	__switch_to
SYM_FUNC_END __switch_to_asm

# A new task's first return. rax: prev, rbx: kernel thread function or 0, r12: its argument.
SYM_CODE_START ret_from_fork_asm
	movq	%rax, %rdi			/* prev */
	movq	%rsp, %rsi			/* regs */
	movq	%rbx, %rdx			/* fn */
	movq	%r12, %rcx			/* fn_arg */
	call	ret_from_fork
	jmp	swapgs_restore_regs_and_return_to_usermode
SYM_CODE_END ret_from_fork_asm

.macro idtentry vector, asmsym, cfunc, has_error_code
SYM_CODE_START \asmsym
	cld
	.if \has_error_code == 0
	pushq	$-1				/* ORIG_RAX: no syscall to restart */
	.endif
	.if \vector == X86_TRAP_BP
	/* From the kernel: a gap of six words, so that the handler can emulate a call. */
	testb	$3, CS-ORIG_RAX(%rsp)
	jnz	.Lfrom_usermode_no_gap_\@
	.rept	5
	pushq	5*8(%rsp)
	.endr
	TRUE_FRAME 4, 0				/* the interrupt's frame is here now */
	pushq	5*8(%rsp)
.Lfrom_usermode_no_gap_\@:
	.endif
	PUSH_AND_CLEAR_REGS
	ENCODE_FRAME_POINTER
	testb	$3, CS(%rsp)
	jz	.Lfrom_kernel_\@
	swapgs
.Lfrom_kernel_\@:
	movq	%rsp, %rdi			/* pt_regs */
	.if \has_error_code == 1
	movq	ORIG_RAX(%rsp), %rsi		/* error code */
	movq	$-1, ORIG_RAX(%rsp)
	.endif
	call	\cfunc
	jmp	error_return
SYM_CODE_END \asmsym
.endm

.macro idtentry_sysvec vector, cfunc
	idtentry \vector, asm_\cfunc, \cfunc, 0
.endm

	idtentry X86_TRAP_DE, asm_exc_divide_error, exc_divide_error, 0
	idtentry X86_TRAP_BP, asm_exc_int3, exc_int3, 0
	idtentry X86_TRAP_UD, asm_exc_invalid_op, exc_invalid_op, 0
	idtentry X86_TRAP_TS, asm_exc_invalid_tss, exc_invalid_tss, 1
	idtentry X86_TRAP_NP, asm_exc_segment_not_present, exc_segment_not_present, 1
	idtentry X86_TRAP_SS, asm_exc_stack_segment, exc_stack_segment, 1
	idtentry X86_TRAP_GP, asm_exc_general_protection, exc_general_protection, 1
	idtentry X86_TRAP_PF, asm_exc_page_fault, exc_page_fault, 1
	idtentry X86_TRAP_CP, asm_exc_control_protection, exc_control_protection, 1
	idtentry_sysvec LOCAL_TIMER_VECTOR, sysvec_apic_timer_interrupt
	idtentry_sysvec CALL_FUNCTION_VECTOR, sysvec_call_function
	idtentry_sysvec RESCHEDULE_VECTOR, sysvec_reschedule_ipi
	idtentry_sysvec HYPERVISOR_CALLBACK_VECTOR, sysvec_hypervisor_callback
	idtentry_sysvec SPURIOUS_APIC_VECTOR, sysvec_spurious_apic_interrupt

SYM_CODE_START error_return
	testb	$3, CS(%rsp)
	jz	restore_regs_and_return_to_kernel
	jmp	swapgs_restore_regs_and_return_to_usermode
SYM_CODE_END error_return

SYM_CODE_START common_interrupt_return
SYM_INNER_LABEL swapgs_restore_regs_and_return_to_usermode
	POP_REGS
	addq	$8, %rsp			/* skip orig_ax */
	swapgs
	jmp	native_iret
SYM_INNER_LABEL restore_regs_and_return_to_kernel
	POP_REGS
	addq	$8, %rsp
SYM_INNER_LABEL native_iret
	iretq
SYM_CODE_END common_interrupt_return

# On its IST stack. An IRET in the handler (of a #BP, a #PF) lets the next NMI in, which starts at the top of the same stack
# again; so the frame that the first one returns by is kept twice further down, with a word that says that it is running:
#
#	original SS .. RIP	pushed by the CPU, overwritten by a nested NMI
#	saved rdx
#	"NMI executing"
#	iret SS .. RIP		what the handler returns by; a nested NMI makes it return to repeat_nmi
#	outermost SS .. RIP	the copy that nobody changes; pt_regs ends with it
#
# GS may be the user's even though CS is the kernel's, so ask the MSR.
# DIFFERS: a NMI from user mode stays on the IST stack, and is laid out as one from the kernel.
SYM_CODE_START asm_exc_nmi
	cld
	pushq	%rdx
	testb	$3, CS-RIP+8(%rsp)
	jnz	first_nmi
	/* Inside of repeat_nmi .. end_repeat_nmi the frames are being copied: it will run again anyway. */
	movq	$repeat_nmi, %rdx
	cmpq	8(%rsp), %rdx
	ja	1f
	movq	$end_repeat_nmi, %rdx
	cmpq	8(%rsp), %rdx
	ja	nested_nmi_out
1:	cmpl	$1, -8(%rsp)			/* "NMI executing" */
	je	nested_nmi
	/* Between its clearing and the IRET: DF is set, and the stack is this one. */
	leaq	6*8(%rsp), %rdx
	cmpq	%rdx, 4*8(%rsp)
	ja	first_nmi
	subq	$EXCEPTION_STKSZ, %rdx
	cmpq	%rdx, 4*8(%rsp)
	jb	first_nmi
	testb	$X86_EFLAGS_DF >> 8, 3*8+1(%rsp)
	jz	first_nmi
nested_nmi:
	subq	$8, %rsp			/* to the iret frame */
	leaq	-10*8(%rsp), %rdx
	pushq	$__KERNEL_DS
	pushq	%rdx
	pushfq
	pushq	$__KERNEL_CS
	pushq	$repeat_nmi
	addq	$6*8, %rsp
nested_nmi_out:
	popq	%rdx
	iretq

first_nmi:
	movq	(%rsp), %rdx
	pushq	$0				/* room for "NMI executing" */
	subq	$5*8, %rsp			/* and for the iret frame */
	.rept	5
	pushq	11*8(%rsp)
	.endr
SYM_INNER_LABEL repeat_nmi
	movq	$1, 10*8(%rsp)
	addq	$10*8, %rsp
	.rept	5
	pushq	-6*8(%rsp)
	.endr
	subq	$5*8, %rsp
SYM_INNER_LABEL end_repeat_nmi
	TRUE_FRAME 4, 5*8			/* the interrupt's frame is here now */
	pushq	$-1
	PUSH_AND_CLEAR_REGS
	ENCODE_FRAME_POINTER
	movl	$1, %ebx
	movl	$0xc0000101, %ecx		/* MSR_GS_BASE */
	rdmsr
	testl	%edx, %edx
	js	1f
	swapgs
	xorl	%ebx, %ebx
1:	movq	%rsp, %rdi
	call	exc_nmi
	testl	%ebx, %ebx
	jnz	2f
	swapgs
2:	POP_REGS
	addq	$6*8, %rsp			/* to the iret frame */
	std
	movq	$0, 5*8(%rsp)
	iretq
SYM_CODE_END asm_exc_nmi

# On its IST stack; does not return.
SYM_CODE_START asm_exc_double_fault
	cld
	PUSH_AND_CLEAR_REGS
	ENCODE_FRAME_POINTER
	movq	%rsp, %rdi
	call	exc_double_fault
	ud2
SYM_CODE_END asm_exc_double_fault

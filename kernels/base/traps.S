# arch/x86/kernel/traps.c, nmi.c, arch/x86/mm/fault.c and idt.c: the trap handlers, BUG, and the IDT.
# A trap in user mode kills the task; in the kernel it panics, a BUG() in a user task's system call
# kills the task. poke_int3_handler is in alternative.S.

	.include "kernel.inc"

	.section .noinstr.text, "ax", @progbits

# rdi: pt_regs. Nothing below may be patched by text_poke.
C_FUNC_START_NOTRACE exc_int3
	pushq	%rbx
	movq	%rdi, %rbx
	call	poke_int3_handler
	testl	%eax, %eax
	jnz	1f
	addl	$NMI_OFFSET + HARDIRQ_OFFSET, %gs:pcpu_hot+X86_preempt_count	/* irqentry_nmi_enter() */
	movq	%rbx, %rdi
	call	kprobe_int3_handler
	subl	$NMI_OFFSET + HARDIRQ_OFFSET, %gs:pcpu_hot+X86_preempt_count
	testl	%eax, %eax
	jnz	1f
	movq	%rbx, %rdi
	movq	$.Lstr_int3, %rsi
	call	do_trap
1:	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END exc_int3

C_FUNC_START_NOTRACE exc_nmi
	addl	$NMI_OFFSET + HARDIRQ_OFFSET, %gs:pcpu_hot+X86_preempt_count
	call	default_do_nmi
	subl	$NMI_OFFSET + HARDIRQ_OFFSET, %gs:pcpu_hot+X86_preempt_count
	FRAME_END
	ret
SYM_FUNC_END exc_nmi

	.text

# rdi: pt_regs.
C_FUNC_START default_do_nmi
	incq	%gs:nmi_count
	FRAME_END
	ret
SYM_FUNC_END default_do_nmi

# rdi: pt_regs, rsi: message. User mode: kills current with SIGSEGV. Kernel: panics.
C_FUNC_START_NOTRACE do_trap
	testb	$3, CS(%rdi)
	jz	1f
	movq	%rsi, %rdi
	call	printk
	movl	$SIGSEGV, %edi
	sti
	call	do_exit
1:	xchgq	%rdi, %rsi
	call	panic
	ud2
SYM_FUNC_END do_trap

# rdi: message, rsi: pt_regs or 0. Does not return.
C_FUNC_START_NOTRACE panic
	cli
	HYPERCALL HC_PANIC
1:	cli
	hlt
	jmp	1b
SYM_FUNC_END panic

.macro DEFINE_IDTENTRY func, message
C_FUNC_START_NOTRACE \func
	movq	$.Lstr_\func, %rsi
	call	do_trap
	ud2
SYM_FUNC_END \func
	.pushsection .rodata.str1.1, "a", @progbits
.Lstr_\func:
	.asciz	"\message"
	.popsection
.endm

DEFINE_IDTENTRY exc_divide_error, "divide error"
DEFINE_IDTENTRY exc_invalid_tss, "invalid TSS"
DEFINE_IDTENTRY exc_segment_not_present, "segment not present"
DEFINE_IDTENTRY exc_stack_segment, "stack segment"
DEFINE_IDTENTRY exc_general_protection, "general protection fault"
DEFINE_IDTENTRY exc_page_fault, "page fault"
DEFINE_IDTENTRY exc_control_protection, "control protection fault"

C_FUNC_START_NOTRACE exc_double_fault
	movq	%rdi, %rsi
	movq	$.Lstr_double_fault, %rdi
	call	panic
	ud2
SYM_FUNC_END exc_double_fault

# rdi: pt_regs. A ud2 of BUG() is looked up in __bug_table.
C_FUNC_START_NOTRACE exc_invalid_op
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	testb	$3, CS(%rdi)
	jnz	3f
	movq	RIP(%rdi), %rdi
	call	find_bug
	testq	%rax, %rax
	jz	3f
	movq	BUG_msg(%rax), %rdx
	movq	RIP(%rbx), %rdi
	movq	%rbx, %rsi
	HYPERCALL HC_BUG
	/* make_task_dead(): a user task in its system call; anybody else stops the machine. */
	GET_CURRENT %rax
	testl	$(PF_KTHREAD | PF_IDLE), TASK_flags(%rax)
	jnz	2f
	testl	$0x00ff0000, %gs:pcpu_hot+X86_preempt_count
	jnz	2f
	movl	$PREEMPT_NEED_RESCHED, %gs:pcpu_hot+X86_preempt_count
	movl	$SIGILL, %edi
	sti
	call	do_exit
2:	cli
	hlt
	jmp	2b
3:	movq	%rbx, %rdi
	movq	$.Lstr_invalid_op, %rsi
	call	do_trap
	ud2
SYM_FUNC_END exc_invalid_op

# rdi: ip. Returns its bug_entry or 0.
C_FUNC_START_NOTRACE find_bug
	movq	$__start___bug_table, %rax
1:	cmpq	$__stop___bug_table, %rax
	jae	2f
	cmpq	%rdi, BUG_ip(%rax)
	je	3f
	addq	$SIZEOF_bug_entry, %rax
	jmp	1b
2:	call	module_find_bug
3:	FRAME_END
	ret
SYM_FUNC_END find_bug

# rdi: NUL-terminated message.
C_FUNC_START_NOTRACE printk
	pushq	%rdi
	xorl	%eax, %eax
	movq	$-1, %rcx
	repne scasb
	notq	%rcx
	leaq	-1(%rcx), %rsi
	popq	%rdi
	HYPERCALL HC_LOG
	FRAME_END
	ret
SYM_FUNC_END printk

	.section .init.text, "ax", @progbits

# Fills idt_table from idt_data.
C_FUNC_START_NOTRACE idt_setup_traps
	movq	$idt_data, %rsi
1:	movq	(%rsi), %rax			/* handler */
	movl	8(%rsi), %ecx			/* vector */
	movl	12(%rsi), %edx			/* IST and DPL */
	shll	$4, %ecx
	movslq	%ecx, %rcx
	addq	$idt_table, %rcx
	movw	%ax, (%rcx)
	movw	$__KERNEL_CS, 2(%rcx)
	orl	$0x8e00, %edx			/* present, interrupt gate */
	movw	%dx, 4(%rcx)
	shrq	$16, %rax
	movw	%ax, 6(%rcx)
	shrq	$16, %rax
	movl	%eax, 8(%rcx)
	movl	$0, 12(%rcx)
	addq	$16, %rsi
	cmpq	$idt_data_end, %rsi
	jb	1b
	FRAME_END
	ret
SYM_FUNC_END idt_setup_traps

	.section .rodata, "a", @progbits
.macro IDT_ENTRY vector, handler, bits=0
	.quad	\handler
	.long	\vector, \bits
.endm
	.p2align 3
idt_data:
	IDT_ENTRY X86_TRAP_DE, asm_exc_divide_error
	IDT_ENTRY X86_TRAP_NMI, asm_exc_nmi, IST_INDEX_NMI
	IDT_ENTRY X86_TRAP_BP, asm_exc_int3, 0x6000
	IDT_ENTRY X86_TRAP_UD, asm_exc_invalid_op
	IDT_ENTRY X86_TRAP_DF, asm_exc_double_fault, IST_INDEX_DF
	IDT_ENTRY X86_TRAP_TS, asm_exc_invalid_tss
	IDT_ENTRY X86_TRAP_NP, asm_exc_segment_not_present
	IDT_ENTRY X86_TRAP_SS, asm_exc_stack_segment
	IDT_ENTRY X86_TRAP_GP, asm_exc_general_protection
	IDT_ENTRY X86_TRAP_PF, asm_exc_page_fault
	IDT_ENTRY X86_TRAP_CP, asm_exc_control_protection
	IDT_ENTRY LOCAL_TIMER_VECTOR, asm_sysvec_apic_timer_interrupt
	IDT_ENTRY CALL_FUNCTION_VECTOR, asm_sysvec_call_function
	IDT_ENTRY RESCHEDULE_VECTOR, asm_sysvec_reschedule_ipi
	IDT_ENTRY HYPERVISOR_CALLBACK_VECTOR, asm_sysvec_hypervisor_callback
	IDT_ENTRY SPURIOUS_APIC_VECTOR, asm_sysvec_spurious_apic_interrupt
idt_data_end:
.Lstr_int3:
	.asciz	"int3"
.Lstr_double_fault:
	.asciz	"double fault"
.Lstr_invalid_op:
	.asciz	"invalid opcode"

	.bss
	.p2align 12
SYM_DATA_START idt_table
	.skip	256 * 16
SYM_DATA_END idt_table

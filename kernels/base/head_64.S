# arch/x86/kernel/head_64.S: the first instructions of every CPU, up to C code on its idle task's stack.
# DIFFERS: long mode and the final page tables are on already; firmware and the trampoline from real
# mode are left out. All CPUs start at once; the secondaries wait here until smp_init lets them go.

	.include "kernel.inc"

	.section .head.text, "ax", @progbits

# rdi: CPU number, rsi: number of CPUs.
SYM_CODE_START startup_64
	movl	%esi, nr_cpu_ids(%rip)
	movq	$x86_64_start_kernel, %r12
	jmp	secondary_startup_64_no_verify
SYM_CODE_END startup_64

SYM_CODE_START secondary_startup_64
	movq	$start_secondary, %r12
1:	pause
	cmpl	$0, smp_cpus_go(%rip)
	je	1b
SYM_INNER_LABEL secondary_startup_64_no_verify
	/* GS base: this CPU's area */
	movl	%edi, %ebx
	movq	__per_cpu_offset(,%rbx,8), %rax
	movl	$0xc0000101, %ecx		/* MSR_GS_BASE */
	movq	%rax, %rdx
	shrq	$32, %rdx
	wrmsr
	/* The idle task's stack, its pt_regs left empty. */
	leaq	1(%rbx), %rsp
	imulq	$THREAD_SIZE, %rsp, %rsp
	leaq	task_stacks - SIZEOF_pt_regs(%rsp), %rsp
	pushq	$0x2				/* clean flags */
	popfq
	xorl	%ebp, %ebp			/* clear frame pointer */
	movl	%ebx, %edi
	call	*%r12
	ud2
SYM_CODE_END secondary_startup_64

	.section .init.text, "ax", @progbits

# edi: cpu. GDT, TSS, IDT and the system-call MSRs of the CPU that runs this.
C_FUNC_START_NOTRACE cpu_init
	pushq	%rbx
	pushq	%r12
	movl	%edi, %ebx
	movq	%gs:this_cpu_off, %r12

	/* The GDT: a copy of the common entries, and this CPU's TSS descriptor. */
	movq	$gdt_template, %rsi
	leaq	gdt_page(%r12), %rdi
	movl	$8, %ecx
	rep movsq
	leaq	cpu_tss_rw(%r12), %rax
	movq	%rax, %rdx
	movq	%rdx, %rcx
	shlq	$40, %rax
	shrq	$24, %rax			/* base 23:0 at bit 16 */
	shrq	$24, %rdx
	andl	$0xff, %edx
	shlq	$56, %rdx			/* base 31:24 */
	orq	%rdx, %rax
	movq	$0x0000890000000000 + SIZEOF_tss - 1, %rdx
	orq	%rdx, %rax
	movq	%rax, gdt_page + GDT_TSS(%r12)
	shrq	$32, %rcx
	movq	%rcx, gdt_page + GDT_TSS + 8(%r12)
	subq	$16, %rsp
	leaq	gdt_page(%r12), %rax
	movw	$127, 6(%rsp)
	movq	%rax, 8(%rsp)
	lgdt	6(%rsp)
	movw	$256 * 16 - 1, 6(%rsp)
	movq	$idt_table, %rax
	movq	%rax, 8(%rsp)
	lidt	6(%rsp)
	addq	$16, %rsp

	/* The TSS: task stack, IST stacks. */
	movl	%ebx, %eax
	imulq	$2 * EXCEPTION_STKSZ, %rax, %rax
	addq	$exception_stacks + EXCEPTION_STKSZ, %rax
	movq	%rax, cpu_tss_rw + TSS_ist + 8 * (IST_INDEX_DF - 1)(%r12)
	addq	$EXCEPTION_STKSZ, %rax
	movq	%rax, cpu_tss_rw + TSS_ist + 8 * (IST_INDEX_NMI - 1)(%r12)
	movq	%gs:pcpu_hot+X86_top_of_stack, %rax
	movq	%rax, cpu_tss_rw + TSS_sp0(%r12)
	movw	$SIZEOF_tss, cpu_tss_rw + TSS_io_bitmap_base(%r12)
	movl	$GDT_TSS, %eax
	ltr	%ax

	/* syscall_init() */
	movl	$0xc0000081, %ecx		/* MSR_STAR */
	xorl	%eax, %eax
	movl	$(__USER32_CS << 16) | __KERNEL_CS, %edx
	wrmsr
	movl	$0xc0000082, %ecx		/* MSR_LSTAR */
	movq	$entry_SYSCALL_64, %rax
	movq	%rax, %rdx
	shrq	$32, %rdx
	wrmsr
	movl	$0xc0000084, %ecx		/* MSR_SYSCALL_MASK */
	movl	$0x47700, %eax			/* TF IF DF IOPL NT AC */
	xorl	%edx, %edx
	wrmsr
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END cpu_init

# edi: cpu. Fills in its per-CPU area, run queue and idle task.
C_FUNC_START_NOTRACE setup_per_cpu_area
	pushq	%rbx
	pushq	%r12
	movl	%edi, %ebx
	movq	__per_cpu_offset(,%rbx,8), %r12
	movq	%r12, this_cpu_off(%r12)
	movl	%ebx, pcpu_hot + X86_cpu_number(%r12)
	movl	$PREEMPT_DISABLED, pcpu_hot + X86_preempt_count(%r12)
	leaq	1(%rbx), %rax
	imulq	$IRQ_STACK_SIZE, %rax, %rax
	addq	$irq_stacks - 8, %rax
	movq	%rax, pcpu_hot + X86_hardirq_stack_ptr(%r12)

	/* init_idle() */
	movl	%ebx, %edi
	imulq	$SIZEOF_task_struct, %rdi, %rdi
	addq	$task_structs, %rdi
	movq	TASK_stack(%rdi), %rax
	addq	$THREAD_SIZE, %rax
	movq	%rax, pcpu_hot + X86_top_of_stack(%r12)
	movq	%rdi, pcpu_hot + X86_current_task(%r12)
	movl	$PF_KTHREAD | PF_NOFREEZE | PF_IDLE, TASK_flags(%rdi)
	movl	%ebx, TASK_TI_cpu(%rdi)
	movl	$1, TASK_usage(%rdi)
	movl	$1, TASK_on_cpu(%rdi)
	movl	$140, TASK_prio(%rdi)
	movl	$KLP_TRANSITION_IDLE, TASK_patch_state(%rdi)
	movq	.Lswapper(%rip), %rax		/* "swapper/N" */
	movq	%rax, TASK_comm(%rdi)
	leal	'0'(%rbx), %eax
	movb	%al, TASK_comm + 8(%rdi)

	/* sched_init() */
	movl	%ebx, runqueues + RQ_cpu(%r12)
	movq	%rdi, runqueues + RQ_curr(%r12)
	movq	%rdi, runqueues + RQ_idle(%r12)
	leaq	runqueues + RQ_queue(%r12), %rax
	LIST_HEAD_INIT %rax
	leaq	timer_base(%r12), %rax
	LIST_HEAD_INIT %rax
	leaq	hrtimer_base(%r12), %rax
	LIST_HEAD_INIT %rax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END setup_per_cpu_area

	.section .rodata, "a", @progbits
	.p2align 3
# Entries 0 to 7; the TSS descriptor follows.
gdt_template:
	.quad	0
	.quad	0x00cf9b000000ffff		/* KERNEL32_CS */
	.quad	0x00af9b000000ffff		/* KERNEL_CS */
	.quad	0x00cf93000000ffff		/* KERNEL_DS */
	.quad	0x00cffb000000ffff		/* DEFAULT_USER32_CS */
	.quad	0x00cff3000000ffff		/* DEFAULT_USER_DS */
	.quad	0x00affb000000ffff		/* DEFAULT_USER_CS */
	.quad	0
.Lswapper:
	.ascii	"swapper/"

SYM_DATA_START __per_cpu_offset
	.set	.Lcpu, 0
	.rept	NR_CPUS
	.quad	per_cpu_area + .Lcpu * SIZEOF_per_cpu_area
	.set	.Lcpu, .Lcpu + 1
	.endr
SYM_DATA_END __per_cpu_offset

	.data
SYM_DATA_START nr_cpu_ids
	.long	0
SYM_DATA_END nr_cpu_ids
SYM_DATA_START smp_cpus_go
	.long	0
SYM_DATA_END smp_cpus_go

	.section .data..percpu, "aw", @progbits
	.p2align 8
SYM_DATA_START per_cpu_area
	.skip	NR_CPUS * SIZEOF_per_cpu_area
SYM_DATA_END per_cpu_area

	.section .bss..stacks, "aw", @nobits
	.balign	IRQ_STACK_SIZE
SYM_DATA_START irq_stacks
	.skip	NR_CPUS * IRQ_STACK_SIZE
irq_stacks_end:
SYM_DATA_END irq_stacks
	STACK_AREA irq_stacks, irq_stacks_end, IRQ_STACK_SIZE, 1
SYM_DATA_START exception_stacks
	.skip	NR_CPUS * 2 * EXCEPTION_STKSZ
exception_stacks_end:
SYM_DATA_END exception_stacks
	STACK_AREA exception_stacks, exception_stacks_end, EXCEPTION_STKSZ, 1

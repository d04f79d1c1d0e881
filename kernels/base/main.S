# init/main.c and the bring-up of the other CPUs: from the first C function to the first user task.

	.include "kernel.inc"

	.section .init.text, "ax", @progbits

# edi: cpu 0.
C_FUNC_START_NOTRACE x86_64_start_kernel
	pushq	%rbx
	subq	$8, %rsp
	call	fork_init
	xorl	%ebx, %ebx
1:	movl	%ebx, %edi
	call	setup_per_cpu_area
	incl	%ebx
	cmpl	%ebx, nr_cpu_ids(%rip)
	ja	1b
	call	idt_setup_traps
	xorl	%edi, %edi
	call	cpu_init
	movl	$1, %gs:runqueues+RQ_online
	call	ftrace_init
	call	rest_init
	ud2
SYM_FUNC_END x86_64_start_kernel

C_FUNC_START_NOTRACE rest_init
	movq	$kernel_init, %rdi
	xorl	%esi, %esi
	movq	$.Linit_name, %rdx
	call	user_mode_thread
	call	setup_local_APIC
	call	cpu_startup_entry
	ud2
SYM_FUNC_END rest_init

# edi: cpu. Boot code of every other CPU.
C_FUNC_START_NOTRACE start_secondary
	call	cpu_init
	movl	$1, %gs:runqueues+RQ_online
	lock incl nr_cpus_online(%rip)
	call	setup_local_APIC
	call	cpu_startup_entry
	ud2
SYM_FUNC_END start_secondary

# Lets the other CPUs go and waits for them.
C_FUNC_START_NOTRACE smp_init
	movl	$1, smp_cpus_go(%rip)
1:	pause
	movl	nr_cpus_online(%rip), %eax
	incl	%eax
	cmpl	nr_cpu_ids(%rip), %eax
	jb	1b
	FRAME_END
	ret
SYM_FUNC_END smp_init

# The first task: kernel threads, initcalls, then the user program `_start` on `user_stack_top`.
C_FUNC_START_NOTRACE kernel_init
	pushq	%rbx
	subq	$8, %rsp
	call	smp_init
	call	cpu_stop_init
	call	workqueue_init
	call	patchd_init
	movq	$__initcall_start, %rbx
1:	cmpq	$__initcall_end, %rbx
	jae	2f
	call	*(%rbx)
	addq	$8, %rbx
	jmp	1b
	/* kernel_execve() */
2:	movq	%gs:pcpu_hot+X86_top_of_stack, %rdi
	subq	$SIZEOF_pt_regs, %rdi
	movq	$_start, %rsi
	movq	$user_stack_top, %rdx
	call	start_thread
	xorl	%eax, %eax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END kernel_init

	.section .rodata, "a", @progbits
.Linit_name:
	.asciz	"init"

	.data
SYM_DATA_START nr_cpus_online
	.long	0
SYM_DATA_END nr_cpus_online

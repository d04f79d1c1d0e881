# steady(ticks): is served after that many ticks. Beside it two kernel threads: one that keeps a statistic, and one on the
# CPU of patchd that looks at steady_local; both park when they are asked to.

	.include "kernel.inc"

	.text

C_FUNC_START steady_version
	movl	$1, %eax
	FRAME_END
	ret
SYM_FUNC_END steady_version

# edi: ticks to sleep before it is served. Returns what serves it, or -ERESTARTSYS.
C_FUNC_START steady_serve
	testl	%edi, %edi
	jz	1f
	call	schedule_timeout_interruptible
	GET_CURRENT %rax
	testl	$_TIF_ANY_SIGNAL, TASK_TI_flags(%rax)
	jnz	2f
1:	call	steady_version
	addl	$0x10, %eax
	FRAME_END
	ret
2:	movq	$-ERESTARTSYS, %rax
	FRAME_END
	ret
SYM_FUNC_END steady_serve

C_FUNC_START steady_local
	movl	$1, %eax
	FRAME_END
	ret
SYM_FUNC_END steady_local

# steady(ticks)
C_FUNC_START __x64_sys_steady
	movl	RDI(%rdi), %edi
	call	steady_serve
	testq	%rax, %rax
	js	1f
	lock incq steady_served(%rip)
1:	FRAME_END
	ret
SYM_FUNC_END __x64_sys_steady

C_FUNC_START steadyd
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx			/* 1: looks at steady_local */
	call	quiesce_ready
1:	call	kthread_should_stop
	testl	%eax, %eax
	jnz	4f
	call	kthread_should_park
	testl	%eax, %eax
	jz	2f
	call	kthread_parkme
2:	testl	%ebx, %ebx
	jz	3f
	call	steady_local
	movq	%rax, steady_local_last(%rip)
	jmp	5f
3:	xorl	%edi, %edi
	call	steady_serve
	movq	%rax, steady_last(%rip)
5:	movl	$1, %edi
	call	schedule_timeout_interruptible
	jmp	1b
4:	xorl	%eax, %eax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END steadyd

	.section .init.text, "ax", @progbits

C_FUNC_START_NOTRACE steady_init
	movq	$steadyd, %rdi
	xorl	%esi, %esi
	movq	$.Lsteadyd_name, %rdx
	call	kthread_run
	movq	patchd_task(%rip), %rax
	movl	TASK_TI_cpu(%rax), %ecx
	movq	$steadyd, %rdi
	movl	$1, %esi
	movq	$.Llocald_name, %rdx
	call	kthread_create_on_cpu
	movq	%rax, %rdi
	call	wake_up_process
	FRAME_END
	ret
SYM_FUNC_END steady_init
	device_initcall steady_init

	.section .sys_call_table.scenario, "a", @progbits
	.quad	__x64_sys_steady

	.section .rodata, "a", @progbits
.Lsteadyd_name:
	.asciz	"steadyd"
.Llocald_name:
	.asciz	"steady_locald"

	.data
SYM_DATA_START steady_served
	.quad	0
SYM_DATA_END steady_served
SYM_DATA_START steady_last
	.quad	0
SYM_DATA_END steady_last
SYM_DATA_START steady_local_last
	.quad	0
SYM_DATA_END steady_local_last
SYM_DATA_START scenario_nr_ready
	.long	10
SYM_DATA_END scenario_nr_ready
SYM_DATA_START scenario_nr_done
	.long	8
SYM_DATA_END scenario_nr_done

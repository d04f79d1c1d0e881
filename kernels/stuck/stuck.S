# stuck(op, ticks): op 0 counts, op 1 sleeps uninterruptibly. Beside it a kernel thread that never parks.

	.include "kernel.inc"

	.text

# Counts one more; returns how many there are.
C_FUNC_START stuck_count
	movl	$1, %eax
	lock xaddq %rax, stuck_total(%rip)
	incq	%rax
	FRAME_END
	ret
SYM_FUNC_END stuck_count

# stuck(op, ticks)
C_FUNC_START __x64_sys_stuck
	movq	RSI(%rdi), %rax
	cmpq	$0, RDI(%rdi)
	jne	1f
	call	stuck_count
	FRAME_END
	ret
1:	movq	%rax, %rdi
	call	schedule_timeout_uninterruptible
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_stuck

# Works on and on, a tick of sleep between two turns, and never asks whether it should park.
C_FUNC_START stuckd
	call	quiesce_ready
1:	incq	stuckd_turns(%rip)
	movl	$1, %edi
	call	schedule_timeout_uninterruptible
	jmp	1b
SYM_FUNC_END stuckd

	.section .init.text, "ax", @progbits

C_FUNC_START_NOTRACE stuck_init
	movq	$stuckd, %rdi
	xorl	%esi, %esi
	movq	$.Lstuckd_name, %rdx
	call	kthread_run
	FRAME_END
	ret
SYM_FUNC_END stuck_init
	device_initcall stuck_init

	.section .sys_call_table.scenario, "a", @progbits
	.quad	__x64_sys_stuck

	.section .rodata, "a", @progbits
.Lstuckd_name:
	.asciz	"stuckd"

	.data
SYM_DATA_START stuck_total
	.quad	0
SYM_DATA_END stuck_total
SYM_DATA_START stuckd_turns
	.quad	0
SYM_DATA_END stuckd_turns
SYM_DATA_START scenario_nr_ready
	.long	4
SYM_DATA_END scenario_nr_ready
SYM_DATA_START scenario_nr_done
	.long	3
SYM_DATA_END scenario_nr_done

# kernel/sched/idle.c: the idle task of each CPU.
# DIFFERS: no cpuidle, no tickless idle.

	.include "kernel.inc"

	.section .noinstr.text, "ax", @progbits

# Does not return.
C_FUNC_START_NOTRACE cpu_startup_entry
	sti
1:	call	do_idle
	jmp	1b
SYM_FUNC_END cpu_startup_entry

C_FUNC_START_NOTRACE do_idle
	pushq	%rbx
	subq	$8, %rsp
	GET_CURRENT %rbx
1:	cli
	testl	$_TIF_NEED_RESCHED, TASK_TI_flags(%rbx)
	jnz	2f
	call	default_idle
	jmp	1b
2:	sti
	call	schedule_idle
	testl	$_TIF_PATCH_PENDING, TASK_TI_flags(%rbx)
	jz	3f
	movq	%rbx, %rdi
	call	klp_update_patch_state
3:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END do_idle

# Interrupts are off; the shadow of sti keeps a wake-up from getting in before hlt.
C_FUNC_START_NOTRACE default_idle
	sti
	hlt
	FRAME_END
	ret
SYM_FUNC_END default_idle

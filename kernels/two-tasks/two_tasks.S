# Two user tasks that count and yield to each other: the least that boots.

	.include "kernel.inc"
	.include "user.inc"

	.data
SYM_DATA_START scenario_nr_ready
	.long	2
SYM_DATA_END scenario_nr_ready
SYM_DATA_START scenario_nr_done
	.long	2
SYM_DATA_END scenario_nr_done

	.section .user.text, "ax", @progbits
SYM_CODE_START _start
	CLONE_THREAD second_task, user_stacks+USER_STACK_SIZE
	movq	$first_count, %rbx
	jmp	yield_loop
SYM_CODE_END _start

SYM_CODE_START second_task
	movq	$second_count, %rbx
	jmp	yield_loop
SYM_CODE_END second_task

# rbx: the task's counter. Exits after 20 rounds.
SYM_CODE_START yield_loop
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	incq	(%rbx)
	USER_SYSCALL __NR_sched_yield
	cmpq	$20, (%rbx)
	jb	1b
	movl	$QUIESCE_DONE, %edi
	USER_SYSCALL __NR_quiesce
	xorl	%edi, %edi
	USER_SYSCALL __NR_exit
	ud2
SYM_CODE_END yield_loop

	USER_STACKS 1

	.section .user.data, "aw", @progbits
SYM_DATA_START first_count
	.quad	0
SYM_DATA_END first_count
SYM_DATA_START second_count
	.quad	0
SYM_DATA_END second_count

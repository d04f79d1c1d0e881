# Two tasks that count, and one that sleeps in the kernel for 40 virtual seconds.

	.include "user.inc"
	.include "linkage.inc"

	.set	__NR_stuck, __NR_scenario
	.set	ROUNDS, 60
	.set	WORK, 200
	.set	SLEEP_TICKS, 80

	.section .user.text, "ax", @progbits

SYM_CODE_START _start
	CLONE_THREAD count_b, user_stacks+1*USER_STACK_SIZE
	CLONE_THREAD sleeper, user_stacks+2*USER_STACK_SIZE
	SET_NAME count_a
	movq	$counter_a, %rbx
	jmp	count
SYM_CODE_END _start

SYM_CODE_START count_b
	SET_NAME count_b
	movq	$counter_b, %rbx
	jmp	count
SYM_CODE_END count_b

# rbx: its counter.
SYM_CODE_START count
	movl	$ROUNDS, %r12d
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	movl	$WORK, %ecx
2:	decl	%ecx
	jnz	2b
	xorl	%edi, %edi
	xorl	%esi, %esi
	USER_SYSCALL __NR_stuck
	incq	(%rbx)
	decl	%r12d
	jnz	1b
	jmp	done
SYM_CODE_END count

SYM_CODE_START sleeper
	SET_NAME sleeper
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
	movl	$1, %edi
	movl	$SLEEP_TICKS, %esi
	USER_SYSCALL __NR_stuck
	incq	slept
	jmp	done
SYM_CODE_END sleeper

SYM_CODE_START done
	movl	$QUIESCE_DONE, %edi
	USER_SYSCALL __NR_quiesce
	xorl	%edi, %edi
	USER_SYSCALL __NR_exit
	ud2
SYM_CODE_END done

	USER_STACKS 3

	.section .user.data, "aw", @progbits
SYM_DATA_START counter_a
	.quad	0
SYM_DATA_END counter_a
SYM_DATA_START counter_b
	.quad	0
SYM_DATA_END counter_b
SYM_DATA_START slept
	.quad	0
SYM_DATA_END slept

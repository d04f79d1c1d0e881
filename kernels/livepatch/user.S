# The load: a task that reads a file of /proc when it is asked to, and two that, when they are asked to, call getpid and
# nothing else. Who asks writes the words at the end; the tasks look at them from user mode, a tick apart.

	.include "user.inc"
	.include "linkage.inc"
	.include "proc.inc"

	.set	CAT_ROOM, 128

	.section .user.text, "ax", @progbits

SYM_CODE_START _start
	CLONE_THREAD hammer_b, user_stacks+1*USER_STACK_SIZE
	CLONE_THREAD cat, user_stacks+2*USER_STACK_SIZE
	SET_NAME hammer_a
	movq	$hammer_a_calls, %r12
	jmp	hammer
SYM_CODE_END _start

SYM_CODE_START hammer_b
	SET_NAME hammer_b
	movq	$hammer_b_calls, %r12
	jmp	hammer
SYM_CODE_END hammer_b

# r12: where the calls are counted.
SYM_CODE_START hammer
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	cmpl	$0, hammer_wanted
	je	2f
	USER_SYSCALL __NR_getpid
	incq	(%r12)
	jmp	1b
2:	movl	$1, %edi
	USER_SYSCALL __NR_nanosleep
	jmp	1b
SYM_CODE_END hammer

SYM_CODE_START cat
	SET_NAME cat
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	movl	cat_wanted, %ebx
	cmpl	cat_answered, %ebx
	jne	2f
	movl	$1, %edi
	USER_SYSCALL __NR_nanosleep
	jmp	1b
2:	movl	cat_entry, %edi
	movq	$cat_text, %rsi
	movl	$CAT_ROOM, %edx
	USER_SYSCALL __NR_proc_read
	movq	%rax, cat_result
	movl	%ebx, cat_answered
	jmp	1b
SYM_CODE_END cat

	USER_STACKS 3

	.section .user.data, "aw", @progbits
SYM_DATA_START hammer_wanted
	.long	0
SYM_DATA_END hammer_wanted
SYM_DATA_START hammer_a_calls
	.quad	0
SYM_DATA_END hammer_a_calls
SYM_DATA_START hammer_b_calls
	.quad	0
SYM_DATA_END hammer_b_calls
SYM_DATA_START cat_wanted
	.long	0
SYM_DATA_END cat_wanted
SYM_DATA_START cat_answered
	.long	0
SYM_DATA_END cat_answered
SYM_DATA_START cat_entry
	.long	0
SYM_DATA_END cat_entry
SYM_DATA_START cat_result
	.quad	0
SYM_DATA_END cat_result
SYM_DATA_START cat_text
	.skip	CAT_ROOM
SYM_DATA_END cat_text

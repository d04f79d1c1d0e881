# The load: seven tasks that compute, ask to be served and rest, and one that sleeps while it waits to be served. Each counts what
# it was given: how often another version than the last time, and how often a mixture.

	.include "user.inc"
	.include "linkage.inc"

	.set	__NR_steady, __NR_scenario
	.set	ROUNDS, 100
	.set	WORK, 150
	.set	REST, 4			# ticks, after two calls
	.set	SLEEPER_ROUNDS, 40
	.set	SLEEPER_REST, 5
	.set	SEEN_SIZE, 32		/* of a task: served, changes, mixtures, last */

	.section .user.text, "ax", @progbits

SYM_CODE_START _start
	SET_NAME worker
	movl	$1, %ebp
1:	movl	%ebp, %edx
	imull	$USER_STACK_SIZE, %edx, %edx
	leaq	user_stacks(%rdx), %rsi
	movq	$worker, -8(%rsi)
	subq	$8, %rsi
	xorl	%edi, %edi
	movl	%ebp, %ebx
	USER_SYSCALL __NR_clone
	testl	%eax, %eax
	jnz	2f
	ret					/* the child: to worker, its number in ebx */
2:	incl	%ebp
	cmpl	$7, %ebp
	jb	1b
	CLONE_THREAD sleeper, user_stacks+7*USER_STACK_SIZE
	xorl	%ebx, %ebx
	pushq	$worker
	ret
SYM_CODE_END _start

# ebx: its number.
SYM_CODE_START worker
	shll	$5, %ebx
	addq	$seen, %rbx
	movl	$ROUNDS, %r12d
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	movl	$WORK, %ecx
2:	decl	%ecx
	jnz	2b
	xorl	%edi, %edi
	call	serve
	btl	$0, (%rbx)
	jc	1b
	movl	$REST, %edi
	USER_SYSCALL __NR_nanosleep
	decl	%r12d
	jnz	1b
	jmp	done
SYM_CODE_END worker

SYM_CODE_START sleeper
	SET_NAME sleeper
	movq	$seen + 7 * SEEN_SIZE, %rbx
	movl	$SLEEPER_ROUNDS, %r12d
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	movl	$2, %edi
	call	serve
	movl	$SLEEPER_REST, %edi
	USER_SYSCALL __NR_nanosleep
	decl	%r12d
	jnz	1b
	jmp	done
SYM_CODE_END sleeper

# edi: ticks, rbx: where the caller counts.
SYM_CODE_START serve
	USER_SYSCALL __NR_steady
	incq	(%rbx)
	cmpq	$0x11, %rax
	je	1f
	cmpq	$0x22, %rax
	je	1f
	incq	16(%rbx)
1:	xchgq	%rax, 24(%rbx)
	cmpq	$0, %rax
	je	2f
	cmpq	%rax, 24(%rbx)
	je	2f
	incq	8(%rbx)
2:	ret
SYM_CODE_END serve

SYM_CODE_START done
	movl	$QUIESCE_DONE, %edi
	USER_SYSCALL __NR_quiesce
	xorl	%edi, %edi
	USER_SYSCALL __NR_exit
	ud2
SYM_CODE_END done

	USER_STACKS 8

	.section .user.data, "aw", @progbits
	.globl	seen
SYM_DATA_START seen
	.skip	8 * SEEN_SIZE
SYM_DATA_END seen

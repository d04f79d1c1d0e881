# The load, four tasks in user mode: two that hammer xfer(2, 0), one whose transfer is paced, so that
# it sleeps inside the kernel for 2.5 virtual seconds and then outside of it for 7.5, and one that only
# computes. Each does a fixed amount of work, so that the counters at the end do not depend on timing.

	.include "user.inc"
	.include "linkage.inc"
	.include "xfer.inc"

	.set	HAMMER_ROUNDS, 26
	.set	HAMMER_WORK, 500		# and up to 511 more
	.set	PACED_ROUNDS, 3
	.set	HOG_ROUNDS, 4000
	.set	PACED_CHUNKS, 2
	.set	PACE, 5 * HZ / 2		# ticks between two chunks: 2.5 s
	.set	PACED_REST, 15 * HZ / 2	# ticks between two transfers: 7.5 s

	.section .user.text, "ax", @progbits

SYM_CODE_START _start
	.if	CROWD
	SET_NAME crowd
	movl	$CROWD, %r12d
1:	CLONE_THREAD crowd, user_stacks+4*USER_STACK_SIZE
	decl	%r12d
	jnz	1b
	.endif
	CLONE_THREAD hammer_b, user_stacks+1*USER_STACK_SIZE
	CLONE_THREAD paced, user_stacks+2*USER_STACK_SIZE
	CLONE_THREAD hog, user_stacks+3*USER_STACK_SIZE
	SET_NAME hammer_a
	movq	$hammer_a_bytes, %rbx
	jmp	hammer
SYM_CODE_END _start

# Whoever else there is sleeps in the kernel until a signal comes. All of them share a stack that they do not use.
SYM_CODE_START crowd
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	USER_SYSCALL __NR_pause
	jmp	1b
SYM_CODE_END crowd

SYM_CODE_START hammer_b
	SET_NAME hammer_b
	movq	$hammer_b_bytes, %rbx
	jmp	hammer
SYM_CODE_END hammer_b

# rbx: where the bytes are counted.
SYM_CODE_START hammer
	movl	%ebx, %r13d
	movl	$HAMMER_ROUNDS, %r12d
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	imull	$1103515245, %r13d, %r13d	/* fills a buffer, of another size each time */
	addl	$12345, %r13d
	movl	%r13d, %ecx
	shrl	$23, %ecx
	addl	$HAMMER_WORK, %ecx
2:	leaq	(%rax,%rcx), %rax
	rorq	$7, %rax
	decl	%ecx
	jnz	2b
	movl	$2, %edi
	xorl	%esi, %esi
	USER_SYSCALL __NR_xfer
	addq	%rax, (%rbx)
	cmpq	$2 * XFER_CHUNK_PAGES << PAGE_SHIFT, %rax
	je	3f
	incq	wrong_results
3:	decl	%r12d
	jnz	1b
	jmp	done
SYM_CODE_END hammer

SYM_CODE_START paced
	SET_NAME paced
	movl	$PACED_ROUNDS, %r12d
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	movl	$PACED_CHUNKS, %edi
	movl	$PACE, %esi
	USER_SYSCALL __NR_xfer
	addq	%rax, paced_bytes
	cmpq	$PACED_CHUNKS * XFER_CHUNK_PAGES << PAGE_SHIFT, %rax
	je	2f
	incq	wrong_results
2:	movl	$PACED_REST, %edi
	USER_SYSCALL __NR_nanosleep
	decl	%r12d
	jnz	1b
	jmp	done
SYM_CODE_END paced

SYM_CODE_START hog
	SET_NAME hog
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
	movl	$HOG_ROUNDS, %ecx
	xorl	%eax, %eax
1:	addq	%rcx, %rax
	rorq	$3, %rax
	decl	%ecx
	jnz	1b
	movq	%rax, hog_sum
	jmp	done
SYM_CODE_END hog

SYM_CODE_START done
	movl	$QUIESCE_DONE, %edi
	USER_SYSCALL __NR_quiesce
	xorl	%edi, %edi
	USER_SYSCALL __NR_exit
	ud2
SYM_CODE_END done

	USER_STACKS 4

	.section .user.data, "aw", @progbits
SYM_DATA_START hammer_a_bytes
	.quad	0
SYM_DATA_END hammer_a_bytes
SYM_DATA_START hammer_b_bytes
	.quad	0
SYM_DATA_END hammer_b_bytes
SYM_DATA_START paced_bytes
	.quad	0
SYM_DATA_END paced_bytes
SYM_DATA_START hog_sum
	.quad	0
SYM_DATA_END hog_sum
SYM_DATA_START wrong_results
	.quad	0
SYM_DATA_END wrong_results

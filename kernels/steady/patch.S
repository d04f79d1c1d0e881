# The patch: a version, and who serves it. Both say of themselves that they are new.

	.include "kernel.inc"

	.set	MAX_TICKS, 1000

	.text

C_FUNC_START steady_version
	movl	$2, %eax
	FRAME_END
	ret
SYM_FUNC_END steady_version

# edi: ticks to sleep before it is served. Returns what serves it, or -ERESTARTSYS.
C_FUNC_START steady_serve
	cmpl	$MAX_TICKS, %edi
	ja	3f
	testl	%edi, %edi
	jz	1f
	call	schedule_timeout_interruptible
	GET_CURRENT %rax
	testl	$_TIF_ANY_SIGNAL, TASK_TI_flags(%rax)
	jnz	2f
1:	call	steady_version
	addl	$0x20, %eax
	FRAME_END
	ret
2:	movq	$-ERESTARTSYS, %rax
	FRAME_END
	ret
3:	BUG "steady: nobody waits so long"
SYM_FUNC_END steady_serve

C_FUNC_START steady_local
	movl	$2, %eax
	FRAME_END
	ret
SYM_FUNC_END steady_local

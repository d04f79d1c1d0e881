# The patch: the length of a chunk is passed in pages. Both functions are replaced, by name; one of them
# alone, or both for only a part of a system call, breaks the contract.

	.include "kernel.inc"
	.include "xfer.inc"

	.text

# rdi: xfer, esi: length of the chunk in pages.
C_FUNC_START xfer_queue
	cmpl	$XFER_MAX_PAGES, %esi
	jbe	1f
	BUG "xfer: a chunk exceeds the limit of the device"
1:	movl	%esi, %esi
	shlq	$PAGE_SHIFT, %rsi
	addq	%rsi, XFER_bytes(%rdi)
	FRAME_END
	ret
SYM_FUNC_END xfer_queue

# rdi: xfer. Returns the bytes moved, or -ERESTARTSYS.
C_FUNC_START xfer_submit
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	movl	XFER_nr_chunks(%rbx), %r12d
1:	movq	%rbx, %rdi
	movl	$XFER_CHUNK_PAGES, %esi
	call	xfer_queue
	decl	%r12d
	jz	2f
	movl	XFER_pace(%rbx), %edi
	testl	%edi, %edi
	jz	1b
	call	schedule_timeout_interruptible
	GET_CURRENT %rax
	testl	$_TIF_ANY_SIGNAL, TASK_TI_flags(%rax)
	jz	1b
	movq	$-ERESTARTSYS, %rax
	jmp	3f
2:	movq	XFER_bytes(%rbx), %rax
3:	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END xfer_submit

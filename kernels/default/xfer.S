# The driver: xfer(nr_chunks, pace) moves that many chunks. xfer_submit cuts the transfer up and
# xfer_queue gives each chunk to the device. The unit of a chunk's length is a contract between the two:
# bytes here, pages in patch.S.

	.include "kernel.inc"
	.include "xfer.inc"

	.text

# rdi: xfer, esi: length of the chunk in bytes.
C_FUNC_START xfer_queue
	testl	$PAGE_SIZE - 1, %esi
	jz	1f
	BUG "xfer: the length of a chunk is not a multiple of the page size"
1:	cmpl	$XFER_MAX_PAGES * PAGE_SIZE, %esi
	jbe	2f
	BUG "xfer: a chunk exceeds the limit of the device"
2:	movl	%esi, %esi
	addq	%rsi, XFER_bytes(%rdi)
	FRAME_END
	ret
SYM_FUNC_END xfer_queue

# rdi: xfer. Returns the bytes moved, or -ERESTARTSYS: nothing is committed before the last chunk.
C_FUNC_START xfer_submit
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	movl	XFER_nr_chunks(%rbx), %r12d
1:	movq	%rbx, %rdi
	movl	$XFER_CHUNK_PAGES * PAGE_SIZE, %esi
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

# xfer(nr_chunks, pace)
C_FUNC_START __x64_sys_xfer
	subq	$SIZEOF_xfer, %rsp
	movl	RDI(%rdi), %eax
	testl	%eax, %eax
	jz	2f
	movl	%eax, XFER_nr_chunks(%rsp)
	movl	RSI(%rdi), %eax
	movl	%eax, XFER_pace(%rsp)
	movq	$0, XFER_bytes(%rsp)
	movq	%rsp, %rdi
	call	xfer_submit
	testq	%rax, %rax
	js	1f
	lock addq %rax, xfer_bytes_total(%rip)
1:	addq	$SIZEOF_xfer, %rsp
	FRAME_END
	ret
2:	movq	$-EINVAL, %rax
	jmp	1b
SYM_FUNC_END __x64_sys_xfer

# The device's kernel thread: keeps a statistic every one and a half seconds, and parks when asked.
C_FUNC_START xfer_flushd
	pushq	%rbx
	subq	$8, %rsp
	call	quiesce_ready
1:	call	kthread_should_stop
	testl	%eax, %eax
	jnz	3f
	call	kthread_should_park
	testl	%eax, %eax
	jz	2f
	call	kthread_parkme
2:	movq	xfer_bytes_total(%rip), %rax
	shrq	$PAGE_SHIFT, %rax
	movq	%rax, xfer_pages_flushed(%rip)
	movl	$3 * HZ / 2, %edi
	call	schedule_timeout_interruptible
	jmp	1b
3:	xorl	%eax, %eax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END xfer_flushd

	.section .init.text, "ax", @progbits

C_FUNC_START_NOTRACE xfer_init
	movq	$xfer_flushd, %rdi
	xorl	%esi, %esi
	movq	$.Lflushd_name, %rdx
	call	kthread_run
	FRAME_END
	ret
SYM_FUNC_END xfer_init
	device_initcall xfer_init

	.section .sys_call_table.scenario, "a", @progbits
	.quad	__x64_sys_xfer

	.section .rodata, "a", @progbits
.Lflushd_name:
	.asciz	"xfer_flushd"

	.data
SYM_DATA_START xfer_bytes_total
	.quad	0
SYM_DATA_END xfer_bytes_total
SYM_DATA_START xfer_pages_flushed
	.quad	0
SYM_DATA_END xfer_pages_flushed
SYM_DATA_START scenario_nr_ready
	.long	5 + CROWD
SYM_DATA_END scenario_nr_ready
SYM_DATA_START scenario_nr_done
	.long	4
SYM_DATA_END scenario_nr_done

# fs/proc: files of one record each, which a show function writes into a seq_file. These functions are what the test
# patches replace. proc_read(entry, buf, size) is open, read and close in one.

	.include "kernel.inc"
	.include "proc.inc"

	.set	PROC_ROOM, 128

	.text

# rdi: seq_file, rsi: string. What does not fit is cut. fs/seq_file.c
C_FUNC_START seq_puts
	movq	SEQ_count(%rdi), %rcx
1:	movb	(%rsi), %al
	incq	%rsi
	testb	%al, %al
	jz	2f
	cmpq	SEQ_size(%rdi), %rcx
	jae	2f
	movq	SEQ_buf(%rdi), %rdx
	movb	%al, (%rdx,%rcx)
	incq	%rcx
	jmp	1b
2:	movq	%rcx, SEQ_count(%rdi)
	FRAME_END
	ret
SYM_FUNC_END seq_puts

# rdi: seq_file. fs/proc/cmdline.c
C_FUNC_START cmdline_proc_show
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
	movq	$saved_command_line, %rsi
	call	seq_puts
	movq	%rbx, %rdi
	movq	$.Lnewline, %rsi
	call	seq_puts
	xorl	%eax, %eax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END cmdline_proc_show

# rdi: seq_file. fs/proc/meminfo.c
C_FUNC_START meminfo_proc_show
	movq	$.Lmeminfo, %rsi
	call	seq_puts
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END meminfo_proc_show

# edi: PROC_*, rsi: show function.
C_FUNC_START proc_create_single
	movl	%edi, %edi
	movq	%rsi, proc_entries(,%rdi,8)
	FRAME_END
	ret
SYM_FUNC_END proc_create_single

# edi: PROC_*. DIFFERS: does not wait for readers.
C_FUNC_START remove_proc_entry
	movl	%edi, %edi
	movq	$0, proc_entries(,%rdi,8)
	FRAME_END
	ret
SYM_FUNC_END remove_proc_entry

# proc_read(entry, buf, size). Returns the bytes read.
C_FUNC_START __x64_sys_proc_read
	pushq	%rbx
	pushq	%r12
	subq	$SIZEOF_seq_file + PROC_ROOM + 8, %rsp
	movq	%rdi, %rbx
	movl	RDI(%rbx), %eax
	movq	$-EINVAL, %r12
	cmpl	$NR_PROC, %eax
	jae	3f
	movq	proc_entries(,%rax,8), %rax
	testq	%rax, %rax
	jz	3f
	leaq	SIZEOF_seq_file(%rsp), %rcx
	movq	%rcx, SEQ_buf(%rsp)
	movq	$PROC_ROOM, SEQ_size(%rsp)
	movq	$0, SEQ_count(%rsp)
	movq	%rsp, %rdi
	xorl	%esi, %esi
	call	*%rax
	movq	SEQ_count(%rsp), %rcx
	cmpq	RDX(%rbx), %rcx
	jbe	1f
	movq	RDX(%rbx), %rcx
1:	movq	%rcx, %r12
	movq	RSI(%rbx), %rdi			/* copy_to_user() */
	movabsq	$TASK_SIZE_MAX - PROC_ROOM, %rax
	cmpq	%rax, %rdi
	ja	2f
	leaq	SIZEOF_seq_file(%rsp), %rsi
	rep movsb
	jmp	3f
2:	movq	$-EFAULT, %r12
3:	movq	%r12, %rax
	addq	$SIZEOF_seq_file + PROC_ROOM + 8, %rsp
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_proc_read

	.section .sys_call_table.scenario, "a", @progbits
	.quad	__x64_sys_proc_read

	.section .rodata, "a", @progbits
saved_command_line:
	.asciz	"root=/dev/ram0 quiet"
.Lnewline:
	.asciz	"\n"
.Lmeminfo:
	.asciz	"MemTotal:          32768 kB\n"

	.data
SYM_DATA_START proc_entries
	.quad	cmdline_proc_show, meminfo_proc_show, 0
SYM_DATA_END proc_entries
SYM_DATA_START scenario_nr_ready
	.long	3
SYM_DATA_END scenario_nr_ready
SYM_DATA_START scenario_nr_done
	.long	1
SYM_DATA_END scenario_nr_done

# kernel/sys.c and the like: small system calls, and the one by which a scenario's tasks say that
# they are in their loops or have done their work.

	.include "kernel.inc"

	.text

C_FUNC_START __x64_sys_getpid
	GET_CURRENT %rax
	movl	TASK_pid(%rax), %eax
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_getpid

# write(fd, buf, count) to the log.
C_FUNC_START __x64_sys_write
	pushq	%rbx
	movq	RDX(%rdi), %rbx
	movq	RSI(%rdi), %rdi
	movq	%rbx, %rsi
	HYPERCALL HC_LOG
	movq	%rbx, %rax
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_write

# prctl(PR_SET_NAME, name): the comm by which reports call this task.
# DIFFERS: no exception table: a pointer into a hole of the user's half is a kernel fault.
C_FUNC_START __x64_sys_prctl
	pushq	%rbx
	movq	$-EINVAL, %rax
	cmpl	$PR_SET_NAME, RDI(%rdi)
	jne	2f
	movq	RSI(%rdi), %rsi
	movq	$-EFAULT, %rax
	movabsq	$TASK_SIZE_MAX - TASK_COMM_LEN, %rdx
	cmpq	%rdx, %rsi
	ja	2f
	GET_CURRENT %rdi
	addq	$TASK_comm, %rdi
	movl	$TASK_COMM_LEN - 1, %ecx
1:	movb	(%rsi), %al
	movb	%al, (%rdi)
	testb	%al, %al
	jz	3f
	incq	%rsi
	incq	%rdi
	decl	%ecx
	jnz	1b
	movb	$0, (%rdi)
3:	xorl	%eax, %eax
2:	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_prctl

C_FUNC_START __x64_sys_ni_syscall
	movq	$-ENOSYS, %rax
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_ni_syscall

# quiesce(op): QUIESCE_READY or QUIESCE_DONE.
C_FUNC_START __x64_sys_quiesce
	cmpl	$QUIESCE_DONE, RDI(%rdi)
	je	1f
	call	quiesce_ready
	jmp	2f
1:	call	quiesce_done
2:	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_quiesce

# The last of scenario_nr_ready callers marks the moment from which instructions are counted.
C_FUNC_START quiesce_ready
	movl	$1, %eax
	lock xaddl %eax, quiesce_nr_ready(%rip)
	incl	%eax
	cmpl	scenario_nr_ready(%rip), %eax
	jne	1f
	HYPERCALL HC_READY
1:	FRAME_END
	ret
SYM_FUNC_END quiesce_ready

# The last of scenario_nr_done callers ends the workload.
C_FUNC_START quiesce_done
	movl	$1, %eax
	lock xaddl %eax, quiesce_nr_done(%rip)
	incl	%eax
	cmpl	scenario_nr_done(%rip), %eax
	jne	1f
	xorl	%edi, %edi
	HYPERCALL HC_DONE
1:	FRAME_END
	ret
SYM_FUNC_END quiesce_done

	.data
SYM_DATA_START quiesce_nr_ready
	.long	0
SYM_DATA_END quiesce_nr_ready
SYM_DATA_START quiesce_nr_done
	.long	0
SYM_DATA_END quiesce_nr_done

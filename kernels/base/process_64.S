# arch/x86/kernel/process_64.c and process.c: the C half of the stack switch and of a new task.

	.include "kernel.inc"

	.section .noinstr.text, "ax", @progbits

# rdi: prev, rsi: next; on next's stack already. Returns prev.
C_FUNC_START_NOTRACE __switch_to
	movq	TASK_stack(%rsi), %rdx
	addq	$THREAD_SIZE, %rdx
	movq	%rsi, %gs:pcpu_hot+X86_current_task
	movq	%rdx, %gs:pcpu_hot+X86_top_of_stack
	movq	%rdx, %gs:cpu_tss_rw+TSS_sp0
	movq	%rdi, %rax
	FRAME_END
	ret
SYM_FUNC_END __switch_to

# rdi: prev, rsi: regs, rdx: fn or 0, rcx: fn_arg. First C code of every new task.
C_FUNC_START_NOTRACE ret_from_fork
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	movq	%rsi, %rbx
	movq	%rdx, %r12
	movq	%rcx, %r13
	call	schedule_tail
	testq	%r12, %r12
	jz	1f
	movq	%r13, %rdi
	call	*%r12
	/* A kernel thread may return here once it has become a user task. */
	movq	$0, RAX(%rbx)
1:	movq	%rbx, %rdi
	call	syscall_exit_to_user_mode
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END ret_from_fork

	.text

# rdi: the new task, rsi: kernel_clone_args.
C_FUNC_START copy_thread
	pushq	%rbx
	movq	%rdi, %rbx
	movq	%rsi, %r8
	movq	TASK_stack(%rdi), %rdx
	addq	$THREAD_SIZE - SIZEOF_pt_regs, %rdx	/* childregs */
	leaq	-SIZEOF_inactive_task_frame(%rdx), %r9	/* fork_frame */
	movq	%r9, TASK_threadsp(%rbx)
	leaq	1(%rdx), %rax				/* encode_frame_pointer(childregs) */
	movq	%rax, ITF_bp(%r9)
	movq	$ret_from_fork_asm, ITF_ret_addr(%r9)
	NEW_STACK 9, ITF_ret_addr
	movq	$0, ITF_r15(%r9)
	movq	$0, ITF_r14(%r9)
	movq	$0, ITF_r13(%r9)
	movq	KARGS_fn(%r8), %rax
	movq	%rax, ITF_bx(%r9)
	movq	KARGS_fn_arg(%r8), %rax
	movq	%rax, ITF_r12(%r9)

	movq	%rdx, %rdi
	movl	$SIZEOF_pt_regs / 8, %ecx
	cmpq	$0, KARGS_fn(%r8)
	je	1f
	xorl	%eax, %eax				/* memset(childregs, 0, ..) */
	rep stosq
	jmp	2f
1:	movq	%gs:pcpu_hot+X86_top_of_stack, %rsi
	subq	$SIZEOF_pt_regs, %rsi			/* *childregs = *current_pt_regs() */
	rep movsq
	movq	$0, RAX(%rdx)
	movq	KARGS_stack(%r8), %rax
	testq	%rax, %rax
	jz	2f
	movq	%rax, RSP(%rdx)
2:	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END copy_thread

# rdi: pt_regs, rsi: ip, rdx: sp. The task goes to user mode there when its kernel code returns.
C_FUNC_START start_thread
	movq	%rsi, RIP(%rdi)
	movq	%rdx, RSP(%rdi)
	movq	$__USER_CS, CS(%rdi)
	movq	$__USER_DS, SS(%rdi)
	movq	$X86_EFLAGS_IF, EFLAGS(%rdi)
	movq	$-1, ORIG_RAX(%rdi)
	FRAME_END
	ret
SYM_FUNC_END start_thread

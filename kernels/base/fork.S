# kernel/fork.c: the task arena, kernel_clone and clone(2).
# Locking: the task list, last_pid and the free list are under tasklist_lock. It is taken with
# interrupts on and never in an interrupt. A slot's `usage` is 0 when it is free.
# DIFFERS: all tasks are threads of one address space; no parents, no wait(2).

	.include "kernel.inc"

	.text

# Returns a zeroed task_struct with its stack and usage 1, or 0.
C_FUNC_START dup_task_struct
	pushq	%rbx
	subq	$8, %rsp
	movq	$tasklist_lock, %rdi
	call	_raw_spin_lock
	movq	task_free_list(%rip), %rbx
	testq	%rbx, %rbx
	jz	1f
	movq	TASK_free_next(%rbx), %rax
	movq	%rax, task_free_list(%rip)
1:	movq	$tasklist_lock, %rdi
	call	_raw_spin_unlock
	testq	%rbx, %rbx
	jz	2f
	movq	TASK_stack(%rbx), %rdx
	movq	%rbx, %rdi
	movl	$SIZEOF_task_struct / 8, %ecx
	xorl	%eax, %eax
	rep stosq
	movq	%rdx, TASK_stack(%rbx)
2:	movq	%rbx, %rax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END dup_task_struct

# rdi: kernel_clone_args. Returns the new task, not yet awake, or 0.
C_FUNC_START copy_process
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	subq	$8, %rsp
	movq	%rdi, %r12
	GET_CURRENT %r13
	call	dup_task_struct
	testq	%rax, %rax
	jz	9f
	movq	%rax, %rbx
	movl	$TASK_NEW, TASK_state(%rbx)
	movl	KARGS_flags(%r12), %eax
	andl	$PF_KTHREAD | PF_NOFREEZE, %eax
	movl	%eax, TASK_flags(%rbx)
	movl	$DEFAULT_PRIO, TASK_prio(%rbx)
	movl	$SCHED_SLICE, TASK_time_slice(%rbx)
	movq	$do_no_restart_syscall, TASK_restart_fn(%rbx)
	movl	$KLP_TRANSITION_IDLE, TASK_patch_state(%rbx)
	/* comm: the given name, or the parent's */
	movq	KARGS_name(%r12), %rsi
	leaq	TASK_comm(%r13), %rax
	testq	%rsi, %rsi
	cmovzq	%rax, %rsi
	leaq	TASK_comm(%rbx), %rdi
	movl	$15, %ecx
1:	lodsb
	stosb
	testb	%al, %al
	jz	2f
	decl	%ecx
	jnz	1b
2:	movq	%rbx, %rdi
	movq	%r12, %rsi
	call	copy_thread

	movq	%rbx, %rdi
	call	ftrace_graph_init_task

	/* On the list, with the parent's patching flags, in one step for whoever holds the lock. */
	movq	$tasklist_lock, %rdi
	call	_raw_spin_lock
	movl	last_pid(%rip), %eax
	incl	%eax
	movl	%eax, last_pid(%rip)
	movl	%eax, TASK_pid(%rbx)
	andl	$PIDHASH_SIZE - 1, %eax		/* attach_pid() */
	leaq	pid_hash(,%rax,8), %rdx
	movq	(%rdx), %rax
	movq	%rax, TASK_pid_next(%rbx)
	movq	%rbx, (%rdx)
	movl	TASK_TI_flags(%r13), %eax
	andl	$(_TIF_PATCH_PENDING | _TIF_CHECKPOINT), %eax
	testl	$PF_KTHREAD, TASK_flags(%rbx)
	jz	3f
	andl	$~_TIF_CHECKPOINT, %eax
3:	movl	%eax, TASK_TI_flags(%rbx)
SYM_INNER_LABEL klp_copy_process
	movl	TASK_patch_state(%r13), %eax
	movl	%eax, TASK_patch_state(%rbx)
SYM_INNER_LABEL klp_copied
	movl	$1, TASK_usage(%rbx)
	leaq	TASK_tasks(%rbx), %rsi
	movq	$init_task + TASK_tasks, %rdx
	LIST_ADD_TAIL %rsi, %rdx, %rax
	incl	nr_threads(%rip)
	movq	$tasklist_lock, %rdi
	call	_raw_spin_unlock
	movq	%rbx, %rax
9:	addq	$8, %rsp
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END copy_process

# rdi: kernel_clone_args. Returns the pid or -EAGAIN.
C_FUNC_START kernel_clone
	pushq	%rbx
	subq	$8, %rsp
	call	copy_process
	testq	%rax, %rax
	jz	1f
	movl	TASK_pid(%rax), %ebx
	movq	%rax, %rdi
	call	wake_up_new_task
	movl	%ebx, %eax
	jmp	2f
1:	movq	$-EAGAIN, %rax
2:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END kernel_clone

# clone(flags, newsp): a thread that returns 0 on its own stack.
C_FUNC_START __x64_sys_clone
	subq	$SIZEOF_kernel_clone_args, %rsp
	movq	RSI(%rdi), %rax
	movq	%rax, KARGS_stack(%rsp)
	xorl	%eax, %eax
	movq	%rax, KARGS_flags(%rsp)
	movq	%rax, KARGS_fn(%rsp)
	movq	%rax, KARGS_fn_arg(%rsp)
	movq	%rax, KARGS_name(%rsp)
	movq	%rsp, %rdi
	call	kernel_clone
	addq	$SIZEOF_kernel_clone_args, %rsp
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_clone

# rdi: fn, rsi: arg, rdx: name. A task that starts in the kernel and returns from fn to user mode.
C_FUNC_START user_mode_thread
	subq	$SIZEOF_kernel_clone_args, %rsp
	movq	%rdi, KARGS_fn(%rsp)
	movq	%rsi, KARGS_fn_arg(%rsp)
	movq	%rdx, KARGS_name(%rsp)
	movq	$0, KARGS_flags(%rsp)
	movq	$0, KARGS_stack(%rsp)
	movq	%rsp, %rdi
	call	kernel_clone
	addq	$SIZEOF_kernel_clone_args, %rsp
	FRAME_END
	ret
SYM_FUNC_END user_mode_thread

# rdi: task. Gives a reference back.
C_FUNC_START put_task_struct
	lock decl TASK_usage(%rdi)
	jnz	1f
	call	__put_task_struct
1:	FRAME_END
	ret
SYM_FUNC_END put_task_struct

# rdi: a dead task that no CPU runs any more. Its slot and stack are free again.
C_FUNC_START __put_task_struct
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
	call	ftrace_graph_exit_task
	movq	$tasklist_lock, %rdi
	call	_raw_spin_lock
	movq	task_free_list(%rip), %rax
	movq	%rax, TASK_free_next(%rbx)
	movq	%rbx, task_free_list(%rip)
	movq	$tasklist_lock, %rdi
	call	_raw_spin_unlock
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __put_task_struct

# edi: pid. Returns the task or 0; tasklist_lock is held.
C_FUNC_START find_task_by_vpid
	movl	%edi, %eax
	andl	$PIDHASH_SIZE - 1, %eax
	movq	pid_hash(,%rax,8), %rax
1:	testq	%rax, %rax
	jz	2f
	cmpl	%edi, TASK_pid(%rax)
	je	2f
	movq	TASK_pid_next(%rax), %rax
	jmp	1b
2:	FRAME_END
	ret
SYM_FUNC_END find_task_by_vpid

# rdi: task; tasklist_lock is held. kernel: detach_pid()
C_FUNC_START detach_pid
	movl	TASK_pid(%rdi), %eax
	andl	$PIDHASH_SIZE - 1, %eax
	leaq	pid_hash - TASK_pid_next(,%rax,8), %rdx	/* as if the bucket were a task */
1:	movq	TASK_pid_next(%rdx), %rax
	testq	%rax, %rax
	jz	3f
	cmpq	%rdi, %rax
	je	2f
	movq	%rax, %rdx
	jmp	1b
2:	movq	TASK_pid_next(%rdi), %rax
	movq	%rax, TASK_pid_next(%rdx)
3:	FRAME_END
	ret
SYM_FUNC_END detach_pid

	.section .init.text, "ax", @progbits

# Every slot that is not an idle task's goes on the free list, the lowest first.
C_FUNC_START_NOTRACE fork_init
	movq	$task_structs + NR_TASKS * SIZEOF_task_struct, %rdi
	movq	$task_stacks + NR_TASKS * THREAD_SIZE, %rsi
	xorl	%eax, %eax
1:	subq	$SIZEOF_task_struct, %rdi
	subq	$THREAD_SIZE, %rsi
	movq	%rsi, TASK_stack(%rdi)
	cmpq	$task_structs + NR_CPUS * SIZEOF_task_struct, %rdi
	jb	2f
	movq	%rax, TASK_free_next(%rdi)
	movq	%rdi, %rax
2:	cmpq	$task_structs, %rdi
	ja	1b
	movq	%rax, task_free_list(%rip)
	movq	$init_task + TASK_tasks, %rax
	LIST_HEAD_INIT %rax
	FRAME_END
	ret
SYM_FUNC_END fork_init

	.data
SYM_DATA_START tasklist_lock
	.long	0
SYM_DATA_END tasklist_lock
SYM_DATA_START last_pid
	.long	0
SYM_DATA_END last_pid
SYM_DATA_START nr_threads
	.long	0
SYM_DATA_END nr_threads
SYM_DATA_START task_free_list
	.quad	0
SYM_DATA_END task_free_list

	.bss
	.p2align 3
SYM_DATA_START pid_hash
	.skip	8 * PIDHASH_SIZE
SYM_DATA_END pid_hash

# The arenas. Slots 0 to NR_CPUS - 1 are the idle tasks; init_task is CPU 0's.
	.bss
	.p2align 6
SYM_DATA_START init_task
SYM_DATA_START task_structs
	.skip	NR_TASKS * SIZEOF_task_struct
SYM_DATA_END task_structs
	.set	SIZEOF_init_task, SIZEOF_task_struct
	.size	init_task, SIZEOF_init_task

	.section .bss..task_stacks, "aw", @nobits
	.balign	THREAD_SIZE
SYM_DATA_START task_stacks
	.skip	NR_TASKS * THREAD_SIZE
task_stacks_end:
SYM_DATA_END task_stacks
	STACK_AREA task_stacks, task_stacks_end, THREAD_SIZE, 0

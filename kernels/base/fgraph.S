# kernel/trace/fgraph.c and kernel/trace/rethook.c: functions whose return is traced. The return address on the stack is
# replaced by a trampoline's and kept elsewhere: by function graph on the task's ret_stack, by a rethook in a node of a
# pool that is linked to the task. Nothing here is traceable.
# DIFFERS: function graph has one user, which counts; one pool of nodes for all rethooks.

	.include "kernel.inc"
	.include "calling.inc"

	.section .noinstr.text, "ax", @progbits

# graph_ops' callback. rdi: ip, rsi: parent_ip, rdx: ops, rcx: fregs, whose rsp is that of the function's caller after
# the call: it points to the return address. kernel: arch/x86/kernel/ftrace.c, ftrace_graph_func()
C_FUNC_START_NOTRACE ftrace_graph_func
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	movq	%rcx, %r12
	movl	$TRACE_FTRACE_START, %edi
	call	trace_test_and_set_recursion
	testl	%eax, %eax
	js	1f
	movl	%eax, %edi
	/* function_graph_enter(), ftrace_push_return_trace() */
	GET_CURRENT %rdx
	movq	TASK_ret_stack(%rdx), %rcx
	testq	%rcx, %rcx
	jz	2f
	movl	TASK_curr_ret_stack(%rdx), %eax
	cmpl	$FTRACE_RETFUNC_DEPTH, %eax
	jae	2f
	/* Counted first, filled next: an interrupt takes the entry above, and leaves it again. */
	incl	TASK_curr_ret_stack(%rdx)
	imulq	$SIZEOF_ftrace_ret_stack, %rax, %rax
	addq	%rax, %rcx
	movq	RSP(%r12), %rsi
	movq	(%rsi), %rax
	movq	%rax, RETS_ret(%rcx)
	movq	%rbx, RETS_func(%rcx)
	movq	%rsi, RETS_retp(%rcx)
	movq	$return_to_handler, (%rsi)
	lock incq fgraph_nr_entries(%rip)
2:	call	trace_clear_recursion
1:	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END ftrace_graph_func

# Where a traced function returns to. arch/x86/kernel/ftrace_64.S
SYM_CODE_START return_to_handler
	subq	$24, %rsp
	movq	%rax, (%rsp)
	movq	%rdx, 8(%rsp)
	movq	%rbp, 16(%rsp)
	call	ftrace_return_to_handler
	movq	%rax, %rdi
	movq	8(%rsp), %rdx
	movq	(%rsp), %rax
	addq	$24, %rsp
	/* As a call whose return address is replaced, so that calls and returns pair. */
	call	.Ldo_rop
	int3
.Ldo_rop:
	movq	%rdi, (%rsp)
	ret
SYM_CODE_END return_to_handler

# Takes current's last entry; returns the address to go on at. The entry is popped last.
C_FUNC_START_NOTRACE ftrace_return_to_handler
	GET_CURRENT %rdx
	movl	TASK_curr_ret_stack(%rdx), %eax
	decl	%eax
	js	1f
	imulq	$SIZEOF_ftrace_ret_stack, %rax, %rcx
	addq	TASK_ret_stack(%rdx), %rcx
	lock incq fgraph_nr_returns(%rip)
	movq	RETS_ret(%rcx), %rax
	decl	TASK_curr_ret_stack(%rdx)
	FRAME_END
	ret
1:	BUG "fgraph: a return without an entry"
SYM_FUNC_END ftrace_return_to_handler

# The pool of nodes: a lock with interrupts off, and nobody takes it in an NMI.
.macro RETHOOK_LOCK flags
	pushfq
	popq	\flags
	cli
780:	lock btsl $0, rethook_lock(%rip)
	jnc	782f
781:	pause
	testl	$1, rethook_lock(%rip)
	jnz	781b
	jmp	780b
782:
.endm
.macro RETHOOK_UNLOCK flags
	movl	$0, rethook_lock(%rip)
	pushq	\flags
	popfq
.endm

# rdi: pt_regs at the entry of a function, all of them. Hooks its return. Returns 0, or 1 when no node is free.
# kernel: rethook_try_get(), rethook_hook()
C_FUNC_START_NOTRACE rethook_hook
	testl	$0x00f00000, %gs:pcpu_hot+X86_preempt_count
	jnz	2f				/* in an NMI */
	RETHOOK_LOCK %r8
	movq	rethook_free(%rip), %rax
	testq	%rax, %rax
	jz	1f
	movq	RHN_next(%rax), %rdx
	movq	%rdx, rethook_free(%rip)
1:	RETHOOK_UNLOCK %r8
	testq	%rax, %rax
	jz	2f
	movq	RSP(%rdi), %rsi
	movq	(%rsi), %rdx
	movq	%rdx, RHN_ret_addr(%rax)
	movq	%rsi, RHN_frame(%rax)
	GET_CURRENT %rdx
	movq	TASK_rethooks(%rdx), %rcx
	movq	%rcx, RHN_next(%rax)
	movq	%rax, TASK_rethooks(%rdx)
	movq	$arch_rethook_trampoline, (%rsi)
	xorl	%eax, %eax
	FRAME_END
	ret
2:	lock incq rethook_nmissed(%rip)
	movl	$1, %eax
	FRAME_END
	ret
SYM_FUNC_END rethook_hook

# rdi: node. kernel: rethook_recycle()
C_FUNC_START_NOTRACE rethook_recycle
	RETHOOK_LOCK %r8
	movq	rethook_free(%rip), %rax
	movq	%rax, RHN_next(%rdi)
	movq	%rdi, rethook_free(%rip)
	RETHOOK_UNLOCK %r8
	FRAME_END
	ret
SYM_FUNC_END rethook_recycle

# arch/x86/kernel/rethook.c: a pt_regs over the slot for the return address, which the callback fills.
SYM_CODE_START arch_rethook_trampoline
	pushq	$arch_rethook_trampoline	/* a return address to come */
	pushq	$__KERNEL_DS
	pushq	%rsp
	pushfq
	pushq	$__KERNEL_CS
	pushq	$arch_rethook_trampoline
	pushq	$-1
	PUSH_REGS
	ENCODE_FRAME_POINTER
	movq	%rsp, %rdi
	call	arch_rethook_trampoline_callback
	POP_REGS
	addq	$8 * 3, %rsp			/* orig_ax, ip, cs */
	popfq
	leaq	8 * 2(%rsp), %rsp		/* sp, ss; the flags stay */
	ret
SYM_CODE_END arch_rethook_trampoline

# rdi: pt_regs; the word above them is the return address to fill in.
C_FUNC_START_NOTRACE arch_rethook_trampoline_callback
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	addq	$8 * 2, RSP(%rdi)		/* as the function's caller will have it */
	GET_CURRENT %rdx
	movq	TASK_rethooks(%rdx), %r12
	testq	%r12, %r12
	jz	1f
	movq	RHN_ret_addr(%r12), %rax
	movq	%rax, SIZEOF_pt_regs(%rbx)
	movq	%rax, RIP(%rbx)
	movq	rethook_handler(%rip), %rax
	testq	%rax, %rax
	jz	2f
	movq	%r12, %rdi
	movq	%rbx, %rsi
	call	*%rax
2:	GET_CURRENT %rdx
	movq	RHN_next(%r12), %rax
	movq	%rax, TASK_rethooks(%rdx)
	movq	%r12, %rdi
	call	rethook_recycle
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
1:	BUG "rethook: a return without a node"
SYM_FUNC_END arch_rethook_trampoline_callback

# A kretprobe's pre_handler. rdi: kprobe, rsi: pt_regs. kernel: pre_handler_kretprobe()
C_FUNC_START_NOTRACE pre_handler_kretprobe
	movq	%rsi, %rdi
	call	rethook_hook
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END pre_handler_kretprobe

	.text

# Gives every task a ret_stack: from now on those that are made get one too. kernel: alloc_retstack_tasklist()
C_FUNC_START alloc_retstack_tasklist
	pushq	%rbx
	pushq	%r12
	movl	$1, ftrace_graph_active(%rip)
	movq	$tasklist_lock, %rdi
	call	_raw_spin_lock
	xorl	%r12d, %r12d			/* the idle tasks are on no list */
	movq	$task_structs, %rbx
1:	movq	%rbx, %rdi
	call	ftrace_graph_init_task
	addq	$SIZEOF_task_struct, %rbx
	incl	%r12d
	cmpl	%r12d, nr_cpu_ids(%rip)
	ja	1b
	movq	init_task + TASK_tasks(%rip), %rbx
2:	cmpq	$init_task + TASK_tasks, %rbx
	je	3f
	leaq	-TASK_tasks(%rbx), %rdi
	call	ftrace_graph_init_task
	movq	(%rbx), %rbx
	jmp	2b
3:	movq	$tasklist_lock, %rdi
	call	_raw_spin_unlock
	xorl	%eax, %eax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END alloc_retstack_tasklist

# rdi: task. A ret_stack, if function graph is active and it has none; without one its functions are not traced.
C_FUNC_START_NOTRACE ftrace_graph_init_task
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
	cmpl	$0, ftrace_graph_active(%rip)
	je	1f
	cmpq	$0, TASK_ret_stack(%rbx)
	jne	1f
	movl	$FTRACE_RETFUNC_DEPTH * SIZEOF_ftrace_ret_stack, %edi
	call	kzalloc
	movq	%rax, TASK_ret_stack(%rbx)
1:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END ftrace_graph_init_task

# rdi: a dead task. Its entries are nobody's any more. kernel: ftrace_graph_exit_task(), rethook_flush_task()
C_FUNC_START_NOTRACE ftrace_graph_exit_task
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
1:	movq	TASK_rethooks(%rbx), %rdi
	testq	%rdi, %rdi
	jz	2f
	movq	RHN_next(%rdi), %rax
	movq	%rax, TASK_rethooks(%rbx)
	call	rethook_recycle
	jmp	1b
2:	movq	TASK_ret_stack(%rbx), %rdi
	movq	$0, TASK_ret_stack(%rbx)
	call	kfree
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END ftrace_graph_exit_task

	.data
SYM_DATA_START ftrace_graph_active
	.long	0
SYM_DATA_END ftrace_graph_active
SYM_DATA_START fgraph_nr_entries
	.quad	0
SYM_DATA_END fgraph_nr_entries
SYM_DATA_START fgraph_nr_returns
	.quad	0
SYM_DATA_END fgraph_nr_returns
SYM_DATA_START rethook_lock
	.long	0
SYM_DATA_END rethook_lock
SYM_DATA_START rethook_nmissed
	.quad	0
SYM_DATA_END rethook_nmissed
# Called with (node, pt_regs) when a hooked function returns.
SYM_DATA_START rethook_handler
	.quad	0
SYM_DATA_END rethook_handler
SYM_DATA_START graph_ops
	.quad	ftrace_graph_func, 0, 0, 0, 0, 0, 0
SYM_DATA_END graph_ops
SYM_DATA_START rethook_free
	.quad	rethook_nodes
SYM_DATA_END rethook_free
SYM_DATA_START rethook_nodes
	.set	.Lnode, 1
	.rept	NR_RETHOOK_NODES
	.if	.Lnode < NR_RETHOOK_NODES
	.quad	rethook_nodes + .Lnode * SIZEOF_rethook_node
	.else
	.quad	0
	.endif
	.quad	0, 0
	.set	.Lnode, .Lnode + 1
	.endr
SYM_DATA_END rethook_nodes

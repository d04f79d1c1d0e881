# kernel/trace/ftrace.c and trace_functions.c, the half that runs on every traced call or makes records: the list of
# ops, their filters, recursion protection, the function tracer. What is hooked and when is decided through the patch
# call (src/ftrace), under ftrace_lock.
# Nothing that a trampoline calls is traceable.

	.include "kernel.inc"

	.section .noinstr.text, "ax", @progbits

# edi: TRACE_*_START. Returns in eax the bit to give to trace_clear_recursion, preemption off; or -1: this context is
# here already. One more level is granted, for the moment in which an interrupt has not been counted yet.
C_FUNC_START_NOTRACE trace_test_and_set_recursion
	GET_CURRENT %rdx
	movl	%gs:pcpu_hot+X86_preempt_count, %ecx
	movl	$TRACE_CTX_NMI, %eax
	testl	$0x00f00000, %ecx
	jnz	1f
	movl	$TRACE_CTX_IRQ, %eax
	testl	$0x000f0000, %ecx
	jnz	1f
	movl	$TRACE_CTX_NORMAL, %eax
1:	addl	%edi, %eax
	btsl	%eax, TASK_trace_recursion(%rdx)
	jnc	2f
	leal	TRACE_CTX_TRANSITION(%rdi), %eax
	btsl	%eax, TASK_trace_recursion(%rdx)
	jnc	2f
	movl	$-1, %eax
	jmp	3f
2:	PREEMPT_DISABLE
3:	FRAME_END
	ret
SYM_FUNC_END trace_test_and_set_recursion

# edi: what trace_test_and_set_recursion returned.
C_FUNC_START_NOTRACE trace_clear_recursion
	pushq	%rbx
	subq	$8, %rsp
	movl	%edi, %ebx
	PREEMPT_ENABLE
	GET_CURRENT %rdx
	btrl	%ebx, TASK_trace_recursion(%rdx)
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END trace_clear_recursion

# The callee of ftrace_caller and ftrace_regs_caller while there is more than one ops, or one that comes and goes:
# calls every ops whose filter takes the site. rdi: ip, rsi: parent_ip, rcx: fregs.
C_FUNC_START_NOTRACE ftrace_ops_list_func
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	subq	$8, %rsp
	movq	%rdi, %rbx
	movq	%rsi, %r12
	movq	%rcx, %r13
	movl	$TRACE_LIST_START, %edi
	call	trace_test_and_set_recursion
	testl	%eax, %eax
	js	4f
	movl	%eax, %r15d
	movq	ftrace_ops_list(%rip), %r14
1:	cmpq	$ftrace_list_end, %r14
	je	3f
	testl	$FTRACE_OPS_FL_STUB, FOPS_flags(%r14)
	jnz	2f
	movq	%r14, %rdi
	movq	%rbx, %rsi
	call	ftrace_ops_test
	testl	%eax, %eax
	jz	2f
	movq	%rbx, %rdi
	movq	%r12, %rsi
	movq	%r14, %rdx
	movq	%r13, %rcx
	call	*FOPS_func(%r14)
2:	movq	FOPS_next(%r14), %r14
	jmp	1b
3:	movl	%r15d, %edi
	call	trace_clear_recursion
4:	addq	$8, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END ftrace_ops_list_func

# rdi: ops, rsi: ip. Returns 1 if its filter takes the site: an empty one takes all.
C_FUNC_START_NOTRACE ftrace_ops_test
	movq	FOPS_hash(%rdi), %rdx
	movl	$1, %eax
	testq	%rdx, %rdx
	jz	4f
	movq	FHASH_count(%rdx), %rcx
	testq	%rcx, %rcx
	jz	4f
	addq	$SIZEOF_ftrace_hash, %rdx
	xorl	%r8d, %r8d			/* ftrace_lookup_ip(): between r8 and rcx */
1:	cmpq	%rcx, %r8
	jae	3f
	leaq	(%r8,%rcx), %r9
	shrq	%r9
	cmpq	%rsi, (%rdx,%r9,8)
	je	4f
	ja	2f
	leaq	1(%r9), %r8
	jmp	1b
2:	movq	%r9, %rcx
	jmp	1b
3:	xorl	%eax, %eax
4:	FRAME_END
	ret
SYM_FUNC_END ftrace_ops_test

# The function tracer's callback: an entry in this CPU's ring. rdi: ip, rsi: parent_ip, rdx: ops, rcx: fregs.
C_FUNC_START_NOTRACE function_trace_call
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	movq	%rsi, %r12
	movl	$TRACE_FTRACE_START, %edi
	call	trace_test_and_set_recursion
	testl	%eax, %eax
	js	1f
	movl	%eax, %edi
	movl	$1, %ecx			/* reserved before it is filled: an NMI takes the next */
	xaddq	%rcx, %gs:trace_head
	movl	%gs:pcpu_hot+X86_cpu_number, %esi
	andl	$NR_TRACE_ENTRIES - 1, %ecx
	imull	$NR_TRACE_ENTRIES, %esi, %r8d
	addl	%ecx, %r8d
	imulq	$SIZEOF_trace_entry, %r8, %r8
	addq	$trace_ring, %r8
	movq	%rbx, TRE_ip(%r8)
	movq	%r12, TRE_parent_ip(%r8)
	movq	%rsi, TRE_cpu(%r8)
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	movq	%rax, TRE_time(%r8)
	GET_CURRENT %rdx
	movq	%rdx, TRE_task(%r8)
	call	trace_clear_recursion
1:	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END function_trace_call

	.text

# ftrace_sync(): what schedule_on_each_cpu runs to know that no CPU is where preemption is off any more.
C_FUNC_START rcu_tasks_be_rude
	FRAME_END
	ret
SYM_FUNC_END rcu_tasks_be_rude

# rdi, rsi: an array of fentry sites, rcx (the patch call's third argument): struct module or 0. Makes their records. A module's sites become nops; nobody
# can run there yet. Returns the ftrace_page, or 0. ftrace_lock is held, or nobody else runs.
C_FUNC_START ftrace_process_locs
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	movq	%rdi, %rbx
	movq	%rsi, %r12
	movq	%rcx, %r13
	movq	%rsi, %rdi
	subq	%rbx, %rdi
	addq	%rdi, %rdi			/* 16 bytes for each 8 */
	addq	$SIZEOF_ftrace_page, %rdi
	call	kzalloc
	testq	%rax, %rax
	jz	6f
	movq	%r13, FTP_mod(%rax)
	leaq	SIZEOF_ftrace_page(%rax), %rdx	/* the first record */
	movq	%rdx, %rcx			/* behind the last one */
1:	cmpq	%r12, %rbx
	jae	5f
	movq	(%rbx), %rsi
	addq	$8, %rbx
	testq	%r13, %r13
	jz	2f
	movl	$0x00441f0f, (%rsi)		/* ftrace_nop_initialize() */
	movb	$0, 4(%rsi)
2:	movq	%rcx, %rdi			/* sort(): they come almost in order */
3:	cmpq	%rdx, %rdi
	jbe	4f
	cmpq	%rsi, REC_ip - SIZEOF_dyn_ftrace(%rdi)
	jbe	4f
	movq	REC_ip - SIZEOF_dyn_ftrace(%rdi), %r8
	movq	%r8, REC_ip(%rdi)
	subq	$SIZEOF_dyn_ftrace, %rdi
	jmp	3b
4:	movq	%rsi, REC_ip(%rdi)
	addq	$SIZEOF_dyn_ftrace, %rcx
	incq	FTP_index(%rax)
	jmp	1b
5:	movq	ftrace_pages_start(%rip), %rdx
	movq	%rdx, FTP_next(%rax)
	movq	%rax, ftrace_pages_start(%rip)
6:	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END ftrace_process_locs

# rdi: struct module. Forgets its records. ftrace_lock is held.
C_FUNC_START ftrace_release_mod
	movq	$ftrace_pages_start - FTP_next, %rdx
1:	movq	FTP_next(%rdx), %rax
	testq	%rax, %rax
	jz	3f
	cmpq	%rdi, FTP_mod(%rax)
	je	2f
	movq	%rax, %rdx
	jmp	1b
2:	movq	FTP_next(%rax), %rcx
	movq	%rcx, FTP_next(%rdx)
	movq	%rax, %rdi
	call	kfree
3:	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END ftrace_release_mod

	.section .init.text, "ax", @progbits

C_FUNC_START_NOTRACE ftrace_init
	movq	$__start_mcount_loc, %rdi
	movq	$__stop_mcount_loc, %rsi
	xorl	%ecx, %ecx
	call	ftrace_process_locs
	FRAME_END
	ret
SYM_FUNC_END ftrace_init

	.data
SYM_DATA_START ftrace_pages_start
	.quad	0
SYM_DATA_END ftrace_pages_start
SYM_DATA_START ftrace_ops_list
	.quad	ftrace_list_end
SYM_DATA_END ftrace_ops_list
# What ftrace_caller passes to its callee as ops.
SYM_DATA_START function_trace_op
	.quad	ftrace_list_end
SYM_DATA_END function_trace_op
# What it will pass once every CPU has let go of the old one.
SYM_DATA_START set_function_trace_op
	.quad	ftrace_list_end
SYM_DATA_END set_function_trace_op
SYM_DATA_START ftrace_trace_function
	.quad	ftrace_stub
SYM_DATA_END ftrace_trace_function
SYM_DATA_START saved_ftrace_func
	.quad	ftrace_stub
SYM_DATA_END saved_ftrace_func
SYM_DATA_START ftrace_start_up
	.long	0
SYM_DATA_END ftrace_start_up
# The sysctl; ftrace_disabled is for ever.
SYM_DATA_START ftrace_enabled
	.long	1
SYM_DATA_END ftrace_enabled
SYM_DATA_START ftrace_disabled
	.long	0
SYM_DATA_END ftrace_disabled

	DEFINE_FTRACE_OPS ftrace_list_end, ftrace_stub, FTRACE_OPS_FL_STUB
	DEFINE_FTRACE_OPS function_trace_ops, function_trace_call, 0

DEFINE_MUTEX ftrace_lock

	.bss
	.p2align 3
SYM_DATA_START trace_ring
	.skip	NR_CPUS * NR_TRACE_ENTRIES * SIZEOF_trace_entry
SYM_DATA_END trace_ring

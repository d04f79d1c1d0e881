# kpatch's core module, the part that runs on every call of a patched function: the callback of its one ftrace_ops, and the
# functions that it finds by their fentry sites. What is added and removed, and when, comes through the patch call.
# kernel: kpatch's kmod/core/core.c, kpatch_ftrace_handler(), kpatch_get_func(), kpatch_get_prev_func().
# DIFFERS: the hash has one bucket.

	.include "kernel.inc"

	.set	NMI_MASK, 0x00f00000		/* of preempt_count */
	.set	MCOUNT_INSN_SIZE, 5

	.section .noinstr.text, "ax", @progbits

# rdi: ip, rsi: parent_ip, rdx: ops, rcx: fregs.
# stop_machine does not stop an NMI: one that comes here while functions are being changed takes the variant of before, and
# marks the change as failed, so that whoever makes it rolls it back. Pairs with kpatch_state_finish().
C_FUNC_START_NOTRACE kpatch_ftrace_handler
	PREEMPT_DISABLE
	testl	$NMI_MASK, %gs:pcpu_hot+X86_preempt_count
	jnz	1f
	movq	kpatch_func_hash(%rip), %rax
	call	kpatch_find_func
	jmp	3f
1:	movl	$KPATCH_STATE_UPDATING, %eax	/* kpatch_state_finish(KPATCH_STATE_FAILURE) */
	movl	$KPATCH_STATE_FAILURE, %r8d
	lock cmpxchgl %r8d, kpatch_state(%rip)
	cmovnel	%eax, %r8d
	/* smp_rmb(): the state before the hash */
	movq	kpatch_func_hash(%rip), %rax
	call	kpatch_find_func
	testq	%rax, %rax
	jz	4f
	cmpl	$KPATCH_STATE_IDLE, %r8d
	je	3f
	/* Of a change that succeeded, the functions that go are gone; of any other those that come are not there. */
	movl	$KPATCH_OP_PATCH, %edx
	movl	$KPATCH_OP_UNPATCH, %r9d
	cmpl	$KPATCH_STATE_SUCCESS, %r8d
	cmovel	%r9d, %edx
	cmpl	%edx, KPF_op(%rax)
	jne	3f
	movq	KPF_next(%rax), %rax		/* kpatch_get_prev_func() */
	call	kpatch_find_func
3:	testq	%rax, %rax
	jz	4f
	movq	KPF_new_addr(%rax), %rax
	addq	$MCOUNT_INSN_SIZE, %rax		/* past the new function's own fentry, wherever that is */
	movq	%rax, RIP(%rcx)
4:
SYM_INNER_LABEL kpatch_chosen
	PREEMPT_ENABLE
	FRAME_END
	ret
SYM_FUNC_END kpatch_ftrace_handler

# rax: a kpatch_func or 0, rdi: ip. Returns in rax the first one from there on whose site that is, or 0: the one that was
# added last comes first. Changes nothing else.
C_FUNC_START_NOTRACE kpatch_find_func
1:	testq	%rax, %rax
	jz	2f
	cmpq	%rdi, KPF_old_addr(%rax)
	je	2f
	movq	KPF_next(%rax), %rax
	jmp	1b
2:	FRAME_END
	ret
SYM_FUNC_END kpatch_find_func

	.data
	DEFINE_FTRACE_OPS kpatch_ftrace_ops, kpatch_ftrace_handler, FTRACE_OPS_FL_IPMODIFY
SYM_DATA_START kpatch_func_hash
	.quad	0
SYM_DATA_END kpatch_func_hash
SYM_DATA_START kpatch_state
	.long	KPATCH_STATE_IDLE
SYM_DATA_END kpatch_state

# kernel/livepatch: the part of upstream livepatch that tasks execute. patch.c's ftrace handler, transition.c's hooks of
# exit to user mode, idle and cond_resched, state.c, shadow.c, and the words that a transition is made of. What a
# transition decides (core.c, the rest of transition.c) comes through the patch call, under klp_mutex.
# Order of the words: patch_state of every task before func->transition, that before the func_stack, klp_target_state
# before TIF_PATCH_PENDING. A store is seen at once here, so the barriers are places where the patch core can be preempted.

	.include "kernel.inc"

	.section .noinstr.text, "ax", @progbits

# rdi: ip of the site, rsi: parent ip, rdx: the ftrace_ops at the end of a klp_ops, rcx: pt_regs.
# kernel/livepatch/patch.c. Preemption is off as under ftrace_test_recursion_trylock(), so that klp_synchronize_transition()
# waits for it. DIFFERS: no recursion bit: nothing that is called here can be traced.
C_FUNC_START_NOTRACE klp_ftrace_handler
	PREEMPT_DISABLE
	leaq	KLPOPS_func_stack - SIZEOF_klp_ops(%rdx), %rdx
	movq	(%rdx), %rax			/* list_first_or_null_rcu() */
	cmpq	%rdx, %rax
	je	9f
	/* smp_rmb(): pairs with func->transition before the func_stack */
	cmpb	$0, KLPF_transition - KLPF_stack_node(%rax)
	je	2f
	/* smp_rmb(): pairs with patch_state before func->transition */
	GET_CURRENT %r8
	movl	TASK_patch_state(%r8), %r8d
	testl	%r8d, %r8d
	js	8f
	jnz	2f
	movq	(%rax), %rax			/* unpatched: the next one down, or the original */
	cmpq	%rdx, %rax
	je	9f
2:	cmpb	$0, KLPF_nop - KLPF_stack_node(%rax)
	jne	9f
	movq	KLPF_new_func - KLPF_stack_node(%rax), %rax
	movq	%rax, RIP(%rcx)
9:
SYM_INNER_LABEL klp_chosen
	PREEMPT_ENABLE
	FRAME_END
	ret
8:	BUG "klp_ftrace_handler: a task has no patch state in a transition"
SYM_FUNC_END klp_ftrace_handler

	.text

# rdi: current, or a task that klp_mutex and tasklist_lock keep. kernel/livepatch/transition.c. The flag is seen
# before the target is read.
C_FUNC_START_NOTRACE klp_update_patch_state
	PREEMPT_DISABLE
	lock btrl $TIF_PATCH_PENDING, TASK_TI_flags(%rdi)
	jnc	1f
	movl	klp_target_state(%rip), %eax
	movl	%eax, TASK_patch_state(%rdi)
SYM_INNER_LABEL klp_switched
	nop
1:	PREEMPT_ENABLE
	FRAME_END
	ret
SYM_FUNC_END klp_update_patch_state

# From __cond_resched() while klp_resched_enabled: current looks at its own stack. Whose frames are on it is for the
# patch core to say; it may not sleep here.
C_FUNC_START_NOTRACE __klp_sched_try_switch
	pushq	%rbx
	subq	$8, %rsp
	GET_CURRENT %rbx
	testl	$_TIF_PATCH_PENDING, TASK_TI_flags(%rbx)
	jz	2f
	PREEMPT_DISABLE
	testl	$_TIF_PATCH_PENDING, TASK_TI_flags(%rbx)
	jz	1f
	HYPERCALL HC_KLP_CHECK_STACK
	testl	%eax, %eax
	jnz	1f
	movq	%rbx, %rdi
	call	klp_update_patch_state
1:	PREEMPT_ENABLE
2:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __klp_sched_try_switch

# klp_sync(): the work that klp_synchronize_transition() schedules on each CPU and waits for.
C_FUNC_START_NOTRACE klp_sync
	FRAME_END
	ret
SYM_FUNC_END klp_sync

# rdi: task. The locks of task_call_func(): returns the flags for klp_task_call_unlock.
C_FUNC_START_NOTRACE klp_task_call_lock
	movl	TASK_TI_cpu(%rdi), %eax
	movq	__per_cpu_offset(,%rax,8), %rdi
	addq	$runqueues, %rdi
	call	_raw_spin_lock_irqsave
	FRAME_END
	ret
SYM_FUNC_END klp_task_call_lock

# rdi: task, rsi: flags.
C_FUNC_START_NOTRACE klp_task_call_unlock
	movl	TASK_TI_cpu(%rdi), %eax
	movq	__per_cpu_offset(,%rax,8), %rdi
	addq	$runqueues, %rdi
	call	_raw_spin_unlock_irqrestore
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END klp_task_call_unlock

# edi: cpu. kernel/sched/core.c: its idle task, if it runs, goes through its loop.
C_FUNC_START_NOTRACE wake_up_if_idle
	pushq	%rbx
	pushq	%r12
	movl	%edi, %edi
	movq	__per_cpu_offset(,%rdi,8), %rbx
	addq	$runqueues, %rbx
	movq	%rbx, %rdi
	call	_raw_spin_lock_irqsave
	movq	%rax, %r12
	movq	RQ_curr(%rbx), %rax
	cmpq	RQ_idle(%rbx), %rax
	jne	1f
	movq	%rbx, %rdi
	call	resched_curr
1:	movq	%rbx, %rdi
	movq	%r12, %rsi
	call	_raw_spin_unlock_irqrestore
	xorl	%eax, %eax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END wake_up_if_idle

# rdi: klp_patch. From the init function of a livepatch module. Returns 0 or an errno.
C_FUNC_START klp_enable_patch
	movq	%rdi, %rsi
	movl	$UPCALL_KLP_ENABLE_PATCH, %edi
	call	patch_upcall
	FRAME_END
	ret
SYM_FUNC_END klp_enable_patch

# rdi: klp_patch, rsi: id. Returns the klp_state or 0. kernel/livepatch/state.c
C_FUNC_START klp_get_state
	movq	KLPP_states(%rdi), %rax
	testq	%rax, %rax
	jz	3f
1:	cmpq	$0, KLPS_id(%rax)
	je	2f
	cmpq	%rsi, KLPS_id(%rax)
	je	3f
	addq	$SIZEOF_klp_state, %rax
	jmp	1b
2:	xorl	%eax, %eax
3:	FRAME_END
	ret
SYM_FUNC_END klp_get_state

# rdi: id. The state as the last of the patches below the one in transition has it, or 0; for callbacks.
C_FUNC_START klp_get_prev_state
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	subq	$8, %rsp
	movq	%rdi, %r12
	xorl	%r13d, %r13d
	movq	klp_patches(%rip), %rbx
1:	cmpq	$klp_patches, %rbx
	je	3f
	leaq	-KLPP_list(%rbx), %rdi
	cmpq	klp_transition_patch(%rip), %rdi
	je	3f
	movq	%r12, %rsi
	call	klp_get_state
	testq	%rax, %rax
	cmovnzq	%rax, %r13
	movq	(%rbx), %rbx
	jmp	1b
3:	movq	%r13, %rax
	addq	$8, %rsp
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END klp_get_prev_state

# kernel/livepatch/shadow.c: data attached to an object by (obj, id). klp_shadow_lock guards the buckets; readers
# take it too. DIFFERS: no RCU.

# rdi: obj. Returns the address of its bucket.
C_FUNC_START_NOTRACE klp_shadow_bucket
	movabsq	$0x61c8864680b583eb, %rax	/* hash_64() */
	imulq	%rdi, %rax
	shrq	$64 - KLP_SHADOW_HASH_BITS, %rax
	leaq	klp_shadow_hash(,%rax,8), %rax
	FRAME_END
	ret
SYM_FUNC_END klp_shadow_bucket

# rdi: obj, rsi: id. Returns its klp_shadow or 0; klp_shadow_lock is held.
C_FUNC_START_NOTRACE klp_shadow_find
	call	klp_shadow_bucket
	movq	(%rax), %rax
1:	testq	%rax, %rax
	jz	2f
	cmpq	%rdi, KLPSH_obj(%rax)
	jne	3f
	cmpq	%rsi, KLPSH_id(%rax)
	je	2f
3:	movq	KLPSH_next(%rax), %rax
	jmp	1b
2:	FRAME_END
	ret
SYM_FUNC_END klp_shadow_find

# rdi: obj, rsi: id. Returns the data or 0.
C_FUNC_START klp_shadow_get
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	movq	%rsi, %r12
	movq	$klp_shadow_lock, %rdi
	call	_raw_spin_lock_irqsave
	pushq	%rax
	subq	$8, %rsp
	movq	%rbx, %rdi
	movq	%r12, %rsi
	call	klp_shadow_find
	testq	%rax, %rax
	jz	1f
	addq	$SIZEOF_klp_shadow, %rax
1:	movq	%rax, %rbx
	addq	$8, %rsp
	popq	%rsi
	movq	$klp_shadow_lock, %rdi
	call	_raw_spin_unlock_irqrestore
	movq	%rbx, %rax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END klp_shadow_get

# rdi: obj, rsi: id, rdx: size, rcx: ctor(obj, data, ctor_data) or 0, r8: ctor_data, r9d: 1 if an existing one is an
# answer. Returns the data or 0.
C_FUNC_START_NOTRACE __klp_shadow_get_or_alloc
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	subq	$24, %rsp
	movq	%rdi, %rbx
	movq	%rsi, %r12
	movq	%rcx, %r13
	movq	%r8, %r14
	movl	%r9d, 8(%rsp)
	leaq	SIZEOF_klp_shadow(%rdx), %rdi
	call	kzalloc				/* before the lock, as the kernel has it */
	movq	%rax, %r15
	movq	$klp_shadow_lock, %rdi
	call	_raw_spin_lock_irqsave
	movq	%rax, (%rsp)
	movq	%rbx, %rdi
	movq	%r12, %rsi
	call	klp_shadow_find
	testq	%rax, %rax
	jnz	5f
	testq	%r15, %r15
	jz	4f
	movq	%rbx, KLPSH_obj(%r15)
	movq	%r12, KLPSH_id(%r15)
	testq	%r13, %r13
	jz	2f
	movq	%rbx, %rdi
	leaq	SIZEOF_klp_shadow(%r15), %rsi
	movq	%r14, %rdx
	call	*%r13
	testl	%eax, %eax
	jnz	6f				/* the constructor refused */
2:	movq	%rbx, %rdi
	call	klp_shadow_bucket
	movq	(%rax), %rdx
	movq	%rdx, KLPSH_next(%r15)
	movq	%r15, (%rax)
	leaq	SIZEOF_klp_shadow(%r15), %rbx
4:	testq	%r15, %r15
	cmovzq	%r15, %rbx
	movq	(%rsp), %rsi
	movq	$klp_shadow_lock, %rdi
	call	_raw_spin_unlock_irqrestore
	movq	%rbx, %rax
3:	addq	$24, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
5:	leaq	SIZEOF_klp_shadow(%rax), %rbx
	cmpl	$0, 8(%rsp)
	jne	7f
6:	xorl	%ebx, %ebx
7:	movq	(%rsp), %rsi
	movq	$klp_shadow_lock, %rdi
	call	_raw_spin_unlock_irqrestore
	movq	%r15, %rdi
	call	kfree
	movq	%rbx, %rax
	jmp	3b
SYM_FUNC_END __klp_shadow_get_or_alloc

# (obj, id, size, ctor, ctor_data): 0 when it exists already.
C_FUNC_START klp_shadow_alloc
	xorl	%r9d, %r9d
	call	__klp_shadow_get_or_alloc
	FRAME_END
	ret
SYM_FUNC_END klp_shadow_alloc

# (obj, id, size, ctor, ctor_data): the existing one, without calling the constructor, or a new one.
C_FUNC_START klp_shadow_get_or_alloc
	movl	$1, %r9d
	call	__klp_shadow_get_or_alloc
	FRAME_END
	ret
SYM_FUNC_END klp_shadow_get_or_alloc

# rdi: the word that points to a klp_shadow, rsi: dtor(obj, data) or 0; klp_shadow_lock is held.
C_FUNC_START_NOTRACE klp_shadow_free_struct
	pushq	%rbx
	subq	$8, %rsp
	movq	(%rdi), %rbx
	movq	KLPSH_next(%rbx), %rax
	movq	%rax, (%rdi)
	testq	%rsi, %rsi
	jz	1f
	movq	%rsi, %rax
	movq	KLPSH_obj(%rbx), %rdi
	leaq	SIZEOF_klp_shadow(%rbx), %rsi
	call	*%rax
1:	movq	%rbx, %rdi
	call	kfree
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END klp_shadow_free_struct

# rdi: obj, rsi: id, rdx: dtor or 0.
C_FUNC_START klp_shadow_free
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	subq	$8, %rsp
	movq	%rdi, %rbx
	movq	%rsi, %r12
	movq	%rdx, %r13
	movq	$klp_shadow_lock, %rdi
	call	_raw_spin_lock_irqsave
	movq	%rax, (%rsp)
	movq	%rbx, %rdi
	call	klp_shadow_bucket
1:	movq	(%rax), %rdx
	testq	%rdx, %rdx
	jz	3f
	cmpq	%rbx, KLPSH_obj(%rdx)
	jne	2f
	cmpq	%r12, KLPSH_id(%rdx)
	jne	2f
	movq	%rax, %rdi
	movq	%r13, %rsi
	call	klp_shadow_free_struct
	jmp	3f
2:	leaq	KLPSH_next(%rdx), %rax
	jmp	1b
3:	movq	(%rsp), %rsi
	movq	$klp_shadow_lock, %rdi
	call	_raw_spin_unlock_irqrestore
	addq	$8, %rsp
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END klp_shadow_free

# rdi: id, rsi: dtor or 0.
C_FUNC_START klp_shadow_free_all
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	movq	%rdi, %r12
	movq	%rsi, %r13
	movq	$klp_shadow_lock, %rdi
	call	_raw_spin_lock_irqsave
	movq	%rax, %r14
	movq	$klp_shadow_hash, %rbx
1:	movq	%rbx, %rax
2:	movq	(%rax), %rdx
	testq	%rdx, %rdx
	jz	4f
	cmpq	%r12, KLPSH_id(%rdx)
	jne	3f
	pushq	%rax
	subq	$8, %rsp
	movq	%rax, %rdi
	movq	%r13, %rsi
	call	klp_shadow_free_struct
	addq	$8, %rsp
	popq	%rax
	jmp	2b
3:	leaq	KLPSH_next(%rdx), %rax
	jmp	2b
4:	addq	$8, %rbx
	cmpq	$klp_shadow_hash + (8 << KLP_SHADOW_HASH_BITS), %rbx
	jb	1b
	movq	%r14, %rsi
	movq	$klp_shadow_lock, %rdi
	call	_raw_spin_unlock_irqrestore
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END klp_shadow_free_all

	.data
DEFINE_MUTEX klp_mutex
SYM_DATA_START klp_patches
	.quad	klp_patches, klp_patches
SYM_DATA_END klp_patches
SYM_DATA_START klp_ops
	.quad	klp_ops, klp_ops
SYM_DATA_END klp_ops
SYM_DATA_START klp_transition_patch
	.quad	0
SYM_DATA_END klp_transition_patch
SYM_DATA_START klp_target_state
	.long	KLP_TRANSITION_IDLE
SYM_DATA_END klp_target_state
SYM_DATA_START klp_signals_cnt
	.long	0
SYM_DATA_END klp_signals_cnt
SYM_DATA_START klp_resched_enabled
	.long	0
SYM_DATA_END klp_resched_enabled
SYM_DATA_START klp_shadow_lock
	.long	0
SYM_DATA_END klp_shadow_lock
SYM_DATA_START klp_shadow_hash
	.skip	8 << KLP_SHADOW_HASH_BITS
SYM_DATA_END klp_shadow_hash

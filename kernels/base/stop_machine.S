# kernel/stop_machine.c: a highest-priority thread per CPU, and stop_machine on top of them.
# The state machine PREPARE -> DISABLE_IRQ -> RUN -> EXIT advances when every CPU has acknowledged;
# fn runs in RUN on the first CPU. NMIs still come.
# DIFFERS: one work per stopper at a time, under stop_cpus_mutex; every CPU executes a serializing
# instruction before it leaves RUN, so that fn may have written text.

	.include "kernel.inc"

	.text

# rdi: fn, rsi: data. Returns what fn returned.
C_FUNC_START stop_machine
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	subq	$SIZEOF_multi_stop_data, %rsp
	movq	%rdi, MSD_fn(%rsp)
	movq	%rsi, MSD_data(%rsp)
	movl	nr_cpu_ids(%rip), %eax
	movl	%eax, MSD_num_threads(%rsp)
	movl	%eax, MSD_todo(%rsp)
	movl	%eax, MSD_thread_ack(%rsp)
	movl	$MULTI_STOP_PREPARE, MSD_state(%rsp)
	movq	$0, MSD_ret(%rsp)
	GET_CURRENT %rbx
	movq	%rbx, MSD_waiter(%rsp)
	movq	$stop_cpus_mutex, %rdi
	call	mutex_lock

	/* queue_stop_cpus_work(): not preempted by our own stopper before the last is queued. */
	PREEMPT_DISABLE
	xorl	%r12d, %r12d
1:	movq	__per_cpu_offset(,%r12,8), %r13
	addq	$cpu_stopper, %r13
	movq	%rsp, STOPPER_arg(%r13)
	movq	$multi_cpu_stop, STOPPER_fn(%r13)
	movq	STOPPER_thread(%r13), %rdi
	call	wake_up_process
	incl	%r12d
	cmpl	%r12d, nr_cpu_ids(%rip)
	ja	1b
	PREEMPT_ENABLE

	/* wait_for_completion() */
2:	movl	$TASK_UNINTERRUPTIBLE, %eax
	xchgl	%eax, TASK_state(%rbx)
	cmpl	$0, MSD_todo(%rsp)
	je	3f
	call	schedule
	jmp	2b
3:	movl	$TASK_RUNNING, TASK_state(%rbx)
	movq	$stop_cpus_mutex, %rdi
	call	mutex_unlock
	movq	MSD_ret(%rsp), %rax
	addq	$SIZEOF_multi_stop_data, %rsp
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END stop_machine

# rdi: multi_stop_data. On every CPU, in its stopper thread.
C_FUNC_START multi_cpu_stop
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	subq	$8, %rsp
	movq	%rdi, %rbx
	pushfq
	popq	%r13
	movl	$MULTI_STOP_NONE, %r12d		/* curstate */
1:	pause
	movl	MSD_state(%rbx), %eax
	cmpl	%r12d, %eax
	je	4f
	movl	%eax, %r12d
	cmpl	$MULTI_STOP_DISABLE_IRQ, %eax
	jne	2f
	cli
	jmp	3f
2:	cmpl	$MULTI_STOP_RUN, %eax
	jne	3f
	cmpl	$0, %gs:pcpu_hot+X86_cpu_number
	jne	3f
	movq	MSD_data(%rbx), %rdi
	call	*MSD_fn(%rbx)
	movq	%rax, MSD_ret(%rbx)
3:	movq	%rbx, %rdi
	call	ack_state
4:	cmpl	$MULTI_STOP_EXIT, %r12d
	jne	1b
	call	do_sync_core
	testl	$X86_EFLAGS_IF, %r13d
	jz	5f
	sti
5:
SYM_INNER_LABEL multi_cpu_stop_exit
	xorl	%eax, %eax
	addq	$8, %rsp
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END multi_cpu_stop

# rdi: multi_stop_data. The last to acknowledge sets the next state.
C_FUNC_START ack_state
	lock decl MSD_thread_ack(%rdi)
	jnz	1f
	movl	MSD_num_threads(%rdi), %eax
	movl	%eax, MSD_thread_ack(%rdi)
	incl	MSD_state(%rdi)
1:	FRAME_END
	ret
SYM_FUNC_END ack_state

# A cpu_stopper/N thread. rdi: its CPU's cpu_stopper.
C_FUNC_START cpu_stopper_thread
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	GET_CURRENT %r12
1:	movl	$TASK_INTERRUPTIBLE, %eax
	xchgl	%eax, TASK_state(%r12)
	cmpq	$0, STOPPER_fn(%rbx)
	jne	2f
	call	schedule
	jmp	1b
2:	movl	$TASK_RUNNING, TASK_state(%r12)
	movq	STOPPER_fn(%rbx), %rax
	movq	$0, STOPPER_fn(%rbx)
	movq	STOPPER_arg(%rbx), %rdi
	call	*%rax
	/* cpu_stop_signal_done(): the waiter's frame may go once `todo` is 0. */
	movq	STOPPER_arg(%rbx), %rdx
	movq	MSD_waiter(%rdx), %rdi
	lock decl MSD_todo(%rdx)
	jnz	1b
	call	wake_up_process
	jmp	1b
SYM_FUNC_END cpu_stopper_thread

# A stop_machine function: does what the patch call orders, with every CPU stopped.
C_FUNC_START patch_stop_fn
	xorl	%edi, %edi
	call	patch_loop
	FRAME_END
	ret
SYM_FUNC_END patch_stop_fn

	.section .init.text, "ax", @progbits

# In kernel_init, once every CPU is online.
C_FUNC_START_NOTRACE cpu_stop_init
	pushq	%rbx
	pushq	%r12
	xorl	%ebx, %ebx
1:	movq	__per_cpu_offset(,%rbx,8), %r12
	leaq	cpu_stopper(%r12), %rsi
	movq	$cpu_stopper_thread, %rdi
	leaq	(,%rbx,4), %rdx
	leaq	.Lstopper_names(%rdx,%rdx,2), %rdx
	movl	%ebx, %ecx
	call	kthread_create_on_cpu
	movl	$0, TASK_prio(%rax)
	movq	%rax, cpu_stopper + STOPPER_thread(%r12)
	movq	%rax, runqueues + RQ_stop(%r12)
	movq	%rax, %rdi
	call	wake_up_process
	incl	%ebx
	cmpl	%ebx, nr_cpu_ids(%rip)
	ja	1b
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END cpu_stop_init

	.section .rodata, "a", @progbits
.Lstopper_names:
	.ascii	"migration/0\0"
	.ascii	"migration/1\0"
	.ascii	"migration/2\0"
	.ascii	"migration/3\0"
	.ascii	"migration/4\0"
	.ascii	"migration/5\0"
	.ascii	"migration/6\0"
	.ascii	"migration/7\0"

	.data
DEFINE_MUTEX stop_cpus_mutex

# kernel/workqueue.c: one pool of one worker for each CPU, and work that runs on each of them in process context.
# Locking: a pool's list is under its lock, with interrupts off.
# DIFFERS: one worker for each CPU, bound to it, which parks when asked; no rescuer, no unbound pools.

	.include "kernel.inc"

	.text

# rdi: work_struct with `func` set, esi: cpu.
C_FUNC_START queue_work_on
	pushq	%rbx
	pushq	%r12
	movq	%rdi, %rbx
	movl	%esi, %esi
	movq	__per_cpu_offset(,%rsi,8), %r12
	addq	$cpu_worker_pool, %r12
	movq	%r12, %rdi
	call	_raw_spin_lock_irqsave
	movq	%rax, %rsi
	leaq	POOL_worklist(%r12), %rax
	LIST_ADD_TAIL %rbx, %rax, %rdx
	movq	%r12, %rdi
	call	_raw_spin_unlock_irqrestore
	movq	POOL_worker(%r12), %rdi
	call	wake_up_process
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END queue_work_on

# kworker/N:0. rdi: its pool.
C_FUNC_START worker_thread
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	subq	$8, %rsp
	movq	%rdi, %rbx
	GET_CURRENT %r12
1:	call	kgr_task_safe			/* between two works it holds nothing */
	call	kthread_should_park
	testl	%eax, %eax
	jz	2f
	call	kthread_parkme
2:	movl	$TASK_INTERRUPTIBLE, %eax
	xchgl	%eax, TASK_state(%r12)		/* before the look: whoever queues wakes after that */
	movq	%rbx, %rdi
	call	_raw_spin_lock_irqsave
	xorl	%r13d, %r13d
	leaq	POOL_worklist(%rbx), %rdx
	movq	(%rdx), %rcx
	cmpq	%rdx, %rcx
	je	3f
	movq	%rcx, %r13
	LIST_DEL %rcx, %rdx, %rsi
3:	movq	%rbx, %rdi
	movq	%rax, %rsi
	call	_raw_spin_unlock_irqrestore
	testq	%r13, %r13
	jnz	4f
	btl	$KTHREAD_SHOULD_PARK, TASK_kthread_flags(%r12)
	jc	5f
	call	schedule
	jmp	1b
5:	movl	$TASK_RUNNING, TASK_state(%r12)
	jmp	1b
4:	movl	$TASK_RUNNING, TASK_state(%r12)
	movq	%r13, %rdi
	call	process_one_work
	jmp	1b
SYM_FUNC_END worker_thread

# rdi: work_struct.
C_FUNC_START process_one_work
	call	*WORK_func(%rdi)
	FRAME_END
	ret
SYM_FUNC_END process_one_work

# rdi: fn, called with no argument that means anything, in process context on each CPU. Returns when all have returned.
C_FUNC_START schedule_on_each_cpu
	pushq	%rbx
	pushq	%r12
	pushq	%r13
	pushq	%r14
	subq	$NR_CPUS * SIZEOF_on_each_cpu_work, %rsp
	subq	$16, %rsp			/* how many have not returned; the waiter */
	movq	%rdi, %r14
	GET_CURRENT %rbx
	movl	nr_cpu_ids(%rip), %eax
	movl	%eax, (%rsp)
	movq	%rbx, 8(%rsp)
	xorl	%r12d, %r12d
	leaq	16(%rsp), %r13
1:	movq	$each_cpu_work, WORK_func(%r13)
	movq	%r14, OECW_fn(%r13)
	movq	%rsp, OECW_wait(%r13)
	movq	%r13, %rdi
	movl	%r12d, %esi
	call	queue_work_on
	addq	$SIZEOF_on_each_cpu_work, %r13
	incl	%r12d
	cmpl	%r12d, nr_cpu_ids(%rip)
	ja	1b
	/* flush_work() of each */
2:	movl	$TASK_UNINTERRUPTIBLE, %eax
	xchgl	%eax, TASK_state(%rbx)
	cmpl	$0, (%rsp)
	je	3f
	call	schedule
	jmp	2b
3:	movl	$TASK_RUNNING, TASK_state(%rbx)
	xorl	%eax, %eax
	addq	$16 + NR_CPUS * SIZEOF_on_each_cpu_work, %rsp
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END schedule_on_each_cpu

# rdi: an on_each_cpu_work. The waiter's frame may go once the count is 0.
C_FUNC_START each_cpu_work
	pushq	%rbx
	subq	$8, %rsp
	movq	OECW_wait(%rdi), %rbx
	call	*OECW_fn(%rdi)
	movq	8(%rbx), %rdi
	lock decl (%rbx)
	jnz	1f
	call	wake_up_process
1:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END each_cpu_work

	.section .init.text, "ax", @progbits

# In kernel_init, once every CPU is online.
C_FUNC_START_NOTRACE workqueue_init
	pushq	%rbx
	pushq	%r12
	xorl	%ebx, %ebx
1:	movq	__per_cpu_offset(,%rbx,8), %r12
	addq	$cpu_worker_pool, %r12
	leaq	POOL_worklist(%r12), %rax
	LIST_HEAD_INIT %rax
	movq	$worker_thread, %rdi
	movq	%r12, %rsi
	leaq	(,%rbx,4), %rdx
	leaq	.Lkworker_names(%rdx,%rdx,2), %rdx
	movl	%ebx, %ecx
	call	kthread_create_on_cpu
	movq	%rax, POOL_worker(%r12)
	movq	%rax, %rdi
	call	wake_up_process
	incl	%ebx
	cmpl	%ebx, nr_cpu_ids(%rip)
	ja	1b
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END workqueue_init

	.section .rodata, "a", @progbits
.Lkworker_names:
	.ascii	"kworker/0:0\0"
	.ascii	"kworker/1:0\0"
	.ascii	"kworker/2:0\0"
	.ascii	"kworker/3:0\0"
	.ascii	"kworker/4:0\0"
	.ascii	"kworker/5:0\0"
	.ascii	"kworker/6:0\0"
	.ascii	"kworker/7:0\0"

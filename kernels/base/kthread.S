# kernel/kthread.c: kernel threads, how they are stopped and parked.
# Parking: kthread_flags says what is wanted, `parked` what is acknowledged. A thread is parked when it has
# acknowledged, its state is TASK_PARKED and no CPU runs it: `parked` alone can be that of a park just undone.
# DIFFERS: no kthreadd: the creator clones the thread itself, asleep until wake_up_process.

	.include "kernel.inc"

	.text

# rdi: threadfn, rsi: data, rdx: name. Returns the task, asleep on a CPU chosen in turn.
C_FUNC_START kthread_create
	pushq	%rbx
	subq	$SIZEOF_kernel_clone_args, %rsp
	movq	%rsi, KARGS_stack(%rsp)
	movq	%rdi, %rbx
	movq	$kthread, KARGS_fn(%rsp)
	movq	$0, KARGS_fn_arg(%rsp)
	movq	%rdx, KARGS_name(%rsp)
	movq	$PF_KTHREAD | PF_NOFREEZE, KARGS_flags(%rsp)
	movq	%rsp, %rdi
	call	copy_process
	testq	%rax, %rax
	jz	1f
	movq	KARGS_stack(%rsp), %rdx
	movq	%rbx, TASK_kthread_fn(%rax)
	movq	%rdx, TASK_kthread_data(%rax)
	movq	%rax, %rbx
	call	select_task_rq
	movl	%eax, TASK_TI_cpu(%rbx)
	movl	$TASK_UNINTERRUPTIBLE, TASK_state(%rbx)
	leaq	TASK_kthread_exited(%rbx), %rdi	/* set_kthread_struct() */
	call	init_completion
	movq	%rbx, %rax
1:	addq	$SIZEOF_kernel_clone_args, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END kthread_create

# rdi: threadfn, rsi: data, rdx: name, ecx: cpu. Returns the task, asleep, bound to that CPU.
C_FUNC_START kthread_create_on_cpu
	pushq	%rbx
	subq	$8, %rsp
	movl	%ecx, %ebx
	call	kthread_create
	testq	%rax, %rax
	jz	1f
	movl	%ebx, TASK_TI_cpu(%rax)
	lock btsl $KTHREAD_IS_PER_CPU, TASK_kthread_flags(%rax)
1:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END kthread_create_on_cpu

# rdi: threadfn, rsi: data, rdx: name. Returns the task.
C_FUNC_START kthread_run
	pushq	%rbx
	subq	$8, %rsp
	call	kthread_create
	movq	%rax, %rbx
	testq	%rax, %rax
	jz	1f
	movq	%rax, %rdi
	call	wake_up_process
1:	movq	%rbx, %rax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END kthread_run

# First function of every kernel thread. One that was stopped before it was woken never comes to its own.
C_FUNC_START kthread
	pushq	%rbx
	subq	$8, %rsp
	GET_CURRENT %rbx
	movl	$-EINTR, %edi
	btl	$KTHREAD_SHOULD_STOP, TASK_kthread_flags(%rbx)
	jc	1f
	movq	%rbx, %rdi
	call	__kthread_parkme
	movq	TASK_kthread_data(%rbx), %rdi
	call	*TASK_kthread_fn(%rbx)
	movl	%eax, %edi
1:	call	kthread_exit
	ud2
SYM_FUNC_END kthread

# edi: what kthread_stop returns. Does not return.
C_FUNC_START kthread_exit
	GET_CURRENT %rax
	movl	%edi, TASK_kthread_result(%rax)
	xorl	%edi, %edi
	call	do_exit
	ud2
SYM_FUNC_END kthread_exit

# rdi: a kernel thread that is there as long as the caller wants: one that ends by itself only with a reference. Returns
# what its function returned, or -EINTR if that was never called.
C_FUNC_START kthread_stop
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
	lock incl TASK_usage(%rbx)		/* get_task_struct() */
	lock btsl $KTHREAD_SHOULD_STOP, TASK_kthread_flags(%rbx)
	call	kthread_unpark
	lock btsl $TIF_NOTIFY_SIGNAL, TASK_TI_flags(%rbx)	/* so that no sleep that a signal ends holds it up */
	movq	%rbx, %rdi
	call	wake_up_process
	leaq	TASK_kthread_exited(%rbx), %rdi
	call	wait_for_completion
	movq	%rbx, %rdi
	movslq	TASK_kthread_result(%rbx), %rbx
	call	put_task_struct
	movq	%rbx, %rax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END kthread_stop

# rdi: a kernel thread. The same for one that may have ended already; the caller's reference goes.
C_FUNC_START kthread_stop_put
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
	call	kthread_stop
	movq	%rbx, %rdi
	movq	%rax, %rbx
	call	put_task_struct
	movq	%rbx, %rax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END kthread_stop_put

C_FUNC_START kthread_should_stop
	call	kgr_task_safe			/* the annotated point of kGraft */
	GET_CURRENT %rdx
	xorl	%eax, %eax
	btl	$KTHREAD_SHOULD_STOP, TASK_kthread_flags(%rdx)
	setc	%al
	FRAME_END
	ret
SYM_FUNC_END kthread_should_stop

C_FUNC_START kthread_should_park
	GET_CURRENT %rdx
	xorl	%eax, %eax
	btl	$KTHREAD_SHOULD_PARK, TASK_kthread_flags(%rdx)
	setc	%al
	FRAME_END
	ret
SYM_FUNC_END kthread_should_park

C_FUNC_START kthread_parkme
	GET_CURRENT %rdi
	call	__kthread_parkme
	FRAME_END
	ret
SYM_FUNC_END kthread_parkme

# rdi: current. Sleeps in TASK_PARKED for as long as parking is wanted.
C_FUNC_START __kthread_parkme
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
1:	movl	$TASK_PARKED, %eax
	xchgl	%eax, TASK_state(%rbx)		/* set_special_state() */
	btl	$KTHREAD_SHOULD_PARK, TASK_kthread_flags(%rbx)
	jnc	2f
	/* Not preempted between the acknowledgement and the sleep: pairs with the reader of `parked`. */
	PREEMPT_DISABLE
	movl	$1, TASK_parked(%rbx)
	movq	$kthread_parked_wait, %rdi
	movl	$TASK_NORMAL, %esi
	xorl	%edx, %edx
	call	__wake_up
	PREEMPT_ENABLE_NO_RESCHED
	call	schedule
	jmp	1b
2:	movl	$0, TASK_parked(%rbx)
	movl	$TASK_RUNNING, TASK_state(%rbx)
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END __kthread_parkme

# rdi: a kernel thread. Asks it to park and does not wait for it.
C_FUNC_START kthread_park_async
	movl	$0, TASK_parked(%rdi)
	lock btsl $KTHREAD_SHOULD_PARK, TASK_kthread_flags(%rdi)
	call	wake_up_process
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END kthread_park_async

# rdi: a kernel thread. Returns 0 when it is parked; -ENOSYS: it is about to end; -EBUSY: it is asked to park already.
C_FUNC_START kthread_park
	movq	$-ENOSYS, %rax
	testl	$PF_EXITING, TASK_flags(%rdi)
	jnz	3f
	movq	$-EBUSY, %rax
	btl	$KTHREAD_SHOULD_PARK, TASK_kthread_flags(%rdi)
	jc	3f
	pushq	%rbx
	pushq	%r12
	subq	$SIZEOF_wait_queue_entry, %rsp
	movq	%rdi, %rbx
	movq	%rsp, %r12
	movq	%r12, %rdi
	call	init_wait
	movq	%rbx, %rdi
	call	kthread_park_async
1:	movq	$kthread_parked_wait, %rdi
	movq	%r12, %rsi
	movl	$TASK_UNINTERRUPTIBLE, %edx
	call	prepare_to_wait
	cmpl	$0, TASK_parked(%rbx)
	jne	2f
	call	schedule
	jmp	1b
2:	movq	$kthread_parked_wait, %rdi
	movq	%r12, %rsi
	call	finish_wait
	xorl	%eax, %eax
	addq	$SIZEOF_wait_queue_entry, %rsp
	popq	%r12
	popq	%rbx
3:	FRAME_END
	ret
SYM_FUNC_END kthread_park

# rdi: a kernel thread.
C_FUNC_START kthread_unpark
	btl	$KTHREAD_SHOULD_PARK, TASK_kthread_flags(%rdi)
	jnc	1f
	lock btrl $KTHREAD_SHOULD_PARK, TASK_kthread_flags(%rdi)
	movl	$TASK_PARKED, %esi
	call	wake_up_state
1:	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END kthread_unpark

	.data
DECLARE_WAIT_QUEUE_HEAD kthread_parked_wait

# A module with a work that stays in its function while the parameter block_transition holds.
# DIFFERS: the work has a thread of its own, since a CPU has one worker here and livepatch itself queues works.

	.include "kernel.inc"
	.include "klp.inc"

	.text

C_FUNC_START busymod_work_func
	PR_INFO "test_klp_callbacks_busy: busymod_work_func enter"
	movl	$1, busymod_work_started(%rip)
1:	cmpb	$0, block_transition(%rip)
	je	2f
	movl	$1, %edi
	call	schedule_timeout_uninterruptible	/* msleep() */
	jmp	1b
2:	PR_INFO "test_klp_callbacks_busy: busymod_work_func exit"
	FRAME_END
	ret
SYM_FUNC_END busymod_work_func

# The thread of the work.
C_FUNC_START busymod_thread
	call	busymod_work_func
	movl	$1, busymod_work_done(%rip)
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END busymod_thread

# rdi: a word to wait for.
C_FUNC_START wait_for_word
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
1:	cmpl	$0, (%rbx)
	jne	2f
	movl	$1, %edi
	call	schedule_timeout_uninterruptible
	jmp	1b
2:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END wait_for_word

C_FUNC_START init_module
	PR_INFO "test_klp_callbacks_busy: test_klp_callbacks_busy_init"
	movq	$busymod_thread, %rdi
	xorl	%esi, %esi
	LEA_STRING busymod, %rdx
	call	kthread_run
	movq	$busymod_work_started, %rdi
	cmpb	$0, block_transition(%rip)
	jne	1f
	movq	$busymod_work_done, %rdi	/* flush_work(): all that it says comes before the end of init */
1:	call	wait_for_word
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END init_module

C_FUNC_START cleanup_module
	movb	$0, block_transition(%rip)
	movq	$busymod_work_done, %rdi
	call	wait_for_word
	movl	$1, %edi			/* the thread is out of the module's text before that goes */
	call	schedule_timeout_uninterruptible
	PR_INFO "test_klp_callbacks_busy: test_klp_callbacks_busy_exit"
	FRAME_END
	ret
SYM_FUNC_END cleanup_module

	MODULE_PARAM block_transition, BOOL, block_transition

	.data
	.p2align 3
busymod_work_started:
	.long	0
busymod_work_done:
	.long	0
block_transition:
	.byte	0

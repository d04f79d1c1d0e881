# kGraft's part that tasks execute: the stub between a fentry site and one of two universes, the flags that say which, and
# the annotated points at which a kernel thread may change. kernel: SUSE's kernel/kgraft.c.
# The flag "in progress" of a user task is the checkpoint's own, under the policy that lets it pass (checkpoint.S).
# DIFFERS: one stub that looks at the function's state where kGraft registers a slow and a fast one in turn, and the next patch of a
# function takes the ops of the one below over, so that there is no moment with two; what unregistering the slow stub waits for,
# everybody who is in it, the mechanism waits for before the next patching may begin; kernel threads are annotated once, in kthread_should_stop(), and in the workers' loop.

	.include "kernel.inc"

	.section .noinstr.text, "ax", @progbits

	.set	IN_INTERRUPT, 0xff << 16		/* HARDIRQ_MASK | NMI_MASK of preempt_count */

# rdi: ip of the site, rsi: parent ip, rdx: ftrace_ops with a kgr_patch_fun as private, rcx: pt_regs.
C_FUNC_START_NOTRACE kgr_stub
	movq	FOPS_private(%rdx), %rdx
	movl	KGRF_state(%rdx), %r9d
	cmpl	$KGR_PATCH_APPLIED, %r9d
	je	.Lnew				/* the fast stub: everybody */
	testl	$IN_INTERRUPT, %gs:pcpu_hot+X86_preempt_count
	jz	1f
	xorl	%eax, %eax
	cmpb	$0, %gs:kgr_irq_use_new
	sete	%al
	jmp	3f
1:	GET_CURRENT %r8
SYM_INNER_LABEL kgr_asks			/* the state was SLOW or REVERT_SLOW: whoever finishes waits for those who are here */
	cmpl	$0, kgr_immutable(%rip)
	je	2f
SYM_INNER_LABEL kgr_mark_task_in_progress
	lock btsl $TIF_CHECKPOINT, TASK_TI_flags(%r8)
	movl	$1, %eax
	jmp	3f
	/* rmb(): kgr_immutable before the task's flag */
2:	xorl	%eax, %eax
	testl	$_TIF_CHECKPOINT, TASK_TI_flags(%r8)
	setnz	%al
	/* al: go to the old universe */
3:	cmpl	$KGR_PATCH_REVERT_SLOW, %r9d
	jne	4f
	xorl	$1, %eax
4:	testl	%eax, %eax
	jz	.Lnew
SYM_INNER_LABEL kgr_goes_old
	movq	KGRF_loc_old(%rdx), %rax
	cmpq	KGRF_loc_name(%rdx), %rax
	je	5f				/* the original: go on behind the site */
	movq	%rax, RIP(%rcx)
5:	FRAME_END
	ret
.Lnew:
SYM_INNER_LABEL kgr_goes_new
	movq	KGRF_new_code(%rdx), %rax
	movq	%rax, RIP(%rcx)
	FRAME_END
	ret
SYM_FUNC_END kgr_stub

	.text

# At an annotated point: current, a kernel thread, holds nothing of a universe.
C_FUNC_START_NOTRACE kgr_task_safe
	GET_CURRENT %rdi
	lock btrl $TIF_CHECKPOINT, TASK_TI_flags(%rdi)
SYM_INNER_LABEL kgr_task_is_safe
	FRAME_END
	ret
SYM_FUNC_END kgr_task_safe

# Per-CPU work: from here on the interrupts of this CPU are in the new universe (rdi = 0: in the old one again).
C_FUNC_START_NOTRACE kgr_handle_irq_cpu
	movb	$1, %gs:kgr_irq_use_new
	FRAME_END
	ret
SYM_FUNC_END kgr_handle_irq_cpu

# All CPUs' interrupts are in the old universe; no stub is installed.
C_FUNC_START_NOTRACE kgr_reset_irq
	xorl	%edi, %edi
1:	movq	__per_cpu_offset(,%rdi,8), %rax
	movb	$0, kgr_irq_use_new(%rax)
	incl	%edi
	cmpl	nr_cpu_ids(%rip), %edi
	jb	1b
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END kgr_reset_irq

	.data
SYM_DATA_START kgr_immutable
	.long	0
SYM_DATA_END kgr_immutable
# A patch is being applied, or reverted: from the first stub to the last task.
SYM_DATA_START kgr_in_progress
	.long	0
SYM_DATA_END kgr_in_progress
SYM_DATA_START kgr_revert
	.long	0
SYM_DATA_END kgr_revert
SYM_DATA_START kgr_patches
	.quad	kgr_patches, kgr_patches
SYM_DATA_END kgr_patches

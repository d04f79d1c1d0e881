# patchd, the kernel thread that carries out what a patching mechanism decides, one step at a time, and
# the loop that it shares with the elected stopper. The decisions come from the hypervisor's side.
# DIFFERS: a real mechanism is C code in the kernel; here each of its steps is one vmcall.

	.include "kernel.inc"

	.text

# edi: 1 if it may sleep (patchd), 0 in a stop_machine function. Returns the value of PATCH_DONE.
C_FUNC_START_NOTRACE patch_loop
	pushq	%rbx
	subq	$8, %rsp
	movl	%edi, %ebx
	xorl	%edi, %edi			/* result of the last order */
SYM_INNER_LABEL patch_call
	HYPERCALL HC_PATCH
.Lorder:
	cmpl	$PATCH_CALL, %eax
	je	2f
	cmpl	$PATCH_DONE, %eax
	je	3f
	cmpl	$PATCH_IDLE, %eax
	jne	1f
	testl	%ebx, %ebx
	jz	1f
	testq	%rdi, %rdi			/* ticks to sleep, 0: one second */
	jnz	4f
	movl	$HZ, %edi
4:	cmpq	$PATCH_FOREVER, %rdi
	je	6f
	call	schedule_hrtimeout_interruptible	/* a program that sleeps does so by the clock */
	jmp	1f
	/* A request that comes before this thread is asleep is not lost: pairs with the hypervisor's callback. */
6:	GET_CURRENT %rdx
	movl	$TASK_INTERRUPTIBLE, %eax
	xchgl	%eax, TASK_state(%rdx)
	cmpl	$0, patchd_wanted(%rip)
	jne	5f
	call	schedule_timeout
	jmp	1f
5:	movl	$TASK_RUNNING, TASK_state(%rdx)
1:	movl	$0, patchd_wanted(%rip)
	xorl	%edi, %edi
	jmp	patch_call
2:	call	*%rdx
	movq	%rax, %rdi
	jmp	patch_call
3:	movq	%rdi, %rax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END patch_loop

# edi: UPCALL_*, rsi: argument. A function that was called by an order calls the patch core: its orders from here on
# are carried out in this task, up to PATCH_DONE. Returns its value.
C_FUNC_START_NOTRACE patch_upcall
	pushq	%rbx
	subq	$8, %rsp
	movl	$1, %ebx
	HYPERCALL HC_UPCALL
	jmp	.Lorder				/* the frame is patch_loop's */
SYM_FUNC_END patch_upcall

# rdi: address, rsi: its argument. For functions that the kernel's own symbols do not name: a module's.
C_FUNC_START_NOTRACE call_address
	movq	%rdi, %rax
	movq	%rsi, %rdi
	call	*%rax
	FRAME_END
	ret
SYM_FUNC_END call_address

C_FUNC_START_NOTRACE patchd
1:	movl	$1, %edi
	call	patch_loop
	jmp	1b
SYM_FUNC_END patchd

	.section .init.text, "ax", @progbits

C_FUNC_START_NOTRACE patchd_init
	movq	$patchd, %rdi
	xorl	%esi, %esi
	movq	$.Lpatchd_name, %rdx
	call	kthread_run
	movq	%rax, patchd_task(%rip)
	movl	$RT_PRIO, TASK_prio(%rax)	/* a request is served at once */
	FRAME_END
	ret
SYM_FUNC_END patchd_init

	.section .rodata, "a", @progbits
.Lpatchd_name:
	.asciz	"patchd"

	.data
SYM_DATA_START patchd_task
	.quad	0
SYM_DATA_END patchd_task
SYM_DATA_START patchd_wanted
	.long	0
SYM_DATA_END patchd_wanted

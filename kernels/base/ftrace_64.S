# arch/x86/kernel/ftrace_64.S: what a hooked fentry site calls. The trampoline makes a pt_regs with the
# arguments, and frames for the traced function and its parent, neither of which has one yet.
# kpatch_ftrace_handler then looks the site up and may redirect it by changing regs->ip.
# Nothing here is traceable. DIFFERS: one handler, called directly; no function graph yet.

	.include "kernel.inc"

	.set	MCOUNT_FRAME_SIZE, 8 * 5
	.set	MCOUNT_REG_SIZE, SIZEOF_pt_regs + MCOUNT_FRAME_SIZE

	.section .noinstr.text, "ax", @progbits

# The target of every fentry site as the compiler leaves it; sites become nops before the kernel starts.
SYM_FUNC_START __fentry__
	ret
SYM_FUNC_END __fentry__

SYM_FUNC_START ftrace_caller
	/* save_mcount_regs: the original rbp, then frames for the parent and for the function */
	pushq	%rbp
	pushq	8*2(%rsp)			/* parent ip */
	pushq	%rbp
	movq	%rsp, %rbp
	pushq	8*3(%rsp)			/* ip */
	pushq	%rbp
	movq	%rsp, %rbp

	subq	$SIZEOF_pt_regs, %rsp
	movq	%rax, RAX(%rsp)
	movq	%rcx, RCX(%rsp)
	movq	%rdx, RDX(%rsp)
	movq	%rsi, RSI(%rsp)
	movq	%rdi, RDI(%rsp)
	movq	%r8, R8(%rsp)
	movq	%r9, R9(%rsp)
	movq	$0, ORIG_RAX(%rsp)
	movq	MCOUNT_REG_SIZE-8(%rsp), %rdx
	movq	%rdx, RBP(%rsp)
	movq	MCOUNT_REG_SIZE+8(%rsp), %rsi	/* parent_ip */
	movq	MCOUNT_REG_SIZE(%rsp), %rdi
	movq	%rdi, RIP(%rsp)
	subq	$5, %rdi			/* ip: the site, MCOUNT_INSN_SIZE before */

	leaq	MCOUNT_REG_SIZE+8(%rsp), %rcx
	movq	%rcx, RSP(%rsp)
	leaq	(%rsp), %rcx			/* regs */
	movq	$0, CS(%rsp)
SYM_INNER_LABEL ftrace_call
	call	kpatch_ftrace_handler

	/* Handlers can change the RIP */
	movq	RIP(%rsp), %rax
	movq	%rax, MCOUNT_REG_SIZE(%rsp)

	/* restore_mcount_regs */
	movq	RBP(%rsp), %rbp
	movq	R9(%rsp), %r9
	movq	R8(%rsp), %r8
	movq	RDI(%rsp), %rdi
	movq	RSI(%rsp), %rsi
	movq	RDX(%rsp), %rdx
	movq	RCX(%rsp), %rcx
	movq	RAX(%rsp), %rax
	addq	$MCOUNT_REG_SIZE, %rsp
SYM_INNER_LABEL ftrace_caller_end
	ret
SYM_FUNC_END ftrace_caller

# rdi: ip of the site, rsi: parent_ip, rdx: unused (ftrace_ops), rcx: pt_regs.
# An entry counts when its index is below kpatch_nr_funcs: pairs with the patch call, which writes an
# entry before the count.
C_FUNC_START_NOTRACE kpatch_ftrace_handler
	movl	kpatch_nr_funcs(%rip), %edx
	movq	$kpatch_funcs, %rax
1:	testl	%edx, %edx
	jz	3f
	cmpq	%rdi, KPF_old_addr(%rax)
	je	2f
	addq	$SIZEOF_kpatch_func, %rax
	decl	%edx
	jmp	1b
2:	movq	KPF_new_addr(%rax), %rax
	testq	%rax, %rax
	jz	3f				/* not redirected */
	movq	%rax, RIP(%rcx)
3:	FRAME_END
	ret
SYM_FUNC_END kpatch_ftrace_handler

	.data
SYM_DATA_START kpatch_nr_funcs
	.long	0
SYM_DATA_END kpatch_nr_funcs
	.p2align 3
SYM_DATA_START kpatch_funcs
	.skip	NR_KPATCH_FUNCS * SIZEOF_kpatch_func
SYM_DATA_END kpatch_funcs

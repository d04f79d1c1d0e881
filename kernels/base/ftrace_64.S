# arch/x86/kernel/ftrace_64.S: what a hooked fentry site calls. A trampoline makes a pt_regs with the arguments (or all
# registers), and frames for the traced function and its parent, neither of which has one yet. The callback may change
# regs->ip, and the trampoline returns there. ftrace_caller and ftrace_regs_caller serve every ops; an ops that has a
# site for itself is called through a copy of one of them, made by create_trampoline() with its own pointer and callee.
# Nothing here is traceable. DIFFERS: no direct calls.

	.include "kernel.inc"

	.set	MCOUNT_FRAME_SIZE, 8 * 5
	.set	MCOUNT_REG_SIZE, SIZEOF_pt_regs + MCOUNT_FRAME_SIZE

# The original rbp, then frames for the parent and for the function; the registers that carry arguments.
# added: bytes that were pushed before.
.macro save_mcount_regs added=0
	pushq	%rbp
	pushq	8*2+\added(%rsp)		/* parent ip */
	pushq	%rbp
	movq	%rsp, %rbp
	pushq	8*3+\added(%rsp)		/* ip */
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
	movq	MCOUNT_REG_SIZE+8+\added(%rsp), %rsi	/* parent_ip */
	movq	MCOUNT_REG_SIZE+\added(%rsp), %rdi
	movq	%rdi, RIP(%rsp)
	subq	$5, %rdi			/* ip: the site, MCOUNT_INSN_SIZE before */
.endm

.macro restore_mcount_regs save=0
	movq	RBP(%rsp), %rbp
	movq	R9(%rsp), %r9
	movq	R8(%rsp), %r8
	movq	RDI(%rsp), %rdi
	movq	RSI(%rsp), %rsi
	movq	RDX(%rsp), %rdx
	movq	RCX(%rsp), %rcx
	movq	RAX(%rsp), %rax
	addq	$MCOUNT_REG_SIZE-\save, %rsp
.endm

	.section .noinstr.text, "ax", @progbits

# The target of every fentry site as the compiler leaves it; sites become nops before the kernel starts.
SYM_FUNC_START __fentry__
	ret
SYM_FUNC_END __fentry__

SYM_FUNC_START ftrace_stub
	ret
SYM_FUNC_END ftrace_stub

SYM_FUNC_START ftrace_caller
	save_mcount_regs
	leaq	MCOUNT_REG_SIZE+8(%rsp), %rcx
	movq	%rcx, RSP(%rsp)
SYM_INNER_LABEL ftrace_caller_op_ptr
	movq	function_trace_op(%rip), %rdx
	leaq	(%rsp), %rcx			/* regs */
	movq	$0, CS(%rsp)			/* only the arguments are there */
SYM_INNER_LABEL ftrace_call
	call	ftrace_stub

	/* Handlers can change the RIP */
	movq	RIP(%rsp), %rax
	movq	%rax, MCOUNT_REG_SIZE(%rsp)
	restore_mcount_regs
SYM_INNER_LABEL ftrace_caller_end
	ret
SYM_FUNC_END ftrace_caller

SYM_FUNC_START ftrace_regs_caller
	pushfq
	save_mcount_regs 8
SYM_INNER_LABEL ftrace_regs_caller_op_ptr
	movq	function_trace_op(%rip), %rdx
	movq	%r15, R15(%rsp)
	movq	%r14, R14(%rsp)
	movq	%r13, R13(%rsp)
	movq	%r12, R12(%rsp)
	movq	%r11, R11(%rsp)
	movq	%r10, R10(%rsp)
	movq	%rbx, RBX(%rsp)
	movq	MCOUNT_REG_SIZE(%rsp), %rcx	/* flags */
	movq	%rcx, EFLAGS(%rsp)
	movq	$__KERNEL_DS, SS(%rsp)
	movq	$__KERNEL_CS, CS(%rsp)
	leaq	MCOUNT_REG_SIZE+8*2(%rsp), %rcx
	movq	%rcx, RSP(%rsp)
	leaq	(%rsp), %rcx			/* regs */
SYM_INNER_LABEL ftrace_regs_call
	call	ftrace_stub

	movq	EFLAGS(%rsp), %rax
	movq	%rax, MCOUNT_REG_SIZE(%rsp)
	/* Handlers can change the RIP */
	movq	RIP(%rsp), %rax
	movq	%rax, MCOUNT_REG_SIZE+8(%rsp)
	movq	R15(%rsp), %r15
	movq	R14(%rsp), %r14
	movq	R13(%rsp), %r13
	movq	R12(%rsp), %r12
	movq	R10(%rsp), %r10
	movq	RBX(%rsp), %rbx
	restore_mcount_regs
	popfq
SYM_INNER_LABEL ftrace_regs_caller_end
	ret
SYM_FUNC_END ftrace_regs_caller

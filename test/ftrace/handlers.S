# Callbacks for ops of the tests, and what they count.

	.include "kernel.inc"

	.section .noinstr.text, "ax", @progbits

# rdi: ip, rdx: ops, rcx: fregs. Counts in the ops' private word.
C_FUNC_START_NOTRACE test_count
	movq	FOPS_private(%rdx), %rax
	lock incq (%rax)
	FRAME_END
	ret
SYM_FUNC_END test_count

# Sends the caller to the ops' private address.
C_FUNC_START_NOTRACE test_redirect
	movq	FOPS_private(%rdx), %rax
	movq	%rax, RIP(%rcx)
	FRAME_END
	ret
SYM_FUNC_END test_redirect

# Calls a traced function, under the protection that callbacks have.
C_FUNC_START_NOTRACE test_recurse
	pushq	%rbx
	subq	$8, %rsp
	lock incq test_entered(%rip)
	movl	$TRACE_FTRACE_START, %edi
	call	trace_test_and_set_recursion
	testl	%eax, %eax
	js	1f
	movl	%eax, %ebx
	lock incq test_inside(%rip)
	call	test_target
	movl	%ebx, %edi
	call	trace_clear_recursion
1:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END test_recurse

# With all registers: adds r12 to the sum, and changes r12 and a flag.
C_FUNC_START_NOTRACE test_regs
	movq	R12(%rcx), %rax
	addq	%rax, test_sum(%rip)
	incq	R12(%rcx)
	xorq	$1, EFLAGS(%rcx)
	FRAME_END
	ret
SYM_FUNC_END test_regs

	.text

C_FUNC_START test_target
	lock incq test_calls(%rip)
	movl	$7, %eax
	FRAME_END
	ret
SYM_FUNC_END test_target

C_FUNC_START test_replacement
	movl	$8, %eax
	FRAME_END
	ret
SYM_FUNC_END test_replacement

# Returns r12 + cf as test_target's callback left them, from 41 and 0.
C_FUNC_START_NOTRACE test_call_with_r12
	pushq	%r12
	movl	$41, %r12d
	clc
	call	test_flag_target
	popq	%r12
	FRAME_END
	ret
SYM_FUNC_END test_call_with_r12
SYM_FUNC_START test_flag_target
	FENTRY
	movq	%r12, %rax
	adcq	$0, %rax
	ret
SYM_FUNC_END test_flag_target

# An endbr64 stands in front of the site.
SYM_FUNC_START test_endbr
	endbr64
	FENTRY
	movl	$9, %eax
	ret
SYM_FUNC_END test_endbr

	.data
	.globl	test_entered, test_inside, test_calls, test_sum, test_word_a, test_word_b
test_entered:
	.quad	0
test_inside:
	.quad	0
test_calls:
	.quad	0
test_sum:
	.quad	0
test_word_a:
	.quad	0
test_word_b:
	.quad	0

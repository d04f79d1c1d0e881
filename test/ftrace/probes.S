# Handlers for probes of the tests.

	.include "kernel.inc"

	.section .noinstr.text, "ax", @progbits

# rdi: kprobe, rsi: pt_regs.
C_FUNC_START_NOTRACE probe_pre
	lock incq probe_pre_hits(%rip)
	movq	RIP(%rsi), %rax
	movq	%rax, probe_ip(%rip)
	movq	RDI(%rsi), %rax
	movq	%rax, probe_rdi(%rip)
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END probe_pre

C_FUNC_START_NOTRACE probe_post
	lock incq probe_post_hits(%rip)
	movq	RIP(%rsi), %rax
	movq	%rax, probe_ip(%rip)
	FRAME_END
	ret
SYM_FUNC_END probe_post

# A pre_handler that calls a function with a probe of its own.
C_FUNC_START_NOTRACE probe_pre_calls
	lock incq probe_pre_hits(%rip)
	call	probe_inner
	movq	%rax, probe_rax(%rip)
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END probe_pre_calls

# rdi: kprobe, rsi: pt_regs. Its own word, for a probe that is not to be hit.
C_FUNC_START_NOTRACE probe_pre_other
	lock incq probe_other_hits(%rip)
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END probe_pre_other

# A pre_handler that goes elsewhere.
C_FUNC_START_NOTRACE probe_pre_leads_away
	movq	$probe_elsewhere, RIP(%rsi)
	movl	$1, %eax
	FRAME_END
	ret
SYM_FUNC_END probe_pre_leads_away
SYM_FUNC_START probe_elsewhere
	movl	$12, %eax
	ret
SYM_FUNC_END probe_elsewhere

# rdi: node, rsi: pt_regs when the function has returned.
C_FUNC_START_NOTRACE probe_return
	lock incq probe_returns(%rip)
	movq	RAX(%rsi), %rax
	movq	%rax, probe_rax(%rip)
	FRAME_END
	ret
SYM_FUNC_END probe_return

	.text

# Flags, a rip-relative load and arithmetic, to be probed anywhere. Returns 3 * rdi + 5.
SYM_FUNC_START probe_me
	FENTRY
	cmpq	%rdi, %rdi
SYM_INNER_LABEL probe_me_load
	movq	probe_five(%rip), %rax
SYM_INNER_LABEL probe_me_lea
	leaq	(%rdi,%rdi,2), %rdx
SYM_INNER_LABEL probe_me_jump
	jne	1f
SYM_INNER_LABEL probe_me_add
	addq	%rdx, %rax
1:	ret
SYM_FUNC_END probe_me

# Returns what its callee returns, with the carry flag that it set.
C_FUNC_START probe_outer
	call	probe_inner
	adcq	$0, %rax
	FRAME_END
	ret
SYM_FUNC_END probe_outer
SYM_FUNC_START probe_inner
	FENTRY
	movl	$50, %eax
	stc
	ret
SYM_FUNC_END probe_inner

	.data
	.globl	probe_other_hits, probe_pre_hits, probe_post_hits, probe_ip, probe_rdi, probe_returns, probe_rax
probe_other_hits:
	.quad	0
probe_pre_hits:
	.quad	0
probe_post_hits:
	.quad	0
probe_ip:
	.quad	0
probe_rdi:
	.quad	0
probe_returns:
	.quad	0
probe_rax:
	.quad	0
probe_five:
	.quad	5

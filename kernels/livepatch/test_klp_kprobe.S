# A module with a kprobe on the function behind /proc/cmdline, which a livepatch may want as well. With a post_handler the
# probe may change where the function goes on. A pre_handler counts, so that it can be seen that the probe is hit.

	.include "kernel.inc"
	.include "klp.inc"

	.text

# rdi: kprobe, rsi: pt_regs.
C_FUNC_START_NOTRACE kprobe_pre_handler
	lock incq kprobe_hits(%rip)
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END kprobe_pre_handler

# rdi: kprobe, rsi: pt_regs, rdx: flags.
C_FUNC_START_NOTRACE kprobe_post_handler
	FRAME_END
	ret
SYM_FUNC_END kprobe_post_handler

C_FUNC_START init_module
	cmpb	$0, has_post_handler(%rip)
	je	1f
	movq	$kprobe_post_handler, %rax
	movq	%rax, kp+KP_post_handler(%rip)
1:	movq	$kp, %rdi
	call	register_kprobe
	FRAME_END
	ret
SYM_FUNC_END init_module

C_FUNC_START cleanup_module
	movq	$kp, %rdi
	call	unregister_kprobe
	FRAME_END
	ret
SYM_FUNC_END cleanup_module

	MODULE_PARAM has_post_handler, BOOL, has_post_handler

	.section .rodata, "a", @progbits
.Lsymbol_name:
	.asciz	"cmdline_proc_show"

	.data
	.p2align 3
SYM_DATA_START kp
	.skip	KP_symbol_name
	.quad	.Lsymbol_name
	.skip	KP_pre_handler - KP_symbol_name - 8
	.quad	kprobe_pre_handler
	.skip	SIZEOF_kprobe - KP_pre_handler - 8
SYM_DATA_END kp
SYM_DATA_START kprobe_hits
	.quad	0
SYM_DATA_END kprobe_hits
has_post_handler:
	.byte	1

# A livepatch with the parameter replace: /proc/meminfo says that it has been patched.

	.include "kernel.inc"
	.include "klp.inc"

	.text

# rdi: seq_file.
C_FUNC_START livepatch_meminfo_proc_show
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
	movq	$__this_module + MOD_name, %rsi
	call	seq_puts
	movq	%rbx, %rdi
	movq	$.Lpatched, %rsi
	call	seq_puts
	xorl	%eax, %eax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END livepatch_meminfo_proc_show

C_FUNC_START init_module
	movb	replace(%rip), %al
	movb	%al, patch + KLPP_replace(%rip)
	movq	$patch, %rdi
	call	klp_enable_patch
	FRAME_END
	ret
SYM_FUNC_END init_module

C_FUNC_START cleanup_module
	FRAME_END
	ret
SYM_FUNC_END cleanup_module

	MODULE_INFO livepatch, Y
	MODULE_PARAM replace, BOOL, replace

	.section .rodata, "a", @progbits
.Lpatched:
	.asciz	": this has been live patched\n"

	.data
	.p2align 3
funcs:
	KLP_FUNC meminfo_proc_show, livepatch_meminfo_proc_show
	KLP_END klp_func
objs:
	KLP_OBJECT funcs
	KLP_END klp_object
patch:
	KLP_PATCH objs
replace:
	.byte	0

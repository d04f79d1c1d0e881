# A second livepatch with callbacks, of the kernel alone, and with the parameter replace.

	.include "kernel.inc"
	.include "klp.inc"
	.include "callbacks.inc"

	.text

	DEFINE_CALLBACKS test_klp_callbacks_demo2

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

	.data
	.p2align 3
no_funcs:
	KLP_END klp_func
objs:
	KLP_OBJECT_CALLBACKS no_funcs
	KLP_END klp_object
patch:
	KLP_PATCH objs
pre_patch_ret:
	.long	0
replace:
	.byte	0

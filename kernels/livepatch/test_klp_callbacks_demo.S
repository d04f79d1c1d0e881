# A livepatch with callbacks of three objects: the kernel, a module, and a module with a function that is busy.

	.include "kernel.inc"
	.include "klp.inc"
	.include "callbacks.inc"

	.text

	DEFINE_CALLBACKS test_klp_callbacks_demo

# The work of the busy module, which does not wait.
C_FUNC_START patched_work_func
	PR_INFO "test_klp_callbacks_demo: patched_work_func"
	FRAME_END
	ret
SYM_FUNC_END patched_work_func

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
	MODULE_PARAM pre_patch_ret, INT, pre_patch_ret
	MODULE_PARAM replace, BOOL, replace

	.data
	.p2align 3
no_funcs:
	KLP_END klp_func
busymod_funcs:
	KLP_FUNC busymod_work_func, patched_work_func
	KLP_END klp_func
objs:
	KLP_OBJECT_CALLBACKS no_funcs
	KLP_OBJECT_CALLBACKS no_funcs, test_klp_callbacks_mod
	KLP_OBJECT_CALLBACKS busymod_funcs, test_klp_callbacks_busy
	KLP_END klp_object
patch:
	KLP_PATCH objs
pre_patch_ret:
	.long	0
replace:
	.byte	0

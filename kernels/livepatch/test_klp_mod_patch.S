# A livepatch of a module's function.

	.include "kernel.inc"
	.include "klp.inc"

	.text

# rdi: seq_file.
C_FUNC_START livepatch_mod_target_show
	pushq	%rbx
	subq	$8, %rsp
	movq	%rdi, %rbx
	movq	$__this_module + MOD_name, %rsi
	call	seq_puts
	movq	%rbx, %rdi
	LEA_STRING ": this has been live patched\n", %rsi
	call	seq_puts
	xorl	%eax, %eax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END livepatch_mod_target_show

C_FUNC_START init_module
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

	.data
	.p2align 3
funcs:
	KLP_FUNC test_klp_mod_target_show, livepatch_mod_target_show
	KLP_END klp_func
objs:
	KLP_OBJECT funcs, test_klp_mod_target
	KLP_END klp_object
patch:
	KLP_PATCH objs

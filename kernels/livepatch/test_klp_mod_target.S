# A module with a file of /proc, to be patched.

	.include "kernel.inc"
	.include "klp.inc"
	.include "proc.inc"

	.text

# rdi: seq_file.
C_FUNC_START test_klp_mod_target_show
	LEA_STRING "test_klp_mod_target: original output\n", %rsi
	call	seq_puts
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END test_klp_mod_target_show

C_FUNC_START init_module
	PR_INFO "test_klp_mod_target: test_klp_mod_target_init"
	movl	$PROC_MODULE, %edi
	movq	$test_klp_mod_target_show, %rsi
	call	proc_create_single
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END init_module

C_FUNC_START cleanup_module
	PR_INFO "test_klp_mod_target: test_klp_mod_target_exit"
	movl	$PROC_MODULE, %edi
	call	remove_proc_entry
	FRAME_END
	ret
SYM_FUNC_END cleanup_module

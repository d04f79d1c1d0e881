# A livepatch that modifies a state of the system, the log level of the console, and restores it: version 0, which
# cannot take over from another one.

	.include "kernel.inc"
	.include "klp.inc"
	.include "state.inc"

	.text

	DEFINE_CALLBACK_INFO test_klp_state

C_FUNC_START allocate_loglevel_state
	pushq	%rbx
	subq	$8, %rsp
	GET_STATE %rbx
	movq	$-EINVAL, %rax
	testq	%rbx, %rbx
	jz	1f
	movl	$8, %edi
	call	kzalloc
	movq	%rax, KLPS_data(%rbx)
	LEA_STRING allocate_loglevel_state, %rsi
	PR_INFO "test_klp_state: %s: allocating space to store console_loglevel"
	xorl	%eax, %eax
1:	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END allocate_loglevel_state

C_FUNC_START fix_console_loglevel
	pushq	%rbx
	subq	$8, %rsp
	GET_STATE %rbx
	LEA_STRING fix_console_loglevel, %rsi
	PR_INFO "test_klp_state: %s: fixing console_loglevel"
	movq	KLPS_data(%rbx), %rax
	movl	console_loglevel(%rip), %edx
	movl	%edx, (%rax)
	movl	$CONSOLE_LOGLEVEL_MOTORMOUTH, console_loglevel(%rip)
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END fix_console_loglevel

C_FUNC_START restore_console_loglevel
	pushq	%rbx
	subq	$8, %rsp
	GET_STATE %rbx
	LEA_STRING restore_console_loglevel, %rsi
	PR_INFO "test_klp_state: %s: restoring console_loglevel"
	movq	KLPS_data(%rbx), %rax
	movl	(%rax), %edx
	movl	%edx, console_loglevel(%rip)
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END restore_console_loglevel

C_FUNC_START free_loglevel_state
	pushq	%rbx
	subq	$8, %rsp
	GET_STATE %rbx
	LEA_STRING free_loglevel_state, %rsi
	PR_INFO "test_klp_state: %s: freeing space for the stored console_loglevel"
	movq	KLPS_data(%rbx), %rdi
	call	kfree
	movq	$0, KLPS_data(%rbx)
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END free_loglevel_state

	DEFINE_STATE_CALLBACK pre_patch_callback, allocate_loglevel_state
	DEFINE_STATE_CALLBACK post_patch_callback, fix_console_loglevel
	DEFINE_STATE_CALLBACK pre_unpatch_callback, restore_console_loglevel
	DEFINE_STATE_CALLBACK post_unpatch_callback, free_loglevel_state

	STATE_MODULE 0

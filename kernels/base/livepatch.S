# kernel/livepatch/transition.c: what a task does about its own patch state. The rest of a transition
# is decided through the patch call.

	.include "kernel.inc"

	.text

# rdi: current. Reads the target only after the flag has been seen: pairs with the start of a transition.
C_FUNC_START_NOTRACE klp_update_patch_state
	lock btrl $TIF_PATCH_PENDING, TASK_TI_flags(%rdi)
	jnc	1f
	movl	klp_target_state(%rip), %eax
	movl	%eax, TASK_patch_state(%rdi)
1:	FRAME_END
	ret
SYM_FUNC_END klp_update_patch_state

	.data
SYM_DATA_START klp_target_state
	.long	KLP_TRANSITION_IDLE
SYM_DATA_END klp_target_state

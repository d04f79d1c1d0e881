# A smaller patch: only what runs on the CPU of patchd alone.

	.include "kernel.inc"

	.text

C_FUNC_START steady_local
	movl	$2, %eax
	FRAME_END
	ret
SYM_FUNC_END steady_local

# A module that is patched, or only has callbacks; it says when it comes and goes.

	.include "kernel.inc"
	.include "klp.inc"

	.text

C_FUNC_START init_module
	PR_INFO "test_klp_callbacks_mod: test_klp_callbacks_mod_init"
	FRAME_END
	ret
SYM_FUNC_END init_module

C_FUNC_START cleanup_module
	PR_INFO "test_klp_callbacks_mod: test_klp_callbacks_mod_exit"
	FRAME_END
	ret
SYM_FUNC_END cleanup_module

# The next cumulative livepatch, which handles the state as test_klp_state2 does.

	.include "kernel.inc"
	.include "klp.inc"
	.include "state2.inc"

	STATE2_MODULE test_klp_state3

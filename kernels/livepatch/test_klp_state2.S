# A cumulative livepatch that takes a state of the system over: version 1.

	.include "kernel.inc"
	.include "klp.inc"
	.include "state2.inc"

	STATE2_MODULE test_klp_state2

// A kernel with nothing to do, for tests that bring what happens themselves: one user task, which sleeps until a signal comes.
import { loadScenario, type BuiltScenario, type Scenario } from "../../src/scenario/index.ts";
import { buildNamed, kernelFile } from "../scenario/files.ts";

const ASLEEP = `
	.include "user.inc"
	.include "kernel.inc"
	.section .user.text, "ax", @progbits
SYM_CODE_START _start
	SET_NAME sleeper
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	USER_SYSCALL __NR_pause
	jmp	1b
SYM_CODE_END _start
	USER_STACKS 1
	.data
SYM_DATA_START scenario_nr_ready
	.long	1
SYM_DATA_END scenario_nr_ready
SYM_DATA_START scenario_nr_done
	.long	1
SYM_DATA_END scenario_nr_done
`;

/** kernels/base with that task, and a patch of these functions. */
export async function buildAsleep(
  patch: string,
  functions: readonly string[],
  change: Partial<Scenario> = {},
): Promise<BuiltScenario> {
  const { sources } = loadScenario("default", kernelFile);
  const base = sources.filter((s) => s.name.startsWith("base/"));
  return buildNamed("default", {
    sources: [...base, { name: "asleep.S", text: ASLEEP }],
    patch: { name: "patch.S", text: patch },
    functions,
    results: [],
    ...change,
  });
}

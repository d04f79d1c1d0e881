// A kernel with a function that a task sleeps in, and tasks of every kind around it, for tests of how livepatch switches them: one
// that computes, a kernel thread that runs on and on, one that makes others.
import { expect } from "vitest";
import { observe, watchPlan, type Trace } from "../../src/check/index.ts";
import { jobOf, planPatch, type Request } from "../../src/patch/index.ts";
import { loadScenario, type BuiltScenario } from "../../src/scenario/index.ts";
import { mechanism } from "../explore/prepared.ts";
import type { Kernel } from "../kernel/programs.ts";
import { buildNamed, kernelFile } from "../scenario/files.ts";

/** victim(ticks) sleeps and is patched. Kernel threads: one that runs on and on, and one that makes others. */
const OWN = `
	.include "kernel.inc"
	.text
C_FUNC_START victim
	call	schedule_timeout_uninterruptible
	movl	$1, %eax
	FRAME_END
	ret
SYM_FUNC_END victim
C_FUNC_START __x64_sys_victim
	movq	RDI(%rdi), %rdi
	call	victim
	FRAME_END
	ret
SYM_FUNC_END __x64_sys_victim
C_FUNC_START busy
1:	cmpl	$0, is_busy(%rip)
	jne	2f
	movl	$1, %edi
	call	schedule_timeout_interruptible
	jmp	1b
2:	incq	busy_turns(%rip)
	call	__cond_resched
	jmp	1b
SYM_FUNC_END busy
C_FUNC_START child
	movl	$3, %edi
	call	schedule_timeout_interruptible
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END child
C_FUNC_START forker
1:	cmpl	$0, is_forking(%rip)
	je	2f
	movq	$child, %rdi
	xorl	%esi, %esi
	movq	$name_child, %rdx
	call	kthread_run
2:	movl	$1, %edi
	call	schedule_timeout_interruptible
	jmp	1b
SYM_FUNC_END forker
	.section .init.text, "ax", @progbits
C_FUNC_START_NOTRACE own_init
	pushq	%rbx
	subq	$8, %rsp
	movq	$busy, %rdi
	xorl	%esi, %esi
	movq	$name_busy, %rdx
	movl	nr_cpu_ids(%rip), %ecx
	decl	%ecx
	call	kthread_create_on_cpu
	movq	%rax, %rdi
	call	wake_up_process
	movq	$forker, %rdi
	xorl	%esi, %esi
	movq	$name_forker, %rdx
	call	kthread_run
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END own_init
	device_initcall own_init
	.section .sys_call_table.scenario, "a", @progbits
	.quad	__x64_sys_victim
	.section .rodata, "a", @progbits
name_busy:
	.asciz	"busy"
name_child:
	.asciz	"child"
name_forker:
	.asciz	"forker"
	.data
SYM_DATA_START is_busy
	.long	0
SYM_DATA_END is_busy
SYM_DATA_START is_forking
	.long	0
SYM_DATA_END is_forking
SYM_DATA_START busy_turns
	.quad	0
SYM_DATA_END busy_turns
`;

/** A task that sleeps in the patched function for a while after the ready mark, if `ticks` is not 0, and one that computes. */
const user = (ticks: number): string => `
	.include "user.inc"
	.include "kernel.inc"
	.section .user.text, "ax", @progbits
SYM_CODE_START _start
	CLONE_THREAD hog, user_stacks+1*USER_STACK_SIZE
	SET_NAME sleeper
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
	movl	$${ticks}, %edi
	testl	%edi, %edi
	jz	1f
	USER_SYSCALL __NR_scenario
1:	USER_SYSCALL __NR_pause
	jmp	1b
SYM_CODE_END _start
SYM_CODE_START hog
	SET_NAME hog
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	incq	%rbx
	${ticks === 0 ? "USER_SYSCALL __NR_pause" : ""}
	jmp	1b
SYM_CODE_END hog
	USER_STACKS 2
	.data
SYM_DATA_START scenario_nr_ready
	.long	2
SYM_DATA_END scenario_nr_ready
SYM_DATA_START scenario_nr_done
	.long	2
SYM_DATA_END scenario_nr_done
`;

const PATCH = `
	.include "kernel.inc"
	.text
C_FUNC_START victim
	movl	$2, %eax
	FRAME_END
	ret
SYM_FUNC_END victim
`;

/** ticks: how long the task sleeps in victim() after the ready mark; 0: everybody sleeps elsewhere. */
export async function build(ticks: number): Promise<BuiltScenario> {
  const { sources } = loadScenario("default", kernelFile);
  const base = sources.filter((s) => s.name.startsWith("base/"));
  return buildNamed("default", {
    sources: [...base, { name: "own.S", text: OWN }, { name: "user.S", text: user(ticks) }],
    patch: { name: "patch.S", text: PATCH },
    functions: ["victim"],
    results: [],
  });
}

export function requestOf({ image, patch, scenario }: BuiltScenario): Request {
  if (patch === undefined) throw new Error("no patch");
  return { image, plan: planPatch(image, patch), hz: scenario.hz, unwinder: "fp" };
}

export function set(k: Kernel, symbol: string): void {
  k.session.machine.write(k.va(symbol), Uint8Array.of(1, 0, 0, 0));
}

/** The patch is put in by klp, and what happens meanwhile. look: at the end of each round that was not the last. */
export function put(k: Kernel, look: (remaining: readonly string[]) => void = () => {}): Trace {
  const { session } = k;
  const request = requestOf(k.built);
  watchPlan(session, request.plan);
  const observed = observe(session, {
    scenario: "default",
    mechanism: "klp",
    plan: request.plan,
    from: "old",
    readyAt: 0,
    budgetInsns: 0,
    resultSymbols: [],
    expected: {},
    pristine: session.text(),
  });
  const others = session.agent.onProgress;
  session.agent.onProgress = (p) => {
    others?.(p);
    look(p.outcome.blockers.map((b) => b.task));
  };
  session.request(jobOf(mechanism("klp"), request));
  const stop = session.run(session.machine.retired + 3_000_000, new Set(["outcome", "bug"]));
  expect([stop, k.bugs()]).toEqual(["outcome", []]);
  return observed.finish("limit");
}

export function howOf(trace: Trace, comm: string): readonly (string | undefined)[] {
  return trace.switches.filter((s) => s.task.comm === comm).map((s) => s.how);
}

// A task that is preempted at the end of the handler that the entry of a patched function calls: it has chosen its variant, and its
// stack shows the entry of the old function alone. Who takes a patch out looks for the new function, does not find it, and the
// task enters it afterwards, in a module that is on its way out. The mechanisms are as they are in their sources; the
// kernel has to preempt at preempt_enable_notrace().
import { beforeAll, describe, expect, it } from "vitest";
import { judge, observe, watchPlan, type Trace } from "../../src/check/index.ts";
import { currentTask, type Task } from "../../src/kernel/index.ts";
import { seededSchedule } from "../../src/machine/index.ts";
import {
  jobOf,
  MECHANISMS,
  planPatch,
  type Mechanism,
  type Request,
} from "../../src/patch/index.ts";
import { loadScenario, type BuiltScenario } from "../../src/scenario/index.ts";
import { Kernel } from "../kernel/programs.ts";
import { buildNamed, kernelFile } from "../scenario/files.ts";

/** What is executed from one tick to the next. */
const TICK = 40_000;
const HAS_CHOSEN = 1;
/** Ticks for which the victim sleeps before it is served: longer than it takes to take the patch out. */
const ASLEEP = 40;

/**
 * On one CPU a task that computes, is served after two ticks, and again; and one that only computes. The other CPU has patchd and a
 * task that sleeps.
 */
const USER = `
	.include "user.inc"
	.include "linkage.inc"
	.set	__NR_steady, __NR_scenario
	.set	SPIN, 5000
	.section .user.text, "ax", @progbits
SYM_CODE_START _start
	CLONE_THREAD hog, user_stacks+1*USER_STACK_SIZE
	CLONE_THREAD sleeper, user_stacks+2*USER_STACK_SIZE
	SET_NAME victim
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	movl	$SPIN, %ecx
2:	decl	%ecx
	jnz	2b
	movl	ticks(%rip), %edi
	USER_SYSCALL __NR_steady
	jmp	1b
SYM_CODE_END _start
SYM_CODE_START sleeper
	SET_NAME sleeper
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	USER_SYSCALL __NR_pause
	jmp	1b
SYM_CODE_END sleeper
SYM_CODE_START hog
	SET_NAME hog
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
1:	jmp	1b
SYM_CODE_END hog
	USER_STACKS 3
	.section .user.data, "aw", @progbits
SYM_DATA_START ticks
	.long	2
SYM_DATA_END ticks
`;

let built: BuiltScenario;
beforeAll(async () => {
  const { sources } = loadScenario("steady", kernelFile);
  built = await buildNamed("steady", {
    tickInsns: TICK,
    sources: sources.map((s) => ({
      ...s,
      text: s.name.endsWith("steady/user.S") ? USER : s.text.replace("	.long	10\n", "	.long	5\n"),
    })),
  });
});

function mechanism(name: string): Mechanism {
  const m = MECHANISMS[name];
  if (m === undefined) throw new Error(`no mechanism ${name}`);
  return m;
}

type Name = "kpatch" | "klp";

interface Caught {
  readonly trace: Trace;
  readonly k: Kernel;
}

/** Puts the patch in, and takes it out while the victim is preempted in the handler. */
function takeOut(name: Name): Caught {
  const k = new Kernel(built);
  const { session } = k;
  const { image, patch, scenario } = built;
  if (patch === undefined) throw new Error("steady has no patch");
  const request: Request = {
    image,
    plan: planPatch(image, patch),
    hz: scenario.hz,
    unwinder: "fp",
  };
  const m = mechanism(name);
  const own = (comm: string): Task | undefined => session.tasks().find((t) => t.comm === comm);
  const enable = (): string => k.do(() => m.enable(request), 40_000_000).result;
  for (let tries = 1; enable() !== "applied"; tries++) if (tries === 20) throw new Error("busy");
  expect(own("hog")?.cpu).toBe(own("victim")?.cpu);
  expect(own("patchd")?.cpu).not.toBe(own("victim")?.cpu);
  session.machine.write(k.va("ticks"), Uint8Array.of(ASLEEP));
  k.run(4 * TICK);

  watchPlan(session, request.plan);
  session.watch({ kind: "stop", lo: k.va(`${name}_chosen`), id: HAS_CHOSEN });
  const observed = observe(session, {
    scenario: scenario.name,
    mechanism: name,
    plan: request.plan,
    from: "new",
    readyAt: 0,
    budgetInsns: 0,
    resultSymbols: [],
    expected: {},
    pristine: session.text(),
  });
  const others = session.onStop;
  const { machine, read } = session;
  const ask = (): void => session.request(jobOf(m, request, "disable"), own("patchd")?.cpu);
  let times = 0;
  session.onStop = (id, vcpu) => {
    if (id !== HAS_CHOSEN) return others?.(id, vcpu);
    if (currentTask(read, image, machine.reg(vcpu, "gs_base")).comm !== "victim") return;
    times++;
    // It has chosen, with preemption off, and its CPU loses some time. For kpatch the request to stop comes meanwhile; for klp
    // the tick, and the victim comes back from that interrupt to the same instruction. Then it lets itself be preempted.
    const lost = name === "kpatch" ? TICK / 2 : (machine.timer(vcpu) ?? 0) - machine.time(vcpu);
    if (times === (name === "kpatch" ? 1 : 2)) ask();
    if (times > 1) return;
    machine.charge(vcpu, lost);
    session.reschedule(seededSchedule(2)); // whoever is behind goes on
  };
  expect(session.run(machine.retired + 400 * TICK, new Set(["outcome", "bug"]))).toBe("outcome");
  return { trace: observed.finish("limit"), k };
}

describe("a task that is preempted when the handler has chosen the new function", () => {
  it.each(["kpatch", "klp"] as const)(
    "is not found by %s, enters the function when the patch is out, and wakes up in memory that was given back",
    (name) => {
      const { trace, k } = takeOut(name);
      expect(trace.outcome?.result).toBe("applied");
      const said = judge(trace).violations.map((v) => `${v.check}: ${v.message}`);
      const f = "steady_serve";
      const inFreed = `freed-text: victim is going to return to ${f}+0x1a/0x40 [patch], which is no text`;
      const chosen = `promise: victim was at the entry of ${f} when the patch was committed, and enters the new ${f}`;
      // klp's promise asks what is on the stack at the switch, and there it is not yet.
      expect(said).toEqual(name === "kpatch" ? [chosen, inFreed] : [inFreed]);
      const atEntry = judge(trace).violations.map((v) => v.atEntry);
      expect(atEntry).toEqual(name === "kpatch" ? [f, undefined] : [undefined]);
      expect(k.bugs()).toEqual([]);
      expect(k.session.run(k.session.machine.retired + 100 * TICK, new Set(["bug"]))).toBe("bug");
      const [bug] = k.session.events().bugs;
      const at = trace.plan.functions.find((x) => x.name === f)?.newVa ?? 0n;
      expect(bug).toMatchObject({ kind: "panic", message: "int3", comm: "victim", ip: at + 0x1bn });
    },
  );
});

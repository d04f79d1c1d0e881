// Who switches a task under livepatch, and when, seen from outside: the worker's rounds, the way to user mode, the idle loop,
// cond_resched, and what a new task gets from its parent; the order in which the words of a transition change; and what is forced. kernel: kernel/livepatch/transition.c.
import { beforeAll, describe, expect, it } from "vitest";
import { observe, watchPlan, type Trace } from "../../src/check/index.ts";
import {
  CONSTANTS,
  currentTask,
  fieldVa,
  KLP_FUNC,
  PERCPU,
  perCpuVa,
  readTask,
  readUint,
  RQ,
  symbolVa,
  TASK,
  TIF,
  writeField,
  type Task,
} from "../../src/kernel/index.ts";
import { jobOf, planPatch, type Request } from "../../src/patch/index.ts";
import {
  enabledStore,
  forceStore,
  klpEnablePatch,
  transitionWork,
} from "../../src/patch/klp/core.ts";
import { makePatch, systemOf } from "../../src/patch/klp/klp.ts";
import { readPatches, readTransition } from "../../src/patch/klp/view.ts";
import { findModule, loadModule, unloadModule } from "../../src/patch/module.ts";
import { loadScenario, type BuiltScenario } from "../../src/scenario/index.ts";
import { mechanism } from "../explore/prepared.ts";
import { Kernel } from "../kernel/programs.ts";
import { buildNamed, kernelFile } from "../scenario/files.ts";

const klp = mechanism("klp");

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

const SLEEP = 60;
let quiet: BuiltScenario;
let loaded: BuiltScenario;
beforeAll(async () => {
  const { sources } = loadScenario("default", kernelFile);
  const base = sources.filter((s) => s.name.startsWith("base/"));
  const build = (ticks: number): Promise<BuiltScenario> =>
    buildNamed("default", {
      sources: [...base, { name: "own.S", text: OWN }, { name: "user.S", text: user(ticks) }],
      patch: { name: "patch.S", text: PATCH },
      functions: ["victim"],
      results: [],
    });
  quiet = await build(0);
  loaded = await build(SLEEP);
});

function requestOf({ image, patch, scenario }: BuiltScenario): Request {
  if (patch === undefined) throw new Error("no patch");
  return { image, plan: planPatch(image, patch), hz: scenario.hz, unwinder: "fp" };
}

function set(k: Kernel, symbol: string): void {
  k.session.machine.write(k.va(symbol), Uint8Array.of(1, 0, 0, 0));
}

/** The patch is put in, and what happens meanwhile. look: at the end of each round that was not the last. */
function put(k: Kernel, look: (remaining: readonly string[]) => void = () => {}): Trace {
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
  session.request(jobOf(klp, request));
  const stop = session.run(session.machine.retired + 3_000_000, new Set(["outcome", "bug"]));
  expect([stop, k.bugs()]).toEqual(["outcome", []]);
  return observed.finish("limit");
}

function howOf(trace: Trace, comm: string): readonly (string | undefined)[] {
  return trace.switches.filter((s) => s.task.comm === comm).map((s) => s.how);
}

describe("the worker", () => {
  it("looks at every stack at once, and again a virtual second apart for as long as somebody remains", () => {
    const k = new Kernel(loaded);
    k.run(4000);
    const looks: { at: number; who: readonly string[] }[] = [];
    const trace = put(k, (who) => void looks.push({ at: Number(k.word("jiffies")), who }));
    const { hz } = loaded.scenario;
    expect(trace.outcome?.result).toBe("applied");
    // The sleeper is in the way each time; the rounds are as many as there are seconds.
    expect(looks.length).toBeGreaterThan(3);
    expect(looks.length).toBeLessThanOrEqual(SLEEP / hz);
    expect(looks.every(({ who }) => who.includes("sleeper"))).toBe(true);
    for (const [i, { at }] of looks.entries()) {
      const before = looks[i - 1]?.at;
      if (before !== undefined) expect(at - before).toBeGreaterThanOrEqual(hz);
    }
    expect(howOf(trace, "sleeper").length).toBe(1);
  });

  it("does not switch a task that runs: one that computes switches itself on its way back to user mode", () => {
    const k = new Kernel(loaded);
    k.run(4000);
    const trace = put(k);
    expect(howOf(trace, "hog")).toEqual(["exit to user"]);
  });
});

describe("the idle task", () => {
  it.each([2, 4])(
    "of a CPU with nothing to do is sent through its loop, and switches itself there (%i vCPUs)",
    (vcpus) => {
      const k = new Kernel(quiet, vcpus);
      k.run(4000);
      const trace = put(k);
      expect(trace.outcome?.result).toBe("applied");
      const patchd = k.session.tasks().find((t) => t.comm === "patchd")?.cpu;
      const others = Array.from({ length: vcpus }, (_, cpu) => cpu).filter((cpu) => cpu !== patchd);
      for (const cpu of others) expect(howOf(trace, `swapper/${cpu}`)).toEqual(["idle"]);
      // Where the worker itself runs nobody else does.
      expect(howOf(trace, `swapper/${patchd}`)).toEqual(["stack check"]);
    },
  );

  it("of a CPU that is not online is switched at once, whatever it does", () => {
    const rounds = (online: bigint): readonly (readonly string[])[] => {
      const k = new Kernel(quiet);
      const other = k.session.tasks().find((t) => t.comm === "patchd")?.cpu === 0 ? 1 : 0;
      const rq = perCpuVa(quiet.image, other) + BigInt(PERCPU.fields.runqueues.offset);
      // Here no CPU ever goes offline: its run queue says so.
      k.do(() => writeField(RQ, rq, "online", online));
      k.run(4000);
      const looks: (readonly string[])[] = [];
      const trace = put(k, (who) => void looks.push(who));
      expect(trace.outcome?.result).toBe("applied");
      expect(howOf(trace, `swapper/${other}`)).toEqual([online === 1n ? "idle" : "stack check"]);
      return looks;
    };
    const idle = expect.stringMatching(/^swapper\//);
    expect(rounds(1n).flat()).toContainEqual(idle);
    expect(rounds(0n).flat()).not.toContainEqual(idle);
  });
});

describe("a kernel thread that runs on and on", () => {
  it("looks at its own stack in cond_resched, where nobody else can switch it", () => {
    const k = new Kernel(quiet);
    set(k, "is_busy");
    k.run(20_000);
    const trace = put(k);
    expect(trace.outcome?.result).toBe("applied");
    expect(howOf(trace, "busy")).toEqual(["cond_resched"]);
    expect(k.word("klp_resched_enabled", 4)).toBe(0n);
  });
});

describe("a task that is made in a transition", () => {
  it.each([1, 2])(
    "has its parent's state and flag, copied with the task list held (seed %i)",
    (seed) => {
      const k = new Kernel(loaded, 2, seed);
      const { session } = k;
      const { machine, read, image } = session;
      set(k, "is_forking");
      k.run(4000);
      const patching = (t: Task): string =>
        `${t.patchState} ${(t.flags >> BigInt(TIF.PATCH_PENDING)) & 1n}`;
      const copied: string[] = [];
      const held: bigint[] = [];
      session.watch({ kind: "stop", lo: k.va("klp_copy_process"), id: 1 });
      session.watch({ kind: "stop", lo: k.va("klp_copied"), id: 2 });
      session.onStop = (id, vcpu) => {
        if (id > 2) return;
        held.push(readUint(read, symbolVa(image, "tasklist_lock"), 4));
        if (id === 1) return;
        const parent = currentTask(read, image, machine.reg(vcpu, "gs_base"));
        const child = readTask(read, image, machine.reg(vcpu, "rbx"));
        expect(patching(child)).toBe(patching(parent));
        copied.push(patching(parent));
      };
      session.request(jobOf(klp, requestOf(loaded)));
      const stop = session.run(machine.retired + 3_000_000, new Set(["outcome", "bug"]));
      expect([stop, k.bugs()]).toEqual(["outcome", []]);
      expect(session.agent.outcome?.result).toBe("applied");
      expect(new Set(held)).toEqual(new Set([1n]));
      // Before the transition, and in it: nobody was made with another state than the one that was due.
      expect(copied.length).toBeGreaterThan(3);
      expect(copied).toContain("1 0");
      k.run(20_000);
      expect(session.tasks().filter((t) => t.isListed && t.patchState !== -1)).toEqual([]);
    },
  );
});

/** What happens to the words of a transition, in order: stores of patchd, runs of equal ones once, and klp_sync on a CPU. */
function ordered(k: Kernel, go: () => void): readonly string[] {
  const { session } = k;
  const { image, read } = session;
  const out: string[] = [];
  const say = (what: string): void => {
    if (out.at(-1) !== what) out.push(what);
  };
  const bases = session.tasks().map((t) => t.va);
  const tasks = new Set(bases.map((va) => fieldVa(TASK, va, "patch_state")));
  const flags = new Set(bases.map((va) => fieldVa(TASK, va, "TI_flags")));
  const funcs = new Set(
    readPatches(read, image).flatMap((p) =>
      p.objects.flatMap((o) => o.funcs.map((f) => fieldVa(KLP_FUNC, f.va, "transition"))),
    ),
  );
  const target = symbolVa(image, "klp_target_state");
  const word = (bytes: Uint8Array): number => new DataView(bytes.buffer).getInt32(0, true);
  session.agent.onWrite = ({ va, bytes }) => {
    if (tasks.has(va)) say(`patch_state ${word(bytes)}`);
    else if (funcs.has(va)) say(`transition ${bytes[0]}`);
    else if (va === target) say(`target ${word(bytes)}`);
    else if (flags.has(va)) {
      say(((word(bytes) >> TIF.PATCH_PENDING) & 1) === 1 ? "pending set" : "pending cleared");
    }
  };
  session.watch({ kind: "stop", lo: k.va("klp_sync"), id: 3 });
  session.onStop = (id, vcpu) => void (id === 3 && out.push(`sync on ${vcpu}`));
  go();
  session.agent.onWrite = undefined;
  session.onStop = undefined;
  return out;
}

describe("the order of the words", () => {
  const begun = (): { k: Kernel; system: ReturnType<typeof systemOf>; name: string } => {
    const k = new Kernel(loaded);
    const request = requestOf(loaded);
    const system = systemOf(request);
    k.run(4000);
    expect(k.do(() => loadModule(loaded.image, request.plan, true))).toBe(0);
    const made = k.do(() => makePatch(request));
    expect(k.do(() => klpEnablePatch(system, made)).error).toBe(0);
    expect(readTransition(k.session.read, k.image)).toMatchObject({ target: 1 });
    return { k, system, name: request.plan.name };
  };
  const syncs = ["sync on 0", "sync on 1"];
  const isSync = (s: string): boolean => s.startsWith("sync");

  it("of a reversal, either way: no flag is set while every CPU goes through klp_sync and the target turns", () => {
    const { k, system, name } = begun();
    for (const [to, line] of [
      [0, "patching to unpatching"],
      [1, "unpatching to patching"],
    ] as const) {
      const all = ordered(k, () => {
        expect(k.do(() => enabledStore(system, name, to === 1)).error).toBe(0);
      });
      const at = all.indexOf(`target ${to}`);
      expect(at).toBeGreaterThan(0);
      expect(all.slice(0, at).filter((s) => !isSync(s))).toEqual(["pending cleared"]);
      expect(all.slice(0, at).filter(isSync).toSorted()).toEqual(syncs);
      expect(all.indexOf("pending cleared")).toBeLessThan(all.findIndex(isSync));
      expect(all[at + 1]).toBe("pending set");
      const said = k.session.agent.state().logs.map((l) => l.text);
      expect(said).toContain(`livepatch: '${name}': reversing transition from ${line}`);
    }
  });

  it("of a transition that is complete: the functions are out of it before every CPU goes through klp_sync, the states idle after", () => {
    const { k, system } = begun();
    k.run(40_000);
    const all = ordered(k, () => {
      for (let i = 0; readTransition(k.session.read, k.image).patch !== 0n; i++) {
        if (i === 60) throw new Error("the transition does not end");
        k.run(4000);
        k.do(() => transitionWork(system));
      }
    });
    const at = all.indexOf("transition 0");
    expect(all.slice(at).filter((s) => !isSync(s))).toEqual([
      "transition 0",
      "patch_state -1",
      "target -1",
    ]);
    const done = all.indexOf("patch_state -1");
    expect(all.slice(at, done).filter(isSync).toSorted()).toEqual(syncs);
  });
});

describe("a transition that is forced", () => {
  it("on the way out keeps the module for ever: the patch is gone, its reference is not", () => {
    const k = new Kernel(loaded);
    const request = requestOf(loaded);
    const system = systemOf(request);
    k.run(4000);
    expect(k.do(() => loadModule(loaded.image, request.plan, true))).toBe(0);
    const made = k.do(() => makePatch(request));
    expect(k.do(() => klpEnablePatch(system, made)).error).toBe(0);
    expect(k.do(() => enabledStore(system, request.plan.name, false)).error).toBe(0);
    expect(readTransition(k.session.read, k.image)).toMatchObject({ target: 0 });
    expect(k.do(() => forceStore(system, request.plan.name, true)).error).toBe(0);
    k.do(() => transitionWork(system));
    expect(readPatches(k.session.read, k.image)).toEqual([]);
    expect(k.do(() => unloadModule(loaded.image, request.plan))).toBe(-CONSTANTS.EAGAIN);
    expect(k.do(() => findModule(loaded.image, request.plan))).toMatchObject({ state: "live" });
  });
});

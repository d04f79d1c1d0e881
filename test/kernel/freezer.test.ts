// The refrigerator: who goes in, where, and who comes out; and that a kernel thread which has no place to park but one to freeze
// is gathered by simple there, and changes there under kgraft.
import { beforeAll, describe, expect, it } from "vitest";
import { runOne, type Prepared } from "../../src/explore/index.ts";
import {
  call,
  fieldVa,
  readUint,
  symbolVa,
  TASK,
  TASK_STATE,
  writeWord,
  type Task,
} from "../../src/kernel/index.ts";
import { symbolAt } from "../../src/link/index.ts";
import { trueStack } from "../../src/machine/index.ts";
import { quiescentSet } from "../../src/patch/index.ts";
import { loadScenario, type BuiltScenario } from "../../src/scenario/index.ts";
import { mechanism, prepared } from "../explore/prepared.ts";
import { kernelFile } from "../scenario/files.ts";
import { buildWith, Kernel } from "./programs.ts";

/** Threads beside those of the scenario: one that freezes, one that is never asked to, one that may and never asks. */
const THREADS = (loops: readonly string[]): string => `
	.include "kernel.inc"
	.set	ICEBOX_TICKS, 10
	.text
.macro LOOP name
	incq	\\name\\()_turns(%rip)
	movl	$1, %edi
	call	schedule_timeout_interruptible
.endm
C_FUNC_START iced
	call	set_freezable
1:	call	try_to_freeze
	LOOP	iced
	jmp	1b
SYM_FUNC_END iced
C_FUNC_START icebox
	call	set_freezable
1:	call	try_to_freeze
	incq	icebox_turns(%rip)
	GET_CURRENT %rax
	movl	$(TASK_INTERRUPTIBLE | TASK_FREEZABLE), TASK_state(%rax)
	movl	$ICEBOX_TICKS, %edi
	call	schedule_timeout
	jmp	1b
SYM_FUNC_END icebox
C_FUNC_START stopped
	call	set_freezable
1:	call	kthread_freezable_should_stop
	testl	%eax, %eax
	jnz	2f
	LOOP	stopped
	jmp	1b
2:	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END stopped
C_FUNC_START warm
1:	call	try_to_freeze
	LOOP	warm
	jmp	1b
SYM_FUNC_END warm
C_FUNC_START deaf
	call	set_freezable
1:	LOOP	deaf
	jmp	1b
SYM_FUNC_END deaf
	.section .init.text, "ax", @progbits
${loops
  .map(
    (name) => `
C_FUNC_START_NOTRACE ${name}_init
	movq	$${name}, %rdi
	xorl	%esi, %esi
	movq	$.Lname_${name}, %rdx
	call	kthread_run
	movq	%rax, ${name}_task(%rip)
	FRAME_END
	ret
SYM_FUNC_END ${name}_init
	device_initcall ${name}_init`,
  )
  .join("\n")}
	.section .rodata, "a", @progbits
${loops.map((name) => `.Lname_${name}: .asciz "${name}"`).join("\n")}
	.data
${["iced", "icebox", "stopped", "warm", "deaf"].map((n) => `SYM_DATA_START ${n}_turns\n	.quad 0\nSYM_DATA_END ${n}_turns\nSYM_DATA_START ${n}_task\n	.quad 0\nSYM_DATA_END ${n}_task`).join("\n")}
`;

let built: BuiltScenario;
beforeAll(async () => {
  built = await buildWith("default", THREADS(["iced", "icebox", "stopped", "warm"]));
});

function* setFreezing(k: Kernel, word: string, on: boolean) {
  for (const w of ["freezer_active", word]) {
    yield* writeWord(symbolVa(k.image, w), on ? 1n : 0n, 4);
  }
}

function taskOf(k: Kernel, comm: string): Task {
  const task = k.session.tasks().find((t) => t.comm === comm);
  if (task === undefined) throw new Error(`no task ${comm}`);
  return task;
}

/** The functions on the true stack of a task that sleeps, innermost first. */
function stackOf(k: Kernel, task: Task): readonly string[] {
  const frames = trueStack(k.session.machine, task.stack.lo)?.frames ?? [];
  return frames.map((f) => symbolAt(k.image, f.ret)?.name ?? "");
}

const turns = (k: Kernel, name: string): bigint => k.word(`${name}_turns`);
const finish = (k: Kernel): readonly bigint[] => {
  const stop = k.session.run(k.session.machine.retired + 50_000_000, new Set(["done", "bug"]));
  expect([stop, k.bugs()]).toEqual(["done", []]);
  return built.scenario.results.map((r) => k.word(r));
};

describe("a kernel thread", () => {
  it("that is freezable freezes at its own place, and goes on from there when it is thawed", () => {
    const k = new Kernel(built);
    const { va } = taskOf(k, "iced");
    k.do(function* () {
      yield* setFreezing(k, "pm_nosig_freezing", true);
      expect(yield* call("freeze_task", va)).toBe(1n);
    });
    k.run(20_000);
    const frozen = taskOf(k, "iced");
    expect(frozen).toMatchObject({ state: TASK_STATE.FROZEN, onCpu: false, onRq: false });
    const stack = stackOf(k, frozen);
    expect(stack).toContain("__refrigerator");
    expect(stack.indexOf("try_to_freeze")).toBe(stack.indexOf("__refrigerator") + 1);
    expect(stack[stack.indexOf("try_to_freeze") + 1]).toBe("iced");
    const before = turns(k, "iced");
    k.run(40_000);
    expect(turns(k, "iced")).toBe(before);
    // It is frozen already: nobody is asked again, and no signal or wake-up of a sleeper brings it out.
    k.do(function* () {
      expect(yield* call("freeze_task", va)).toBe(0n);
      expect(yield* call("wake_up_process", va)).toBe(0n);
    });
    k.do(function* () {
      yield* setFreezing(k, "pm_nosig_freezing", false);
      yield* call("__thaw_task", va);
    });
    k.run(40_000);
    expect(turns(k, "iced")).toBeGreaterThan(before);
    expect(k.bugs()).toEqual([]);
  });

  it("is not frozen where user tasks alone are to be, nor if it has never said that it may", () => {
    const k = new Kernel(built);
    const [iced, warm] = [taskOf(k, "iced"), taskOf(k, "warm")];
    expect([iced.isFreezable, warm.isFreezable]).toEqual([true, false]);
    k.do(function* () {
      yield* setFreezing(k, "pm_freezing", true);
      expect(yield* call("freeze_task", iced.va)).toBe(0n);
      yield* setFreezing(k, "pm_freezing", false);
      yield* setFreezing(k, "pm_nosig_freezing", true);
      expect(yield* call("freeze_task", warm.va)).toBe(0n);
    });
    const before = turns(k, "warm");
    k.run(40_000);
    expect(turns(k, "warm")).toBeGreaterThan(before);
  });

  it("comes out to stop, although it is still to freeze", () => {
    const k = new Kernel(built);
    const { va, pid } = taskOf(k, "stopped");
    k.do(function* () {
      yield* setFreezing(k, "pm_nosig_freezing", true);
      yield* call("freeze_task", va);
    });
    k.run(20_000);
    expect(taskOf(k, "stopped").state).toBe(TASK_STATE.FROZEN);
    const flags = fieldVa(TASK, va, "kthread_flags");
    k.do(function* () {
      yield* writeWord(flags, readUint(k.session.read, flags, 8) | 2n); // KTHREAD_SHOULD_STOP
      yield* call("wake_up_state", va, BigInt(TASK_STATE.FROZEN));
    });
    k.run(40_000);
    expect(k.session.tasks().some((t) => t.pid === pid && t.comm === "stopped")).toBe(false);
    expect(k.bugs()).toEqual([]);
  });
});

describe("a thread that sleeps in TASK_FREEZABLE", () => {
  /** Frozen where it sleeps; with the kernel, and its task. */
  function frozen(seed: number): { k: Kernel; va: bigint } {
    const k = new Kernel(built, 2, seed);
    const { va } = taskOf(k, "icebox");
    k.run(5000);
    for (let n = 0; taskOf(k, "icebox").state !== ASLEEP; n++) {
      if (n === 200) throw new Error("it does not sleep");
      k.run(500);
    }
    k.do(function* () {
      yield* setFreezing(k, "pm_nosig_freezing", true);
      // Nobody has to be asked: it is frozen when the call returns.
      expect(yield* call("freeze_task", va)).toBe(0n);
    });
    expect(taskOf(k, "icebox").state).toBe(TASK_STATE.FROZEN);
    expect(stackOf(k, taskOf(k, "icebox"))).not.toContain("__refrigerator");
    return { k, va };
  }
  const ASLEEP = TASK_STATE.INTERRUPTIBLE | TASK_STATE.FREEZABLE;
  const saved = (k: Kernel, va: bigint): bigint =>
    readUint(k.session.read, fieldVa(TASK, va, "saved_state"), 4);
  const thaw = (k: Kernel, va: bigint): void => {
    k.do(function* () {
      yield* setFreezing(k, "pm_nosig_freezing", false);
      yield* call("__thaw_task", va);
    });
  };

  it.each([1, 2, 3])(
    "is frozen there, and sleeps on as it slept when it is thawed (%i)",
    (seed) => {
      const { k, va } = frozen(seed);
      expect(saved(k, va)).toBe(BigInt(ASLEEP));
      const before = turns(k, "icebox");
      thaw(k, va);
      expect([taskOf(k, "icebox").state, saved(k, va), turns(k, "icebox")]).toEqual([
        ASLEEP,
        0n,
        before,
      ]);
      k.run(200_000);
      expect(turns(k, "icebox")).toBeGreaterThan(before);
      expect(k.bugs()).toEqual([]);
    },
  );

  it.each([1, 2, 3])(
    "does not lose a wake-up that comes meanwhile: it is awake when it is thawed (%i)",
    (seed) => {
      const { k, va } = frozen(seed);
      const before = turns(k, "icebox");
      expect(k.do(() => call("wake_up_process", va))).toBe(0n);
      expect([taskOf(k, "icebox").state, saved(k, va)]).toEqual([TASK_STATE.FROZEN, 0n]);
      k.run(200_000);
      expect(turns(k, "icebox")).toBe(before);
      thaw(k, va);
      k.run(8000);
      expect(turns(k, "icebox")).toBeGreaterThan(before);
      expect(k.bugs()).toEqual([]);
    },
  );

  it("is not frozen there by simple, which wants it at its place: it comes, and is in nothing else", async () => {
    const { sources } = loadScenario("default", kernelFile);
    // Longer than simple waits: it comes because it is woken.
    const text = THREADS(["icebox"]).replace("ICEBOX_TICKS, 10", "ICEBOX_TICKS, 100000");
    const p = await prepared("default", { sources: [...sources, { name: "test.S", text }] });
    for (const seed of [1, 2, 3]) {
      const { report, trace } = runOne(p, mechanism("simple"), { seed, at: 0 });
      expect(report).toMatchObject({ result: "applied", verdict: "consistent" });
      expect(report.switched.find((s) => s.task === "icebox")?.how).toBe("freezer");
      const stack = trace.commit?.stacks.find((s) => s.task.comm === "icebox");
      const names = stack?.frames.map((f) => symbolAt(trace.image, f.ip)?.name) ?? [];
      expect(names).toContain("__refrigerator");
    }
  });
});

describe("user tasks", () => {
  it.each([1, 2])(
    "freeze on their way through get_signal or in nanosleep, and return what they would have (%i)",
    (seed) => {
      const plain = finish(new Kernel(built, 2, seed));
      const k = new Kernel(built, 2, seed);
      k.run(15_000);
      const users = k.session.tasks().filter((t) => !t.isKthread && !t.isIdle);
      expect(users.length).toBeGreaterThan(3);
      k.do(() => setFreezing(k, "pm_freezing", true));
      const isFrozen = (t: Task): boolean =>
        k.session.tasks().some((x) => x.va === t.va && x.state === TASK_STATE.FROZEN);
      for (let i = 0; i < 50 && !users.every(isFrozen); i++) {
        for (const t of users) k.do(() => call("freeze_task", t.va));
        k.run(4000);
      }
      expect(users.filter((t) => !isFrozen(t)).map((t) => t.comm)).toEqual([]);
      for (const t of k.session.tasks().filter(isFrozen)) {
        const stack = stackOf(k, t);
        // nanosleep(2) sleeps in TASK_FREEZABLE: whoever is in it is frozen there.
        if (stack.includes("do_nanosleep")) continue;
        expect(stack.indexOf("get_signal")).toBe(stack.indexOf("__refrigerator") + 2);
        expect(stack).toContain("exit_to_user_mode_loop");
      }
      k.do(() => setFreezing(k, "pm_freezing", false));
      for (const t of users) k.do(() => call("__thaw_task", t.va));
      expect(finish(k)).toEqual(plain);
    },
  );
});

describe("a thread that has no place to park, and one to freeze", () => {
  let p: Prepared;
  let deaf: Prepared;
  beforeAll(async () => {
    const { sources } = loadScenario("default", kernelFile);
    const withThread = (name: string): Promise<Prepared> =>
      prepared("default", { sources: [...sources, { name: "test.S", text: THREADS([name]) }] });
    p = await withThread("iced");
    deaf = await withThread("deaf");
  });

  it.each([1, 2, 3])("is gathered by simple there, and goes on (seed %i)", (seed) => {
    const { report, trace } = runOne(p, mechanism("simple"), { seed, at: 0 });
    expect(report).toMatchObject({ result: "applied", verdict: "consistent" });
    expect(report.switched.find((s) => s.task === "iced")?.how).toBe("freezer");
    expect(report.switched.find((s) => s.task === "xfer_flushd")?.how).toBe("park");
    expect(trace.results).toEqual(p.baseline.results);
    const iced = p.session.tasks().find((t) => t.comm === "iced");
    expect(iced?.state).not.toBe(TASK_STATE.FROZEN);
    expect(
      [p.session.word("freezer_active"), p.session.word("pm_nosig_freezing")].map(
        (w) => w & 0xffffffffn,
      ),
    ).toEqual([0n, 0n]);
  });

  it.each([1, 2, 3])("changes there under kgraft (seed %i)", (seed) => {
    const { report } = runOne(p, mechanism("kgraft"), { seed, at: 0 });
    expect(report).toMatchObject({ result: "applied", verdict: "consistent" });
    expect(report.switched.some((s) => s.task === "iced")).toBe(true);
  });

  it("makes simple patch nothing if it never asks, and everybody is thawed and goes on", () => {
    const { report, trace } = runOne(deaf, mechanism("simple"), { seed: 1, at: 0 });
    expect(report).toMatchObject({ result: "refused", verdict: "consistent" });
    expect(report.blockers.map((b) => [b.task, b.reason.split(" (")[0]])).toEqual([
      ["deaf", "has not frozen"],
    ]);
    expect(trace.changed).toEqual([]);
    expect(trace.results).toEqual(deaf.baseline.results);
    expect(
      trace.ending.some((s) =>
        s.frames.some((f) => symbolAt(trace.image, f.ip)?.name === "__refrigerator"),
      ),
    ).toBe(false);
  });

  it("has its loop among what simple must not patch; the way of the signals is not", () => {
    const set = quiescentSet(p.session.image);
    expect(set).toContain("iced");
    expect(set).toContain("__refrigerator");
    expect(set).not.toContain("get_signal");
    expect(set).not.toContain("arch_do_signal_or_restart");
  });
});

// kthread_stop() and what belongs to it: a thread that is asked to stop ends by itself, whoever asks waits for its end and
// gets what it returned; asleep, parked, not woken yet, ended already, or of a module that is being unloaded.
import { beforeAll, describe, expect, it } from "vitest";
import { makeAssembler } from "../../src/asm/index.ts";
import {
  asmOffsetsInc,
  call,
  CONSTANTS,
  fieldVa,
  readTask,
  setBit,
  symbolVa,
  TASK,
  TASK_STATE,
  TIF,
  type Program,
  type Task,
} from "../../src/kernel/index.ts";
import { deleteModule, initModule, type ModuleWorld } from "../../src/patch/index.ts";
import { assembleFile, type BuiltScenario } from "../../src/scenario/index.ts";
import { kernelFile } from "../scenario/files.ts";
import { buildWith, Kernel } from "./programs.ts";

const SLEEP = 3;

/** A loop that counts its turns and sleeps in a way of its own; it returns 7. */
const loop = (name: string, sleep: string, park = ""): string => `
C_FUNC_START ${name}
1:	call	kthread_should_stop
	testl	%eax, %eax
	jnz	2f
${park}
	incq	${name}_turns(%rip)
	movl	$${SLEEP}, %edi
	call	${sleep}
	jmp	1b
2:	movl	$7, %eax
	FRAME_END
	ret
SYM_FUNC_END ${name}
	.data
SYM_DATA_START ${name}_turns
	.quad	0
SYM_DATA_END ${name}_turns
	.text
`;

const PARK = `	call	kthread_should_park
	testl	%eax, %eax
	jz	3f
	call	kthread_parkme
	jmp	1b
3:`;

const THREADS = `
	.include "kernel.inc"
	.text
${loop("light", "schedule_timeout_interruptible", PARK)}
${loop("heavy", "schedule_timeout_uninterruptible")}
C_FUNC_START brief
	movl	$-5, %eax
	FRAME_END
	ret
SYM_FUNC_END brief
# An order has no third argument: these know the name.
C_FUNC_START create_thread
	movq	$a_name, %rdx
	call	kthread_create
	FRAME_END
	ret
SYM_FUNC_END create_thread
C_FUNC_START run_thread
	movq	$a_name, %rdx
	call	kthread_run
	FRAME_END
	ret
SYM_FUNC_END run_thread
# rdi: a thread. The function of one that stops it.
C_FUNC_START stopper_of
	call	kthread_stop
	movq	%rax, stopped_with(%rip)
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END stopper_of
	.section .rodata, "a", @progbits
SYM_DATA_START a_name
	.asciz	"a_thread"
SYM_DATA_END a_name
	.data
SYM_DATA_START stopped_with
	.quad	0
SYM_DATA_END stopped_with
`;

/** A module with a thread of its own, which is stopped when it goes. */
const MODULE = `
	.include "kernel.inc"
	.text
C_FUNC_START init_module
	movq	$worker, %rdi
	xorl	%esi, %esi
	movq	$.Lname, %rdx
	call	kthread_run
	movq	%rax, worker_task(%rip)
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END init_module
C_FUNC_START cleanup_module
	movq	worker_task(%rip), %rdi
	call	kthread_stop
	movq	%rax, stopped_with(%rip)
	xorl	%eax, %eax
	FRAME_END
	ret
SYM_FUNC_END cleanup_module
${loop("worker", "schedule_timeout_interruptible")}
	.section .rodata, "a", @progbits
.Lname:
	.asciz	"worker"
	.data
SYM_DATA_START worker_task
	.quad	0
SYM_DATA_END worker_task
`;

let built: BuiltScenario;
beforeAll(async () => {
  built = await buildWith("default", THREADS);
});

function* create(k: Kernel, fn: string, how: "create_thread" | "run_thread"): Program<bigint> {
  return yield* call(how, symbolVa(k.image, fn), 0n);
}

const get = (task: bigint): Program<bigint> =>
  // get_task_struct(): usage is 1, and becomes 3
  (function* () {
    yield* setBit(fieldVa(TASK, task, "usage"), 1);
    return task;
  })();

const slot = (k: Kernel, va: bigint): Task => readTask(k.session.read, k.image, va);
const usage = (k: Kernel, va: bigint): bigint =>
  k.session.machine.read64(fieldVa(TASK, va, "usage")) & 0xffffffffn;
const named = (k: Kernel): readonly Task[] =>
  k.session.tasks().filter((t) => t.comm === "a_thread" && t.isListed);

describe.each([1, 2, 4])("kthread_stop, on %i vCPUs", (vcpus) => {
  it("ends a thread that sleeps interruptibly at once, and answers what it returned", () => {
    const k = new Kernel(built, vcpus, vcpus);
    const va = k.do(() => create(k, "light", "run_thread"));
    k.run(40_000);
    expect(k.word("light_turns")).toBeGreaterThan(1n);
    expect(named(k)).toHaveLength(1);
    expect(k.do(() => call("kthread_stop", va))).toBe(7n);
    k.run(40_000);
    expect(named(k)).toEqual([]);
    expect(usage(k, va)).toBe(0n);
    expect(k.bugs()).toEqual([]);
  });

  it("waits for one that sleeps uninterruptibly: it sees the request when it wakes", () => {
    const k = new Kernel(built, vcpus, vcpus);
    const va = k.do(() => create(k, "heavy", "run_thread"));
    k.run(40_000);
    const turns = k.word("heavy_turns");
    expect(k.do(() => call("kthread_stop", va))).toBe(7n);
    expect(k.word("heavy_turns") - turns).toBeLessThanOrEqual(1n);
    k.run(40_000);
    expect([named(k), usage(k, va), k.bugs()]).toEqual([[], 0n, []]);
  });

  it("of a thread that nobody has woken answers -EINTR, and its function is never called", () => {
    const k = new Kernel(built, vcpus, vcpus);
    const va = k.do(() => create(k, "light", "create_thread"));
    k.run(40_000);
    expect(
      BigInt.asIntN(
        64,
        k.do(() => call("kthread_stop", va)),
      ),
    ).toBe(-BigInt(CONSTANTS.EINTR));
    k.run(40_000);
    expect([k.word("light_turns"), named(k), usage(k, va), k.bugs()]).toEqual([0n, [], 0n, []]);
  });

  it("lets one out that is parked, and that stops then", () => {
    const k = new Kernel(built, vcpus, vcpus);
    const va = k.do(() => create(k, "light", "run_thread"));
    k.run(20_000);
    expect(k.do(() => call("kthread_park", va))).toBe(0n);
    expect(slot(k, va)).toMatchObject({ parked: true });
    expect(
      BigInt.asIntN(
        64,
        k.do(() => call("kthread_park", va)),
      ),
    ).toBe(-BigInt(CONSTANTS.EBUSY));
    const turns = k.word("light_turns");
    k.run(40_000);
    expect(slot(k, va).state).toBe(TASK_STATE.PARKED);
    expect(k.do(() => call("kthread_stop", va))).toBe(7n);
    expect(k.word("light_turns")).toBe(turns);
    k.run(40_000);
    expect([named(k), usage(k, va), k.bugs()]).toEqual([[], 0n, []]);
  });

  it("answers at once for one that has ended by itself, whose slot a reference keeps", () => {
    const k = new Kernel(built, vcpus, vcpus);
    const va = k.do(function* () {
      return yield* get(yield* create(k, "brief", "create_thread"));
    });
    k.do(() => call("wake_up_process", va));
    k.run(60_000);
    expect(named(k)).toEqual([]);
    expect(slot(k, va)).toMatchObject({ state: TASK_STATE.DEAD, onCpu: false });
    expect(usage(k, va)).toBe(2n);
    expect(
      BigInt.asIntN(
        64,
        k.do(() => call("kthread_stop_put", va)),
      ),
    ).toBe(-5n);
    expect(usage(k, va)).toBe(1n);
    k.do(() => call("put_task_struct", va));
    expect([usage(k, va), k.bugs()]).toEqual([0n, []]);
  });
});

it("makes every interruptible sleep of the thread end: it has TIF_NOTIFY_SIGNAL from then on", () => {
  const k = new Kernel(built);
  const va = k.do(() => create(k, "heavy", "create_thread"));
  let flags = 0n;
  k.do(function* () {
    yield* call("run_thread", symbolVa(k.image, "stopper_of"), va);
  });
  for (let n = 0; n < 2000 && k.word("stopped_with") === 0n; n++) {
    flags |= slot(k, va).flags;
    k.run(50);
  }
  expect((flags >> BigInt(TIF.NOTIFY_SIGNAL)) & 1n).toBe(1n);
  expect(BigInt.asIntN(64, k.word("stopped_with"))).toBe(-BigInt(CONSTANTS.EINTR));
});

it("lets a module go: its thread is out of its text before that becomes int3", async () => {
  const assembler = await makeAssembler();
  const tools = { assembler, generated: { "asm-offsets.inc": asmOffsetsInc() } };
  const { scenario } = built;
  const includes = { ...scenario.includes, "kernel.inc": kernelFile("base/kernel.inc") ?? "" };
  const obj = assembleFile({ ...scenario, includes }, { name: "worker.S", text: MODULE }, tools);
  const sources = [{ name: "worker", obj }];
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const k = new Kernel(built, (seed % 3) + 1, seed);
    const world: ModuleWorld = { image: k.image, sources, notifiers: [] };
    expect(k.do(() => initModule(world, sources[0] ?? { name: "", obj }))).toBe(0);
    k.run(10_000 + 977 * seed);
    expect(k.session.tasks().some((t) => t.comm === "worker")).toBe(true);
    expect(k.do(() => deleteModule(world, "worker"))).toBe(0);
    expect(k.word("stopped_with")).toBe(7n);
    k.run(60_000);
    expect(k.session.tasks().some((t) => t.comm === "worker")).toBe(false);
    expect(k.bugs()).toEqual([]);
  }
});

// What the rest of the kernel stands on: the four steps of stop_machine, the interrupt stack, spinlocks with interrupts off, and a
// mutex. No mechanism is here.
import { beforeAll, describe, expect, test } from "vitest";
import {
  CONSTANTS,
  currentTask,
  fieldVa,
  look,
  MULTI_STOP_DATA,
  PCPU_HOT,
  PERCPU,
  perCpuVa,
  PT_REGS,
  readUint,
  stopMachine,
  TASK_STATE,
} from "../../src/kernel/index.ts";
import { findSymbol } from "../../src/link/index.ts";
import { loadScenario, type BuiltScenario } from "../../src/scenario/index.ts";
import { buildNamed, kernelFile } from "../scenario/files.ts";
import { Kernel } from "./programs.ts";

const IF = 0x200n;

let usual: BuiltScenario;
beforeAll(async () => {
  usual = await buildNamed("default");
});

describe("stop_machine", () => {
  test.each([1, 2, 4, 8])(
    "takes its four steps one after the other, each acknowledged by all of %i CPUs before the next",
    (vcpus) => {
      const k = new Kernel(usual, vcpus);
      const { session } = k;
      const acks: { cpu: number; state: number; on: boolean }[] = [];
      let ran: number | undefined;
      session.watch({ kind: "stop", lo: k.va("ack_state"), id: 1 });
      session.onStop = (_, cpu) => {
        const state = fieldVa(MULTI_STOP_DATA, session.machine.reg(cpu, "rdi"), "state");
        const on = (session.machine.reg(cpu, "rflags") & IF) !== 0n;
        acks.push({ cpu, state: Number(readUint(session.read, state, 4)), on });
      };
      k.do(() =>
        stopMachine(
          look("stop_machine", () => {
            ran = acks.length;
            return { value: undefined, cost: 0 };
          }),
        ),
      );
      const all = Array.from({ length: vcpus }, (_, cpu) => cpu);
      const steps = [
        CONSTANTS.MULTI_STOP_PREPARE,
        CONSTANTS.MULTI_STOP_DISABLE_IRQ,
        CONSTANTS.MULTI_STOP_RUN,
        CONSTANTS.MULTI_STOP_EXIT,
      ];
      expect(acks.map((a) => a.state)).toEqual(steps.flatMap((s) => all.map(() => s)));
      steps.forEach((state, i) => {
        const own = acks.slice(i * vcpus, (i + 1) * vcpus);
        expect(own.map((a) => a.cpu).toSorted()).toEqual(all);
        // From the second step on interrupts are off, until all have left.
        expect(own.every((a) => a.on === (state === CONSTANTS.MULTI_STOP_PREPARE))).toBe(true);
      });
      // The function runs when every CPU has its interrupts off, and no CPU goes on to EXIT before it has.
      expect(ran).toBeGreaterThanOrEqual(2 * vcpus);
      expect(ran).toBeLessThan(3 * vcpus);
    },
  );
});

describe("an interrupt", () => {
  test.each([1, 2, 4])(
    "from the kernel runs its handler on its CPU's interrupt stack, one from user mode on the task's (%i vCPUs)",
    (vcpus) => {
      const k = new Kernel(usual, vcpus);
      const { session } = k;
      const { machine, read, image } = session;
      const stacks = findSymbol(image, "irq_stacks")?.va ?? 0n;
      const size = BigInt(CONSTANTS.IRQ_STACK_SIZE);
      const seen = { kernel: 0, user: 0 };
      const wrong: string[] = [];
      session.watch({ kind: "stop", lo: k.va("__sysvec_apic_timer_interrupt"), id: 1 });
      session.onStop = (_, cpu) => {
        const rsp = machine.reg(cpu, "rsp");
        const cs = fieldVa(PT_REGS, machine.reg(cpu, "rbx"), "CS");
        const from = (readUint(read, cs, 8) & 3n) === 0n ? "kernel" : "user";
        seen[from]++;
        const hot = perCpuVa(image, cpu) + BigInt(PERCPU.fields.pcpu_hot.offset);
        const inUse = readUint(read, fieldVa(PCPU_HOT, hot, "hardirq_stack_inuse"), 1);
        const lo = stacks + BigInt(cpu) * size;
        const { stack } = currentTask(read, image, machine.reg(cpu, "gs_base"));
        const isRight =
          from === "kernel"
            ? rsp > lo && rsp < lo + size && inUse === 1n
            : rsp > stack.lo && rsp < stack.hi && inUse === 0n;
        if (!isRight) wrong.push(`${from} on ${cpu}: rsp ${rsp.toString(16)}, in use ${inUse}`);
      };
      k.run(150_000);
      expect(wrong).toEqual([]);
      expect(seen.kernel).toBeGreaterThan(3);
      expect(seen.user).toBeGreaterThan(3);
      expect(k.bugs()).toEqual([]);
    },
  );
});

const ROUNDS = 60;
const THREADS = 4;
/** Threads that read a counter, dawdle, and write one more: under a spinlock, or under a mutex that is held asleep. */
const LOCKERS = `
	.include "kernel.inc"
	.text
C_FUNC_START await_go
1:	cmpl	$0, is_on(%rip)
	jne	2f
	movl	$1, %edi
	call	schedule_timeout_interruptible
	jmp	1b
2:	FRAME_END
	ret
SYM_FUNC_END await_go
C_FUNC_START spinner
	pushq	%rbx
	subq	$8, %rsp
	call	await_go
	movl	$${ROUNDS}, %ebx
1:	movq	$test_lock, %rdi
	call	_raw_spin_lock_irqsave
	pushq	%rax
	pushq	spun(%rip)
	.rept 6
	pause
	.endr
SYM_INNER_LABEL spinner_holds
	popq	%rax
	incq	%rax
	movq	%rax, spun(%rip)
	popq	%rsi
	movq	$test_lock, %rdi
	call	_raw_spin_unlock_irqrestore
SYM_INNER_LABEL spinner_let_go
	decl	%ebx
	jnz	1b
	xorl	%eax, %eax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END spinner
C_FUNC_START locker
	pushq	%rbx
	pushq	%r12
	call	await_go
	movl	$${ROUNDS / 4}, %ebx
1:	movq	$test_mutex, %rdi
	call	mutex_lock
	movq	locked(%rip), %r12
	movl	$1, %edi
	call	schedule_timeout_uninterruptible
SYM_INNER_LABEL locker_holds
	incq	%r12
	movq	%r12, locked(%rip)
	movq	$test_mutex, %rdi
	call	mutex_unlock
	decl	%ebx
	jnz	1b
	xorl	%eax, %eax
	popq	%r12
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END locker
	.section .init.text, "ax", @progbits
C_FUNC_START_NOTRACE lockers_init
	pushq	%rbx
	subq	$8, %rsp
	movl	$${THREADS}, %ebx
1:	movq	$spinner, %rdi
	xorl	%esi, %esi
	movq	$name_spinner, %rdx
	call	kthread_run
	movq	$locker, %rdi
	xorl	%esi, %esi
	movq	$name_locker, %rdx
	call	kthread_run
	decl	%ebx
	jnz	1b
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END lockers_init
	device_initcall lockers_init
	.section .rodata, "a", @progbits
name_spinner:
	.asciz	"spinner"
name_locker:
	.asciz	"locker"
	.data
DEFINE_MUTEX test_mutex
SYM_DATA_START is_on
	.long	0
SYM_DATA_END is_on
SYM_DATA_START test_lock
	.long	0
SYM_DATA_END test_lock
SYM_DATA_START spun
	.quad	0
SYM_DATA_END spun
SYM_DATA_START locked
	.quad	0
SYM_DATA_END locked
`;

describe("threads that count without an atomic instruction", () => {
  let built: BuiltScenario;
  beforeAll(async () => {
    const { sources } = loadScenario("default", kernelFile);
    built = await buildNamed("default", {
      sources: [...sources, { name: "lockers.S", text: LOCKERS }],
    });
  });

  const total = BigInt(THREADS * ROUNDS);

  test.each([1, 2, 4])(
    "lose nothing under a spinlock, whose holder has interrupts off (%i vCPUs)",
    (vcpus) => {
      const k = new Kernel(built, vcpus);
      const { session } = k;
      const on: Record<number, number> = { 1: 0, 2: 0 };
      let held = 0;
      session.watch({ kind: "stop", lo: k.va("spinner_holds"), id: 1 });
      session.watch({ kind: "stop", lo: k.va("spinner_let_go"), id: 2 });
      session.onStop = (id, cpu) => {
        held += id === 1 ? 1 : 0;
        if ((session.machine.reg(cpu, "rflags") & IF) !== 0n) on[id] = (on[id] ?? 0) + 1;
      };
      session.machine.write(k.va("is_on"), Uint8Array.of(1));
      for (let n = 0; k.word("spun") < total && n < 200; n++) k.run(5000);
      expect(k.word("spun")).toBe(total);
      expect(held).toBe(THREADS * ROUNDS);
      expect(on[1]).toBe(0);
      expect(on[2]).toBeGreaterThanOrEqual(held);
      expect(k.bugs()).toEqual([]);
    },
  );

  test.each([1, 2, 4])(
    "lose nothing under a mutex, whose holder sleeps and which the others wait for asleep (%i vCPUs)",
    (vcpus) => {
      const k = new Kernel(built, vcpus);
      const { session } = k;
      session.machine.write(k.va("is_on"), Uint8Array.of(1));
      let waiting = 0;
      session.watch({ kind: "stop", lo: k.va("locker_holds"), id: 1 });
      session.onStop = (_, cpu) => {
        const holder = currentTask(session.read, k.image, session.machine.reg(cpu, "gs_base"));
        expect(k.word("test_mutex")).toBe(holder.va);
        const others = session.tasks().filter((t) => t.comm === "locker" && t.va !== holder.va);
        waiting = Math.max(
          waiting,
          others.filter((t) => t.state === TASK_STATE.UNINTERRUPTIBLE && !t.onCpu).length,
        );
      };
      for (let n = 0; k.word("locked") < total / 4n && n < 400; n++) k.run(5000);
      expect(k.word("locked")).toBe(total / 4n);
      expect(waiting).toBe(THREADS - 1);
      k.run(5000);
      expect(k.word("test_mutex")).toBe(0n);
      expect(k.bugs()).toEqual([]);
    },
  );
});

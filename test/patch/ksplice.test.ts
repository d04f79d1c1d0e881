// ksplice line by line: the functions of a patch's author around the change, what it says, and when it gives up. The words
// are those of kmodsrc/ksplice.c with its debug level set.
import { beforeAll, describe, expect, it } from "vitest";
import { leftovers, takeInventory } from "../../src/check/index.ts";
import {
  call,
  CPU_STOPPER,
  PERCPU,
  perCpuVa,
  readField,
  TASK,
  TASK_STATE,
  writeField,
  type Task,
} from "../../src/kernel/index.ts";
import { findSymbol } from "../../src/link/index.ts";
import { KSPLICE_ATTEMPTS, type PatchedFunction, type Request } from "../../src/patch/index.ts";
import { ksplice } from "../../src/patch/ksplice.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { Kernel } from "../kernel/programs.ts";
import { ask, buildSteady, given, PATCH, requestOf, said } from "./steady.ts";

const STAGES = ["apply", "reverse"].flatMap((a) =>
  [`pre_${a}`, `check_${a}`, a, `post_${a}`, `fail_${a}`].map((name) => name),
);

/** Each function writes its number, the first byte of steady_version and whether interrupts are on; some answer. */
const HOOKS = `
	.include "ksplice-patch.inc"
	.text
${STAGES.map(
  (name, i) => `C_FUNC_START_LOCAL hook_${name}
	pushfq
	popq	%rcx
	shrl	$1, %ecx
	andl	$0x100, %ecx
	movzbl	steady_old, %eax
	shll	$16, %eax
	orl	%ecx, %eax
	orl	$${i + 1}, %eax
	movl	hook_n(%rip), %ecx
	movl	%eax, hook_log(,%rcx,4)
	incl	hook_n(%rip)
	movl	hook_answers+4*${i}(%rip), %eax
	FRAME_END
	ret
SYM_FUNC_END hook_${name}
	ksplice_${name} hook_${name}
`,
).join("")}
	.data
SYM_DATA_START hook_n
	.long	0
SYM_DATA_END hook_n
SYM_DATA_START hook_log
	.skip	4 * 256
SYM_DATA_END hook_log
SYM_DATA_START hook_answers
	.skip	4 * ${STAGES.length}
SYM_DATA_END hook_answers
`;

/** stop_one_by_another(): CPU 1 is stopped by another thread than the one that its run queue has for a stopper. */
const OTHER_STOPPER = `
	.include "kernel.inc"
	.text
C_FUNC_START stop_one_by_another
	pushq	%rbx
	subq	$8, %rsp
	movq	__per_cpu_offset+8, %rbx
	leaq	cpu_stopper(%rbx), %rsi
	movq	$cpu_stopper_thread, %rdi
	movq	$other_stopper_name, %rdx
	movl	$1, %ecx
	call	kthread_create_on_cpu
	movl	$0, TASK_prio(%rax)
	movq	%rax, cpu_stopper+STOPPER_thread(%rbx)
	movq	%rax, %rbx
	movq	%rax, %rdi
	call	wake_up_process
	movq	%rbx, %rax
	addq	$8, %rsp
	popq	%rbx
	FRAME_END
	ret
SYM_FUNC_END stop_one_by_another
	.section .rodata, "a", @progbits
other_stopper_name:
	.asciz	"other/1"
`;

let built: BuiltScenario;
let request: Request;
beforeAll(async () => {
  const plain = await buildSteady();
  const old = findSymbol(plain.image, "steady_version")?.va ?? 0n;
  built = await buildSteady(`	.set	steady_old, ${old}\n${PATCH}${HOOKS}`, OTHER_STOPPER);
  request = requestOf(built, built.patch);
});

function at(name: string): bigint {
  return findSymbol(request.plan.module, name)?.va ?? 0n;
}

/** The functions that were called since the module was loaded: name, first byte of the entry, interrupts. */
function called(k: Kernel): readonly string[] {
  const n = Number(k.session.machine.read64(at("hook_n")) & 0xffffn);
  return Array.from({ length: n }, (_, i) => {
    const word = Number(k.session.machine.read64(at("hook_log") + BigInt(4 * i)) & 0xffffffffn);
    const byte = (word >> 16) & 0xff;
    const entry = byte === 0xe9 ? "jmp" : byte === 0x0f ? "nop" : byte.toString(16);
    return `${STAGES[(word & 0xff) - 1]} ${entry} ${(word & 0x100) === 0 ? "off" : "on"}`;
  });
}

/** The next call of that function answers so. */
function answers(k: Kernel, name: string, value: number): void {
  const va = at("hook_answers") + BigInt(4 * STAGES.indexOf(name));
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  k.session.machine.write(va, bytes);
}

const NAME = "steady_patch";

/** A user task whose restart_block leads into the first function of the patch. */
function inTheWay(k: Kernel): { sleeper: Task; f: PatchedFunction } {
  const sleeper = k.session.tasks().find((t) => !t.isKthread && !t.onCpu && !t.onRq);
  const f = request.plan.functions[0];
  if (sleeper === undefined || f === undefined) throw new Error("nobody sleeps");
  k.do(() => writeField(TASK, sleeper.va, "restart_fn", f.oldVa + 1n));
  return { sleeper, f };
}

describe("the functions of a patch's author", () => {
  it("are called before, in and after stop_machine: behind the trampolines, or before they go", () => {
    const k = new Kernel(built);
    expect(ask(k, ksplice, "enable", request).result).toBe("applied");
    expect(called(k)).toEqual([
      "pre_apply nop on",
      "check_apply nop off",
      "apply jmp off",
      "post_apply jmp on",
    ]);
    expect(said(k)).toEqual([
      `ksplice: Atomic patch insertion for ${NAME} complete`,
      `ksplice: Update ${NAME} applied successfully`,
    ]);
    expect(ask(k, ksplice, "disable", request).result).toBe("applied");
    expect(said(k)).toEqual([
      `ksplice: Preparing to reverse ${NAME}`,
      `ksplice: Atomic patch removal for ${NAME} complete`,
      `ksplice: Update ${NAME} reversed successfully`,
    ]);
    // The module is gone, its data is not: nothing was written there since.
    expect(called(k).slice(4)).toEqual([
      "pre_reverse jmp on",
      "check_reverse jmp off",
      "reverse jmp off",
      "post_reverse nop on",
    ]);
  });

  it.each([
    ["pre_apply", ["pre_apply nop on", "fail_apply nop on"]],
    ["check_apply", ["pre_apply nop on", "check_apply nop off", "fail_apply nop on"]],
  ])("%s may refuse: nothing is written, the one for failures is told", (name, expected) => {
    const k = new Kernel(built);
    const text = k.session.text();
    const inventory = takeInventory(k.session);
    // Its data comes with the module: the answer must be in the image.
    const module = request.plan.module;
    const segments = module.segments.map((s) => {
      const va = at("hook_answers") + BigInt(4 * STAGES.indexOf(name));
      if (va < s.va || va >= s.va + BigInt(s.bytes.length)) return s;
      const bytes = s.bytes.slice();
      bytes[Number(va - s.va)] = 0xf0;
      return { ...s, bytes };
    });
    const plan = { ...request.plan, module: { ...module, segments } };
    expect(k.do(() => ksplice.enable({ ...request, plan }), 40_000_000)).toMatchObject({
      result: "refused",
      reason: `a ${name} function of the patch refuses`,
    });
    expect(called(k)).toEqual(expected);
    expect(k.session.text()).toEqual(text);
    expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
    expect(given(k)).toEqual({ last: [0x11n], mixtures: 0n });
  });

  it.each(["pre_reverse", "check_reverse"])("%s may refuse: the patch stays in force", (name) => {
    const k = new Kernel(built);
    ask(k, ksplice, "enable", request);
    answers(k, name, -16);
    const text = k.session.text();
    const inventory = takeInventory(k.session);
    expect(ask(k, ksplice, "disable", request).reason).toBe(
      `a ${name} function of the patch refuses`,
    );
    expect(called(k).at(-1)).toBe("fail_reverse jmp on");
    expect(k.session.text()).toEqual(text);
    expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
    answers(k, name, 0);
    expect(ask(k, ksplice, "disable", request).result).toBe("applied");
  });
});

describe("what stands in the way", () => {
  it("is said with every word that was looked at, after five tries a second apart", () => {
    const k = new Kernel(built);
    const { hz } = built.scenario;
    const { sleeper, f } = inTheWay(k);
    const text = k.session.text();
    const inventory = takeInventory(k.session);
    const from = k.word("jiffies");
    const r = k.do(() => ksplice.enable(request), 40_000_000);
    expect(k.word("jiffies") - from).toBeGreaterThanOrEqual(BigInt(KSPLICE_ATTEMPTS * hz));
    expect(r).toMatchObject({ result: "refused", reason: "busy in all of 5 attempts" });
    expect(r.blockers.map((b) => [b.pid, b.reason, b.symbol])).toContainEqual([
      sleeper.pid,
      "stack check: code is busy",
      f.name,
    ]);
    const lines = said(k);
    const line = lines.find((l) => l.includes(`pid ${sleeper.pid} (`)) ?? "";
    // What was looked at first comes last, behind the words of the stack from its end.
    const words = ` [0-9a-f]+(?: \\[<-CONFLICT\\])?`;
    const head = `ksplice: stack check: pid ${sleeper.pid} \\(${sleeper.comm}\\): 2b`;
    const tail = ` ${(f.oldVa + 1n).toString(16)} \\[<-CONFLICT\\]`;
    expect(line).toMatch(new RegExp(`^${head}(?:${words}){30,}${tail}$`));
    expect(lines.at(-1)).toBe(
      `ksplice: Aborted ${NAME}.  stack check: to-be-replaced code is busy.`,
    );
    expect(called(k).at(-1)).toBe("fail_apply nop on");
    expect(k.session.text()).toEqual(text);
    expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
  });

  it("is not asked of a dead task", () => {
    const k = new Kernel(built);
    const { sleeper } = inTheWay(k);
    k.do(() => writeField(TASK, sleeper.va, "state", BigInt(TASK_STATE.DEAD)));
    expect(ask(k, ksplice, "enable", request).result).toBe("applied");
  });

  it.each(["enable", "disable"] as const)(
    "is a task that runs and is no stopper: the first try is the last one, and nothing is said (%s)",
    (what) => {
      const k = new Kernel(built);
      if (what === "disable") ask(k, ksplice, "enable", request);
      const stopper = perCpuVa(built.image, 1) + BigInt(PERCPU.fields.cpu_stopper.offset);
      const known = readField(k.session.read, CPU_STOPPER, stopper, "thread");
      const va = k.do(() => call("stop_one_by_another"));
      const other = k.session.tasks().find((t) => t.va === va);
      const text = k.session.text();
      const inventory = takeInventory(k.session);
      const r = k.do(() => ksplice[what](request), 40_000_000);
      expect(k.session.agent.state().progress).toHaveLength(1);
      expect(r).toMatchObject({
        result: "refused",
        reason: "a task runs that is not a stopper",
      });
      // Whoever was found busy before it is told of as well.
      expect(r.blockers.at(-1)).toMatchObject({
        task: "other/1",
        pid: other?.pid,
        reason: "unexpected running task",
        symbol: undefined,
      });
      expect(said(k)).toEqual(what === "enable" ? [] : [`ksplice: Preparing to reverse ${NAME}`]);
      expect(called(k).at(-1)).toBe(
        what === "enable" ? "fail_apply nop on" : "fail_reverse jmp on",
      );
      expect(k.session.text()).toEqual(text);
      expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
      k.do(() => writeField(CPU_STOPPER, stopper, "thread", known));
      expect(ask(k, ksplice, what, request).result).toBe("applied");
    },
  );

  it("is an overwritten trampoline at a removal: it is looked at in the tries, and the patch stays", () => {
    const k = new Kernel(built);
    ask(k, ksplice, "enable", request);
    const f = request.plan.functions.find((x) => x.name === "steady_local");
    // Somebody else has put the old instruction back.
    k.session.machine.write(f?.jumpVa ?? 0n, f?.oldBytes ?? new Uint8Array());
    const text = k.session.text();
    const inventory = takeInventory(k.session);
    // A stack that is busy is another reason for the same answer: asked until the last of the tries is about the trampoline.
    let reason = "busy";
    for (let n = 0; n < 30 && reason.startsWith("busy"); n++) {
      const r = k.do(() => ksplice.disable(request), 40_000_000);
      expect(r.result).toBe("refused");
      ({ reason } = r);
    }
    expect(reason).toBe("steady_local: the trampoline has been overwritten");
    const overwritten = `ksplice: Aborted.  Trampoline at ${f?.jumpVa.toString(16)} has been overwritten.`;
    const [begin, ...lines] = said(k);
    expect(begin).toBe(`ksplice: Preparing to reverse ${NAME}`);
    expect(lines.length).toBeLessThanOrEqual(6);
    expect(lines.pop()).toBe(
      `ksplice: Aborted ${NAME}.  stack check: to-be-reversed code is busy.`,
    );
    expect(new Set(lines)).toEqual(new Set([overwritten]));
    expect(k.session.text()).toEqual(text);
    expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
  });
});

// A sleep that a signal without data ends: the system call begins again by its restart_block, and goes on to the moment at which it
// would have ended anyway. kernel: kernel/time/hrtimer.c, hrtimer_nanosleep_restart(); kernel/signal.c, restart_syscall().
import { expect, test } from "vitest";
import { call } from "../../src/kernel/index.ts";
import { loadScenario, type BuiltScenario } from "../../src/scenario/index.ts";
import { buildNamed, kernelFile } from "../scenario/files.ts";
import { Kernel } from "./programs.ts";

const TICKS = 40;
const USER = `
	.include "user.inc"
	.include "kernel.inc"
	.section .user.text, "ax", @progbits
SYM_CODE_START _start
	SET_NAME sleeper
	movl	$QUIESCE_READY, %edi
	USER_SYSCALL __NR_quiesce
	movl	$${TICKS}, %edi
	USER_SYSCALL __NR_nanosleep
	movq	%rax, answer
	incq	woken
	USER_SYSCALL __NR_restart_syscall
	movq	%rax, again
	incq	woken
1:	USER_SYSCALL __NR_pause
	jmp	1b
SYM_CODE_END _start
	USER_STACKS 1
	.section .user.data, "aw", @progbits
	.globl	answer, woken, again
answer:	.quad	1
woken:	.quad	0
again:	.quad	1
	.data
SYM_DATA_START scenario_nr_ready
	.long	1
SYM_DATA_END scenario_nr_ready
SYM_DATA_START scenario_nr_done
	.long	1
SYM_DATA_END scenario_nr_done
`;

async function build(): Promise<BuiltScenario> {
  const { sources } = loadScenario("default", kernelFile);
  const base = sources.filter((s) => s.name.startsWith("base/"));
  return buildNamed("default", {
    sources: [...base, { name: "sleeper.S", text: USER }],
    patch: undefined,
    functions: [],
    results: [],
  });
}

/** Sleeps, with so many fake signals on the way. Answers the ticks that it took, and how often the calls were entered. */
function sleeps(built: BuiltScenario, signals: number) {
  const k = new Kernel(built);
  const { session } = k;
  const entered: Record<string, number> = {};
  const calls = ["__x64_sys_nanosleep", "__x64_sys_restart_syscall", "hrtimer_nanosleep_restart"];
  calls.forEach((name, i) => {
    session.watch({ kind: "stop", lo: k.va(name), id: i + 1 });
    entered[name] = 0;
  });
  session.onStop = (id) => {
    const name = calls[id - 1] ?? "";
    entered[name] = (entered[name] ?? 0) + 1;
  };
  const task = session.tasks().find((t) => t.comm === "sleeper");
  if (task === undefined) throw new Error("no sleeper");
  const from = Number(k.word("jiffies"));
  const { tickInsns } = built.scenario;
  for (let i = 0; i < signals; i++) {
    while (Number(k.word("jiffies")) < from + 4 * (i + 1)) k.run(100);
    expect(k.word("woken")).toBe(0n);
    k.do(() => call("send_fake_signal", task.va));
  }
  for (let n = 0; k.word("woken") === 0n; n++) {
    if (n > 200) throw new Error("it sleeps on and on");
    k.run(tickInsns / 2);
  }
  const ticks = Number(k.word("jiffies")) - from;
  k.run(4 * tickInsns);
  expect(k.bugs()).toEqual([]);
  return { k, ticks, entered };
}

test("goes on to its first deadline, however often it is interrupted, and answers 0", async () => {
  const built = await build();
  const alone = sleeps(built, 0);
  expect(alone.ticks).toBeGreaterThanOrEqual(TICKS);
  // It asks for a restart of its own when it is awake: of a sleep that nothing ended there is none.
  const EINTR = 4n;
  expect(BigInt.asIntN(64, alone.k.word("again"))).toBe(-EINTR);
  const often = sleeps(built, 4);
  expect(Math.abs(often.ticks - alone.ticks)).toBeLessThanOrEqual(2);
  expect(often.k.word("answer")).toBe(0n);
  expect(often.entered).toEqual({
    __x64_sys_nanosleep: 1,
    // Four by signals, and the one that the program makes itself.
    __x64_sys_restart_syscall: 5,
    hrtimer_nanosleep_restart: 5,
  });
});

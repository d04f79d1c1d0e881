// kGraft on its way back, seen from outside: when, where and with what on its stack each task leaves the new universe, and the
// interrupts of each CPU, both ways, which go by a flag of their own; and when it looks for who is left.
import { beforeAll, describe, expect, it } from "vitest";
import { judge, observe, watchPlan, type Trace } from "../../src/check/index.ts";
import {
  CONSTANTS,
  currentTask,
  KLP_CONSTANTS,
  PCPU_HOT,
  PERCPU,
  perCpuVa,
  readUint,
  symbolVa,
  type Program,
} from "../../src/kernel/index.ts";
import { symbolAt } from "../../src/link/index.ts";
import {
  jobOf,
  KGRAFT_RECHECK_S,
  planPatch,
  type Outcome,
  type Request,
} from "../../src/patch/index.ts";
import { loadScenario, type BuiltScenario } from "../../src/scenario/index.ts";
import { mechanism } from "../explore/prepared.ts";
import { buildAsleep } from "../kernel/asleep.ts";
import { Kernel } from "../kernel/programs.ts";
import { buildNamed, kernelFile } from "../scenario/files.ts";
import { said } from "./steady.ts";

const kgraft = mechanism("kgraft");
/** Of preempt_count. */
const NMI_MASK = 0xf0_0000;
const IN_INTERRUPT = 0xff_0000;
/** The states in which the stub asks. */
const SLOW: readonly number[] = [KLP_CONSTANTS.KGR_PATCH_SLOW, KLP_CONSTANTS.KGR_PATCH_REVERT_SLOW];

let loaded: BuiltScenario;
beforeAll(async () => {
  const { sources } = loadScenario("steady", kernelFile);
  const longer = (text: string): string =>
    text.replaceAll(/(ROUNDS, )(\d+)/g, (_, set: string, n: string) => set + Number(n) * 20);
  loaded = await buildNamed("steady", {
    sources: sources.map((s) => ({ ...s, text: longer(s.text) })),
  });
});

function requestOf({ image, patch, scenario }: BuiltScenario): Request {
  if (patch === undefined) throw new Error("no patch");
  return { image, plan: planPatch(image, patch), hz: scenario.hz, unwinder: "fp" };
}

/** The patch is put in, and what happens while it is taken out again. */
function takenOut(vcpus: number, seed: number): Trace {
  const k = new Kernel(loaded, vcpus, seed);
  const { session } = k;
  const request = requestOf(loaded);
  expect(k.do(() => kgraft.enable(request)).result).toBe("applied");
  k.run(5000 * seed);
  watchPlan(session, request.plan);
  const observed = observe(session, {
    scenario: "steady",
    mechanism: "kgraft",
    plan: request.plan,
    from: "new",
    readyAt: 0,
    budgetInsns: 0,
    resultSymbols: [],
    expected: {},
    pristine: session.text(),
  });
  session.request(jobOf(kgraft, request, "disable"));
  expect(session.run(session.machine.retired + 3_000_000, new Set(["outcome", "bug"]))).toBe(
    "outcome",
  );
  k.run(20_000);
  return observed.finish("limit");
}

const SYSCALL = ["do_syscall_64", "entry_SYSCALL_64_after_hwframe"];
const LOOP = ["checkpoint_stop", "exit_to_user_mode_loop"];
const KTHREAD = ["kthread", "ret_from_fork", "ret_from_fork_asm"];
/** Where a task can be when it switches itself: from the innermost function outwards, by how. An interrupt's functions by their pattern. */
const PLACES: Readonly<Record<string, readonly (readonly (string | RegExp)[])[]>> = {
  "syscall entry": [["checkpoint_stop", ...SYSCALL]],
  "exit to user": [
    [...LOOP, "syscall_exit_to_user_mode", ...SYSCALL],
    [...LOOP, "irqentry_exit", /^sysvec_/, /^asm_sysvec_/],
  ],
  kthread: [
    ["kgr_task_is_safe", "kthread_should_stop", "steadyd", ...KTHREAD],
    ["kgr_task_is_safe", "worker_thread", ...KTHREAD],
  ],
};

function isPlace(place: readonly (string | RegExp)[], names: readonly string[]): boolean {
  const fits = (want: string | RegExp, name = ""): boolean =>
    typeof want === "string" ? want === name : want.test(name);
  return place.length === names.length && place.every((want, i) => fits(want, names[i]));
}

const cases = [1, 2, 4].flatMap((vcpus) => [1, 2, 4, 8, 44].map((seed) => [vcpus, seed] as const));

describe("taking a patch out under load", () => {
  it.each(cases)(
    "switches every task once, where it holds nothing, on %i vCPUs (seed %i)",
    (vcpus, seed) => {
      const trace = takenOut(vcpus, seed);
      expect(trace.outcome?.result).toBe("applied");
      expect(judge(trace).violations).toEqual([]);
      const immutable = symbolVa(trace.image, "kgr_immutable");
      const [set, cleared] = trace.writes.filter((w) => w.va === immutable);
      const windows = trace.plan.functions.map((f) => f.jumpVa);
      const unhooked = trace.writes.find((w) => windows.includes(w.va));
      if (set === undefined || cleared === undefined || unhooked === undefined)
        throw new Error("no change");

      expect(trace.switches.map((s) => s.task.lo).toSorted()).toEqual(
        trace.tasks.map((t) => t.lo).toSorted(),
      );
      for (const { task, to, how, insn, frames, decided } of trace.switches) {
        expect(to).toBe("old");
        const names = frames.map(
          (f) => symbolAt(trace.image, f.isCall ? f.ip - 1n : f.ip)?.name ?? "",
        );
        if (how === "not in progress") {
          // patchd, idle tasks and stoppers are nobody's to mark; of the others those that came by while all was immutable.
          // One of them may be in the stub then, and finds out there.
          if (decided === true) expect(insn).toBeGreaterThan(cleared.insn);
          else expect(insn).toBe(cleared.insn);
          const came = trace.entries.some(
            (e) =>
              e.kind === "gather" && e.task?.lo === task.lo && e.insn > set.insn && e.insn < insn,
          );
          expect(came).toBe(task.kind === "user");
          continue;
        }
        expect(insn).toBeGreaterThan(cleared.insn);
        expect(insn).toBeLessThan(unhooked.insn);
        expect(how === "kthread").toBe(task.kind === "kthread");
        expect([how, names, PLACES[how]?.some((place) => isPlace(place, names))]).toEqual([
          how,
          names,
          true,
        ]);
      }
    },
  );

  it("is done under load: the new functions are entered until everybody is marked, the old ones while others are still on their way", () => {
    const trace = takenOut(2, 1);
    const immutable = symbolVa(trace.image, "kgr_immutable");
    const cleared = trace.writes.findLast((w) => w.va === immutable)?.insn ?? 0;
    const last = trace.switches.at(-1)?.insn ?? 0;
    const entered = (kind: "old" | "new", from: number, until: number): number =>
      trace.entries.filter((e) => e.kind === kind && e.insn >= from && e.insn < until).length;
    expect(entered("new", 0, cleared)).toBeGreaterThan(0);
    expect(entered("old", 0, cleared)).toBe(0);
    expect(entered("old", cleared, last)).toBeGreaterThan(0);
  });
});

const THOUSAND = 0x1000n;
/** The NMI handler counts in thousands, and so does the reschedule interrupt. */
const COUNTING = `
	.include "kernel.inc"
	.text
SYM_FUNC_START default_do_nmi
	FENTRY
	FRAME_BEGIN
	addq	$${THOUSAND}, %gs:nmi_count
	FRAME_END
	ret
SYM_FUNC_END default_do_nmi
C_FUNC_START scheduler_ipi
	GET_CURRENT %rax
	testl	$_TIF_NEED_RESCHED, TASK_TI_flags(%rax)
	jz	1f
	andl	$~PREEMPT_NEED_RESCHED, %gs:pcpu_hot+X86_preempt_count
1:	FRAME_END
	ret
SYM_FUNC_END scheduler_ipi
`;

let quiet: BuiltScenario;
beforeAll(async () => {
  quiet = await buildAsleep(COUNTING, ["default_do_nmi", "scheduler_ipi"]);
});

/** A decision of the slow stub in an interrupt. */
interface Decision {
  readonly vcpu: number;
  readonly isNmi: boolean;
  readonly to: "old" | "new";
  readonly flag: boolean;
}

interface Interrupted {
  readonly decisions: readonly Decision[];
  /** Who set a CPU's flag: its name, the CPU that it was on, and whether all was immutable. */
  readonly setters: readonly string[];
  /** Tasks that were marked by an interrupt. */
  readonly marked: number;
}

/** Lets an NMI and a reschedule interrupt come to every CPU at each step of a change. */
function interrupted(k: Kernel, what: "enable" | "disable"): Interrupted {
  const { session } = k;
  const { machine, read, image } = session;
  const decisions: Decision[] = [];
  const setters: string[] = [];
  let marked = 0;
  const labels = [
    "kgr_goes_old",
    "kgr_goes_new",
    "kgr_handle_irq_cpu",
    "kgr_mark_task_in_progress",
  ];
  const perCpu = (
    vcpu: number,
    field: "kgr_irq_use_new" | "pcpu_hot",
    at: number,
    size: number,
  ): bigint =>
    readUint(read, perCpuVa(image, vcpu) + BigInt(PERCPU.fields[field].offset + at), size);
  session.onStop = (id, vcpu) => {
    const label = labels[id - 1];
    const count = Number(perCpu(vcpu, "pcpu_hot", PCPU_HOT.fields.preempt_count.offset, 4));
    const inInterrupt = (count & IN_INTERRUPT) !== 0;
    if (label === "kgr_handle_irq_cpu") {
      const task = currentTask(read, image, machine.reg(vcpu, "gs_base"));
      setters.push(`${task.comm} on ${vcpu}, immutable ${k.word("kgr_immutable", 4)}`);
    } else if (label === "kgr_mark_task_in_progress") {
      if (inInterrupt) marked++;
    } else if (inInterrupt && SLOW.includes(Number(machine.reg(vcpu, "r9")))) {
      const flag = perCpu(vcpu, "kgr_irq_use_new", 0, 1) !== 0n;
      decisions.push({
        vcpu,
        isNmi: (count & NMI_MASK) !== 0,
        to: label === "kgr_goes_old" ? "old" : "new",
        flag,
      });
    }
  };
  labels.forEach((label, i) => session.watch({ kind: "stop", lo: k.va(label), id: i + 1 }));
  const request = requestOf(quiet);
  const program = function* (): Program<Outcome> {
    const change = kgraft[what](request);
    let r = change.next();
    while (!r.done) {
      const answer = yield r.value;
      for (let v = 0; v < machine.nrVcpus; v++) {
        machine.nmi(v);
        machine.interrupt(v, CONSTANTS.RESCHEDULE_VECTOR);
      }
      r = change.next(answer);
    }
    return r.value;
  };
  expect(k.do(program, 20_000_000).result).toBe("applied");
  session.onStop = undefined;
  return { decisions, setters, marked };
}

/** What an NMI counts on a CPU now. */
function counted(k: Kernel, vcpu: number): bigint {
  const va = perCpuVa(k.image, vcpu) + BigInt(PERCPU.fields.nmi_count.offset);
  k.run(4000); // what came last is over
  const before = readUint(k.session.read, va, 8);
  k.session.machine.nmi(vcpu);
  k.run(4000);
  return readUint(k.session.read, va, 8) - before;
}

describe("the interrupts of a CPU", () => {
  it.each([1, 2, 4])(
    "change by its own flag, which its own kworker sets, both ways, on %i vCPUs",
    (vcpus) => {
      const k = new Kernel(quiet, vcpus);
      const cpus = Array.from({ length: vcpus }, (_, v) => v);
      for (const [what, from, to, counts] of [
        ["enable", "old", "new", THOUSAND],
        ["disable", "new", "old", 1n],
      ] as const) {
        const { decisions, setters, marked } = interrupted(k, what);
        expect(marked).toBe(0);
        expect(setters.toSorted()).toEqual(cpus.map((v) => `kworker/${v}:0 on ${v}, immutable 1`));
        for (const isNmi of [true, false]) {
          for (const v of cpus) {
            const own = decisions.filter((d) => d.vcpu === v && d.isNmi === isNmi);
            const first = own.findIndex((d) => d.flag);
            expect(first).toBeGreaterThan(0);
            expect(own.map((d) => d.to)).toEqual(own.map((_, i) => (i < first ? from : to)));
            expect(own.slice(first).every((d) => d.flag)).toBe(true);
          }
        }
        for (const v of cpus) expect(counted(k, v)).toBe(counts);
      }
      expect(k.bugs()).toEqual([]);
    },
  );
});

/** Jiffies of a change: when everybody had been marked, of every fake signal, and when the patch was in force. */
function timed(k: Kernel, request: Request): { marked: number; signals: number[]; end: number } {
  const { session } = k;
  const now = (): number => Number(k.word("jiffies"));
  const signals: number[] = [];
  let marked = 0;
  session.watch({ kind: "stop", lo: k.va("send_fake_signal"), id: 1 });
  session.onStop = () => void signals.push(now());
  session.agent.onWrite = (w) => {
    if (w.va === k.va("kgr_immutable")) marked = now();
  };
  expect(k.do(() => kgraft.enable(request), 20_000_000).result).toBe("applied");
  session.onStop = undefined;
  session.agent.onWrite = undefined;
  return { marked, signals, end: now() };
}

const STILL = "kgr still in progress after timeout, will keep trying every 2 seconds";

describe("looking for who is left", () => {
  it("begins two seconds after everybody was marked: who came by himself by then is not disturbed, and nothing is said", async () => {
    const built = await buildNamed("steady", { sources: loaded.scenario.sources, hz: 20 });
    const k = new Kernel(built);
    const { marked, signals, end } = timed(k, requestOf(built));
    expect(end - marked).toBeGreaterThanOrEqual(KGRAFT_RECHECK_S * built.scenario.hz);
    expect(signals).toEqual([]);
    expect(said(k)).toEqual(["kgr: applying patch 'steady_patch'", "kgr succeeded"]);
  });

  it("finds a sleeper the first time, and says so, gives it the fake signal, and looks again two seconds later", () => {
    const k = new Kernel(quiet);
    const wait = KGRAFT_RECHECK_S * quiet.scenario.hz;
    const { marked, signals, end } = timed(k, requestOf(quiet));
    expect(signals).toHaveLength(1);
    expect((signals[0] ?? 0) - marked).toBeGreaterThanOrEqual(wait);
    expect(end - (signals[0] ?? 0)).toBeGreaterThanOrEqual(wait);
    expect(said(k)).toEqual(["kgr: applying patch 'patch'", STILL, "kgr succeeded"]);
  });

  it("wakes a kernel thread out of uninterruptible sleep, as wake_up_process() does", async () => {
    const { sources } = loadScenario("stuck", kernelFile);
    const turns = "movl	$1, %edi\n	call	schedule_timeout_uninterruptible\n";
    const asleep = `${turns.replace("$1,", "$100000,")}	call	kthread_should_stop\n`;
    const edited = sources.map((s) => ({ ...s, text: s.text.replace(turns, asleep) }));
    const built = await buildNamed("stuck", { sources: edited });
    const k = new Kernel(built);
    expect(k.do(() => kgraft.enable(requestOf(built)), 20_000_000)).toMatchObject({
      result: "applied",
      switched: expect.arrayContaining([
        expect.objectContaining({ task: "stuckd", how: "kthread" }),
      ]),
    });
  });
});

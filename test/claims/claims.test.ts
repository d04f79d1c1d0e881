// The claims of the argument of February 2015 about gathering everybody (simple) and letting everybody pass (kgraft): what a
// bug, or somebody who does not come, does to each, and what each costs on the same schedules. docs/claims.md has the table.
import { beforeAll, describe, expect, it } from "vitest";
import { leftovers, oldAt, takeInventory, type Trace } from "../../src/check/index.ts";
import { runOne, type Prepared, type Run } from "../../src/explore/index.ts";
import { TASK_STATE, type Step } from "../../src/kernel/index.ts";
import { seededSchedule } from "../../src/machine/index.ts";
import { jobOf, type Mechanism } from "../../src/patch/index.ts";
import { loadScenario, type Scenario } from "../../src/scenario/index.ts";
import { mechanism, prepared } from "../explore/prepared.ts";
import { kernelFile } from "../scenario/files.ts";
import { effort, sum, table, type Effort } from "./effort.ts";

type Edit = readonly [from: string, to: string];

/** A scenario with places of its text replaced, each of which must be there. */
function edited(
  name: string,
  edits: readonly Edit[],
  change: Partial<Scenario> = {},
): Promise<Prepared> {
  const { sources } = loadScenario(name, kernelFile);
  const missing = edits.find(([from]) => !sources.some((s) => s.text.includes(from)));
  if (missing) throw new Error(`${name}: '${missing[0]}' is in no file`);
  const replaced = sources.map((s) => ({
    ...s,
    text: edits.reduce((text, [from, to]) => text.replace(from, to), s.text),
  }));
  return prepared(name, { sources: replaced, ...change });
}

/** The calls of a mechanism's program that `lost` names do nothing. */
function losing(m: Mechanism, lost: (fn: string, arg: bigint) => boolean): Mechanism {
  return {
    ...m,
    *enable(request) {
      const program = m.enable(request);
      let r = program.next();
      while (!r.done) {
        const step: Step = r.value;
        const isLost =
          step.op === "call" && typeof step.fn === "string" && lost(step.fn, step.args[0] ?? 0n);
        r = program.next(isLost ? 0n : yield step);
      }
      return r.value;
    },
  };
}

function entered(t: Trace, kind: "old" | "new", from = 0): number {
  return t.entries.filter((e) => e.kind === kind && e.insn >= from).length;
}

/** Tasks that enter a variant in the last tenth of a run. */
function lately(t: Trace, kind: "old" | "new"): readonly string[] {
  const from = t.endedAt - (t.endedAt - t.requestAt) / 10;
  const names = t.entries
    .filter((e) => e.kind === kind && e.insn >= from)
    .map((e) => e.task?.comm ?? "interrupt");
  return [...new Set(names)].toSorted();
}

/** States in which a task waits to be let go. */
const HELD: readonly number[] = [TASK_STATE.CHECKPOINT, TASK_STATE.PARKED, TASK_STATE.FROZEN];

/** Nothing is patched, and the system runs on as before: nobody is held, and nothing of the request is left. */
function expectNothingHappened({ trace, report, verdict }: Run, p: Prepared): void {
  expect(p.session.tasks().filter((t) => HELD.includes(t.state))).toEqual([]);
  const after = takeInventory(p.session);
  p.session.restore(p.ready);
  expect(leftovers(takeInventory(p.session), after)).toEqual([]);
  // Who was let go enters the functions again: the load after the request's end is that of before it.
  expect(
    trace.entries.some((e) => e.kind === "old" && e.insn > (trace.outcomeAt ?? Infinity)),
  ).toBe(true);
  expect(report.result).toBe("refused");
  expect(verdict.violations).toEqual([]);
  expect(trace.changed).toEqual([]);
  expect(entered(trace, "new")).toBe(0);
  expect(trace.doneAt).toBeDefined();
  expect(trace.results).toEqual(p.baseline.results);
}

// The kernel thread counts as well, and there is no end to what it counts: the sum of all is no result.
const THREAD_COUNTS: Edit = [
  "1:	incq	stuckd_turns(%rip)",
  "1:	call	stuck_count\n	incq	stuckd_turns(%rip)",
];
const THREAD_PARKS: Edit = [
  "1:	incq	stuckd_turns(%rip)",
  `1:	call	kthread_should_stop
	call	kthread_should_park
	testl	%eax, %eax
	jz	2f
	call	kthread_parkme
2:	call	stuck_count
	incq	stuckd_turns(%rip)`,
];
const SLEEPS_BRIEFLY: Edit = ["SLEEP_TICKS, 80", "SLEEP_TICKS, 4"];
// It counts after each tick of its sleep, in one system call that outlives the workload.
const SLEEPER_COUNTS: readonly Edit[] = [
  [
    "1:	movq	%rax, %rdi\n	call	schedule_timeout_uninterruptible",
    `1:	pushq	%rbx
	subq	$8, %rsp
	movq	%rax, %rbx
2:	movl	$1, %edi
	call	schedule_timeout_uninterruptible
	call	stuck_count
	decq	%rbx
	jnz	2b
	addq	$8, %rsp
	popq	%rbx`,
  ],
  ["SLEEP_TICKS, 80", "SLEEP_TICKS, 100000"],
  ["SYM_DATA_START scenario_nr_done\n	.long	3", "SYM_DATA_START scenario_nr_done\n	.long	2"],
];
const COUNTERS = { results: ["counter_a", "counter_b"] };

let parkless: Prepared;
let sleeping: Prepared;
let usual: Prepared;
let orderly: Prepared;
let lasting: Prepared;
beforeAll(async () => {
  usual = await prepared("default");
  lasting = await edited("default", [["HAMMER_ROUNDS, 26", "HAMMER_ROUNDS, 78"]], {
    budgetInsns: 2_000_000,
  });
  parkless = await edited("stuck", [THREAD_COUNTS, SLEEPS_BRIEFLY], COUNTERS);
  sleeping = await edited("stuck", [THREAD_PARKS, ...SLEEPER_COUNTS], COUNTERS);
  orderly = await edited("stuck", [THREAD_PARKS, SLEEPS_BRIEFLY], COUNTERS);
});

const simple = mechanism("simple");
const kgraft = mechanism("kgraft");
const SEEDS = [1, 2, 3];
const MOMENTS = [0, 8_000, 16_000, 24_000, 32_000, 40_000];

/** All requests of a mechanism on the same schedules and at the same moments, together. */
function total(m: Mechanism): Effort {
  const all = SEEDS.flatMap((seed) => MOMENTS.map((at) => effort(usual, m, { seed, at })));
  return sum(all);
}

describe("simple, when one does not come", () => {
  it.each(SEEDS)("patches nothing if a kernel thread never parks (seed %i)", (seed) => {
    const r = runOne(parkless, simple, { seed, at: 0 });
    expectNothingHappened(r, parkless);
    expect(r.report.blockers.map((b) => b.task)).toEqual(["stuckd"]);
  });

  it.each(SEEDS)("patches nothing if a task sleeps uninterruptibly (seed %i)", (seed) => {
    const r = runOne(sleeping, simple, { seed, at: 0 });
    expectNothingHappened(r, sleeping);
    // Threads are asked only when all user tasks have come.
    expect(
      r.report.blockers.filter((b) => !b.reason.includes("parked")).map((b) => b.task),
    ).toEqual(["sleeper"]);
  });

  const LOST = ["kworker/0:0", "kworker/1:0", "xfer_flushd"];
  const losses = SEEDS.flatMap((seed) => LOST.map((comm) => [comm, seed] as const));
  it.each(losses)(
    "patches nothing if the request to park is lost on the way to %s (seed %i)",
    (comm, seed) => {
      // Longer than the request takes to give up.
      const thread = lasting.session.tasks().find((t) => t.comm === comm);
      expect(thread?.isKthread).toBe(true);
      const lossy = losing(simple, (fn, arg) => fn === "kthread_park_async" && arg === thread?.va);
      const r = runOne(lasting, lossy, { seed, at: 0 });
      expectNothingHappened(r, lasting);
      expect(r.report.blockers.map((b) => b.task)).toEqual([comm]);
      expect(runOne(lasting, simple, { seed, at: 0 }).report.result).toBe("applied");
    },
  );

  it("patches nothing if the fake signal to a task that computes is lost", async () => {
    const p = await edited(
      "default",
      [
        ["HOG_ROUNDS, 4000", "HOG_ROUNDS, 60000"],
        ["HAMMER_ROUNDS, 26", "HAMMER_ROUNDS, 78"],
      ],
      { budgetInsns: 2_000_000 },
    );
    const hog = p.session.tasks().find((t) => t.comm === "hog");
    const isIts = (fn: string, arg: bigint): boolean =>
      fn === "checkpoint_notify" && arg === hog?.va;
    const r = runOne(p, losing(simple, isIts), { seed: 1, at: 0 });
    expectNothingHappened(r, p);
    expect(
      r.report.blockers.filter((b) => !b.reason.includes("parked")).map((b) => b.task),
    ).toEqual(["hog"]);
    expect(runOne(p, simple, { seed: 1, at: 0 }).report.result).toBe("applied");
  });
});

describe("kgraft, when the same one does not come", () => {
  it.each(SEEDS)(
    "goes on in two universes if a kernel thread has no annotated point (seed %i)",
    (seed) => {
      const { trace, report, verdict } = runOne(parkless, kgraft, { seed, at: 0 });
      expect(report.result).toBe("stalled");
      expect(report.blockers.map((b) => b.task)).toEqual(["stuckd"]);
      expect(trace.changed.length).toBeGreaterThan(0);
      expect(lately(trace, "old")).toEqual(["stuckd"]);
      expect(entered(trace, "new")).toBeGreaterThan(0);
      // Each task for itself is in one universe: that is all that was promised.
      expect(verdict.violations).toEqual([]);
    },
  );

  it.each(SEEDS)("goes on in two universes if a task sleeps uninterruptibly (seed %i)", (seed) => {
    const { trace, report, verdict } = runOne(sleeping, kgraft, { seed, at: 0 });
    expect(report.result).toBe("stalled");
    expect(report.blockers.map((b) => b.task)).toEqual(["sleeper"]);
    expect(lately(trace, "old")).toEqual(["sleeper"]);
    expect(lately(trace, "new")).toContain("stuckd");
    expect(verdict.violations).toEqual([]);
  });

  it("is not stopped by them for ever: it applies where everybody comes", () => {
    for (const m of [simple, kgraft]) {
      expect(runOne(orderly, m, { seed: 1, at: 0 }).report).toMatchObject({
        result: "applied",
        verdict: "consistent",
      });
    }
  });

  it("stays in progress if the wake-up of a kernel thread that has nothing to do is lost", async () => {
    const p = await edited(
      "stuck",
      [
        THREAD_PARKS,
        SLEEPS_BRIEFLY,
        [
          "movl	$1, %edi\n	call	schedule_timeout_uninterruptible\n	jmp	1b",
          "movl	$100000, %edi\n	call	schedule_timeout_interruptible\n	jmp	1b",
        ],
      ],
      COUNTERS,
    );
    const thread = p.session.tasks().find((t) => t.comm === "stuckd");
    const isIts = (fn: string, arg: bigint): boolean =>
      (fn === "wake_up_process" || fn === "kthread_park_async") && arg === thread?.va;
    const passed = runOne(p, losing(kgraft, isIts), { seed: 1, at: 0 });
    expect(passed.report).toMatchObject({ result: "stalled", verdict: "consistent" });
    expect(passed.report.blockers.map((b) => b.task)).toEqual(["stuckd"]);
    expect(passed.trace.changed.length).toBeGreaterThan(0);
    const queued = runOne(p, losing(simple, isIts), { seed: 1, at: 0 });
    expectNothingHappened(queued, p);
    for (const m of [simple, kgraft]) {
      expect(runOne(p, m, { seed: 1, at: 0 }).report.result).toBe("applied");
    }
  });
});

describe("kpatch and a sleeper in the patched function", () => {
  it("refuses while it sleeps there, and is applied on the same kernel when it has gone", async () => {
    const p = await edited("default", [
      ["PACE, 5 * HZ / 2", "PACE, 90 * HZ"],
      ["PACED_REST, 15 * HZ / 2", "PACED_REST, HZ"],
      ["HAMMER_ROUNDS, 26", "HAMMER_ROUNDS, 400"],
      ["PACED_ROUNDS, 3", "PACED_ROUNDS, 1"],
    ], { budgetInsns: 8_000_000 }); // prettier-ignore
    const { session, plan } = p;
    const kpatch = mechanism("kpatch");
    session.restore(p.ready);
    session.reschedule(seededSchedule(1));
    const limit = p.readyAt + p.built.scenario.budgetInsns;
    const ask = (): string | undefined => {
      session.request(jobOf(kpatch, p.request));
      session.run(limit, new Set(["outcome", "bug"]));
      return session.agent.outcome?.result;
    };
    session.run(p.readyAt + 30_000);
    expect(ask()).toBe("refused");
    // Others may be in its way by chance; the sleeper is in it for as long as it sleeps.
    const blocker = session.agent.outcome?.blockers.find((b) => b.task === "paced");
    expect(blocker).toMatchObject({ task: "paced", symbol: "xfer_submit" });
    for (const { outcome } of session.agent.state().progress) {
      expect(outcome.blockers.map((b) => b.task)).toContain("paced");
    }
    expect(blocker?.stack.some((ip) => oldAt(plan, ip)?.name === "xfer_submit")).toBe(true);
    expect(session.text()).toEqual(p.pristine);
    // What is left of its minute and a half.
    session.run(session.machine.retired + 900_000);
    expect(ask()).toBe("applied");
    session.run(limit, new Set(["done", "bug"]));
    expect(session.events().bugs).toEqual([]);
    for (const [name, value] of Object.entries(p.baseline.results)) {
      expect(`${name} ${session.word(name)}`).toBe(`${name} ${value}`);
    }
  });
});

describe("what it takes to make everybody come", () => {
  const NR = SEEDS.length * MOMENTS.length;
  const USERS = 4;
  const THREADS = 3;
  let queue: Effort;
  let pass: Effort;
  beforeAll(() => {
    queue = total(simple);
    pass = total(kgraft);
  });

  it("is told, and both come to their end on every schedule", () => {
    process.stdout.write(table({ queue, pass }));
    expect([queue.applied, pass.applied]).toEqual([NR, NR]);
  });

  it("is the same for a sleeper: at most one signal takes it out of its call, which begins again", () => {
    // A sleeper that comes by itself within kgraft's first two seconds is spared the restart.
    expect(pass.restarts).toBeLessThanOrEqual(queue.restarts);
    expect(pass.restarts).toBeGreaterThan(queue.restarts / 2);
    expect(queue.restarts).toBeLessThanOrEqual(queue.signals);
    expect(pass.restarts).toBeLessThanOrEqual(pass.signals);
  });

  it("is not the same in signals: queue asks every user task at once, pass those who have not come by themselves", () => {
    expect(queue.signals).toBeGreaterThanOrEqual(NR * USERS);
    expect(pass.signals).toBeLessThan(queue.signals / 2);
    expect(pass.kicks).toBeLessThan(queue.kicks);
  });

  it("is not the same in wake-ups: who queued has to be let go, and a parked thread unparked", () => {
    expect(queue.stays).toBe(NR * USERS);
    expect(queue.parks).toBe(NR * THREADS);
    // To come and to go, for everybody; kgraft wakes for coming only.
    expect(queue.wakeUps).toBeGreaterThanOrEqual(2 * NR * (USERS + THREADS));
    expect(pass.wakeUps).toBeLessThan(queue.wakeUps / 2);
  });

  it("is not the same in IPIs: pass needs hooks in running text, queue writes while everything stands still", () => {
    expect(queue.pokes).toBe(0);
    expect(pass.stops).toBe(0);
    expect(pass.pokes).toBeGreaterThan(0);
    expect(pass.ipis).toBeGreaterThan(queue.ipis);
  });
});

describe("a sleeper that the fake signal wakes", () => {
  it.each(["simple", "kgraft", "klp"])("gives what it gives without a patch (%s)", (name) => {
    const efforts = SEEDS.map((seed) => effort(usual, mechanism(name), { seed, at: 0 }));
    expect(efforts.some((e) => e.restarts > 0)).toBe(name !== "klp");
    for (const seed of SEEDS) {
      const { trace, report } = runOne(usual, mechanism(name), { seed, at: 0 });
      expect(report.result).toBe("applied");
      expect(trace.results).toEqual(usual.baseline.results);
    }
  });

  it("gives it under klp too, where the signal comes after 15 tries: a sleep in the patched function that nothing else ends", async () => {
    const p = await edited(
      "default",
      [
        ["PACE, 5 * HZ / 2", "PACE, 90 * HZ"],
        ["PACED_REST, 15 * HZ / 2", "PACED_REST, HZ"],
        ["PACED_ROUNDS, 3", "PACED_ROUNDS, 1"],
      ],
      { budgetInsns: 8_000_000 },
    );
    const klp = mechanism("klp");
    const { trace, report } = runOne(p, klp, { seed: 1, at: 30_000 });
    expect(report).toMatchObject({ result: "applied", verdict: "consistent" });
    expect(trace.dmesg.map((l) => l.text)).toContain("livepatch: signaling remaining tasks");
    expect(report.held.filter((h) => h.task === "paced").length).toBeGreaterThanOrEqual(15);
    expect(report.switched.find((s) => s.task === "paced")?.how).toBe("exit to user");
    expect(trace.results).toEqual(p.baseline.results);
    expect(effort(p, klp, { seed: 1, at: 30_000 }).restarts).toBeGreaterThan(0);
  });
});

// One suite over every mechanism: what each must do whatever its method is. Where a mechanism does not belong, the
// reason stands in the code.
import { beforeAll, describe, expect, it } from "vitest";
import { oldAt, type Trace } from "../../src/check/index.ts";
import { runOne, type Prepared, type Run } from "../../src/explore/index.ts";
import { findSymbol } from "../../src/link/index.ts";
import { MECHANISMS, planPatch, type Mechanism } from "../../src/patch/index.ts";
import { buildNamed } from "../scenario/files.ts";
import { NOTHING } from "../check/mutants.ts";
import { prepared } from "../explore/prepared.ts";

let usual: Prepared;
let stuck: Prepared;
let parkless: Prepared;
beforeAll(async () => {
  usual = await prepared("default");
  stuck = await prepared("stuck");
  const { scenario } = stuck.built;
  // The sleeper comes back soon: then only the kernel thread is in the way.
  const sources = scenario.sources.map((s) => ({
    ...s,
    text: s.text.replace("SLEEP_TICKS, 80", "SLEEP_TICKS, 4"),
  }));
  parkless = await prepared("stuck", { sources });
});

const all = Object.values(MECHANISMS).map((m) => [m.name, m] as const);
/** The controls wait for nobody: they break the scenarios, and are here only where they must not. */
const serious = all.filter(([, m]) => m.leaves !== "nothing" && m.leaves !== "function");

function run(p: Prepared, m: Mechanism, seed = 1, at = 0): Run {
  return runOne(p, m, { seed, at });
}

function entered(trace: Trace, kind: "old" | "new", from: number, to: number): number {
  return trace.entries.filter((e) => e.kind === kind && e.insn >= from && e.insn < to).length;
}

describe.each(all)("%s", (_, m) => {
  it("has a name, a sentence and a program that starts only when it is asked", () => {
    expect(MECHANISMS[m.name]).toBe(m);
    expect(m.summary.length).toBeGreaterThan(10);
    const { request } = usual;
    expect(m.enable(request).next).toBeTypeOf("function");
  });

  it("comes to an outcome of the right form, by a program that was executed in the guest", () => {
    const { trace, report } = run(usual, m);
    expect(trace.outcome).toBeDefined();
    expect(["applied", "refused"]).toContain(report.result);
    expect(report.reason.length).toBeGreaterThan(0);
    for (const b of report.blockers) {
      expect(b.task).not.toBe("");
      expect(b.reason).not.toBe("");
    }
    expect(trace.writes.every((w) => w.insn >= trace.requestAt)).toBe(true);
  });

  it("writes text only in the windows of the patched functions, and what the common trampolines call", () => {
    const { trace } = run(usual, m);
    const { image, plan } = trace;
    const start = findSymbol(image, "_stext")?.va ?? 0n;
    const end = findSymbol(image, "_etext")?.va ?? 0n;
    const calls = ["ftrace_call", "ftrace_regs_call"].map((n) => findSymbol(image, n)?.va ?? 0n);
    const isCall = (va: bigint): boolean => calls.some((at) => va >= at && va < at + 5n);
    const inText = trace.writes.filter((w) => w.va >= start && w.va < end && !isCall(w.va));
    expect(inText.length).toBeGreaterThan(0);
    for (const w of inText) {
      const f = oldAt(plan, w.va);
      expect(f).toBeDefined();
      expect(w.va + BigInt(w.bytes.length) <= (f?.jumpVa ?? 0n) + 5n).toBe(true);
    }
    for (const va of trace.changed) expect(isCall(va) || oldAt(plan, va) !== undefined).toBe(true);
  });

  it("is deterministic", () => {
    const once = run(usual, m, 4, 321);
    run(usual, m, 7, 5);
    expect(JSON.stringify(run(usual, m, 4, 321).report)).toBe(JSON.stringify(once.report));
  });

  it("goes on from a snapshot in the middle as if there had been none", () => {
    const whole = run(usual, m, 2, 10);
    const { session, readyAt, ready, request } = usual;
    session.restore(ready);
    session.reschedule({ seed: 2, min: 20, max: 200, slices: [] });
    session.run(readyAt + 10);
    session.request(() => m.enable(request));
    const middle = Math.floor((whole.trace.outcomeAt ?? 0) / 2) + 5;
    session.run(readyAt + middle);
    const snapshot = session.snapshot();
    session.run(readyAt + middle + 3000);
    session.restore(snapshot);
    session.run(readyAt + usual.built.scenario.budgetInsns, new Set(["outcome"]));
    expect(session.agent.outcome).toEqual(whole.trace.outcome);
    expect(session.agent.state().doneAt).toBe(readyAt + (whole.trace.outcomeAt ?? 0));
  });
});

describe.each(serious)("%s", (_, m) => {
  it("leaves the old functions in force before, and the new ones and no old one after", () => {
    const { trace } = run(usual, m);
    expect(trace.outcome?.result).toBe("applied");
    // A mechanism that switches task by task has two universes between its first change and its outcome.
    const isAtOnce = m.switches === "kernel";
    const first = trace.switches[0]?.insn ?? -1;
    const commit = (isAtOnce ? trace.commit?.insn : trace.outcomeAt) ?? -1;
    const before = run(usual, NOTHING).trace;
    expect(entered(before, "old", 0, Infinity)).toBeGreaterThan(0);
    expect(entered(before, "new", 0, Infinity)).toBe(0);
    expect(entered(trace, "new", 0, isAtOnce ? commit : first)).toBe(0);
    expect(entered(trace, "old", commit, Infinity)).toBe(0);
    expect(entered(trace, "new", commit, Infinity)).toBeGreaterThan(0);
  });

  it("leaves text byte-identical and never enters a new function when it does not apply", () => {
    const refused = Array.from({ length: 10 }, (__, i) => run(stuck, m, i + 1)).filter(
      (r) => r.report.result !== "applied",
    );
    // What stalls has not ended: its hooks are there, and its universes.
    for (const { trace, verdict } of refused.filter((r) => r.report.result !== "stalled")) {
      expect(trace.changed).toEqual([]);
      expect(entered(trace, "new", 0, Infinity)).toBe(0);
      expect(verdict.violations).toEqual([]);
    }
    if (m.name === "simple") expect(refused).toHaveLength(10);
    if (m.switches === "thread") {
      expect(refused.every((r) => r.report.result === "stalled")).toBe(true);
      for (const { verdict } of refused) expect(verdict.violations).toEqual([]);
    }
  });

  it("lets everybody run on, applied or not: the workload ends as without a patch", () => {
    for (const p of [usual, stuck, parkless]) {
      const { trace, verdict } = run(p, m);
      expect(trace.doneAt).toBeDefined();
      expect(trace.results).toEqual(p.baseline.results);
      expect(verdict.verdict).toBe("consistent");
    }
  });
});

describe("a patch that names a function which the kernel does not have", () => {
  it("is refused before any mechanism sees it", async () => {
    const { image, patch } = await buildNamed("default");
    if (patch === undefined) throw new Error("no patch");
    expect(() => planPatch(image, patch, { names: ["xfer_submit", "no_such_function"] })).toThrow(
      /no function no_such_function/,
    );
  });
});

describe("a scenario in which somebody does not come", () => {
  const simple = MECHANISMS["simple"];
  const kpatch = MECHANISMS["kpatch"];
  if (simple === undefined || kpatch === undefined) throw new Error("simple and kpatch are gone");

  it("makes simple refuse and name the uninterruptible sleeper", () => {
    const { report } = run(stuck, simple);
    expect(report).toMatchObject({ result: "refused", verdict: "consistent" });
    expect(report.blockers).toContainEqual(
      expect.objectContaining({
        task: "sleeper",
        reason: "has not come to the checkpoint (uninterruptible)",
      }),
    );
  });

  it("makes simple refuse and name the kernel thread that never parks, alone", () => {
    const { report } = run(parkless, simple);
    expect(report).toMatchObject({ result: "refused", verdict: "consistent" });
    expect(report.blockers.map((b) => b.task)).toEqual(["stuckd"]);
    expect(report.blockers[0]?.reason).toMatch(/^has not parked/);
  });

  it("does not stand in the way of kpatch, which looks at stacks", () => {
    expect(run(stuck, kpatch).report).toMatchObject({ result: "applied", verdict: "consistent" });
  });
});

// Who could not be switched, and why: told of the moment at which he was looked at, so that it comes before his switch, and what
// the mechanism saw is what was so.
import { beforeAll, describe, expect, it } from "vitest";
import { runOne, type Prepared, type RunReport } from "../../src/explore/index.ts";
import { mechanism, prepared } from "./prepared.ts";

let usual: Prepared;
let stuck: Prepared;
beforeAll(async () => {
  usual = await prepared("default");
  stuck = await prepared("stuck");
});

const SEEDS = [1, 2, 3, 4, 5, 6];
const reports = (name: string): readonly RunReport[] =>
  [usual, stuck].flatMap((p) =>
    SEEDS.map((seed) => runOne(p, mechanism(name), { seed, at: 0 }).report),
  );

describe.each(["ksplice", "kpatch", "kgraft", "klp"])("under %s", (name) => {
  it("a task is held before it is switched, and never after", () => {
    let held = 0;
    for (const r of reports(name)) {
      for (const s of r.switched) {
        for (const h of r.held) {
          if (h.pid !== s.pid || h.task !== s.task) continue;
          held++;
          expect(h.insn).toBeLessThanOrEqual(s.insn ?? -1);
        }
      }
      const tries = r.held.map((h) => h.try);
      expect(tries).toEqual(tries.toSorted((a, b) => a - b));
    }
    expect(held).toBeGreaterThan(name === "ksplice" ? -1 : 0);
  });

  it("a stack that was walked is the true one of that moment, but for where a walk may lose its way", () => {
    for (const r of reports(name)) {
      for (const h of r.held) {
        if (name === "ksplice" || h.stack.length === 0 || h.reason.includes("unreliable")) continue;
        // What is found busy is told first: behind an interrupt the walk goes on without being sure.
        if (h.stack.some((f) => f.symbol.startsWith("asm_sysvec_"))) continue;
        expect(h.stack.map((f) => f.symbol)).toEqual(h.truth.map((f) => f.symbol));
      }
    }
  });
});

describe("under simple", () => {
  it("who did not come when the time was over is listed with his stack, and said", () => {
    const r = runOne(stuck, mechanism("simple"), { seed: 1, at: 0 });
    const { report } = r;
    expect(report.result).toBe("refused");
    expect(report.blockers.map((b) => [b.task, b.reason])).toEqual([
      ["sleeper", "has not come to the checkpoint (uninterruptible)"],
    ]);
    const [held] = report.held;
    const stack = report.blockers[0]?.stack.map((f) => f.symbol) ?? [];
    expect(stack.some((f) => f.startsWith("__x64_sys_stuck+"))).toBe(true);
    expect(held?.truth.map((f) => f.symbol)).toEqual(stack);
    const said = r.trace.dmesg.map((l) => l.text);
    expect(said.slice(0, 3)).toEqual([
      "stuck_patch: loading out-of-tree module taints kernel.",
      "simple: timeout, 1 task did not come, nothing was patched",
      "simple: sleeper:9 has not come to the checkpoint (uninterruptible)",
    ]);
    expect(said.slice(3)).toEqual(
      report.blockers[0]?.stack.map((f) => `simple:  [<${f.ip.slice(2)}>] ${f.symbol}`),
    );
  });

  it("a kernel thread is among them only when it was asked: when all user tasks had come", async () => {
    const { scenario } = stuck.built;
    const sources = scenario.sources.map((s) => ({
      ...s,
      text: s.text.replace("SLEEP_TICKS, 80", "SLEEP_TICKS, 4"),
    }));
    const p = await prepared("stuck", { sources });
    const { report } = runOne(p, mechanism("simple"), { seed: 1, at: 0 });
    expect(report.blockers.map((b) => [b.task, b.reason])).toEqual([
      ["stuckd", expect.stringMatching(/^has not parked \(/)],
    ]);
  });
});

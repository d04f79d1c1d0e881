// Runs over seeds and points, repros and their replay, on the default scenario. The long searches are campaigns in
// scripts/; this is a slice of them.
import { beforeAll, describe, expect, it } from "vitest";
import {
  formatRepro,
  minimise,
  parseRepro,
  replay,
  replayTo,
  runExplained,
  runOne,
  sweep,
  type Prepared,
  type Repro,
} from "../../src/explore/index.ts";
import { NAIVE_THAT_NAPS } from "../check/mutants.ts";
import { mechanism, prepared } from "./prepared.ts";

let p: Prepared;
beforeAll(async () => {
  p = await prepared("default");
});

function json(value: unknown): string {
  return JSON.stringify(value);
}

function reproOf(text: string | null | undefined): Repro {
  const parsed = parseRepro(text ?? "");
  if (!parsed.ok) throw new Error(`line ${parsed.line}: ${parsed.reason}`);
  return parsed.repro;
}

const SEEDS = Array.from({ length: 10 }, (_, i) => i + 1);

describe("kpatch and simple under seeds 1 to 10", () => {
  it.each(["kpatch", "simple"])("%s keeps every check", (name) => {
    const reports = SEEDS.map((seed) => runOne(p, mechanism(name), { seed, at: 0 }).report);
    expect(reports.flatMap((r) => r.violations)).toEqual([]);
    const results = new Set(reports.map((r) => r.result));
    expect([...results].filter((r) => r !== "applied" && r !== "refused")).toEqual([]);
  });

  it("simple is applied under each of them", () => {
    const reports = SEEDS.map((seed) => runOne(p, mechanism("simple"), { seed, at: 0 }).report);
    expect(reports.map((r) => r.result)).toEqual(SEEDS.map(() => "applied"));
    for (const r of reports) {
      expect(r.latencyInsns).toBeGreaterThan(0);
      expect(r.pauseInsns).toBeGreaterThan(0);
      expect(r.switched.map((s) => s.task)).toContain("xfer_flushd");
    }
  });
});

describe("a report", () => {
  it.each(["naive", "kpatch", "simple"])("of %s has the same bytes for the same seed", (name) => {
    const spec = { seed: 5, at: 1234 };
    const first = json(runExplained(p, mechanism(name), spec).report);
    runOne(p, mechanism("kpatch"), { seed: 9, at: 77 });
    expect(json(runExplained(p, mechanism(name), spec).report)).toBe(first);
  });

  it("does not depend on whether the run began at the ready mark or at a later snapshot", () => {
    const at = 5000;
    const whole = runOne(p, mechanism("simple"), { seed: 3, at });
    runOne(p, mechanism("simple"), { seed: 3, at: 0 });
    p.session.restore(p.ready);
    p.session.reschedule({ seed: 3, min: 20, max: 200, slices: [] });
    p.session.run(p.readyAt + 4000);
    const from = { at: 4000, snapshot: p.session.snapshot() };
    const later = runOne(p, mechanism("simple"), { seed: 3, at, from });
    expect(json(later.report)).toBe(json(whole.report));
  });

  it("says that a run that was cut short has no outcome yet", () => {
    const r = runOne(p, mechanism("simple"), { seed: 1, at: 0, until: 2000 });
    expect(r.report).toMatchObject({ result: "stalled", insns: 2000, latencyInsns: null });
    expect(r.verdict.violations).toEqual([]);
  });
});

describe("a repro", () => {
  it("of naive under the default seed replays at the same instruction", () => {
    const naive = mechanism("naive");
    const { report } = runExplained(p, naive, { seed: 1, at: 0 });
    expect(report.verdict).toBe("violated");
    const repro = reproOf(report.violations[0]?.repro);
    const again = replay(p, naive, repro);
    expect(again).toMatchObject({ ok: true, reproduced: true, violation: { insn: repro.insn } });
    expect(again.ok && again.run.story?.tasks[0]).toMatchObject({
      task: "paced",
      syscall: "__x64_sys_xfer",
    });
  });

  it("has a schedule that is no longer than the run's and still makes the check fail", () => {
    const spec = { seed: 1, at: 300 };
    const run = runOne(p, NAIVE_THAT_NAPS, spec);
    const small = minimise(p, NAIVE_THAT_NAPS, spec, "half-written");
    if (small === undefined) throw new Error("nothing to minimise");
    expect(small.schedule.slices.length).toBeLessThan(run.slices().length / 4);
    expect(replay(p, NAIVE_THAT_NAPS, small)).toMatchObject({ ok: true, reproduced: true });
  });

  it("of a race comes down to a handful of slices", () => {
    // A task meets the entry between two of naive's bytes.
    const naive = mechanism("naive");
    let found: { readonly seed: number; readonly at: number } | undefined;
    for (let i = 0; i < 400 && found === undefined; i++) {
      const next = { seed: i + 1, at: (i * 7919) % 40_000 };
      const { violations } = runOne(p, naive, next).report;
      if (violations.some((v) => v.check === "half-written")) found = next;
    }
    if (found === undefined) throw new Error("no race within 400 runs");
    const small = minimise(p, naive, found, "half-written");
    expect(small?.schedule.slices.length).toBeLessThan(10);
    expect(small && replay(p, naive, small)).toMatchObject({ reproduced: true });
  });

  it("is the same after it was written and read", () => {
    const small = minimise(p, mechanism("naive"), { seed: 2, at: 40 }, "bug");
    if (small === undefined) throw new Error("nothing to minimise");
    const slices = [
      { vcpu: 0, units: 57 },
      { vcpu: 0, units: 57 },
      { vcpu: 1, units: 3 },
    ];
    const repro = { ...small, schedule: { ...small.schedule, slices } };
    expect(formatRepro(repro)).toContain("slices 0:57*2 1:3\n");
    expect(reproOf(formatRepro(repro))).toEqual(repro);
  });

  it("that was made for other bytes is refused", () => {
    const repro = minimise(p, mechanism("naive"), { seed: 1, at: 0 }, "bug");
    if (repro === undefined) throw new Error("nothing to minimise");
    const refused = (r: Repro) => replay(p, mechanism("naive"), r);
    expect(refused({ ...repro, image: "00" })).toMatchObject({ ok: false, reason: "image" });
    expect(refused({ ...repro, patch: "00" })).toMatchObject({ ok: false, reason: "patch" });
    expect(refused({ ...repro, vcpus: 3 })).toMatchObject({ ok: false, reason: "vcpus" });
    expect(replay(p, mechanism("simple"), repro)).toMatchObject({ reason: "mechanism" });
  });

  it("that no longer fails, or fails elsewhere, says how it differs", () => {
    const repro = minimise(p, mechanism("naive"), { seed: 1, at: 0 }, "bug");
    if (repro === undefined) throw new Error("nothing to minimise");
    const moved = replay(p, mechanism("naive"), { ...repro, insn: repro.insn + 1 });
    expect(moved).toMatchObject({ ok: true, reproduced: false });
    expect(moved.ok && moved.difference).toContain(`violated at ${repro.insn}`);
    const other = replay(p, mechanism("naive"), { ...repro, check: "promise" });
    expect(other.ok && other.difference).toMatch(/^promise holds/);
  });

  it("shows the state at an instruction", () => {
    const repro = minimise(p, mechanism("naive"), { seed: 1, at: 0 }, "bug");
    if (repro === undefined) throw new Error("nothing to minimise");
    const moment = replayTo(p, mechanism("naive"), repro, repro.insn - 1);
    if (!moment.ok) throw new Error(moment.reason);
    expect(moment.insn).toBe(repro.insn - 1);
    expect(moment.cpus.map((c) => c.task)).toContain("paced");
    expect(moment.stacks.find((s) => s.task === "paced")?.truth.join(" ")).toMatch(/xfer_submit\+/);
  });

  it.each([
    ["quiesce 2\n", 1],
    ["quiesce-repro 1\nscenario\n", 3],
    ["quiesce-repro 1\nwhat is this\n", 2],
    ["quiesce-repro 1\nslices 0:x\n", 2],
    ["quiesce-repro 1\nseed 1\nseed 2\n", 3],
  ])("that is not well formed is a value with its line: %j", (text, line) => {
    expect(parseRepro(text)).toMatchObject({ ok: false, line });
  });
});

describe("a sweep", () => {
  it.each(["kpatch", "simple"])("of %s over 60 points finds nothing", async (name) => {
    const s = await sweep(p, mechanism(name), { points: 60, seeds: [1] }, () => true);
    expect(s).toMatchObject({ points: 60, schedules: 1, violations: 0, first: null });
    expect(s).toMatchObject({ exhausted: true, insidePoints: 60, stalled: 0, failed: 0 });
    expect(s.applied + s.refused).toBe(60);
    expect(s.textIdentical).toBe(s.refused);
  });

  it("of naive over 60 points finds violations, and the first has a repro", async () => {
    const naive = mechanism("naive");
    const s = await sweep(p, naive, { points: 60, seeds: [1] }, () => true);
    expect(s.violations).toBe(60);
    const repro = reproOf(s.first?.repro);
    expect(replay(p, naive, repro)).toMatchObject({ ok: true, reproduced: true });
  });

  it("in shards tries every point once", async () => {
    const shards = [0, 1, 2].map((index) =>
      sweep(p, mechanism("naive"), { points: 10, seeds: [1], shard: { index, of: 3 } }, () => true),
    );
    const counts = (await Promise.all(shards)).map((s) => s.points);
    expect(counts).toEqual([4, 3, 3]);
  });

  it("that is ended says that it is not exhausted", async () => {
    const s = await sweep(
      p,
      mechanism("naive"),
      { points: 50, seeds: [1] },
      ({ done }) => done < 5,
    );
    expect(s).toMatchObject({ points: 5, exhausted: false });
  });
});

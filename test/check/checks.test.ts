// Every check fires on a planted violation, and only there: mechanisms with a bug put in, and a mechanism that does
// nothing. What the checks say of the real mechanisms is in test/explore.
import { beforeAll, describe, expect, it } from "vitest";
import {
  judge,
  pauseInsns,
  PROMISES,
  windowContents,
  type Entry,
  type Trace,
} from "../../src/check/index.ts";
import { runOne, runProtocol, type Prepared, type Run } from "../../src/explore/index.ts";
import { MECHANISMS, type Mechanism } from "../../src/patch/index.ts";
import { loadScenario } from "../../src/scenario/index.ts";
import { kernelFile } from "../scenario/files.ts";
import { mechanism, prepared } from "../explore/prepared.ts";
import * as mutants from "./mutants.ts";

let p: Prepared;
/** The paced task is still asleep in the old function when tasks are switched. */
let slow: Prepared;
beforeAll(async () => {
  p = await prepared("default");
  const sources = p.built.scenario.sources.map((s) => ({
    ...s,
    text: s.text.replace("PACE, 5 * HZ / 2", "PACE, 20 * HZ"),
  }));
  slow = await prepared("default", { sources });
});

function run(m: Mechanism, seed = 1, at = 0): Run {
  return runOne(p, m, { seed, at });
}

function checksOf(r: Run): readonly string[] {
  return [...new Set(r.verdict.violations.map((v) => v.check))];
}

/** Violated checks under some of the first seeds, together. */
function checksUnder(m: Mechanism, seeds: number): ReadonlySet<string> {
  const all = Array.from({ length: seeds }, (_, i) => checksOf(run(m, i + 1)));
  return new Set(all.flat());
}

describe("a mechanism that does nothing", () => {
  it("violates no check", () => {
    const r = run(mutants.NOTHING);
    expect(r.verdict).toEqual({ verdict: "consistent", violations: [] });
    expect(r.trace).toMatchObject({ end: "complete", changed: [], commit: undefined });
  });
});

describe("the promises", () => {
  it("are stated for every mechanism", () => {
    expect(Object.keys(MECHANISMS).filter((m) => !(m in PROMISES))).toEqual([]);
  });

  // Whether the sleeper is in the old function at the moment of the commit is the schedule's to say.
  it.each([
    ["simple when it does not wait", mutants.SIMPLE_THAT_DOES_NOT_WAIT],
    ["kpatch when it does not look", mutants.KPATCH_THAT_DOES_NOT_LOOK],
  ])("are broken by %s", (_, m) => {
    const runs = [1, 2, 3, 4].map((seed) => run(m, seed));
    for (const r of runs) expect(r.report.result).toBe("applied");
    const broken = runs.flatMap((r) => r.verdict.violations).filter((v) => v.check === "promise");
    expect(broken.map((v) => v.message)).toContain("paced is in the old xfer_submit at the commit");
  });

  it("are broken by kpatch when it says that all is in force before it is, on a running machine", () => {
    expect(checksUnder(mutants.KPATCH_THAT_SAYS_SO_FIRST, 3)).toContain("promise");
  });

  it("are broken by klp when its worker does not look", () => {
    const { verdict } = runOne(slow, mutants.KLP_THAT_DOES_NOT_LOOK, { seed: 1, at: 0 });
    const messages = verdict.violations.map((v) => v.message);
    expect(messages).toContain("paced is in the old xfer_submit when it is switched (stack check)");
  });

  it("are kept by klp and kgraft with the same sleeper", () => {
    for (const name of ["klp", "kgraft"]) {
      expect(checksOf(runOne(slow, mechanism(name), { seed: 1, at: 0 }))).toEqual([]);
    }
  });

  it("are broken by klp when it hooks the functions before they are in transition", () => {
    const found = new Set<string>();
    for (const seed of [1, 2, 3]) {
      for (const v of run(mutants.KLP_THAT_HOOKS_FIRST, seed).verdict.violations)
        found.add(v.message);
    }
    expect([...found].join("\n")).toMatch(/enters the new xfer_\w+ before it was switched/);
  });

  it("are broken by kgraft when it is never immutable", () => {
    const found = checksUnder(mutants.KGRAFT_THAT_IS_NEVER_IMMUTABLE, 3);
    expect(found).toContain("promise");
  });

  it("are broken by kgraft when it marks nobody", () => {
    const { verdict } = runOne(slow, mutants.KGRAFT_THAT_MARKS_NOBODY, { seed: 1, at: 0 });
    const messages = verdict.violations.map((v) => v.message);
    expect(messages).toContain(
      "paced is in the old xfer_submit when it is switched (not in progress)",
    );
  });

  it.each([
    ["kgraft", /is in the new steady_serve when it is switched \(not in progress\)/],
    ["kpatch", /is in the new steady_\w+ at the commit/],
    ["klp", /is in the new steady_\w+ when it is switched \(stack check\)/],
  ] as const)(
    "are broken by %s when it marks or finds nobody on its way out",
    async (name, what) => {
      const { sources } = loadScenario("steady", kernelFile);
      // Somebody sleeps in the function for most of the time; kpatch has to find nobody there when the patch is put in.
      const ticks = name === "kpatch" ? 2 : 20;
      const asleep = (text: string): string => text.replace("movl	$2, %edi", `movl	$${ticks}, %edi`);
      const steady = await prepared("steady", {
        sources: sources.map((s) => ({ ...s, text: asleep(s.text) })),
      });
      const told: string[] = [];
      for (let seed = 1; seed <= 20 && !what.test(told.join("\n")); seed++) {
        const spec = { seed, rounds: 1, tries: 30 };
        const { rounds } = runProtocol(steady, mutants.ON_THE_WAY_OUT[name], spec);
        expect(rounds[0]?.enable.at(-1)?.result).toBe("applied");
        const violations = rounds.flatMap((r) => r.verdicts.flatMap((v) => v.violations));
        told.push(...violations.map((x) => x.message));
      }
      expect(told.join("\n")).toMatch(what);
    },
  );

  it("count a task as undecided that is at the entry of a function when kgraft's universes part", () => {
    const { trace } = run(mechanism("kgraft"));
    const task = trace.tasks.find((t) => t.kind === "user");
    if (task === undefined) throw new Error("no user task");
    const ip = trace.plan.functions[0]?.oldVa ?? 0n;
    const entry = (kind: Entry["kind"], insn: number): Entry => {
      return { kind, insn, vcpu: 0, time: insn, ip, index: 0, task };
    };
    const found = (decided: boolean, kind: "old" | "new"): readonly string[] => {
      const how = "not in progress";
      const switches = [{ insn: 100, task, to: "new", how, frames: [], decided } as const];
      const entries = [entry("site", 90), entry(kind, 110)];
      return judge({ ...trace, switches, entries }).violations.map((v) => v.message);
    };
    expect(found(true, "new")).toEqual([]);
    expect(found(true, "old")).toEqual([expect.stringMatching(/after its switch/)]);
    expect(found(false, "new")).toEqual([expect.stringMatching(/before it was switched/)]);
    expect(found(false, "old")).toEqual([]);
  });

  it("name the entry at which a task was that was switched there on the way out, and enters the new function after", () => {
    const { trace } = run(mechanism("klp"));
    const task = trace.tasks.find((t) => t.kind === "user");
    const [f] = trace.plan.functions;
    if (task === undefined || f?.site === undefined) throw new Error("no user task, or no site");
    const entry = (kind: Entry["kind"], insn: number): Entry => {
      return { kind, insn, vcpu: 0, time: insn, ip: f.newVa, index: 0, task };
    };
    const frames = [{ ip: f.site + 5n, isCall: true }];
    const found = (...entries: readonly Entry[]): readonly (string | undefined)[] => {
      const switches = [{ insn: 100, task, to: "old", how: "stack check", frames } as const];
      const { violations } = judge({ ...trace, from: "new", switches, entries });
      return violations.filter((v) => v.check === "promise").map((v) => v.atEntry);
    };
    expect(found(entry("site", 90), entry("new", 110))).toEqual([]);
    expect(found(entry("site", 105), entry("new", 110))).toEqual([undefined]);
    expect(found(entry("new", 110))).toEqual([f.name]);
  });

  it("are kept by kpatch and simple, and naive has none", () => {
    for (const name of ["kpatch", "simple"]) expect(checksOf(run(mechanism(name)))).toEqual([]);
    expect(checksOf(run(mechanism("naive")))).not.toContain("promise");
  });
});

describe("the checks of text", () => {
  it("find a half-written entry that is executed", () => {
    const r = run(mutants.NAIVE_THAT_NAPS);
    const [v] = r.verdict.violations;
    expect(v).toMatchObject({ check: "half-written" });
    expect(v?.message).toMatch(/executes the entry of xfer_queue while it is half-written \(e9 /);
  });

  it("find a byte that a refusal left behind", () => {
    expect(checksOf(run(mutants.REFUSER_THAT_WRITES))).toContain("refusal");
  });

  it("find a byte that was written elsewhere", () => {
    expect(checksOf(run(mutants.WRITER_ELSEWHERE))).toEqual(["stray-write"]);
  });

  it("find execution of memory that is no text", () => {
    const checks = checksUnder(mutants.REDIRECTION_TO_FREED_TEXT, 1);
    expect(checks).toContain("freed-text");
    expect(checks).toContain("bug");
  });
});

describe("the checks of the workload", () => {
  it("find that naive makes the kernel report a BUG", () => {
    const r = run(mechanism("naive"));
    expect(checksOf(r)).toEqual(["bug"]);
    expect(r.verdict.violations[0]?.symbol).toMatch(
      /^xfer_queue\+0x[0-9a-f]+\/0x[0-9a-f]+ \[patch\]$/,
    );
  });

  it("find results that an unpatched run does not have", () => {
    expect(checksOf(run(mutants.MEDDLER))).toEqual(["results"]);
  });

  it("find a workload that does not come to its end", () => {
    const { session } = p;
    session.restore(p.ready);
    const users = session.tasks().filter((t) => !t.isKthread && !t.isIdle);
    mutants.allTasks.splice(0, Infinity, ...users.map((t) => t.va));
    expect(checksOf(run(mutants.GATHERER_THAT_KEEPS))).toEqual(["progress"]);
  });
});

describe("a visit", () => {
  /** kpatch's trace with other entries of a user task: kind and instruction after the commit. */
  function planted(...entries: readonly (readonly [Entry["kind"], number])[]): Trace {
    const { trace } = run(mechanism("kpatch"));
    const task = trace.tasks.find((t) => t.kind === "user");
    const at = trace.commit?.insn ?? 0;
    return {
      ...trace,
      entries: entries.map(([kind, after]) => ({
        kind,
        insn: at + after,
        vcpu: 0,
        time: at + after,
        ip: trace.plan.functions[0]?.oldVa ?? 0n,
        index: 0,
        task,
      })),
    };
  }
  const messages = (t: Trace): readonly string[] => judge(t).violations.map((v) => v.message);

  it("that enters both variants is found", () => {
    const found = messages(planted(["syscall", -9], ["old", -5], ["new", 5]));
    expect(found).toEqual([
      expect.stringMatching(/enters the old xfer_queue and then the new xfer_queue in one visit$/),
    ]);
  });

  it("ends at the return to user mode, and at the next system call", () => {
    expect(messages(planted(["old", -5], ["user", 0], ["new", 5]))).toEqual([]);
    expect(messages(planted(["old", -5], ["syscall", 0], ["new", 5]))).toEqual([]);
  });

  it("that enters a variant on the wrong side of the commit is found too", () => {
    expect(messages(planted(["new", -1]))).toEqual([
      expect.stringMatching(/enters the new xfer_queue before the commit$/),
    ]);
    expect(messages(planted(["old", 0]))).toEqual([
      expect.stringMatching(/enters the old xfer_queue after the commit$/),
    ]);
  });
});

describe("the pause", () => {
  it("is the longest stop of a CPU or stay of a runnable task, to the end if it has none", () => {
    const { trace } = run(mutants.NOTHING);
    const base: Entry = {
      kind: "stop",
      insn: 0,
      vcpu: 0,
      time: 100,
      ip: 0n,
      index: 0,
      task: undefined,
    };
    const stop = (vcpu: number, from: number, to: number): readonly Entry[] => [
      { ...base, vcpu, time: from },
      { ...base, vcpu, time: to, kind: "resume" },
    ];
    const of = (entries: readonly Entry[]): number =>
      pauseInsns({ ...trace, entries, times: [900, 950] });
    expect(of([])).toBe(0);
    expect(of([...stop(0, 100, 130), ...stop(1, 100, 150), ...stop(0, 200, 240)])).toBe(50);
    const task = trace.tasks.find((t) => t.kind === "user");
    if (task === undefined) throw new Error("no user task");
    const stay: Entry = { ...base, kind: "gather", time: 300 };
    expect(of([{ ...stay, task: { ...task, runnable: true } }])).toBe(650);
    expect(of([{ ...stay, task: { ...task, runnable: false } }])).toBe(0);
  });
});

describe("half-written, precisely", () => {
  /** The trace of a run that did nothing, with stores and executed instructions put in. */
  function planted(
    stores: readonly (readonly [insn: number, offset: number, bytes: readonly number[]])[],
    executed: readonly (readonly [insn: number, offset: number])[],
  ): Trace {
    const { trace } = run(mutants.NOTHING);
    const [f] = trace.plan.functions;
    if (f === undefined) throw new Error("no patched function");
    const entry = ([insn, offset]: readonly [number, number]): Entry => ({
      kind: "site",
      insn,
      vcpu: 0,
      time: insn,
      ip: f.jumpVa + BigInt(offset),
      index: 0,
      task: trace.tasks[0],
    });
    return {
      ...trace,
      writes: stores.map(([insn, offset, bytes]) => ({
        insn,
        va: f.jumpVa + BigInt(offset),
        bytes: Uint8Array.from(bytes),
      })),
      entries: executed.map(entry),
    };
  }
  const violated = (t: Trace): readonly number[] =>
    judge(t)
      .violations.filter((v) => v.check === "half-written")
      .map((v) => v.insn);
  /** `jmp` from the window to the new function, whole. */
  const jump = (): readonly number[] => {
    const f = p.plan.functions[0];
    if (f === undefined) throw new Error("no patched function");
    const b = new Uint8Array(5);
    new DataView(b.buffer).setInt32(1, Number(f.newVa - f.jumpVa - 5n), true);
    return [0xe9, ...b.subarray(1)];
  };

  it("a store at n is seen by the instruction with number n, and not by the one before", () => {
    const torn = [[10, 0, [0xe9]]] as const;
    expect(violated(planted(torn, [[9, 0]]))).toEqual([]);
    expect(violated(planted(torn, [[10, 0]]))).toEqual([10]);
  });

  it("the old bytes, a whole branch and an int3 are whole", () => {
    const t = planted(
      [
        [10, 0, [0xcc]],
        [20, 1, jump().slice(1)],
        [30, 0, [0xe9]],
      ],
      [[5, 0], [15, 0], [25, 0], [35, 0]],
    ); // prettier-ignore
    expect(violated(t)).toEqual([]);
    const [f] = t.plan.functions;
    const states = f === undefined ? [] : windowContents(t, f).map((c) => c.state);
    expect(states).toEqual(["old", "int3", "int3", "branch"]);
  });

  it("whoever goes on inside of a window after its tail has changed is found, also behind an int3", () => {
    const tail = jump().slice(1);
    expect(violated(planted([[10, 0, [0xcc]]], [[15, 2]]))).toEqual([]);
    expect(
      violated(
        planted(
          [
            [10, 0, [0xcc]],
            [20, 1, tail],
          ],
          [[25, 2]],
        ),
      ),
    ).toEqual([25]);
    expect(violated(planted([[10, 0, jump()]], [[15, 1]]))).toEqual([15]);
  });

  it("bytes that are put back are whole again", () => {
    const old = [...(p.plan.functions[0]?.oldBytes ?? [])];
    const t = planted([[10, 0, [0xe9]], [20, 0, old]], [[25, 0], [26, 3]]); // prettier-ignore
    expect(violated(t)).toEqual([]);
  });
});

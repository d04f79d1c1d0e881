// Who switches a task under livepatch, and when, seen from outside: the worker's rounds, the way to user mode, the idle loop,
// cond_resched, the signals, and what a new task gets from its parent. kernel: kernel/livepatch/transition.c.
import { beforeAll, describe, expect, it } from "vitest";
import {
  currentTask,
  PERCPU,
  perCpuVa,
  readTask,
  readUint,
  RQ,
  symbolVa,
  TIF,
  writeField,
  type Task,
} from "../../src/kernel/index.ts";
import { jobOf } from "../../src/patch/index.ts";
import { klpEnablePatch, transitionWork } from "../../src/patch/klp/core.ts";
import { makePatch, systemOf } from "../../src/patch/klp/klp.ts";
import { loadModule } from "../../src/patch/module.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { mechanism } from "../explore/prepared.ts";
import { Kernel } from "../kernel/programs.ts";
import { build, howOf, put, requestOf, set } from "./victim.ts";

const SLEEP = 60;
let quiet: BuiltScenario;
let loaded: BuiltScenario;
beforeAll(async () => {
  quiet = await build(0);
  loaded = await build(SLEEP);
});

describe("the worker", () => {
  it("looks at every stack at once, and again a virtual second apart for as long as somebody remains", () => {
    const k = new Kernel(loaded);
    k.run(4000);
    const looks: { at: number; who: readonly string[] }[] = [];
    const trace = put(k, (who) => void looks.push({ at: Number(k.word("jiffies")), who }));
    const { hz } = loaded.scenario;
    expect(trace.outcome?.result).toBe("applied");
    // The sleeper is in the way each time; the rounds are as many as there are seconds.
    expect(looks.length).toBeGreaterThan(3);
    expect(looks.length).toBeLessThanOrEqual(SLEEP / hz);
    expect(looks.every(({ who }) => who.includes("sleeper"))).toBe(true);
    for (const [i, { at }] of looks.entries()) {
      const before = looks[i - 1]?.at;
      if (before !== undefined) expect(at - before).toBeGreaterThanOrEqual(hz);
    }
    expect(howOf(trace, "sleeper").length).toBe(1);
  });

  it("does not switch a task that runs: one that computes switches itself on its way back to user mode", () => {
    const k = new Kernel(loaded);
    k.run(4000);
    const trace = put(k);
    expect(howOf(trace, "hog")).toEqual(["exit to user"]);
  });
});

describe("the idle task", () => {
  it.each([2, 4])(
    "of a CPU with nothing to do is sent through its loop, and switches itself there (%i vCPUs)",
    (vcpus) => {
      const k = new Kernel(quiet, vcpus);
      k.run(4000);
      const trace = put(k);
      expect(trace.outcome?.result).toBe("applied");
      const patchd = k.session.tasks().find((t) => t.comm === "patchd")?.cpu;
      const others = Array.from({ length: vcpus }, (_, cpu) => cpu).filter((cpu) => cpu !== patchd);
      for (const cpu of others) expect(howOf(trace, `swapper/${cpu}`)).toEqual(["idle"]);
      // Where the worker itself runs nobody else does.
      expect(howOf(trace, `swapper/${patchd}`)).toEqual(["stack check"]);
    },
  );

  it("of a CPU that is not online is switched at once, whatever it does", () => {
    const rounds = (online: bigint): readonly (readonly string[])[] => {
      const k = new Kernel(quiet);
      const other = k.session.tasks().find((t) => t.comm === "patchd")?.cpu === 0 ? 1 : 0;
      const rq = perCpuVa(quiet.image, other) + BigInt(PERCPU.fields.runqueues.offset);
      // Here no CPU ever goes offline: its run queue says so.
      k.do(() => writeField(RQ, rq, "online", online));
      k.run(4000);
      const looks: (readonly string[])[] = [];
      const trace = put(k, (who) => void looks.push(who));
      expect(trace.outcome?.result).toBe("applied");
      expect(howOf(trace, `swapper/${other}`)).toEqual([online === 1n ? "idle" : "stack check"]);
      return looks;
    };
    const idle = expect.stringMatching(/^swapper\//);
    expect(rounds(1n).flat()).toContainEqual(idle);
    expect(rounds(0n).flat()).not.toContainEqual(idle);
  });
});

describe("a kernel thread that runs on and on", () => {
  it("looks at its own stack in cond_resched, where nobody else can switch it", () => {
    const k = new Kernel(quiet);
    set(k, "is_busy");
    k.run(20_000);
    const trace = put(k);
    expect(trace.outcome?.result).toBe("applied");
    expect(howOf(trace, "busy")).toEqual(["cond_resched"]);
    expect(k.word("klp_resched_enabled", 4)).toBe(0n);
  });
});

describe("a task that is made in a transition", () => {
  it.each([1, 2])(
    "has its parent's state and flag, copied with the task list held (seed %i)",
    (seed) => {
      const k = new Kernel(loaded, 2, seed);
      const { session } = k;
      const { machine, read, image } = session;
      set(k, "is_forking");
      k.run(4000);
      const patching = (t: Task): string =>
        `${t.patchState} ${(t.flags >> BigInt(TIF.PATCH_PENDING)) & 1n}`;
      const copied: string[] = [];
      const held: bigint[] = [];
      session.watch({ kind: "stop", lo: k.va("klp_copy_process"), id: 1 });
      session.watch({ kind: "stop", lo: k.va("klp_copied"), id: 2 });
      session.onStop = (id, vcpu) => {
        if (id > 2) return;
        held.push(readUint(read, symbolVa(image, "tasklist_lock"), 4));
        if (id === 1) return;
        const parent = currentTask(read, image, machine.reg(vcpu, "gs_base"));
        const child = readTask(read, image, machine.reg(vcpu, "rbx"));
        expect(patching(child)).toBe(patching(parent));
        copied.push(patching(parent));
      };
      session.request(jobOf(mechanism("klp"), requestOf(loaded)));
      const stop = session.run(machine.retired + 3_000_000, new Set(["outcome", "bug"]));
      expect([stop, k.bugs()]).toEqual(["outcome", []]);
      expect(session.agent.outcome?.result).toBe("applied");
      expect(new Set(held)).toEqual(new Set([1n]));
      // Before the transition, and in it: nobody was made with another state than the one that was due.
      expect(copied.length).toBeGreaterThan(3);
      expect(copied).toContain("1 0");
      k.run(20_000);
      expect(session.tasks().filter((t) => t.isListed && t.patchState !== -1)).toEqual([]);
    },
  );
});

describe("a task that remains for long", () => {
  it("is given the signal in every fifteenth round after the first, and in no other", async () => {
    const built = await build(5000);
    const k = new Kernel(built);
    const { session } = k;
    const request = requestOf(built);
    const system = systemOf(request);
    k.run(4000);
    expect(k.do(() => loadModule(built.image, request.plan, true))).toBe(0);
    const made = k.do(() => makePatch(request));
    expect(k.do(() => klpEnablePatch(system, made)).error).toBe(0);
    const sleeper = session.tasks().find((t) => t.comm === "sleeper");
    const signalled: number[] = [];
    let round = 0;
    session.watch({ kind: "stop", lo: k.va("set_notify_signal"), id: 1 });
    session.onStop = (_, vcpu) => {
      if (session.machine.reg(vcpu, "rdi") === sleeper?.va) signalled.push(round);
    };
    for (round = 1; round <= 47; round++) {
      const tried = k.do(() => transitionWork(system));
      expect(tried?.remaining.map((r) => r.task)).toContain("sleeper");
    }
    expect(signalled).toEqual([15, 30, 45]);
  });
});

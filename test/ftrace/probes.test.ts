// Return tracing and kprobes on a running kernel: what they see, that nobody else notices, and that walks of stacks see
// through them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import {
  ftraceSetFilterIp,
  makeFtraceOps,
  registerFtraceFunction,
  registerFtraceGraph,
  registerKprobe,
  unregisterFtraceGraph,
  unregisterKprobe,
} from "../../src/ftrace/index.ts";
import {
  call,
  ERRNO,
  FTRACE_CONSTANTS,
  returnTrampolines,
  type Task,
} from "../../src/kernel/index.ts";
import { symbolAt } from "../../src/link/index.ts";
import { trueStack } from "../../src/machine/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { FRAME_POINTER } from "../../src/unwind/fp.ts";
import { stackTraceSaveTskReliable, walkMemory } from "../../src/unwind/index.ts";
import { buildWith, Kernel } from "../kernel/programs.ts";

const { EBUSY, EINVAL, ENOENT } = ERRNO;

let built: BuiltScenario;
let expected: readonly bigint[];
beforeAll(async () => {
  const text = readFileSync(join(import.meta.dirname, "probes.S"), "utf8");
  built = await buildWith("default", text);
  const plain = new Kernel(built);
  finish(plain);
  expected = results(plain);
});

function results(k: Kernel): readonly bigint[] {
  return built.scenario.results.map((r) => k.word(r));
}

function finish(k: Kernel): void {
  if (k.session.events().doneAt !== undefined) return;
  const stop = k.session.run(k.session.machine.retired + 50_000_000, new Set(["done", "bug"]));
  expect([stop, k.bugs()]).toEqual(["done", []]);
}

const names = (k: Kernel, ips: readonly bigint[]): readonly (string | undefined)[] =>
  ips.map((ip) => symbolAt(k.image, ip)?.name);

/** The true stack of a task that does not run. */
function truth(k: Kernel, t: Task): readonly bigint[] {
  const trampolines = new Set(returnTrampolines(k.image).map((x) => x.lo));
  return (trueStack(k.session.machine, t.stack.lo, trampolines)?.frames ?? [])
    .filter((f) => f.kind !== "user")
    .map((f) => f.ret);
}

/** Runs until the task named paced sleeps in xfer_submit with its return hooked by the trampoline. */
function untilHooked(k: Kernel, trampoline: string): Task {
  for (let i = 0; i < 400; i++) {
    k.run(500);
    const t = k.session.tasks().find((x) => x.comm === "paced" && !x.onCpu);
    if (t === undefined) continue;
    const words = new BigUint64Array(
      k.session.read(t.sp, Number(t.stack.hi - t.sp)).slice().buffer,
    );
    const isIn = names(k, truth(k, t)).includes("xfer_submit");
    if (isIn && words.includes(k.va(trampoline))) return t;
  }
  throw new Error("paced was never seen asleep");
}

describe("function graph", () => {
  test("hooks returns, and a sleeping task's stack is reliable and true all the same", () => {
    const k = new Kernel(built);
    expect(
      k.do(() => registerFtraceGraph(k.image, [k.va("xfer_submit"), k.va("schedule_timeout")])),
    ).toBe(0);
    const t = untilHooked(k, "return_to_handler");
    const memory = walkMemory(k.session.read, k.image);
    const trace = stackTraceSaveTskReliable(FRAME_POINTER, memory, t);
    expect([trace.reliable, trace.error]).toEqual([true, undefined]);
    // The walk begins at __switch_to_asm's caller, as the truth does.
    expect(trace.frames.map((f) => f.ip)).toEqual(truth(k, t));
    expect(names(k, truth(k, t))).toContain("__x64_sys_xfer");
    const blind = stackTraceSaveTskReliable(
      FRAME_POINTER,
      { read: memory.read, images: memory.images },
      t,
    );
    expect(
      names(
        k,
        blind.frames.map((f) => f.ip),
      ),
    ).toContain("return_to_handler");
    const found = stackTraceSaveTskReliable(
      FRAME_POINTER,
      { ...memory, recoverRetAddr: (_, ra) => ra },
      t,
    );
    expect([found.reliable, found.error?.reason]).toEqual([false, "return_trampoline"]);
    finish(k);
    expect(results(k)).toEqual(expected);
    expect(k.word("fgraph_nr_entries")).toBeGreaterThan(10n);
  });

  test("that stops lets those who are hooked return", () => {
    const k = new Kernel(built);
    k.do(() => registerFtraceGraph(k.image, [k.va("xfer_submit")]));
    untilHooked(k, "return_to_handler");
    expect(k.word("fgraph_nr_returns")).toBeLessThan(k.word("fgraph_nr_entries"));
    expect(k.do(() => unregisterFtraceGraph(k.image))).toBe(0);
    finish(k);
    expect(k.word("fgraph_nr_returns")).toBe(k.word("fgraph_nr_entries"));
    expect(results(k)).toEqual(expected);
  });

  test("of every function harms nobody", async () => {
    const slow = await buildWith("default", "", { tickInsns: 60_000 });
    const plain = new Kernel(slow);
    finish(plain);
    const k = new Kernel(slow);
    expect(k.do(() => registerFtraceGraph(k.image), 30_000_000)).toBe(0);
    k.run(300_000);
    expect(k.word("fgraph_nr_entries")).toBeGreaterThan(500n);
    k.do(() => unregisterFtraceGraph(k.image), 30_000_000);
    finish(k);
    expect(results(k)).toEqual(results(plain));
  });
});

describe("a kretprobe", () => {
  test("sees what a function returns, and leaves rax and the flags alone", () => {
    const k = new Kernel(built);
    k.session.machine.write64(k.va("rethook_handler"), k.va("probe_return"));
    const pre = k.va("pre_handler_kretprobe");
    expect(k.do(() => registerKprobe(k.image, k.va("probe_inner"), { pre, post: 0n })).ok).toBe(
      true,
    );
    expect(k.do(() => call("probe_outer"))).toBe(51n);
    expect([k.word("probe_returns"), k.word("probe_rax")]).toEqual([1n, 50n]);
  });

  test("on a function that sleeps: the walk sees through it", () => {
    const k = new Kernel(built);
    const pre = k.va("pre_handler_kretprobe");
    k.do(() => registerKprobe(k.image, k.va("xfer_submit"), { pre, post: 0n }));
    const t = untilHooked(k, "arch_rethook_trampoline");
    const trace = stackTraceSaveTskReliable(FRAME_POINTER, walkMemory(k.session.read, k.image), t);
    expect(trace.reliable).toBe(true);
    expect(trace.frames.map((f) => f.ip)).toEqual(truth(k, t));
    expect(k.do(() => unregisterKprobe(k.image, k.va("xfer_submit")))).toBe(0);
    finish(k);
    expect(results(k)).toEqual(expected);
  });
});

describe("a kprobe on a fentry site", () => {
  test("is called by ftrace with all registers", () => {
    const k = new Kernel(built);
    const at = k.va("probe_me");
    expect(
      k.do(() => registerKprobe(k.image, at, { pre: k.va("probe_pre"), post: k.va("probe_post") }))
        .ok,
    ).toBe(true);
    expect(k.do(() => call("probe_me", 7n))).toBe(26n);
    expect([
      k.word("probe_pre_hits"),
      k.word("probe_post_hits"),
      k.word("probe_rdi"),
      k.word("probe_ip"),
    ]).toEqual([1n, 1n, 7n, at + 5n]);
    expect(k.do(() => unregisterKprobe(k.image, at))).toBe(0);
    expect([...k.session.read(at, 5)]).toEqual([0x0f, 0x1f, 0x44, 0, 0]);
    expect(k.do(() => unregisterKprobe(k.image, at))).toBe(-ENOENT);
  });

  test.each([true, false])(
    "with a post_handler (%s) owns the site; without one it coexists with a redirection",
    (post) => {
      const k = new Kernel(built);
      const at = k.va("probe_me");
      k.do(() =>
        registerKprobe(k.image, at, {
          pre: k.va("probe_pre"),
          post: post ? k.va("probe_post") : 0n,
        }),
      );
      const ret = k.do(function* () {
        const flags = FTRACE_CONSTANTS.FTRACE_OPS_FL_IPMODIFY;
        const ops = yield* makeFtraceOps(k.image, { func: k.va("ftrace_stub"), flags });
        yield* ftraceSetFilterIp(k.image, ops, at, false, false);
        return yield* registerFtraceFunction(k.image, ops);
      });
      expect(ret).toBe(post ? -EBUSY : 0);
      // And the other way round: a second probe of that kind on a site that is taken.
      const other = k.do(() => registerKprobe(k.image, at, { pre: 0n, post: 0n }));
      expect(other).toEqual({ ok: false, error: -EBUSY });
      expect([k.do(() => call("probe_me", 7n)), k.word("probe_pre_hits")]).toEqual([26n, 1n]);
    },
  );
});

describe("a kprobe on any other instruction", () => {
  test.each(["probe_me_load", "probe_me_lea", "probe_me_add"])(
    "%s is an int3 and executes elsewhere",
    (name) => {
      const k = new Kernel(built);
      const at = k.va(name);
      const before = [...k.session.read(at, 8)];
      const r = k.do(() =>
        registerKprobe(k.image, at, { pre: k.va("probe_pre"), post: k.va("probe_post") }),
      );
      expect(r.ok).toBe(true);
      expect(k.session.read(at, 1)[0]).toBe(0xcc);
      expect(k.do(() => call("probe_me", 7n))).toBe(26n);
      const length = { probe_me_load: 7n, probe_me_lea: 4n, probe_me_add: 3n }[name] ?? 0n;
      expect([k.word("probe_pre_hits"), k.word("probe_post_hits"), k.word("probe_ip")]).toEqual([
        1n,
        1n,
        at + length,
      ]);
      expect(k.do(() => unregisterKprobe(k.image, at))).toBe(0);
      expect([...k.session.read(at, 8)]).toEqual(before);
      expect([k.do(() => call("probe_me", 7n)), k.word("probe_pre_hits")]).toEqual([26n, 1n]);
    },
  );

  test("a branch, the middle of an instruction and what the #BP handler needs are refused", () => {
    const k = new Kernel(built);
    for (const at of [
      k.va("probe_me_jump"),
      k.va("probe_me_load") + 1n,
      k.va("poke_int3_handler") + 4n,
      k.va("jiffies"),
    ]) {
      expect(k.do(() => registerKprobe(k.image, at, { pre: 0n, post: 0n }))).toEqual({
        ok: false,
        error: -EINVAL,
      });
    }
  });

  test("under load on several CPUs nobody notices it", () => {
    const k = new Kernel(built, 4);
    const pre = k.va("probe_pre");
    const second = k.va("xfer_queue") + 6n; // mov %rsp, %rbp
    expect(k.do(() => registerKprobe(k.image, second, { pre, post: 0n })).ok).toBe(true);
    const tick = k.va("sched_tick") + 5n;
    expect(k.do(() => registerKprobe(k.image, tick, { pre, post: k.va("probe_post") })).ok).toBe(
      true,
    );
    k.run(60_000);
    expect(k.word("probe_pre_hits")).toBeGreaterThan(20n);
    finish(k);
    expect(results(k)).toEqual(expected);
  });
});

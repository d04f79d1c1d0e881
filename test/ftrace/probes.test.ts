// Return tracing and kprobes on a running kernel: what they see, that nobody else notices, and that walks of stacks see
// through them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import {
  ftraceEnableSysctl,
  ftraceSetFilterIp,
  makeFtraceOps,
  registerFtraceFunction,
  registerFtraceGraph,
  registerKprobe,
  registerKprobeAt,
  unregisterFtraceGraph,
  unregisterKprobe,
  unregisterKprobeAt,
  type Registered,
} from "../../src/ftrace/index.ts";
import {
  call,
  ERRNO,
  FTRACE_CONSTANTS,
  KPROBE,
  readField,
  returnTrampolines,
  write,
  writeWord,
  type Program,
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

function kprobe(r: Registered): bigint {
  if (!r.ok) throw new Error(`not registered: ${r.error}`);
  return r.kprobe;
}

const missed = (k: Kernel, r: Registered): bigint =>
  readField(k.session.read, KPROBE, kprobe(r), "nmissed");

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
      // A second probe there asks for nothing of its own.
      expect(k.do(() => registerKprobe(k.image, at, { pre: 0n, post: 0n })).ok).toBe(true);
      expect([k.do(() => call("probe_me", 7n)), k.word("probe_pre_hits")]).toEqual([26n, 1n]);
    },
  );
});

describe("ftrace_enabled", () => {
  test("off silences a kprobe on a fentry site, and not one behind it; it keeps its site", () => {
    const k = new Kernel(built);
    const [at, behind] = [k.va("probe_me"), k.va("probe_me_load")];
    const pre = k.va("probe_pre");
    const post = k.va("probe_post");
    expect(k.do(() => registerKprobe(k.image, at, { pre, post })).ok).toBe(true);
    const other = k.va("probe_pre_other");
    expect(k.do(() => registerKprobe(k.image, behind, { pre: other, post: 0n })).ok).toBe(true);
    const hits = (): readonly bigint[] => [
      k.do(() => call("probe_me", 7n)),
      k.word("probe_pre_hits"),
      k.word("probe_post_hits"),
      k.word("probe_other_hits"),
    ];
    expect(hits()).toEqual([26n, 1n, 1n, 1n]);
    expect(k.do(() => ftraceEnableSysctl(k.image, false))).toBe(0);
    expect(hits()).toEqual([26n, 1n, 1n, 2n]);
    // A third, registered meanwhile, is heard when it is on again.
    const late = k.va("probe_inner");
    expect(k.do(() => registerKprobe(k.image, late, { pre, post: 0n })).ok).toBe(true);
    expect([k.do(() => call("probe_outer")), k.word("probe_pre_hits")]).toEqual([51n, 1n]);
    const taken = k.do(function* () {
      const flags = FTRACE_CONSTANTS.FTRACE_OPS_FL_IPMODIFY;
      const ops = yield* makeFtraceOps(k.image, { func: k.va("ftrace_stub"), flags });
      yield* ftraceSetFilterIp(k.image, ops, at, false, false);
      return yield* registerFtraceFunction(k.image, ops);
    });
    expect(taken).toBe(-EBUSY);
    expect(k.do(() => ftraceEnableSysctl(k.image, true))).toBe(0);
    expect(hits()).toEqual([26n, 2n, 2n, 3n]);
    expect([k.do(() => call("probe_outer")), k.word("probe_pre_hits")]).toEqual([51n, 3n]);
    // Gone while it is off, it stays gone.
    expect(k.do(() => ftraceEnableSysctl(k.image, false))).toBe(0);
    for (const va of [at, behind, late]) expect(k.do(() => unregisterKprobe(k.image, va))).toBe(0);
    expect(k.do(() => ftraceEnableSysctl(k.image, true))).toBe(0);
    expect(hits()).toEqual([26n, 3n, 2n, 3n]);
    expect([...k.session.read(at, 5)]).toEqual([0x0f, 0x1f, 0x44, 0, 0]);
  });
});

describe("a kprobe by the name of a symbol", () => {
  /** A struct kprobe as a module fills it in. */
  function* given(
    k: Kernel,
    fields: Partial<Record<keyof typeof KPROBE.fields, bigint>>,
    name?: string,
  ): Program<bigint> {
    const kp = yield* call("kzalloc", BigInt(KPROBE.size));
    if (name !== undefined) {
      const text = yield* call("kzalloc", 64n);
      yield* write(text, new TextEncoder().encode(name));
      yield* writeWord(kp + BigInt(KPROBE.fields.symbol_name.offset), text);
    }
    yield* writeWord(kp + BigInt(KPROBE.fields.pre_handler.offset), k.va("probe_pre"));
    for (const [field, value] of Object.entries(fields)) {
      const f = KPROBE.fields[field === "offset" ? "offset" : "addr"];
      yield* writeWord(kp + BigInt(f.offset), value, f.size === 4 ? 4 : 8);
    }
    return kp;
  }
  const register = (k: Kernel, ...what: [Parameters<typeof given>[1], string?]): number =>
    k.do(function* () {
      return yield* registerKprobeAt({ image: k.image }, yield* given(k, ...what));
    });

  test("is on its entry, or at an offset; a second registration of it is -EINVAL", () => {
    const k = new Kernel(built);
    const kp = k.do(() => given(k, {}, "probe_me"));
    expect(k.do(() => registerKprobeAt({ image: k.image }, kp))).toBe(0);
    expect(k.do(() => registerKprobeAt({ image: k.image }, kp))).toBe(-EINVAL);
    expect([k.do(() => call("probe_me", 7n)), k.word("probe_pre_hits")]).toEqual([26n, 1n]);
    k.do(() => unregisterKprobeAt(k.image, kp));
    // Its address is forgotten, and so the name counts again.
    expect(k.do(() => registerKprobeAt({ image: k.image }, kp))).toBe(0);
    expect(register(k, { offset: 8n }, "probe_me")).toBe(0);
    expect(k.session.read(k.va("probe_me_load"), 1)[0]).toBe(0xcc);
    expect([k.do(() => call("probe_me", 7n)), k.word("probe_pre_hits")]).toEqual([26n, 3n]);
  });

  test("that nobody has is -ENOENT; with an address beside it, or neither, -EINVAL", () => {
    const k = new Kernel(built);
    expect(register(k, {}, "no_such_function")).toBe(-ENOENT);
    expect(register(k, { addr: k.va("probe_me") }, "probe_me")).toBe(-EINVAL);
    expect(register(k, {})).toBe(-EINVAL);
    expect(register(k, { offset: 1n }, "probe_me_load")).toBe(-EINVAL);
    expect(k.word("kprobe_list")).toBe(0n);
  });
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

  test("is found behind another probe of its function, whose int3 hides an instruction", () => {
    const k = new Kernel(built);
    const pre = k.va("probe_pre");
    for (const name of ["probe_me_load", "probe_me_lea", "probe_me_add"]) {
      expect(k.do(() => registerKprobe(k.image, k.va(name), { pre, post: 0n })).ok, name).toBe(
        true,
      );
    }
    expect([k.do(() => call("probe_me", 7n)), k.word("probe_pre_hits")]).toEqual([26n, 3n]);
    // The second of them leaves the list from its middle.
    expect(k.do(() => unregisterKprobe(k.image, k.va("probe_me_lea")))).toBe(0);
    expect([k.do(() => call("probe_me", 7n)), k.word("probe_pre_hits")]).toEqual([26n, 5n]);
  });

  test("that is hit in a handler is stepped and missed, and the one whose handler it is goes on", () => {
    const k = new Kernel(built);
    const outer = k.do(() =>
      registerKprobe(k.image, k.va("probe_me_load"), {
        pre: k.va("probe_pre_calls"),
        post: k.va("probe_post"),
      }),
    );
    const inside = k.va("probe_inner") + 5n;
    const inner = k.do(() =>
      registerKprobe(k.image, inside, { pre: k.va("probe_pre_other"), post: 0n }),
    );
    expect(k.do(() => call("probe_me", 7n))).toBe(26n);
    expect([k.word("probe_pre_hits"), k.word("probe_post_hits"), k.word("probe_rax")]).toEqual([
      1n,
      1n,
      50n,
    ]);
    expect([missed(k, outer), missed(k, inner), k.word("probe_other_hits")]).toEqual([0n, 1n, 0n]);
    // Alone it is called again.
    expect([k.do(() => call("probe_outer")), k.word("probe_other_hits")]).toEqual([51n, 1n]);
  });

  test("whose slot is interrupted by a NMI with a probe in its handler: each gets its own IF back", () => {
    const k = new Kernel(built, 1);
    const m = k.session.machine;
    const { pre, post } = { pre: k.va("probe_pre"), post: k.va("probe_post") };
    const outer = k.do(() => registerKprobe(k.image, k.va("probe_me_load"), { pre, post }));
    const inNmi = k.va("default_do_nmi") + 5n; // push %rbp
    const inner = k.do(() =>
      registerKprobe(k.image, inNmi, { pre: k.va("probe_pre_other"), post: 0n }),
    );
    const slots = [outer, inner].map((r) => readField(k.session.read, KPROBE, kprobe(r), "slot"));
    const order: string[] = [];
    const isOn = (v: number): boolean => (m.reg(v, "rflags") & 0x200n) !== 0n;
    const stops: readonly (readonly [string, bigint])[] = [
      ["probed", k.va("probe_me_load")],
      ["slot", slots[0] ?? 0n],
      ["NMI's slot", slots[1] ?? 0n],
      ["NMI goes on", inNmi + 1n],
      ["goes on", k.va("probe_me_lea")],
    ];
    for (const [id, [, lo]] of stops.entries()) k.session.watch({ kind: "stop", lo, id });
    k.session.onStop = (id, v) => {
      const name = stops[id]?.[0] ?? "";
      if (name === "slot" && !order.some((o) => o.startsWith(name))) m.nmi(v);
      order.push(`${name}: IF ${isOn(v) ? "on" : "off"}`);
    };
    expect(k.do(() => call("probe_me", 7n))).toBe(26n);
    expect(order.filter((o, i) => o !== order[i - 1])).toEqual([
      "probed: IF on",
      "slot: IF off",
      "NMI's slot: IF off",
      "NMI goes on: IF off",
      "slot: IF off",
      "goes on: IF on",
    ]);
    expect([k.word("probe_pre_hits"), k.word("probe_post_hits")]).toEqual([1n, 1n]);
    expect([missed(k, inner), k.word("probe_other_hits")]).toEqual([1n, 0n]);
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

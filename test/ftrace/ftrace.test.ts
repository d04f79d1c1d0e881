// ftrace on a running kernel under load: ops come and go at sites that are being executed, through the INT3 protocol.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import {
  freeFtraceOps,
  ftraceEnableSysctl,
  ftraceSetFilterIp,
  makeFtraceOps,
  readFtrace,
  readTrace,
  registerFtraceFunction,
  startFunctionTracer,
  stopFunctionTracer,
  unregisterFtraceFunction,
} from "../../src/ftrace/index.ts";
import { call, ERRNO, FTRACE_CONSTANTS, type Program } from "../../src/kernel/index.ts";
import { symbolAt } from "../../src/link/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { buildWith, Kernel } from "../kernel/programs.ts";

const { EBUSY, EINVAL, ENODEV, ENOENT } = ERRNO;
const F = FTRACE_CONSTANTS;
const NOP5 = [0x0f, 0x1f, 0x44, 0x00, 0x00];

let built: BuiltScenario;
let expected: readonly bigint[];
beforeAll(async () => {
  const text = readFileSync(join(import.meta.dirname, "handlers.S"), "utf8");
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

const bytesAt = (k: Kernel, va: bigint, n = 5): readonly number[] => [...k.session.read(va, n)];

/** Where the call at va leads, undefined when it is none. */
function callee(k: Kernel, va: bigint): bigint | undefined {
  const b = k.session.read(va, 5);
  if (b[0] !== 0xe8) return undefined;
  return BigInt.asUintN(
    64,
    va + 5n + BigInt(new DataView(b.buffer, b.byteOffset).getInt32(1, true)),
  );
}

interface Wanted {
  readonly func: string;
  readonly flags?: number;
  readonly private?: bigint;
  readonly at: readonly string[];
}

function* ops(k: Kernel, w: Wanted): Program<bigint> {
  const va = yield* makeFtraceOps(k.image, {
    func: k.va(w.func),
    flags: w.flags ?? 0,
    private: w.private ?? 0n,
  });
  for (const name of w.at) {
    expect(yield* ftraceSetFilterIp(k.image, va, k.va(name), false, false)).toBe(0);
  }
  return va;
}

function* registered(k: Kernel, w: Wanted): Program<bigint> {
  const va = yield* ops(k, w);
  expect(yield* registerFtraceFunction(k.image, va)).toBe(0);
  return va;
}

const state = (k: Kernel): ReturnType<typeof readFtrace> => readFtrace(k.session.read, k.image);
const record = (k: Kernel, name: string): number =>
  state(k).recs.find((r) => r.ip === k.va(name))?.flags ?? -1;

describe("records", () => {
  test("there is one for every fentry site of the kernel, in rising order, with no flags", () => {
    const k = new Kernel(built);
    expect(state(k).recs.map((r) => r.ip)).toEqual([...built.image.fentrySites]);
    expect(new Set(state(k).recs.map((r) => r.flags))).toEqual(new Set([0]));
  });
});

describe("one ops", () => {
  test("is called through a trampoline of its own, and leaves nothing behind", () => {
    const k = new Kernel(built);
    const site = k.va("xfer_queue");
    const va = k.do(() =>
      registered(k, { func: "test_count", private: k.va("test_word_a"), at: ["xfer_queue"] }),
    );
    const [mine] = state(k).ops;
    expect(callee(k, site)).toBe(mine?.trampoline);
    expect(record(k, "xfer_queue")).toBe(
      (F.FTRACE_FL_ENABLED | F.FTRACE_FL_TRAMP | F.FTRACE_FL_TRAMP_EN | 1) >>> 0,
    );
    k.run(30_000);
    const counted = k.word("test_word_a");
    expect(counted).toBeGreaterThan(3n);
    expect(k.do(() => unregisterFtraceFunction(k.image, va))).toBe(0);
    expect(bytesAt(k, site)).toEqual(NOP5);
    expect(record(k, "xfer_queue")).toBe(0);
    expect(bytesAt(k, mine?.trampoline ?? 0n, 64)).toEqual(Array(64).fill(0xcc));
    const after = k.word("test_word_a");
    finish(k);
    expect(k.word("test_word_a")).toBe(after);
    expect(results(k)).toEqual(expected);
  });

  test("with SAVE_REGS sees and changes every register and the flags", () => {
    const k = new Kernel(built);
    const run = (): bigint => k.do(() => call("test_call_with_r12"));
    expect(run()).toBe(41n);
    const va = k.do(() =>
      registered(k, {
        func: "test_regs",
        flags: F.FTRACE_OPS_FL_SAVE_REGS,
        at: ["test_flag_target"],
      }),
    );
    expect(run()).toBe(43n);
    expect(k.word("test_sum")).toBe(41n);
    k.do(() => unregisterFtraceFunction(k.image, va));
    expect(run()).toBe(41n);
  });

  test("may send the caller elsewhere", () => {
    const k = new Kernel(built);
    k.do(() =>
      registered(k, {
        func: "test_redirect",
        flags: F.FTRACE_OPS_FL_IPMODIFY,
        private: k.va("test_replacement"),
        at: ["test_target"],
      }),
    );
    expect(k.do(() => call("test_target"))).toBe(8n);
    expect(k.word("test_calls")).toBe(0n);
  });

  test("that calls a traced function is not called again for it", () => {
    const k = new Kernel(built);
    k.do(() => registered(k, { func: "test_recurse", at: ["test_target"] }));
    k.do(() => call("test_target"));
    // The callback's own call comes once more through the grant for an uncounted interrupt, and no further.
    expect([k.word("test_entered"), k.word("test_inside"), k.word("test_calls")]).toEqual([
      3n,
      2n,
      3n,
    ]);
  });

  test("takes the address of an endbr64 for the site behind it", () => {
    const k = new Kernel(built);
    const va = k.do(() =>
      ops(k, { func: "test_count", private: k.va("test_word_a"), at: ["test_endbr"] }),
    );
    expect(k.do(() => registerFtraceFunction(k.image, va))).toBe(0);
    expect(callee(k, k.va("test_endbr") + 4n)).toBe(state(k).ops[0]?.trampoline);
    expect([k.do(() => call("test_endbr")), k.word("test_word_a")]).toEqual([9n, 1n]);
  });
});

describe("several ops", () => {
  test("at one site are all called through the list, and the last that stays gets its trampoline back", () => {
    const k = new Kernel(built);
    const site = k.va("xfer_submit");
    const [a, b] = k.do(function* () {
      return [
        yield* registered(k, {
          func: "test_count",
          private: k.va("test_word_a"),
          at: ["xfer_submit"],
        }),
        yield* registered(k, {
          func: "test_count",
          private: k.va("test_word_b"),
          at: ["xfer_submit", "xfer_queue"],
        }),
      ] as const;
    });
    expect(callee(k, site)).toBe(k.va("ftrace_caller"));
    expect(callee(k, k.va("ftrace_call"))).toBe(k.va("ftrace_ops_list_func"));
    expect(record(k, "xfer_submit") & F.FTRACE_REF_MAX).toBe(2);
    k.run(40_000);
    const [inA, inB] = [k.word("test_word_a"), k.word("test_word_b")];
    expect(inA).toBeGreaterThan(2n);
    expect(inB).toBeGreaterThan(2n * inA); // a submit has two queues
    k.do(() => unregisterFtraceFunction(k.image, b));
    expect(callee(k, site)).toBe(state(k).ops.find((o) => o.va === a)?.trampoline);
    expect(bytesAt(k, k.va("xfer_queue"))).toEqual(NOP5);
    k.do(() => unregisterFtraceFunction(k.image, a));
    expect(bytesAt(k, site)).toEqual(NOP5);
    expect(callee(k, k.va("ftrace_call"))).toBe(k.va("ftrace_stub"));
    expect([...k.session.text()]).toEqual([...new Kernel(built).session.text()]);
    finish(k);
    expect(results(k)).toEqual(expected);
  });

  test("cannot both have IPMODIFY at one site: the second gets -EBUSY and changes nothing", () => {
    const k = new Kernel(built);
    const flags = F.FTRACE_OPS_FL_IPMODIFY;
    k.do(() =>
      registered(k, {
        func: "test_redirect",
        flags,
        private: k.va("test_replacement"),
        at: ["test_target"],
      }),
    );
    const text = [...k.session.text()];
    const before = state(k);
    const second = k.do(() =>
      ops(k, { func: "test_redirect", flags, at: ["xfer_queue", "test_target"] }),
    );
    expect(k.do(() => registerFtraceFunction(k.image, second))).toBe(-EBUSY);
    expect([...k.session.text()]).toEqual(text);
    expect(state(k)).toEqual(before);
    k.do(() => freeFtraceOps(second));
    // Without it they coexist.
    k.do(() =>
      registered(k, { func: "test_count", private: k.va("test_word_a"), at: ["test_target"] }),
    );
    expect([k.do(() => call("test_target")), k.word("test_word_a")]).toEqual([8n, 1n]);
  });

  test("a filter that grows into another's IPMODIFY site stays as it was", () => {
    const k = new Kernel(built);
    const flags = F.FTRACE_OPS_FL_IPMODIFY;
    const [, b] = k.do(function* () {
      return [
        yield* registered(k, {
          func: "test_redirect",
          flags,
          private: k.va("test_replacement"),
          at: ["test_target"],
        }),
        yield* registered(k, {
          func: "test_count",
          flags,
          private: k.va("test_word_a"),
          at: ["xfer_queue"],
        }),
      ] as const;
    });
    const set = (name: string, remove: boolean): number =>
      k.do(() => ftraceSetFilterIp(k.image, b, k.va(name), remove, false));
    expect(set("test_target", false)).toBe(-EBUSY);
    expect(set("xfer_submit", false)).toBe(0);
    expect(callee(k, k.va("xfer_submit"))).toBe(state(k).ops.find((o) => o.va === b)?.trampoline);
    expect(set("xfer_submit", true)).toBe(0);
    expect(bytesAt(k, k.va("xfer_submit"))).toEqual(NOP5);
    expect([set("xfer_submit", true), set("xfer_queue", true)]).toEqual([-ENOENT, -EINVAL]);
  });
});

describe("a filter", () => {
  test("takes fentry sites only", () => {
    const k = new Kernel(built);
    const va = k.do(() => ops(k, { func: "test_count", at: [] }));
    for (const name of ["__schedule", "entry_SYSCALL_64", "jiffies"]) {
      expect(
        k.do(() => ftraceSetFilterIp(k.image, va, k.va(name), false, false)),
        name,
      ).toBe(-EINVAL);
    }
    expect(k.do(() => ftraceSetFilterIp(k.image, va, k.va("xfer_queue") + 1n, false, false))).toBe(
      -EINVAL,
    );
  });
});

describe("a site whose bytes are somebody else's", () => {
  test("ends ftrace before anything is written, and later calls get -ENODEV", () => {
    const k = new Kernel(built);
    const first = k.do(() =>
      registered(k, { func: "test_count", private: k.va("test_word_a"), at: ["test_endbr"] }),
    );
    const foreign = Uint8Array.of(0xe9, 0, 0, 0, 0);
    k.session.machine.write(k.va("test_target"), foreign);
    const va = k.do(() => ops(k, { func: "test_count", at: ["xfer_queue", "test_target"] }));
    const text = [...k.session.text()];
    expect(k.do(() => registerFtraceFunction(k.image, va))).toBe(-ENODEV);
    const log = k.session.agent.state().logs.map((l) => l.text);
    expect(log.slice(0, 2)).toEqual([
      "------------[ ftrace bug ]------------",
      "ftrace failed to modify ",
    ]);
    expect(log).toContain(" actual:   e9:00:00:00:00");
    expect(log).toContain(" expected: 0f:1f:44:00:00");
    const at = Number(k.va("ftrace_call") - k.va("_stext"));
    const now = [...k.session.text()];
    for (const [i, b] of now.entries()) if (i < at || i > at + 1024) expect(b).toBe(text[i]);
    expect(bytesAt(k, k.va("test_target"))).toEqual([...foreign]);
    expect(k.do(() => registerFtraceFunction(k.image, va))).toBe(-ENODEV);
    expect(k.do(() => unregisterFtraceFunction(k.image, first))).toBe(-ENODEV);
    expect(k.do(() => ftraceEnableSysctl(k.image, true))).toBe(-ENODEV);
    expect(k.word("ftrace_disabled", 4)).toBe(1n);
  });
});

describe("the sysctl ftrace_enabled", () => {
  test("makes every site a nop and brings it back", () => {
    const k = new Kernel(built);
    k.do(() =>
      registered(k, { func: "test_count", private: k.va("test_word_a"), at: ["test_target"] }),
    );
    expect(k.do(() => ftraceEnableSysctl(k.image, false))).toBe(0);
    expect(bytesAt(k, k.va("test_target"))).toEqual(NOP5);
    k.do(() => call("test_target"));
    expect(k.do(() => ftraceEnableSysctl(k.image, true))).toBe(0);
    k.do(() => call("test_target"));
    expect(k.word("test_word_a")).toBe(1n);
  });

  test("off, ops come and go without a trace in the text, and on again shows who is left", () => {
    const k = new Kernel(built);
    const pristine = k.session.text();
    const [early, other] = k.do(function* () {
      return [
        yield* registered(k, {
          func: "test_count",
          private: k.va("test_word_a"),
          at: ["test_target"],
        }),
        yield* registered(k, {
          func: "test_count",
          private: k.va("test_word_b"),
          at: ["test_target", "xfer_queue"],
        }),
      ] as const;
    });
    expect(k.do(() => ftraceEnableSysctl(k.image, false))).toBe(0);
    expect([...k.session.text()]).toEqual([...pristine]);
    // The load may have been through the other site before.
    const counted = k.word("test_word_b");
    // One goes and one comes.
    expect(k.do(() => unregisterFtraceFunction(k.image, early))).toBe(0);
    const late = k.do(() =>
      registered(k, {
        func: "test_redirect",
        flags: F.FTRACE_OPS_FL_IPMODIFY,
        private: k.va("test_replacement"),
        at: ["test_target"],
      }),
    );
    const refused = k.do(() =>
      ops(k, { func: "test_redirect", flags: F.FTRACE_OPS_FL_IPMODIFY, at: ["test_target"] }),
    );
    expect(k.do(() => registerFtraceFunction(k.image, refused))).toBe(-EBUSY);
    expect([...k.session.text()]).toEqual([...pristine]);
    expect([k.do(() => call("test_target")), k.word("test_word_a"), k.word("test_word_b")]).toEqual(
      [7n, 0n, counted],
    );
    expect(k.do(() => ftraceEnableSysctl(k.image, true))).toBe(0);
    expect(callee(k, k.va("test_target"))).toBe(k.va("ftrace_caller"));
    expect(callee(k, k.va("xfer_queue"))).toBe(
      state(k).ops.find((o) => o.va === other)?.trampoline,
    );
    expect([k.do(() => call("test_target")), k.word("test_word_a")]).toEqual([8n, 0n]);
    expect(k.word("test_word_b")).toBeGreaterThan(counted);
    // And off again, with the last of them gone before it comes back on.
    expect(k.do(() => ftraceEnableSysctl(k.image, false))).toBe(0);
    for (const va of [late, other]) {
      expect(k.do(() => unregisterFtraceFunction(k.image, va))).toBe(0);
    }
    expect(k.do(() => ftraceEnableSysctl(k.image, true))).toBe(0);
    expect([...k.session.text()]).toEqual([...pristine]);
    expect(new Set(state(k).recs.map((r) => r.flags))).toEqual(new Set([0]));
    finish(k);
    expect(results(k)).toEqual(expected);
  });

  test("off refuses an ops that is PERMANENT, and is refused while there is one", () => {
    const k = new Kernel(built);
    const flags = F.FTRACE_OPS_FL_PERMANENT;
    const va = k.do(() =>
      ops(k, { func: "test_count", flags, private: k.va("test_word_a"), at: ["test_target"] }),
    );
    k.do(() => ftraceEnableSysctl(k.image, false));
    expect(k.do(() => registerFtraceFunction(k.image, va))).toBe(-EBUSY);
    k.do(() => ftraceEnableSysctl(k.image, true));
    expect(k.do(() => registerFtraceFunction(k.image, va))).toBe(0);
    expect(k.do(() => ftraceEnableSysctl(k.image, false))).toBe(-EBUSY);
    k.do(() => call("test_target"));
    expect(k.word("test_word_a")).toBe(1n);
  });
});

describe("the function tracer", () => {
  test("of every function, switched on and off under load, harms nobody", async () => {
    // A traced call costs a hundred instructions more: ticks as close as the scenario's would take all the time.
    const slow = await buildWith("default", "", { tickInsns: 40_000 });
    const plain = new Kernel(slow);
    const pristine = [...plain.session.text()];
    finish(plain);
    const k = new Kernel(slow);
    expect(k.do(() => startFunctionTracer(k.image), 20_000_000)).toBe(0);
    expect(state(k).recs.every((r) => (r.flags & F.FTRACE_REF_MAX) === 1)).toBe(true);
    k.run(200_000);
    const names = new Set(
      readTrace(k.session.read, k.image).map((e) => symbolAt(k.image, e.ip)?.name),
    );
    expect(names.size).toBeGreaterThan(10);
    expect(k.do(() => stopFunctionTracer(k.image), 20_000_000)).toBe(0);
    expect([...k.session.text()]).toEqual(pristine);
    finish(k);
    expect(results(k)).toEqual(results(plain));
  });

  test("and a redirection live at one site, whichever came first", () => {
    for (const first of ["tracer", "redirection"]) {
      const k = new Kernel(built);
      const trace = (): number =>
        k.do(() => startFunctionTracer(k.image, [k.va("test_target"), k.va("test_replacement")]));
      const redirect = (): bigint =>
        k.do(() =>
          registered(k, {
            func: "test_redirect",
            flags: F.FTRACE_OPS_FL_IPMODIFY,
            private: k.va("test_replacement"),
            at: ["test_target"],
          }),
        );
      if (first === "tracer") {
        expect(trace()).toBe(0);
        redirect();
      } else {
        redirect();
        expect(trace()).toBe(0);
      }
      expect(k.do(() => call("test_target"))).toBe(8n);
      const seen = readTrace(k.session.read, k.image).map((e) => symbolAt(k.image, e.ip)?.name);
      expect(seen).toEqual(["test_target", "test_replacement"]);
    }
  });
});

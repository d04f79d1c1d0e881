// What the kernel offers to patching mechanisms, each driven by a scripted patch call: stop_machine, the
// checkpoint, parking, fake signals, ftrace redirection and the #BP handler. No mechanism is here.
import { beforeAll, describe, expect, test } from "vitest";
import type { Task } from "../../src/kernel/index.ts";
import {
  BP_DESC,
  fieldVa,
  KPATCH_FUNC,
  MODULE,
  PERCPU,
  perCpuVa,
  RQ,
  readField,
  symbolVa,
  TASK_STATE,
  TEXT_POKE_LOC,
  TIF,
} from "../../src/kernel/index.ts";
import { symbolAt } from "../../src/link/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { buildNamed } from "../scenario/files.ts";
import type { Order } from "./guest.ts";
import { Guest } from "./guest.ts";

let built: BuiltScenario;
beforeAll(async () => {
  built = await buildNamed("default");
});

/** A step of a script: an order, or something the test does, once or until it answers true. */
type Step = Order | ((guest: Guest, result: bigint) => void) | { readonly until: () => boolean };

/** Runs a script through the patch call, one step for each execution, to its end. */
function script(guest: Guest, steps: readonly Step[]): void {
  let i = 0;
  guest.agent = (result): Order => {
    const step = steps[i];
    if (guest.readyAt === undefined || step === undefined) return { order: "idle", ticks: 1 };
    if (typeof step === "object" && "until" in step) {
      if (step.until()) i++;
      return { order: "idle", ticks: 1 };
    }
    i++;
    if (typeof step !== "function") return step;
    step(guest, result);
    return { order: "again" };
  };
  guest.run(600_000, () => i >= steps.length && guest.doneAt !== undefined);
  expect(i).toBe(steps.length);
}

function boot(vcpus = 2, slice = 61): Guest {
  const guest = new Guest(built.image, { ramMiB: 32, vcpus, slice });
  guest.run(100_000, () => guest.readyAt !== undefined);
  return guest;
}

const call = (fn: string, ...args: readonly bigint[]): Order => ({ order: "call", fn, args });
const write32 = (name: string, value: number) => (guest: Guest) =>
  guest.machine.write32(symbolVa(built.image, name), value);
const isUser = (t: Task): boolean => !t.isKthread && !t.isIdle;
const isParked = (t: Task): boolean => t.parked && t.state === TASK_STATE.PARKED && !t.onCpu;
const isQueued = (t: Task): boolean =>
  t.checkpointed && t.state === TASK_STATE.CHECKPOINT && !t.onCpu;

function expectUnharmed(guest: Guest): void {
  const plain = new Guest(built.image, { ramMiB: 32, vcpus: 2 });
  plain.runUntilDone(600_000);
  expect(guest.bugs).toEqual([]);
  expect(guest.doneAt).toBeDefined();
  for (const r of built.scenario.results) expect(guest.word(r), r).toBe(plain.word(r));
}

describe("stop_machine", () => {
  test.each([1, 2, 8])("runs its function once, on CPU 0, with %i CPUs stopped", (vcpus) => {
    const guest = boot(vcpus);
    let ran = 0;
    let result = 0n;
    script(guest, [
      call("stop_machine", symbolVa(built.image, "patch_stop_fn")),
      (g) => {
        ran++;
        for (let cpu = 0; cpu < vcpus; cpu++) {
          const rq = perCpuVa(built.image, cpu) + BigInt(PERCPU.fields.runqueues.offset);
          expect(readField(g.read, RQ, rq, "curr")).toBe(readField(g.read, RQ, rq, "stop"));
          expect(g.machine.reg(cpu, "rflags") & 0x200n).toBe(0n);
        }
      },
      { order: "done", value: 77n },
      (_, value) => {
        result = value;
      },
    ]);
    expect([ran, result]).toEqual([1, 77n]);
    expectUnharmed(guest);
  });
});

describe("the checkpoint", () => {
  test("gathers every user task outside of the kernel and lets them go on unharmed", () => {
    const guest = boot();
    let gathered: readonly Task[] = [];
    const users = guest.tasks().filter(isUser);
    const thread = guest.task("xfer_flushd");
    script(guest, [
      write32("checkpoint_request", 1),
      ...users.map((t) => call("checkpoint_notify", t.va)),
      call("kthread_park_async", thread.va),
      { until: () => guest.tasks().filter(isUser).every(isQueued) },
      { until: () => isParked(guest.task("xfer_flushd")) },
      () => {
        gathered = guest.tasks().filter(isUser);
        for (const t of gathered) {
          const words = new BigUint64Array(
            guest.read(t.sp, Number(t.ptRegsVa - t.sp)).slice().buffer,
          );
          const names = [...words].map((w) => symbolAt(built.image, w)?.name);
          expect(names).toContain("checkpoint_stop");
          expect(names).not.toContain("xfer_submit");
        }
      },
      call("kthread_unpark", thread.va),
      call("checkpoint_release"),
    ]);
    expect(gathered.length).toBe(4);
    expectUnharmed(guest);
    expect(guest.task("xfer_flushd").state).not.toBe(TASK_STATE.PARKED);
  });

  test("under the policy `pass` a task clears its flag and goes on", () => {
    const guest = boot();
    const users = guest.tasks().filter(isUser);
    const flag = 1n << BigInt(TIF.CHECKPOINT);
    script(guest, [
      write32("checkpoint_policy", 1),
      write32("checkpoint_request", 1),
      ...users.map((t) => call("checkpoint_notify", t.va)),
      { until: () => guest.tasks().every((t) => (t.flags & flag) === 0n) },
    ]);
    expectUnharmed(guest);
  });

  test("a request can be made again at once, while tasks are still leaving", () => {
    const guest = boot();
    const round = (): readonly Step[] => [
      write32("checkpoint_request", 1),
      ...guest
        .tasks()
        .filter(isUser)
        .map((t) => call("checkpoint_notify", t.va)),
      { until: () => guest.tasks().filter(isUser).every(isQueued) },
      call("checkpoint_release"),
    ];
    script(guest, [...round(), ...round(), ...round()]);
    expectUnharmed(guest);
  });
});

describe("signals and cross calls", () => {
  test("fake signals restart the paced transfer and change no result", () => {
    const guest = boot();
    const steps = guest
      .tasks()
      .filter(isUser)
      .flatMap((t) => [call("send_fake_signal", t.va), call("set_notify_signal", t.va)]);
    script(guest, [...steps, { order: "idle", ticks: 1 }, ...steps]);
    expectUnharmed(guest);
  });

  test("smp_sync_cores returns on eight vCPUs", () => {
    const guest = boot(8);
    script(guest, [call("smp_sync_cores"), call("smp_sync_cores")]);
    expectUnharmed(guest);
  });
});

/** Loads the patch and fills in the tables that a redirection needs. */
function loadPatch(guest: Guest): void {
  const { patch, image, scenario } = built;
  if (patch === undefined) throw new Error("the scenario has no patch");
  for (const s of patch.segments) guest.machine.writePhys(s.pa, s.bytes);
  for (const site of patch.fentrySites) {
    guest.machine.write(site, Uint8Array.of(0x0f, 0x1f, 0x44, 0, 0));
  }
  // The structures lie behind the patch: a module on the list for its BUG table, and the functions for the handler.
  const room = symbolVa(image, "patch_room") + 0x8000n;
  const table = patch.sections.find((s) => s.name === "__bug_table");
  const list = fieldVa(MODULE, room, "list");
  const modules = symbolVa(image, "modules");
  guest.machine.write64(fieldVa(MODULE, room, "bug_table"), table?.va ?? 0n);
  guest.machine.write64(
    fieldVa(MODULE, room, "bug_table_end"),
    (table?.va ?? 0n) + BigInt(table?.size ?? 0),
  );
  for (const link of [list, modules]) {
    guest.machine.write64(link, link === list ? modules : list);
    guest.machine.write64(link + 8n, link === list ? modules : list);
  }
  let first = 0n;
  scenario.functions.forEach((f, i) => {
    const at = room + BigInt(MODULE.size + i * KPATCH_FUNC.size);
    guest.machine.write64(fieldVa(KPATCH_FUNC, at, "old_addr"), symbolVa(image, f));
    guest.machine.write64(fieldVa(KPATCH_FUNC, at, "new_addr"), symbolVa(patch, f));
    guest.machine.write64(fieldVa(KPATCH_FUNC, at, "next"), first);
    first = at;
  });
  guest.machine.write64(symbolVa(image, "kpatch_func_hash"), first);
}

function callInsn(from: bigint, to: bigint): Uint8Array {
  const bytes = new Uint8Array(5);
  bytes[0] = 0xe8;
  new DataView(bytes.buffer).setInt32(1, Number(to - from - 5n), true);
  return bytes;
}

const sites = (): readonly bigint[] =>
  built.scenario.functions.map((f) => symbolVa(built.image, f));

describe("redirection", () => {
  const gather = (guest: Guest): readonly Step[] => [
    write32("checkpoint_request", 1),
    ...guest
      .tasks()
      .filter(isUser)
      .map((t) => call("checkpoint_notify", t.va)),
    { until: () => guest.tasks().filter(isUser).every(isQueued) },
  ];
  const hook = (guest: Guest): void => {
    const caller = symbolVa(built.image, "ftrace_caller");
    for (const site of sites()) guest.machine.write(site, callInsn(site, caller));
    const at = symbolVa(built.image, "ftrace_call");
    guest.machine.write(at, callInsn(at, symbolVa(built.image, "kpatch_ftrace_handler")));
  };

  test("through ftrace_caller at quiescence, the new pair gives the same results", () => {
    const guest = boot();
    script(guest, [...gather(guest), loadPatch, hook, call("checkpoint_release")]);
    expectUnharmed(guest);
  });

  test("in the middle of a paced transfer it is the BUG that the scenario is about", () => {
    const guest = boot();
    script(guest, [
      loadPatch,
      hook,
      { until: () => guest.bugs.length > 0 },
      () => {
        guest.doneAt = 0;
      },
    ]);
    expect(guest.bugs).toEqual(["xfer: a chunk exceeds the limit of the device"]);
  });

  test("through the #BP handler, which emulates the call while int3 is at the site", () => {
    const guest = boot();
    let hits = 0;
    const poke = (g: Guest): void => {
      const vec = symbolVa(built.image, "tp_vec");
      const desc = symbolVa(built.image, "bp_desc");
      [...sites()]
        .sort((a, b) => (a < b ? -1 : 1))
        .forEach((site, i) => {
          const at = vec + BigInt(i * TEXT_POKE_LOC.size);
          g.machine.write64(fieldVa(TEXT_POKE_LOC, at, "addr"), site);
          g.machine.write64(
            fieldVa(TEXT_POKE_LOC, at, "target"),
            symbolVa(built.image, "ftrace_caller"),
          );
          g.machine.write(fieldVa(TEXT_POKE_LOC, at, "opcode"), Uint8Array.of(0xe8, 5));
        });
      g.machine.write32(fieldVa(BP_DESC, desc, "nr_entries"), sites().length);
      g.machine.write32(fieldVa(BP_DESC, desc, "refs"), 1);
      for (const site of sites()) g.machine.write(site, Uint8Array.of(0xcc));
      const at = symbolVa(built.image, "ftrace_call");
      g.machine.write(at, callInsn(at, symbolVa(built.image, "kpatch_ftrace_handler")));
      g.machine.watch({ kind: "entry", lo: symbolVa(built.image, "poke_int3_handler") });
    };
    script(guest, [
      ...gather(guest),
      loadPatch,
      poke,
      call("checkpoint_release"),
      { order: "idle", ticks: 12 },
      hook,
      call("smp_sync_cores"),
      (g) => {
        hits = g.machine.drainLog().length;
        const desc = symbolVa(built.image, "bp_desc");
        expect(readField(g.read, BP_DESC, desc, "refs")).toBe(1n);
        g.machine.write32(fieldVa(BP_DESC, desc, "refs"), 0);
      },
    ]);
    expect(hits).toBeGreaterThan(5);
    expectUnharmed(guest);
  });
});

// The kernel on the machine: it boots on one to eight vCPUs and runs the shipped workloads to their end.
import { beforeAll, describe, expect, test } from "vitest";
import { CONSTANTS, PT_REGS, readInactiveFrame, TASK_STATE } from "../../src/kernel/index.ts";
import { findSymbol, symbolAt } from "../../src/link/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { buildNamed } from "../scenario/files.ts";
import { Guest } from "./guest.ts";

describe("two-tasks", () => {
  let built: BuiltScenario;
  beforeAll(async () => {
    built = await buildNamed("two-tasks");
  });

  test.each([1, 2, 8])("two user tasks count to twenty on %i vCPUs", (vcpus) => {
    const guest = new Guest(built.image, { ramMiB: 32, vcpus });
    guest.runUntilDone(200_000);
    expect(guest.log).toEqual([]);
    expect([guest.word("first_count"), guest.word("second_count")]).toEqual([20n, 20n]);
    expect(guest.doneAt).toBeDefined();
    expect(guest.nrCpus).toBe(vcpus);
  });
});

describe("default", () => {
  let built: BuiltScenario;
  beforeAll(async () => {
    built = await buildNamed("default");
  });

  const boot = (vcpus: number, slice?: number): Guest =>
    new Guest(built.image, { ramMiB: 32, vcpus, ...(slice === undefined ? {} : { slice }) });
  const results = (guest: Guest): readonly bigint[] =>
    built.scenario.results.map((r) => guest.word(r));

  test("the results do not depend on the schedule or the number of vCPUs", () => {
    const runs = [boot(2), boot(2, 7), boot(1, 333), boot(4, 50)].map((guest) => {
      guest.runUntilDone(600_000);
      expect(guest.doneAt).toBeDefined();
      expect([guest.bugs, guest.log]).toEqual([[], []]);
      return results(guest);
    });
    for (const r of runs) expect(r).toEqual(runs[0]);
    expect(runs[0]?.[built.scenario.results.indexOf("wrong_results")]).toBe(0n);
  });

  test("a run from the ready mark takes 60,000 to 300,000 instructions", () => {
    const guest = boot(2);
    guest.runUntilDone(600_000);
    const insns = (guest.doneAt ?? 0) - (guest.readyAt ?? 0);
    expect(insns).toBeGreaterThan(60_000);
    expect(insns).toBeLessThan(300_000);
  });

  test("the paced task sleeps inside of xfer_submit right after the ready mark", () => {
    const guest = boot(2);
    guest.run(100_000, () => guest.readyAt !== undefined);
    guest.run(1500);
    const f = findSymbol(built.image, "xfer_submit");
    const inF = guest.tasks().filter((t) => {
      if (t.onCpu || f === undefined) return false;
      const words = new BigUint64Array(guest.read(t.sp, Number(t.stack.hi - t.sp)).slice().buffer);
      return words.some((w) => w > f.va && w < f.va + f.size);
    });
    expect(inF.map((t) => t.state)).toContain(TASK_STATE.INTERRUPTIBLE);
  });

  test("every frame chain of a sleeping task ends 16 bytes below its pt_regs", () => {
    const guest = boot(2);
    guest.run(100_000, () => guest.readyAt !== undefined);
    let walked = 0;
    for (let i = 0; i < 40; i++) {
      guest.run(997);
      for (const t of guest.tasks()) {
        if (t.onCpu) continue;
        let bp = readInactiveFrame(guest.read, t).bp;
        for (let depth = 0; bp !== t.ptRegsVa - 16n && (bp & 1n) === 0n && depth < 40; depth++) {
          expect(bp).toBeGreaterThan(t.sp);
          const [next = 0n, ret = 0n] = new BigUint64Array(guest.read(bp, 16).slice().buffer);
          expect(symbolAt(built.image, ret)).toBeDefined();
          bp = next;
        }
        // A preempted task has its interrupt's pt_regs on the way, a new one has nothing but them.
        if ((bp & 1n) === 0n) expect(bp).toBe(t.ptRegsVa - 16n);
        else expect(bp - 1n).toBeLessThanOrEqual(t.ptRegsVa);
        walked++;
      }
    }
    expect(walked).toBeGreaterThan(100);
  });

  test("a fault in user mode ends that task, and nobody else", () => {
    const guest = boot(2);
    guest.run(100_000, () => guest.readyAt !== undefined);
    const inUser = (): number => [0, 1].findIndex((cpu) => guest.machine.reg(cpu, "cpl") === 3n);
    guest.run(20_000, () => inUser() >= 0);
    const before = guest.tasks().length;
    guest.machine.setReg(inUser(), "rip", 0n);
    guest.run(5000);
    expect(guest.log).toEqual(["page fault"]);
    expect(guest.tasks().length).toBe(before - 1);
    expect(guest.bugs).toEqual([]);
  });

  test("a thousand slots with stacks of 4 KiB do", async () => {
    const small = await buildNamed("default", { tasks: 1000, threadSize: 4096 });
    const guest = new Guest(small.image, { ramMiB: 32, vcpus: 2 });
    guest.runUntilDone(4_000_000);
    expect(guest.doneAt).toBeDefined();
    expect(guest.bugs).toEqual([]);
  });

  test("an interrupted user task has its registers at the top of its stack", () => {
    const guest = boot(2);
    guest.run(100_000, () => guest.readyAt !== undefined);
    guest.run(20_000, () => guest.tasks().some((t) => !t.isKthread && !t.onCpu && t.onRq));
    const t = guest.tasks().find((x) => !x.isKthread && !x.onCpu && x.onRq);
    const at = (t?.ptRegsVa ?? 0n) + BigInt(PT_REGS.fields.CS.offset);
    expect(guest.read(at, 1)[0]).toBe(CONSTANTS.__USER_CS);
  });
});

// Patches on top of one another: the second one is of functions that the first one has patched already, under load. Who was
// not switched yet gets the variant below, never the original; the two come out again in order, or the second one alone stays.
import { beforeAll, describe, expect, it } from "vitest";
import { leftovers, takeInventory } from "../../src/check/index.ts";
import { currentTask, sleep, type Program } from "../../src/kernel/index.ts";
import { findSymbol, type Image } from "../../src/link/index.ts";
import { seededSchedule } from "../../src/machine/index.ts";
import {
  MECHANISMS,
  planPatch,
  type Mechanism,
  type Outcome,
  type Request,
} from "../../src/patch/index.ts";
import { isFlagged } from "../../src/patch/checkpoint.ts";
import { unloadModule } from "../../src/patch/module.ts";
import { loadScenario, type BuiltScenario } from "../../src/scenario/index.ts";
import { Kernel } from "../kernel/programs.ts";
import { anotherPatch, buildNamed, kernelFile } from "../scenario/files.ts";

const SEEN = 32n;
const TASKS = 8;
const TEXT = kernelFile("steady/patch.S") ?? "";
const LOCAL = /C_FUNC_START steady_local[^]*?SYM_FUNC_END steady_local\n/;

/** The patch of the scenario with another version in it: the load sees 0xVV. */
function version(v: number): string {
  return TEXT.replaceAll("$2,", `$${v},`).replace("$0x20", `$0x${v}0`).replace(LOCAL, "");
}

let built: BuiltScenario;
let second: Image;
beforeAll(async () => {
  const { sources } = loadScenario("steady", kernelFile);
  built = await buildNamed("steady", {
    sources: sources.map((s) => ({
      ...s,
      text: s.text
        .replaceAll(/(ROUNDS, )(\d+)/g, (_, set: string, n: string) => set + Number(n) * 40)
        .replace("	cmpq	$0x22, %rax\n	je	1f", "	cmpq	$0x22, %rax\n	je	1f\n	cmpq	$0x33, %rax\n	je	1f"),
    })),
  });
  second = await anotherPatch(built, "steady/second.S", version(3), built.patch);
});

function requests(): { first: Request; next: Request } {
  const { image, scenario, patch } = built;
  if (patch === undefined) throw new Error("steady has no patch");
  const of = (module: Image): Request => ({
    image,
    plan: planPatch(image, module),
    hz: scenario.hz,
    unwinder: "fp",
  });
  return { first: of(patch), next: of(second) };
}

/** What the tasks of the load were given last, once each has been served again, and how many mixtures there were in all. */
function given(k: Kernel): { last: readonly bigint[]; mixtures: bigint } {
  const seen = findSymbol(k.image, "seen")?.va ?? 0n;
  const word = (i: number, at: bigint): bigint =>
    k.session.machine.read64(seen + BigInt(i) * SEEN + at);
  const tasks = Array.from({ length: TASKS }, (_, i) => i);
  const before = tasks.map((i) => word(i, 0n));
  for (let n = 0; tasks.some((i) => word(i, 0n) < (before[i] ?? 0n) + 3n); n++) {
    if (n === 200) throw new Error("the load is not served");
    k.run(5000);
  }
  return {
    last: [...new Set(tasks.map((i) => word(i, 24n)))],
    mixtures: tasks.reduce((n, i) => n + word(i, 16n), 0n),
  };
}

function ask(k: Kernel, m: Mechanism, what: "enable" | "disable", request: Request): Outcome {
  for (let tries = 1; ; tries++) {
    const r = k.do(() => m[what](request), 40_000_000);
    // What looks at stacks may find one busy: the user tries again.
    if (r.result !== "refused" || !r.reason.startsWith("busy") || tries === 20) return r;
  }
}

function said(k: Kernel): readonly string[] {
  return k.session.agent.state().logs.map((l) => l.text);
}

const stacking = ["kpatch", "kgraft", "klp"].flatMap((n) => MECHANISMS[n] ?? []);
const cases = stacking.flatMap((m) => [1, 2, 4].map((vcpus) => [m.name, vcpus, m] as const));

describe.each(cases)("%s on %i vCPUs", (name, vcpus, m) => {
  it("stacks two patches under load, and takes them out in order: nothing is left", () => {
    const k = new Kernel(built, vcpus, vcpus);
    const { first, next } = requests();
    const text = k.session.text();
    const inventory = takeInventory(k.session);
    const now = (v: bigint): void => expect(given(k)).toEqual({ last: [v], mixtures: 0n });
    now(0x11n);
    expect(ask(k, m, "enable", first).result).toBe("applied");
    now(0x22n);
    expect(ask(k, m, "enable", next).result).toBe("applied");
    now(0x33n);
    expect(ask(k, m, "disable", next).result).toBe("applied");
    now(0x22n);
    expect(ask(k, m, "disable", first).result).toBe("applied");
    now(0x11n);
    expect(k.bugs()).toEqual([]);
    expect(k.session.text()).toEqual(text);
    expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
    expect(name).toBe(m.name);
  });

  it("replaces all others by the second one: what it does not patch is the original again", () => {
    const k = new Kernel(built, vcpus, vcpus + 10);
    const { first, next } = requests();
    const text = k.session.text();
    const inventory = takeInventory(k.session);
    const local = (): bigint => k.word("steady_local_last");
    expect(ask(k, m, "enable", first).result).toBe("applied");
    expect(given(k)).toEqual({ last: [0x22n], mixtures: 0n });
    expect(local()).toBe(2n);
    expect(ask(k, m, "enable", { ...next, replace: true }).result).toBe("applied");
    expect(given(k)).toEqual({ last: [0x33n], mixtures: 0n });
    expect(local()).toBe(1n);
    // The first one is in force no more, and its module may go at once.
    expect(k.do(() => unloadModule(k.image, first.plan))).toBe(0);
    expect(ask(k, m, "disable", next).result).toBe("applied");
    expect(given(k)).toEqual({ last: [0x11n], mixtures: 0n });
    expect(k.bugs()).toEqual([]);
    expect(k.session.text()).toEqual(text);
    // klp's first patch was the loader's, not this mechanism's to give back.
    const left = leftovers(inventory, takeInventory(k.session));
    expect(left).toEqual(name === "klp" ? ["objects of the slabs"] : []);
  });
});

describe("kgraft", () => {
  const [, m] = stacking;
  if (m === undefined) throw new Error("kgraft is gone");

  it("does not revert a patch that another one lies on: it says that it is still referenced", () => {
    const k = new Kernel(built);
    const { first, next } = requests();
    ask(k, m, "enable", first);
    ask(k, m, "enable", next);
    const text = k.session.text();
    const inventory = takeInventory(k.session);
    expect(ask(k, m, "disable", first)).toMatchObject({
      result: "refused",
      reason: "this patch is still referenced",
    });
    expect(said(k)).toEqual(["kgr: can't patch, this patch is still referenced"]);
    expect(k.session.text()).toEqual(text);
    expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
    expect(given(k)).toEqual({ last: [0x33n], mixtures: 0n });
  });

  it("says that it succeeded when nobody is in the slow stub any more: the next patch would send him to the original", () => {
    const k = new Kernel(built);
    const { session } = k;
    const { first, next } = requests();
    const patchd = session.tasks().find((t) => t.comm === "patchd")?.cpu ?? -1;
    let held: string | undefined;
    session.watch({ kind: "stop", lo: k.va("kgr_asks"), id: 1 });
    session.onStop = (_, vcpu) => {
      if (vcpu === patchd || held !== undefined || k.word("kgr_immutable", 4) !== 0n) return;
      if (session.tasks().some(isFlagged)) return;
      const task = currentTask(session.read, k.image, session.machine.reg(vcpu, "gs_base"));
      if (task.isKthread) return;
      held = task.comm;
      // It has read the state, and goes on when patchd's CPU has done this.
      const slices = Array.from({ length: 60 }, () => ({ vcpu: patchd, units: 1000 }));
      session.reschedule(seededSchedule(1, slices));
    };
    const both = function* (): Program<readonly Outcome[]> {
      const enable = m.enable(first);
      let r = enable.next();
      while (!r.done) {
        const isRest = r.value.op === "sleep";
        const answer = yield r.value;
        // Before it looks again everybody has passed, and one of them stands in the stub.
        for (let n = 0; isRest && held === undefined && n < 400; n++) yield* sleep(1);
        r = enable.next(answer);
      }
      return [r.value, yield* m.enable(next)];
    };
    expect(k.do(both, 40_000_000).map((r) => r.result)).toEqual(["applied", "applied"]);
    expect(["worker", "sleeper"]).toContain(held);
    expect(given(k)).toEqual({ last: [0x33n], mixtures: 0n });
  });

  it("sends nobody back to what it has dropped, however slowly it replaces all others", () => {
    const k = new Kernel(built);
    const { first, next } = requests();
    const local = first.plan.functions.find((f) => f.name === "steady_local");
    if (local === undefined) throw new Error("the first patch has no steady_local");
    ask(k, m, "enable", first);
    k.session.watch({ kind: "entry", lo: local.bodyVa, id: 1 });
    k.session.watch({ kind: "entry", lo: local.newBodyVa, id: 2 });
    const from = k.session.events().records.length;
    const program = function* (): Program<Outcome> {
      const enable = m.enable({ ...next, replace: true });
      let r = enable.next();
      while (!r.done) {
        const isWrite = r.value.op === "write";
        const answer = yield r.value;
        if (isWrite) yield* sleep(2);
        r = enable.next(answer);
      }
      return r.value;
    };
    expect(k.do(program, 40_000_000).result).toBe("applied");
    const ids = k.session
      .events()
      .records.slice(from)
      .map((r) => r.id);
    const firstOld = ids.indexOf(1);
    expect(firstOld).toBeGreaterThan(0);
    expect(ids.slice(firstOld).filter((id) => id === 2)).toEqual([]);
    expect(given(k)).toEqual({ last: [0x33n], mixtures: 0n });
  });

  it("gives a task that is in progress the variant below, from the first patch, never the original", () => {
    const k = new Kernel(built);
    const { first, next } = requests();
    ask(k, m, "enable", first);
    given(k);
    const { functions } = first.plan;
    const site = (name: string, body: bigint): number =>
      k.session.watch({ kind: "entry", lo: body, id: name === "old" ? 1 : 2 });
    for (const f of functions) {
      if (f.name === "steady_local") continue;
      site("old", f.bodyVa);
      site("below", f.newBodyVa);
    }
    const from = k.session.events().records.length;
    ask(k, m, "enable", next);
    const ids = k.session
      .events()
      .records.slice(from)
      .map((r) => r.id);
    expect(ids.filter((id) => id === 2).length).toBeGreaterThan(0);
    expect(ids.filter((id) => id === 1)).toEqual([]);
  });
});

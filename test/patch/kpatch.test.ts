// kpatch's own rules: what an NMI meets in each phase of a change, and where a new function is entered. The patch is of the
// NMI handler itself: it counts in thousands, so that every NMI says which variant it went through. Nobody else is in the way
// of a try: the one task of the load sleeps, and the machine is stopped right behind a tick, so that none preempts patchd meanwhile.
import { beforeAll, describe, expect, it } from "vitest";
import { leftovers, takeInventory } from "../../src/check/index.ts";
import {
  CONSTANTS,
  PERCPU,
  perCpuVa,
  readUint,
  sleep,
  symbolVa,
  type Step,
} from "../../src/kernel/index.ts";
import {
  MECHANISMS,
  planPatch,
  type Mechanism,
  type Outcome,
  type Request,
} from "../../src/patch/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { buildAsleep } from "../kernel/asleep.ts";
import { Kernel } from "../kernel/programs.ts";

const { KPATCH_STATE_SUCCESS: SUCCESS } = CONSTANTS;
const THOUSAND = 0x1000n;

/** entry: what the new handler begins with. */
function patch(entry: string): string {
  return `
	.include "kernel.inc"
	.text
SYM_FUNC_START default_do_nmi
${entry}
	FRAME_BEGIN
	addq	$${THOUSAND}, %gs:nmi_count
	FRAME_END
	ret
SYM_FUNC_END default_do_nmi
`;
}

/** What is executed from one tick to the next: much more than a try of kpatch. */
const TICK = 40_000;

function asleep(entry: string): Promise<BuiltScenario> {
  return buildAsleep(patch(entry), ["default_do_nmi"], { tickInsns: TICK });
}

let built: BuiltScenario;
let tracked: BuiltScenario;
let bare: BuiltScenario;
beforeAll(async () => {
  built = await asleep("	FENTRY");
  tracked = await asleep("	endbr64\n	FENTRY");
  bare = await asleep("");
});

const found = MECHANISMS["kpatch"];
if (found === undefined) throw new Error("kpatch is gone");
const kpatch: Mechanism = found;

function requestOf(k: Kernel, from = built): Request {
  const { patch: module, image, scenario } = from;
  if (module === undefined) throw new Error("no patch");
  return { image, plan: planPatch(image, module), hz: scenario.hz, unwinder: "fp" };
}

function nmiCount(k: Kernel): bigint {
  const va = perCpuVa(k.image, 0) + BigInt(PERCPU.fields.nmi_count.offset);
  return readUint(k.session.read, va, 8);
}

/** What an NMI counts now. */
function nmi(k: Kernel): bigint {
  const before = nmiCount(k);
  k.session.machine.nmi(0);
  k.run(2000);
  return nmiCount(k) - before;
}

/** The phases of a change, by the step that is about to be carried out: the NMI comes right behind it. */
type Phase =
  | "before the state is written"
  | "updating, before the machine is stopped"
  | "while the stacks are checked"
  | "with the functions in the hash"
  | "after the state said success"
  | "after the state is idle again";

function phaseOf(k: Kernel): (step: Step) => Phase | undefined {
  const state = symbolVa(k.image, "kpatch_state");
  const head = symbolVa(k.image, "kpatch_func_hash");
  let isUpdating = false;
  let isHooked = false;
  return (step) => {
    if (step.op === "call" && step.fn === "mutex_unlock") isHooked = true;
    if (step.op === "write" && step.va === state) {
      isUpdating = step.bytes[0] === 1;
      return isUpdating
        ? "updating, before the machine is stopped"
        : "after the state is idle again";
    }
    if (step.op === "look" && step.under === "stop_machine") return "while the stacks are checked";
    // The rollback writes 0 there.
    if (step.op === "write" && step.va === head && isUpdating && step.bytes.some((b) => b !== 0))
      return "with the functions in the hash";
    // A try that failed says so in the same way.
    if (step.op === "cmpxchg" && step.va === state && step.to === SUCCESS) {
      return "after the state said success";
    }
    if (step.op === "write" && step.bytes.length === 4 && isHooked && !isUpdating) {
      return "before the state is written";
    }
    return undefined;
  };
}

interface Interrupted {
  readonly outcome: Outcome;
  /** What each NMI counted: 1 in the old variant. */
  readonly counted: readonly bigint[];
  readonly said: readonly string[];
  /** How often the machine was stopped. */
  readonly tries: number;
}

/** Enables or disables with an NMI in a phase of the first `times` tries. */
function interrupted(
  k: Kernel,
  what: "enable" | "disable",
  phase: Phase,
  times: number,
): Interrupted {
  const counted: bigint[] = [];
  const request = requestOf(k);
  let tries = 0;
  const outcome = k.do(function* () {
    const program = kpatch[what](request);
    const name = phaseOf(k);
    let nr = 0;
    let before: bigint | undefined;
    let r = program.next();
    while (!r.done) {
      if (r.value.op === "stop") {
        tries++;
        yield* sleep(1);
      }
      if (before !== undefined && nmiCount(k) !== before) {
        counted.push(nmiCount(k) - before);
        before = undefined;
      }
      if (name(r.value) === phase && nr < times && before === undefined) {
        nr++;
        before = nmiCount(k);
        k.session.machine.nmi(0);
      }
      r = program.next(yield r.value);
    }
    if (before !== undefined && nmiCount(k) !== before) counted.push(nmiCount(k) - before);
    return r.value;
  });
  expect(k.bugs()).toEqual([]);
  return { outcome, counted, said: k.session.agent.state().logs.map((l) => l.text), tries };
}

const FAILED = "kpatch: NMI activeness safety check failed";
const WHILE_UPDATING = [
  "updating, before the machine is stopped",
  "while the stacks are checked",
  "with the functions in the hash",
] as const;

describe("an NMI through a function that is being patched", () => {
  it("goes through the old one before the state is written, and stops nothing", () => {
    const k = new Kernel(built);
    const r = interrupted(k, "enable", "before the state is written", 1);
    expect(r.outcome.result).toBe("applied");
    expect(r.counted).toEqual([1n]);
    expect(r.said).not.toContain(FAILED);
    expect(nmi(k)).toBe(THOUSAND);
  });

  it.each(WHILE_UPDATING)(
    "%s: it takes the old one and the try fails; the next one succeeds",
    (phase) => {
      const k = new Kernel(built);
      const r = interrupted(k, "enable", phase, 1);
      expect(r.counted).toEqual([1n]);
      expect(r.tries).toBe(2);
      expect(r.said.filter((l) => l === FAILED)).toHaveLength(1);
      expect(r.outcome.result).toBe("applied");
      expect(nmi(k)).toBe(THOUSAND);
    },
  );

  it.each(WHILE_UPDATING)("%s, in each try: refused, with nothing left behind", (phase) => {
    const k = new Kernel(built);
    const text = k.session.text();
    const inventory = takeInventory(k.session);
    const r = interrupted(k, "enable", phase, 5);
    expect(r.tries).toBe(5);
    expect(r.counted).toEqual([1n, 1n, 1n, 1n, 1n]);
    const why = k.session.agent.state().progress.map((p) => p.outcome.reason);
    expect(why).toEqual(Array.from({ length: 5 }, () => "an NMI came in an attempt"));
    expect(r.said.filter((l) => l === FAILED)).toHaveLength(5);
    expect(r.outcome).toMatchObject({
      result: "refused",
      reason: "an NMI went through a function in the last of 5 attempts",
    });
    expect(k.session.text()).toEqual(text);
    expect(leftovers(inventory, takeInventory(k.session))).toEqual([]);
    expect(nmi(k)).toBe(1n);
  });

  it.each(["after the state said success", "after the state is idle again"] as const)(
    "%s: it takes the new one",
    (phase) => {
      const k = new Kernel(built);
      const r = interrupted(k, "enable", phase, 1);
      expect(r.outcome.result).toBe("applied");
      expect(r.said).not.toContain(FAILED);
      expect(r.counted).toEqual([THOUSAND]);
    },
  );
});

describe("an NMI through a function that is being unpatched", () => {
  function patched(): Kernel {
    const k = new Kernel(built);
    expect(k.do(() => kpatch.enable(requestOf(k))).result).toBe("applied");
    return k;
  }

  it.each(["updating, before the machine is stopped", "while the stacks are checked"] as const)(
    "%s: it takes the new one and the try fails; the next one succeeds",
    (phase) => {
      const k = patched();
      const r = interrupted(k, "disable", phase, 1);
      expect(r.counted).toEqual([THOUSAND]);
      // The core module says nothing of it here: the caller gets -EBUSY.
      expect(r.said).not.toContain(FAILED);
      expect(r.tries).toBe(2);
      expect(r.outcome.result).toBe("applied");
      expect(nmi(k)).toBe(1n);
    },
  );

  it("while it is being checked, in each try: refused, and the patch stays in force", () => {
    const k = patched();
    const text = k.session.text();
    const r = interrupted(k, "disable", "while the stacks are checked", 5);
    expect(r.tries).toBe(5);
    expect(r.counted).toEqual(Array.from({ length: 5 }, () => THOUSAND));
    expect(r.outcome.result).toBe("refused");
    expect(k.session.text()).toEqual(text);
    expect(nmi(k)).toBe(THOUSAND);
  });

  it("after the state said success, the function still in the hash: it takes the one of before", () => {
    const k = patched();
    const r = interrupted(k, "disable", "after the state said success", 1);
    expect(r.outcome.result).toBe("applied");
    expect(r.tries).toBe(1);
    expect(r.counted).toEqual([1n]);
    expect(r.said).not.toContain(FAILED);
  });
});

describe("the new function", () => {
  it("is entered behind its own fentry", () => {
    const k = new Kernel(built);
    const [f] = requestOf(k).plan.functions;
    if (f === undefined) throw new Error("no function");
    k.do(() => kpatch.enable(requestOf(k)));
    k.session.watch({ kind: "entry", lo: f.newVa, id: 1 });
    k.session.watch({ kind: "entry", lo: f.newVa + 5n, id: 2 });
    const from = k.session.events().records.length;
    expect(nmi(k)).toBe(THOUSAND);
    const ids = k.session
      .events()
      .records.slice(from)
      .map((r) => r.id);
    expect(ids).toEqual([2]);
  });

  it("that begins with endbr64 is entered in the middle of its fentry: the kernel dies of it", () => {
    const k = new Kernel(tracked);
    const request = requestOf(k, tracked);
    expect(k.do(() => kpatch.enable(request)).result).toBe("applied");
    k.session.machine.nmi(0);
    k.run(2000);
    const [bug] = k.session.events().bugs;
    const newVa = request.plan.functions[0]?.newVa ?? 0n;
    expect(bug).toMatchObject({ kind: "panic", message: "invalid opcode", ip: newVa + 5n });
  });

  it("without a fentry is refused, as it is when the patch is built", () => {
    const k = new Kernel(bare);
    const before = takeInventory(k.session);
    expect(k.do(() => kpatch.enable(requestOf(k, bare)))).toMatchObject({
      result: "refused",
      reason: "default_do_nmi: the new function has no fentry to enter it behind",
    });
    expect(leftovers(before, takeInventory(k.session))).toEqual([]);
  });
});

// What makes a stack's truth hard to know, as small programs in the kernel: each against the independent model at every
// instruction, with and without an NMI before every one of them, and against what a person says is on the stack.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { CONSTANTS } from "../../src/kernel/index.ts";
import { formatAddress } from "../../src/link/index.ts";
import { trueStackOf } from "../../src/machine/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { buildNamed, kernelFile } from "../scenario/files.ts";
import { loadScenario } from "../../src/scenario/index.ts";
import { Model, type Planted } from "./model.ts";
import { Stepper } from "./stepper.ts";

/** Each case with its labels, and the callers that are on the stack there besides patchd's own. */
const CASES: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  case_getpc: { at_getpc: [] },
  case_rewind: {
    at_unwound: ["rewind_outer", "case_rewind"],
    at_rewound: [],
  },
  case_dead_slots: { at_dead_slots: [] },
  case_dropped: {
    at_pop: [],
    at_popped: [],
    at_add: [],
    at_added: [],
    in_lea: [],
    at_lea: [],
    at_args: [],
  },
  case_leave: { at_left: [] },
  case_fgraph: { at_graphed: ["after_graphed"], at_handler: [] },
  case_kretprobe: { at_probed: ["after_probed"] },
  case_emulated: { at_emulated: ["after_poked"] },
  case_retpoline: { at_thunk: ["after_thunk"], at_leaf2: ["after_thunk"] },
  case_reuse: { at_reuse: ["kthread", "ret_from_fork", "ret_from_fork_asm"] },
};
const NAMES = Object.keys(CASES);

let built: BuiltScenario;
beforeAll(async () => {
  const { sources } = loadScenario("two-tasks", kernelFile);
  const text = readFileSync(join(import.meta.dirname, "cases.S"), "utf8");
  // Ticks far apart: the timer's interrupt, with an NMI before each of its instructions, has to end before the next.
  built = await buildNamed("two-tasks", {
    tickInsns: 100_000,
    sources: [...sources, { name: "cases.S", text }],
  });
});

interface Played {
  /** Callers at each label that was reached, once for each time. */
  readonly seen: Readonly<Record<string, readonly string[]>>;
  readonly nmis: number;
  readonly compared: number;
}

function play(name: string, withNmis: boolean, planted: Planted = "none"): Played {
  let begun = false;
  let ended = false;
  const s: Stepper = new Stepper(built, {
    vcpus: 1,
    seed: 1,
    script: () => {
      ended = begun;
      // The thread that comes and goes has the machine for itself, or the NMIs would take long.
      if (begun || (name === "case_reuse" && !s.isDone)) return undefined;
      begun = true;
      return name;
    },
  });
  const m = s.machine;
  const trampolines = new Set([
    s.symbol("case_return_to_handler"),
    s.symbol("__kretprobe_trampoline"),
  ]);
  const model = new Model(s, planted, trampolines);
  const labels = new Map(
    Object.keys(CASES[name] ?? {}).map((label) => [s.symbol(label), label] as const),
  );
  const ist = s.symbol("exception_stacks");
  const tasks = s.symbol("task_stacks") + BigInt(CONSTANTS.NR_CPUS * built.scenario.threadSize);
  /** Not inside of an NMI; and where a case takes many ticks, only on stacks of tasks that are not idle. */
  const mayInject = (rsp: bigint): boolean =>
    name === "case_reuse" ? rsp > tasks : rsp < ist || rsp > ist + 8192n;
  const seen: Record<string, string[]> = {};
  let due = true;
  let nmis = 0;
  s.run(
    2_000_000,
    {
      before(vcpu) {
        if (withNmis && begun && !m.halted(vcpu) && mayInject(s.rsp(vcpu))) {
          if (due) {
            m.nmi(vcpu);
            nmis++;
          }
          due = !due;
        }
        const label = labels.get(s.rip(vcpu));
        if (label !== undefined && seen[label] === undefined) {
          seen[label] = [];
          for (const f of trueStackOf(m, vcpu, trampolines)?.frames ?? []) {
            const symbol = formatAddress(built.image, f.ret).replace(/\+.*/, "");
            if (symbol === "patch_call") break;
            seen[label].push(symbol);
          }
        }
        model.before(vcpu);
      },
      after: (vcpu) => model.after(vcpu),
    },
    () => ended,
  );
  expect(ended).toBe(true);
  return { seen, nmis, compared: model.compared };
}

describe.each(NAMES)("%s", (name) => {
  test("has the callers at its labels that it should have, and the model's everywhere", () => {
    expect(play(name, false).seen).toEqual(CASES[name]);
  });

  test("has them with an NMI before every instruction too", () => {
    const { seen, nmis } = play(name, true);
    expect(seen).toEqual(CASES[name]);
    expect(nmis).toBeGreaterThan(5);
  });
});

describe("a difference is seen when the model", () => {
  test.each<readonly [Planted, string]>([
    ["keeps what pop leaves", "case_dropped"],
    ["keeps what add and lea leave", "case_dropped"],
    ["counts get-pc", "case_getpc"],
    ["forgets stored frames", "case_emulated"],
    ["forgets stored frames", "case_reuse"],
    ["keeps what ret leaves", "case_dead_slots"],
  ])("%s in %s", (planted, name) => {
    expect(() => play(name, false, planted)).toThrow(/running stack|stack [0-9a-f]+/);
  });
});

// A scenario ready to be patched again and again: booted once, with a snapshot at its ready mark, the text and the
// results that an unpatched run has, and the watches that the checks need. Everything later starts from the snapshot.
import { readResults, watchPlan } from "../check/index.ts";
import { seededSchedule } from "../machine/index.ts";
import {
  planPatch,
  Session,
  type PatchPlan,
  type Request,
  type SessionSnapshot,
  type UnwinderName,
} from "../patch/index.ts";
import { ScenarioError, type BuiltScenario } from "../scenario/index.ts";

/** Instructions within which a scenario must come to its ready mark. */
const READY_BUDGET = 20_000_000;
const READY_INSNS_PER_TASK = 20_000;
/** The schedule until the ready mark is always the same: `insn` means the same for every seed. */
const BOOT_SEED = 1;

/** What an unpatched run gives, counted from the ready mark. */
export interface Baseline {
  readonly insns: number;
  readonly results: Readonly<Record<string, bigint>>;
}

export interface Prepared {
  readonly built: BuiltScenario;
  readonly plan: PatchPlan;
  readonly session: Session;
  readonly ready: SessionSnapshot;
  readonly readyAt: number;
  /** What a mechanism is told. */
  readonly request: Request;
  /** The kernel's text before anything is patched. */
  readonly pristine: Uint8Array;
  readonly baseline: Baseline;
}

/** The guest went on for its whole budget: where, how many instructions, what was expected of it. */
export class BudgetError extends Error {
  override name = "BudgetError";
  constructor(scenario: string, insns: number, expected: string) {
    super(`${scenario}: still going after ${insns} instructions, expected ${expected}`);
  }
}

/**
 * Boots a scenario to its ready mark and runs it once without a patch.
 *
 * throws  ScenarioError: no patch, a guest that fails; BudgetError: never ready, or not done, within the budget;
 *         PatchError: the patch does not fit
 */
export function prepare(
  built: BuiltScenario,
  core: WebAssembly.Module,
  options: { readonly nrVcpus?: number; readonly unwinder?: UnwinderName } = {},
): Prepared {
  const { scenario, image, patch } = built;
  if (patch === undefined) throw new ScenarioError(`${scenario.name}: no patch, expected one`);
  const plan = planPatch(image, patch, { name: scenario.patch?.module });
  const session = new Session({
    core,
    image,
    ramBytes: scenario.ramMiB << 20,
    nrVcpus: options.nrVcpus ?? scenario.vcpus,
    schedule: seededSchedule(BOOT_SEED),
  });
  const stops = new Set(["ready", "bug"] as const);
  const readyBudget = READY_BUDGET + scenario.tasks * READY_INSNS_PER_TASK;
  const booted = session.run(readyBudget, stops);
  if (booted !== "ready") {
    const said = session.events().bugs[0]?.message ?? booted;
    if (booted === "insns") throw new BudgetError(scenario.name, readyBudget, "the ready mark");
    throw new ScenarioError(`${scenario.name}: ${said}, expected the ready mark`);
  }
  const ready = session.snapshot();
  const readyAt = session.machine.retired;
  const pristine = session.text();
  session.reschedule(seededSchedule(BOOT_SEED));
  const ended = session.run(readyAt + scenario.budgetInsns, new Set(["done", "bug"]));
  if (ended === "insns") throw new BudgetError(scenario.name, scenario.budgetInsns, "an end");
  if (ended !== "done") {
    const said = session.events().bugs[0]?.message ?? ended;
    throw new ScenarioError(
      `${scenario.name}: ${said}, expected an unpatched run to be done within ${scenario.budgetInsns} instructions`,
    );
  }
  const baseline: Baseline = {
    insns: session.machine.retired - readyAt,
    results: readResults(session, scenario.results),
  };
  session.restore(ready);
  watchPlan(session, plan);
  const request: Request = { image, plan, hz: scenario.hz, unwinder: options.unwinder ?? "fp" };
  return { built, plan, session, ready, readyAt, pristine, baseline, request };
}

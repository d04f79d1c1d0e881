// The protocol of a patch, again and again on one running kernel: before, patched, unpatched. What was entered in each phase
// is counted from the call log, and what is left when the patch is out is compared with what there was before it.
import {
  judge,
  leftovers,
  observe,
  readResults,
  takeInventory,
  type Verdict,
} from "../check/index.ts";
import { seededSchedule } from "../machine/index.ts";
import { jobOf, type Mechanism, type Outcome } from "../patch/index.ts";
import type { Prepared } from "./prepare.ts";

/** How to go. entries: how often each patched function is entered before a phase ends; tries: of each request. */
export interface ProtocolSpec {
  readonly seed: number;
  readonly rounds: number;
  readonly entries?: number;
  readonly tries?: number;
}

/** Activations of each patched function in a phase, in the plan's order. */
export interface Entered {
  readonly old: readonly number[];
  readonly new: readonly number[];
}

/**
 * enable, disable  the outcomes of all tries; the last one is what it came to, undefined when the budget ended first
 * changed          bytes of kernel text that differ when the patch is out; at a refusal of enable also then
 * left             what else is not as it was, by name
 * verdicts         of the run from each try to its outcome: of those to enable, then of those to disable
 */
export interface ProtocolRound {
  readonly before: Entered;
  readonly enable: readonly (Outcome | undefined)[];
  readonly verdicts: readonly Verdict[];
  readonly patched: Entered;
  readonly disable: readonly (Outcome | undefined)[];
  readonly after: Entered;
  readonly changed: number;
  readonly left: readonly string[];
}

export interface ProtocolRun {
  readonly rounds: readonly ProtocolRound[];
  /** The load was still there when the last round ended; without one the rounds say little. */
  readonly wasLoaded: boolean;
  readonly bugs: readonly string[];
  readonly isDone: boolean;
  readonly results: Readonly<Record<string, bigint>>;
}

const STEP = 20_000;
const STOPS = new Set(["bug", "done", "outcome"] as const);

class Guest {
  readonly #p: Prepared;
  readonly #limit: number;
  isDone = false;
  #from = 0;

  constructor(p: Prepared) {
    this.#p = p;
    this.#limit = p.readyAt + p.built.scenario.budgetInsns;
  }

  get isOver(): boolean {
    const { session } = this.#p;
    return session.events().bugs.length > 0 || session.machine.retired >= this.#limit;
  }

  /** A phase begins here. */
  begin(): void {
    this.#from = this.#p.session.events().records.length;
  }

  entered(): Entered {
    const { session, plan } = this.#p;
    const all = session.events().records.slice(this.#from);
    const at = (va: bigint): number => all.filter((r) => r.rip === va).length;
    return {
      old: plan.functions.map((f) => at(f.bodyVa)),
      new: plan.functions.map((f) => at(f.newBodyVa)),
    };
  }

  /** Runs on by a little, or to an outcome. */
  step(): void {
    const { session } = this.#p;
    const stop = session.run(Math.min(this.#limit, session.machine.retired + STEP), STOPS);
    if (stop === "done") this.isDone = true;
  }

  /** Runs until each function was entered so often, or the load is gone. */
  phase(least: number): Entered {
    this.begin();
    let e = this.entered();
    while (!this.isDone && !this.isOver && e.old.some((n, i) => n + (e.new[i] ?? 0) < least)) {
      this.step();
      e = this.entered();
    }
    return e;
  }

  ask(mechanism: Mechanism, what: "enable" | "disable"): Outcome | undefined {
    const { session, request } = this.#p;
    session.request(jobOf(mechanism, request, what));
    while (session.agent.outcome === undefined && !this.isOver) this.step();
    return session.agent.outcome;
  }
}

function changedText(p: Prepared): number {
  const now = p.session.text();
  return p.pristine.reduce((n, byte, i) => n + (now[i] === byte ? 0 : 1), 0);
}

function askOnce(
  p: Prepared,
  guest: Guest,
  mechanism: Mechanism,
  what: "enable" | "disable",
): [Outcome | undefined, Verdict] {
  const observed = observe(p.session, {
    scenario: p.built.scenario.name,
    mechanism: mechanism.name,
    plan: p.plan,
    from: what === "enable" ? "old" : "new",
    readyAt: p.readyAt,
    budgetInsns: p.built.scenario.budgetInsns,
    resultSymbols: [],
    expected: {},
    pristine: p.session.text(),
  });
  const outcome = guest.ask(mechanism, what);
  return [outcome, judge(observed.finish("limit"))];
}

function oneRound(
  p: Prepared,
  guest: Guest,
  mechanism: Mechanism,
  { entries = 3, tries = 8 }: ProtocolSpec,
): ProtocolRound {
  const before = guest.phase(entries);
  const inventory = takeInventory(p.session);
  const enable: (Outcome | undefined)[] = [];
  const verdicts: Verdict[] = [];
  let changed = 0;
  while (enable.length < tries && enable.at(-1)?.result !== "applied" && !guest.isOver) {
    const [outcome, verdict] = askOnce(p, guest, mechanism, "enable");
    enable.push(outcome);
    verdicts.push(verdict);
    if (outcome?.result === "refused") changed += changedText(p);
  }
  const patched = guest.phase(entries);
  const disable: (Outcome | undefined)[] = [];
  while (disable.length < tries && disable.at(-1)?.result !== "applied" && !guest.isOver) {
    const [outcome, verdict] = askOnce(p, guest, mechanism, "disable");
    disable.push(outcome);
    verdicts.push(verdict);
  }
  const after = guest.phase(entries);
  changed += changedText(p);
  const left = leftovers(inventory, takeInventory(p.session));
  return { before, enable, verdicts, patched, disable, after, changed, left };
}

/**
 * Patches and unpatches a scenario's kernel under its load, and lets the load end. The load has to be long enough
 * for all rounds; a scenario that does no harm in any mixture is needed for a mechanism that mixes.
 */
export function runProtocol(p: Prepared, mechanism: Mechanism, spec: ProtocolSpec): ProtocolRun {
  const { session } = p;
  session.restore(p.ready);
  session.reschedule(seededSchedule(spec.seed));
  const guest = new Guest(p);
  const rounds: ProtocolRound[] = [];
  for (let i = 0; i < spec.rounds && !guest.isOver; i++) {
    rounds.push(oneRound(p, guest, mechanism, spec));
  }
  const wasLoaded = !guest.isDone;
  while (!guest.isDone && !guest.isOver) guest.step();
  return {
    rounds,
    wasLoaded,
    bugs: session.events().bugs.map((b) => `${b.comm}: ${b.message}`),
    isDone: guest.isDone,
    results: readResults(session, p.built.scenario.results),
  };
}

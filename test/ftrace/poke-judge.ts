// Judges executions of instructions that are being replaced, from outside: from the log of what each stack executed in and
// behind the sites, and the moments between which each site was poked. Before a poke an execution does what the old
// instruction does, behind it what the new one does, and in between either of the two, or an int3 whose handler does what
// the new one does; and a vCPU that has seen the int3 or the new one does not see the old one again. It knows nothing of
// phases, of cores that are synchronised, or of what the kernel keeps.
import type { LogRecord } from "../../src/machine/index.ts";
import type { Outcome, Site } from "./poke-sites.ts";

/** stale: the old one when the poke was over; torn: neither of the two; backwards: the old one after the new one;
 *  unhandled: an int3 that is no site's, or whose handler did not do what the new one does; lost: a call that did not
 *  return behind its site. */
export type Wrong = "stale" | "torn" | "backwards" | "unhandled" | "lost";

export interface Violation {
  readonly what: Wrong;
  readonly site: string;
  readonly insn: number;
  readonly vcpu: number;
  readonly text: string;
}

/** The stack areas of a kernel; `of` answers a number for each stack, and what runs on it. */
export interface Stacks {
  of(sp: bigint): { readonly id: number; readonly kind: Where };
}
export type Where = "task" | "irq" | "nmi";

/** What the judge counts beside what is wrong. */
export interface Counts {
  executions: number;
  /** Sites that were replaced. */
  pokes: number;
  /** Executions while their site was poked, by what they did without an int3. */
  old: number;
  fresh: number;
  /** Of a site's int3, by what runs on that stack. */
  readonly int3: Record<Where, number>;
  /** Of those, in a NMI that came while its vCPU handled a site's int3. */
  inInt3: number;
  /** Of an int3 of a probe. */
  probes: number;
}

/** Identities of the watches whose records the judge takes. */
export const WATCH_SITES = 1;
export const WATCH_INT3 = 2;
/** Where an int3 of a probe stands, or of a probe's slot: what it does is no business of this judge. */
export const WATCH_PROBE = 3;

interface Poke {
  readonly from: number;
  readonly to: number;
  /** vCPUs that have seen an int3 or the new instruction. */
  seen: number;
}

interface State {
  readonly site: Site;
  now: number;
  poke: Poke | undefined;
}

/** An execution whose outcome is not known yet, or a call that has not returned. record: of the site, or of the callee. */
interface Open {
  readonly state: State;
  readonly sp: bigint;
  readonly record: LogRecord;
  readonly poke: Poke | undefined;
  readonly now: number;
  viaInt3: boolean;
  /** Where the callee of this call has to return to. */
  returnsTo: bigint | undefined;
}

type Event =
  | { readonly kind: "begin"; readonly insn: number; readonly state: State; readonly to: number }
  | { readonly kind: "end"; readonly insn: number };

/** What lies deeper than this on the same stack is another context: a trap's, an interrupt's. */
const NESTED = 128n;

export class PokeJudge {
  readonly violations: Violation[] = [];
  readonly counts: Counts = {
    executions: 0,
    pokes: 0,
    old: 0,
    fresh: 0,
    int3: { task: 0, irq: 0, nmi: 0 },
    inInt3: 0,
    probes: 0,
  };
  readonly #states = new Map<bigint, State>();
  readonly #stacks: Stacks;
  readonly #open = new Map<number, Open[]>();
  /** By stack: where rsp was at a probe's int3. */
  readonly #probes = new Map<number, bigint>();
  #events: Event[] = [];
  #active: State[] = [];

  constructor(sites: readonly Site[], stacks: Stacks, variants?: ReadonlyMap<bigint, number>) {
    for (const site of sites) {
      this.#states.set(site.va, { site, now: variants?.get(site.va) ?? 0, poke: undefined });
    }
    this.#stacks = stacks;
  }

  /** The first byte of a site has been written for a poke to variant `to`. */
  begin(insn: number, va: bigint, to: number): void {
    const state = this.#states.get(va);
    if (state === undefined) throw new Error(`no site at 0x${va.toString(16)}`);
    this.#events.push({ kind: "begin", insn, state, to });
  }

  /** The pokes that have begun are over, for whoever asked for them. */
  end(insn: number): void {
    this.#events.push({ kind: "end", insn });
  }

  /** Takes the log, in order. An event counts before a record of the same number. */
  feed(records: readonly LogRecord[]): void {
    let next = 0;
    for (const r of records) {
      for (
        let e = this.#events[next];
        e !== undefined && e.insn <= r.insn;
        e = this.#events[++next]
      ) {
        this.#apply(e);
      }
      this.#take(r);
    }
    this.#events = this.#events.slice(next);
  }

  /** A trap that the kernel had no answer to. */
  bug(insn: number, vcpu: number, message: string, ip: bigint): void {
    const at = [...this.#states.values()].find(
      ({ site }) => ip >= site.va && ip <= site.va + BigInt(site.len),
    );
    const isInt3 = message === "int3";
    this.violations.push({
      what: isInt3 ? "unhandled" : "torn",
      site: at?.site.name ?? `0x${ip.toString(16)}`,
      insn,
      vcpu,
      text: message,
    });
  }

  /** What each site should be made of now. */
  variants(): ReadonlyMap<bigint, number> {
    return new Map([...this.#states].map(([va, s]) => [va, s.poke?.to ?? s.now]));
  }

  #apply(e: Event): void {
    if (e.kind === "begin") {
      e.state.poke = { from: e.state.now, to: e.to, seen: 0 };
      this.#active.push(e.state);
      return;
    }
    for (const s of this.#active) {
      if (s.poke === undefined) continue;
      s.now = s.poke.to;
      s.poke = undefined;
      this.counts.pokes++;
    }
    this.#active = [];
  }

  #take(r: LogRecord): void {
    const stack = this.#stacks.of(r.rsp);
    let open = this.#open.get(stack.id);
    if (open === undefined) this.#open.set(stack.id, (open = []));
    if (r.id === WATCH_INT3) return this.#int3(r, open, stack);
    if (r.id === WATCH_PROBE) return void this.#probes.set(stack.id, r.rsp);
    let top = open.at(-1);
    // What came in between and ended without a trace here.
    while (top !== undefined && open.length > 1 && r.rsp - top.sp >= NESTED) {
      open.pop();
      top = open.at(-1);
    }
    if (top !== undefined && top.sp - r.rsp < NESTED) {
      open.pop();
      // An interrupt came first: the instruction is begun anew.
      const isAgain = r.rip === top.record.rip && r.rsp === top.record.rsp && !top.viaInt3;
      if (top.returnsTo === undefined) {
        if (!isAgain) this.#outcome(top, r, open);
      } else if (isAgain) open.push(top);
      else this.#returned(top, r);
    }
    const state = this.#states.get(r.rip);
    if (state === undefined) return;
    const { poke, now } = state;
    open.push({ state, sp: r.rsp, record: r, poke, now, viaInt3: false, returnsTo: undefined });
  }

  #int3(r: LogRecord, open: readonly Open[], stack: ReturnType<Stacks["of"]>): void {
    // The CPU aligns rsp and pushes five words.
    const isFrom = (sp: bigint): boolean => r.rsp === (sp & ~15n) - 40n;
    const probe = this.#probes.get(stack.id);
    this.#probes.delete(stack.id);
    if (probe !== undefined && isFrom(probe)) {
      this.counts.probes++;
      return;
    }
    const top = open.at(-1);
    if (top === undefined || !isFrom(top.sp) || top.returnsTo !== undefined) {
      this.#say("unhandled", top, r, "an int3 that is not a site's");
      return;
    }
    top.viaInt3 = true;
    this.counts.int3[stack.kind]++;
    if (stack.kind !== "nmi") return;
    const interrupted = [...this.#open.values()].map((all) => all.at(-1));
    if (interrupted.some((o) => o !== top && o?.viaInt3 === true && o.record.vcpu === r.vcpu)) {
      this.counts.inInt3++;
    }
  }

  #outcome(o: Open, r: LogRecord, open: Open[]): void {
    const { site } = o.state;
    this.counts.executions++;
    const fits = (i: number): Outcome | undefined => {
      const does = site.variants[i]?.does;
      return does !== undefined && does.next === r.rip && o.sp + does.sp === r.rsp
        ? does
        : undefined;
    };
    const did = this.#judge(o, r, fits);
    if (did?.returnsTo !== undefined) {
      open.push({ ...o, record: r, viaInt3: false, returnsTo: did.returnsTo });
    }
  }

  #judge(o: Open, r: LogRecord, fits: (i: number) => Outcome | undefined): Outcome | undefined {
    const { poke, now } = o;
    const bit = 1 << r.vcpu;
    if (poke === undefined) {
      const did = fits(now);
      if (did !== undefined && !o.viaInt3) return did;
      if (o.viaInt3) this.#say("unhandled", o, r, "an int3 where none should be");
      else this.#say(this.#isOther(o, fits) ? "stale" : "torn", o, r, "not what is there");
      return undefined;
    }
    const did = fits(poke.to);
    if (o.viaInt3) {
      poke.seen |= bit;
      if (did === undefined) this.#say("unhandled", o, r, "the handler did something else");
      return did;
    }
    const old = fits(poke.from);
    if (old !== undefined && (did === undefined || (poke.seen & bit) === 0)) {
      if ((poke.seen & bit) !== 0) this.#say("backwards", o, r, "the old one again");
      this.counts.old++;
      return old;
    }
    if (did === undefined) {
      this.#say("torn", o, r, "neither the old nor the new one");
      return undefined;
    }
    poke.seen |= bit;
    this.counts.fresh++;
    return did;
  }

  /** Whether it was one of the site's other instructions: one that was there once. */
  #isOther(o: Open, fits: (i: number) => Outcome | undefined): boolean {
    return o.state.site.variants.some((_, i) => i !== o.now && fits(i) !== undefined);
  }

  #returned(o: Open, r: LogRecord): void {
    if (r.rip === o.returnsTo && r.rsp === o.sp) return;
    this.#say("lost", o, r, "the callee returned elsewhere");
  }

  #say(what: Wrong, o: Open | undefined, r: LogRecord, text: string): void {
    const name = o?.state.site.name ?? `0x${r.rip.toString(16)}`;
    this.violations.push({ what, site: name, insn: r.insn, vcpu: r.vcpu, text });
  }
}

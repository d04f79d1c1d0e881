// A kernel whose vCPUs execute the sites of poke-sites.ts in loops while patchd pokes them, on a machine that keeps stale
// bytes, buffers stores and splits read-modify-writes; interrupts and NMIs come at random, and onto the int3 itself. The
// log goes to a judge. A mutation changes the steps that text_poke makes, for the judge to find out.
import { Decoder, DecoderOptions } from "iced-x86";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { registerKprobe, textPokeBp, type TextPokeLoc } from "../../src/ftrace/index.ts";
import {
  call,
  CONSTANTS,
  KPROBE,
  readField,
  stackAreas,
  symbolVa,
  write,
  writeWord,
  type Program,
  type Step,
} from "../../src/kernel/index.ts";
import { symbolAt } from "../../src/link/index.ts";
import { seededSchedule } from "../../src/machine/index.ts";
import { outcome, type SessionSnapshot } from "../../src/patch/index.ts";
import { buildWith, Kernel } from "../kernel/programs.ts";
import {
  PokeJudge,
  WATCH_INT3,
  WATCH_PROBE,
  WATCH_SITES,
  type Stacks,
  type Where,
} from "./poke-judge.ts";
import { pokeSites, pokeSource, type Site } from "./poke-sites.ts";

/** What becomes of a step: the same or another one, or undefined to leave it out. */
export type Mutation = (step: Step, k: Kernel) => Step | undefined;

const INT3 = 0xcc;

function isInt3(step: Step): boolean {
  return step.op === "write" && step.bytes.length === 1 && step.bytes[0] === INT3;
}

function isSync(step: Step): boolean {
  return step.op === "call" && step.fn === "smp_sync_cores";
}

/** Leaves out the synchronisation after the n-th phase of three. */
function withoutSync(n: number): () => Mutation {
  return () => {
    let syncs = 0;
    return (step) => (isSync(step) && syncs++ % 3 === n ? undefined : step);
  };
}

/** Ways in which text_poke may be wrong, by what is wrong with it. Each makes a mutation for one run. */
export const MUTATIONS: Readonly<Record<string, () => Mutation>> = {
  "raw writes": () => (step) => (isInt3(step) || isSync(step) ? undefined : step),
  "no int3": () => (step) => (isInt3(step) ? undefined : step),
  "no IPIs": () => (step) => (isSync(step) ? undefined : step),
  "no IPIs after the int3s": withoutSync(0),
  "no IPIs after the tails": withoutSync(1),
  "no IPIs after the first bytes": withoutSync(2),
  "the vector not sorted": () => (step, k) => {
    if (step.op !== "write") return step;
    const vec = k.va("tp_vec");
    const size = 24n;
    const at = step.va - vec;
    if (at < 0n || at >= 256n * size) return step;
    const i = at / size;
    return { ...step, va: vec + (i ^ 1n) * size + (at % size) };
  },
};

/** Runs a program with its steps as the mutation has them; a step that is left out is answered as if it had been done. */
function* mutated<R>(program: Program<R>, mutate: (step: Step) => Step | undefined): Program<R> {
  let r = program.next();
  while (!r.done) {
    const step = mutate(r.value);
    r = program.next(step === undefined ? 0n : yield step);
  }
  return r.value;
}

/** How many came from outside. onInt3: of those, while their vCPU handled an int3. */
export interface Given {
  interrupts: number;
  nmis: number;
  onInt3: number;
}

export interface Run {
  readonly judge: PokeJudge;
  readonly given: Given;
  /** Calls of text_poke_bp, and how many of them had more than one entry and more than a batch. */
  readonly calls: { all: number; several: number; batches: number };
  /** The kernel is gone. */
  readonly isDead: boolean;
}

export interface Wanted {
  readonly seed: number;
  /** Stops after so many calls, or, if it is asked to, at the first violation. */
  readonly calls: number;
  readonly mutation?: Mutation;
  readonly untilViolation?: boolean;
}

/** Calls in one program: what patchd remembers of it grows. */
const CALLS_PER_PROGRAM = 100;

/** What a #BP goes through, and how many of its instructions are disturbed in one run. */
const BP_HANDLER = ["asm_exc_int3", "exc_int3", "poke_int3_handler", "error_return"] as const;
const NR_DISTURBED = 6;

/** Probes on other instructions, which are hit meanwhile: behind the push of the frame pointer. */
const PROBED = ["default_do_nmi", "tick_sched_handle"] as const;
const PROBED_OFFSET = 6n;

export class PokeLab {
  readonly kernel: Kernel;
  readonly sites: readonly Site[];
  /** The kernel's text before the first poke. */
  readonly text: Uint8Array;
  readonly #stacks: Stacks;
  readonly #ready: SessionSnapshot;

  constructor(kernel: Kernel, vcpus: number) {
    const { session } = kernel;
    this.kernel = kernel;
    this.sites = pokeSites(kernel.image);
    this.#stacks = stacksOf(kernel);
    for (let cpu = 0; cpu < vcpus; cpu++) kernel.do(() => call("poke_start", BigInt(cpu)));
    const watch = (lo: bigint, hi: bigint, id: number): void =>
      void session.watch({ kind: "range", lo, hi, id });
    watch(kernel.va("poke_area"), kernel.va("poke_area_end"), WATCH_SITES);
    watch(kernel.va("poke_back"), kernel.va("poke_back") + 1n, WATCH_SITES);
    for (const s of this.sites)
      if (s.fn === 0n) watch(s.va, s.va + BigInt(s.len) + 1n, WATCH_SITES);
    const int3 = kernel.va("asm_exc_int3");
    watch(int3, int3 + 1n, WATCH_INT3);
    for (const name of PROBED) {
      const at = kernel.va(name) + PROBED_OFFSET;
      const r = kernel.do(() => registerKprobe(kernel.image, at, { pre: 0n, post: 0n }));
      if (!r.ok) throw new Error(`${name} cannot be probed: ${r.error}`);
      const f = (field: "slot" | "len"): bigint => readField(session.read, KPROBE, r.kprobe, field);
      const behind = f("slot") + f("len");
      watch(at, at + 1n, WATCH_PROBE);
      watch(behind, behind + 1n, WATCH_PROBE);
    }
    session.agent.clear();
    session.machine.drainLog();
    this.text = session.text();
    this.#ready = session.snapshot();
  }

  /** Pokes from the state after boot, under a seed. */
  run(wanted: Wanted): Run {
    const { session } = this.kernel;
    const m = session.machine;
    session.restore(this.#ready);
    session.reschedule(seededSchedule(wanted.seed));
    const rng = xoroshiro128plus(wanted.seed);
    const pick = (n: number): number => uniformInt(rng, 0, n - 1);
    const judge = new PokeJudge(this.sites, this.#stacks);
    const given: Given = { interrupts: 0, nmis: 0, onInt3: 0 };
    const calls = { all: 0, several: 0, batches: 0 };
    const mutation = wanted.mutation;
    const disturb = (v: number): void => {
      if (pick(2) === 0) {
        m.nmi(v);
        given.nmis++;
      } else {
        m.interrupt(v, CONSTANTS.RESCHEDULE_VECTOR);
        given.interrupts++;
      }
    };
    session.onStop = (_, v) => {
      // Seldom: what it runs meets int3s too, and they must not bring about others for ever.
      if (pick(64) !== 0) return;
      disturb(v);
      given.onInt3++;
    };
    const insns = BP_HANDLER.flatMap((name) => instructions(this.kernel, name)).slice(1);
    const watches = Array.from({ length: NR_DISTURBED }, () => insns[pick(insns.length)] ?? 0n).map(
      (lo) => session.watch({ kind: "stop", lo }),
    );
    const current = this.#plan(judge);
    const done = (): boolean =>
      calls.all >= wanted.calls || (wanted.untilViolation === true && judge.violations.length > 0);
    let isDead = false;
    while (!done() && !isDead) {
      const nr = Math.min(CALLS_PER_PROGRAM, wanted.calls - calls.all);
      session.request({ make: () => this.#program(nr, pick, current, judge, calls, mutation) });
      for (;;) {
        const stop = session.run(m.retired + 40 + pick(300), new Set(["outcome", "bug"]));
        judge.feed(m.drainLog());
        if (stop === "outcome" || done()) break;
        if (stop === "bug" || stop === "shutdown") {
          const bug = session.events().bugs.at(-1);
          judge.bug(bug?.insn ?? m.retired, bug?.vcpu ?? 0, bug?.message ?? stop, bug?.ip ?? 0n);
          isDead = true;
          break;
        }
        if (pick(24) === 0) disturb(pick(m.nrVcpus));
      }
    }
    for (const w of watches) m.unwatch(w);
    session.onStop = undefined;
    session.agent.onWrite = undefined;
    return { judge, given, calls, isDead };
  }

  /** What each site is made of, told to the judge when the first of its bytes changes. */
  #plan(judge: PokeJudge): Map<bigint, number> {
    const { session } = this.kernel;
    const pending = new Map<bigint, number>();
    session.agent.onWrite = (w) => {
      for (const [va, to] of pending) {
        if (w.va < va || w.va >= va + 6n) continue;
        judge.begin(w.insn, va, to);
        pending.delete(va);
        return;
      }
    };
    return pending;
  }

  /** Sites to poke at once: mostly one, now and then some, and in each 200th call more than a batch. */
  #batch(pick: (n: number) => number, call: number): readonly Site[] {
    const kind = call % 200 === 150 ? 100 : pick(100);
    let n = 1;
    if (kind >= 75) n = 2 + pick(7);
    if (kind >= 92) n = 9 + pick(32);
    if (kind >= 99) n = 41 + pick(216);
    if (kind >= 100) n = CONSTANTS.TP_VEC_MAX + 1 + pick(48);
    const chosen = new Set<Site>();
    // One that runs in interrupts or NMIs is among them more often than by chance.
    const fentry = this.sites.filter((s) => s.fn === 0n);
    const other = fentry[pick(8 * fentry.length)] ?? (pick(8) === 0 ? fentry[0] : undefined);
    if (other !== undefined) chosen.add(other);
    while (chosen.size < n) {
      const s = this.sites[pick(this.sites.length)];
      if (s !== undefined) chosen.add(s);
    }
    return [...chosen];
  }

  *#program(
    nr: number,
    pick: (n: number) => number,
    pending: Map<bigint, number>,
    judge: PokeJudge,
    calls: Run["calls"],
    mutation: Mutation | undefined,
  ): Program<ReturnType<typeof outcome>> {
    const k = this.kernel;
    const { machine } = k.session;
    for (let i = 0; i < nr; i++) {
      const sites = this.#batch(pick, calls.all);
      const now = judge.variants();
      const locs = sites.map((site): TextPokeLoc => {
        const others = site.variants.length - 1;
        const to = ((now.get(site.va) ?? 0) + 1 + pick(others)) % site.variants.length;
        pending.set(site.va, to);
        return { va: site.va, bytes: site.variants[to]?.bytes ?? new Uint8Array() };
      });
      const hot = sites.map((s) => s.fn).filter((fn) => fn !== 0n);
      const nrHot = symbolVa(k.image, "poke_nr_hot");
      yield* write(symbolVa(k.image, "poke_hot"), new Uint8Array(new BigUint64Array(hot).buffer));
      yield* writeWord(nrHot, BigInt(hot.length), 4);
      const poke = textPokeBp(k.image, locs);
      yield* mutation === undefined ? poke : mutated(poke, (s) => mutation(s, k));
      judge.end(machine.retired);
      calls.all++;
      if (sites.length > 1) calls.several++;
      if (sites.length > CONSTANTS.TP_VEC_MAX) calls.batches++;
    }
    return outcome("applied", "poked");
  }

  /** The sites as they are in memory, where they are not as the judge was told. */
  differing(judge: PokeJudge): readonly string[] {
    const now = judge.variants();
    return this.sites
      .filter((s) => {
        const bytes = s.variants[now.get(s.va) ?? 0]?.bytes ?? new Uint8Array();
        return !this.kernel.session.read(s.va, s.len).every((b, i) => b === bytes[i]);
      })
      .map((s) => s.name);
  }
}

/** The addresses of a function's instructions. */
function instructions(k: Kernel, name: string): readonly bigint[] {
  const start = k.va(name);
  const size = Number(symbolAt(k.image, start)?.size ?? 0n);
  const d = new Decoder(64, k.session.read(start, size).slice(), DecoderOptions.None);
  const out: bigint[] = [];
  d.ip = start;
  while (d.canDecode) {
    out.push(d.ip);
    d.decode().free();
  }
  d.free();
  return out;
}

function stacksOf(k: Kernel): Stacks {
  const nmi = k.va("exception_stacks");
  const areas = stackAreas(k.image);
  const of = (sp: bigint): { readonly id: number; readonly kind: Where } => {
    for (const [i, a] of areas.entries()) {
      if (sp <= a.start || sp > a.end) continue;
      const n = Number((sp - 1n - a.start) / BigInt(a.size));
      const kind = a.kind === "task" ? "task" : a.start === nmi ? "nmi" : "irq";
      return { id: i * 1_000_000 + n, kind };
    }
    return { id: -1, kind: "task" };
  };
  return { of };
}

export async function makePokeLab(vcpus: number, seed: number): Promise<PokeLab> {
  const built = await buildWith("two-tasks", pokeSource(), { tickInsns: 20_000, tasks: 64 });
  const adversary = { staleCode: true, storeBuffer: true, splitRmw: true, seed };
  return new PokeLab(new Kernel(built, vcpus, seed, adversary), vcpus);
}

// text_poke_bp on instructions that all vCPUs execute meanwhile, in loops, in interrupts and in NMIs, on a machine that keeps
// stale bytes: each execution is the old instruction, the new one, or an int3 that was handled. And the same with text_poke
// wrong in some way, which has to be seen. POKES asks for more instructions to be replaced than npm test does.
import { afterAll, describe, expect, test } from "vitest";
import { textPokeBp } from "../../src/ftrace/index.ts";
import { BP_DESC, readUint } from "../../src/kernel/index.ts";
import { makePokeLab, MUTATIONS, type PokeLab, type Run } from "./poke-lab.ts";

/** Instructions to replace: at least so many. */
const POKES = Number(process.env["POKES"] ?? "2000");
const CALLS_PER_SEED = 200;
const VCPUS = [2, 4, 8, 2] as const;

const labs = new Map<number, Promise<PokeLab>>();
function lab(vcpus: number): Promise<PokeLab> {
  const made = labs.get(vcpus) ?? makePokeLab(vcpus, vcpus);
  labs.set(vcpus, made);
  return made;
}

/** Sums over runs. */
const total = {
  calls: 0,
  several: 0,
  batches: 0,
  sites: 0,
  executions: 0,
  inPoke: 0,
  task: 0,
  irq: 0,
  nmi: 0,
  inInt3: 0,
  probes: 0,
  nmis: 0,
  interrupts: 0,
  onInt3: 0,
};

function add({ judge, given, calls }: Run): void {
  const { counts } = judge;
  total.calls += calls.all;
  total.several += calls.several;
  total.batches += calls.batches;
  total.sites += counts.pokes;
  total.executions += counts.executions;
  total.inPoke += counts.old + counts.fresh;
  total.task += counts.int3.task;
  total.irq += counts.int3.irq;
  total.nmi += counts.int3.nmi;
  total.inInt3 += counts.inInt3;
  total.probes += counts.probes;
  total.nmis += given.nmis;
  total.interrupts += given.interrupts;
  total.onInt3 += given.onInt3;
}

describe("text_poke_bp under execution", () => {
  afterAll(() => {
    if (process.env["POKES"] === undefined) return;
    const n = (x: number): string => x.toLocaleString("en-US");
    process.stdout.write(
      `pokes: ${n(total.sites)} instructions replaced by ${n(total.calls)} calls of text_poke_bp, ${n(total.several)} with more than one site, ${n(total.batches)} with more than a batch; ${n(total.executions)} executions judged, of which ${n(total.inPoke)} were of an old or new instruction during its poke and ` +
        `${n(total.task + total.irq + total.nmi)} of its int3 (in tasks ${n(total.task)}, interrupts ${n(total.irq)}, NMIs ${n(total.nmi)}; ${n(total.inInt3)} in a NMI on top of another's int3), ` +
        `beside ${n(total.probes)} int3s of probes; ${n(total.interrupts)} interrupts and ${n(total.nmis)} NMIs given, ${n(total.onInt3)} of them onto a #BP handler\n`,
    );
  });

  test(
    "is seen by no vCPU but as the old instruction, the new one, or an int3 that does the new one",
    async () => {
      for (let seed = 1; total.sites < POKES; seed++) {
        const l = await lab(VCPUS[seed % VCPUS.length] ?? 4);
        const calls = CALLS_PER_SEED;
        const run = l.run({ seed, calls, untilViolation: true });
        expect(run.judge.violations, `seed ${seed}`).toEqual([]);
        expect([run.isDead, run.calls.all]).toEqual([false, calls]);
        expect(l.differing(run.judge), `seed ${seed}`).toEqual([]);
        add(run);
      }
      // There was something to see.
      expect(
        Math.min(total.task, total.irq, total.nmi, total.inInt3, total.probes),
      ).toBeGreaterThan(0);
      expect(Math.min(total.several, total.batches, total.onInt3)).toBeGreaterThan(0);
      expect(total.executions).toBeGreaterThan(50 * total.calls);
    },
    POKES * 200 + 60_000,
  );

  test("brings all sites back to what they were, and the text with them", async () => {
    const l = await lab(4);
    const k = l.kernel;
    const { judge } = l.run({ seed: 1000, calls: 60 });
    expect(l.sites.some((s) => judge.variants().get(s.va) !== 0)).toBe(true);
    const locs = l.sites.map((s) => ({
      va: s.va,
      bytes: s.variants[0]?.bytes ?? new Uint8Array(),
    }));
    // Two batches: the rendezvous of each.
    expect(k.do(() => textPokeBp(k.image, locs))).toBe(6);
    expect(l.sites.filter((s) => !same(k.session.read(s.va, s.len), s.variants[0]?.bytes))).toEqual(
      [],
    );
    expect(same(k.session.text(), l.text)).toBe(true);
    expect(k.word("bp_desc", 8)).toBe(k.va("tp_vec"));
  });
});

function same(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return a.length === b?.length && a.every((x, i) => x === b[i]);
}

test("a reader of the description that comes as it is given up is waited for, and counted once", async () => {
  const { kernel: k, sites } = await lab(2);
  const [site] = sites;
  const refs = k.va("bp_desc") + BigInt(BP_DESC.fields.refs.offset);
  const read = (): number => Number(readUint(k.session.read, refs, 4));
  const add = (n: number): void =>
    k.session.machine.write(refs, Uint8Array.of(read() + n, 0, 0, 0));
  let looks = 0;
  const syncs = k.do(function* () {
    const poke = textPokeBp(k.image, [
      { va: site?.va ?? 0n, bytes: site?.variants[1]?.bytes ?? new Uint8Array() },
    ]);
    let isGivenUp = false;
    let r = poke.next();
    while (!r.done) {
      const step = r.value;
      const lowers =
        step.op === "cmpxchg" || (step.op === "write" && step.va === refs && step.bytes[0] === 0);
      // What try_get_desc() of another CPU does in front of this very step; it stays for a while.
      if (lowers && !isGivenUp) {
        isGivenUp = true;
        add(1);
      }
      if (isGivenUp && step.op === "look" && ++looks === 20) add(-1);
      r = poke.next(yield step);
    }
    return r.value;
  });
  expect([syncs, looks, read()]).toEqual([3, 20, 0]);
});

describe("a text_poke with", () => {
  test.each(Object.keys(MUTATIONS))(
    "%s is seen to be wrong",
    async (name) => {
      const l = await lab(4);
      const make = MUTATIONS[name];
      if (make === undefined) throw new Error(`no mutation ${name}`);
      const found: Run[] = [];
      for (let seed = 1; found.length === 0 && seed <= 20; seed++) {
        const run = l.run({ seed, calls: 200, mutation: make(), untilViolation: true });
        if (run.judge.violations.length > 0) found.push(run);
      }
      expect(found).toHaveLength(1);
    },
    240_000,
  );

  test("raw writes shows an execution that is stale, and one that is torn", async () => {
    const l = await lab(4);
    const make = MUTATIONS["raw writes"];
    const seen = { stale: 0, torn: 0 };
    for (let seed = 1; seed <= 40 && Math.min(seen.stale, seen.torn) === 0; seed++) {
      const run = l.run({ seed, calls: 20, ...(make && { mutation: make() }) });
      for (const v of run.judge.violations) {
        if (v.what === "stale" || v.what === "torn") seen[v.what]++;
      }
    }
    expect(Math.min(seen.stale, seen.torn)).toBeGreaterThan(0);
  });
});

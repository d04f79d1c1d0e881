// Before, patched, unpatched, and once more, under load, by every mechanism on 1, 2, 4 and 8 vCPUs. The campaign
// `protocol` does 20 rounds of each.
import { describe, expect, it } from "vitest";
import type { Violation } from "../../src/check/index.ts";
import { runProtocol, type Prepared, type ProtocolRun } from "../../src/explore/index.ts";
import { MECHANISMS, type Mechanism } from "../../src/patch/index.ts";
import { loadScenario, type Scenario } from "../../src/scenario/index.ts";
import { kernelFile } from "../scenario/files.ts";
import { prepared } from "../explore/prepared.ts";

const ROUNDS = 2;
/** What a task is given. */
const OLD = 0x11n;
const NEW = 0x22n;
const SEEN_SIZE = 32n;
const TASKS = 8;

const ready = new Map<string, Promise<Prepared>>();

/** The smaller patch is the one that is safe for naive: nobody can be in it while patchd writes. */
function steady(m: Mechanism, vcpus: number): Promise<Prepared> {
  const key = `${m.name === "naive" || m.name === "kpatch" ? m.name : ""} ${vcpus}`;
  const made = ready.get(key) ?? boot(m, vcpus);
  ready.set(key, made);
  return made;
}

/** kpatch tries again and again where somebody is in its way: its load lasts longer. */
function loadOf(m: Mechanism): Partial<Scenario> {
  const { sources, budgetInsns } = loadScenario("steady", kernelFile);
  const times = m.name === "kpatch" ? 4 : 1;
  const longer = sources.map((s) => ({
    ...s,
    text: s.text.replaceAll(
      /(ROUNDS, )(\d+)/g,
      (_, set: string, n: string) => set + Number(n) * times,
    ),
  }));
  return { sources: longer, budgetInsns: budgetInsns * times };
}

function boot(m: Mechanism, vcpus: number): Promise<Prepared> {
  const text = kernelFile("steady/local.S");
  if (text === undefined) throw new Error("kernels/steady/local.S is gone");
  const change = m.name === "naive" ? { patch: { name: "steady/local.S", text } } : {};
  return prepared("steady", { ...change, ...loadOf(m) }, vcpus);
}

function sum(counts: readonly number[]): number {
  return counts.reduce((a, b) => a + b, 0);
}

/** What the tasks of the load counted: changes of the version that they were given, and mixtures. */
function seen({ session, built }: Prepared): {
  changes: { nr: bigint; last: bigint }[];
  mixtures: bigint;
} {
  const at = built.image.symbols.find((s) => s.name === "seen")?.va ?? 0n;
  const word = (i: number, k: bigint): bigint =>
    session.machine.read64(at + BigInt(i) * SEEN_SIZE + k);
  const tasks = Array.from({ length: TASKS }, (_, i) => i);
  return {
    changes: tasks.map((i) => ({ nr: word(i, 8n), last: word(i, 24n) })),
    mixtures: tasks.reduce((n, i) => n + word(i, 16n), 0n),
  };
}

/** What test/patch/at-entry.test.ts has: who was preempted in the handler comes to a function that stacks do not show yet. */
function isKnown(m: Mechanism, v: Violation): boolean {
  const walks = m.name === "kpatch" || m.name === "klp";
  return walks && v.atEntry !== undefined;
}

const all = Object.values(MECHANISMS).map((m) => [m.name, m] as const);

describe.each(all)("%s", (_, m) => {
  it.each([1, 2, 4, 8])(
    "puts a patch in and takes it out again, twice, under load on %i vCPUs",
    async (vcpus) => {
      const p = await steady(m, vcpus);
      // Under other seeds some of the load is done before kpatch has found nobody in its way.
      const run: ProtocolRun = runProtocol(p, m, { seed: 9 + vcpus, rounds: ROUNDS, tries: 30 });
      expect(run.bugs).toEqual([]);
      expect(run.rounds).toHaveLength(ROUNDS);
      for (const [i, r] of run.rounds.entries()) {
        expect(r.enable.at(-1)?.result).toBe("applied");
        expect(r.disable.at(-1)?.result).toBe("applied");
        expect(r.verdicts.flatMap((v) => v.violations).filter((v) => !isKnown(m, v))).toEqual([]);
        for (const [phase, there, gone] of [
          [r.before, "old", "new"],
          [r.patched, "new", "old"],
          [r.after, "old", "new"],
        ] as const) {
          expect(Math.min(...phase[there])).toBeGreaterThanOrEqual(3);
          // Without a check an activation that has begun in the other variant ends in it, and calls from there.
          if (m.leaves !== "function") expect(sum(phase[gone])).toBe(0);
        }
        expect(r.changed).toBe(0);
        // Somebody may still be in the new function: the module of a control stays, from the first round on.
        const stays = i === 0 && (m.leaves === "nothing" || m.leaves === "function");
        expect(r.left).toEqual(
          stays ? ["modules", "ftrace_pages_start", "objects of the slabs"] : [],
        );
      }
      expect(run).toMatchObject({ wasLoaded: true, isDone: true, results: p.baseline.results });
      const { changes, mixtures } = seen(p);
      // Old, new and old again, at most once in each round: nobody goes back and forth. Who rests may miss a phase.
      if (m.name !== "naive" && m.leaves !== "function") {
        expect(changes.some(({ nr }) => nr > 0n)).toBe(true);
        for (const { nr, last } of changes) {
          // One whose work is done while the patch is in has seen no way back.
          expect(last).toBe(nr % 2n === 0n ? OLD : NEW);
          expect(nr).toBeLessThanOrEqual(BigInt(2 * ROUNDS));
        }
      }
      if (m.leaves !== "function") expect(mixtures).toBe(0n);
    },
  );
});

// Puts a patch in and takes it out again and again, under load, by every mechanism on 1, 2, 4 and 8 vCPUs:
// node scripts/campaign-protocol.mjs [ROUNDS] [MECHANISM,..] [SEED]. Needs a built dist/. Exit 0: old, new and old again in every
// round, text byte-identical and nothing left when the patch is out, and both ways judged; 1: not so.
import { kernelText, load, mechanismsNamed, number } from "./scenario.mjs";

const ALL = "naive,immediate,ksplice,kpatch,kgraft,simple,klp";
const CONTROLS = ["naive", "immediate"];
/** Those that look at stacks miss a task that the handler has just answered: test/patch/at-entry.test.ts. */
const WALK = ["kpatch", "klp"];
const rounds = number("rounds", process.argv[2], 20);
const seed = number("seed", process.argv[4], 1);
/** A load that lasts for so many rounds. */
const USER = kernelText("steady/user.S").replace(
  /(ROUNDS, )(\d+)/g,
  (_, set, n) => set + Number(n) * rounds,
);
const LOCAL = { patch: { name: "steady/local.S", text: kernelText("steady/local.S") } };

const sum = (counts) => counts.reduce((a, b) => a + b, 0);
let bad = 0;
for (const m of await mechanismsNamed(process.argv[3] ?? ALL)) {
  for (const vcpus of [1, 2, 4, 8]) {
    const start = performance.now();
    const { explore, prepared } = await load("steady", {
      vcpus,
      change: (s) => ({
        ...s,
        ...(m.name === "naive" ? LOCAL : {}),
        sources: s.sources.map((f) =>
          f.name.endsWith("steady/user.S") ? { ...f, text: USER } : f,
        ),
        budgetInsns: s.budgetInsns * rounds,
      }),
    });
    const run = explore.runProtocol(prepared, m, { seed, rounds, tries: 30 });
    const wrong = [...run.bugs];
    const say = (i, what) => wrong.push(`round ${i + 1}: ${what}`);
    if (run.rounds.length < rounds || !run.wasLoaded || !run.isDone) wrong.push("the load ended");
    const refused = { enable: 0, disable: 0 };
    const atEntry = new Set();
    for (const [i, r] of run.rounds.entries()) {
      for (const what of ["enable", "disable"]) {
        refused[what] += r[what].filter((o) => o?.result === "refused").length;
        if (r[what].at(-1)?.result !== "applied") say(i, `${what} ${r[what].at(-1)?.result}`);
      }
      for (const v of r.verdicts.flatMap((x) => x.violations)) {
        if (WALK.includes(m.name) && v.atEntry !== undefined) atEntry.add(`${i} ${v.task}`);
        else say(i, v.message);
      }
      if (m.name !== "immediate" && sum([...r.before.new, ...r.patched.old, ...r.after.new]) > 0) {
        say(i, "an entry of the other variant");
      }
      if (Math.min(...r.before.old, ...r.patched.new, ...r.after.old) === 0) say(i, "no entry");
      if (r.changed > 0) say(i, `${r.changed} bytes of text differ`);
      // The module of a control stays, from the first round on: somebody may be in it.
      const left = i === 0 && CONTROLS.includes(m.name) ? [] : r.left;
      if (left.length > 0) say(i, `left: ${left.join(", ")}`);
    }
    for (const [name, want] of Object.entries(prepared.baseline.results)) {
      if (run.results[name] !== want) wrong.push(`${name} is ${run.results[name]}, not ${want}`);
    }
    bad += wrong.length;
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    process.stdout.write(
      `${m.name}, ${vcpus} vCPUs: ${run.rounds.length} rounds, refused ${refused.enable} + ${refused.disable}, ${atEntry.size} at an entry, ${wrong.length} wrong; ${seconds} s\n`,
    );
    for (const w of wrong.slice(0, 5)) process.stdout.write(`  ${w}\n`);
  }
}
process.exit(bad > 0 ? 1 : 0);

// `quiesce unwind`: the stacks of every task by every unwinder beside the truth, or each unwinder's score at every
// instruction of a run.
import Table from "cli-table3";
import { scoreUnwinders, showStacks } from "../check/index.ts";
import type { StackRun, TaskStacks, UnwindScore } from "../check/index.ts";
import { UNWINDERS } from "../unwind/index.ts";
import { toJson as json } from "../report/index.ts";
import { chosen, MAX_INSN, RUN_LIKE, runNumbers, whole } from "./args.ts";
import type { Command } from "./command.ts";
import { command } from "./command.ts";
import { EXIT } from "./errors.ts";
import { coreModule } from "./files.ts";
import { UNWINDER_NAMES } from "./names.ts";
import type { Door } from "./output.ts";
import { buildNamed } from "./scenarios.ts";

const ARGS = {
  ...RUN_LIKE,
  scenario: { type: "positional", required: true, description: "a scenario's name or folder" },
  at: { type: "string", valueHint: "N", description: "instructions after the ready mark (0)" },
  unwinder: { type: "string", valueHint: "U,..", description: "unwinders (all)" },
  score: { type: "boolean", description: "score every instruction from there on" },
  insns: { type: "string", valueHint: "N", description: "how many of them (20000)" },
} as const;

export const unwindCommand = (door: Door): Command =>
  command("unwind", "Stacks by every unwinder against the truth", ARGS, async ({ args }) => {
    const numbers = runNumbers(args);
    const unwinders = chosen("unwinder", args.unwinder, UNWINDER_NAMES).map((n) => UNWINDERS[n]);
    const at = whole("at", args.at, 0, MAX_INSN) ?? 0;
    const insns = whole("insns", args.insns, 1) ?? 20_000;
    const built = await buildNamed(args.scenario, numbers);
    const { vcpus } = built.scenario;
    const run: StackRun = { core: coreModule(), built, vcpus, seed: numbers.seed, at };
    if (args.score !== true) {
      const stacks = showStacks(run, unwinders);
      door.print(args.json === true ? json(stacks) : stacks.map(showTask).join("\n"));
      return EXIT.consistent;
    }
    let wasStopped = false;
    const scores = await scoreUnwinders(run, unwinders, insns, async (done) => {
      door.progress(`${done} of ${insns} instructions`);
      wasStopped = await door.interrupted();
      return !wasStopped;
    });
    const rows = scores.map((s) => ({ ...s, firstWrong: s.firstWrong ?? null }));
    door.print(args.json === true ? json(rows) : showScores(scores));
    if (scores.some((s) => s.reliableWrong > 0)) return EXIT.violated;
    return wasStopped ? EXIT.budget : EXIT.consistent;
  });

/** A table with lines around and under the head only. */
const PLAIN = { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" } as const;

function showTask(task: TaskStacks): string {
  const where = task.vcpu === null ? "" : ` on vCPU ${task.vcpu}`;
  const head = `${task.comm} (${task.pid}) ${task.state}${where}`;
  if (task.user) return `${head}, in user mode\n`;
  const table = new Table({
    head: ["truth", ...task.unwound.map((u) => u.unwinder)],
    style: { head: [], border: [] },
    chars: PLAIN,
  });
  const deepest = Math.max(task.truth.length, ...task.unwound.map((u) => u.frames.length));
  for (let i = 0; i < deepest; i++) {
    table.push([
      task.truth[i]?.symbol ?? "",
      ...task.unwound.map((u) => u.frames[i]?.symbol ?? ""),
    ]);
  }
  const verdicts = task.unwound.map((u) => {
    const why = u.reason === null ? "" : `: ${u.reason}`;
    return `${u.verdict}, ${u.reliable ? "reliable" : `unreliable${why}`}`;
  });
  table.push(["", ...verdicts]);
  return `${head}\n${table.toString()}\n`;
}

function showScores(scores: readonly UnwindScore[]): string {
  const percent = (n: number, of: number): string =>
    of === 0 ? "-" : `${((100 * n) / of).toFixed(1)} %`;
  const table = new Table({
    head: ["unwinder", "boundaries", "exact", "truncated", "skipped", "false frame", "refused", "reliable and wrong"],
    style: { head: [], border: [] },
  }); // prettier-ignore
  for (const s of scores) {
    const { boundaries: all } = s;
    table.push([
      s.unwinder,
      all,
      percent(s.exact, all),
      percent(s.truncated, all),
      percent(s.skipped, all),
      percent(s.falseFrame, all),
      percent(s.refused, all),
      s.reliableWrong,
    ]);
  }
  const notes = scores.map((s) => {
    const firsts = Object.entries(s.first)
      .filter(([verdict]) => verdict !== "exact")
      .map(([verdict, e]) => {
        const why = e.reason === undefined || verdict !== "refused" ? "" : ` (${e.reason})`;
        return `  first ${verdict}: ${e.symbol} at ${e.insn}${why}\n`;
      });
    const reliable = `${s.inactiveReliable} of ${s.inactive} walks of tasks that did not run were reliable`;
    return `${s.unwinder}: ${reliable}\n${firsts.join("")}`;
  });
  return `${table.toString()}\n${notes.join("")}`;
}

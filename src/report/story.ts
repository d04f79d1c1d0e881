// A violation told to a person: what failed, who was where, the two variants, the stack as it is and as the unwinder
// sees it, and the command that shows it again; and a moment of a run, told the same way.
import Table from "cli-table3";
import type { StackNow, Story, StoryTask } from "../check/index.ts";
import { parseRepro, type Moment, type Replayed, type ReproMismatch } from "../explore/index.ts";

const BARE = {
  top: "", "top-mid": "", "top-left": "", "top-right": "",
  bottom: "", "bottom-mid": "", "bottom-left": "", "bottom-right": "",
  left: "    ", "left-mid": "", mid: "", "mid-mid": "", right: "", "right-mid": "", middle: "  ",
}; // prettier-ignore

function stacks(t: StoryTask): string {
  const seen = t.doubt === null ? "frame pointers" : `frame pointers (${t.doubt})`;
  const table = new Table({
    head: ["truth", seen],
    chars: BARE,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
  });
  for (let i = 0; i < Math.max(t.truth.length, t.seen.length); i++) {
    table.push([t.truth[i] ?? "", t.seen[i] ?? ""]);
  }
  return table
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}

function taskText(t: StoryTask, state = "not running"): string {
  const where = t.vcpu === null ? state : `on vCPU ${t.vcpu}`;
  const call = t.syscall === null ? "" : `, in system call ${t.syscall}`;
  const head = `  ${t.task} (pid ${t.pid}), ${where}${call}`;
  if (t.truth.length === 0 && t.seen.length === 0) return `${head}, in user mode\n`;
  return `${head}\n${stacks(t)}\n`;
}

/**
 * The story of a violation.
 *
 * repro  the text of its repro, and the file that it was written to
 */
export function storyText(
  mechanism: string,
  story: Story,
  repro?: { readonly text: string; readonly file: string },
): string {
  const v = story.violation;
  const where = v.vcpu === null ? "" : ` on vCPU ${v.vcpu}`;
  const out = [
    `${mechanism}: ${v.check} violated at instruction ${v.insn}${where}\n  ${v.message}\n`,
  ];
  for (const f of story.functions) {
    out.push(
      `  ${f.name}: old at ${f.old.va} (${f.old.size} bytes), new at ${f.new.va} (${f.new.size} bytes)\n`,
    );
  }
  for (const t of story.tasks) out.push(taskText(t));
  if (repro !== undefined) {
    const parsed = parseRepro(repro.text);
    if (parsed.ok) {
      const { slices, max } = parsed.repro.schedule;
      const first = slices.length === 0 ? "" : `${slices.length} slices, then `;
      out.push(`  the schedule comes down to: ${first}each vCPU in turn for ${max} units\n`);
    }
    out.push(`  again: npx quiesce replay ${repro.file}\n`);
  }
  return out.join("");
}

/** What a replay gave. */
export function replayText(mechanism: string, r: Replayed | ReproMismatch): string {
  if (!r.ok) return mismatchText(r);
  const head = r.reproduced
    ? "reproduced: the same check fails at the same instruction\n"
    : `not reproduced: ${r.difference ?? ""}\n`;
  return r.run.story === undefined ? head : `${head}${storyText(mechanism, r.run.story)}`;
}

/** Why a repro is not for this kernel. */
export function mismatchText(r: ReproMismatch): string {
  return `the repro is for another ${r.reason}: ${r.expected}, found ${r.found}\n`;
}

function nowText(t: StackNow): string {
  return taskText(t, t.state);
}

/** The state at an instruction. */
export function momentText(m: Moment): string {
  const cpus = m.cpus.map((c) => {
    const where = c.mode === "user" ? `user mode at ${c.ip}` : c.symbol;
    return `  vCPU ${c.vcpu}: ${c.task}, ${where}\n`;
  });
  return `at instruction ${m.insn}\n${cpus.join("")}${m.stacks.map(nowText).join("")}`;
}

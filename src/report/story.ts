// A violation told: which functions were replaced, and who was where, with the true stack beside the walked one.
import Table from "cli-table3";
import type { Story, StoryTask } from "../check/index.ts";

/** The story as text. */
export function storyText(story: Story): string {
  const { violation: v, functions, tasks } = story;
  const where = v.vcpu === null ? "" : ` on vCPU ${v.vcpu}`;
  const head = `${v.check} at instruction ${v.insn}${where}: ${v.message}\n`;
  const pairs = functions.map(
    (f) =>
      `  ${f.name}: old at ${f.old.va} (${f.old.size} bytes), new at ${f.new.va} (${f.new.size} bytes)\n`,
  );
  return `${head}${pairs.join("")}${tasks.map(taskText).join("")}`;
}

function taskText(t: StoryTask): string {
  const where = t.vcpu === null ? "off CPU" : `vCPU ${t.vcpu}`;
  const call = t.syscall === null ? "" : `, in ${t.syscall}`;
  const head = `${t.task} (${t.pid}), ${where}${call}`;
  if (t.truth.length === 0) return `${head}, in user mode\n`;
  const doubt = t.doubt === null ? "reliable" : `unreliable: ${t.doubt}`;
  const table = new Table({
    head: ["true stack", `frame pointers (${doubt})`],
    style: { head: [], border: [], compact: true },
  });
  for (let i = 0; i < Math.max(t.truth.length, t.seen.length); i++) {
    table.push([t.truth[i] ?? "", t.seen[i] ?? ""]);
  }
  return `${head}\n${table.toString()}\n`;
}

// What was read, listed and written through sysfs, as a shell would show it. Pure; everything in it is in the JSON too.
import type { SysfsDone, SysfsFile, SysfsReport } from "../explore/index.ts";
import { dmesgText } from "./tasks.ts";

/** strerror() of what the files of livepatch answer. */
const WORDS: Readonly<Record<number, string>> = {
  2: "No such file or directory",
  12: "Cannot allocate memory",
  13: "Permission denied",
  16: "Device or resource busy",
  19: "No such device",
  21: "Is a directory",
  22: "Invalid argument",
};

/** An errno in words. */
export function strerror(errno: number): string {
  return WORDS[errno] ?? `Unknown error ${errno}`;
}

function nameIn(directory: string | null, path: string): string {
  const top = directory === "/" || directory === null ? "" : `${directory}/`;
  return top !== "" && path.startsWith(top) ? path.slice(top.length) : path;
}

function listLine(f: SysfsFile, name: string): string {
  return `${f.mode} ${name}${f.value === null ? "" : ` = ${f.value}`}\n`;
}

/** A step as the shell would have it, without what it printed. */
function commandText(d: SysfsDone): string {
  if (d.action === "wait") return `# wait ${d.value ?? ""}`;
  if (d.action === "write") return `# echo ${d.value ?? ""} > ${d.path ?? ""}`;
  return `# ${d.action === "list" ? "ls -l" : "cat"} ${d.path ?? ""}`;
}

function doneText(d: SysfsDone): string {
  if (d.action === "wait") return d.ended ? `the transition is over at ${d.insn}\n` : "";
  if (d.errno !== 0) return `${d.action} error: ${strerror(d.errno)}\n`;
  if (d.action === "list") {
    return d.files.map((f) => listLine(f, nameIn(d.path, f.path))).join("");
  }
  return d.action === "read" ? `${d.value ?? ""}\n` : "";
}

/** One step: what it printed. Several: each behind its command and the instruction at which it was done. */
export function sysfsText(r: SysfsReport, withLog: boolean): string {
  const [only] = r.actions;
  const width = String(r.actions.at(-1)?.insn ?? 0).length;
  const text =
    r.actions.length === 1 && only !== undefined
      ? doneText(only)
      : r.actions
          .map((d) => `[${String(d.insn).padStart(width)}] ${commandText(d)}\n${doneText(d)}`)
          .join("");
  const refused = r.loaded.errno === 0 ? "" : `insmod: ${strerror(r.loaded.errno)}\n`;
  const broken = r.end === "bug" ? `the guest broke: ${r.message ?? "shut down"}\n` : "";
  return `${refused}${text}${broken}${withLog ? `\n${dmesgText(r.log)}` : ""}`;
}

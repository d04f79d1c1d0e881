// A patch loaded by klp under load, and what is done to it through sysfs meanwhile: files read, listed and written at
// named instructions, and time passed between. It judges nothing; a guest that breaks ends it.
import { seededSchedule } from "../machine/index.ts";
import {
  attendJob,
  REPLY_COMPLETE,
  REPLY_LOADED,
  sysfsTree,
  type SysfsEntry,
  type SysfsRequest,
} from "../patch/index.ts";
import type { Prepared } from "./prepare.ts";

/** What is to be done, one after the other. */
export type SysfsStep =
  | { readonly action: "show"; readonly path: string }
  | { readonly action: "write"; readonly path: string; readonly value: string }
  | { readonly action: "wait"; readonly insns: number };

/** A file as a listing has it; the value without its newline, null for a directory and what cannot be read. */
export interface SysfsFile {
  readonly path: string;
  readonly mode: string;
  readonly value: string | null;
}

/**
 * What a step came to.
 *
 * insn    from the ready mark, when it was done
 * errno   0, or why not, as a positive number
 * files   what was shown: one file, or what is in a directory; everything where the file is not there
 * ended   of a wait: a transition ended during it, and the wait with it
 */
export interface SysfsDone {
  readonly action: "read" | "list" | "write" | "wait";
  readonly insn: number;
  readonly path: string | null;
  readonly value: string | null;
  readonly errno: number;
  readonly files: readonly SysfsFile[];
  readonly ended: boolean;
}

export interface SysfsReport {
  readonly scenario: string;
  readonly seed: number;
  readonly at: number;
  readonly vcpus: number;
  /** When the patch's init had returned, and with what errno. */
  readonly loaded: { readonly insn: number; readonly errno: number };
  /** One for each step that was come to. */
  readonly actions: readonly SysfsDone[];
  /** How it ended: every step was come to, a file was not there, the guest broke, or a step took more than the budget. */
  readonly end: "complete" | "no such file" | "bug" | "budget";
  /** Of the guest's first BUG. */
  readonly message: string | null;
  readonly log: readonly { readonly insn: number; readonly text: string }[];
}

export interface SysfsSpec {
  readonly seed: number;
  readonly at: number;
  readonly steps: readonly SysfsStep[];
}

const ENOENT = 2;
const EACCES = 13;
const STOPS = new Set(["reply", "bug"] as const);

const isDirectory = (e: { readonly mode: string }): boolean => e.mode.startsWith("d");

function fileOf(e: SysfsEntry): SysfsFile {
  return { path: e.path, mode: e.mode, value: e.text?.replace(/\n$/, "") ?? null };
}

/** The files right in a directory; directories that the tree only implies among them. */
function listed(tree: readonly SysfsEntry[], path: string): readonly SysfsFile[] {
  const top = path === "/" ? "/" : `${path}/`;
  const found = new Map<string, SysfsFile>();
  for (const e of tree) {
    if (!e.path.startsWith(top)) continue;
    const name = top + (e.path.slice(top.length).split("/")[0] ?? "");
    if (e.path === name) found.set(name, fileOf(e));
    else if (!found.has(name)) found.set(name, { path: name, mode: "dr-xr-xr-x", value: null });
  }
  return [...found.values()];
}

/** Boots to the moment, loads the patch by klp, and carries the steps out; without steps the whole tree is shown. */
export function runSysfs(p: Prepared, { seed, at, steps }: SysfsSpec): SysfsReport {
  const { session, readyAt, built } = p;
  const now = (): number => session.machine.retired - readyAt;
  const tree = (): readonly SysfsEntry[] => sysfsTree(session.read, session.image);
  const { budgetInsns } = built.scenario;
  session.restore(p.ready);
  session.reschedule(seededSchedule(seed));
  const actions: SysfsDone[] = [];
  let end: SysfsReport["end"] = "complete";
  const isBroken = (): boolean => session.events().bugs.length > 0;

  /** Runs until an answer to `id` is there. */
  const answer = (id: number): number | undefined => {
    const until = session.machine.retired + budgetInsns;
    for (;;) {
      const found = session.agent.state().replies.find((r) => r.id === id);
      if (typeof found?.value === "number") return -found.value;
      const stop = session.run(until, STOPS);
      if (stop === "reply") continue;
      end = isBroken() ? "bug" : "budget";
      return undefined;
    }
  };
  const completed = (): number =>
    session.agent.state().replies.filter((r) => r.id === REPLY_COMPLETE).length;

  session.run(readyAt + at, new Set(["bug"]));
  session.request(attendJob(p.request));
  const errno = answer(REPLY_LOADED);
  const loaded = { insn: now(), errno: errno ?? 0 };

  const done = (d: Pick<SysfsDone, "action"> & Partial<SysfsDone>): void => {
    const none = { path: null, value: null, errno: 0, files: [], ended: false };
    actions.push({ ...none, ...d, insn: now() });
  };

  const show = (path: string): void => {
    const all = tree();
    const entry = all.find((e) => e.path === path);
    if (entry === undefined || isDirectory(entry)) {
      const files = listed(all, path);
      if (entry === undefined && files.length === 0) {
        end = "no such file";
        return done({ action: "read", path, errno: ENOENT, files: all.map(fileOf) });
      }
      return done({ action: "list", path, files });
    }
    if (entry.text === undefined) return done({ action: "read", path, errno: EACCES });
    const file = fileOf(entry);
    done({ action: "read", path, value: file.value, files: [file] });
  };

  const write = (path: string, value: string): void => {
    const id = actions.length;
    const request: SysfsRequest = { path, text: `${value}\n` };
    session.send({ id, value: request });
    const errno = answer(id);
    if (errno === ENOENT) end = "no such file";
    const files = errno === ENOENT ? tree().map(fileOf) : [];
    if (errno !== undefined) done({ action: "write", path, value, errno, files });
  };

  const pass = (insns: number): void => {
    const until = session.machine.retired + insns;
    const before = completed();
    while (session.machine.retired < until) {
      const stop = session.run(until, STOPS);
      if (stop === "reply" && completed() > before) break;
      if (stop === "bug" || stop === "shutdown") end = "bug";
      if (stop !== "reply") break;
    }
    done({ action: "wait", value: String(insns), ended: completed() > before });
  };

  for (const step of steps) {
    if (end !== "complete") break;
    if (step.action === "show") show(step.path);
    else if (step.action === "write") write(step.path, step.value);
    else pass(step.insns);
  }
  if (steps.length === 0 && end === "complete") {
    done({ action: "list", path: "/", files: tree().map(fileOf) });
  }
  return {
    scenario: built.scenario.name,
    seed,
    at,
    vcpus: session.machine.nrVcpus,
    loaded,
    actions,
    end,
    message: session.events().bugs[0]?.message ?? null,
    log: session
      .events()
      .log.map((l) => ({ insn: l.insn - readyAt, text: l.text }))
      .filter((l) => l.insn >= at),
  };
}

// promise: what the mechanism itself vouches for, see promises.ts and docs/checks.md. Here for one commit of the whole
// kernel, in promise-thread.ts for everything that switches in parts: nobody is in an old function at it, no new one is entered before it, no old one after it, no visit has both.
import type { Image } from "../link/index.ts";
import { quiescentSet } from "../patch/index.ts";
import { addressName, newAt, oldAt } from "./address.ts";
import { perList } from "./frames.ts";
import {
  chosenBefore,
  functionPromise,
  interruptPromise,
  threadPromise,
  wasAtEntry,
} from "./promise-thread.ts";
import { promiseOf } from "./promises.ts";
import {
  otherSide,
  type Commit,
  type Entry,
  type Trace,
  type TraceFrame,
  type TraceStack,
  type Violation,
} from "./trace.ts";

function violation(
  trace: Trace,
  at: { readonly insn: number; readonly vcpu: number | null; readonly ip: bigint },
  task: string,
  message: string,
): Violation {
  return {
    check: "promise",
    vcpu: at.vcpu,
    insn: at.insn,
    task,
    ip: at.ip,
    symbol: addressName(trace.image, trace.plan, at.ip),
    message,
  };
}

/** A return address belongs to the call before it, which may be the last instruction of its function. */
function inside(f: TraceFrame): bigint {
  return f.isCall ? f.ip - 1n : f.ip;
}

function onStack(trace: Trace, commit: Commit): readonly Violation[] {
  const out: Violation[] = [];
  const at = trace.from === "old" ? oldAt : newAt;
  const leftIn = perList((frames) => frames.find((f) => at(trace.plan, inside(f)) !== undefined));
  for (const s of commit.stacks) {
    const frame = leftIn(s.frames);
    if (frame === undefined) continue;
    const name = at(trace.plan, inside(frame))?.name ?? "";
    out.push(
      violation(
        trace,
        { insn: commit.insn, vcpu: s.vcpu ?? null, ip: frame.ip },
        s.task.comm,
        `${s.task.comm} is in the ${trace.from} ${name} at the commit`,
      ),
    );
  }
  return out;
}

/** The function that holds `va`; undefined in entry code, which is on every stack and is no function. */
function functionAt(image: Image, va: bigint): string | undefined {
  return image.symbols.find((s) => s.type === "func" && va >= s.va && va < s.va + s.size)?.name;
}

/** Who was gathered has nothing but quiescent code on its stack. */
function notQuiescent(trace: Trace, commit: Commit): readonly Violation[] {
  const quiet = new Set(quiescentSet(trace.image));
  const isGathered = (s: TraceStack): boolean =>
    s.task.kind === "user" || s.task.kind === "kthread";
  const out: Violation[] = [];
  const notQuiet = perList((frames) =>
    frames.find((f) => {
      const name = functionAt(trace.image, inside(f));
      return name !== undefined && !quiet.has(name);
    }),
  );
  for (const s of commit.stacks.filter(isGathered)) {
    const frame = notQuiet(s.frames);
    if (frame === undefined) continue;
    const symbol = addressName(trace.image, trace.plan, frame.ip);
    out.push(
      violation(
        trace,
        { insn: commit.insn, vcpu: s.vcpu ?? null, ip: frame.ip },
        s.task.comm,
        `${s.task.comm} is not quiescent at the commit: ${symbol} is on its stack`,
      ),
    );
  }
  return out;
}

function who(e: Entry): string {
  return e.task?.comm ?? `interrupt on vCPU ${e.vcpu}`;
}

function entries(trace: Trace, commit: Commit): readonly Violation[] {
  const out: Violation[] = [];
  const seen = new Set<string>();
  const to = otherSide(trace.from);
  for (const e of trace.entries) {
    if (e.kind !== "old" && e.kind !== "new") continue;
    if (e.kind !== (e.insn < commit.insn ? to : trace.from)) continue;
    const name = trace.plan.functions[e.index]?.name ?? "";
    const stack = commit.stacks.find((s) => s.task.lo === e.task?.lo);
    const at = stack && chosenBefore(trace, e, { insn: commit.insn, frames: stack.frames });
    const when = e.kind === to ? "before" : "after";
    const message =
      at === undefined
        ? `${who(e)} enters the ${e.kind} ${name} ${when} the commit`
        : `${who(e)} ${wasAtEntry(at, "the patch was committed")} the ${e.kind} ${name}`;
    if (seen.has(message)) continue;
    seen.add(message);
    const found = violation(trace, e, who(e), message);
    out.push(at === undefined ? found : { ...found, atEntry: at.name });
  }
  return out;
}

/** A visit is what a user task does from one entry from user mode to the next. */
function visits(trace: Trace): readonly Violation[] {
  const out: Violation[] = [];
  const first = new Map<bigint, Entry>();
  const told = new Set<bigint>();
  for (const e of trace.entries) {
    if (e.task?.kind !== "user") continue;
    const { lo } = e.task;
    if (e.kind === "syscall" || e.kind === "user") first.delete(lo);
    if (e.kind !== "old" && e.kind !== "new") continue;
    const before = first.get(lo);
    if (before === undefined) first.set(lo, e);
    else if (before.kind !== e.kind && !told.has(lo)) {
      told.add(lo);
      const name = (x: Entry): string =>
        `the ${x.kind} ${trace.plan.functions[x.index]?.name ?? ""}`;
      const message = `${who(e)} enters ${name(before)} and then ${name(e)} in one visit`;
      out.push(violation(trace, e, who(e), message));
    }
  }
  return out;
}

/** The predicate of a mechanism that switches the whole kernel at one commit. */
export function kernelPromise(trace: Trace, isQuiescent: boolean): readonly Violation[] {
  const { commit } = trace;
  if (commit === undefined) return [];
  return [
    ...onStack(trace, commit),
    ...(isQuiescent ? notQuiescent(trace, commit) : []),
    ...entries(trace, commit),
    ...visits(trace),
  ];
}

export function promise(trace: Trace): readonly Violation[] {
  const promised = promiseOf(trace.mechanism);
  switch (promised.scope) {
    case "nothing":
      return [];
    case "kernel":
      return kernelPromise(trace, promised.isQuiescent);
    case "thread":
      return threadPromise(trace);
    case "visit":
      return [...threadPromise(trace), ...visits(trace), ...interruptPromise(trace)];
    case "function":
      return functionPromise(trace);
  }
}

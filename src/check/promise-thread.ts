// The promises of mechanisms that switch task by task, CPU by CPU, or function by function: who enters which variant when.
// An activation counts from the instruction at the function's entry, because that is where it is decided.
import type { PatchedFunction } from "../patch/index.ts";
import { addressName, entryAt, newAt, oldAt } from "./address.ts";
import { perList } from "./frames.ts";
import {
  otherSide,
  type Entry,
  type Switch,
  type Trace,
  type TraceFrame,
  type Violation,
} from "./trace.ts";

/** An activation of a patched function. */
interface Activation {
  readonly entry: Entry;
  /** The instruction at the entry of the old function, which every call executes first. */
  readonly start: number;
  /** A call inside the patch, which did not come through that entry. */
  readonly isDirect: boolean;
}

function violation(trace: Trace, e: Entry, message: string, at?: PatchedFunction): Violation {
  return {
    check: "promise",
    vcpu: e.vcpu,
    insn: e.insn,
    task: who(e),
    ip: e.ip,
    symbol: addressName(trace.image, trace.plan, e.ip),
    message,
    ...(at && { atEntry: at.name }),
  };
}

function who(e: Entry): string {
  return e.task?.comm ?? `interrupt on vCPU ${e.vcpu}`;
}

function nameOf(trace: Trace, e: Entry): string {
  return trace.plan.functions[e.index]?.name ?? "";
}

/** Whose universe an entry belongs to: a task, or the interrupts of a CPU. */
function owner(e: Entry): bigint {
  return e.task?.lo ?? BigInt(-1 - e.vcpu);
}

function activations(trace: Trace): readonly Activation[] {
  const site = new Map<string, number>();
  const out: Activation[] = [];
  for (const entry of trace.entries) {
    const key = `${owner(entry)} ${entry.index}`;
    if (entry.kind === "site") site.set(key, entry.insn);
    if (entry.kind === "old" || entry.kind === "new") {
      const start = site.get(key);
      out.push({ entry, start: start ?? entry.insn, isDirect: start === undefined });
      site.delete(key); // a call that did not come through the old entry has none
    }
  }
  return out;
}

/** A task's switches by the stack that it runs on. */
function switchesOf(trace: Trace): ReadonlyMap<bigint, readonly Switch[]> {
  const out = new Map<bigint, Switch[]>();
  for (const s of trace.switches) {
    const own = out.get(s.task.lo);
    if (own === undefined) out.set(s.task.lo, [s]);
    else own.push(s);
  }
  return out;
}

/** A return address belongs to the call before it. */
function inside(f: TraceFrame): bigint {
  return f.isCall ? f.ip - 1n : f.ip;
}

/** At its switch a task is in no function that it leaves. */
function activeAtSwitch(trace: Trace): readonly Violation[] {
  const left = {
    new: perList((frames) => frames.find((f) => oldAt(trace.plan, inside(f)) !== undefined)),
    old: perList((frames) => frames.find((f) => newAt(trace.plan, inside(f)) !== undefined)),
  };
  return trace.switches.flatMap((s) => {
    const at = s.to === "new" ? oldAt : newAt;
    const frame = left[s.to](s.frames);
    if (frame === undefined) return [];
    const f: PatchedFunction | undefined = at(trace.plan, inside(frame));
    const side = s.to === "new" ? "old" : "new";
    return [
      {
        check: "promise" as const,
        vcpu: null,
        insn: s.insn,
        task: s.task.comm,
        ip: frame.ip,
        symbol: addressName(trace.image, trace.plan, frame.ip),
        message: `${s.task.comm} is in the ${side} ${f?.name ?? ""} when it is switched (${s.how})`,
      },
    ];
  });
}

/**
 * The function at whose entry a task was at an earlier moment, if its handler can have chosen the variant of `e` before that: the
 * task has not come to an entry or to the boundary since.
 */
export function chosenBefore(
  trace: Trace,
  e: Entry,
  moment: { readonly insn: number; readonly frames: readonly TraceFrame[] },
): PatchedFunction | undefined {
  const at = entryAt(trace.plan, moment.frames);
  if (at === undefined) return undefined;
  const isSince = (x: Entry): boolean =>
    x.task?.lo === e.task?.lo &&
    x.insn >= moment.insn &&
    x.insn < e.insn &&
    (x.kind === "site" || x.kind === "syscall" || x.kind === "user");
  return trace.entries.some(isSince) ? undefined : at.f;
}

/** Words for such an entry; what is entered comes behind them. */
export function wasAtEntry(f: PatchedFunction, when: string): string {
  return `was at the entry of ${f.name} when ${when}, and enters`;
}

/** Every activation is of the universe that its task was in; once the mechanism is done there is one. */
export function threadPromise(trace: Trace): readonly Violation[] {
  const switches = switchesOf(trace);
  const out: Violation[] = [...activeAtSwitch(trace)];
  const known = new Set(trace.tasks.map((t) => t.lo));
  const told = new Set<string>();
  const tell = (e: Entry, message: string, at?: PatchedFunction): void => {
    if (told.has(message)) return;
    told.add(message);
    out.push(violation(trace, e, message, at));
  };
  const everybody = trace.outcome?.result === "applied" ? trace.outcomeAt : undefined;
  for (const { entry: e, start } of activations(trace)) {
    const name = nameOf(trace, e);
    if (everybody !== undefined && start >= everybody && e.kind === trace.from) {
      tell(e, `${who(e)} enters the ${e.kind} ${name} after everybody was switched`);
      continue;
    }
    if (e.task === undefined) continue;
    const own = switches.get(e.task.lo) ?? [];
    const last = own.findLast((s) => s.insn <= (s.decided === true ? e.insn : start));
    // A task without a switch of its own was made in the universe of its parent.
    if (last === undefined && own.length === 0 && !known.has(e.task.lo)) {
      continue;
    }
    const universe = last?.to ?? trace.from;
    if (e.kind === universe) continue;
    const at = last && chosenBefore(trace, e, last);
    if (last !== undefined && at !== undefined) {
      const was = wasAtEntry(at, `it was switched (${last.how})`);
      tell(e, `${who(e)} ${was} the ${e.kind} ${name}`, at);
      continue;
    }
    const when = last === undefined ? "before it was switched" : `after its switch (${last.how})`;
    tell(e, `${who(e)} enters the ${e.kind} ${name} ${when}`);
  }
  return out;
}

/** On each CPU interrupts go from the functions of one side to those of the other, once. */
export function interruptPromise(trace: Trace): readonly Violation[] {
  const out: Violation[] = [];
  const to = otherSide(trace.from);
  const switched = new Set<number>();
  for (const { entry: e } of activations(trace)) {
    if (e.task !== undefined) continue;
    if (e.kind === to) switched.add(e.vcpu);
    else if (switched.has(e.vcpu)) {
      const what = `enters the ${e.kind} ${nameOf(trace, e)} after a${to === "old" ? "n" : ""} ${to} one`;
      out.push(violation(trace, e, `${who(e)} ${what}`));
    }
  }
  return out;
}

/** For each function there is an instruction from which on every activation that comes through its entry is of one side. */
export function functionPromise(trace: Trace): readonly Violation[] {
  const out: Violation[] = [];
  trace.plan.functions.forEach((f, i) => {
    const stores = trace.writes.filter((w) => w.va >= f.jumpVa && w.va < f.jumpVa + 5n);
    const last = stores.at(-1);
    if (last === undefined) return;
    const late = activations(trace).find(
      (a) =>
        a.entry.index === i && a.entry.kind === trace.from && !a.isDirect && a.start > last.insn,
    );
    if (late === undefined) return;
    const message = `${who(late.entry)} enters the ${trace.from} ${f.name} after it was redirected`;
    out.push(violation(trace, late.entry, message));
  });
  return out;
}

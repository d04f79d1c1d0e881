// The promises of mechanisms that switch task by task, CPU by CPU, or function by function: who enters which variant when.
// An activation counts from the instruction at the function's entry, because that is where it is decided.
import type { PatchedFunction } from "../patch/index.ts";
import { addressName, newAt, oldAt } from "./address.ts";
import { perList } from "./frames.ts";
import type { Entry, Switch, Trace, TraceFrame, Violation } from "./trace.ts";

/** An activation of a patched function. */
interface Activation {
  readonly entry: Entry;
  /** The instruction at the entry of the old function, which every call executes first. */
  readonly start: number;
}

function violation(trace: Trace, e: Entry, message: string): Violation {
  return {
    check: "promise",
    vcpu: e.vcpu,
    insn: e.insn,
    task: who(e),
    ip: e.ip,
    symbol: addressName(trace.image, trace.plan, e.ip),
    message,
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
      out.push({ entry, start: site.get(key) ?? entry.insn });
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

/** Every activation is of the universe that its task was in; once the mechanism has applied there is one. */
export function threadPromise(trace: Trace): readonly Violation[] {
  const switches = switchesOf(trace);
  const out: Violation[] = [...activeAtSwitch(trace)];
  const known = new Set(trace.tasks.map((t) => t.lo));
  const told = new Set<string>();
  const tell = (e: Entry, message: string): void => {
    if (told.has(message)) return;
    told.add(message);
    out.push(violation(trace, e, message));
  };
  const everybody = trace.outcome?.result === "applied" ? trace.outcomeAt : undefined;
  for (const { entry: e, start } of activations(trace)) {
    const name = nameOf(trace, e);
    if (everybody !== undefined && start >= everybody && e.kind === "old") {
      tell(e, `${who(e)} enters the old ${name} after everybody was switched`);
      continue;
    }
    if (e.task === undefined) continue;
    const own = switches.get(e.task.lo) ?? [];
    const last = own.findLast((s) => s.insn <= (s.decided === true ? e.insn : start));
    // A task without a switch of its own was made in the universe of its parent.
    if (last === undefined && own.length === 0 && !known.has(e.task.lo)) {
      continue;
    }
    const universe = last?.to ?? "old";
    if (e.kind === universe) continue;
    const when = last === undefined ? "before it was switched" : `after its switch (${last.how})`;
    tell(e, `${who(e)} enters the ${e.kind} ${name} ${when}`);
  }
  return out;
}

/** On each CPU interrupts go from the old functions to the new ones, once. */
export function interruptPromise(trace: Trace): readonly Violation[] {
  const out: Violation[] = [];
  const isNew = new Set<number>();
  for (const { entry: e } of activations(trace)) {
    if (e.task !== undefined) continue;
    if (e.kind === "new") isNew.add(e.vcpu);
    else if (isNew.has(e.vcpu)) {
      out.push(violation(trace, e, `${who(e)} enters the old ${nameOf(trace, e)} after a new one`));
    }
  }
  return out;
}

/** For each function there is an instruction from which on every activation is new. */
export function functionPromise(trace: Trace): readonly Violation[] {
  const out: Violation[] = [];
  trace.plan.functions.forEach((f, i) => {
    const stores = trace.writes.filter((w) => w.va >= f.jumpVa && w.va < f.jumpVa + 5n);
    const last = stores.at(-1);
    if (last === undefined) return;
    const late = activations(trace).find(
      (a) => a.entry.index === i && a.entry.kind === "old" && a.start > last.insn,
    );
    if (late === undefined) return;
    const message = `${who(late.entry)} enters the old ${f.name} after it was redirected`;
    out.push(violation(trace, late.entry, message));
  });
  return out;
}

// Watches one patch run and turns it into a Trace: the call log from watches on the machine, the true stacks at the
// commit, what is left at the end. It changes nothing in the guest and decides nothing.
import {
  dynamicText,
  readField,
  readRunQueues,
  readTask,
  readUint,
  returnTrampolines,
  symbolVa,
  TASK,
  TASK_STATE,
  type Task,
} from "../kernel/index.ts";
import { findSymbol } from "../link/index.ts";
import { runners, trueStack, trueStackOf, type LogRecord } from "../machine/index.ts";
import type { PatchPlan, Session } from "../patch/index.ts";
import { oldAt } from "./address.ts";
import { FrameLists, perList } from "./frames.ts";
import { commitWrites, promiseOf } from "./promises.ts";
import { collectSwitches, framesOf, watchSwitches } from "./switches.ts";
import {
  ENTRY_KINDS,
  type Commit,
  type Entry,
  type EntryKind,
  type Held,
  type RunEnd,
  type Side,
  type Trace,
  type TraceFrame,
  type TraceStack,
  type TraceTask,
} from "./trace.ts";

const WINDOW = 5n;
const NO_FRAMES: readonly TraceFrame[] = [];
/** Of how many tasks that hold a try up the true stacks are taken. */
const MAX_TOLD = 64;
/** Ids of the watches: the kind of entry times this, plus the function's index. */
const ID_KIND = 1 << 16;

/** Kernel labels that a run is watched at, besides the plan's own addresses. */
const LABELS: Readonly<Partial<Record<EntryKind, readonly string[]>>> = {
  syscall: ["do_syscall_64"],
  user: ["swapgs_restore_regs_and_return_to_usermode", "syscall_return_via_sysret"],
  stop: ["multi_cpu_stop"],
  resume: ["multi_cpu_stop_exit"],
  gather: ["checkpoint_stop"],
  leave: ["checkpoint_leave"],
};

function idOf(kind: EntryKind, index: number): number {
  return (ENTRY_KINDS.indexOf(kind) + 1) * ID_KIND + index;
}

/** Sets the watches that observe() needs. Once per session and plan: they outlive snapshots. */
export function watchPlan(session: Session, plan: PatchPlan): readonly number[] {
  const handles: number[] = [];
  for (const [i, f] of plan.functions.entries()) {
    handles.push(
      session.watch({
        kind: "range",
        lo: f.jumpVa,
        hi: f.jumpVa + WINDOW,
        id: idOf("site", i),
      }),
      session.watch({ kind: "entry", lo: f.bodyVa, id: idOf("old", i) }),
      session.watch({ kind: "entry", lo: f.newBodyVa, id: idOf("new", i) }),
    );
  }
  for (const kind of ENTRY_KINDS) {
    for (const label of LABELS[kind] ?? []) {
      const s = findSymbol(session.image, label);
      if (s) handles.push(session.watch({ kind: "entry", lo: s.va, id: idOf(kind, 0) }));
    }
  }
  watchSwitches(session);
  return handles;
}

/** How a trace names a task that is there at this moment. */
function namer(session: Session): (t: Task) => TraceTask {
  const { image, read } = session;
  const stoppers = new Set(readRunQueues(read, image).map((q) => q.stop));
  const patchd = findSymbol(image, "patchd_task");
  const patchdVa = patchd === undefined ? 0n : readUint(read, patchd.va, 8);
  const kindOf = (t: Task): TraceTask["kind"] => {
    if (t.isIdle) return "idle";
    const { va } = t;
    if (stoppers.has(va)) return "stopper";
    if (va === patchdVa) return "patchd";
    if (t.state === TASK_STATE.DEAD) return "dead";
    return t.isKthread ? "kthread" : "user";
  };
  return (task) => ({
    pid: task.pid,
    comm: task.comm,
    kind: kindOf(task),
    ...task.stack,
    runnable: task.state === TASK_STATE.RUNNING && !task.isIdle,
  });
}

/** The tasks of a session at this moment, as a trace names them. */
function traceTasks(session: Session): readonly TraceTask[] {
  return session.tasks().map(namer(session));
}

/** A task that is not among those of before. */
function named(t: Task): TraceTask {
  const kind = t.isKthread ? "kthread" : "user";
  return { pid: t.pid, comm: t.comm, kind, lo: t.stack.lo, hi: t.stack.hi, runnable: false };
}

/** The true kernel stacks of all tasks at this moment. A task in user mode has an empty one. */
export function trueStacks(
  session: Session,
  lists: FrameLists = new FrameLists(),
): readonly TraceStack[] {
  const { machine: m } = session;
  const made = dynamicText(session.read, session.image);
  const trampolines = new Set(returnTrampolines(session.image).map((t) => t.lo));
  const running = runners(m);
  const frame = (ip: bigint, isCall: boolean): TraceFrame => {
    const isDynamic = made.some((r) => ip >= r.lo && ip < r.hi);
    return isDynamic ? { ip, isCall, isDynamic } : { ip, isCall };
  };
  const name = namer(session);
  return session.tasks().map((task) => {
    const named = name(task);
    const vcpu = running.get(named.lo);
    if (task.onCpu && vcpu === undefined) return { task: named, vcpu: undefined, frames: [] };
    const truth =
      vcpu === undefined ? trueStack(m, named.lo, trampolines) : trueStackOf(m, vcpu, trampolines);
    const frames: TraceFrame[] = [];
    if (vcpu !== undefined && truth) frames.push(frame(m.reg(vcpu, "rip"), false));
    for (const f of truth?.frames ?? []) {
      if (f.kind === "user") break;
      frames.push(frame(f.ret, f.kind === "call"));
    }
    return { task: named, vcpu, frames: lists.share(frames) };
  });
}

/** What the observer cannot see for itself. Instruction counts are the machine's own. */
export interface ObservedRun {
  readonly scenario: string;
  readonly mechanism: string;
  readonly plan: PatchPlan;
  /** "new" when the patch is to be taken out; "old" when nothing is said. */
  readonly from?: Side;
  readonly readyAt: number;
  readonly budgetInsns: number;
  readonly resultSymbols: readonly string[];
  readonly expected: Readonly<Record<string, bigint>>;
  /** The kernel's text at the request. */
  readonly pristine: Uint8Array;
}

/** An observation under way. */
export interface Observation {
  /** Ends it. end: why the run ended. */
  finish(end: RunEnd): Trace;
  readonly tasks: readonly TraceTask[];
  /** Virtual time of patchd's vCPU at the request. */
  readonly requestTime: number;
}

/** The scenario's results now. */
export function readResults(
  session: Session,
  symbols: readonly string[],
): Readonly<Record<string, bigint>> {
  return Object.fromEntries(symbols.map((s) => [s, session.word(s)]));
}

function changedBytes(session: Session, pristine: Uint8Array): readonly bigint[] {
  const now = session.text();
  const start = symbolVa(session.image, "_stext");
  const out: bigint[] = [];
  for (let i = 0; i < pristine.length && out.length < 64; i++) {
    if (now[i] !== pristine[i]) out.push(start + BigInt(i));
  }
  return out;
}

/** Begins to observe, right before the request. */
export function observe(session: Session, run: ObservedRun): Observation {
  const { plan, readyAt } = run;
  const { machine } = session;
  const requestAt = machine.retired - readyAt;
  const lists = new FrameLists();
  const before = trueStacks(session, lists);
  const tasks = before.map((s) => s.task);
  const byLo = new Map(tasks.map((t) => [t.lo, t]));
  const patchd = findSymbol(session.image, "patchd_task");
  const patchdVa = patchd === undefined ? 0n : readUint(session.read, patchd.va, 8);
  const patchdCpu = patchdVa === 0n ? 0 : readTask(session.read, session.image, patchdVa).cpu;
  const requestTime = machine.time(patchdCpu);
  const isCommit = commitWrites(promiseOf(run.mechanism), session.image, plan);
  const isInOld = perList((frames) => frames.some((f) => oldAt(plan, f.ip) !== undefined));
  const isInside = before.some((s) => isInOld(s.frames));
  const windows = plan.functions.map((f) => machine.read(f.jumpVa, Number(WINDOW)));
  const dynamic = dynamicText(session.read, session.image).map((r) => r.lo);
  let commit: Commit | undefined;
  const nameOf = (t: Task): TraceTask => {
    const known = byLo.get(t.stack.lo);
    if (known !== undefined && known.pid === t.pid) return known;
    const isUsed = readField(session.read, TASK, t.va, "usage") !== 0n;
    return isUsed ? namer(session)(t) : named(t);
  };
  const collected = collectSwitches(session, plan, readyAt, lists, nameOf);
  session.agent.onWrite = (w) => {
    collected.wrote(w);
    if (isCommit(w)) commit = { insn: w.insn - readyAt, stacks: trueStacks(session, lists) };
  };
  const held: Held[] = [];
  let nr = 1;
  let told = 0;
  session.agent.onSeen = (insn, seen) => {
    for (const { va, ...blocker } of seen) {
      const isTold = told++ < MAX_TOLD;
      const task = isTold ? readTask(session.read, session.image, va) : undefined;
      const frames = task === undefined ? NO_FRAMES : framesOf(session, task);
      held.push({ insn: insn - readyAt, nr, blocker, frames });
    }
  };
  session.agent.onProgress = () => {
    nr++;
    told = 0;
  };
  const finish = (end: RunEnd): Trace => {
    session.agent.onWrite = undefined;
    session.agent.onSeen = undefined;
    session.agent.onProgress = undefined;
    collected.stop();
    const events = session.events();
    const state = session.agent.state();
    const isCrash = end === "bug" || end === "shutdown";
    const ending = isCrash ? [] : trueStacks(session, lists);
    const late = isCrash ? traceTasks(session) : ending.map((s) => s.task);
    const byStack = new Map([...late, ...tasks].map((t) => [t.lo, t]));
    const size = tasks[0] ? tasks[0].hi - tasks[0].lo : 1n;
    const from = (insn: number): number => insn - readyAt;
    const ips = new Map<number, bigint>();
    /** Most watches are of one address, whose value their entries share. */
    const ipOf = (r: LogRecord): bigint => {
      const last = ips.get(r.id);
      if (last === r.rip) return last;
      ips.set(r.id, r.rip);
      return r.rip;
    };
    const entryOf = (r: LogRecord): Entry | undefined => {
      const kind = ENTRY_KINDS[Math.floor(r.id / ID_KIND) - 1];
      if (kind === undefined || from(r.insn) < requestAt) return undefined;
      return {
        kind,
        insn: from(r.insn),
        vcpu: r.vcpu,
        time: r.time,
        ip: ipOf(r),
        index: r.id % ID_KIND,
        // An empty stack's sp is one past its end.
        task: byStack.get(((r.rsp - 1n) / size) * size),
      };
    };
    const entriesOf = function* (records: Iterable<LogRecord>): Generator<Entry> {
      for (const r of records) {
        const e = entryOf(r);
        if (e !== undefined) yield e;
      }
    };
    return Object.freeze({
      scenario: run.scenario,
      mechanism: run.mechanism,
      image: session.image,
      plan,
      from: run.from ?? "old",
      requestAt,
      end,
      endedAt: from(machine.retired),
      budgetInsns: run.budgetInsns,
      outcome: state.outcome,
      outcomeAt: state.doneAt === undefined ? undefined : from(state.doneAt),
      doneAt: events.doneAt === undefined ? undefined : from(events.doneAt),
      writes: state.writes.map((w) => ({ ...w, insn: from(w.insn) })),
      logs: state.logs.map((l) => ({ ...l, insn: from(l.insn) })),
      dmesg: events.log
        .map((l) => ({ ...l, insn: from(l.insn) }))
        .filter((l) => l.insn >= requestAt),
      held,
      entries: [...entriesOf(events.records)],
      bugs: events.bugs.map((b) => ({ ...b, insn: from(b.insn) })),
      tasks,
      times: Array.from({ length: machine.nrVcpus }, (_, v) => machine.time(v)),
      windows,
      dynamic,
      isInside,
      commit,
      switches: collected.switches,
      ending,
      changed: changedBytes(session, run.pristine),
      results: readResults(session, run.resultSymbols),
      expected: run.expected,
    });
  };
  return { finish, tasks, requestTime };
}

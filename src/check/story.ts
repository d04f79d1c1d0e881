// Who was where at a violation: the task, its CPU and system call, the two variants of the function, and its stack as it
// truly is beside what the frame-pointer unwinder makes of it. For people; no check depends on it.
import {
  perCpuVa,
  PCPU_HOT,
  PT_REGS,
  readField,
  readTasks,
  readUint,
  stateName,
  symbolVa,
  type Task,
} from "../kernel/index.ts";
import { symbolAt } from "../link/index.ts";
import { runnerOf, trueStack, trueStackOf } from "../machine/index.ts";
import type { GuestBug, PatchedFunction, PatchPlan, Session } from "../patch/index.ts";
import {
  stackTraceSaveRegs,
  stackTraceSaveTskReliable,
  UNWINDERS,
  walkMemory,
  type Trace as Walk,
} from "../unwind/index.ts";
import { addressName, hex, oldAt } from "./address.ts";
import { trueAddresses } from "./score.ts";
import type { Violation } from "./trace.ts";

/** A variant of a function: its address and size. */
export interface StoryVariant {
  readonly name: string;
  readonly old: { readonly va: string; readonly size: number };
  readonly new: { readonly va: string; readonly size: number };
}

/** One task of the story. truth and seen: symbols, innermost first. */
export interface StoryTask {
  readonly task: string;
  readonly pid: number;
  readonly vcpu: number | null;
  /** The handler of the system call that it is in. */
  readonly syscall: string | null;
  readonly truth: readonly string[];
  readonly seen: readonly string[];
  /** Why the unwinder does not vouch for what it saw. */
  readonly doubt: string | null;
}

export interface Story {
  readonly violation: Violation;
  readonly functions: readonly StoryVariant[];
  /** The task of the violation first, then everybody else who runs or is in a patched function. */
  readonly tasks: readonly StoryTask[];
}

function variant(f: PatchedFunction): StoryVariant {
  return {
    name: f.name,
    old: { va: hex(f.oldVa), size: f.oldSize },
    new: { va: hex(f.newVa), size: f.newSize },
  };
}

function syscallOf(session: Session, task: Task, inKernel: boolean): string | null {
  if (task.isKthread || task.isIdle || !inKernel) return null;
  const nr = readField(session.read, PT_REGS, task.ptRegsVa, "ORIG_RAX");
  const table = symbolVa(session.image, "sys_call_table") + nr * 8n;
  if (table >= symbolVa(session.image, "__stop_sys_call_table")) return null;
  const handler = readUint(session.read, table, 8);
  return symbolAt(session.image, handler)?.name ?? hex(handler);
}

interface View {
  readonly truth: readonly bigint[];
  readonly walk: Walk | undefined;
}

function viewOf(session: Session, plan: PatchPlan, task: Task): View {
  const { machine: m, image } = session;
  const vcpu = runnerOf(m, task.stack.lo);
  if (vcpu === undefined) {
    if (task.onCpu) return { truth: [], walk: undefined };
    const memory = walkMemory(session.read, image, [plan.module]);
    return {
      truth: trueAddresses(trueStack(m, task.stack.lo), undefined),
      walk: stackTraceSaveTskReliable(UNWINDERS.fp, memory, task),
    };
  }
  const memory = walkMemory((va, n) => m.read(va, n, vcpu), image, [plan.module]);
  const ip = m.reg(vcpu, "rip");
  const regs = { ip, sp: m.reg(vcpu, "rsp"), bp: m.reg(vcpu, "rbp") };
  return {
    truth: trueAddresses(trueStackOf(m, vcpu), ip),
    walk: stackTraceSaveRegs(UNWINDERS.fp, memory, task, regs),
  };
}

/** At a BUG the stack of interest is that of the failing instruction, not of the handler that reports it. */
function viewOfBug(session: Session, plan: PatchPlan, task: Task, bug: GuestBug): View {
  const { image } = session;
  const memory = walkMemory((va, n) => session.machine.read(va, n, bug.vcpu), image, [plan.module]);
  const regs = { ip: bug.ip, sp: bug.rsp, bp: bug.rbp };
  return {
    truth: trueAddresses({ frames: bug.truth, ip: bug.ip, vcpu: bug.vcpu }, bug.ip),
    walk: stackTraceSaveRegs(UNWINDERS.fp, memory, task, regs),
  };
}

function told(session: Session, plan: PatchPlan, task: Task, view: View): StoryTask {
  const name = (ip: bigint): string => addressName(session.image, plan, ip);
  return {
    task: task.comm,
    pid: task.pid,
    vcpu: runnerOf(session.machine, task.stack.lo) ?? (task.onCpu ? task.cpu : null),
    syscall: syscallOf(session, task, view.truth.length > 0),
    truth: view.truth.map(name),
    seen: (view.walk?.frames ?? []).map((f) => name(f.ip)),
    doubt: view.walk?.error?.reason ?? null,
  };
}

/** Tells of a violation, with the session standing at its instruction. */
export function tellStory(
  session: Session,
  plan: PatchPlan,
  violation: Violation,
  bugs: readonly GuestBug[],
): Story {
  const { image, read } = session;
  const tasks = readTasks(read, image);
  const onVcpu = violation.vcpu;
  const current =
    onVcpu === null ? 0n : readField(read, PCPU_HOT, perCpuVa(image, onVcpu), "current_task");
  const main =
    tasks.find((t) => t.va === current && t.comm === violation.task) ??
    tasks.find((t) => t.comm === violation.task);
  const bug = bugs.find((b) => b.insn === violation.insn && b.pid === main?.pid);
  const all = tasks.map((task) => ({
    task,
    view: task === main && bug ? viewOfBug(session, plan, task, bug) : viewOf(session, plan, task),
  }));
  const isPatched = (ip: bigint): boolean =>
    oldAt(plan, ip) !== undefined ||
    plan.functions.some((f) => ip >= f.newVa && ip < f.newVa + BigInt(f.newSize));
  const chosen = [
    ...all.filter((x) => x.task === main),
    ...all.filter(
      (x) => x.task !== main && !x.task.isIdle && (x.task.onCpu || x.view.truth.some(isPatched)),
    ),
  ];
  return {
    violation,
    functions: plan.functions.map(variant),
    tasks: chosen.map(({ task, view }) => told(session, plan, task, view)),
  };
}

/** A vCPU at a moment. */
export interface CpuNow {
  readonly vcpu: number;
  readonly mode: "user" | "kernel";
  readonly task: string;
  readonly ip: string;
  readonly symbol: string;
}

/** A task at a moment, with its true stack beside the unwinder's. */
export interface StackNow extends StoryTask {
  readonly state: string;
}

/** Where everything is, with the session standing still. */
export function stacksNow(
  session: Session,
  plan: PatchPlan,
): { readonly cpus: readonly CpuNow[]; readonly stacks: readonly StackNow[] } {
  const { machine: m, image, read } = session;
  const tasks = readTasks(read, image);
  const cpus = Array.from({ length: m.nrVcpus }, (_, vcpu): CpuNow => {
    const va = readField(read, PCPU_HOT, perCpuVa(image, vcpu), "current_task");
    const ip = m.reg(vcpu, "rip");
    return {
      vcpu,
      mode: m.reg(vcpu, "cpl") === 3n ? "user" : "kernel",
      task: tasks.find((t) => t.va === va)?.comm ?? "",
      ip: hex(ip),
      symbol: addressName(image, plan, ip),
    };
  });
  const stacks = tasks.map((task) => ({
    ...told(session, plan, task, viewOf(session, plan, task)),
    state: stateName(task.state),
  }));
  return { cpus, stacks };
}

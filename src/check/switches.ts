// When and how each task came from one universe to the other, seen from outside: by the mechanism's stores to a task's
// patch_state or flag, and at the labels where a task does it itself. What a mechanism says of it is not asked.
import {
  CONSTANTS,
  readTask,
  readTasks,
  readUint,
  symbolVa,
  TASK,
  TIF,
  type Task,
} from "../kernel/index.ts";
import { findSymbol, symbolAt } from "../link/index.ts";
import { runnerOf, trueStack, trueStackOf } from "../machine/index.ts";
import type { AgentWrite, PatchPlan, Session } from "../patch/index.ts";
import { entryAt, oldAt } from "./address.ts";
import { perList, type FrameLists } from "./frames.ts";
import type { Switch, TraceFrame, TraceTask } from "./trace.ts";

/**
 * Labels at which a task has just been switched, or is about to be; its stack says what it was doing. checkpoint_cleared, which holds an
 * address, and kgr_task_is_safe are right behind the btr of its flag, and CF says whether it was set.
 */
const LABELS = [
  "klp_switched",
  "checkpoint_cleared",
  "kgr_task_is_safe",
  "kgr_mark_task_in_progress",
  "kgr_goes_new",
  "kgr_goes_old",
] as const;
const ID = 1 << 24;
const CF = 1n;

/** Sets the stop watches. Once per session: they outlive snapshots. */
export function watchSwitches(session: Session): void {
  LABELS.forEach((label, i) => {
    const s = findSymbol(session.image, label);
    if (s === undefined) return;
    const lo = s.type === "object" ? readUint(session.read, s.va, 8) : s.va;
    session.watch({ kind: "stop", lo, id: ID + i });
  });
}

/** What a task that switches itself is doing, by the functions on its stack. */
const DOING: readonly (readonly [name: string, how: string])[] = [
  ["__cond_resched", "cond_resched"],
  ["do_idle", "idle"],
  ["exit_to_user_mode_loop", "exit to user"],
  ["do_syscall_64", "syscall entry"],
];

/** The true stack of a task, from the instruction that it executes next if it is running. */
export function framesOf(session: Session, task: Task): TraceFrame[] {
  const { machine: m } = session;
  const vcpu = runnerOf(m, task.stack.lo);
  const truth = vcpu === undefined ? trueStack(m, task.stack.lo) : trueStackOf(m, vcpu);
  const frames: TraceFrame[] = [];
  if (vcpu !== undefined && truth) frames.push({ ip: m.reg(vcpu, "rip"), isCall: false });
  for (const f of truth?.frames ?? []) {
    if (f.kind === "user") break;
    frames.push({ ip: f.ret, isCall: f.kind === "call" });
  }
  return frames;
}

function howOf(session: Session, frames: readonly TraceFrame[]): string {
  const names = new Set(frames.map((f) => symbolAt(session.image, f.ip)?.name));
  return DOING.find(([name]) => names.has(name))?.[1] ?? "kthread";
}

/** The task is about to execute the instruction at the entry. */
function isBeforeSite(plan: PatchPlan, [own]: readonly TraceFrame[]): boolean {
  if (own === undefined || own.isCall) return false;
  const site = oldAt(plan, own.ip)?.site;
  return site !== undefined && own.ip <= site;
}

/** Collects switches from now on. */
export function collectSwitches(
  session: Session,
  plan: PatchPlan,
  readyAt: number,
  lists: FrameLists,
  name: (t: Task) => TraceTask,
): { readonly wrote: (w: AgentWrite) => void; readonly switches: readonly Switch[]; stop(): void } {
  const switches: Switch[] = [];
  const { image, read, machine } = session;
  const target = findSymbol(image, "klp_target_state");
  const arena = symbolVa(image, "task_structs");
  const offset = BigInt(TASK.fields.patch_state.offset);
  const add = (task: Task, to: "new" | "old", how: string | undefined): void => {
    const frames = lists.share(framesOf(session, task));
    const insn = machine.retired - readyAt;
    switches.push({ insn, task: name(task), to, how: how ?? howIn(frames), frames });
  };
  const howIn = perList((frames) => howOf(session, frames));
  const immutable = findSymbol(image, "kgr_immutable");
  const isImmutable = (): boolean =>
    immutable !== undefined && readUint(read, immutable.va, 4) !== 0n;
  const reverting = findSymbol(image, "kgr_revert");
  const policy = findSymbol(image, "checkpoint_policy");
  /** Who comes to the checkpoint goes on: it is kgraft that asks. */
  const isPassing = (): boolean =>
    policy !== undefined &&
    readUint(read, policy.va, 4) === BigInt(CONSTANTS.CHECKPOINT_POLICY_PASS);
  const wasFlagged = (vcpu: number): boolean => (machine.reg(vcpu, "rflags") & CF) !== 0n;
  /** Where kgraft's tasks go to. */
  const kgrTo = (): "new" | "old" =>
    reverting !== undefined && readUint(read, reverting.va, 4) !== 0n ? "old" : "new";
  const flag = 1n << BigInt(TIF.CHECKPOINT);
  /** Tasks in the stub when the universes parted: each finds out there which one is its own. */
  const undecided = new Map<bigint, Task>();
  /** Who has come in this transition: an interrupt at a label brings its task back to the label. */
  const came = new Set<bigint>();
  /** A switch without the innermost frames, which are of no variant yet. */
  const arrived = (task: Task, without: number, decided = false): void => {
    const frames = lists.share(framesOf(session, task).slice(without));
    came.add(task.stack.lo);
    const insn = machine.retired - readyAt;
    const s = { insn, task: name(task), to: kgrTo(), how: "not in progress", frames };
    switches.push(decided ? { ...s, decided } : s);
  };
  const part = (): void => {
    came.clear();
    // Whoever is not in progress when the universes part is in the one that all are to come to.
    for (const t of readTasks(read, image)) {
      if ((t.flags & flag) !== 0n) continue;
      const frames = framesOf(session, t);
      if (entryAt(plan, frames) === undefined) arrived(t, isBeforeSite(plan, frames) ? 1 : 0);
      else undecided.set(t.stack.lo, t);
    }
  };
  /** The stub has decided: it marks the task, as while all was immutable, or finds it not in progress. */
  const decide = (vcpu: number, isMarked: boolean): void => {
    const sp = machine.reg(vcpu, "rsp");
    const task = [...undecided.values()].find((t) => sp > t.stack.lo && sp <= t.stack.hi);
    if (task === undefined) return;
    undecided.delete(task.stack.lo);
    if (isMarked) return;
    arrived(task, entryAt(plan, framesOf(session, task))?.outer ?? 0, true);
  };
  const wrote = (w: AgentWrite): void => {
    if (w.va === immutable?.va && !isImmutable()) part();
    if (target === undefined || w.bytes.length !== 4) return;
    if (w.va === target.va) came.clear();
    const slot = w.va - offset - arena;
    if (slot < 0n || slot % BigInt(TASK.size) !== 0n) return;
    const wants = Number(readUint(read, target.va, 4)) | 0;
    const value = Number(readUint(() => w.bytes, 0n, 4)) | 0;
    if (value !== wants || wants === CONSTANTS.KLP_TRANSITION_IDLE) return;
    add(readTask(read, image, w.va - offset), wants === 1 ? "new" : "old", "stack check");
  };
  session.onStop = (id, vcpu) => {
    const label = LABELS[id - ID];
    if (label === undefined || (label !== "klp_switched" && isImmutable())) return;
    if (label === "kgr_mark_task_in_progress") return decide(vcpu, true);
    if (label === "kgr_goes_new" || label === "kgr_goes_old") {
      // It goes where all are to come to if it is not in progress.
      if (label === `kgr_goes_${kgrTo()}`) decide(vcpu, false);
      return;
    }
    if (label !== "klp_switched" && (!wasFlagged(vcpu) || !isPassing())) return;
    const at = machine.reg(vcpu, label === "checkpoint_cleared" ? "rbx" : "rdi");
    const task = readTask(read, image, at);
    if (came.has(task.stack.lo)) return;
    came.add(task.stack.lo);
    const isOwn = runnerOf(machine, task.stack.lo) === vcpu;
    const isBack = label === "klp_switched" && task.patchState === 0;
    const to = label === "klp_switched" ? (isBack ? "old" : "new") : kgrTo();
    add(task, to, isOwn ? undefined : "forced");
  };
  return {
    wrote,
    switches,
    stop: () => {
      session.onStop = undefined;
    },
  };
}

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
import type { AgentWrite, Session } from "../patch/index.ts";
import type { Switch, TraceFrame, TraceTask } from "./trace.ts";

/** Labels at which a task has just been switched, or is about to be; its stack says what it was doing. */
const LABELS = ["klp_switched", "checkpoint_pass", "kgr_task_is_safe"] as const;
const ID = 1 << 24;

/** Sets the stop watches. Once per session: they outlive snapshots. */
export function watchSwitches(session: Session): void {
  LABELS.forEach((label, i) => {
    const s = findSymbol(session.image, label);
    if (s) session.watch({ kind: "stop", lo: s.va, id: ID + i });
  });
}

/** What a task that switches itself is doing, by the functions on its stack. */
const DOING: readonly (readonly [name: string, how: string])[] = [
  ["klp_force_transition", "forced"],
  ["__cond_resched", "cond_resched"],
  ["do_idle", "idle"],
  ["exit_to_user_mode_loop", "exit to user"],
  ["do_syscall_64", "syscall entry"],
];

function framesOf(session: Session, task: Task): readonly TraceFrame[] {
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

/** Collects switches from now on. */
export function collectSwitches(
  session: Session,
  readyAt: number,
  name: (t: Task) => TraceTask,
): { readonly wrote: (w: AgentWrite) => void; readonly switches: readonly Switch[]; stop(): void } {
  const switches: Switch[] = [];
  const { image, read, machine } = session;
  const target = findSymbol(image, "klp_target_state");
  const offset = BigInt(TASK.fields.patch_state.offset);
  const add = (task: Task, to: "new" | "old", how: string | undefined): void => {
    const frames = framesOf(session, task);
    const insn = machine.retired - readyAt;
    switches.push({ insn, task: name(task), to, how: how ?? howOf(session, frames), frames });
  };
  const immutable = findSymbol(image, "kgr_immutable");
  const isImmutable = (): boolean =>
    immutable !== undefined && readUint(read, immutable.va, 4) !== 0n;
  const flag = 1n << BigInt(TIF.CHECKPOINT);
  const wrote = (w: AgentWrite): void => {
    if (w.va === immutable?.va && !isImmutable()) {
      // Whoever is not in progress when the universes part is in the new one.
      for (const t of readTasks(read, image)) {
        if ((t.flags & flag) === 0n) add(t, "new", "not in progress");
      }
    }
    if (target === undefined || w.bytes.length !== 4) return;
    const arena = symbolVa(image, "task_structs");
    const slot = w.va - offset - arena;
    if (slot < 0n || slot % BigInt(TASK.size) !== 0n) return;
    const wants = Number(readUint(read, target.va, 4)) | 0;
    const value = new DataView(w.bytes.buffer, w.bytes.byteOffset).getInt32(0, true);
    if (value !== wants || wants === CONSTANTS.KLP_TRANSITION_IDLE) return;
    add(readTask(read, image, w.va - offset), wants === 1 ? "new" : "old", "stack check");
  };
  session.onStop = (id, vcpu) => {
    const label = LABELS[id - ID];
    if (label === undefined || (label !== "klp_switched" && isImmutable())) return;
    const task = readTask(read, image, machine.reg(vcpu, "rdi"));
    const isOwn = runnerOf(machine, task.stack.lo) === vcpu;
    const to = label === "klp_switched" && task.patchState === 0 ? "old" : "new";
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

// Who is in the way of an update of ksplice: with the machine stopped, every word of every stack that leads into one of the
// update's safety records. It decides nothing. kernel: ksplice's kmodsrc/ksplice.c, check_each_task().
import {
  readRunQueues,
  readTasks,
  TASK_STATE,
  type GuestView,
  type Read,
  type Seen,
  type Task,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import { kernelTextAddress } from "../unwind/index.ts";
import { isOwnStack, type Switched } from "./mechanism.ts";
import type { PatchPlan } from "./plan.ts";
import { findMismatch, jumpOf } from "./run-pre.ts";

/** struct safety_record: code that nobody may be in or come back to. */
export interface SafetyRecord {
  readonly label: string;
  readonly lo: bigint;
  readonly hi: bigint;
}

/** An address that was looked at for a task in the way. */
interface ConflictAddr {
  readonly addr: bigint;
  readonly hasConflict: boolean;
}

/** struct conflict: a task in the way, and all that was looked at. */
export interface Conflict {
  readonly task: string;
  readonly pid: number;
  /** The function that was found; undefined for a task that runs where none should. */
  readonly label: string | undefined;
  readonly addrs: readonly ConflictAddr[];
}

/** What the check came to. `status`: the word of abort_cause. */
export interface Checked {
  readonly status: "ok" | "code_busy" | "unexpected_running_task";
  readonly conflicts: readonly Conflict[];
  readonly blockers: readonly Seen[];
  readonly tasks: readonly Switched[];
  /** How many addresses were looked at. */
  readonly words: number;
}

/** The records of an update: the functions that it replaces, as they were found, and all of its own. */
export function safetyRecords({ functions, module }: PatchPlan): readonly SafetyRecord[] {
  const record = (label: string, lo: bigint, size: bigint): SafetyRecord => ({
    label,
    lo,
    hi: lo + size,
  });
  return [
    ...functions.map((f) => record(f.name, f.oldVa, BigInt(f.oldSize))),
    ...module.symbols
      .filter((s) => s.type === "func" && s.size > 0n)
      .map((s) => record(s.name, s.va, s.size)),
  ];
}

/** follow_trampolines(): where an address really leads, through the jumps that are installed. */
function followTrampolines(read: Read, plans: readonly PatchPlan[]): (va: bigint) => bigint {
  const jumps = new Map<bigint, bigint>();
  for (const f of plans.flatMap((p) => p.functions)) {
    if (findMismatch(read, [jumpOf(f)]) === undefined) jumps.set(f.jumpVa, f.newVa);
  }
  return (va) => {
    let at = va;
    for (let to = jumps.get(at); to !== undefined; to = jumps.get(at)) at = to;
    return at;
  };
}

/** What check_task() looks at: restart_block.fn and, unless the task runs, every word of its stack in use. */
function addresses(read: Read, task: Task, sp: bigint | undefined): readonly bigint[] {
  const out = [task.restartFn];
  if (sp === undefined) return out;
  const bytes = read(sp, Number(task.stack.hi - sp) & ~7);
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < bytes.length; i += 8) out.push(words.getBigUint64(i, true));
  return out;
}

/**
 * check_each_task(), with the machine stopped. A task that runs and is no stopper ends the check.
 *
 * plan   its functions where they were found
 * below  the updates whose trampolines may be in the way to one of the records
 */
export function checkEachTask(
  g: GuestView,
  image: Image,
  plan: PatchPlan,
  below: readonly PatchPlan[],
): Checked {
  const queues = readRunQueues(g.read, image);
  const stoppers = new Set(queues.map((q) => q.stop));
  const running = new Set(queues.map((q) => q.curr));
  const records = safetyRecords(plan);
  const follow = followTrampolines(g.read, [...below, plan]);
  const recordAt = (va: bigint): SafetyRecord | undefined => {
    const at = follow(va);
    return records.find((r) => at >= r.lo && at < r.hi);
  };
  const images = [image, plan.module, ...below.map((p) => p.module)];
  const conflicts: Conflict[] = [];
  const blockers: Seen[] = [];
  const tasks: Switched[] = [];
  let words = 0;
  for (const task of readTasks(g.read, image)) {
    if (task.state === TASK_STATE.DEAD) continue;
    const isSelf = isOwnStack(g, task);
    const isRunning = !isSelf && running.has(task.va);
    if (isRunning && stoppers.has(task.va)) continue;
    const sp = isSelf ? g.registers.sp : isRunning ? undefined : task.sp;
    const all = addresses(g.read, task, sp);
    words += all.length;
    const hit = all.map(recordAt).find((r) => r !== undefined);
    if (!isSelf) tasks.push({ task: task.comm, pid: task.pid, how: "stack scan" });
    if (!isRunning && hit === undefined) continue;
    conflicts.push({
      task: task.comm,
      pid: task.pid,
      label: isRunning ? undefined : hit?.label,
      addrs: all.map((addr) => ({ addr, hasConflict: recordAt(addr) !== undefined })),
    });
    blockers.push({
      va: task.va,
      task: task.comm,
      pid: task.pid,
      reason: isRunning ? "unexpected running task" : "stack check: code is busy",
      symbol: isRunning ? undefined : hit?.label,
      stack: all.filter((va) => kernelTextAddress(images, va)),
    });
    if (isRunning) {
      return { status: "unexpected_running_task", conflicts, blockers, tasks, words };
    }
  }
  return { status: conflicts.length === 0 ? "ok" : "code_busy", conflicts, blockers, tasks, words };
}

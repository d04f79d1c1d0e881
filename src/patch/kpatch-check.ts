// kpatch's activeness safety check: the stack of every thread, walked with the machine stopped, against the variants that are in
// force of the functions that change. It decides nothing. kernel: kpatch's kmod/core/core.c, kpatch_verify_activeness_safety().
import {
  readRunQueues,
  readTasks,
  type GuestView,
  type Read,
  type Seen,
  type Task,
} from "../kernel/index.ts";
import { symbolAt } from "../link/index.ts";
import {
  KPATCH_MAX_STACK_ENTRIES,
  stackTraceSaveRegs,
  stackTraceSaveTskReliable,
  UNWINDERS,
  walkMemory,
  type Memory,
  type UnwinderName,
} from "../unwind/index.ts";
import { forcedFunctions, readFuncs, UNPATCH, type KpatchFunc } from "./kpatch-funcs.ts";
import { isOwnStack, type Request, type Switched } from "./mechanism.ts";

/** Code that must be on no stack: the variant that is in force now. */
interface ActiveRange {
  readonly name: string;
  readonly lo: bigint;
  readonly size: number;
}

export interface Checked {
  readonly blockers: readonly Seen[];
  readonly frames: number;
  readonly tasks: readonly Switched[];
  /** An NMI went through the handler while the functions were being changed. */
  readonly nmi: boolean;
}

function checkTask(
  g: GuestView,
  active: readonly ActiveRange[],
  unwinder: UnwinderName,
  memory: Memory,
  task: Task,
): Seen | number {
  const rows = UNWINDERS[unwinder];
  const isSelf = isOwnStack(g, task);
  const trace = isSelf
    ? stackTraceSaveRegs(rows, memory, task, g.registers, KPATCH_MAX_STACK_ENTRIES)
    : stackTraceSaveTskReliable(rows, memory, task, KPATCH_MAX_STACK_ENTRIES);
  const stack = trace.frames.map((f) => f.ip);
  const hit = stack
    .map((ip) => active.find((f) => ip >= f.lo && ip < f.lo + BigInt(f.size)))
    .find((f) => f !== undefined);
  const blocker = (reason: string, symbol: string | undefined): Seen => ({
    va: task.va,
    task: task.comm,
    pid: task.pid,
    reason,
    symbol,
    stack,
  });
  if (hit) return blocker("activeness safety check failed", hit.name);
  if (trace.error?.reason === "too_deep") {
    return blocker(`more than ${KPATCH_MAX_STACK_ENTRIES} trace entries!`, undefined);
  }
  // With nothing to be found on it a stack need not be sure.
  if (active.length > 0 && (isSelf ? !trace.complete : !trace.reliable)) {
    const e = trace.error;
    const symbol = e === undefined || e.ip === 0n ? undefined : e.symbol;
    return blocker(`unreliable stack (${e?.reason ?? "incomplete"})`, symbol);
  }
  return stack.length;
}

/** The variants that are in force of the functions of a patch, and those that a replacing patch drops. */
function activeRanges(read: Read, { image, plan, replace }: Request): readonly ActiveRange[] {
  const funcs = readFuncs(read, image);
  const nameOf = (f: KpatchFunc): string => symbolAt(image, f.oldAddr)?.name ?? "";
  const range = (f: KpatchFunc): ActiveRange => ({
    name: nameOf(f),
    lo: f.newAddr,
    size: f.newSize,
  });
  const forced = forcedFunctions(plan);
  const own = plan.functions
    .filter((f) => !forced.has(f.newVa))
    .map((f): ActiveRange => {
      const active = funcs.find((x) => x.oldAddr === f.site);
      return active === undefined ? { name: f.name, lo: f.oldVa, size: f.oldSize } : range(active);
    });
  const dropped = funcs.filter((f) => f.op === UNPATCH && !f.force);
  return replace === true ? [...own, ...dropped.map(range)] : own;
}

/**
 * kpatch_verify_activeness_safety(): every thread, with the machine stopped. The other CPUs' stoppers stand in the same
 * loop as the one that checks, so its stack speaks for theirs.
 */
export function verifyActivenessSafety(g: GuestView, request: Request): Checked {
  const { plan, unwinder } = request;
  const active = activeRanges(g.read, request);
  const stoppers = new Set(readRunQueues(g.read, g.image).map((q) => q.stop));
  const memory = walkMemory(g.read, g.image, [plan.module]);
  const blockers: Seen[] = [];
  let frames = 0;
  const tasks: Switched[] = [];
  for (const task of readTasks(g.read, g.image)) {
    const isSelf = isOwnStack(g, task);
    if (stoppers.has(task.va) && !isSelf) continue;
    const r = checkTask(g, active, unwinder, memory, task);
    if (typeof r !== "number") blockers.push(r);
    if (isSelf) continue; // at hand already: nothing to charge, and nobody to switch
    tasks.push({ task: task.comm, pid: task.pid, how: "stack check" });
    frames += typeof r === "number" ? r : r.stack.length;
  }
  return { blockers, frames, tasks, nmi: false };
}

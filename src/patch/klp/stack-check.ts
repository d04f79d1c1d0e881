// Whether a task may be switched: its stack, walked by whatever unwinder was chosen, against the functions that the
// transition replaces. kernel/livepatch/transition.c: klp_check_stack(), klp_check_and_switch_task().
import { readRunQueues, readTask, type GuestView, type Task } from "../../kernel/index.ts";
import {
  KLP_MAX_STACK_ENTRIES,
  stackTraceSaveRegs,
  stackTraceSaveTskReliable,
  UNWINDERS,
  walkMemory,
  type Trace,
} from "../../unwind/index.ts";
import { walkCost } from "../cost.ts";
import { isOwnStack } from "../mechanism.ts";
import type { KlpSystem } from "./system.ts";
import { findOps, readPatch, type KlpPatch } from "./view.ts";

/** Why a task stays as it is: "running" EBUSY, "unreliable" EINVAL, "busy" EADDRINUSE. */
export type Obstacle = "running" | "unreliable" | "busy";

/** A task's stack as the check saw it. */
export interface Checked {
  readonly obstacle: Obstacle | undefined;
  /** The function that was found, by its old name. */
  readonly symbol: string | undefined;
  /** Why the walk does not vouch for its frames. */
  readonly doubt: string | undefined;
  readonly stack: readonly bigint[];
}

/** A range of code that must be on no stack, and the name that it is reported by. */
interface Range {
  readonly name: string;
  readonly lo: bigint;
  readonly hi: bigint;
}

/** Patching: the variant in force before; unpatching: the new function. klp_check_stack_func() */
export function checkedRanges(g: GuestView, patch: KlpPatch, target: number): readonly Range[] {
  const ranges: Range[] = [];
  for (const object of patch.objects) {
    if (!object.patched) continue;
    for (const func of object.funcs) {
      let [lo, size] = [func.newFunc, func.newSize];
      if (target === 1) {
        const stack = findOps(g.read, g.image, func.oldFunc)?.stack ?? [];
        const prev = stack[stack.findIndex((f) => f.va === func.va) + 1];
        [lo, size] =
          prev === undefined ? [func.oldFunc, func.oldSize] : [prev.newFunc, prev.newSize];
      }
      ranges.push({ name: func.oldName, lo, hi: lo + size });
    }
  }
  return ranges;
}

function traceOf(g: GuestView, k: KlpSystem, task: Task, isSelf: boolean): Trace {
  const memory = walkMemory(
    g.read,
    k.image,
    k.modules(g.read).map((m) => m.image),
  );
  const rows = UNWINDERS[k.unwinder];
  return isSelf
    ? stackTraceSaveRegs(rows, memory, task, g.registers, KLP_MAX_STACK_ENTRIES)
    : stackTraceSaveTskReliable(rows, memory, task, KLP_MAX_STACK_ENTRIES);
}

/** klp_check_and_switch_task() without the switching: one task, under the locks of task_call_func(). */
export function checkTask(
  g: GuestView,
  k: KlpSystem,
  patchVa: bigint,
  target: number,
  taskVa: bigint,
): { readonly value: Checked; readonly cost: number } {
  const task = readTask(g.read, k.image, taskVa);
  const isSelf = isOwnStack(g, task);
  const none = { symbol: undefined, doubt: undefined, stack: [] } as const;
  const isCurrent = readRunQueues(g.read, k.image).some((q) => q.curr === taskVa);
  if (!isSelf && isCurrent) return { value: { obstacle: "running", ...none }, cost: 0 };
  const trace = traceOf(g, k, task, isSelf);
  const stack = trace.frames.map((f) => f.ip);
  const cost = walkCost(1, stack.length);
  if (isSelf ? !trace.complete : !trace.reliable) {
    const doubt = trace.error?.reason ?? "incomplete";
    return { value: { obstacle: "unreliable", symbol: undefined, doubt, stack }, cost };
  }
  const ranges = checkedRanges(g, readPatch(g.read, patchVa), target);
  const hit = ranges.find((r) => stack.some((ip) => ip >= r.lo && ip < r.hi));
  if (hit) return { value: { obstacle: "busy", symbol: hit.name, doubt: undefined, stack }, cost };
  // The answer is kept until the transition is over: a stack that is in nobody's way is not.
  return { value: { obstacle: undefined, ...none }, cost };
}

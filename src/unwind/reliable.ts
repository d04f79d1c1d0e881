// The door that live patching uses: the trace of a task that does not run, or the reason why there is none that can be
// relied on. kernel/stacktrace.c, stack_trace_save_tsk_reliable(); arch/x86/kernel/stacktrace.c,
// arch_stack_walk_reliable().
import {
  dynamicText,
  recoverRetAddr,
  returnTrampolines,
  type Read,
  type Task,
  type TextRange,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import type { Unwinder } from "./row.ts";
import { formatText } from "./text.ts";
import { archStackWalk, type Trace, type WalkInput } from "./walk.ts";

/** Entries that klp_check_stack() takes (MAX_STACK_ENTRIES), and those of kpatch's core module. */
export const KLP_MAX_STACK_ENTRIES = 100;
export const KPATCH_MAX_STACK_ENTRIES = 64;

/** What a walk of a task needs besides the task. */
export type Memory = Pick<
  WalkInput,
  "read" | "images" | "isText" | "recoverRetAddr" | "isReturnTrampoline"
>;

function inactive(memory: Memory, task: Task, maxFrames: number): WalkInput {
  return {
    ...memory,
    stack: task.stack,
    ptRegsVa: task.ptRegsVa,
    start: { kind: "inactive", threadSp: task.sp },
    maxFrames,
  };
}

/**
 * The stack of a task that is switched away from.
 *
 * returns  a trace with `reliable` set only if every function that may be returned to is in it
 * kernel   kernel/stacktrace.c, stack_trace_save_tsk_reliable()
 */
export function stackTraceSaveTskReliable(
  unwinder: Unwinder,
  memory: Memory,
  task: Task,
  maxFrames: number = KLP_MAX_STACK_ENTRIES,
): Trace {
  if (task.onCpu) {
    const error = {
      reason: "running",
      va: task.va,
      ip: 0n,
      symbol: formatText(memory.images, 0n),
    } as const;
    return { frames: [], complete: false, reliable: false, error };
  }
  return archStackWalk(unwinder, inactive(memory, task, maxFrames));
}

/**
 * The stack of a running task from the registers of its CPU, the instruction at ip included. Never reliable: nothing
 * keeps the task from moving on.
 */
export function stackTraceSaveRegs(
  unwinder: Unwinder,
  memory: Memory,
  task: Pick<Task, "stack" | "ptRegsVa">,
  regs: { readonly ip: bigint; readonly sp: bigint; readonly bp: bigint },
  maxFrames: number = KLP_MAX_STACK_ENTRIES,
): Trace {
  return archStackWalk(unwinder, {
    ...memory,
    stack: task.stack,
    ptRegsVa: task.ptRegsVa,
    start: { kind: "registers", ...regs },
    maxFrames,
  });
}

/** Memory for walks of a kernel with patches loaded beside it, at one moment: what came to be as text is looked up once. */
export function walkMemory(read: Read, kernel: Image, patches: readonly Image[] = []): Memory {
  let made: readonly TextRange[] | undefined;
  const isText = (va: bigint): boolean => {
    made ??= dynamicText(read, kernel);
    return made.some((r) => va >= r.lo && va < r.hi);
  };
  const trampolines = returnTrampolines(kernel);
  return {
    read,
    images: [kernel, ...patches],
    isText,
    recoverRetAddr: (slot, ra, stack) => recoverRetAddr(read, kernel, slot, ra, stack),
    isReturnTrampoline: (va) => trampolines.some((t) => va >= t.lo && va < t.hi),
  };
}

// Return addresses that a trampoline stands for: function graph keeps them on the task's ret_stack, a rethook in a node
// that is linked to the task. kernel: kernel/trace/fgraph.c, ftrace_graph_ret_addr(); kernel/trace/rethook.c,
// rethook_find_ret_addr().
import type { Image } from "../link/index.ts";
import { findSymbol } from "../link/index.ts";
import { readField, symbolVa, type Read } from "./image.ts";
import { FTRACE_RET_STACK, RETHOOK_NODE } from "./ftrace-layout.ts";
import { TASK } from "./layout.ts";
import { threadSize } from "./task.ts";

const NAMES = ["return_to_handler", "arch_rethook_trampoline"] as const;

/** The trampolines of an image: where each starts, and its code. */
export interface ReturnTrampoline {
  readonly name: (typeof NAMES)[number];
  readonly lo: bigint;
  readonly hi: bigint;
}

const known = new WeakMap<Image, readonly ReturnTrampoline[]>();

export function returnTrampolines(image: Image): readonly ReturnTrampoline[] {
  let found = known.get(image);
  if (found === undefined) {
    found = find(image);
    known.set(image, found);
  }
  return found;
}

function find(image: Image): readonly ReturnTrampoline[] {
  return NAMES.flatMap((name) => {
    const s = findSymbol(image, name);
    return s === undefined ? [] : [{ name, lo: s.va, hi: s.va + s.size }];
  });
}

/** A task's struct, from any address of its stack. */
function taskOfStack(image: Image, stack: bigint): bigint {
  const i = (stack - symbolVa(image, "task_stacks")) / BigInt(threadSize(image));
  return symbolVa(image, "task_structs") + i * BigInt(TASK.size);
}

/**
 * What the return address in a slot really is.
 *
 * slot   where it lies
 * ra     what is there
 * stack  an address of the stack of the task that the walk is of
 */
export function recoverRetAddr(
  read: Read,
  image: Image,
  slot: bigint,
  ra: bigint,
  stack: bigint,
): bigint {
  const at = returnTrampolines(image).find((t) => t.lo === ra);
  if (at === undefined) return ra;
  const task = taskOfStack(image, stack);
  if (at.name === "return_to_handler") {
    const entries = readField(read, TASK, task, "ret_stack");
    const n = Number(readField(read, TASK, task, "curr_ret_stack"));
    for (let i = n - 1; i >= 0 && entries !== 0n; i--) {
      const e = entries + BigInt(i * FTRACE_RET_STACK.size);
      if (readField(read, FTRACE_RET_STACK, e, "retp") === slot) {
        return readField(read, FTRACE_RET_STACK, e, "ret");
      }
    }
    return ra;
  }
  const seen = new Set<bigint>();
  for (let node = readField(read, TASK, task, "rethooks"); node !== 0n && !seen.has(node);) {
    seen.add(node);
    if (readField(read, RETHOOK_NODE, node, "frame") === slot) {
      return readField(read, RETHOOK_NODE, node, "ret_addr");
    }
    node = readField(read, RETHOOK_NODE, node, "next");
  }
  return ra;
}

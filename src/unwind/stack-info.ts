// Which stack an address lies on and where the stack below it goes on: a task's own, a CPU's interrupt stack, or an
// exception stack of its TSS. arch/x86/kernel/dumpstack_64.c, get_stack_info().
import type { Read, StackRange } from "../kernel/index.ts";
import { CONSTANTS, PT_REGS, readUint, stackAreas } from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import { findSymbol } from "../link/index.ts";

/** A stack. nextSp is rsp of the stack that this one was entered from, undefined on a task's own. */
export interface StackInfo {
  readonly range: StackRange;
  readonly nextSp: () => bigint | undefined;
}

interface Area {
  readonly start: bigint;
  readonly end: bigint;
  readonly size: bigint;
  readonly isIrq: boolean;
}

const known = new WeakMap<Image, readonly Area[]>();

function percpuAreas(kernel: Image): readonly Area[] {
  let areas = known.get(kernel);
  if (areas === undefined) {
    const irq = findSymbol(kernel, "irq_stacks")?.va;
    areas = stackAreas(kernel)
      .filter((a) => a.kind === "percpu")
      .map((a) => ({ ...a, size: BigInt(a.size), isIrq: a.start === irq }));
    known.set(kernel, areas);
  }
  return areas;
}

/** The stack that holds `va`, among the task's own and the per-CPU ones. */
export function getStackInfo(
  read: Read,
  kernel: Image,
  own: StackRange,
  va: bigint,
): StackInfo | undefined {
  if (va >= own.lo && va < own.hi) return { range: own, nextSp: () => undefined };
  const area = percpuAreas(kernel).find((a) => va >= a.start && va < a.end);
  if (area === undefined) return undefined;
  const lo = va - ((va - area.start) % area.size);
  const hi = lo + area.size;
  // The interrupt stack's top word is the interrupted rsp; an exception stack starts with the pt_regs.
  const at = area.isIrq ? hi - 8n : hi - BigInt(PT_REGS.size) + BigInt(PT_REGS.fields.RSP.offset);
  return { range: { lo, hi }, nextSp: () => readUint(read, at, 8) };
}

/** Whether the pt_regs at va are of user mode. */
export function userMode(cs: bigint): boolean {
  return (cs & 3n) === BigInt(CONSTANTS.__USER_CS & 3);
}

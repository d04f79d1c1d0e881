// Text that came to be at run time, as the guest's own lists have it: ftrace's trampolines and loaded modules. Reading takes no lock; a list
// that is being changed ends early.
import type { Image } from "../link/index.ts";
import { readField, readUint, symbolVa, type Read } from "./image.ts";
import { FTRACE_OPS, KPROBE } from "./ftrace-layout.ts";
import { readModules } from "./module-layout.ts";

/** [lo, hi) and what it is. */
export interface TextRange {
  readonly lo: bigint;
  readonly hi: bigint;
  readonly name: string;
}

/** The trampolines of the registered ops. kernel: kernel/trace/ftrace.c, is_ftrace_trampoline() */
export function ftraceTrampolines(read: Read, image: Image): readonly TextRange[] {
  const end = symbolVa(image, "ftrace_list_end");
  const out: TextRange[] = [];
  const seen = new Set<bigint>();
  for (let ops = readUint(read, symbolVa(image, "ftrace_ops_list"), 8); ops !== end;) {
    if (ops === 0n || seen.has(ops)) break;
    seen.add(ops);
    const lo = readField(read, FTRACE_OPS, ops, "trampoline");
    const size = readField(read, FTRACE_OPS, ops, "trampoline_size");
    if (lo !== 0n) out.push({ lo, hi: lo + size, name: "ftrace_trampoline" });
    ops = readField(read, FTRACE_OPS, ops, "next");
  }
  return out;
}

/** The slots in which probed instructions execute. kernel: kernel/kprobes.c, is_kprobe_insn_slot() */
function kprobeSlots(read: Read, image: Image): readonly TextRange[] {
  const out: TextRange[] = [];
  const seen = new Set<bigint>();
  for (let kp = readUint(read, symbolVa(image, "kprobe_list"), 8); kp !== 0n && !seen.has(kp);) {
    seen.add(kp);
    const lo = readField(read, KPROBE, kp, "slot");
    if (lo !== 0n) out.push({ lo, hi: lo + 16n, name: "kprobe_insn_page" });
    kp = readField(read, KPROBE, kp, "next");
  }
  return out;
}

/** Everything that counts as kernel text at this moment beside the images that the reader knows. */
export function dynamicText(read: Read, image: Image): readonly TextRange[] {
  const modules = readModules(read, image)
    .filter((m) => m.state !== "unformed")
    .map((m) => ({ lo: m.base, hi: m.base + BigInt(m.textSize), name: m.name }));
  return [...ftraceTrampolines(read, image), ...kprobeSlots(read, image), ...modules];
}

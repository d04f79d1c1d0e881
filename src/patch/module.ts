// Puts a patch's module into the guest: its segments into the module room, nops at its fentry sites, and its BUG table
// where the kernel's #UD handler looks. Nothing refers to it yet, so the order of these stores does not matter. And takes it
// out again, when nobody can be in it any more.
import { NOP5 } from "../ftrace/index.ts";
import { symbolVa, write, writeWord, type Program } from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import type { PatchPlan } from "./plan.ts";

/** Loads the module. kernel: kernel/module/main.c, load_module(). */
export function* loadModule(image: Image, plan: PatchPlan): Program<void> {
  for (const s of plan.module.segments) {
    const bytes = s.bytes.slice();
    for (const site of plan.module.fentrySites) {
      if (site >= s.va && site < s.va + BigInt(bytes.length)) bytes.set(NOP5, Number(site - s.va));
    }
    yield* write(s.va, bytes);
  }
  const bugs = plan.module.sections.find((s) => s.name === "__bug_table");
  if (!bugs) return;
  yield* writeWord(symbolVa(image, "module_bug_table"), bugs.va);
  yield* writeWord(symbolVa(image, "module_bug_table_end"), bugs.va + BigInt(bugs.size));
}

const INT3 = 0xcc;

/**
 * Unloads the module: its BUG table is forgotten, and its text is int3 again, as execmem leaves it, so that whoever is
 * still in it does not get far. The caller knows that nobody is. kernel: kernel/module/main.c, free_module().
 */
export function* unloadModule(image: Image, plan: PatchPlan): Program<void> {
  yield* writeWord(symbolVa(image, "module_bug_table"), 0n);
  yield* writeWord(symbolVa(image, "module_bug_table_end"), 0n);
  for (const s of plan.module.segments) {
    if (s.flags.exec) yield* write(s.va, new Uint8Array(s.bytes.length).fill(INT3));
  }
}

// What a patch leaves behind: the words and memory by which a kernel that was patched and unpatched can differ from one that
// never was. Taken before, and again when the patch is out; it says what differs and judges nothing.
import { readTasks, readUint, symbolVa, TIF } from "../kernel/index.ts";
import { findSymbol } from "../link/index.ts";
import type { Session } from "../patch/index.ts";

/** Everything that is counted or kept, by name. */
export type Inventory = ReadonlyMap<string, string>;

/** Kernel symbols whose bytes are the same again. */
const SAME = [
  "module_room_map",
  "modules",
  "ftrace_pages_start",
  "ftrace_ops_list",
  "kpatch_func_hash",
  "kpatch_state",
  "kgr_patches",
  "kgr_immutable",
  "checkpoint_request",
  "klp_patches",
  "klp_ops",
  "klp_transition_patch",
  "klp_target_state",
  "klp_resched_enabled",
] as const;

const PAGE_SHIFT = 12n;
const LIST_MAX = 1 << 20;

/** Objects of the slabs that are in use, all sizes together. */
function slabObjects(session: Session): number {
  const { read, image } = session;
  const at = (name: string): bigint => symbolVa(image, name);
  const end = readUint(read, at("slab_next"), 8);
  let all = 0;
  for (let va = at("kmalloc_arena"); va < end; va += 1n << PAGE_SHIFT) {
    const shift = readUint(read, at("slab_shift") + ((va - at("kmalloc_arena")) >> PAGE_SHIFT), 1);
    // The pages of an object that is larger than one say nothing for themselves.
    if (shift === 0n) continue;
    all += shift >= PAGE_SHIFT ? 1 : 1 << Number(PAGE_SHIFT - shift);
  }
  const lists = findSymbol(image, "slab_free_list");
  const sizes = Number((lists?.size ?? 0n) / 8n);
  let free = 0;
  for (let i = 0; i < sizes; i++) {
    let va = readUint(read, at("slab_free_list") + BigInt(8 * i), 8);
    for (; va !== 0n && free < LIST_MAX; va = readUint(read, va, 8)) free++;
  }
  return all - free;
}

/** What there is now. */
export function takeInventory(session: Session): Inventory {
  const { image, read } = session;
  const out = new Map<string, string>();
  for (const name of SAME) {
    const s = findSymbol(image, name);
    if (s === undefined) continue;
    const bytes = [...read(s.va, Number(s.size))];
    out.set(name, bytes.map((b) => b.toString(16).padStart(2, "0")).join(""));
  }
  out.set("objects of the slabs", String(slabObjects(session)));
  const flags = (1n << BigInt(TIF.CHECKPOINT)) | (1n << BigInt(TIF.PATCH_PENDING));
  const tasks = readTasks(read, image).filter((t) => t.isListed || t.isIdle);
  const marked = tasks.filter((t) => (t.flags & flags) !== 0n || t.patchState !== -1);
  out.set("tasks with marks", marked.map((t) => t.comm).join(" "));
  return out;
}

/** Names of what is not as it was, in the inventory's order. */
export function leftovers(before: Inventory, after: Inventory): readonly string[] {
  return [...before].filter(([name, was]) => after.get(name) !== was).map(([name]) => name);
}

// The functions that a patch's author wants called around the change: a section of pointers in the patch's module for each
// moment, as the macros of kernels/base/ksplice-patch.inc and kpatch-macros.inc make it.
import { call, type Program } from "../kernel/index.ts";
import type { Image } from "../link/index.ts";

const POINTER = 8;

/**
 * The functions that a section of a module names, in order; none where there is no such section.
 *
 * size  bytes of an entry, which the pointer begins
 */
export function hooksOf(module: Image, section: string, size = POINTER): readonly bigint[] {
  const out: bigint[] = [];
  for (const s of module.sections) {
    if (s.name !== section) continue;
    const segment = module.segments.find((x) => s.va >= x.va && s.va < x.va + BigInt(x.memSize));
    if (segment === undefined) throw new Error(`${module.name}: ${section} is in no segment`);
    const { buffer, byteOffset, byteLength } = segment.bytes;
    const view = new DataView(buffer, byteOffset, byteLength);
    const from = Number(s.va - segment.va);
    for (let at = from; at + size <= from + s.size; at += size) {
      out.push(view.getBigUint64(at, true));
    }
  }
  return out;
}

/** Calls functions that return nothing. */
export function* callHooks(hooks: readonly bigint[]): Program<void> {
  for (const fn of hooks) yield* call(fn);
}

/** Calls functions that may refuse by another int than 0; those behind one that does are not called. */
export function* askHooks(hooks: readonly bigint[]): Program<boolean> {
  for (const fn of hooks) if (BigInt.asIntN(32, yield* call(fn)) !== 0n) return false;
  return true;
}

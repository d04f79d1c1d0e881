// Names for addresses of a kernel that has a patch loaded: the patch's own symbols inside of the patch, the kernel's
// everywhere else. And which side of the patch an address is on.
import { formatAddress, type Image } from "../link/index.ts";
import type { PatchedFunction, PatchPlan } from "../patch/index.ts";
import type { TraceFrame } from "./trace.ts";

function isIn(image: Image, va: bigint): boolean {
  return image.segments.some((s) => va >= s.va && va < s.va + BigInt(s.memSize));
}

/** As %pS: "f+0x12/0x40", with " [patch]" behind it for an address of the patch. */
export function addressName(image: Image, plan: PatchPlan, va: bigint): string {
  if (isIn(plan.module, va)) return `${formatAddress(plan.module, va)} [patch]`;
  return formatAddress(image, va);
}

/** The patched function whose old variant holds `va`. */
export function oldAt(plan: PatchPlan, va: bigint): PatchedFunction | undefined {
  return plan.functions.find((f) => va >= f.oldVa && va < f.oldVa + BigInt(f.oldSize));
}

/** The patched function whose new variant holds `va`. */
export function newAt(plan: PatchPlan, va: bigint): PatchedFunction | undefined {
  return plan.functions.find((f) => va >= f.newVa && va < f.newVa + BigInt(f.newSize));
}

/** The length of the call at a fentry site. */
const SITE_SIZE = 5n;

/**
 * The function at whose entry a task is, in the handler that its fentry site calls: it has come to the function and is in no
 * variant yet. outer: where the frames of the caller begin. Undefined when it is not.
 */
export function entryAt(
  plan: PatchPlan,
  frames: readonly TraceFrame[],
): { readonly f: PatchedFunction; readonly outer: number } | undefined {
  const i = frames.findIndex((x) => oldAt(plan, x.isCall ? x.ip - 1n : x.ip) !== undefined);
  const f = oldAt(plan, frames[i]?.ip ?? 0n);
  const isEntry = f?.site !== undefined && frames[i]?.ip === f.site + SITE_SIZE;
  return isEntry ? { f, outer: i + 1 } : undefined;
}

/** "0x" and the address in hexadecimal. */
export function hex(va: bigint): string {
  return `0x${BigInt.asUintN(64, va).toString(16)}`;
}

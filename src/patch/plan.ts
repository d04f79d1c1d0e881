// What a patch replaces, worked out once from the running image and the linked patch: pairs of an old and a new
// function of the same name, with the window of old bytes that a jump would take. Everything a mechanism may refuse
// for before it touches anything is decided here or from here.
import { NOP5 } from "../ftrace/index.ts";
import { Decoder, DecoderOptions } from "iced-x86";
import type { Image } from "../link/index.ts";
import { countSymbols, findSymbol } from "../link/index.ts";

/** One replaced function. */
export interface PatchedFunction {
  readonly name: string;
  readonly oldVa: bigint;
  readonly oldSize: number;
  readonly newVa: bigint;
  readonly newSize: number;
  /** First instruction of the new function behind its own fentry, or its first one when it has none. */
  readonly newBodyVa: bigint;
  /** Whether the new function has a fentry site: kpatch enters it behind that. */
  readonly newHasFentry: boolean;
  /** The fentry site of the old function, undefined when it has none. */
  readonly site: bigint | undefined;
  /** Where a jump over the entry goes: behind an endbr64. */
  readonly jumpVa: bigint;
  /** First instruction of the old function behind the bytes that a jump of 5 takes. */
  readonly bodyVa: bigint;
  /** The bytes that the jump would replace, as the running kernel has them. */
  readonly oldBytes: Uint8Array;
  /** The whole old function, as the running kernel is expected to have it. */
  readonly oldText: Uint8Array;
}

/** A patch ready to be applied to an image. */
export interface PatchPlan {
  /** What its module is called. */
  readonly name: string;
  readonly module: Image;
  readonly functions: readonly PatchedFunction[];
}

/** The name of the module that a patch's file makes, as modprobe would have it; a scenario's own has the scenario before it. */
export function patchName(module: string): string {
  return module.replace(/\.[^./]*$/, "").replaceAll(/[^A-Za-z0-9_]/g, "_");
}

/** The patch does not fit the image: what, where, what was expected. */
export class PatchError extends Error {
  override name = "PatchError";
}

const JMP_SIZE = 5n;

function imageBytes(image: Image, va: bigint, n: number): Uint8Array {
  const s = image.segments.find((x) => va >= x.va && va < x.va + BigInt(x.memSize));
  const out = new Uint8Array(n);
  if (s) out.set(s.bytes.subarray(Number(va - s.va), Number(va - s.va) + n));
  return out;
}

/** Length of the instruction at the start of `bytes`, 0 when they are none. */
function insnLength(bytes: Uint8Array): number {
  const d = new Decoder(64, bytes, DecoderOptions.None);
  const insn = d.decode();
  const n = d.lastError === 0 ? insn.length : 0;
  insn.free();
  d.free();
  return n;
}

/** What a jump over a function's entry needs to know of it. */
type Entry = Pick<
  PatchedFunction,
  "oldVa" | "oldSize" | "jumpVa" | "bodyVa" | "oldBytes" | "oldText"
>;

/** A function of an image as it lies in memory, its fentry site a nop. */
function entryOf(image: Image, va: bigint, size: number): Entry {
  const bytes = imageBytes(image, va, size);
  for (const site of image.fentrySites) {
    if (site >= va && site < va + BigInt(size)) bytes.set(NOP5, Number(site - va));
  }
  const endbr = bytes[0] === 0xf3 && bytes[1] === 0x0f && bytes[2] === 0x1e && bytes[3] === 0xfa;
  const jumpVa = va + (endbr ? 4n : 0n);
  let body = Number(jumpVa - va);
  while (body < Number(jumpVa + JMP_SIZE - va) && body < size) {
    const n = insnLength(bytes.subarray(body));
    if (n === 0) break;
    body += n;
  }
  return {
    oldVa: va,
    oldSize: size,
    jumpVa,
    bodyVa: va + BigInt(body),
    oldBytes: bytes.slice(Number(jumpVa - va), Number(jumpVa - va) + 5),
    oldText: bytes,
  };
}

function functionPlan(image: Image, module: Image, name: string): PatchedFunction {
  const fresh = module.symbols.find((s) => s.name === name && s.type === "func");
  if (!fresh) throw new PatchError(`${module.name}: no function ${name}, expected a replacement`);
  const old = findSymbol(image, name);
  if (!old || old.type !== "func") {
    const n = countSymbols(image, name);
    throw new PatchError(
      n > 1
        ? `${module.name}: ${name} occurs ${n} times in ${image.name}, expected one function`
        : `${module.name}: ${name} is no function of ${image.name}, expected one to replace`,
    );
  }
  const newSite = module.fentrySites.find((v) => v >= fresh.va && v < fresh.va + fresh.size);
  return {
    ...entryOf(image, old.va, Number(old.size)),
    name,
    newVa: fresh.va,
    newSize: Number(fresh.size),
    newBodyVa: newSite === undefined ? fresh.va : newSite + 5n,
    newHasFentry: newSite !== undefined,
    site: image.fentrySites.find((v) => v >= old.va && v < old.va + old.size),
  };
}

/**
 * Pairs the functions that a module replaces with those of the image: every global function of the module that bears
 * the name of a function of the image.
 *
 * options  names: of the functions, instead; name: of the module, where it is not that of the image's file
 * throws  PatchError: nothing to replace, a name that is unknown or ambiguous in the image
 */
export function planPatch(
  image: Image,
  module: Image,
  options: { readonly names?: readonly string[]; readonly name?: string | undefined } = {},
): PatchPlan {
  const replaced =
    options.names ??
    module.symbols.filter((s) => s.type === "func" && s.bind === "global").map((s) => s.name);
  if (replaced.length === 0) {
    throw new PatchError(`${module.name}: no global function, expected at least one replacement`);
  }
  const functions = replaced.map((n) => functionPlan(image, module, n));
  return { name: options.name ?? patchName(module.name), module, functions };
}

/** The function that `below` put in the place of the one of that name last, with the module that it is in. */
export function lastVariant(
  below: readonly PatchPlan[],
  name: string,
): { readonly plan: PatchPlan; readonly f: PatchedFunction } | undefined {
  for (const plan of below.toReversed()) {
    const f = plan.functions.find((x) => x.name === name);
    if (f !== undefined) return { plan, f };
  }
  return undefined;
}

/**
 * A plan of jumps on top of others: what a function of an earlier patch has replaced is replaced where that function is, by a
 * jump over its entry.
 */
export function onTopOf(plan: PatchPlan, below: readonly PatchPlan[]): PatchPlan {
  const functions = plan.functions.map((f) => {
    const last = lastVariant(below, f.name);
    return last === undefined
      ? f
      : { ...f, ...entryOf(last.plan.module, last.f.newVa, last.f.newSize) };
  });
  return { ...plan, functions };
}

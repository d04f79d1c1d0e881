// The one loop that walks rows, and every check that makes a walk safe: it reads nothing off the stacks it knows, moves
// strictly up, knows its expected end, and where something is not as it should be says so rather than end early.
// After unwind_start, unwind_next_frame and arch_stack_walk of arch/x86/kernel/{unwind_frame,stacktrace}.c.
// DIFFERS: frames below the sp that a walk starts at are refused, not skipped; a walk that starts on a per-CPU stack
// before its first frame pointer follows the stack's own link to the one below it.
import type { Read, StackRange } from "../kernel/index.ts";
import { INACTIVE_FRAME, PT_REGS, readUint } from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import type { Registers, Row, Surroundings, Unwinder } from "./row.ts";
import { getStackInfo, userMode, type StackInfo } from "./stack-info.ts";
import { formatText, kernelTextAddress } from "./text.ts";

/** Why a walk does not vouch for its frames. */
export const UNRELIABLE_REASONS = [
  "running", // the task is on a CPU, or the walk started at registers of the moment
  "pt_regs", // kernel-mode pt_regs on the way: the interrupted function may have no frame yet
  "not_text", // a return address that is not kernel text
  "zero", // a return address that is zero
  "too_deep", // more frames than the consumer takes
  "off_stack", // the next frame is on no stack of this task
  "backwards", // the next frame is not above the one before
  "return_trampoline", // inside of one: the address that it returns to is on no stack
  "no_row", // nothing is known of this instruction
  "guess", // the unwinder only guesses
] as const;
export type UnreliableReason = (typeof UNRELIABLE_REASONS)[number];

/** The reason with its evidence: the address that is wrong, and the frame at which it was met. */
export interface Unreliable {
  readonly reason: UnreliableReason;
  readonly va: bigint;
  readonly ip: bigint;
  readonly symbol: string;
}

/** A frame. regs: its ip comes from the pt_regs of an interrupt, trap or fault. */
export interface Frame {
  readonly ip: bigint;
  readonly sp: bigint;
  readonly regs: boolean;
}

/**
 * A walk's result, innermost frame first. Whoever may be returned to is among the frames if it is reliable.
 *
 * complete  the expected end was reached
 * error     why the walk ended before it, or the first thing that makes it unreliable
 */
export interface Trace {
  readonly frames: readonly Frame[];
  readonly complete: boolean;
  readonly reliable: boolean;
  readonly error: Unreliable | undefined;
}

/** Where a walk begins: at what a task left when it was switched away from, or at registers. */
export type Start =
  | { readonly kind: "inactive"; readonly threadSp: bigint }
  | ({ readonly kind: "registers" } & Registers);

/**
 * What a walk needs.
 *
 * images          the kernel first, then modules and patches: what counts as text, and its symbols
 * stack           the task's own; ptRegsVa: its task_pt_regs
 * maxFrames       what the consumer takes
 * isText          what counts as text, where it is more than the images: trampolines, loaded modules
 * recoverRetAddr  the original of a return address that a return trampoline replaced (unwind_recover_ret_addr)
 */
export interface WalkInput {
  readonly read: Read;
  readonly images: readonly [Image, ...Image[]];
  readonly stack: StackRange;
  readonly ptRegsVa: bigint;
  readonly start: Start;
  readonly maxFrames: number;
  readonly isText?: (va: bigint) => boolean;
  readonly recoverRetAddr?: (slot: bigint, ra: bigint, stack: bigint) => bigint;
  /** Whether an address is inside of a return trampoline: who is there has no return address that can be found. */
  readonly isReturnTrampoline?: (va: bigint) => boolean;
}

interface State {
  readonly at: Registers;
  readonly stack: StackInfo;
  /** Low ends of the stacks that were visited; none is entered twice. */
  readonly visited: ReadonlySet<bigint>;
  readonly regs: boolean;
}

type Step =
  | { readonly kind: "frame"; readonly state: State }
  | { readonly kind: "end" }
  | { readonly kind: "error"; readonly reason: UnreliableReason; readonly va: bigint };

const wrong = (reason: UnreliableReason, va: bigint): Step => ({ kind: "error", reason, va });

function word(input: WalkInput, va: bigint): bigint {
  return readUint(input.read, va, 8);
}

function contains(range: StackRange, va: bigint, n: number): boolean {
  return va >= range.lo && va + BigInt(n) <= range.hi;
}

function isText(input: WalkInput, va: bigint): boolean {
  return kernelTextAddress(input.images, va) || (input.isText?.(va) ?? false);
}

function surroundings(input: WalkInput, stack: StackInfo): Surroundings {
  return {
    peek: (va) => (contains(stack.range, va, 8) ? word(input, va) : undefined),
    isText: (va) => isText(input, va),
    ptRegsVa: input.ptRegsVa,
  };
}

/** The first frame: the caller of __switch_to_asm, or the instruction at the registers. */
export function unwindStart(input: WalkInput): Step {
  const { start } = input;
  if (start.kind === "registers") {
    const stack = getStackInfo(input.read, input.images[0], input.stack, start.sp - 8n);
    if (stack === undefined) return wrong("off_stack", start.sp);
    const at = { ip: start.ip, sp: start.sp, bp: start.bp };
    return { kind: "frame", state: { at, stack, visited: new Set(), regs: false } };
  }
  if (!contains(input.stack, start.threadSp, INACTIVE_FRAME.size)) {
    return wrong("off_stack", start.threadSp);
  }
  const stack: StackInfo = { range: input.stack, nextSp: () => undefined };
  const field = (f: keyof typeof INACTIVE_FRAME.fields): bigint =>
    start.threadSp + BigInt(INACTIVE_FRAME.fields[f].offset);
  const slot = field("ret_addr");
  const at = { ip: returnAddress(input, slot), sp: slot + 8n, bp: word(input, field("bp")) };
  return { kind: "frame", state: { at, stack, visited: new Set(), regs: false } };
}

function returnAddress(input: WalkInput, slot: bigint): bigint {
  const ra = word(input, slot);
  return input.recoverRetAddr?.(slot, ra, input.stack.lo) ?? ra;
}

/** The stack that holds [va, va + n): the present one, or one that it was entered from. */
function follow(input: WalkInput, s: State, va: bigint, n: number): State | undefined {
  let { stack } = s;
  const visited = new Set(s.visited);
  while (!contains(stack.range, va, n)) {
    visited.add(stack.range.lo);
    const next = stack.nextSp();
    const below =
      next === undefined
        ? undefined
        : getStackInfo(input.read, input.images[0], input.stack, next - 8n);
    if (below === undefined || visited.has(below.range.lo)) return undefined;
    stack = below;
  }
  return stack === s.stack ? s : { ...s, stack, visited };
}

/** From a frame to its caller, by the rule that the unwinder has for it. */
export function unwindNextFrame(unwinder: Unwinder, input: WalkInput, s: State): Step {
  const row: Row | undefined = unwinder.find(s.at, surroundings(input, s.stack));
  if (row === undefined) return wrong("no_row", s.at.ip);
  if (row.kind === "end") return { kind: "end" };
  if (row.kind === "regs") {
    const va = s.at[row.at.reg] + BigInt(row.at.offset);
    const on = follow(input, s, va, PT_REGS.size);
    if (on === undefined) return wrong("off_stack", va);
    if (on === s && va < s.at.sp) return wrong("backwards", va);
    const field = (f: keyof typeof PT_REGS.fields): bigint =>
      word(input, va + BigInt(PT_REGS.fields[f].offset));
    if (userMode(field("CS"))) return { kind: "end" };
    // The interrupted rsp may be on another stack; what bounds the next frame on this one is the pt_regs' end.
    const at = { ip: field("RIP"), sp: va + BigInt(PT_REGS.size), bp: field("RBP") };
    return { kind: "frame", state: { ...on, at, regs: true } };
  }
  const cfa = s.at[row.cfa.reg] + BigInt(row.cfa.offset);
  const low = row.bp === undefined || row.bp > row.ra ? row.ra : row.bp;
  const on = follow(input, s, cfa + BigInt(low), -low);
  if (on === undefined) return wrong("off_stack", cfa + BigInt(low));
  if (on === s && cfa + BigInt(low) < s.at.sp) return wrong("backwards", cfa + BigInt(low));
  const at = {
    ip: returnAddress(input, cfa + BigInt(row.ra)),
    sp: cfa,
    bp: row.bp === undefined ? s.at.bp : word(input, cfa + BigInt(row.bp)),
  };
  return { kind: "frame", state: { ...on, at, regs: false } };
}

/** Walks a stack. */
export function archStackWalk(unwinder: Unwinder, input: WalkInput): Trace {
  const frames: Frame[] = [];
  const innermost = (): bigint => frames.at(-1)?.ip ?? 0n;
  const because = (reason: UnreliableReason, va: bigint): Unreliable => ({
    reason,
    va,
    ip: innermost(),
    symbol: formatText(input.images, innermost()),
  });
  let doubt: Unreliable | undefined;
  if (!unwinder.canBeReliable) doubt = because("guess", 0n);
  const stop = (error: Unreliable): Trace => ({ frames, complete: false, reliable: false, error });
  const { start } = input;
  for (let step = unwindStart(input); ;) {
    if (step.kind === "error") return stop(because(step.reason, step.va));
    if (step.kind === "end") {
      return { frames, complete: true, reliable: doubt === undefined, error: doubt };
    }
    const { state } = step;
    const { at } = state;
    const given = frames.length === 0 && start.kind === "registers";
    if (!given && at.ip === 0n) return stop(because("zero", at.sp - 8n));
    if (!given && !isText(input, at.ip)) return stop(because("not_text", at.ip));
    if (frames.length >= input.maxFrames) return stop(because("too_deep", at.sp));
    frames.push({ ip: at.ip, sp: at.sp, regs: state.regs });
    if (input.isReturnTrampoline?.(at.ip) === true) doubt ??= because("return_trampoline", at.ip);
    if (state.regs) doubt ??= because("pt_regs", at.sp - BigInt(PT_REGS.size));
    if (given) doubt ??= because("running", at.ip);
    const atEnd = !given && !state.regs && unwinder.isLast(at, surroundings(input, state.stack));
    step = atEnd ? { kind: "end" } : unwindNextFrame(unwinder, input, state);
  }
}

// What every mechanism is: a name, a sentence, and a program of steps that ends in an outcome. The machine's side of it
// (who executes a step, what it costs) is session.ts; what the outcome is worth is for src/check to say.
import type { Image } from "../link/index.ts";
import type { GuestView, Program, Task } from "../kernel/index.ts";
import type { UnwinderName } from "../unwind/index.ts";
import type { PatchPlan } from "./plan.ts";

export type Result = "applied" | "refused" | "stalled" | "reverted" | "failed";

/** A task that stood in the way, and why. */
export interface Blocker {
  readonly task: string;
  readonly pid: number;
  readonly reason: string;
  /** The function that was found, where one was. */
  readonly symbol: string | undefined;
  /** Its stack as the mechanism saw it, innermost first. */
  readonly stack: readonly bigint[];
}

/** How and when a task came under the new code. */
export interface Switched {
  readonly task: string;
  readonly pid: number;
  readonly how: string;
}

export interface Outcome {
  readonly result: Result;
  readonly reason: string;
  readonly blockers: readonly Blocker[];
  readonly switched: readonly Switched[];
}

/** What a mechanism is told: plain values, nothing that reaches the machine. */
export interface Request {
  readonly image: Image;
  readonly plan: PatchPlan;
  /** Ticks per virtual second. */
  readonly hz: number;
  /** Whose rows the mechanism walks by, where it walks. */
  readonly unwinder: UnwinderName;
  /** The patch takes the place of all that are in force: for the mechanisms that know the notion. */
  readonly replace?: boolean;
  /**
   * The patches that were in force when this one was made, from the first: what it expects to find in the place of their
   * functions. For the mechanisms that write jumps; the others find out who is there.
   */
  readonly below?: readonly PatchPlan[];
}

/** What patchd is given: a program, and what a task is answered that asks about its own stack. */
export interface Job {
  readonly make: () => Program<Outcome>;
  /** 0 or an errno, and the modelled cost. */
  readonly stackCheck?: (g: GuestView) => { readonly value: number; readonly cost: number };
}

export interface Mechanism {
  readonly name: string;
  /** One line for `list`: what leaves, what switches. */
  readonly leaves: "nothing" | "function" | "patched set" | "kernel";
  readonly switches: "nothing" | "function" | "thread" | "kernel";
  readonly summary: string;
  /** Puts the patch in force. */
  enable(request: Request): Program<Outcome>;
  /** Takes it back: what was enabled by the same mechanism is to be in force no more, text byte-identical. */
  disable(request: Request): Program<Outcome>;
  /** For a mechanism in which tasks look at their own stacks. */
  stackCheck?(request: Request): NonNullable<Job["stackCheck"]>;
}

export function outcome(
  result: Result,
  reason: string,
  blockers: readonly Blocker[] = [],
  switched: readonly Switched[] = [],
): Outcome {
  return { result, reason, blockers, switched };
}

/** A mechanism's work as patchd gets it. */
export function jobOf(m: Mechanism, request: Request, what: "enable" | "disable" = "enable"): Job {
  const make = (): Program<Outcome> => m[what](request);
  return m.stackCheck === undefined ? { make } : { make, stackCheck: m.stackCheck(request) };
}

/** The task on whose stack the patch call was made: the one that looks. */
export function isOwnStack(g: GuestView, { stack }: Task): boolean {
  return g.registers.sp > stack.lo && g.registers.sp <= stack.hi;
}

export function isOutcome(value: unknown): value is Outcome {
  return typeof value === "object" && value !== null && "result" in value && "blockers" in value;
}

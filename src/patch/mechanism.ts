// What every mechanism is: a name, a sentence, and a program of steps that ends in an outcome. The machine's side of it
// (who executes a step, what it costs) is session.ts; what the outcome is worth is for src/check to say.
import type { Image } from "../link/index.ts";
import type { Program } from "../kernel/index.ts";
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
}

export interface Mechanism {
  readonly name: string;
  /** One line for `list`: what leaves, what switches. */
  readonly leaves: "nothing" | "function" | "patched set" | "kernel";
  readonly switches: "nothing" | "function" | "thread" | "kernel";
  readonly summary: string;
  apply(request: Request): Program<Outcome>;
}

export function outcome(
  result: Result,
  reason: string,
  blockers: readonly Blocker[] = [],
  switched: readonly Switched[] = [],
): Outcome {
  return { result, reason, blockers, switched };
}

// The patch call: the one guest instruction at which the patching side, outside of the guest, and the toy kernel meet.
// A mechanism is a generator of steps; each execution of the instruction performs one of them, in that task, on that
// vCPU, with its interrupt flag and its locks. This file is the vocabulary; who executes it is src/patch.
// DIFFERS: the instruction is VMCALL and goes to the host; there is no VMX otherwise.
import type { Image } from "../link/index.ts";
import type { Read } from "./image.ts";

/** What a step that looks may see. */
export interface GuestView {
  readonly read: Read;
  readonly image: Image;
  /** Of the vCPU that executes the patch call, right after it. */
  readonly registers: { readonly ip: bigint; readonly sp: bigint; readonly bp: bigint };
}

/**
 * What makes several memory accesses of one step atomic against the guest: a lock that the task holds, or every other
 * CPU standing still. `word` is one aligned access, which needs nothing.
 */
export type Under = "word" | "tasklist_lock" | "text_mutex" | "stop_machine";

/** A look's result and what a real kernel would have spent on it, in instructions. */
export interface Looked {
  readonly value: unknown;
  readonly cost: number;
}

export type Step =
  /** One store to guest memory; text is written as through text_poke's alias mapping. */
  | { readonly op: "write"; readonly va: bigint; readonly bytes: Uint8Array }
  | { readonly op: "look"; readonly under: Under; readonly run: (g: GuestView) => Looked }
  /** The guest calls one of its functions; the answer is its rax. */
  | { readonly op: "call"; readonly fn: string; readonly args: readonly bigint[] }
  | { readonly op: "sleep"; readonly ticks: number }
  /** The steps that follow are executed by the elected stopper, with every CPU stopped. */
  | { readonly op: "stop" }
  /** Back from stop_machine. */
  | { readonly op: "resume" }
  /** Says something in the mechanism's own words; takes no time. */
  | { readonly op: "log"; readonly text: string };

/** A mechanism's program. Its only contact with the world is `yield`. */
export type Program<R> = Generator<Step, R, unknown>;

export function* write(va: bigint, bytes: Uint8Array): Program<void> {
  yield { op: "write", va, bytes };
}

/** Stores `size` bytes of `value`, little-endian. */
export function* writeWord(va: bigint, value: bigint, size: 1 | 4 | 8 = 8): Program<void> {
  const bytes = new Uint8Array(size);
  let v = BigInt.asUintN(size * 8, value);
  for (let i = 0; i < size; i++, v >>= 8n) bytes[i] = Number(v & 0xffn);
  yield { op: "write", va, bytes };
}

/** Looks at guest memory; `run` answers the value and its modelled cost. */
export function* look<T>(
  under: Under,
  run: (g: GuestView) => { readonly value: T; readonly cost: number },
): Program<T> {
  // The answer to a look is by construction what its own `run` returned, now or before a snapshot.
  return (yield { op: "look", under, run }) as T;
}

/** Calls a guest function and answers its result. */
export function* call(fn: string, ...args: readonly bigint[]): Program<bigint> {
  const answer = yield { op: "call", fn, args };
  if (typeof answer !== "bigint") throw new Error(`patch call: ${fn} was not answered`);
  return answer;
}

export function* sleep(ticks: number): Program<void> {
  yield { op: "sleep", ticks };
}

export function* log(text: string): Program<void> {
  yield { op: "log", text };
}

/** Runs `body` in the elected stopper, every other CPU standing still with interrupts off. */
export function* stopMachine<T>(body: Program<T>): Program<T> {
  yield { op: "stop" };
  const value = yield* body;
  yield { op: "resume" };
  return value;
}

/** Runs `body` with a spinlock of the guest held. */
export function* withLock<T>(lock: bigint, body: Program<T>): Program<T> {
  yield* call("_raw_spin_lock", lock);
  const value = yield* body;
  yield* call("_raw_spin_unlock", lock);
  return value;
}

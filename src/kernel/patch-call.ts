// The patch call: the one guest instruction at which the patching side, outside of the guest, and the toy kernel meet.
// A mechanism is a generator of steps; each execution of the instruction performs one of them, in that task, on that
// vCPU, with its interrupt flag and its locks. This file is the vocabulary; who executes it is src/patch.
// DIFFERS: the instruction is VMCALL and goes to the host; there is no VMX otherwise.
import type { Image } from "../link/index.ts";
import { fieldVa, type Read } from "./image.ts";
import type { Struct } from "./struct.ts";

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
export type Under =
  | "word"
  | "tasklist_lock"
  | "rq_lock"
  | "text_mutex"
  | "klp_mutex"
  | "ftrace_lock"
  | "module_mutex"
  | "stop_machine"
  /** Memory that nobody else has an address of yet. */
  | "private";

/** A task that a look found in the way, for whoever watches: it has no part in the answer. */
export interface Seen {
  readonly va: bigint;
  readonly task: string;
  readonly pid: number;
  readonly reason: string;
  readonly symbol: string | undefined;
  readonly stack: readonly bigint[];
}

/** A look's result and what a real kernel would have spent on it, in instructions. */
export interface Looked {
  readonly value: unknown;
  readonly cost: number;
  readonly seen?: readonly Seen[];
}

export type Step =
  /** One store to guest memory; text is written as through text_poke's alias mapping. */
  | { readonly op: "write"; readonly va: bigint; readonly bytes: Uint8Array }
  /** One locked read-modify-write of a word: `set` and `clear` are masks. The answer is the word before. */
  | {
      readonly op: "rmw";
      readonly va: bigint;
      readonly size: 4 | 8;
      readonly set: bigint;
      readonly clear: bigint;
    }
  /** One locked compare-and-exchange of a word of 4 bytes. The answer is the word before. */
  | { readonly op: "cmpxchg"; readonly va: bigint; readonly from: number; readonly to: number }
  | { readonly op: "look"; readonly under: Under; readonly run: (g: GuestView) => Looked }
  /** The guest calls one of its functions, by name or address; the answer is its rax, or an Upcall before that. */
  | { readonly op: "call"; readonly fn: string | bigint; readonly args: readonly bigint[] }
  /** Ends the upcall that the last answer was; the answer is what the outer call comes to next. */
  | { readonly op: "return"; readonly value: bigint }
  | { readonly op: "sleep"; readonly ticks: number }
  /** Sleeps until a message is there or the ticks are over; the answer is the message, or undefined. */
  | { readonly op: "wait"; readonly ticks: number | undefined }
  /** Answers a message; takes no time. */
  | { readonly op: "reply"; readonly to: number; readonly value: unknown }
  /** The steps that follow are executed by the elected stopper, with every CPU stopped. */
  | { readonly op: "stop" }
  /** Back from stop_machine. */
  | { readonly op: "resume" }
  /** How it stands, for whoever asks before the end; takes no time. */
  | { readonly op: "progress"; readonly value: unknown }
  /** Says something in the mechanism's own words; takes no time. */
  | { readonly op: "log"; readonly text: string };

/** The guest function that a program called has called back into the patch core. */
export interface Upcall {
  readonly upcall: number;
  readonly arg: bigint;
}

/** What somebody outside of the guest asks of a program that waits. */
export interface Message {
  readonly id: number;
  readonly value: unknown;
}

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
  run: (g: GuestView) => Looked & { readonly value: T },
): Program<T> {
  // The answer to a look is by construction what its own `run` returned, now or before a snapshot.
  return (yield { op: "look", under, run }) as T;
}

/** Stores one field of a struct that lies at va. */
export function* writeField<F extends string>(
  struct: Struct<F>,
  va: bigint,
  field: NoInfer<F>,
  value: bigint,
): Program<void> {
  const { size } = struct.fields[field];
  if (size !== 1 && size !== 4 && size !== 8) throw new Error(`${struct.name}.${field}: no word`);
  yield* writeWord(fieldVa(struct, va, field), value, size);
}

/** set_bit() and clear_bit() on the word of 8 bytes at va; answers the bit before. */
export function* setBit(va: bigint, bit: number): Program<boolean> {
  const old = yield { op: "rmw", va, size: 8, set: 1n << BigInt(bit), clear: 0n };
  return typeof old === "bigint" && ((old >> BigInt(bit)) & 1n) === 1n;
}

export function* clearBit(va: bigint, bit: number): Program<boolean> {
  const old = yield { op: "rmw", va, size: 8, set: 0n, clear: 1n << BigInt(bit) };
  return typeof old === "bigint" && ((old >> BigInt(bit)) & 1n) === 1n;
}

/** atomic_cmpxchg(): stores `to` if the word of 4 bytes at va is `from`; answers the word before. */
export function* cmpxchg(va: bigint, from: number, to: number): Program<number> {
  const old = yield { op: "cmpxchg", va, from, to };
  if (typeof old !== "bigint") throw new Error("patch call: a cmpxchg was not answered");
  return Number(old);
}

/** Calls a guest function and answers its result. */
export function* call(fn: string | bigint, ...args: readonly bigint[]): Program<bigint> {
  const answer = yield { op: "call", fn, args };
  if (typeof answer !== "bigint") throw new Error(`patch call: ${fn} was not answered`);
  return answer;
}

function isUpcall(answer: unknown): answer is Upcall {
  return typeof answer === "object" && answer !== null && "upcall" in answer;
}

/** As call, for a function that may call back into the patch core: `serve` answers each upcall's result. */
export function* callUp(
  serve: (up: Upcall) => Program<bigint>,
  fn: string | bigint,
  ...args: readonly bigint[]
): Program<bigint> {
  let answer = yield { op: "call", fn, args };
  while (isUpcall(answer)) {
    const value: bigint = yield* serve(answer);
    answer = yield { op: "return", value };
  }
  if (typeof answer !== "bigint") throw new Error(`patch call: ${fn} was not answered`);
  return answer;
}

function isMessage(answer: unknown): answer is Message {
  return typeof answer === "object" && answer !== null && "id" in answer;
}

/** Sleeps until a message comes, or for `ticks`; without `ticks` for as long as it takes. */
export function* wait(ticks?: number): Program<Message | undefined> {
  const answer = yield { op: "wait", ticks };
  return isMessage(answer) ? answer : undefined;
}

export function* progress(value: unknown): Program<void> {
  yield { op: "progress", value };
}

export function* reply(to: number, value: unknown): Program<void> {
  yield { op: "reply", to, value };
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

/** Runs `body` with a mutex of the guest held. */
export function* withMutex<T>(mutex: bigint, body: Program<T>): Program<T> {
  yield* call("mutex_lock", mutex);
  const value = yield* body;
  yield* call("mutex_unlock", mutex);
  return value;
}

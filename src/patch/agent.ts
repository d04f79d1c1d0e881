// The patching side of the patch call: it holds a mechanism's program, performs one step per execution of the guest
// instruction, and remembers the answers. A snapshot stores the answers; restoring feeds them to a new program, which
// touches nothing until it has caught up.
import {
  CONSTANTS,
  readUint,
  symbolVa,
  type Message,
  type Program,
  type Seen,
  type Step,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import type { Machine } from "../machine/index.ts";
import { isOutcome, type Outcome } from "./mechanism.ts";

/** A store that the mechanism made. */
export interface AgentWrite {
  readonly insn: number;
  readonly va: bigint;
  readonly bytes: Uint8Array;
}

/** Something that the mechanism said. */
export interface AgentLog {
  readonly insn: number;
  readonly text: string;
}

/** How a program that was not done said that it stood. */
export interface AgentProgress {
  readonly insn: number;
  readonly outcome: Outcome;
  /** Modelled cost up to then. */
  readonly modelled: number;
}

/** The state of an agent as plain data. */
export interface AgentState {
  readonly answers: readonly unknown[];
  readonly waiting: Waiting;
  readonly modelled: number;
  readonly outcome: Outcome | undefined;
  readonly doneAt: number | undefined;
  readonly doneTime: number | undefined;
  readonly writes: readonly AgentWrite[];
  readonly logs: readonly AgentLog[];
  readonly steps: number;
  /** What the program said of how it stands, in order. */
  readonly progress: readonly AgentProgress[];
  /** Messages that the program has not taken yet, and its answers to those that it has. */
  readonly inbox: readonly Message[];
  readonly replies: readonly Message[];
}

/** What the next patch call brings: nothing yet, the value of a step that was performed, or the guest's own result. */
type Waiting =
  | { readonly for: "start" }
  | { readonly for: "value"; readonly value: unknown }
  | { readonly for: "result" }
  | { readonly for: "message" };

function takesNoTurn(step: Step): step is Step & { readonly op: "log" | "reply" | "progress" } {
  return step.op === "log" || step.op === "reply" || step.op === "progress";
}

/** Words that were written before: a transition writes few different ones to many tasks. */
const words = new Map<bigint, Uint8Array>();
const MAX_WORDS = 1024;

/** The bytes of a word, or equal ones that were given before. */
function shared(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== 4 && bytes.length !== 8) return bytes;
  const key = (readUint(() => bytes, 0n, bytes.length) << 4n) | BigInt(bytes.length);
  const known = words.get(key);
  if (known !== undefined) return known;
  if (words.size < MAX_WORDS) words.set(key, bytes);
  return bytes;
}

/** Ticks that patchd sleeps when there is nothing to do: a request wakes it. */
const FOREVER = BigInt(CONSTANTS.PATCH_FOREVER);

const START: AgentState = {
  answers: [],
  waiting: { for: "start" },
  modelled: 0,
  outcome: undefined,
  doneAt: undefined,
  doneTime: undefined,
  writes: [],
  logs: [],
  steps: 0,
  progress: [],
  inbox: [],
  replies: [],
};

export class Agent {
  readonly #machine: Machine;
  readonly #image: Image;
  /** Told of every store of the mechanism, right after it; the machine stands still meanwhile. */
  onWrite: ((w: AgentWrite) => void) | undefined;
  /** Told of everything that the mechanism says, in its place among what the guest says. */
  onLog: ((text: string) => void) | undefined;
  /** Told of the tasks that a look found in the way, at that moment. */
  onSeen: ((insn: number, seen: readonly Seen[]) => void) | undefined;
  /** Told of every try that did not end the program. */
  onProgress: ((p: AgentProgress) => void) | undefined;
  #make: (() => Program<Outcome>) | undefined;
  #program: Program<Outcome> | undefined;
  #state: AgentState = START;
  #answers: unknown[] = [];
  #writes: AgentWrite[] = [];
  #logs: AgentLog[] = [];

  constructor(machine: Machine, image: Image) {
    this.#machine = machine;
    this.#image = image;
  }

  get outcome(): Outcome | undefined {
    return this.#state.outcome;
  }

  /** How an unfinished program stands, when it says so. */
  get progress(): Outcome | undefined {
    return this.#state.progress.at(-1)?.outcome;
  }

  /** How many messages the program has answered. */
  get nrReplies(): number {
    return this.#state.replies.length;
  }

  get active(): boolean {
    return this.#make !== undefined && this.#state.outcome === undefined;
  }

  /** Gives patchd a program; it starts at the next patch call. */
  start(make: () => Program<Outcome>): void {
    this.#make = make;
    this.#program = make();
    this.#state = START;
    this.#answers = [];
    this.#writes = [];
    this.#logs = [];
  }

  state(): AgentState {
    return {
      ...this.#state,
      answers: this.#answers.slice(),
      writes: this.#writes.slice(),
      logs: this.#logs.slice(),
    };
  }

  /** Leaves a message for a program that waits, or will. Who sends it wakes patchd. */
  send(message: Message): void {
    this.#state = { ...this.#state, inbox: [...this.#state.inbox, message] };
  }

  /** Forgets the program; patchd idles again. */
  clear(): void {
    this.#make = undefined;
    this.#program = undefined;
    this.#state = START;
  }

  /** Puts a state back: a new program is fed the answers, and asks nobody else. */
  restore(make: (() => Program<Outcome>) | undefined, s: AgentState): void {
    this.#make = make;
    this.#state = s;
    this.#answers = s.answers.slice();
    this.#writes = s.writes.slice();
    this.#logs = s.logs.slice();
    this.#program = make?.();
    if (!this.#program || s.waiting.for === "start") return;
    let r = this.#program.next();
    for (const a of s.answers) {
      while (!r.done && takesNoTurn(r.value)) r = this.#program.next(undefined);
      r = this.#program.next(a);
    }
    while (!r.done && takesNoTurn(r.value)) r = this.#program.next(undefined);
  }

  /** One execution of the patch call on a vCPU. */
  patchCall(vcpu: number): void {
    const program = this.#program;
    if (!program || this.#state.outcome) return this.#order(vcpu, "PATCH_IDLE", FOREVER);
    const w = this.#state.waiting;
    let r: IteratorResult<Step, Outcome>;
    if (w.for === "start") r = program.next();
    else r = this.#answer(program, this.#answerTo(w, vcpu));
    this.#go(vcpu, program, r);
  }

  /** The guest function that the program called has called back. */
  upcall(vcpu: number): void {
    const program = this.#program;
    if (!program || this.#state.waiting.for !== "result")
      throw new Error("patch call: an upcall that no order led to");
    const m = this.#machine;
    const upcall = { upcall: Number(m.reg(vcpu, "rdi")), arg: m.reg(vcpu, "rsi") };
    this.#go(vcpu, program, this.#answer(program, upcall));
  }

  #answerTo(w: Waiting, vcpu: number): unknown {
    if (w.for === "value") return w.value;
    if (w.for === "result") return this.#machine.reg(vcpu, "rdi");
    const [message, ...inbox] = this.#state.inbox;
    this.#state = { ...this.#state, inbox };
    return message;
  }

  #answer(program: Program<Outcome>, answer: unknown): IteratorResult<Step, Outcome> {
    this.#answers.push(answer);
    return program.next(answer);
  }

  #go(vcpu: number, program: Program<Outcome>, first: IteratorResult<Step, Outcome>): void {
    const m = this.#machine;
    let r = first;
    while (!r.done && takesNoTurn(r.value)) {
      if (r.value.op === "log") {
        this.#logs.push({ insn: m.retired, text: r.value.text });
        this.onLog?.(r.value.text);
      } else if (r.value.op === "progress") {
        const said = r.value.value;
        if (!isOutcome(said)) throw new Error("patch call: progress is told as an outcome");
        const p = { insn: m.retired, outcome: said, modelled: this.#state.modelled };
        this.#state = { ...this.#state, progress: [...this.#state.progress, p] };
        this.onProgress?.(p);
      } else {
        const { to: id, value } = r.value;
        this.#state = { ...this.#state, replies: [...this.#state.replies, { id, value }] };
      }
      r = program.next(undefined);
    }
    if (r.done) {
      this.#state = {
        ...this.#state,
        outcome: r.value,
        doneAt: m.retired,
        doneTime: Number(m.reg(vcpu, "time")),
      };
      return this.#order(vcpu, "PATCH_IDLE", FOREVER);
    }
    this.#state = { ...this.#state, steps: this.#state.steps + 1 };
    this.#perform(vcpu, r.value);
  }

  #perform(vcpu: number, step: Step): void {
    const m = this.#machine;
    switch (step.op) {
      case "write":
        m.write(step.va, step.bytes, vcpu);
        return this.#wrote(vcpu, { insn: m.retired, va: step.va, bytes: shared(step.bytes) });
      case "rmw":
        return this.#rmw(vcpu, step);
      case "cmpxchg":
        return this.#cmpxchg(vcpu, step);
      case "look": {
        const { value, cost, seen } = step.run({
          read: (va, n) => m.read(va, n, vcpu),
          image: this.#image,
          registers: { ip: m.reg(vcpu, "rip"), sp: m.reg(vcpu, "rsp"), bp: m.reg(vcpu, "rbp") },
        });
        if (seen !== undefined && seen.length > 0) this.onSeen?.(m.retired, seen);
        m.charge(vcpu, cost);
        this.#state = { ...this.#state, modelled: this.#state.modelled + cost };
        return this.#again(vcpu, value);
      }
      case "call":
        return this.#call(vcpu, step.fn, step.args);
      case "sleep":
        this.#state = { ...this.#state, waiting: { for: "value", value: undefined } };
        return this.#order(vcpu, "PATCH_IDLE", BigInt(step.ticks));
      case "wait":
        this.#state = { ...this.#state, waiting: { for: "message" } };
        if (this.#state.inbox.length > 0) return this.#order(vcpu, "PATCH_AGAIN", 0n);
        return this.#order(
          vcpu,
          "PATCH_IDLE",
          step.ticks === undefined ? FOREVER : BigInt(step.ticks),
        );
      case "return":
        this.#state = { ...this.#state, waiting: { for: "result" } };
        return this.#order(vcpu, "PATCH_DONE", step.value);
      case "stop":
        return this.#call(vcpu, "stop_machine", [symbolVa(this.#image, "patch_stop_fn"), 0n]);
      case "resume":
        this.#state = { ...this.#state, waiting: { for: "result" } };
        return this.#order(vcpu, "PATCH_DONE", 0n);
      case "log":
      case "reply":
      case "progress":
        throw new Error(`patch call: a ${step.op} step takes no turn`);
    }
  }

  #wrote(vcpu: number, w: AgentWrite): void {
    this.#writes.push(w);
    this.onWrite?.(w);
    this.#again(vcpu, undefined);
  }

  #rmw(vcpu: number, step: Step & { readonly op: "rmw" }): void {
    const m = this.#machine;
    const old = readUint((va, n) => m.read(va, n, vcpu), step.va, step.size);
    const value = (old & ~step.clear) | step.set;
    const bytes = new Uint8Array(step.size);
    for (let i = 0, v = value; i < step.size; i++, v >>= 8n) bytes[i] = Number(v & 0xffn);
    const w = { insn: m.retired, va: step.va, bytes: shared(bytes) };
    m.write(w.va, w.bytes, vcpu);
    this.#writes.push(w);
    this.onWrite?.(w);
    this.#again(vcpu, old);
  }

  #cmpxchg(vcpu: number, step: Step & { readonly op: "cmpxchg" }): void {
    const m = this.#machine;
    const old = readUint((va, n) => m.read(va, n, vcpu), step.va, 4);
    if (old !== BigInt(step.from)) return this.#again(vcpu, old);
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, step.to, true);
    m.write(step.va, bytes, vcpu);
    const w = { insn: m.retired, va: step.va, bytes: shared(bytes) };
    this.#writes.push(w);
    this.onWrite?.(w);
    this.#again(vcpu, old);
  }

  #call(vcpu: number, fn: string | bigint, args: readonly bigint[]): void {
    const m = this.#machine;
    const [rdi = 0n, rsi = 0n, rcx = 0n] = args;
    this.#state = { ...this.#state, waiting: { for: "result" } };
    this.#order(vcpu, "PATCH_CALL", rdi);
    m.setReg(vcpu, "rsi", rsi);
    m.setReg(vcpu, "rcx", rcx);
    m.setReg(vcpu, "rdx", typeof fn === "bigint" ? fn : symbolVa(this.#image, fn));
  }

  #again(vcpu: number, value: unknown): void {
    this.#state = { ...this.#state, waiting: { for: "value", value } };
    this.#order(vcpu, "PATCH_AGAIN", 0n);
  }

  #order(
    vcpu: number,
    order: "PATCH_IDLE" | "PATCH_AGAIN" | "PATCH_CALL" | "PATCH_DONE",
    rdi: bigint,
  ): void {
    this.#machine.setReg(vcpu, "rax", BigInt(CONSTANTS[order]));
    this.#machine.setReg(vcpu, "rdi", rdi);
  }
}

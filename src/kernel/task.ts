// The kernel's tasks as plain data: every used slot of the arena, also one that is exiting and no longer on
// the task list. Reading is safe at any instruction; it takes no lock and follows no run queue.
import { findSymbol, type Image } from "../link/index.ts";
import type { Read } from "./image.ts";
import { nrCpus, perCpuVa, readField, readUint, symbolVa } from "./image.ts";
import type { Field, Struct } from "./struct.ts";
import {
  CONSTANTS,
  INACTIVE_FRAME,
  PCPU_HOT,
  PERCPU,
  PT_REGS,
  RQ,
  TASK,
  TASK_STATE,
} from "./layout.ts";

/** A stack: [lo, hi). */
export interface StackRange {
  readonly lo: bigint;
  readonly hi: bigint;
}

/** A task, as struct task_struct says. */
export interface Task {
  readonly va: bigint;
  readonly pid: number;
  readonly comm: string;
  /** __state, TASK_STATE bits. */
  readonly state: number;
  /** thread_info.flags, TIF bits. */
  readonly flags: bigint;
  readonly cpu: number;
  /** Some CPU is between switching to it and having switched away from it. */
  readonly onCpu: boolean;
  readonly onRq: boolean;
  readonly isKthread: boolean;
  readonly isIdle: boolean;
  readonly isExiting: boolean;
  /** A kernel thread that has said that it may be frozen, or any user task. */
  readonly isFreezable: boolean;
  /** On the task list; the idle tasks never are, an exiting task no longer. */
  readonly isListed: boolean;
  readonly stack: StackRange;
  /** thread.sp: meaningful when not onCpu. */
  readonly sp: bigint;
  readonly ptRegsVa: bigint;
  readonly checkpointed: boolean;
  readonly parked: boolean;
  readonly patchState: number;
  /** restart_block.fn. */
  readonly restartFn: bigint;
  readonly kthreadFlags: number;
  readonly syscalls: number;
  /** Voluntary switches, and moments in user mode. */
  readonly nvcsw: number;
}

/** Every field of struct pt_regs by the kernel's name. */
export type PtRegs = Readonly<Record<keyof typeof PT_REGS.fields, bigint>>;

/** struct inactive_task_frame by the kernel's names. */
export type InactiveFrame = Readonly<Record<keyof typeof INACTIVE_FRAME.fields, bigint>>;

/** How many slots the task arena has, from the size of its symbol. */
export function nrTaskSlots(image: Image): number {
  const arena = findSymbol(image, "task_structs");
  if (arena === undefined) throw new Error(`${image.name}: the kernel has no task_structs`);
  return Number(arena.size) / TASK.size;
}

/** THREAD_SIZE of this image. */
export function threadSize(image: Image): number {
  const stacks = findSymbol(image, "task_stacks");
  if (stacks === undefined) throw new Error(`${image.name}: the kernel has no task_stacks`);
  return Number(stacks.size) / nrTaskSlots(image);
}

/**
 * All tasks in slot order; the idle tasks of the CPUs come first. They are views of one copy of the arena, which is there as
 * long as any of them: who keeps something of many tasks for long keeps plain values.
 */
export function readTasks(read: Read, image: Image): readonly Task[] {
  const first = symbolVa(image, "task_structs");
  const nr = nrTaskSlots(image);
  const slots = slotsOf(read(first, nr * TASK.size), first, threadSize(image));
  const listed = listedSlots(read, image, slots);
  const usageAt = TASK.fields.usage.offset;
  const tasks: Task[] = [];
  for (let i = 0; i < nr; i++) {
    if (slots.view.getUint8(i * TASK.size + usageAt) === 0) continue;
    tasks.push(new TaskSlot(slots, i * TASK.size, listed[i] === 1));
  }
  return tasks;
}

/** One task by the address of its task_struct. */
export function readTask(read: Read, image: Image, va: bigint): Task {
  const slots = slotsOf(read(va, TASK.size), va, threadSize(image));
  return new TaskSlot(slots, 0, isLinked(read, image, va));
}

/** The task that a CPU runs, from its kernel GS base. */
export function currentTask(read: Read, image: Image, gsbase: bigint): Task {
  return readTask(read, image, readField(read, PCPU_HOT, gsbase, "current_task"));
}

/** For each CPU: rq->curr, rq->idle and rq->stop, 0 where there is none yet. */
export function readRunQueues(
  read: Read,
  image: Image,
): readonly { readonly curr: bigint; readonly idle: bigint; readonly stop: bigint }[] {
  return Array.from({ length: nrCpus(read, image) }, (_, cpu) => {
    const rq = perCpuVa(image, cpu) + BigInt(PERCPU.fields.runqueues.offset);
    return {
      curr: readField(read, RQ, rq, "curr"),
      idle: readField(read, RQ, rq, "idle"),
      stop: readField(read, RQ, rq, "stop"),
    };
  });
}

/** The pt_regs at va. */
export function readPtRegs(read: Read, va: bigint): PtRegs {
  return readStruct(read, PT_REGS, va);
}

/** What __switch_to_asm, or copy_thread, left at a task's saved sp. */
export function readInactiveFrame(read: Read, task: Task): InactiveFrame {
  return readStruct(read, INACTIVE_FRAME, task.sp);
}

/** A task's state as a word: "running", "interruptible", ... */
export function stateName(state: number): string {
  const asleep = state & ~TASK_STATE.FREEZABLE;
  const known = Object.entries(TASK_STATE).find(([, bits]) => bits === asleep);
  return known === undefined ? `0x${state.toString(16)}` : known[0].toLowerCase();
}

function readStruct<F extends string>(
  read: Read,
  struct: Struct<F>,
  va: bigint,
): Readonly<Record<F, bigint>> {
  const bytes = read(va, struct.size);
  const at = (offset: bigint, n: number): Uint8Array =>
    bytes.subarray(Number(offset), Number(offset) + n);
  const out: Partial<Record<string, bigint>> = {};
  for (const f of Object.values<Field>(struct.fields)) {
    out[f.name] = readUint(at, BigInt(f.offset), f.size);
  }
  if (!hasAll(out, struct)) throw new Error(`struct ${struct.name}: a field was not read`);
  return out;
}

function hasAll<F extends string>(
  out: Partial<Record<string, bigint>>,
  struct: Struct<F>,
): out is Record<F, bigint> {
  return Object.keys(struct.fields).every((name) => out[name] !== undefined);
}

/** Whether the task list leads to a task: its neighbour points back at it. */
function isLinked(read: Read, image: Image, va: bigint): boolean {
  if (va === symbolVa(image, "init_task")) return false; // the list's head
  const node = va + BigInt(TASK.fields.tasks.offset);
  const next = readUint(read, node, 8);
  return next !== 0n && readUint(read, next + 8n, 8) === node;
}

/** Task structs one after the other, as they were at one moment. */
interface Slots {
  readonly view: DataView;
  readonly first: bigint;
  readonly stackSize: bigint;
}

function slotsOf(bytes: Uint8Array, first: bigint, stackSize: number): Slots {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { view, first, stackSize: BigInt(stackSize) };
}

/** A byte for each slot: 1 when the task list leads to it. */
function listedSlots(read: Read, image: Image, { view, first }: Slots): Uint8Array {
  const { offset } = TASK.fields.tasks;
  const head = symbolVa(image, "init_task") + BigInt(offset);
  const out = new Uint8Array(view.byteLength / TASK.size);
  // next pointers lead round the list at every instruction: insertion sets new->next first, deletion
  // changes prev->next first.
  for (let at = readUint(read, head, 8); at !== head && at !== 0n;) {
    const i = Number(at - first - BigInt(offset)) / TASK.size;
    if (out[i] !== 0) break; // seen, or no slot at all
    out[i] = 1;
    at = view.getBigUint64(i * TASK.size + offset, true);
  }
  return out;
}

/** Names that tasks had: few different ones are shared by many. */
const comms = new Map<string, string>();
const MAX_COMMS = 4096;

/** A task in its slot. */
class TaskSlot implements Task {
  readonly #slots: Slots;
  readonly #at: number;
  readonly isListed: boolean;

  constructor(slots: Slots, at: number, isListed: boolean) {
    this.#slots = slots;
    this.#at = at;
    this.isListed = isListed;
  }

  #big(field: keyof typeof TASK.fields): bigint {
    return this.#slots.view.getBigUint64(this.#at + TASK.fields[field].offset, true);
  }

  #num(field: keyof typeof TASK.fields): number {
    const { offset, size } = TASK.fields[field];
    const { view } = this.#slots;
    if (size === 4) return view.getUint32(this.#at + offset, true);
    return Number(view.getBigUint64(this.#at + offset, true));
  }

  get va(): bigint {
    return this.#slots.first + BigInt(this.#at);
  }

  get pid(): number {
    return this.#num("pid");
  }

  get comm(): string {
    const { view } = this.#slots;
    const from = this.#at + TASK.fields.comm.offset;
    let text = "";
    for (let i = 0; i < TASK.fields.comm.size; i++) {
      const c = view.getUint8(from + i);
      if (c === 0) break;
      text += String.fromCharCode(c);
    }
    const known = comms.get(text);
    if (known !== undefined) return known;
    if (comms.size < MAX_COMMS) comms.set(text, text);
    return text;
  }

  get state(): number {
    return this.#num("state");
  }

  get flags(): bigint {
    return this.#big("TI_flags");
  }

  get cpu(): number {
    return this.#num("TI_cpu");
  }

  get onCpu(): boolean {
    return this.#num("on_cpu") !== 0;
  }

  get onRq(): boolean {
    return this.#num("on_rq") !== 0;
  }

  get isKthread(): boolean {
    return (this.#num("flags") & CONSTANTS.PF_KTHREAD) !== 0;
  }

  get isIdle(): boolean {
    return (this.#num("flags") & CONSTANTS.PF_IDLE) !== 0;
  }

  get isExiting(): boolean {
    return (this.#num("flags") & CONSTANTS.PF_EXITING) !== 0;
  }

  get isFreezable(): boolean {
    return (this.#num("flags") & CONSTANTS.PF_NOFREEZE) === 0;
  }

  get stack(): StackRange {
    const lo = this.#big("stack");
    return { lo, hi: lo + this.#slots.stackSize };
  }

  get sp(): bigint {
    return this.#big("threadsp");
  }

  get ptRegsVa(): bigint {
    return this.stack.hi - BigInt(PT_REGS.size);
  }

  get checkpointed(): boolean {
    return this.#num("checkpointed") !== 0;
  }

  get parked(): boolean {
    return this.#num("parked") !== 0;
  }

  get patchState(): number {
    return this.#num("patch_state") | 0;
  }

  get restartFn(): bigint {
    return this.#big("restart_fn");
  }

  get kthreadFlags(): number {
    return this.#num("kthread_flags");
  }

  get syscalls(): number {
    return this.#num("syscalls");
  }

  get nvcsw(): number {
    return this.#num("nvcsw");
  }
}

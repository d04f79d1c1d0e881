// The kernel's tasks as plain data: every used slot of the arena, also one that is exiting and no longer on
// the task list. Reading is safe at any instruction; it takes no lock and follows no run queue.
import type { Image } from "../link/index.ts";
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

const LATIN1 = new TextDecoder("latin1");

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
  const arena = image.symbols.find((s) => s.name === "task_structs");
  if (arena === undefined) throw new Error(`${image.name}: the kernel has no task_structs`);
  return Number(arena.size) / TASK.size;
}

/** THREAD_SIZE of this image. */
export function threadSize(image: Image): number {
  const stacks = image.symbols.find((s) => s.name === "task_stacks");
  if (stacks === undefined) throw new Error(`${image.name}: the kernel has no task_stacks`);
  return Number(stacks.size) / nrTaskSlots(image);
}

/** All tasks in slot order; the idle tasks of the CPUs come first. */
export function readTasks(read: Read, image: Image): readonly Task[] {
  const first = symbolVa(image, "task_structs");
  const size = threadSize(image);
  const listed = listedTasks(read, image);
  const nr = nrTaskSlots(image);
  const arena = read(first, nr * TASK.size);
  const usageAt = TASK.fields.usage.offset;
  const tasks: Task[] = [];
  for (let i = 0; i < nr; i++) {
    const at = i * TASK.size;
    if (arena[at + usageAt] === 0) continue;
    const slot = arena.subarray(at, at + TASK.size);
    const va = first + BigInt(at);
    tasks.push(makeTask(slot, va, size, listed.has(va)));
  }
  return tasks;
}

/** One task by the address of its task_struct. */
export function readTask(read: Read, image: Image, va: bigint): Task {
  return makeTask(read(va, TASK.size), va, threadSize(image), isLinked(read, image, va));
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
  const known = Object.entries(TASK_STATE).find(([, bits]) => bits === state);
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

function listedTasks(read: Read, image: Image): ReadonlySet<bigint> {
  const offset = BigInt(TASK.fields.tasks.offset);
  const head = symbolVa(image, "init_task") + offset;
  const out = new Set<bigint>();
  // next pointers lead round the list at every instruction: insertion sets new->next first, deletion
  // changes prev->next first.
  for (
    let at = readUint(read, head, 8);
    at !== head && at !== 0n && !out.has(at - offset);
    at = readUint(read, at, 8)
  ) {
    out.add(at - offset);
  }
  return out;
}

function makeTask(slot: Uint8Array, va: bigint, stackSize: number, isListed: boolean): Task {
  const view = new DataView(slot.buffer, slot.byteOffset, slot.byteLength);
  const big = (field: keyof typeof TASK.fields): bigint =>
    view.getBigUint64(TASK.fields[field].offset, true);
  const num = (field: keyof typeof TASK.fields): number => {
    const { offset, size } = TASK.fields[field];
    return size === 4 ? view.getUint32(offset, true) : Number(view.getBigUint64(offset, true));
  };
  const comm = slot.subarray(TASK.fields.comm.offset, TASK.fields.comm.offset + 16);
  const end = comm.indexOf(0);
  const lo = big("stack");
  const hi = lo + BigInt(stackSize);
  const flags = num("flags");
  return {
    va,
    pid: num("pid"),
    comm: LATIN1.decode(end < 0 ? comm : comm.subarray(0, end)),
    state: num("state"),
    flags: big("TI_flags"),
    cpu: num("TI_cpu"),
    onCpu: num("on_cpu") !== 0,
    onRq: num("on_rq") !== 0,
    isKthread: (flags & CONSTANTS.PF_KTHREAD) !== 0,
    isIdle: (flags & CONSTANTS.PF_IDLE) !== 0,
    isExiting: (flags & CONSTANTS.PF_EXITING) !== 0,
    isListed,
    stack: { lo, hi },
    sp: big("threadsp"),
    ptRegsVa: hi - BigInt(PT_REGS.size),
    checkpointed: num("checkpointed") !== 0,
    parked: num("parked") !== 0,
    patchState: num("patch_state") | 0,
    restartFn: big("restart_fn"),
    kthreadFlags: num("kthread_flags"),
    syscalls: num("syscalls"),
    nvcsw: num("nvcsw"),
  };
}

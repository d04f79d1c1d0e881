// What happened in one patch run, as frozen plain data: the only thing that a check sees. Every `insn` counts the
// instructions retired on all vCPUs from the scenario's ready mark.
import type { Image } from "../link/index.ts";
import type {
  AgentLog,
  AgentWrite,
  Blocker,
  GuestBug,
  LogLine,
  Outcome,
  PatchPlan,
} from "../patch/index.ts";

/** A task, by the stack that it runs on. */
export interface TraceTask {
  readonly pid: number;
  readonly comm: string;
  readonly kind: "user" | "kthread" | "idle" | "stopper" | "patchd" | "dead";
  /** Its stack: [lo, hi). */
  readonly lo: bigint;
  readonly hi: bigint;
  /** On the task list and runnable, or running, at the request. */
  readonly runnable: boolean;
}

/**
 * What an entry of the call log is of.
 *
 * site     an instruction in the window of a patched function
 * old      the old function, behind its window; new: the new function
 * syscall  a system call begins; user: a task goes back to user mode
 * stop     a CPU enters multi_cpu_stop; resume: it leaves
 * gather   a task comes to the checkpoint; leave: it goes on
 */
export const ENTRY_KINDS = [
  "site",
  "old",
  "new",
  "syscall",
  "user",
  "stop",
  "resume",
  "gather",
  "leave",
] as const;
export type EntryKind = (typeof ENTRY_KINDS)[number];

/** An instruction of interest that was executed. time: of its vCPU. */
export interface Entry {
  readonly kind: EntryKind;
  readonly insn: number;
  readonly vcpu: number;
  readonly time: number;
  readonly ip: bigint;
  /** Index of the function in the plan; 0 where there is none. */
  readonly index: number;
  /** The task whose stack it ran on; undefined on a per-CPU stack: an interrupt's or NMI's. */
  readonly task: TraceTask | undefined;
}

/** An address on a true stack. isCall: the return address of a call, so that the caller ends at ip - 1. */
export interface TraceFrame {
  readonly ip: bigint;
  readonly isCall: boolean;
  /** In text that was there at that moment without being any image's: a trampoline, a loaded module. */
  readonly isDynamic?: boolean;
}

/** The true stack of a task, innermost first, with the instruction that it executes next if it is running. */
export interface TraceStack {
  readonly task: TraceTask;
  readonly vcpu: number | undefined;
  readonly frames: readonly TraceFrame[];
}

/** All true stacks right after the store that put the new functions in force. */
export interface Commit {
  readonly insn: number;
  readonly stacks: readonly TraceStack[];
}

/**
 * A task came from one universe to the other.
 *
 * how     "stack check" by the mechanism, or what the task itself was doing: "exit to user", "syscall entry", "idle",
 *         "cond_resched", "kthread", "forced"
 * frames  its true stack at that moment, innermost first; of one that was being decided, from outside of that function
 * decided it fell in the handler at the entry of a function: that activation is of the universe that it came to
 */
export interface Switch {
  readonly insn: number;
  readonly task: TraceTask;
  readonly to: Side;
  readonly how: string;
  readonly frames: readonly TraceFrame[];
  readonly decided?: boolean;
}

/**
 * A task that a mechanism could not switch at a try.
 *
 * insn    when it was looked at
 * nr      the try, from 1
 * frames  its true stack at that moment, innermost first; none in user mode, and for all but the first MAX_TOLD of a try
 */
export interface Held {
  readonly insn: number;
  readonly nr: number;
  readonly blocker: Blocker;
  readonly frames: readonly TraceFrame[];
}

/** A variant of the patched functions, and the universe of whoever enters it. */
export type Side = "old" | "new";

/** Where a request leads that finds everybody on one side. */
export function otherSide(side: Side): Side {
  return side === "old" ? "new" : "old";
}

/** Why a run ended: `complete` is what it should be, `limit` was asked for. */
export type RunEnd = "complete" | "bug" | "shutdown" | "idle" | "budget" | "limit";

export interface Trace {
  readonly scenario: string;
  readonly mechanism: string;
  readonly image: Image;
  readonly plan: PatchPlan;
  /** The variants in force at the request: "old" when a patch is put in, "new" when it is taken out. */
  readonly from: Side;
  readonly requestAt: number;
  readonly end: RunEnd;
  readonly endedAt: number;
  readonly budgetInsns: number;
  readonly outcome: Outcome | undefined;
  readonly outcomeAt: number | undefined;
  readonly doneAt: number | undefined;
  readonly writes: readonly AgentWrite[];
  readonly logs: readonly AgentLog[];
  /** What guest and mechanism said since the request, as dmesg would print it. */
  readonly dmesg: readonly LogLine[];
  /** Who stood in the way at each try that did not end it. */
  readonly held: readonly Held[];
  readonly entries: readonly Entry[];
  readonly bugs: readonly GuestBug[];
  readonly tasks: readonly TraceTask[];
  /** The vCPUs' virtual times at the end. */
  readonly times: readonly number[];
  /** What was in each patched function's window at the request: Uint8Array[5], in the plan's order. */
  readonly windows: readonly Uint8Array[];
  /** Starts of the trampolines and modules that there were at the request. */
  readonly dynamic: readonly bigint[];
  /** At the request some task was in an old patched function, by its true stack. */
  readonly isInside: boolean;
  readonly commit: Commit | undefined;
  /** In the order in which they happened. */
  readonly switches: readonly Switch[];
  /** True stacks at the end. */
  readonly ending: readonly TraceStack[];
  /** Addresses of the bytes of kernel text that at the end are not what they were before; the first 64. */
  readonly changed: readonly bigint[];
  /** The scenario's result symbols at the end, and those of an unpatched run. */
  readonly results: Readonly<Record<string, bigint>>;
  readonly expected: Readonly<Record<string, bigint>>;
}

/** The checks, in the order in which docs/checks.md has them. */
export const CHECKS = [
  "half-written",
  "freed-text",
  "promise",
  "bug",
  "progress",
  "results",
  "refusal",
  "stray-write",
] as const;
export type CheckName = (typeof CHECKS)[number];

/** Something that must not happen has happened. insn: from the ready mark. */
export interface Violation {
  readonly check: CheckName;
  readonly vcpu: number | null;
  readonly insn: number;
  readonly task: string;
  readonly ip: bigint;
  readonly symbol: string;
  readonly message: string;
  /**
   * Under promise: the function at whose entry the task was when its switch, or the commit, passed over it; docs/checks.md, "At
   * the entry, on the way out".
   */
  readonly atEntry?: string;
}

export interface Verdict {
  readonly verdict: "consistent" | "violated";
  /** Sorted by insn. */
  readonly violations: readonly Violation[];
}

// An unwinder's frames against the truth: what it saw, missed or made up, at one instruction and summed over a run.
// Refusing is counted apart from being wrong, and being wrong while claiming to be reliable apart from all.
import type { Image } from "../link/index.ts";
import { formatAddress } from "../link/index.ts";
import type { Task } from "../kernel/index.ts";
import {
  perCpuVa,
  PCPU_HOT,
  PT_REGS,
  readField,
  readTasks,
  TASK,
  threadSize,
} from "../kernel/index.ts";
import { trueStack, trueStackOf, type Machine, type TruthStack } from "../machine/index.ts";
import {
  KLP_MAX_STACK_ENTRIES,
  stackTraceSaveRegs,
  stackTraceSaveTskReliable,
  walkMemory,
  type Trace,
  type Unwinder,
} from "../unwind/index.ts";

/**
 * What a walk is compared to the truth.
 *
 * exact      the same frames
 * truncated  the first of them
 * skipped    some of them, in order
 * falseFrame a frame that is not there
 * refused    an error was met, and said
 */
export const SCORE_VERDICTS = ["exact", "truncated", "skipped", "falseFrame", "refused"] as const;
export type ScoreVerdict = (typeof SCORE_VERDICTS)[number];

/** Reasons that say that a walk may not be relied on, though it went to its end. */
const DOUBTS: ReadonlySet<string> = new Set(["running", "pt_regs", "guess"]);

/** Compares the frames of a walk with the true ones, both innermost first. */
export function compareFrames(
  seen: readonly bigint[],
  truth: readonly bigint[],
): Exclude<ScoreVerdict, "refused"> {
  if (seen.every((ip, i) => ip === truth[i])) {
    return seen.length === truth.length ? "exact" : "truncated";
  }
  let at = 0;
  for (const ip of seen) {
    at = truth.indexOf(ip, at) + 1;
    if (at === 0) return "falseFrame";
  }
  return "skipped";
}

/** The verdict on a walk; one that stopped at an error has refused, whatever it had found. */
export function judgeTrace(trace: Trace, truth: readonly bigint[]): ScoreVerdict {
  if (trace.error !== undefined && !DOUBTS.has(trace.error.reason)) return "refused";
  return compareFrames(
    trace.frames.map((f) => f.ip),
    truth,
  );
}

/** Kernel addresses of a true stack, innermost first; `from` is the instruction that executes next, if it counts. */
export function trueAddresses(
  truth: TruthStack | undefined,
  from: bigint | undefined,
): readonly bigint[] {
  const out = from === undefined ? [] : [from];
  for (const f of truth?.frames ?? []) {
    if (f.kind === "user") break;
    out.push(f.ret);
  }
  return out;
}

/** The first boundary of a kind. insn counts from where the score began. */
export interface ScoreExample {
  readonly insn: number;
  readonly vcpu: number | undefined;
  readonly task: string;
  readonly ip: bigint;
  readonly symbol: string;
  readonly reason: string | undefined;
  readonly truth: readonly string[];
  readonly seen: readonly string[];
}

/** The sum over a run. boundaries = exact + truncated + skipped + falseFrame + refused. */
export interface UnwindScore {
  readonly image: string;
  readonly unwinder: string;
  readonly boundaries: number;
  readonly exact: number;
  readonly truncated: number;
  readonly skipped: number;
  readonly falseFrame: number;
  readonly refused: number;
  /** Walks that claimed to be reliable and were not exact, of running and inactive tasks. */
  readonly reliableWrong: number;
  readonly firstWrong: ScoreExample | undefined;
  /** The first boundary of each verdict. */
  readonly first: Readonly<Partial<Record<ScoreVerdict, ScoreExample>>>;
  /** Walks of tasks that were not running, by stack_trace_save_tsk_reliable: of all, how many were reliable. */
  readonly inactive: number;
  readonly inactiveReliable: number;
}

/** The stack of what a vCPU runs in kernel mode by an unwinder; undefined in user mode. */
export function walkRunning(
  m: Machine,
  image: Image,
  unwinder: Unwinder,
  vcpu: number,
): { readonly trace: Trace; readonly truth: readonly bigint[] } | undefined {
  if (m.reg(vcpu, "cpl") === 3n) return undefined;
  const read = (va: bigint, n: number): Uint8Array => m.read(va, n, vcpu);
  const current = readField(read, PCPU_HOT, perCpuVa(image, vcpu), "current_task");
  const lo = current === 0n ? 0n : readField(read, TASK, current, "stack");
  const hi = lo + BigInt(threadSize(image));
  const ip = m.reg(vcpu, "rip");
  const trace = stackTraceSaveRegs(
    unwinder,
    walkMemory(read, image),
    { stack: { lo, hi }, ptRegsVa: hi - BigInt(PT_REGS.size) },
    { ip, sp: m.reg(vcpu, "rsp"), bp: m.reg(vcpu, "rbp") },
    Number.MAX_SAFE_INTEGER,
  );
  return { trace, truth: trueAddresses(trueStackOf(m, vcpu), ip) };
}

/** The stack of a task that is not running by an unwinder, as live patching asks for it. */
export function walkInactive(
  m: Machine,
  image: Image,
  unwinder: Unwinder,
  task: Task,
): { readonly trace: Trace; readonly truth: readonly bigint[] } {
  const memory = walkMemory((va, n) => m.read(va, n), image);
  const trace = stackTraceSaveTskReliable(unwinder, memory, task, KLP_MAX_STACK_ENTRIES);
  return { trace, truth: trueAddresses(trueStack(m, task.stack.lo), undefined) };
}

/** Adds up the score of one unwinder. */
export class ScoreMeter {
  readonly #machine: Machine;
  readonly #image: Image;
  readonly #unwinder: Unwinder;
  readonly #counts: Record<ScoreVerdict, number> = {
    exact: 0,
    truncated: 0,
    skipped: 0,
    falseFrame: 0,
    refused: 0,
  };
  readonly #first: Partial<Record<ScoreVerdict, ScoreExample>> = {};
  #reliableWrong = 0;
  #firstWrong: ScoreExample | undefined;
  #inactive = 0;
  #inactiveReliable = 0;

  constructor(machine: Machine, image: Image, unwinder: Unwinder) {
    this.#machine = machine;
    this.#image = image;
    this.#unwinder = unwinder;
  }

  #example(
    insn: number,
    vcpu: number | undefined,
    task: string,
    trace: Trace,
    truth: readonly bigint[],
  ): ScoreExample {
    const show = (va: bigint): string => formatAddress(this.#image, va);
    const ip = truth[0] ?? 0n;
    return {
      insn,
      vcpu,
      task,
      ip,
      symbol: show(ip),
      reason: trace.error?.reason,
      truth: truth.map(show),
      seen: trace.frames.map((f) => show(f.ip)),
    };
  }

  #wrong(trace: Trace, verdict: ScoreVerdict, example: () => ScoreExample): void {
    if (!trace.reliable || verdict === "exact") return;
    this.#reliableWrong++;
    this.#firstWrong ??= example();
  }

  /** Scores the boundary that a vCPU is at, if it is in kernel mode. Answers the verdict. */
  running(vcpu: number, insn: number): ScoreVerdict | undefined {
    const walked = walkRunning(this.#machine, this.#image, this.#unwinder, vcpu);
    if (walked === undefined) return undefined;
    const { trace, truth } = walked;
    const verdict = judgeTrace(trace, truth);
    const example = (): ScoreExample => this.#example(insn, vcpu, `vcpu ${vcpu}`, trace, truth);
    this.#counts[verdict]++;
    this.#first[verdict] ??= example();
    this.#wrong(trace, verdict, example);
    return verdict;
  }

  /** Checks every task that is not running: whoever is called reliable must be exact. */
  inactive(insn: number): void {
    const tasks = readTasks((va, n) => this.#machine.read(va, n), this.#image);
    for (const task of tasks) {
      if (task.onCpu || !(task.isListed || task.isIdle)) continue;
      const { trace, truth } = walkInactive(this.#machine, this.#image, this.#unwinder, task);
      this.#inactive++;
      if (trace.reliable) this.#inactiveReliable++;
      this.#wrong(trace, judgeTrace(trace, truth), () =>
        this.#example(insn, undefined, `${task.comm} (${task.pid})`, trace, truth),
      );
    }
  }

  result(): UnwindScore {
    const counts = this.#counts;
    return {
      image: this.#image.name,
      unwinder: this.#unwinder.name,
      boundaries: SCORE_VERDICTS.reduce((n, v) => n + counts[v], 0),
      ...counts,
      reliableWrong: this.#reliableWrong,
      firstWrong: this.#firstWrong,
      first: { ...this.#first },
      inactive: this.#inactive,
      inactiveReliable: this.#inactiveReliable,
    };
  }
}

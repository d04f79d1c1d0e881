// A run for its stacks: boots a scenario to its ready mark, runs it on, and sets what every unwinder says of every task
// beside the truth; or scores every instruction of the run.
import type { Task } from "../kernel/index.ts";
import { stateName } from "../kernel/index.ts";
import { formatAddress } from "../link/index.ts";
import { runnerOf, seededSchedule, trueStack, trueStackOf } from "../machine/index.ts";
import { Session } from "../patch/index.ts";
import type { BuiltScenario } from "../scenario/index.ts";
import type { Unwinder } from "../unwind/index.ts";
import {
  judgeTrace,
  ScoreMeter,
  trueAddresses,
  walkInactive,
  walkRunning,
  type ScoreVerdict,
  type UnwindScore,
} from "./score.ts";

export interface StackFrame {
  readonly ip: bigint;
  readonly symbol: string;
}

/** One unwinder's view of a task's stack. reason: why it cannot be relied on. */
export interface UnwoundStack {
  readonly unwinder: string;
  readonly frames: readonly StackFrame[];
  readonly reliable: boolean;
  readonly reason: string | null;
  readonly verdict: ScoreVerdict;
}

/** A task's stack. vcpu: the one that runs it; user: it is in user mode there and has nothing on its kernel stack. */
export interface TaskStacks {
  readonly pid: number;
  readonly comm: string;
  readonly state: string;
  readonly vcpu: number | null;
  readonly user: boolean;
  readonly truth: readonly StackFrame[];
  readonly unwound: readonly UnwoundStack[];
}

/** How a scenario is run for its stacks. at: instructions after the ready mark. */
export interface StackRun {
  readonly core: WebAssembly.Module;
  readonly built: BuiltScenario;
  readonly vcpus: number;
  readonly seed: number;
  readonly at: number;
}

/** The budget of instructions until the ready mark. */
const READY_BUDGET = 10_000_000;

/** The scenario, `at` instructions after its ready mark. */
function ready({ core, built, vcpus, seed, at }: StackRun): Session {
  const session = new Session({
    core,
    image: built.image,
    ramBytes: built.scenario.ramMiB << 20,
    nrVcpus: vcpus,
    schedule: seededSchedule(seed),
  });
  const stop = session.run(READY_BUDGET, new Set(["ready", "shutdown", "bug"]));
  if (stop !== "ready") throw new Error(`${built.image.name}: ${stop} before the ready mark`);
  session.run(session.machine.retired + at);
  return session;
}

function stacksOf(session: Session, task: Task, unwinders: readonly Unwinder[]): TaskStacks {
  const { machine: m, image } = session;
  const frames = (ips: readonly bigint[]): readonly StackFrame[] =>
    ips.map((ip) => ({ ip, symbol: formatAddress(image, ip) }));
  const runner = task.onCpu ? runnerOf(m, task.stack.lo) : undefined;
  const common = { pid: task.pid, comm: task.comm, state: stateName(task.state) };
  if (task.onCpu && runner === undefined) {
    return { ...common, vcpu: task.cpu, user: true, truth: [], unwound: [] };
  }
  const truth =
    runner === undefined
      ? trueAddresses(trueStack(m, task.stack.lo), undefined)
      : trueAddresses(trueStackOf(m, runner), m.reg(runner, "rip"));
  const unwound = unwinders.flatMap((unwinder): readonly UnwoundStack[] => {
    const walked =
      runner === undefined
        ? walkInactive(m, image, unwinder, task)
        : walkRunning(m, image, unwinder, runner);
    if (walked === undefined) return [];
    const { trace } = walked;
    return [
      {
        unwinder: unwinder.name,
        frames: frames(trace.frames.map((f) => f.ip)),
        reliable: trace.reliable,
        reason: trace.error?.reason ?? null,
        verdict: judgeTrace(trace, walked.truth),
      },
    ];
  });
  return { ...common, vcpu: runner ?? null, user: false, truth: frames(truth), unwound };
}

/** The stacks of every task, some instructions after the ready mark. */
export function showStacks(run: StackRun, unwinders: readonly Unwinder[]): readonly TaskStacks[] {
  const session = ready(run);
  return session.tasks().map((task) => stacksOf(session, task, unwinders));
}

/** How often the tasks that do not run are checked, besides at each switch of stacks. */
const INACTIVE_EVERY = 64;

/**
 * Scores every instruction that retires in kernel mode, on every vCPU, from `run.at` on.
 *
 * insns    how many instructions, user mode included
 * goOn     asked every 4096 instructions whether to go on
 */
export async function scoreUnwinders(
  run: StackRun,
  unwinders: readonly Unwinder[],
  insns: number,
  goOn: (done: number) => Promise<boolean>,
): Promise<readonly UnwindScore[]> {
  const session = ready(run);
  const { machine: m } = session;
  const meters = unwinders.map((u) => new ScoreMeter(m, session.image, u));
  const page = (vcpu: number): bigint => m.reg(vcpu, "rsp") >> 12n;
  const retired = (vcpu: number): bigint => m.reg(vcpu, "retired");
  const all = Array.from({ length: m.nrVcpus }, (_, v) => v);
  const seen = all.map(retired);
  const stacks = all.map(page);
  const from = m.retired;
  for (let done = 0; done < insns; done++) {
    if (done % 4096 === 0 && !(await goOn(done))) break;
    const stop = session.run(from + done + 1, new Set(["shutdown"]));
    if (stop !== "insns") break;
    const insn = run.at + done + 1;
    let switched = done % INACTIVE_EVERY === 0;
    for (const vcpu of all) {
      const now = retired(vcpu);
      if (now === seen[vcpu]) continue;
      seen[vcpu] = now;
      for (const meter of meters) meter.running(vcpu, insn);
      if (page(vcpu) === stacks[vcpu]) continue;
      stacks[vcpu] = page(vcpu);
      switched = true;
    }
    if (switched) for (const meter of meters) meter.inactive(insn);
  }
  return meters.map((meter) => meter.result());
}

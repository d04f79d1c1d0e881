// ksplice, the forerunner: the running bytes must be the expected ones; then, with the machine stopped, every word of every
// stack that could be an address inside a function of the patch stands in the way; then a jump is written over each entry.
// Jeff Arnold, Frans Kaashoek, "Ksplice: Automatic Rebootless Kernel Updates"; its kmodsrc/ksplice.c.
// DIFFERS: no hooks of the patch's author.
import {
  look,
  log,
  progress,
  readRunQueues,
  readTasks,
  sleep,
  stopMachine,
  TASK_STATE,
  write,
  type GuestView,
  type Program,
  type Read,
  type Task,
} from "../kernel/index.ts";
import { formatAddress } from "../link/index.ts";
import { kernelTextAddress } from "../unwind/index.ts";
import { scanCost } from "./cost.ts";
import {
  isOwnStack,
  outcome,
  type Blocker,
  type Mechanism,
  type Outcome,
  type Request,
  type Switched,
} from "./mechanism.ts";
import { findModule, insmodError, loadModule, unloadModule } from "./module.ts";
import { patchName } from "./plan.ts";
import { jumpOf, overwrittenJump, runPreMismatch, tooShort } from "./run-pre.ts";

/** How often it tries, and the virtual seconds between two tries. */
export const KSPLICE_ATTEMPTS = 5;
export const KSPLICE_RETRY_S = 1;

const JMP_SIZE = 5;
const JMP = 0xe9;

/** struct safety_record: code that nobody may be in or come back to. */
interface SafetyRecord {
  readonly name: string;
  readonly lo: bigint;
  readonly hi: bigint;
}

interface Checked {
  readonly blockers: readonly Blocker[];
  readonly tasks: readonly Switched[];
  readonly words: number;
}

function recordOf(name: string, lo: bigint, size: number): SafetyRecord {
  return { name, lo, hi: lo + BigInt(size) };
}

/** follow_trampolines(): where an address really leads, through the jumps that are installed already. */
function followTrampolines(read: Read, jumps: ReadonlyMap<bigint, bigint>, va: bigint): bigint {
  const seen = new Set<bigint>();
  let at = va;
  for (let to = jumps.get(at); to !== undefined && !seen.has(at); to = jumps.get(at)) {
    seen.add(at);
    const [op] = read(at, 1);
    if (op !== JMP) break;
    at = to;
  }
  return at;
}

/** What check_task() looks at: the saved ip, restart_block.fn, and every word of the stack in use. */
function candidates(read: Read, task: Task, sp: bigint): readonly bigint[] {
  const out = [task.restartFn];
  const bytes = read(sp, Number(task.stack.hi - sp) & ~7);
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < bytes.length; i += 8) out.push(words.getBigUint64(i, true));
  return out;
}

/** check_each_task(), with the machine stopped. */
function checkEachTask(
  g: GuestView,
  { image, plan }: Request,
  records: readonly SafetyRecord[],
): Checked {
  const queues = readRunQueues(g.read, image);
  const stoppers = new Set(queues.map((q) => q.stop));
  const running = new Set(queues.map((q) => q.curr));
  const jumps = new Map(plan.functions.map((f) => [f.jumpVa, f.newVa]));
  const blockers: Blocker[] = [];
  const tasks: Switched[] = [];
  let words = 0;
  for (const task of readTasks(g.read, image)) {
    if (task.state === TASK_STATE.DEAD) continue;
    const isSelf = isOwnStack(g, task);
    const blocker = (reason: string, symbol?: string, stack: readonly bigint[] = []): Blocker => ({
      task: task.comm,
      pid: task.pid,
      reason,
      symbol,
      stack,
    });
    if (!isSelf && running.has(task.va)) {
      if (!stoppers.has(task.va)) blockers.push(blocker("unexpected running task"));
      continue;
    }
    const all = candidates(g.read, task, isSelf ? g.registers.sp : task.sp);
    words += all.length;
    if (!isSelf) tasks.push({ task: task.comm, pid: task.pid, how: "stack scan" });
    const hit = all
      .map((va) => followTrampolines(g.read, jumps, va))
      .map((va) => records.find((r) => va >= r.lo && va < r.hi))
      .find((r) => r !== undefined);
    if (hit === undefined) continue;
    const text = all.filter((va) => kernelTextAddress([image, plan.module], va));
    blockers.push(blocker("stack check: code is busy", hit.name, text));
  }
  return { blockers, tasks, words };
}

function* attempts(
  request: Request,
  records: readonly SafetyRecord[],
  what: "replaced" | "reversed",
  commit: () => Program<void>,
): Program<Outcome> {
  const { image, hz, plan } = request;
  let blockers: readonly Blocker[] = [];
  for (let attempt = 1; attempt <= KSPLICE_ATTEMPTS; attempt++) {
    const checked = yield* stopMachine(checkAndCommit(request, records, commit));
    blockers = checked.blockers;
    if (blockers.length === 0) {
      const done = what === "replaced" ? "insertion" : "removal";
      yield* log(`ksplice: Atomic patch ${done} for ${patchName(plan.module.name)} complete`);
      return outcome("applied", `atomic patch ${done} complete`, [], checked.tasks);
    }
    if (attempt < KSPLICE_ATTEMPTS) yield* sleep(KSPLICE_RETRY_S * hz);
  }
  for (const b of blockers) {
    yield* log(
      `ksplice: stack check: to-be-${what} code is busy (${b.symbol ?? b.reason}; PID: ${b.pid} Comm: ${b.task}; ` +
        `${b.stack.map((ip) => formatAddress(image, ip)).join(" ")})`,
    );
  }
  return outcome("refused", `busy in all of ${KSPLICE_ATTEMPTS} attempts`, blockers);
}

function* checkAndCommit(
  request: Request,
  records: readonly SafetyRecord[],
  commit: () => Program<void>,
): Program<Checked> {
  const checked = yield* look("stop_machine", (g) => {
    const value = checkEachTask(g, request, records);
    return { value, cost: scanCost(value.words) };
  });
  if (checked.blockers.length === 0) yield* commit();
  else yield* progress(outcome("stalled", "busy in an attempt", checked.blockers));
  return checked;
}

function* enable(request: Request): Program<Outcome> {
  const { image, plan } = request;
  const short = tooShort(plan);
  if (short)
    return outcome("refused", `${short.name}: shorter than the ${JMP_SIZE} bytes of a jump`);
  const failed = yield* loadModule(image, plan);
  if (failed !== 0) return outcome("refused", insmodError(plan, failed));
  const wrong = yield* runPreMismatch(plan);
  const done =
    wrong === undefined
      ? yield* attempts(
          request,
          plan.functions.map((f) => recordOf(f.name, f.oldVa, f.oldSize)),
          "replaced",
          function* () {
            for (const f of plan.functions) yield* write(f.jumpVa, jumpOf(f).bytes);
          },
        )
      : outcome("refused", `${wrong}: the running code is not the expected code`);
  if (done.result !== "applied") yield* unloadModule(image, plan);
  return done;
}

function* disable(request: Request): Program<Outcome> {
  const { image, plan } = request;
  if ((yield* findModule(image, plan)) === undefined) {
    return outcome("refused", "the patch is not in force");
  }
  const other = yield* overwrittenJump(plan);
  if (other !== undefined) {
    yield* log(`ksplice: Trampoline at ${other.va.toString(16)} has been overwritten.`);
    return outcome("refused", `${other.name}: the trampoline has been overwritten`);
  }
  const done = yield* attempts(
    request,
    plan.functions.map((f) => recordOf(f.name, f.newVa, f.newSize)),
    "reversed",
    function* () {
      for (const f of plan.functions) yield* write(f.jumpVa, f.oldBytes);
    },
  );
  if (done.result === "applied") yield* unloadModule(image, plan);
  return done;
}

export const ksplice: Mechanism = {
  name: "ksplice",
  leaves: "patched set",
  switches: "kernel",
  summary: "stop_machine, a scan of every word of every stack, then a jump over each entry",
  enable,
  disable,
};

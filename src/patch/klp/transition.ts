// A transition: every task from one patch state to the other, one by one, each when it can be. What the worker does, in
// the order of its stores; tasks switch themselves in kernels/base/livepatch.S. kernel/livepatch/transition.c
import {
  call,
  clearBit,
  CONSTANTS,
  fieldVa,
  KLP_FUNC,
  KLP_PATCH,
  log,
  look,
  perCpuVa,
  PERCPU,
  readField,
  readTasks,
  readUint,
  RQ,
  setBit,
  symbolVa,
  TASK,
  TASK_STATE,
  TIF,
  withLock,
  writeField,
  writeWord,
  nrCpus,
  type GuestView,
  type Program,
  type Task,
} from "../../kernel/index.ts";
import { callPost } from "./callbacks.ts";
import { unpatchObjects } from "./objects.ts";
import { freePatch, freeReplacedPatches, discardNops, unpatchReplaced } from "./replace.ts";
import { checkTask, type Checked } from "./stack-check.ts";
import type { Blocker } from "../mechanism.ts";
import { KLP, type KlpSystem } from "./system.ts";
import {
  readPatch,
  readPatches,
  readTransition,
  see,
  type KlpPatch,
  type Transition,
} from "./view.ts";

export const IDLE = CONSTANTS.KLP_TRANSITION_IDLE;
export const UNPATCHED = CONSTANTS.KLP_TRANSITION_UNPATCHED;
export const PATCHED = CONSTANTS.KLP_TRANSITION_PATCHED;

/** Tries between two rounds of signals. */
export const SIGNALS_TIMEOUT = 15;

const ING = ["unpatching", "patching"] as const;

/** A task that the worker could not switch, and why. */
export interface Remaining extends Checked {
  readonly task: string;
  readonly pid: number;
}

const REASON = {
  running: "is running",
  unreliable: "has an unreliable stack",
  busy: "is sleeping on a function of the patch",
} as const;

/** The same in a report. */
export function blockerOf(r: Remaining): Blocker {
  const reason = REASON[r.obstacle ?? "running"];
  return {
    task: r.task,
    pid: r.pid,
    reason: r.doubt === undefined ? reason : `${reason} (${r.doubt})`,
    symbol: r.symbol,
    stack: r.stack,
  };
}

/** A task that the worker found switched already, or switched itself. */
export interface SwitchedBy {
  readonly task: string;
  readonly pid: number;
  readonly how: "stack check" | "itself";
}

/** What one try came to: undefined `remaining` when the transition is over. */
export interface Tried {
  readonly remaining: readonly Remaining[];
  readonly switched: readonly SwitchedBy[];
}

/** What a walk over the tasks takes from each: an answer is kept until the transition is over. */
type Member = Pick<Task, "va" | "pid" | "comm" | "cpu" | "isKthread">;

function members(g: GuestView, isOne: (t: Task) => boolean): readonly Member[] {
  return readTasks(g.read, g.image)
    .filter(isOne)
    .map(({ va, pid, comm, cpu, isKthread }) => ({ va, pid, comm, cpu, isKthread }));
}

/** for_each_process_thread(): with tasklist_lock held. */
function* listed(): Program<readonly Member[]> {
  return yield* look("tasklist_lock", (g) => ({
    value: members(g, (t) => t.isListed),
    cost: 0,
  }));
}

/** The idle task of each possible CPU. */
function* idleTasks(): Program<readonly Member[]> {
  return yield* look("klp_mutex", (g) => ({ value: members(g, (t) => t.isIdle), cost: 0 }));
}

/** for_each_process_thread() under tasklist_lock, then for_each_possible_cpu() the idle task. */
function* forEachTask(k: KlpSystem, body: (task: Member) => Program<void>): Program<void> {
  yield* withLock(
    symbolVa(k.image, "tasklist_lock"),
    (function* () {
      for (const t of yield* listed()) yield* body(t);
    })(),
  );
  for (const t of yield* idleTasks()) yield* body(t);
}

function setState(t: Member, state: number): Program<void> {
  return writeField(TASK, t.va, "patch_state", BigInt(state));
}

function* setPending(t: Member): Program<void> {
  yield* setBit(fieldVa(TASK, t.va, "TI_flags"), TIF.PATCH_PENDING);
}

function* clearPending(t: Member): Program<void> {
  yield* clearBit(fieldVa(TASK, t.va, "TI_flags"), TIF.PATCH_PENDING);
}

/** klp_synchronize_transition(): every CPU has left whatever handler it was in. */
function* synchronize(k: KlpSystem): Program<void> {
  yield* call("schedule_on_each_cpu", symbolVa(k.image, "klp_sync"));
}

function* setTransition(patch: KlpPatch, value: boolean): Program<void> {
  for (const object of patch.objects) {
    for (const f of object.funcs) {
      yield* writeField(KLP_FUNC, f.va, "transition", value ? 1n : 0n);
    }
  }
}

export function* current(k: KlpSystem): Program<Transition> {
  return yield* see((g) => readTransition(g.read, k.image));
}

/** klp_init_transition(): the target is set, every task is in the other state, every function in transition. */
export function* initTransition(k: KlpSystem, patch: KlpPatch, target: 0 | 1): Program<void> {
  yield* writeWord(symbolVa(k.image, "klp_transition_patch"), patch.va);
  yield* writeWord(symbolVa(k.image, "klp_target_state"), BigInt(target), 4);
  yield* log(`${KLP}'${patch.name}': initializing ${ING[target]} transition`);
  yield* forEachTask(k, (t) => setState(t, target === PATCHED ? UNPATCHED : PATCHED));
  // smp_wmb(): the states before func->transition, for the handler.
  yield* setTransition(patch, true);
}

/** klp_start_transition(): from here on tasks switch. */
export function* startTransition(k: KlpSystem, patch: KlpPatch): Program<void> {
  const { target } = yield* current(k);
  yield* log(`${KLP}'${patch.name}': starting ${ING[target === PATCHED ? 1 : 0]} transition`);
  yield* forEachTask(k, function* (t) {
    const state = yield* look("word", (g) => ({ value: patchState(g, t), cost: 0 }));
    if (state !== target) yield* setPending(t);
  });
  yield* writeWord(symbolVa(k.image, "klp_resched_enabled"), 1n, 4);
  yield* writeWord(symbolVa(k.image, "klp_signals_cnt"), 0n, 4);
}

function patchState(g: GuestView, t: Member): number {
  return Number(readField(g.read, TASK, t.va, "patch_state")) | 0;
}

/** klp_try_switch_task(). Answers what is in the way, or undefined. */
function* trySwitchTask(
  k: KlpSystem,
  { patch, target }: Transition,
  t: Member,
): Program<Remaining | SwitchedBy> {
  const state = yield* look("word", (g) => ({ value: patchState(g, t), cost: 0 }));
  if (state === target) return { task: t.comm, pid: t.pid, how: "itself" };
  const flags = yield* call("klp_task_call_lock", t.va);
  const checked = yield* look("rq_lock", (g) => {
    const looked = checkTask(g, k, patch, target, t.va);
    if (looked.value.obstacle === undefined) return looked;
    const blocker = blockerOf({ task: t.comm, pid: t.pid, ...looked.value });
    return { ...looked, seen: [{ va: t.va, ...blocker }] };
  });
  if (checked.obstacle === undefined) {
    yield* clearPending(t);
    yield* setState(t, target);
  }
  yield* call("klp_task_call_unlock", t.va, flags);
  if (checked.obstacle === undefined) return { task: t.comm, pid: t.pid, how: "stack check" };
  const who = `klp_try_switch_task: ${t.comm}:${t.pid}`;
  const why = {
    running: "is running",
    unreliable: "has an unreliable stack",
    busy: `is sleeping on function ${checked.symbol}`,
  }[checked.obstacle];
  yield* log(`${KLP}${who} ${why}`);
  return { task: t.comm, pid: t.pid, ...checked };
}

/** klp_send_signals(). */
function* sendSignals(k: KlpSystem): Program<void> {
  const signals = yield* see((g) => readUint(g.read, symbolVa(k.image, "klp_signals_cnt"), 4));
  if (signals === BigInt(SIGNALS_TIMEOUT)) yield* log(`${KLP}signaling remaining tasks`);
  yield* withLock(
    symbolVa(k.image, "tasklist_lock"),
    (function* () {
      for (const t of yield* listed()) {
        const isPending = yield* look("word", (g) => ({
          value:
            ((readField(g.read, TASK, t.va, "TI_flags") >> BigInt(TIF.PATCH_PENDING)) & 1n) === 1n,
          cost: 0,
        }));
        if (!isPending) continue;
        if (t.isKthread) yield* call("wake_up_state", t.va, BigInt(TASK_STATE.INTERRUPTIBLE));
        else yield* call("set_notify_signal", t.va);
      }
    })(),
  );
}

/**
 * klp_try_complete_transition(): one round of the worker, klp_mutex held.
 *
 * returns  who remains; nobody when the transition is complete and cleaned up
 */
export function* tryComplete(k: KlpSystem): Program<Tried> {
  const { image } = k;
  const now = yield* current(k);
  const remaining: Remaining[] = [];
  const switched: SwitchedBy[] = [];
  const note = (r: Remaining | SwitchedBy): boolean => {
    if ("how" in r) switched.push(r);
    else remaining.push(r);
    return "how" in r;
  };
  yield* withLock(
    symbolVa(image, "tasklist_lock"),
    (function* () {
      for (const t of yield* listed()) note(yield* trySwitchTask(k, now, t));
    })(),
  );
  for (const t of yield* idleTasks()) {
    const isOnline = yield* see((g) => t.cpu < nrCpus(g.read, image) && isCpuOnline(g, t.cpu));
    if (!isOnline) {
      const state = yield* look("word", (g) => ({ value: patchState(g, t), cost: 0 }));
      if (state !== now.target) {
        yield* clearPending(t);
        yield* setState(t, now.target);
      }
      note({ task: t.comm, pid: t.pid, how: "itself" });
    } else if (!note(yield* trySwitchTask(k, now, t))) {
      yield* call("wake_up_if_idle", BigInt(t.cpu));
    }
  }
  if (remaining.length > 0) {
    const count = yield* see((g) =>
      Number(readUint(g.read, symbolVa(image, "klp_signals_cnt"), 4)),
    );
    if (count > 0 && count % SIGNALS_TIMEOUT === 0) yield* sendSignals(k);
    yield* writeWord(symbolVa(image, "klp_signals_cnt"), BigInt(count + 1), 4);
    return { remaining, switched };
  }
  yield* writeWord(symbolVa(image, "klp_resched_enabled"), 0n, 4);
  yield* completeTransition(k);
  const patch = yield* see((g) => readPatch(g.read, now.patch));
  if (!patch.enabled) yield* freePatch(k, patch);
  else if (patch.replace) yield* freeReplacedPatches(k, patch);
  return { remaining, switched };
}

function isCpuOnline(g: GuestView, cpu: number): boolean {
  const rq = perCpuVa(g.image, cpu) + BigInt(PERCPU.fields.runqueues.offset);
  return readField(g.read, RQ, rq, "online") !== 0n;
}

/** klp_complete_transition(). */
export function* completeTransition(k: KlpSystem): Program<void> {
  const { patch: va, target } = yield* current(k);
  let patch = yield* see((g) => readPatch(g.read, va));
  const ing = ING[target === PATCHED ? 1 : 0];
  yield* log(`${KLP}'${patch.name}': completing ${ing} transition`);
  if (patch.replace && target === PATCHED) {
    yield* unpatchReplaced(k, patch);
    yield* discardNops(k, patch);
    patch = yield* see((g) => readPatch(g.read, va));
  }
  if (target === UNPATCHED) {
    yield* unpatchObjects(k, patch);
    // No handler can see a function of this patch any more, before its transition flag goes.
    yield* synchronize(k);
  }
  yield* setTransition(patch, false);
  // No handler can see KLP_TRANSITION_IDLE together with a function in transition.
  if (target === PATCHED) yield* synchronize(k);
  yield* forEachTask(k, (t) => setState(t, IDLE));
  for (const object of patch.objects) {
    if (object.name !== undefined && object.mod === 0n) continue;
    yield* callPost(target === PATCHED ? "patch" : "unpatch", object);
  }
  yield* log(`${KLP}'${patch.name}': ${ing} complete`);
  yield* writeWord(symbolVa(k.image, "klp_target_state"), BigInt(IDLE), 4);
  yield* writeWord(symbolVa(k.image, "klp_transition_patch"), 0n);
}

/** klp_cancel_transition(): enabling failed before the transition started. */
export function* cancelTransition(k: KlpSystem, patch: KlpPatch): Program<void> {
  yield* log(`${KLP}'${patch.name}': canceling patching transition, going to unpatch`);
  yield* writeWord(symbolVa(k.image, "klp_target_state"), BigInt(UNPATCHED), 4);
  yield* completeTransition(k);
}

/** klp_reverse_transition(), in the order of 6.12: nobody switches while the target changes. */
export function* reverseTransition(k: KlpSystem, patch: KlpPatch): Program<void> {
  const { target } = yield* current(k);
  const to = target === PATCHED ? "patching to unpatching" : "unpatching to patching";
  yield* log(`${KLP}'${patch.name}': reversing transition from ${to}`);
  yield* forEachTask(k, clearPending);
  yield* synchronize(k);
  yield* writeField(KLP_PATCH, patch.va, "enabled", patch.enabled ? 0n : 1n);
  yield* writeWord(symbolVa(k.image, "klp_target_state"), target === PATCHED ? 0n : 1n, 4);
  // smp_wmb(): the target before the pending bits.
  yield* startTransition(k, patch);
}

/** klp_force_transition(): everybody, wherever he is; what this may break stays loaded for ever. */
export function* forceTransition(k: KlpSystem): Program<void> {
  const { patch: va, target } = yield* current(k);
  yield* log(`${KLP}forcing remaining tasks to the patched state`);
  yield* forEachTask(k, function* (t) {
    yield* call("klp_update_patch_state", t.va);
  });
  if (target === UNPATCHED) {
    yield* writeField(KLP_PATCH, va, "forced", 1n);
    return;
  }
  const patch = yield* see((g) => readPatch(g.read, va));
  if (!patch.replace) return;
  for (const other of yield* see((g) => readPatches(g.read, k.image))) {
    if (other.va !== va) yield* writeField(KLP_PATCH, other.va, "forced", 1n);
  }
}

// Who is called at which fentry site: registering ops, their filters, and bringing the sites' instructions up to date.
// Each function is one caller's program under ftrace_lock; all that lasts is in guest memory. After
// kernel/trace/ftrace.c; what a record's flags mean is record.ts, how text is written text-poke.ts.
// DIFFERS: records and ops are read at once under ftrace_lock, and their flags written one by one afterwards.
import {
  call,
  ERRNO,
  fieldVa,
  FTRACE_CONSTANTS,
  FTRACE_HASH,
  FTRACE_OPS,
  look,
  symbolVa,
  write,
  writeWord,
  DYN_FTRACE,
  type Program,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import { ftraceRunUpdateCode, type Command } from "./code.ts";
import { hashRecUpdate, hashUpdateIpmodify, type SiteOps, type WorkingRecord } from "./record.ts";
import { hasFlag, readFtrace, readFtraceOps, type FtraceOps, type FtraceState } from "./state.ts";
import { createTrampoline } from "./trampoline.ts";
import { synchronizeCallbacks } from "./rcu-tasks.ts";

const { EBUSY, EINVAL, ENODEV, ENOENT, ENOMEM } = ERRNO;
const F = FTRACE_CONSTANTS;

/** Runs `body` with ftrace_lock held. */
function* withFtraceLock<T>(image: Image, body: () => Program<T>): Program<T> {
  const lock = symbolVa(image, "ftrace_lock");
  yield* call("mutex_lock", lock);
  const value = yield* body();
  yield* call("mutex_unlock", lock);
  return value;
}

/** What a real kernel spends on a record while it goes through all of them. */
const COST_PER_RECORD = 4;

function* lookAtFtrace(image: Image): Program<FtraceState> {
  return yield* look("ftrace_lock", (g) => {
    const value = readFtrace(g.read, image);
    return { value, cost: value.recs.length * COST_PER_RECORD };
  });
}

function* lookAtOps(va: bigint): Program<FtraceOps> {
  return yield* look("ftrace_lock", (g) => ({ value: readFtraceOps(g.read, va), cost: 0 }));
}

function* setOps(va: bigint, field: keyof typeof FTRACE_OPS.fields, value: bigint): Program<void> {
  yield* writeWord(fieldVa(FTRACE_OPS, va, field), value);
}

function* setWord(image: Image, name: string, value: bigint, size: 4 | 8 = 8): Program<void> {
  yield* writeWord(symbolVa(image, name), value, size);
}

/** Writes the flags of the records that have changed. */
function* writeRecords(state: FtraceState, work: readonly WorkingRecord[]): Program<void> {
  for (const [i, w] of work.entries()) {
    if (state.recs[i]?.flags === w.flags) continue;
    yield* writeWord(fieldVa(DYN_FTRACE, w.va, "flags"), BigInt(w.flags));
  }
}

function working(state: FtraceState): readonly WorkingRecord[] {
  return state.recs.map((r) => ({ ...r }));
}

/** kernel: update_ftrace_function() */
function* updateFtraceFunction(image: Image, ops: readonly FtraceOps[]): Program<bigint> {
  const listFunc = symbolVa(image, "ftrace_ops_list_func");
  const [first] = ops;
  let func = listFunc;
  if (first === undefined) func = symbolVa(image, "ftrace_stub");
  // ftrace_ops_get_list_func(): one that may go away is called through the list.
  else if (ops.length === 1 && !hasFlag(first.flags, "FTRACE_OPS_FL_DYNAMIC")) func = first.func;
  const op =
    func === listFunc
      ? symbolVa(image, "ftrace_list_end")
      : (first?.va ?? symbolVa(image, "ftrace_list_end"));
  yield* setWord(image, "set_function_trace_op", op);
  yield* setWord(image, "ftrace_trace_function", func);
  return func;
}

/** Whether ops is of the kernel's own data: is_kernel_core_data(). */
function isStatic(image: Image, va: bigint): boolean {
  return va >= symbolVa(image, "_sdata") && va < symbolVa(image, "_edata");
}

/** An ops in memory of its own. Answers its address, 0 when there is none. */
export function* makeFtraceOps(
  image: Image,
  ops: { readonly func: bigint; readonly flags: number; readonly private?: bigint },
): Program<bigint> {
  const va = yield* call("kzalloc", BigInt(FTRACE_OPS.size));
  if (va === 0n) return 0n;
  yield* setOps(va, "func", ops.func);
  yield* setOps(va, "flags", BigInt(ops.flags));
  yield* setOps(va, "private", ops.private ?? 0n);
  return va;
}

/** Gives an ops of makeFtraceOps back, with its filter. It is not registered. */
export function* freeFtraceOps(va: bigint): Program<void> {
  const ops = yield* lookAtOps(va);
  yield* call("kfree", ops.hashVa);
  yield* call("kfree", va);
}

/** Empties the filter of an ops that is not registered. kernel: ftrace_free_filter(). */
export function* ftraceFreeFilter(va: bigint): Program<void> {
  const { hashVa } = yield* lookAtOps(va);
  if (hashVa === 0n) return;
  yield* setOps(va, "hash", 0n);
  yield* call("kfree", hashVa);
}

/**
 * Puts a function into an ops' filter, or takes it out.
 *
 * ip       the fentry site, or the start of a function that has one behind an endbr64
 * remove   take it out
 * reset    begin with an empty filter
 * returns  0; -EINVAL: no such site; -ENOENT: not in the filter; -EBUSY: a registered ops with IPMODIFY would gain a
 *          site that another one has; -ENOMEM; -ENODEV: the site's bytes were not what they had to be
 * kernel   kernel/trace/ftrace.c, ftrace_set_filter_ip()
 */
export function* ftraceSetFilterIp(
  image: Image,
  opsVa: bigint,
  ip: bigint,
  remove: boolean,
  reset: boolean,
): Program<number> {
  return yield* ftraceSetFilterIps(image, opsVa, [ip], remove, reset);
}

/** The same for several at once: all of them or, when it does not answer 0, none. kernel: ftrace_set_filter_ips() */
export function* ftraceSetFilterIps(
  image: Image,
  opsVa: bigint,
  ips: readonly bigint[],
  remove: boolean,
  reset: boolean,
): Program<number> {
  return yield* withFtraceLock(image, function* () {
    const state = yield* lookAtFtrace(image);
    if (state.disabled) return -ENODEV;
    const ops = yield* lookAtOps(opsVa);
    const hash = new Set(reset ? [] : ops.hash);
    for (const ip of ips) {
      const site = yield* ftraceLocation(state, ip);
      if (site === undefined) return -EINVAL;
      if (!remove) hash.add(site);
      else if (!hash.delete(site)) return -ENOENT;
    }
    const now = [...hash].sort((a, b) => (a < b ? -1 : 1));
    return yield* ftraceHashMove(image, state, ops, now);
  });
}

const ENDBR64 = 0xfa1e0ff3;

/** The site of an address: its own, or that behind the endbr64 that is there. kernel: ftrace_location() */
function* ftraceLocation(state: FtraceState, ip: bigint): Program<bigint | undefined> {
  if (state.recs.some((r) => r.ip === ip)) return ip;
  const behind = state.recs.find((r) => r.ip === ip + 4n);
  if (behind === undefined) return undefined;
  const first = yield* look("text_mutex", (g) => {
    const [a = 0, b = 0, c = 0, d = 0] = g.read(ip, 4);
    return { value: (a | (b << 8) | (c << 16) | (d << 24)) >>> 0, cost: 0 };
  });
  return first === ENDBR64 ? behind.ip : undefined;
}

/** kernel: ftrace_hash_move_and_update_ops() */
function* ftraceHashMove(
  image: Image,
  state: FtraceState,
  ops: FtraceOps,
  now: readonly bigint[],
): Program<number> {
  const isRegistered = state.ops.some((o) => o.va === ops.va);
  const isEnabled = isRegistered && hasFlag(ops.flags, "FTRACE_OPS_FL_ENABLED");
  const recs = working(state);
  if (isEnabled && hasFlag(ops.flags, "FTRACE_OPS_FL_IPMODIFY")) {
    // An empty filter would take every function.
    if (now.length === 0) return -EINVAL;
    if (!hashUpdateIpmodify(recs, ops.hash, now)) return -EBUSY;
  }
  const va = yield* call("kzalloc", BigInt(FTRACE_HASH.size + now.length * 8));
  if (va === 0n) return -ENOMEM;
  const bytes = new BigUint64Array([BigInt(now.length), ...now]);
  yield* write(va, new Uint8Array(bytes.buffer));
  if (isEnabled) {
    const others = state.ops.filter((o) => o.va !== ops.va);
    hashRecUpdate(recs, ops, false, others);
    hashRecUpdate(recs, { ...ops, hash: now }, true, others);
  }
  yield* setOps(ops.va, "hash", va);
  let ret = 0;
  if (isEnabled) {
    yield* writeRecords(state, recs);
    if (state.enabled) {
      yield* setOps(ops.va, "flags", BigInt(ops.flags | F.FTRACE_OPS_FL_MODIFYING));
      const ok = yield* ftraceRunUpdateCode(image, ["update_calls"], state.ops);
      yield* setOps(ops.va, "flags", BigInt(ops.flags));
      if (!ok) ret = -ENODEV;
    }
    // free_ftrace_hash_rcu(): somebody may still look at the old one, preemption off.
    yield* call("schedule_on_each_cpu", symbolVa(image, "rcu_tasks_be_rude"));
  }
  yield* call("kfree", ops.hashVa);
  return ret;
}

/**
 * Registers an ops: from now on its callback is called at every site that its filter takes.
 *
 * returns  0; -EBUSY: registered already, or it has IPMODIFY and another one has one of its sites, or it is PERMANENT and
 *          the sysctl is off; -ENODEV: ftrace has shut down; -EINVAL: IPMODIFY without a filter; -ENOMEM
 * kernel   kernel/trace/ftrace.c, register_ftrace_function()
 */
export function* registerFtraceFunction(image: Image, opsVa: bigint): Program<number> {
  return yield* withFtraceLock(image, () => ftraceStartup(image, opsVa));
}

/** kernel: ftrace_startup() */
function* ftraceStartup(image: Image, opsVa: bigint): Program<number> {
  const state = yield* lookAtFtrace(image);
  if (state.disabled) return -ENODEV;
  let ops = yield* lookAtOps(opsVa);
  const listEnd = symbolVa(image, "ftrace_list_end");
  // __register_ftrace_function()
  if (hasFlag(ops.flags, "FTRACE_OPS_FL_ENABLED")) return -EBUSY;
  if (!state.enabled && hasFlag(ops.flags, "FTRACE_OPS_FL_PERMANENT")) return -EBUSY;
  let flags = ops.flags;
  if (!isStatic(image, opsVa)) flags |= F.FTRACE_OPS_FL_DYNAMIC;
  const first = state.ops[0]?.va ?? listEnd;
  // add_ftrace_ops(): what the list function sees is complete before it can be seen.
  yield* setOps(opsVa, "next", first);
  yield* setWord(image, "ftrace_ops_list", opsVa);
  if (ops.trampoline === 0n) {
    const made = yield* createTrampoline(image, ops);
    if (made) {
      flags |= F.FTRACE_OPS_FL_ALLOC_TRAMP;
      yield* setOps(opsVa, "trampoline_size", BigInt(made.size));
      yield* setOps(opsVa, "trampoline", made.va);
    }
  }
  const list = [yield* lookAtOps(opsVa), ...state.ops];
  const func = state.enabled
    ? yield* updateFtraceFunction(image, [{ ...ops, flags }, ...state.ops])
    : state.traceFunction;
  yield* setWord(image, "ftrace_start_up", BigInt(state.startUp + 1), 4);
  flags |= F.FTRACE_OPS_FL_ENABLED;
  yield* setOps(opsVa, "flags", BigInt(flags | F.FTRACE_OPS_FL_ADDING));
  ops = { ...(list[0] ?? ops), flags };

  const recs = working(state);
  // ftrace_hash_ipmodify_enable()
  if (hasFlag(flags, "FTRACE_OPS_FL_IPMODIFY")) {
    const isEmpty = ops.hash.length === 0;
    if (isEmpty || !hashUpdateIpmodify(recs, [], ops.hash)) {
      yield* undoStartup(image, state, ops);
      return isEmpty ? -EINVAL : -EBUSY;
    }
  }
  hashRecUpdate(recs, ops, true, state.ops);
  yield* writeRecords(state, recs);
  const commands: Command[] = ["update_calls"];
  if (func !== state.savedFunction) commands.push("update_trace_func");
  if (state.enabled && !(yield* ftraceRunUpdateCode(image, commands, state.ops))) {
    // ftrace has shut down: the ops is unlinked and nothing else can be put right.
    yield* setWord(image, "ftrace_ops_list", first);
    yield* setOps(opsVa, "flags", BigInt(flags & ~F.FTRACE_OPS_FL_ENABLED));
    return -ENODEV;
  }
  yield* setOps(opsVa, "flags", BigInt(flags));
  return 0;
}

/** Takes an ops back off the list that has not come into force. */
function* undoStartup(image: Image, state: FtraceState, ops: FtraceOps): Program<void> {
  const first = state.ops[0]?.va ?? symbolVa(image, "ftrace_list_end");
  yield* setWord(image, "ftrace_ops_list", first);
  if (state.enabled) yield* updateFtraceFunction(image, state.ops);
  yield* setWord(image, "ftrace_start_up", BigInt(state.startUp), 4);
  yield* setOps(ops.va, "flags", BigInt(ops.flags & ~F.FTRACE_OPS_FL_ENABLED));
  yield* freeTrampoline(image, { ...ops, flags: ops.flags & ~F.FTRACE_OPS_FL_ENABLED });
}

/** Nobody is in it any more: it becomes int3, and its pages are free. kernel: ftrace_trampoline_free() */
function* freeTrampoline(image: Image, ops: FtraceOps): Program<void> {
  if (!hasFlag(ops.flags, "FTRACE_OPS_FL_ALLOC_TRAMP") || ops.trampoline === 0n) return;
  yield* setOps(ops.va, "trampoline", 0n);
  yield* setOps(ops.va, "trampoline_size", 0n);
  yield* setOps(ops.va, "flags", BigInt(ops.flags & ~F.FTRACE_OPS_FL_ALLOC_TRAMP));
  yield* call("module_memfree", ops.trampoline);
}

/**
 * Takes an ops out. When it returns nobody is in its callback or in its trampoline.
 *
 * returns  0; -EBUSY: it is not registered; -ENODEV: ftrace has shut down
 * kernel   kernel/trace/ftrace.c, unregister_ftrace_function()
 */
export function* unregisterFtraceFunction(image: Image, opsVa: bigint): Program<number> {
  return yield* withFtraceLock(image, () => ftraceShutdown(image, opsVa));
}

/** kernel: ftrace_shutdown() */
function* ftraceShutdown(image: Image, opsVa: bigint): Program<number> {
  const state = yield* lookAtFtrace(image);
  if (state.disabled) return -ENODEV;
  const at = state.ops.findIndex((o) => o.va === opsVa);
  const ops = state.ops[at];
  if (ops === undefined || !hasFlag(ops.flags, "FTRACE_OPS_FL_ENABLED")) return -EBUSY;
  const rest: readonly FtraceOps[] = state.ops.filter((o) => o.va !== opsVa);
  // remove_ftrace_ops()
  const next = state.ops[at + 1]?.va ?? symbolVa(image, "ftrace_list_end");
  const before = state.ops[at - 1];
  if (before === undefined) yield* setWord(image, "ftrace_ops_list", next);
  else yield* setOps(before.va, "next", next);
  const func = state.enabled ? yield* updateFtraceFunction(image, rest) : state.traceFunction;
  yield* setWord(image, "ftrace_start_up", BigInt(state.startUp - 1), 4);

  const recs = working(state);
  if (hasFlag(ops.flags, "FTRACE_OPS_FL_IPMODIFY")) hashUpdateIpmodify(recs, ops.hash, []);
  hashRecUpdate(recs, ops, false, rest);
  yield* writeRecords(state, recs);
  const flags = ops.flags & ~F.FTRACE_OPS_FL_ENABLED;
  if (state.enabled) {
    yield* setOps(opsVa, "flags", BigInt(flags | F.FTRACE_OPS_FL_REMOVING));
    const commands: Command[] = ["update_calls"];
    if (func !== state.savedFunction) commands.push("update_trace_func");
    const removed: readonly SiteOps[] = [ops];
    const ok = yield* ftraceRunUpdateCode(image, commands, [...removed, ...rest]);
    if (!ok) return -ENODEV;
  }
  yield* setOps(opsVa, "flags", BigInt(flags));
  yield* synchronizeCallbacks(image);
  yield* freeTrampoline(image, { ...ops, flags });
  return 0;
}

/**
 * The sysctl kernel.ftrace_enabled.
 *
 * returns  0; -EBUSY: it cannot be turned off while an ops that is PERMANENT is registered; -ENODEV
 * kernel   kernel/trace/ftrace.c, ftrace_enable_sysctl()
 */
export function* ftraceEnableSysctl(image: Image, on: boolean): Program<number> {
  return yield* withFtraceLock(image, function* () {
    const state = yield* lookAtFtrace(image);
    if (state.disabled) return -ENODEV;
    if (state.enabled === on) return 0;
    if (!on && state.ops.some((o) => hasFlag(o.flags, "FTRACE_OPS_FL_PERMANENT"))) return -EBUSY;
    yield* setWord(image, "ftrace_enabled", on ? 1n : 0n, 4);
    if (on) {
      yield* updateFtraceFunction(image, state.ops);
      const ok = yield* ftraceRunUpdateCode(
        image,
        ["update_calls", "update_trace_func"],
        state.ops,
      );
      return ok ? 0 : -ENODEV;
    }
    yield* setWord(image, "ftrace_trace_function", symbolVa(image, "ftrace_stub"));
    const ok = yield* ftraceRunUpdateCode(image, ["disable_calls", "update_trace_func"], state.ops);
    return ok ? 0 : -ENODEV;
  });
}

// ftrace and modules: records for a module that is being loaded, with whoever traces it already, and their end.
// kernel: kernel/trace/ftrace.c, ftrace_module_init(), ftrace_module_enable(), ftrace_release_mod().
import {
  call,
  DYN_FTRACE,
  fieldVa,
  FTRACE_HASH,
  FTRACE_OPS,
  look,
  symbolVa,
  write,
  writeWord,
  type Program,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import {
  ftraceGetAddrNew,
  ftraceUpdateRecord,
  hashRecUpdate,
  recCount,
  type WorkingRecord,
} from "./record.ts";
import { hasFlag, readFtrace } from "./state.ts";
import { branchTo } from "./text-poke.ts";

/** Where a module lies. va: its struct module. */
export interface ModuleRange {
  readonly va: bigint;
  readonly base: bigint;
  readonly size: number;
}

function isIn(m: ModuleRange, va: bigint): boolean {
  return va >= m.base && va < m.base + BigInt(m.size);
}

/**
 * Makes the records of a module's sites and the sites nops. Nobody can run there yet.
 *
 * sites    its __mcount_loc section
 * returns  false when there is no memory
 */
export function* ftraceModuleInit(
  image: Image,
  mod: ModuleRange,
  sites: { readonly start: bigint; readonly end: bigint },
): Program<boolean> {
  if (sites.start === sites.end) return true;
  const lock = symbolVa(image, "ftrace_lock");
  yield* call("mutex_lock", lock);
  const page = yield* call("ftrace_process_locs", sites.start, sites.end, mod.va);
  yield* call("mutex_unlock", lock);
  return page !== 0n;
}

/** Hooks those sites of a coming module that a registered ops takes: one without a filter takes all. */
export function* ftraceModuleEnable(image: Image, mod: ModuleRange): Program<void> {
  const lock = symbolVa(image, "ftrace_lock");
  yield* call("mutex_lock", lock);
  const state = yield* look("ftrace_lock", (g) => ({ value: readFtrace(g.read, image), cost: 0 }));
  if (!state.disabled && state.startUp > 0) {
    const recs: WorkingRecord[] = state.recs.filter((r) => isIn(mod, r.ip)).map((r) => ({ ...r }));
    for (const ops of state.ops) {
      if (!hasFlag(ops.flags, "FTRACE_OPS_FL_IPMODIFY")) hashRecUpdate(recs, ops, true, []);
    }
    const callers = {
      caller: symbolVa(image, "ftrace_caller"),
      regsCaller: symbolVa(image, "ftrace_regs_caller"),
    };
    for (const rec of recs) {
      if (recCount(rec.flags) === 0) continue;
      if (state.enabled) {
        yield* write(rec.ip, branchTo("call", rec.ip, ftraceGetAddrNew(rec, state.ops, callers)));
        rec.flags = ftraceUpdateRecord(rec.flags, true);
      }
      yield* writeWord(fieldVa(DYN_FTRACE, rec.va, "flags"), BigInt(rec.flags));
    }
  }
  yield* call("mutex_unlock", lock);
}

/** Forgets a module's records, and its sites in the filters of registered ops. */
export function* ftraceReleaseMod(image: Image, mod: ModuleRange): Program<void> {
  const lock = symbolVa(image, "ftrace_lock");
  yield* call("mutex_lock", lock);
  const state = yield* look("ftrace_lock", (g) => ({ value: readFtrace(g.read, image), cost: 0 }));
  // clear_mod_from_hashes(): an ops whose filter would become empty would take every function.
  for (const ops of state.ops) {
    const left = ops.hash.filter((ip) => !isIn(mod, ip));
    if (left.length === ops.hash.length || left.length === 0) continue;
    const va = yield* call("kzalloc", BigInt(FTRACE_HASH.size + left.length * 8));
    if (va === 0n) continue;
    yield* write(va, new Uint8Array(new BigUint64Array([BigInt(left.length), ...left]).buffer));
    yield* writeWord(fieldVa(FTRACE_OPS, ops.va, "hash"), va);
    yield* call("schedule_on_each_cpu", symbolVa(image, "rcu_tasks_be_rude"));
    yield* call("kfree", ops.hashVa);
  }
  yield* call("ftrace_release_mod", mod.va);
  yield* call("mutex_unlock", lock);
}

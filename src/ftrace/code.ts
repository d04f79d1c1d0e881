// Brings the instructions of the fentry sites, and what the two common callers call, up to date with the records: every
// site is verified before the first is written, and a site that is not as it should be ends ftrace for good.
// kernel: kernel/trace/ftrace.c, ftrace_modify_all_code(), ftrace_bug(); arch/x86/kernel/ftrace.c, ftrace_replace_code().
import {
  call,
  DYN_FTRACE,
  fieldVa,
  log,
  look,
  readUint,
  symbolVa,
  writeWord,
  type Program,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import { formatAddress } from "../link/index.ts";
import {
  ftraceGetAddrCurr,
  ftraceGetAddrNew,
  ftraceTestRecord,
  ftraceUpdateRecord,
  recCount,
  type Callers,
  type SiteOps,
} from "./record.ts";
import { hasFlag, readFtrace, type DynFtrace, type FtraceState } from "./state.ts";
import { branchTo, NOP5, textPokeBpLocked, type TextPokeLoc } from "./text-poke.ts";

/** FTRACE_UPDATE_CALLS, FTRACE_DISABLE_CALLS, FTRACE_UPDATE_TRACE_FUNC. */
export type Command = "update_calls" | "disable_calls" | "update_trace_func";

/**
 * Does the commands.
 *
 * before   the ops as they were when the sites were last written: whose trampolines are called now
 * returns  false if ftrace has shut down
 * needs    ftrace_lock; takes text_mutex
 */
export function* ftraceRunUpdateCode(
  image: Image,
  commands: readonly Command[],
  before: readonly SiteOps[],
): Program<boolean> {
  const mutex = symbolVa(image, "text_mutex");
  const listFunc = symbolVa(image, "ftrace_ops_list_func");
  yield* call("mutex_lock", mutex);
  const state = yield* look("ftrace_lock", (g) => ({ value: readFtrace(g.read, image), cost: 0 }));
  const update = commands.includes("update_trace_func");
  // While ops and callee are being changed the list is always right.
  if (update) yield* updateFtraceFunc(image, listFunc);
  let ok = true;
  if (commands.includes("update_calls")) ok = yield* replaceCode(image, state, true, before);
  else if (commands.includes("disable_calls")) ok = yield* replaceCode(image, state, false, before);
  if (ok && update) {
    if (state.traceFunction !== listFunc) {
      const op = yield* look("ftrace_lock", (g) => ({
        value: readUint(g.read, symbolVa(image, "set_function_trace_op"), 8),
        cost: 0,
      }));
      yield* writeWord(symbolVa(image, "function_trace_op"), op);
      yield* call("smp_sync_cores"); // ftrace_sync_ipi: nobody has the old op in a register
      yield* updateFtraceFunc(image, state.traceFunction);
    }
    yield* writeWord(symbolVa(image, "saved_ftrace_func"), state.traceFunction);
  }
  yield* call("mutex_unlock", mutex);
  return ok;
}

/** What the common callers call. kernel: arch/x86/kernel/ftrace.c, ftrace_update_ftrace_func() */
function* updateFtraceFunc(image: Image, func: bigint): Program<void> {
  const locs = ["ftrace_call", "ftrace_regs_call"].map((name): TextPokeLoc => {
    const va = symbolVa(image, name);
    return { va, bytes: branchTo("call", va, func) };
  });
  const differs = yield* look("text_mutex", (g) => ({
    value: locs.filter((l) => !same(g.read(l.va, l.bytes.length), l.bytes)),
    cost: 0,
  }));
  if (differs.length > 0) yield* textPokeBpLocked(image, differs);
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((x, i) => x === b[i]);
}

interface Change {
  readonly rec: DynFtrace;
  readonly old: Uint8Array;
  readonly now: Uint8Array;
}

/** kernel: ftrace_replace_code() */
function* replaceCode(
  image: Image,
  state: FtraceState,
  enable: boolean,
  before: readonly SiteOps[],
): Program<boolean> {
  const callers: Callers = {
    caller: symbolVa(image, "ftrace_caller"),
    regsCaller: symbolVa(image, "ftrace_regs_caller"),
  };
  const changes = state.recs.flatMap((rec): Change[] => {
    const what = ftraceTestRecord(rec.flags, enable);
    if (what === "ignore") return [];
    const old =
      what === "make_call"
        ? NOP5
        : branchTo("call", rec.ip, ftraceGetAddrCurr(rec, before, callers));
    const now =
      what === "make_nop"
        ? NOP5
        : branchTo("call", rec.ip, ftraceGetAddrNew(rec, state.ops, callers));
    return [{ rec, old, now }];
  });
  // ftrace_verify_code(), of all sites, before the first is touched.
  const bad = yield* look("text_mutex", (g) => {
    for (const c of changes) {
      const actual = g.read(c.rec.ip, c.old.length);
      if (!same(actual, c.old)) return { value: { ...c, actual: actual.slice() }, cost: 0 };
    }
    return { value: undefined, cost: changes.length * 6 };
  });
  if (bad !== undefined) {
    yield* ftraceBug(image, bad.rec, bad.actual, bad.old);
    return false;
  }
  yield* textPokeBpLocked(
    image,
    changes.map((c) => ({ va: c.rec.ip, bytes: c.now })),
  );
  for (const { rec } of changes) {
    const flags = ftraceUpdateRecord(rec.flags, enable);
    if (flags !== rec.flags) {
      yield* writeWord(fieldVa(DYN_FTRACE, rec.va, "flags"), BigInt(flags));
    }
  }
  return true;
}

function ins(bytes: Uint8Array): string {
  return [...bytes].map((b) => b.toString(16).padStart(2, "0")).join(":");
}

/** Says what is wrong with a site and shuts ftrace down. kernel: ftrace_bug(), ftrace_kill() */
export function* ftraceBug(
  image: Image,
  rec: DynFtrace,
  actual: Uint8Array,
  expected: Uint8Array,
): Program<void> {
  yield* log("------------[ ftrace bug ]------------");
  yield* log("ftrace failed to modify ");
  yield* log(`[<${rec.ip.toString(16).padStart(16, "0")}>] ${formatAddress(image, rec.ip)}`);
  yield* log(` actual:   ${ins(actual)}`);
  yield* log(` expected: ${ins(expected)}`);
  yield* log("Setting ftrace call site to call ftrace function");
  yield* log(
    `ftrace record flags: ${rec.flags.toString(16)} (${recCount(rec.flags)})` +
      `${hasFlag(rec.flags, "FTRACE_FL_REGS") ? " R" : "  "}`,
  );
  // ftrace_kill()
  yield* writeWord(symbolVa(image, "ftrace_disabled"), 1n, 4);
  yield* writeWord(symbolVa(image, "ftrace_enabled"), 0n, 4);
  yield* writeWord(symbolVa(image, "ftrace_trace_function"), symbolVa(image, "ftrace_stub"));
}

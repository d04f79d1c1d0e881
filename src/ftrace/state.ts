// What ftrace knows, read out of guest memory: the records of all fentry sites and the registered ops. Plain data, made
// under ftrace_lock; deciding what follows from it is record.ts.
import {
  DYN_FTRACE,
  FTRACE_CONSTANTS,
  FTRACE_HASH,
  FTRACE_OPS,
  FTRACE_PAGE,
  readField,
  readUint,
  symbolVa,
  type Read,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";

/** struct dyn_ftrace at va. `flags` is FTRACE_FL_*, and below them the number of ops. */
export interface DynFtrace {
  readonly va: bigint;
  readonly ip: bigint;
  readonly flags: number;
}

/** struct ftrace_ops at va. hash: undefined or empty takes every site; in rising order. */
export interface FtraceOps {
  readonly va: bigint;
  readonly func: bigint;
  readonly flags: number;
  readonly trampoline: bigint;
  readonly trampolineSize: number;
  readonly hashVa: bigint;
  readonly hash: readonly bigint[];
}

/** Everything under ftrace_lock. recs by rising ip within a page; ops in the order of ftrace_ops_list. */
export interface FtraceState {
  readonly disabled: boolean;
  readonly enabled: boolean;
  readonly startUp: number;
  readonly traceFunction: bigint;
  readonly savedFunction: bigint;
  readonly recs: readonly DynFtrace[];
  readonly ops: readonly FtraceOps[];
}

/** The ops at va. */
export function readFtraceOps(read: Read, va: bigint): FtraceOps {
  const f = (name: keyof typeof FTRACE_OPS.fields): bigint => readField(read, FTRACE_OPS, va, name);
  const hashVa = f("hash");
  return {
    va,
    func: f("func"),
    flags: Number(f("flags")),
    trampoline: f("trampoline"),
    trampolineSize: Number(f("trampoline_size")),
    hashVa,
    hash: readHash(read, hashVa),
  };
}

function readHash(read: Read, va: bigint): readonly bigint[] {
  if (va === 0n) return [];
  const n = Number(readField(read, FTRACE_HASH, va, "count"));
  const bytes = read(va + BigInt(FTRACE_HASH.size), n * 8);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: n }, (_, i) => view.getBigUint64(i * 8, true));
}

/** The registered ops, from the one that came last. */
export function readOpsList(read: Read, image: Image): readonly FtraceOps[] {
  const end = symbolVa(image, "ftrace_list_end");
  const out: FtraceOps[] = [];
  for (let va = readUint(read, symbolVa(image, "ftrace_ops_list"), 8); va !== end;) {
    const ops = readFtraceOps(read, va);
    if (va === 0n || out.some((o) => o.va === va)) break; // being changed
    out.push(ops);
    va = readField(read, FTRACE_OPS, va, "next");
  }
  return out;
}

/** All records. */
export function readRecords(read: Read, image: Image): readonly DynFtrace[] {
  const out: DynFtrace[] = [];
  for (let page = readUint(read, symbolVa(image, "ftrace_pages_start"), 8); page !== 0n;) {
    const n = Number(readField(read, FTRACE_PAGE, page, "index"));
    const first = page + BigInt(FTRACE_PAGE.size);
    const bytes = read(first, n * DYN_FTRACE.size);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let i = 0; i < n; i++) {
      const at = i * DYN_FTRACE.size;
      out.push({
        va: first + BigInt(at),
        ip: view.getBigUint64(at + DYN_FTRACE.fields.ip.offset, true),
        flags: Number(view.getBigUint64(at + DYN_FTRACE.fields.flags.offset, true)),
      });
    }
    page = readField(read, FTRACE_PAGE, page, "next");
  }
  return out;
}

/** Reads it all. */
export function readFtrace(read: Read, image: Image): FtraceState {
  const word = (name: string, size: number): bigint => readUint(read, symbolVa(image, name), size);
  return {
    disabled: word("ftrace_disabled", 4) !== 0n,
    enabled: word("ftrace_enabled", 4) !== 0n,
    startUp: Number(word("ftrace_start_up", 4)),
    traceFunction: word("ftrace_trace_function", 8),
    savedFunction: word("saved_ftrace_func", 8),
    recs: readRecords(read, image),
    ops: readOpsList(read, image),
  };
}

/** Whether an address is in the trampoline of a registered ops: generated code that counts as kernel text. */
export function isFtraceTrampoline(ops: readonly FtraceOps[], va: bigint): boolean {
  return ops.some(
    (o) =>
      o.trampoline !== 0n && va >= o.trampoline && va < o.trampoline + BigInt(o.trampolineSize),
  );
}

export function hasFlag(flags: number, name: keyof typeof FTRACE_CONSTANTS): boolean {
  return (flags & FTRACE_CONSTANTS[name]) !== 0;
}

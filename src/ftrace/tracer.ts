// The function tracer: its ops in the kernel's data, started and stopped here, and what it has written into the CPUs'
// rings. kernel: kernel/trace/trace_functions.c. DIFFERS: a ring keeps the last NR_TRACE_ENTRIES of its CPU.
import {
  FTRACE_CONSTANTS,
  nrCpus,
  PERCPU,
  perCpuVa,
  readField,
  readUint,
  symbolVa,
  TRACE_ENTRY,
  type Program,
  type Read,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import { ftraceSetFilterIps, registerFtraceFunction, unregisterFtraceFunction } from "./ftrace.ts";

/** One traced call. task: its task_struct; time: the CPU's TSC. */
export interface TraceEntry {
  readonly ip: bigint;
  readonly parentIp: bigint;
  readonly task: bigint;
  readonly cpu: number;
  readonly time: number;
}

/**
 * Starts the tracer.
 *
 * ips      the functions to trace; none traces all
 * returns  as registerFtraceFunction
 */
export function* startFunctionTracer(image: Image, ips: readonly bigint[] = []): Program<number> {
  const ops = symbolVa(image, "function_trace_ops");
  const ret = yield* ftraceSetFilterIps(image, ops, ips, false, true);
  return ret === 0 ? yield* registerFtraceFunction(image, ops) : ret;
}

export function* stopFunctionTracer(image: Image): Program<number> {
  return yield* unregisterFtraceFunction(image, symbolVa(image, "function_trace_ops"));
}

/** What the rings hold, the oldest first. */
export function readTrace(read: Read, image: Image): readonly TraceEntry[] {
  const room = FTRACE_CONSTANTS.NR_TRACE_ENTRIES;
  const ring = symbolVa(image, "trace_ring");
  const out: TraceEntry[] = [];
  for (let cpu = 0; cpu < nrCpus(read, image); cpu++) {
    const at = perCpuVa(image, cpu) + BigInt(PERCPU.fields.trace_head.offset);
    const head = Number(readUint(read, at, 8));
    for (let i = Math.max(0, head - room); i < head; i++) {
      const va = ring + BigInt((cpu * room + (i % room)) * TRACE_ENTRY.size);
      const f = (name: keyof typeof TRACE_ENTRY.fields): bigint =>
        readField(read, TRACE_ENTRY, va, name);
      out.push({
        ip: f("ip"),
        parentIp: f("parent_ip"),
        task: f("task"),
        cpu: Number(f("cpu")),
        time: Number(f("time")),
      });
    }
  }
  return out.sort((a, b) => a.time - b.time);
}

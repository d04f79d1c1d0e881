// Function graph and kretprobes: who starts and stops them. What they do is kernels/base/fgraph.S.
// kernel: kernel/trace/fgraph.c, register_ftrace_graph(); kernel/kprobes.c, register_kretprobe().
import { call, symbolVa, type Program } from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import { ftraceSetFilterIps, registerFtraceFunction, unregisterFtraceFunction } from "./ftrace.ts";

/**
 * Traces the returns of functions; tasks get their ret_stacks first.
 *
 * ips      the functions; none: all
 * returns  as registerFtraceFunction
 */
export function* registerFtraceGraph(image: Image, ips: readonly bigint[] = []): Program<number> {
  yield* call("alloc_retstack_tasklist");
  const ops = symbolVa(image, "graph_ops");
  const ret = yield* ftraceSetFilterIps(image, ops, ips, false, true);
  return ret === 0 ? yield* registerFtraceFunction(image, ops) : ret;
}

/** From now on nobody is hooked; who is hooked already still returns through return_to_handler. */
export function* unregisterFtraceGraph(image: Image): Program<number> {
  return yield* unregisterFtraceFunction(image, symbolVa(image, "graph_ops"));
}

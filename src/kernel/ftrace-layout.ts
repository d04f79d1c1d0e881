// The structures of ftrace as a running kernel has them, shared by kernels/base/ftrace.S and the deciding half in
// src/ftrace. Names and bits are those of include/linux/ftrace.h and kernel/trace/ftrace.c.
import { makeStruct } from "./struct.ts";

/** struct dyn_ftrace: one fentry site. */
export const DYN_FTRACE = makeStruct("dyn_ftrace", "REC", [
  ["ip", 8],
  ["flags", 8], // FTRACE_FL_*, and in the low bits how many ops trace it
]);

/** struct ftrace_page; its records follow it, by rising ip. */
export const FTRACE_PAGE = makeStruct("ftrace_page", "FTP", [
  ["next", 8],
  ["index", 8], // how many records
  ["mod", 8], // struct module, 0 for the kernel's own
]);

/** struct ftrace_ops. DIFFERS: the filter hash only, no notrace hash. */
// prettier-ignore
export const FTRACE_OPS = makeStruct("ftrace_ops", "FOPS", [
  ["func", 8],                // (ip, parent_ip, ops, fregs)
  ["next", 8],                // in ftrace_ops_list, which ends with ftrace_list_end
  ["flags", 8],               // FTRACE_OPS_FL_*
  ["private", 8],
  ["trampoline", 8],
  ["trampoline_size", 8],
  ["hash", 8],                // func_hash->filter_hash; 0 or an empty one: every function
]);

/** struct ftrace_hash; `count` addresses of 8 bytes follow. DIFFERS: in rising order instead of buckets. */
export const FTRACE_HASH = makeStruct("ftrace_hash", "FHASH", [["count", 8]]);

/** One entry of a CPU's ring of the function tracer: struct ftrace_entry and what the ring buffer adds. */
export const TRACE_ENTRY = makeStruct("trace_entry", "TRE", [
  ["ip", 8],
  ["parent_ip", 8],
  ["task", 8],
  ["cpu", 8],
  ["time", 8], // TSC
]);

/** struct worker_pool, struct work_struct, and the work of schedule_on_each_cpu. */
export const WORKER_POOL = makeStruct("worker_pool", "POOL", [
  ["lock", 4],
  ["worklist", 16, 8],
  ["worker", 8],
]);
export const WORK = makeStruct("work_struct", "WORK", [
  ["entry", 16, 8],
  ["func", 8],
]);
export const ON_EACH_CPU_WORK = makeStruct("on_each_cpu_work", "OECW", [
  ["work", WORK.size, 8],
  ["fn", 8],
  ["wait", 8],
]);

/** struct ftrace_ret_stack: a return address that return_to_handler stands for, and the slot where it stands. */
export const FTRACE_RET_STACK = makeStruct("ftrace_ret_stack", "RETS", [
  ["ret", 8],
  ["func", 8],
  ["retp", 8],
]);

/** struct rethook_node, in the free list or in the list of a task. */
export const RETHOOK_NODE = makeStruct("rethook_node", "RHN", [
  ["next", 8],
  ["ret_addr", 8],
  ["frame", 8],
]);

/** struct kprobe, its arch_specific_insn embedded. slot: the copy of the probed instruction, 0 when ftrace calls the probe. */
// prettier-ignore
export const KPROBE = makeStruct("kprobe", "KP", [
  ["next", 8],
  ["addr", 8],                // either this or symbol_name is its user's
  ["symbol_name", 8],         // NUL-terminated
  ["offset", 4],
  ["flags", 4],               // KPROBE_FLAG_*
  ["pre_handler", 8],         // (kprobe, pt_regs): not 0 when it has changed regs->ip
  ["post_handler", 8],        // (kprobe, pt_regs, flags)
  ["slot", 8],
  ["nmissed", 8],
  ["opcode", 1],
  ["len", 1],
  ["ipmodify", 1],            // by which of the two ops a probe of a fentry site is armed
  ["list", 16, 8],            // struct list_head: of the probes at one address, and its head in their aggr_kprobe
]);

/** struct kprobe_ctlblk of a CPU, and struct prev_kprobe in it: what a probe that was hit inside of another one puts back. */
// prettier-ignore
export const KPROBE_CTLBLK = makeStruct("kprobe_ctlblk", "KCB", [
  ["kprobe_status", 4],       // KPROBE_HIT_*, KPROBE_REENTER
  ["kprobe_saved_flags", 4],  // IF where the probe was hit
  ["prev_kp", 8],
  ["prev_status", 4],
  ["prev_saved_flags", 4],
]);

export const FTRACE_STRUCTS = [
  DYN_FTRACE,
  FTRACE_PAGE,
  FTRACE_OPS,
  FTRACE_HASH,
  TRACE_ENTRY,
  FTRACE_RET_STACK,
  RETHOOK_NODE,
  KPROBE,
  KPROBE_CTLBLK,
  WORKER_POOL,
  WORK,
  ON_EACH_CPU_WORK,
];

/** FTRACE_OPS_FL_* and FTRACE_FL_* (include/linux/ftrace.h), recursion bits (include/linux/trace_recursion.h). */
// prettier-ignore
export const FTRACE_CONSTANTS = {
  FTRACE_OPS_FL_ENABLED: 0x1, FTRACE_OPS_FL_DYNAMIC: 0x2, FTRACE_OPS_FL_SAVE_REGS: 0x4, FTRACE_OPS_FL_RECURSION: 0x10,
  FTRACE_OPS_FL_STUB: 0x20, FTRACE_OPS_FL_ADDING: 0x100, FTRACE_OPS_FL_REMOVING: 0x200, FTRACE_OPS_FL_MODIFYING: 0x400,
  FTRACE_OPS_FL_ALLOC_TRAMP: 0x800, FTRACE_OPS_FL_IPMODIFY: 0x1000, FTRACE_OPS_FL_PERMANENT: 0x10000,
  FTRACE_FL_ENABLED: 0x80000000, FTRACE_FL_REGS: 0x40000000, FTRACE_FL_REGS_EN: 0x20000000, FTRACE_FL_TRAMP: 0x10000000,
  FTRACE_FL_TRAMP_EN: 0x8000000, FTRACE_FL_IPMODIFY: 0x4000000, FTRACE_REF_MAX: 0x7ffff,
  TRACE_CTX_NMI: 0, TRACE_CTX_IRQ: 1, TRACE_CTX_SOFTIRQ: 2, TRACE_CTX_NORMAL: 3, TRACE_CTX_TRANSITION: 4,
  TRACE_FTRACE_START: 0, TRACE_LIST_START: 5,
  NR_TRACE_ENTRIES: 256, FTRACE_RETFUNC_DEPTH: 20, NR_RETHOOK_NODES: 128,
  KPROBE_FLAG_GONE: 1, KPROBE_FLAG_DISABLED: 2, KPROBE_FLAG_FTRACE: 8, MAX_INSN_SIZE: 16,
  KPROBE_HIT_ACTIVE: 1, KPROBE_HIT_SS: 2, KPROBE_REENTER: 4, KPROBE_HIT_SSDONE: 8,
} as const;

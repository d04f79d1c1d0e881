// The toy kernel's structures as one table: every struct, field, flag and constant that both the
// assembly in kernels/base and the readers in this folder need. Offsets are computed here and
// nowhere else, as arch/x86/kernel/asm-offsets.c does it; names are those of Linux v6.12.
import { FTRACE_CONSTANTS, FTRACE_STRUCTS, KPROBE_CTLBLK, WORKER_POOL } from "./ftrace-layout.ts";
import { KLP_CONSTANTS, KLP_STRUCTS } from "./klp-layout.ts";
import { KERNEL_PARAM, MODULE, MODULE_CONSTANTS } from "./module-layout.ts";
import { makeStruct, type Field } from "./struct.ts";

/**
 * struct task_struct, thread_info first as on x86-64.
 *
 * kernel  include/linux/sched.h
 * DIFFERS: the kthread's struct and the sleep timer are embedded, `set_child_tid` and the like left out.
 */
// prettier-ignore
export const TASK = makeStruct("task_struct", "TASK", [
  ["TI_flags", 8],            // thread_info.flags, TIF_*
  ["TI_status", 4],
  ["TI_cpu", 4],              // thread_info.cpu: fixed from creation on
  ["state", 4],               // __state
  ["flags", 4],               // PF_*
  ["on_cpu", 4],
  ["on_rq", 4],
  ["stack", 8],               // lowest address of the stack
  ["threadsp", 8],            // thread.sp, saved by __switch_to_asm
  ["usage", 4],               // 0: the slot is free
  ["pid", 4],
  ["exit_code", 4],
  ["time_slice", 4],          // ticks left
  ["comm", 16, 8],
  ["tasks", 16, 8],           // list_head; the list's head is init_task.tasks
  ["run_list", 16, 8],        // list_head in rq->queue
  ["pending", 8],             // pending.signal, bit (sig - 1)
  ["restart_fn", 8],          // restart_block.fn
  ["restart_expires", 8],     // restart_block.nanosleep.expires, in the TSC
  ["patch_state", 4],         // KLP_TRANSITION_*
  ["checkpointed", 4],        // 1 while queued at the checkpoint
  ["kthread_flags", 8],       // KTHREAD_*
  ["kthread_fn", 8],
  ["kthread_data", 8],
  ["parked", 4],              // 1: acknowledged kthread_park
  ["prio", 4],                // 0: cpu_stopper, RT_PRIO: patchd, 120: everybody else, 140: idle
  ["timer", 24, 8],           // schedule_timeout's timer_list, in jiffies
  ["hrtimer", 24, 8],         // schedule_hrtimeout's, in the TSC of its CPU
  ["free_next", 8],           // next free slot
  ["pid_next", 8],            // next in its bucket of pid_hash
  ["syscalls", 8],            // system calls entered
  ["nvcsw", 8],               // voluntary switches, and moments in user mode: what synchronize_rcu_tasks waits for
  ["trace_recursion", 8],
  ["ret_stack", 8],           // FTRACE_RETFUNC_DEPTH entries, or 0
  ["curr_ret_stack", 4],      // how many of them are in use
  ["rethooks", 8],            // rethook_nodes, the innermost first
  ["kthread_exited", 24, 8],  // struct completion: its thread function has returned
  ["kthread_result", 4],      // what that returned
  ["saved_state", 4],         // the state that a task was frozen in, where it slept; 0 when it has been woken since
], 64);

/**
 * struct pt_regs.
 *
 * kernel  arch/x86/include/asm/ptrace.h, arch/x86/entry/calling.h
 */
// prettier-ignore
export const PT_REGS = makeStruct("pt_regs", "", [
  ["R15", 8], ["R14", 8], ["R13", 8], ["R12", 8], ["RBP", 8], ["RBX", 8],
  ["R11", 8], ["R10", 8], ["R9", 8], ["R8", 8], ["RAX", 8], ["RCX", 8],
  ["RDX", 8], ["RSI", 8], ["RDI", 8], ["ORIG_RAX", 8],
  ["RIP", 8], ["CS", 8], ["EFLAGS", 8], ["RSP", 8], ["SS", 8],
]);

/**
 * struct inactive_task_frame: what __switch_to_asm leaves at thread.sp.
 *
 * kernel  arch/x86/include/asm/switch_to.h
 */
// prettier-ignore
export const INACTIVE_FRAME = makeStruct("inactive_task_frame", "ITF", [
  ["r15", 8], ["r14", 8], ["r13", 8], ["r12", 8], ["bx", 8], ["bp", 8], ["ret_addr", 8],
]);

/** struct pcpu_hot at offset 0 of each per-CPU area (arch/x86/include/asm/current.h). */
// prettier-ignore
export const PCPU_HOT = makeStruct("pcpu_hot", "X86", [
  ["current_task", 8],
  ["preempt_count", 4],
  ["cpu_number", 4],
  ["call_depth", 8],
  ["top_of_stack", 8],
  ["hardirq_stack_ptr", 8],
  ["softirq_pending", 2],
  ["hardirq_stack_inuse", 1],
], 64);

/** struct rq (kernel/sched/sched.h). DIFFERS: one round-robin queue; no migration between CPUs. */
// prettier-ignore
export const RQ = makeStruct("rq", "RQ", [
  ["lock", 4],
  ["nr_running", 4],
  ["cpu", 4],
  ["online", 4],
  ["curr", 8],
  ["idle", 8],
  ["stop", 8],                // the cpu_stopper thread
  ["queue", 16, 8],           // list_head of runnable tasks, the running one included
  ["nr_switches", 8],
], 64);

/** The hardware TSS (SDM Vol. 3A, "64-Bit TSS"); sp2 is scratch for entry_SYSCALL_64. */
// prettier-ignore
export const TSS = makeStruct("tss", "TSS", [
  ["reserved1", 4], ["sp0", 8, 4], ["sp1", 8, 4], ["sp2", 8, 4], ["reserved2", 8, 4],
  ["ist", 56, 4], ["reserved3", 8, 4], ["reserved4", 2, 2], ["io_bitmap_base", 2, 2],
], 8);

/** struct cpu_stopper (kernel/stop_machine.c). DIFFERS: room for one work, under stop_cpus_mutex. */
export const CPU_STOPPER = makeStruct("cpu_stopper", "STOPPER", [
  ["thread", 8],
  ["fn", 8],
  ["arg", 8],
]);

/** struct multi_stop_data (kernel/stop_machine.c); `done` counts stoppers that have returned. */
export const MULTI_STOP_DATA = makeStruct("multi_stop_data", "MSD", [
  ["fn", 8],
  ["data", 8],
  ["num_threads", 4],
  ["state", 4],
  ["thread_ack", 4],
  ["todo", 4],
  ["ret", 8],
  ["waiter", 8],
]);

/** struct completion, with its swait_queue_head (include/linux/completion.h). */
export const COMPLETION = makeStruct("completion", "COMPLETION", [
  ["done", 4],
  ["lock", 4],
  ["head", 16, 8],
]);

/** struct wait_queue_head / wait_queue_entry (include/linux/wait.h). DIFFERS: entries wake tasks only. */
export const WAIT_QUEUE_HEAD = makeStruct("wait_queue_head", "WQH", [
  ["lock", 4],
  ["head", 16, 8],
]);
export const WAIT_QUEUE_ENTRY = makeStruct("wait_queue_entry", "WQE", [
  ["private", 8],
  ["entry", 16, 8],
]);

/** struct mutex (include/linux/mutex.h). DIFFERS: no hand-off, no optimistic spinning. */
export const MUTEX = makeStruct("mutex", "MUTEX", [
  ["owner", 8],
  ["wait", WAIT_QUEUE_HEAD.size, 8],
]);

/** struct timer_list and struct hrtimer (include/linux/timer.h, hrtimer.h). DIFFERS: both wake a task and do nothing else. */
export const TIMER = makeStruct("timer_list", "TIMER", [
  ["expires", 8],
  ["entry", 16, 8], // list_head in the CPU's base; next is 0 when it is not pending
]);

/** struct kernel_clone_args (include/linux/sched/task.h). */
export const CLONE_ARGS = makeStruct("kernel_clone_args", "KARGS", [
  ["flags", 8],
  ["stack", 8],
  ["fn", 8],
  ["fn_arg", 8],
  ["name", 8],
  ["cpu", 8],
]);

/** struct text_poke_loc and bp_patching_desc (arch/x86/kernel/alternative.c), absolute addresses here. */
export const TEXT_POKE_LOC = makeStruct("text_poke_loc", "TP", [
  ["addr", 8],
  ["target", 8],
  ["opcode", 1],
  ["len", 1],
]);
export const BP_DESC = makeStruct("bp_patching_desc", "BPD", [
  ["vec", 8],
  ["nr_entries", 4],
  ["refs", 4],
]);

/**
 * struct kpatch_func of kpatch's core module: one redirected function. DIFFERS: old_addr is the fentry site, as the handler
 * is told it.
 */
export const KPATCH_FUNC = makeStruct("kpatch_func", "KPF", [
  ["next", 8], // in the bucket kpatch_func_hash: the one that was added last comes first
  ["old_addr", 8],
  ["new_addr", 8],
  ["new_size", 8],
  ["mod", 8], // the patch's struct module
  ["op", 4], // KPATCH_OP_*: what is being done with it
  ["force", 4], // KPATCH_FORCE_UNSAFE(): it may be on a stack
]);

/** struct bug_entry. DIFFERS: absolute addresses, and a message. */
export const BUG_ENTRY = makeStruct("bug_entry", "BUG", [
  ["ip", 8],
  ["msg", 8],
]);

/** The per-CPU area: its variables in order; each is an assembly symbol, used as `%gs:name`. */
export const PERCPU = makeStruct(
  "per_cpu_area",
  "",
  [
    ["pcpu_hot", PCPU_HOT.size, 64],
    ["runqueues", RQ.size, 64],
    ["cpu_tss_rw", TSS.size, 64],
    ["gdt_page", 128, 64],
    ["cpu_stopper", CPU_STOPPER.size, 8],
    ["this_cpu_off", 8],
    ["timer_base", 16, 8], // list_head of timers, by expiry
    ["hrtimer_base", 16, 8],
    ["next_tick", 8], // the TSC of the tick that is due next
    ["cpu_worker_pool", WORKER_POOL.size, 8],
    ["current_kprobe", 8],
    ["kprobe_ctlblk", KPROBE_CTLBLK.size, 8],
    ["trace_head", 8], // entries that this CPU has traced
    ["nmi_count", 8],
    ["irq_count", 8],
    ["in_nmi_ip", 8],
    ["kgr_irq_use_new", 1],
  ],
  256,
);

/** thread_info flags, bit numbers (arch/x86/include/asm/thread_info.h). */
// prettier-ignore
export const TIF = {
  SIGPENDING: 2,
  NEED_RESCHED: 3,
  CHECKPOINT: 6,              // DIFFERS: ours, a bit that v6.12 leaves free
  PATCH_PENDING: 13,
  NOTIFY_SIGNAL: 17,
} as const;

/** Task states (include/linux/sched.h); CHECKPOINT is ours. */
// prettier-ignore
export const TASK_STATE = {
  RUNNING: 0x0,
  INTERRUPTIBLE: 0x1,
  UNINTERRUPTIBLE: 0x2,
  PARKED: 0x40,
  DEAD: 0x80,
  WAKEKILL: 0x100,
  NEW: 0x800,
  FREEZABLE: 0x2000,          // beside one of the first two
  FROZEN: 0x8000,
  CHECKPOINT: 0x10000,
} as const;

/** Numbers that the assembly and the readers share. */
// prettier-ignore
export const CONSTANTS = {
  NR_CPUS: 8,
  PIDHASH_SIZE: 4096,
  PAGE_SIZE: 4096, PAGE_SHIFT: 12,
  IRQ_STACK_SIZE: 16384,
  EXCEPTION_STKSZ: 4096,
  SCHED_SLICE: 1,             // ticks that a task runs before the next of its CPU
  RT_PRIO: 50, DEFAULT_PRIO: 120,
  PF_IDLE: 0x2, PF_EXITING: 0x4, PF_NOFREEZE: 0x8000, PF_KTHREAD: 0x200000,
  KTHREAD_IS_PER_CPU: 0, KTHREAD_SHOULD_STOP: 1, KTHREAD_SHOULD_PARK: 2,
  KLP_TRANSITION_IDLE: -1, KLP_TRANSITION_UNPATCHED: 0, KLP_TRANSITION_PATCHED: 1,
  CHECKPOINT_POLICY_QUEUE: 0, CHECKPOINT_POLICY_PASS: 1,
  TP_VEC_MAX: 256,
  KPATCH_STATE_IDLE: 0, KPATCH_STATE_UPDATING: 1, KPATCH_STATE_SUCCESS: 2, KPATCH_STATE_FAILURE: 3,
  KPATCH_OP_NONE: 0, KPATCH_OP_PATCH: 1, KPATCH_OP_UNPATCH: 2,
  MULTI_STOP_NONE: 0, MULTI_STOP_PREPARE: 1, MULTI_STOP_DISABLE_IRQ: 2, MULTI_STOP_RUN: 3, MULTI_STOP_EXIT: 4,
  HC_PATCH: 0, HC_READY: 1, HC_BUG: 2, HC_PANIC: 3, HC_LOG: 4, HC_DONE: 5,
  PATCH_IDLE: 0, PATCH_AGAIN: 1, PATCH_CALL: 2, PATCH_DONE: 3, PATCH_FOREVER: 0x3fffffff,
  __KERNEL_CS: 0x10, __KERNEL_DS: 0x18, __USER32_CS: 0x23, __USER_DS: 0x2b, __USER_CS: 0x33, GDT_TSS: 0x40,
  X86_TRAP_DE: 0, X86_TRAP_DB: 1, X86_TRAP_NMI: 2, X86_TRAP_BP: 3, X86_TRAP_UD: 6, X86_TRAP_DF: 8,
  X86_TRAP_TS: 10, X86_TRAP_NP: 11, X86_TRAP_SS: 12, X86_TRAP_GP: 13, X86_TRAP_PF: 14, X86_TRAP_AC: 17, X86_TRAP_CP: 21,
  LOCAL_TIMER_VECTOR: 0xec, HYPERVISOR_CALLBACK_VECTOR: 0xf3, CALL_FUNCTION_VECTOR: 0xfc, RESCHEDULE_VECTOR: 0xfd, SPURIOUS_APIC_VECTOR: 0xff,
  IST_INDEX_DF: 1, IST_INDEX_NMI: 2,
  X86_EFLAGS_TF: 0x100, X86_EFLAGS_IF: 0x200, X86_EFLAGS_DF: 0x400, X86_EFLAGS_RF: 0x10000,
  PREEMPT_OFFSET: 1, HARDIRQ_OFFSET: 0x10000, NMI_OFFSET: 0x100000, PREEMPT_NEED_RESCHED: 0x80000000,
  SM_NONE: 0, SM_PREEMPT: 1,
  SIGKILL: 9, SIGTERM: 15, SIGSEGV: 11, SIGILL: 4, SIGFPE: 8,
  EPERM: 1, ESRCH: 3, EINTR: 4, EAGAIN: 11, EFAULT: 14, EBUSY: 16, EINVAL: 22, ENOSYS: 38,
  ERESTARTSYS: 512, ERESTARTNOINTR: 513, ERESTARTNOHAND: 514, ERESTART_RESTARTBLOCK: 516,
  __NR_write: 1, __NR_sched_yield: 24, __NR_pause: 34, __NR_nanosleep: 35, __NR_getpid: 39, __NR_clone: 56,
  __NR_exit: 60, __NR_kill: 62, __NR_prctl: 157, __NR_gettid: 186, __NR_restart_syscall: 219, __NR_quiesce: 255, __NR_scenario: 256,
  PR_SET_NAME: 15, TASK_COMM_LEN: 16, TASK_SIZE_MAX: 0x7ffffffff000,
  QUIESCE_READY: 0, QUIESCE_DONE: 1,
} as const;

/** Errors by their names, where a program answers as a function of the kernel does. */
export const ERRNO = {
  ESRCH: CONSTANTS.ESRCH,
  ENOENT: 2,
  ENOEXEC: 8,
  EAGAIN: CONSTANTS.EAGAIN,
  ENOMEM: 12,
  EBUSY: CONSTANTS.EBUSY,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: CONSTANTS.EINVAL,
  EACCES: 13,
} as const;

const STRUCTS = [
  ...FTRACE_STRUCTS,
  MODULE,
  KERNEL_PARAM,
  ...KLP_STRUCTS,
  TASK,
  PT_REGS,
  INACTIVE_FRAME,
  PCPU_HOT,
  RQ,
  TSS,
  CPU_STOPPER,
  MULTI_STOP_DATA,
  COMPLETION,
  WAIT_QUEUE_HEAD,
  WAIT_QUEUE_ENTRY,
  MUTEX,
  TIMER,
  CLONE_ARGS,
  TEXT_POKE_LOC,
  BP_DESC,
  KPATCH_FUNC,
  BUG_ENTRY,
  PERCPU,
];

function line(name: string, value: number): string {
  return `\t.set\t${name}, ${value < 0 ? value : `0x${value.toString(16)}`}\n`;
}

/**
 * The text of `asm-offsets.inc`: one `.set` per field, flag and constant.
 *
 * kernel  include/generated/asm-offsets.h
 */
export function asmOffsetsInc(): string {
  let text = "# Generated from src/kernel/layout.ts.\n";
  for (const s of STRUCTS) {
    const fields: readonly Field[] = Object.values(s.fields);
    for (const f of fields) text += line(s.prefix ? `${s.prefix}_${f.name}` : f.name, f.offset);
    text += line(`SIZEOF_${s.name}`, s.size);
  }
  for (const [name, bit] of Object.entries(TIF)) {
    text += line(`TIF_${name}`, bit) + line(`_TIF_${name}`, 2 ** bit);
  }
  for (const [name, value] of Object.entries(TASK_STATE)) text += line(`TASK_${name}`, value);
  const constants = { ...CONSTANTS, ...FTRACE_CONSTANTS, ...MODULE_CONSTANTS, ...KLP_CONSTANTS };
  for (const [name, value] of Object.entries(constants)) text += line(name, value);
  return text;
}

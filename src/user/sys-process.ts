// System calls about the process itself: identity, signals, limits, thread state, time, randomness, its end. There is
// one thread. DIFFERS: time is virtual, a nanosecond for each instruction; sleeping moves the clock and takes none.
import type { Arguments, Context, Syscall, SyscallResult } from "./context.ts";
import { int, quads, readQuads } from "./context.ts";
import {
  EAGAIN,
  EDEADLK,
  EFAULT,
  EINVAL,
  ENOSYS,
  EPERM,
  ESRCH,
  ETIMEDOUT,
  NSIG,
  SIGSEGV,
  SI_KERNEL,
  SI_TKILL,
  SI_USER,
  TASK_SIZE,
} from "./linux.ts";
import { STACK_SIZE } from "./space.ts";

/** CLOCK_REALTIME at the start, in seconds: 1 January 2025, 00:00 UTC. */
export const EPOCH = 1_735_689_600n;
const SECOND = 1_000_000_000n;
const INFINITY = (1n << 64n) - 1n;
/** getrandom gives at most this much at once, as the kernel without blocking. */
const MOST_RANDOM = 0x1_0000;

/** Writes to an address that may be null; a number is the result. */
function give(c: Context, va: bigint, bytes: Uint8Array): number {
  return va === 0n || c.space.write(va, bytes) ? 0 : -EFAULT;
}

function clock(c: Context, id: number): bigint | undefined {
  if (id < 0 || id > 11 || id === 10) return undefined;
  const real = id === 0 || id === 5 || id === 8 || id === 11;
  return real ? EPOCH * SECOND + c.now() : c.now();
}

function clockGettime(c: Context, id: number, va: bigint): number {
  const t = clock(c, id);
  if (t === undefined) return -EINVAL;
  return c.space.write(va, quads(t / SECOND, t % SECOND)) ? 0 : -EFAULT;
}

function gettimeofday(c: Context, va: bigint, zone: bigint): number {
  const t = EPOCH * SECOND + c.now();
  const r = give(c, va, quads(t / SECOND, (t % SECOND) / 1000n));
  return r < 0 ? r : give(c, zone, quads(0n));
}

function time(c: Context, va: bigint): SyscallResult {
  const t = EPOCH + c.now() / SECOND;
  return give(c, va, quads(t)) < 0 ? -EFAULT : t;
}

/** The nanoseconds of a struct timespec. */
function duration(c: Context, va: bigint): bigint | number {
  const words = readQuads(c, va, 2);
  if (words === undefined) return -EFAULT;
  const [s = 0n, ns = 0n] = words.map((w) => BigInt.asIntN(64, w));
  return s < 0n || ns < 0n || ns >= SECOND ? -EINVAL : s * SECOND + ns;
}

function sleep(c: Context, va: bigint, until?: bigint): number {
  const d = duration(c, va);
  if (typeof d === "number") return d;
  const ns = until === undefined ? d : d - until;
  if (ns > 0n) c.sleep(ns);
  return 0;
}

function clockNanosleep(c: Context, id: number, flags: number, va: bigint): number {
  const t = clock(c, id);
  return t === undefined ? -EINVAL : sleep(c, va, flags & 1 ? t : undefined);
}

/** With one thread a wait can only end by its timeout. DIFFERS: without one it is EDEADLK instead of for ever. */
function futex(c: Context, [va, operation, value, timeout]: Arguments): number {
  const command = int(operation) & 0x7f;
  if (command === 1 || command === 10) return 0; // FUTEX_WAKE, FUTEX_WAKE_BITSET
  if (command !== 0 && command !== 9) return -ENOSYS; // FUTEX_WAIT, FUTEX_WAIT_BITSET
  if ((va & 3n) !== 0n) return -EINVAL;
  const b = c.space.read(va, 4);
  if (b === undefined) return -EFAULT;
  if (new DataView(b.buffer).getInt32(0, true) !== int(value)) return -EAGAIN;
  if (timeout === 0n) return -EDEADLK;
  const now = int(operation) & 0x100 ? EPOCH * SECOND + c.now() : c.now();
  const r = sleep(c, timeout, command === 9 ? now : undefined);
  return r < 0 ? r : -ETIMEDOUT;
}

function sigaction(c: Context, [signal, va, old, size]: Arguments): number {
  const nr = int(signal);
  if (size !== 8n || nr < 1 || nr > NSIG) return -EINVAL;
  const before = c.signals.action(nr);
  if (va !== 0n) {
    const words = readQuads(c, va, 4);
    if (words === undefined) return -EFAULT;
    const [handler = 0n, flags = 0n, restorer = 0n, mask = 0n] = words;
    const r = c.signals.setAction(nr, { handler, flags, restorer, mask });
    if (r < 0) return r;
  }
  return give(c, old, quads(before.handler, before.flags, before.restorer, before.mask));
}

function sigprocmask(c: Context, [how, va, old, size]: Arguments): number {
  if (size !== 8n) return -EINVAL;
  const before = c.signals.blocked;
  if (va !== 0n) {
    const set = readQuads(c, va, 1)?.[0];
    if (set === undefined) return -EFAULT;
    if (how === 0n) c.signals.blocked = before | set;
    else if (how === 1n) c.signals.blocked = before & ~set;
    else if (how === 2n) c.signals.blocked = set;
    else return -EINVAL;
  }
  return give(c, old, quads(before));
}

function sigreturn(c: Context): SyscallResult {
  const registers = c.signals.return(c.registers());
  if (registers !== undefined) return { kind: "registers", registers };
  const end = c.signals.force({ signal: SIGSEGV, code: SI_KERNEL }, c.registers());
  if (end.kind === "handler") return { kind: "registers", registers: end.registers };
  return { kind: "killed", info: { signal: SIGSEGV, code: SI_KERNEL } };
}

function sigaltstack(c: Context, va: bigint, old: bigint): number {
  const before = c.signals.alt(c.rsp());
  if (va !== 0n) {
    const words = readQuads(c, va, 3);
    if (words === undefined) return -EFAULT;
    const [sp = 0n, flags = 0n, size = 0n] = words;
    const r = c.signals.setAlt({ sp, size, flags: int(flags) >>> 0 }, c.rsp());
    if (r < 0) return r;
  }
  return give(c, old, quads(before.sp, BigInt(before.flags), before.size));
}

/** kill, tkill, tgkill: to oneself, or to nobody. */
function kill(c: Context, to: number, signal: number, code: number): number {
  if (signal < 0 || signal > NSIG) return -EINVAL;
  if (to !== c.pid) return -ESRCH;
  if (signal > 0) c.signals.send({ signal, code, pid: c.pid, uid: c.uid });
  return 0;
}

function archPrctl(c: Context, code: number, va: bigint): number {
  if (code === 0x1002 || code === 0x1001) {
    if (va >= TASK_SIZE) return -EPERM;
    c.setBase(code === 0x1002 ? "fs_base" : "gs_base", va);
    return 0;
  }
  if (code !== 0x1003 && code !== 0x1004) return -EINVAL;
  return c.space.write(va, quads(c.base(code === 0x1003 ? "fs_base" : "gs_base"))) ? 0 : -EFAULT;
}

function uname(c: Context, va: bigint): number {
  const b = new Uint8Array(6 * 65);
  const fields = ["Linux", "quiesce", "6.12.0", "#1 SMP PREEMPT_DYNAMIC", "x86_64", "(none)"];
  fields.forEach((f, i) => b.set(new TextEncoder().encode(f), i * 65));
  return c.space.write(va, b) ? 0 : -EFAULT;
}

/** All limits are infinite but the stack's and the descriptors'. */
function limit(c: Context, resource: number, va: bigint): number {
  if (resource < 0 || resource > 15) return -EINVAL;
  const soft = resource === 3 ? STACK_SIZE : resource === 7 ? 1024n : INFINITY;
  return give(c, va, quads(soft, INFINITY));
}

function getrandom(c: Context, va: bigint, length: bigint): number {
  const n = length > BigInt(MOST_RANDOM) ? MOST_RANDOM : Number(length);
  return c.space.write(va, c.random(n)) ? n : -EFAULT;
}

function affinity(c: Context, size: bigint, va: bigint): number {
  if (size < 8n || (size & 7n) !== 0n) return -EINVAL;
  return c.space.write(va, quads(1n)) ? 8 : -EFAULT;
}

const exit = (_: Context, a: Arguments): SyscallResult => ({
  kind: "exit",
  status: int(a[0]) & 0xff,
});
const pid: Syscall["run"] = (c) => c.pid;
const uid: Syscall["run"] = (c) => c.uid;
const zero: Syscall["run"] = () => 0;

export const PROCESS_CALLS: Readonly<Record<number, Syscall>> = {
  13: { name: "rt_sigaction", shown: 4, run: sigaction },
  14: { name: "rt_sigprocmask", shown: 4, run: sigprocmask },
  15: { name: "rt_sigreturn", shown: 0, run: sigreturn },
  24: { name: "sched_yield", shown: 0, run: zero },
  35: { name: "nanosleep", shown: 2, run: (c, a) => sleep(c, a[0]) },
  39: { name: "getpid", shown: 0, run: pid },
  60: { name: "exit", shown: 1, run: exit },
  62: { name: "kill", shown: 2, run: (c, a) => kill(c, int(a[0]), int(a[1]), SI_USER) },
  63: { name: "uname", shown: 1, run: (c, a) => uname(c, a[0]) },
  96: { name: "gettimeofday", shown: 2, run: (c, a) => gettimeofday(c, a[0], a[1]) },
  97: { name: "getrlimit", shown: 2, run: (c, a) => limit(c, int(a[0]), a[1]) },
  102: { name: "getuid", shown: 0, run: uid },
  104: { name: "getgid", shown: 0, run: uid },
  107: { name: "geteuid", shown: 0, run: uid },
  108: { name: "getegid", shown: 0, run: uid },
  110: { name: "getppid", shown: 0, run: () => 1 },
  111: { name: "getpgrp", shown: 0, run: pid },
  127: {
    name: "rt_sigpending",
    shown: 2,
    run: (c, a) => (c.space.write(a[0], quads(c.signals.pending)) ? 0 : -EFAULT),
  },
  131: { name: "sigaltstack", shown: 2, run: (c, a) => sigaltstack(c, a[0], a[1]) },
  158: { name: "arch_prctl", shown: 2, run: (c, a) => archPrctl(c, int(a[0]), a[1]) },
  186: { name: "gettid", shown: 0, run: pid },
  200: { name: "tkill", shown: 2, run: (c, a) => kill(c, int(a[0]), int(a[1]), SI_TKILL) },
  201: { name: "time", shown: 1, run: (c, a) => time(c, a[0]) },
  202: { name: "futex", shown: 4, run: futex },
  204: { name: "sched_getaffinity", shown: 3, run: (c, a) => affinity(c, a[1], a[2]) },
  218: { name: "set_tid_address", shown: 1, run: pid },
  228: { name: "clock_gettime", shown: 2, run: (c, a) => clockGettime(c, int(a[0]), a[1]) },
  229: {
    name: "clock_getres",
    shown: 2,
    run: (c, a) => (clock(c, int(a[0])) === undefined ? -EINVAL : give(c, a[1], quads(0n, 1n))),
  },
  230: {
    name: "clock_nanosleep",
    shown: 4,
    run: (c, a) => clockNanosleep(c, int(a[0]), int(a[1]), a[2]),
  },
  231: { name: "exit_group", shown: 1, run: exit },
  234: {
    name: "tgkill",
    shown: 3,
    run: (c, a) => (int(a[0]) === c.pid ? kill(c, int(a[1]), int(a[2]), SI_TKILL) : -ESRCH),
  },
  273: { name: "set_robust_list", shown: 2, run: (_, a) => (a[1] === 24n ? 0 : -EINVAL) },
  302: {
    name: "prlimit64",
    shown: 4,
    run: (c, a) => (a[2] !== 0n ? -EPERM : limit(c, int(a[1]), a[3])),
  },
  318: { name: "getrandom", shown: 3, run: (c, a) => getrandom(c, a[0], a[1]) },
  334: { name: "rseq", shown: 4, run: () => -ENOSYS },
};

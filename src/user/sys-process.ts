// System calls about the process itself: identity, limits, thread state, randomness, its end. There is one thread, and
// no other process can be made: fork, vfork and clone are ENOSYS.
import type { Arguments, Context, Syscall, SyscallResult } from "./context.ts";
import { give, int, quads, readQuads } from "./context.ts";
import { ECHILD, EFAULT, EINVAL, EPERM, ESRCH, TASK_SIZE } from "./linux.ts";
import { rseq } from "./rseq.ts";

/** What getrandom makes at a time. */
const RANDOM_PIECE = 0x1_0000;
const MOST_RANDOM = 0x1ff_ffffn;

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

/** DIFFERS: limits are kept, none but the stack's and the descriptors' first values is enforced. */
function prlimit(c: Context, pid: number, resource: number, next: bigint, old: bigint): number {
  const before = c.limits[resource];
  if (resource < 0 || before === undefined) return -EINVAL;
  const words = next === 0n ? undefined : readQuads(c, next, 2);
  if (next !== 0n && words === undefined) return -EFAULT;
  if (pid !== 0 && pid !== c.pid) return -ESRCH;
  if (words !== undefined) {
    const [soft = 0n, hard = 0n] = words;
    if (soft > hard) return -EINVAL;
    if (hard > before[1]) return -EPERM;
    c.limits[resource] = [soft, hard];
  }
  return give(c, old, quads(...before));
}

function getrandom(c: Context, va: bigint, length: bigint, flags: number): number {
  if ((flags & ~7) !== 0 || (flags & 6) === 6) return -EINVAL;
  const wanted = Number(length > MOST_RANDOM ? MOST_RANDOM : length);
  const n = c.space.reachable(va, wanted, "write");
  for (let at = 0; at < n; at += RANDOM_PIECE) {
    if (!c.space.write(va + BigInt(at), c.random(Math.min(RANDOM_PIECE, n - at)))) return -EFAULT;
  }
  return n === 0 && wanted > 0 ? -EFAULT : n;
}

function affinity(c: Context, pid: number, size: bigint, va: bigint): number {
  if (size < 8n || (size & 7n) !== 0n) return -EINVAL;
  if (pid !== 0 && pid !== c.pid) return -ESRCH;
  return c.space.write(va, quads(1n)) ? 8 : -EFAULT;
}

/** The thread's name, PR_SET_NAME and PR_GET_NAME; nothing else of prctl. */
function prctl(c: Context, code: number, va: bigint): number {
  if (code === 15) {
    const n = c.space.reachable(va, 16, "read");
    const bytes = c.space.read(va, n);
    const end = bytes?.indexOf(0) ?? -1;
    if (bytes === undefined || (end < 0 && n < 15)) return -EFAULT;
    c.name = bytes.slice(0, end < 0 ? 15 : Math.min(end, 15));
    return 0;
  }
  if (code !== 16) return -EINVAL;
  const b = new Uint8Array(16);
  b.set(c.name);
  return c.space.write(va, b) ? 0 : -EFAULT;
}

/** setuid and the like: to what one is already. */
function become(c: Context, ids: readonly bigint[]): number {
  return ids.every((v) => int(v) === -1 || int(v) === c.uid) ? 0 : -EPERM;
}

function three(c: Context, a: Arguments): number {
  const b = new Uint8Array(4);
  new DataView(b.buffer).setUint32(0, c.uid, true);
  return a.slice(0, 3).every((va) => c.space.write(va, b)) ? 0 : -EFAULT;
}

function umask(c: Context, mask: number): number {
  const before = c.umask;
  c.umask = mask & 0o777;
  return before;
}

function getcpu(c: Context, cpu: bigint, node: bigint): number {
  const r = give(c, cpu, new Uint8Array(4));
  return r < 0 ? r : give(c, node, new Uint8Array(4));
}

function ofProcess(c: Context, pid: number): number {
  return pid === 0 || pid === c.pid ? c.pid : -ESRCH;
}

const exit = (_: Context, a: Arguments): SyscallResult => ({
  kind: "exit",
  status: int(a[0]) & 0xff,
});
const pid: Syscall["run"] = (c) => c.pid;
const uid: Syscall["run"] = (c) => c.uid;
const zero: Syscall["run"] = () => 0;

export const PROCESS_CALLS: Readonly<Record<number, Syscall>> = {
  24: { name: "sched_yield", args: "", run: zero },
  39: { name: "getpid", args: "", run: pid },
  60: { name: "exit", args: "d", run: exit },
  61: { name: "wait4", args: "d x x x", run: () => -ECHILD },
  63: { name: "uname", args: "x", run: (c, a) => uname(c, a[0]) },
  95: { name: "umask", args: "o", run: (c, a) => umask(c, int(a[0])) },
  97: { name: "getrlimit", args: "d x", run: (c, a) => prlimit(c, 0, int(a[0]), 0n, a[1]) },
  102: { name: "getuid", args: "", run: uid },
  104: { name: "getgid", args: "", run: uid },
  105: { name: "setuid", args: "d", run: (c, a) => become(c, [a[0]]) },
  106: { name: "setgid", args: "d", run: (c, a) => become(c, [a[0]]) },
  107: { name: "geteuid", args: "", run: uid },
  108: { name: "getegid", args: "", run: uid },
  109: {
    name: "setpgid",
    args: "d d",
    run: (c, a) =>
      ofProcess(c, int(a[0])) < 0 ? -ESRCH : ofProcess(c, int(a[1])) < 0 ? -EPERM : 0,
  },
  110: { name: "getppid", args: "", run: () => 1 },
  111: { name: "getpgrp", args: "", run: pid },
  112: { name: "setsid", args: "", run: () => -EPERM },
  115: { name: "getgroups", args: "d x", run: (_, a) => (int(a[0]) < 0 ? -EINVAL : 0) },
  117: { name: "setresuid", args: "d d d", run: (c, a) => become(c, a.slice(0, 3)) },
  118: { name: "getresuid", args: "x x x", run: three },
  119: { name: "setresgid", args: "d d d", run: (c, a) => become(c, a.slice(0, 3)) },
  120: { name: "getresgid", args: "x x x", run: three },
  121: { name: "getpgid", args: "d", run: (c, a) => ofProcess(c, int(a[0])) },
  124: { name: "getsid", args: "d", run: (c, a) => ofProcess(c, int(a[0])) },
  157: { name: "prctl", args: "d x x x x", run: (c, a) => prctl(c, int(a[0]), a[1]) },
  158: { name: "arch_prctl", args: "A x", run: (c, a) => archPrctl(c, int(a[0]), a[1]) },
  160: { name: "setrlimit", args: "d x", run: (c, a) => prlimit(c, 0, int(a[0]), a[1], 0n) },
  186: { name: "gettid", args: "", run: pid },
  204: {
    name: "sched_getaffinity",
    args: "d d x",
    run: (c, a) => affinity(c, int(a[0]), a[1], a[2]),
  },
  218: { name: "set_tid_address", args: "x", run: pid },
  231: { name: "exit_group", args: "d", run: exit },
  273: { name: "set_robust_list", args: "x d", run: (_, a) => (a[1] === 24n ? 0 : -EINVAL) },
  302: {
    name: "prlimit64",
    args: "d d x x",
    run: (c, a) => prlimit(c, int(a[0]), int(a[1]), a[2], a[3]),
  },
  309: { name: "getcpu", args: "x x x", run: (c, a) => getcpu(c, a[0], a[1]) },
  318: {
    name: "getrandom",
    args: "x d x",
    run: (c, a) => getrandom(c, a[0], a[1], int(a[2])),
  },
  334: { name: "rseq", args: "x d d x", run: rseq },
};

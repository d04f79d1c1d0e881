// System calls about signals: dispositions, the mask, the alternate stack, sending to oneself, taking what is pending, and
// the way back from a handler. kernel/signal.c has the rules; signals.ts the state.
import type { Arguments, Context, Syscall, SyscallResult } from "./context.ts";
import { give, int, quads, readQuads } from "./context.ts";
import {
  EAGAIN,
  EDEADLK,
  EFAULT,
  EINTR,
  EINVAL,
  EPERM,
  ESRCH,
  NSIG,
  SIGSEGV,
  SI_KERNEL,
  SI_TKILL,
  SI_USER,
} from "./linux.ts";
import { siginfoBytes, type SignalInfo } from "./signals.ts";
import { duration } from "./sys-time.ts";

function sigaction(c: Context, [signal, va, old, size]: Arguments): number {
  const nr = int(signal);
  if (size !== 8n) return -EINVAL;
  // The new action is read before the number is looked at.
  const words = va === 0n ? undefined : readQuads(c, va, 4);
  if (va !== 0n && words === undefined) return -EFAULT;
  if (nr < 1 || nr > NSIG) return -EINVAL;
  const before = c.signals.action(nr);
  if (words !== undefined) {
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
    const h = int(how);
    if (h === 0) c.signals.blocked = before | set;
    else if (h === 1) c.signals.blocked = before & ~set;
    else if (h === 2) c.signals.blocked = set;
    else return -EINVAL;
  }
  return give(c, old, quads(before));
}

function sigpending(c: Context, va: bigint, size: bigint): number {
  if (size > 8n) return -EINVAL;
  const bytes = quads(c.signals.pending & c.signals.blocked).subarray(0, Number(size));
  return c.space.write(va, bytes) ? 0 : -EFAULT;
}

/** A new mask until a handler has run. DIFFERS: with nothing pending it is EDEADLK instead of for ever. */
function sigsuspend(c: Context, va: bigint, size: bigint): number {
  if (size !== 8n) return -EINVAL;
  const set = readQuads(c, va, 1)?.[0];
  if (set === undefined) return -EFAULT;
  return c.signals.suspend(set) ? -EINTR : -EDEADLK;
}

function sigtimedwait(c: Context, [va, info, timeout, size]: Arguments): number {
  if (size !== 8n) return -EINVAL;
  const set = readQuads(c, va, 1)?.[0];
  if (set === undefined) return -EFAULT;
  const ns = timeout === 0n ? undefined : duration(c, timeout);
  if (typeof ns === "number") return ns;
  const taken = c.signals.take(set);
  if (taken !== undefined) {
    return give(c, info, siginfoBytes(taken)) < 0 ? -EFAULT : taken.signal;
  }
  if (ns === undefined) return -EDEADLK;
  c.sleep(ns);
  return -EAGAIN;
}

function sigreturn(c: Context): SyscallResult {
  const registers = c.signals.return(c.registers());
  if (registers !== undefined) return { kind: "registers", registers };
  const info: SignalInfo = { signal: SIGSEGV, code: SI_KERNEL };
  const end = c.signals.force(info, c.registers());
  if (end.kind === "handler") return { kind: "registers", registers: end.registers };
  return { kind: "killed", info };
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

/** Sends to oneself, or to nobody. */
function send(c: Context, to: number, info: SignalInfo): number {
  if (info.signal < 0 || info.signal > NSIG) return -EINVAL;
  if (to !== c.pid) return -ESRCH;
  if (info.signal > 0) c.signals.send(info);
  return 0;
}

/** kill: 0 is the process group, -1 everybody else, of whom there is nobody. */
function kill(c: Context, to: number, signal: number): number {
  const self = to === 0 || to === -c.pid ? c.pid : to;
  return send(c, self, { signal, code: SI_USER, pid: c.pid, uid: c.uid });
}

function tkill(c: Context, tid: number, signal: number): number {
  if (tid <= 0) return -EINVAL;
  return send(c, tid, { signal, code: SI_TKILL, pid: c.pid, uid: c.uid });
}

/** rt_sigqueueinfo: the caller's siginfo, its number replaced. */
function queue(c: Context, to: number, signal: number, va: bigint): number {
  const b = c.space.read(va, 128);
  if (b === undefined) return -EFAULT;
  const v = new DataView(b.buffer);
  const code = v.getInt32(8, true);
  if ((code >= 0 || code === SI_TKILL) && to !== c.pid) return -EPERM;
  return send(c, to, {
    signal,
    code,
    pid: v.getInt32(16, true),
    uid: v.getInt32(20, true),
    value: v.getBigUint64(24, true),
  });
}

export const SIGNAL_CALLS: Readonly<Record<number, Syscall>> = {
  13: { name: "rt_sigaction", args: "S x x d", run: sigaction },
  14: { name: "rt_sigprocmask", args: "H x x d", run: sigprocmask },
  15: { name: "rt_sigreturn", args: "", run: sigreturn },
  34: {
    name: "pause",
    args: "",
    run: (c) => (c.signals.suspend(c.signals.blocked) ? -EINTR : -EDEADLK),
  },
  62: { name: "kill", args: "d S", run: (c, a) => kill(c, int(a[0]), int(a[1])) },
  127: { name: "rt_sigpending", args: "x d", run: (c, a) => sigpending(c, a[0], a[1]) },
  128: { name: "rt_sigtimedwait", args: "x x x d", run: sigtimedwait },
  129: {
    name: "rt_sigqueueinfo",
    args: "d S x",
    run: (c, a) => queue(c, int(a[0]), int(a[1]), a[2]),
  },
  130: { name: "rt_sigsuspend", args: "x d", run: (c, a) => sigsuspend(c, a[0], a[1]) },
  131: { name: "sigaltstack", args: "x x", run: (c, a) => sigaltstack(c, a[0], a[1]) },
  200: { name: "tkill", args: "d S", run: (c, a) => tkill(c, int(a[0]), int(a[1])) },
  234: {
    name: "tgkill",
    args: "d d S",
    run: (c, a) =>
      int(a[0]) <= 0
        ? -EINVAL
        : int(a[0]) === c.pid
          ? tkill(c, int(a[1]), int(a[2]))
          : int(a[2]) < 0 || int(a[2]) > NSIG || int(a[1]) <= 0
            ? -EINVAL
            : -ESRCH,
  },
};

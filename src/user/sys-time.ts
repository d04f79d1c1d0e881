// System calls about time. DIFFERS: time is virtual, a nanosecond for each instruction of the program; sleeping moves the
// clock and takes none. There are no timers: alarm and setitimer are ENOSYS.
import type { Arguments, Context, Syscall, SyscallResult } from "./context.ts";
import { give, int, quads, readQuads } from "./context.ts";
import { EAGAIN, EDEADLK, EFAULT, EINVAL, ENOSYS, EOPNOTSUPP, ETIMEDOUT } from "./linux.ts";

/** CLOCK_REALTIME at the start, in seconds: 1 January 2025, 00:00 UTC. */
export const EPOCH = 1_735_689_600n;
const SECOND = 1_000_000_000n;
/** A tick of the coarse clocks, CONFIG_HZ being 250. */
const TICK = 4_000_000n;

/** The time of a clock; negative ids are CPU clocks of a process, of which there is one. */
function clock(c: Context, id: number): bigint | undefined {
  if (id < 0) {
    const pid = ~(id >> 3);
    return (id & 3) === 3 || (pid !== 0 && pid !== c.pid) ? undefined : c.now();
  }
  if (id > 11 || id === 10) return undefined;
  const real = id === 0 || id === 5 || id === 8 || id === 11;
  const t = real ? EPOCH * SECOND + c.now() : c.now();
  return id === 5 || id === 6 ? t - (t % TICK) : t;
}

function clockGettime(c: Context, id: number, va: bigint): number {
  const t = clock(c, id);
  if (t === undefined) return -EINVAL;
  return c.space.write(va, quads(t / SECOND, t % SECOND)) ? 0 : -EFAULT;
}

function clockGetres(c: Context, id: number, va: bigint): number {
  if (clock(c, id) === undefined) return -EINVAL;
  return give(c, va, quads(0n, id === 5 || id === 6 ? TICK : 1n));
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

/** The nanoseconds of a struct timespec, or a negative error. */
export function duration(c: Context, va: bigint): bigint | number {
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
  if (t === undefined) return -EINVAL;
  if (id >= 3 && id <= 6) return -EOPNOTSUPP;
  return sleep(c, va, flags & 1 ? t : undefined);
}

/** With one thread a wait can only end by its timeout. DIFFERS: without one it is EDEADLK instead of for ever. */
function futex(c: Context, [va, operation, value, timeout]: Arguments): number {
  const command = int(operation) & 0x7f;
  // FUTEX_WAKE, FUTEX_WAKE_BITSET
  if (command === 1 || command === 10) return (va & 3n) === 0n ? 0 : -EINVAL;
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

/** struct tms and the time since the start, in ticks of a hundredth. */
function times(c: Context, va: bigint): SyscallResult {
  const ticks = c.now() / (SECOND / 100n);
  return give(c, va, quads(ticks, 0n, 0n, 0n)) < 0 ? -EFAULT : ticks;
}

/** struct rusage: the user time and nothing else. */
function getrusage(c: Context, who: number, va: bigint): number {
  if (who !== 0 && who !== 1 && who !== -1) return -EINVAL;
  const t = who === -1 ? 0n : c.now();
  const words = [t / SECOND, (t % SECOND) / 1000n, ...Array.from({ length: 16 }, () => 0n)];
  return c.space.write(va, quads(...words)) ? 0 : -EFAULT;
}

export const TIME_CALLS: Readonly<Record<number, Syscall>> = {
  35: { name: "nanosleep", args: "x x", run: (c, a) => sleep(c, a[0]) },
  96: { name: "gettimeofday", args: "x x", run: (c, a) => gettimeofday(c, a[0], a[1]) },
  98: { name: "getrusage", args: "d x", run: (c, a) => getrusage(c, int(a[0]), a[1]) },
  100: { name: "times", args: "x", run: (c, a) => times(c, a[0]) },
  201: { name: "time", args: "x", run: (c, a) => time(c, a[0]) },
  202: { name: "futex", args: "x d d x", run: futex },
  228: { name: "clock_gettime", args: "C x", run: (c, a) => clockGettime(c, int(a[0]), a[1]) },
  229: { name: "clock_getres", args: "C x", run: (c, a) => clockGetres(c, int(a[0]), a[1]) },
  230: {
    name: "clock_nanosleep",
    args: "C d x x",
    run: (c, a) => clockNanosleep(c, int(a[0]), int(a[1]), a[2]),
  },
};

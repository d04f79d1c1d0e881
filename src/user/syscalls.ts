// The table of system calls by number, with a trace line for each. Numbers that are not in it are ENOSYS.
import type { Arguments, Context, Syscall, SyscallResult } from "./context.ts";
import { ENOSYS } from "./linux.ts";
import { FILE_CALLS } from "./sys-files.ts";
import { IO_CALLS } from "./sys-io.ts";
import { MEMORY_CALLS } from "./sys-memory.ts";
import { PROCESS_CALLS } from "./sys-process.ts";
import { SIGNAL_CALLS } from "./sys-signal.ts";
import { TIME_CALLS } from "./sys-time.ts";
import { traceCall } from "./trace.ts";

const CALLS: ReadonlyMap<number, Syscall> = new Map(
  [IO_CALLS, FILE_CALLS, MEMORY_CALLS, SIGNAL_CALLS, TIME_CALLS, PROCESS_CALLS].flatMap((t) =>
    Object.entries(t).map(([nr, call]): [number, Syscall] => [Number(nr), call]),
  ),
);

/** Performs system call `nr`. */
export function performSyscall(c: Context, nr: bigint, a: Arguments): SyscallResult {
  // The number is eax: the upper half of rax is not looked at.
  const eax = BigInt.asUintN(32, nr);
  const call = CALLS.get(Number(eax));
  const result = call === undefined ? -ENOSYS : call.run(c, a);
  c.io.trace?.(traceCall(c, eax, call, a, result));
  return result;
}

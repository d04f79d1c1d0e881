// The table of system calls by number, and a trace line for each. Numbers that are not in it are ENOSYS.
import type { Arguments, Context, Syscall, SyscallResult } from "./context.ts";
import { ENOSYS, ERRNO_NAMES } from "./linux.ts";
import { FILE_CALLS } from "./sys-files.ts";
import { MEMORY_CALLS } from "./sys-memory.ts";
import { PROCESS_CALLS } from "./sys-process.ts";

const CALLS: ReadonlyMap<number, Syscall> = new Map(
  [FILE_CALLS, MEMORY_CALLS, PROCESS_CALLS].flatMap((t) =>
    Object.entries(t).map(([nr, call]): [number, Syscall] => [Number(nr), call]),
  ),
);

/** Performs system call `nr`. */
export function performSyscall(c: Context, nr: bigint, a: Arguments): SyscallResult {
  const call = nr < 1024n ? CALLS.get(Number(nr)) : undefined;
  const result = call === undefined ? -ENOSYS : call.run(c, a);
  if (c.io.trace !== undefined) {
    const name = call?.name ?? `syscall_${nr}`;
    const shown = a.slice(0, call?.shown ?? 6).map((v) => show(v));
    c.io.trace(`${name}(${shown.join(", ")})${ending(result)}`);
  }
  return result;
}

function show(v: bigint): string {
  const s = BigInt.asIntN(64, v);
  return s > -4096n && s < 4096n ? String(s) : `0x${v.toString(16)}`;
}

function ending(r: SyscallResult): string {
  if (typeof r === "object") return r.kind === "exit" ? "" : " = ?";
  const v = BigInt(r);
  if (v >= 0n || v < -4095n) return ` = ${show(v)}`;
  return ` = -1 ${ERRNO_NAMES[Number(-v)] ?? String(v)}`;
}

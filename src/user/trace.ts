// Trace lines in strace's manner: a system call with its arguments as their kinds ask, its result, signals, the end. Text
// only; which kind an argument has stands in the tables of calls.
import type { Arguments, Context, Syscall, SyscallResult } from "./context.ts";
import { textAt } from "./context.ts";
import { ERRORS, SIGNAL_CODES, signalName } from "./linux.ts";
import { SYSCALL_NAMES } from "./names.ts";
import type { SignalInfo } from "./signals.ts";

/** Text longer than this is cut, as strace does. */
const MOST_TEXT = 32;
/** Where the result stands. */
const COLUMN = 40;
const HEX_RESULT = new Set(["brk", "mmap", "mremap"]);

const bits =
  (names: Readonly<Record<number, string>>, none: string) =>
  (v: number): string => {
    let rest = v >>> 0;
    const out: string[] = [];
    for (const [bit, name] of Object.entries(names)) {
      const b = Number(bit);
      if ((rest & b) !== b || b === 0) continue;
      out.push(name);
      rest = (rest & ~b) >>> 0;
    }
    if (rest !== 0) out.push(`0x${rest.toString(16)}`);
    return out.length === 0 ? none : out.join("|");
  };

const protection = bits({ 1: "PROT_READ", 2: "PROT_WRITE", 4: "PROT_EXEC" }, "PROT_NONE");
const mapFlags = bits(
  {
    3: "MAP_SHARED_VALIDATE",
    1: "MAP_SHARED",
    2: "MAP_PRIVATE",
    0x10: "MAP_FIXED",
    0x20: "MAP_ANONYMOUS",
    0x100: "MAP_GROWSDOWN",
    0x4000: "MAP_NORESERVE",
    0x8000: "MAP_POPULATE",
    0x20000: "MAP_STACK",
    0x100000: "MAP_FIXED_NOREPLACE",
  },
  "0",
);
const openBits = bits(
  {
    0o100: "O_CREAT",
    0o200: "O_EXCL",
    0o400: "O_NOCTTY",
    0o1000: "O_TRUNC",
    0o2000: "O_APPEND",
    0o4000: "O_NONBLOCK",
    0o200000: "O_DIRECTORY",
    0o400000: "O_NOFOLLOW",
    0o2000000: "O_CLOEXEC",
  },
  "",
);

function openFlags(v: number): string {
  const mode = ["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"][v & 3] ?? "";
  const rest = openBits(v & ~3);
  return rest === "" ? mode : `${mode}|${rest}`;
}

const CLOCKS = [
  "CLOCK_REALTIME",
  "CLOCK_MONOTONIC",
  "CLOCK_PROCESS_CPUTIME_ID",
  "CLOCK_THREAD_CPUTIME_ID",
];
const HOWS = ["SIG_BLOCK", "SIG_UNBLOCK", "SIG_SETMASK"];
const ARCH_CODES: Readonly<Record<number, string>> = {
  0x1001: "ARCH_SET_GS",
  0x1002: "ARCH_SET_FS",
  0x1003: "ARCH_GET_FS",
  0x1004: "ARCH_GET_GS",
};

const ESCAPES: Readonly<Record<number, string>> = {
  9: "\\t",
  10: "\\n",
  11: "\\v",
  12: "\\f",
  13: "\\r",
  34: '\\"',
  92: "\\\\",
};

function quoted(bytes: Uint8Array): string {
  const shown = bytes.subarray(0, MOST_TEXT);
  let out = "";
  shown.forEach((b, i) => {
    const plain = b >= 32 && b < 127;
    const digit = (shown[i + 1] ?? 0) >= 48 && (shown[i + 1] ?? 0) <= 57;
    out +=
      ESCAPES[b] ??
      (plain ? String.fromCharCode(b) : `\\${b.toString(8).padStart(digit ? 3 : 1, "0")}`);
  });
  return `"${out}"${bytes.length > MOST_TEXT ? "..." : ""}`;
}

const hex = (v: bigint): string => (v === 0n ? "NULL" : `0x${v.toString(16)}`);
const decimal = (v: bigint): string => {
  const s = BigInt.asIntN(64, v);
  const word = BigInt.asIntN(32, v);
  // A negative int in a register whose upper half is clear.
  return String(v < 1n << 32n && word < 0n && word > -4096n ? word : s);
};

function bytesAt(c: Context, va: bigint, n: number): string {
  if (n < 0) return hex(va);
  const bytes = c.space.read(va, Math.min(n, MOST_TEXT + 1));
  return bytes === undefined ? hex(va) : quoted(bytes);
}

function argument(c: Context, kind: string, a: Arguments, i: number, result: number): string {
  const v = a[i] ?? 0n;
  const n = Number(BigInt.asIntN(32, v));
  switch (kind) {
    case "d":
      return decimal(v);
    case "f":
      return n === -100 ? "AT_FDCWD" : decimal(v);
    case "o":
      return n === 0 ? "0" : `0${n.toString(8)}`;
    case "O":
      return openFlags(n);
    case "P":
      return protection(n);
    case "M":
      return mapFlags(n);
    case "S":
      return n === 0 ? "0" : signalName(n);
    case "H":
      return HOWS[n] ?? String(n);
    case "C":
      return CLOCKS[n] ?? String(n);
    case "A":
      return ARCH_CODES[n] ?? `0x${v.toString(16)}`;
    case "s": {
      const text = v === 0n ? undefined : textAt(c, v, 4096);
      return text === undefined ? hex(v) : quoted(new TextEncoder().encode(text));
    }
    case "w":
      return v === 0n ? "NULL" : bytesAt(c, v, Number(BigInt.asIntN(53, a[i + 1] ?? 0n)));
    case "r":
      return bytesAt(c, v, result);
    default:
      return hex(v);
  }
}

function resultText(name: string, r: SyscallResult): string {
  if (typeof r === "object") return "?";
  const v = BigInt.asIntN(64, BigInt(r));
  const error = v < 0n && v >= -4095n ? ERRORS[Number(-v)] : undefined;
  if (error !== undefined) return `-1 ${error[0]} (${error[1]})`;
  return HEX_RESULT.has(name) ? hex(v) : String(v);
}

/** One line for a system call that has been performed; `call` undefined is one that this kernel has not. */
export function traceCall(
  c: Context,
  nr: bigint,
  call: Syscall | undefined,
  a: Arguments,
  r: SyscallResult,
): string {
  const name = call?.name ?? SYSCALL_NAMES[Number(nr)] ?? `syscall_0x${nr.toString(16)}`;
  const kinds = (call?.args ?? "x x x x x x").split(" ").filter((k) => k !== "");
  const result = typeof r === "object" ? -1 : Number(r);
  const shown = kinds.map((k, i) => argument(c, k, a, i, result));
  return `${`${name}(${shown.join(", ")})`.padEnd(COLUMN - 1)} = ${resultText(name, r)}`;
}

/** One line for a signal that is delivered. */
export function traceSignal(info: SignalInfo): string {
  const name = signalName(info.signal);
  const code = SIGNAL_CODES[name]?.[info.code] ?? SIGNAL_CODES["any"]?.[info.code] ?? info.code;
  const sent = info.addr === undefined && info.pid !== undefined;
  const more = sent
    ? `, si_pid=${info.pid}, si_uid=${info.uid ?? 0}`
    : info.addr === undefined
      ? ""
      : `, si_addr=${hex(info.addr)}`;
  return `--- ${name} {si_signo=${name}, si_code=${code}${more}} ---`;
}

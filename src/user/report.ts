// What is printed when a signal kills the program: where, registers, the bytes around rip, and the true call stack from
// the machine's shadow. Interrupted frames of signal handlers are put in at their places. Text only.
import { formatAddress, type Image } from "../link/index.ts";
import {
  REGISTERS,
  trueStack,
  UnmappedError,
  type Machine,
  type TruthStack,
} from "../machine/index.ts";
import type { Program } from "./elf.ts";
import {
  BUS_ADRALN,
  SEGV_ACCERR,
  SEGV_MAPERR,
  SIGBUS,
  SIGKILL,
  SIGPIPE,
  SIGSEGV,
  SI_KERNEL,
  SI_TKILL,
  SI_USER,
  signalName,
} from "./linux.ts";
import type { HandlerFrame, Registers, SignalInfo } from "./signals.ts";
import { STACK_SIZE, STACK_TOP } from "./space.ts";
import { symbolsOf } from "./symbols.ts";

export interface Death {
  readonly machine: Machine;
  readonly program: Program;
  readonly read: (va: bigint, n: number) => Uint8Array | undefined;
  readonly frames: readonly HandlerFrame[];
  readonly info: SignalInfo;
  readonly registers: Registers;
}

interface StackLine {
  readonly slot: bigint;
  readonly text: string;
}

/** Call stacks longer than this lose their middle. */
const MOST_LINES = 40;
const AROUND = 16;

const hex16 = (v: bigint): string => v.toString(16).padStart(16, "0");

/** The signals whose default is a core dump. */
const CORE_DUMP = new Set([3, 4, 5, 6, 7, 8, 11, 24, 25, 31]);

/** Lines, each with its newline; one for a signal that only ends, none for a closed pipe. */
export function reportDeath(d: Death): string {
  const { info, registers: r } = d;
  if (info.signal === SIGPIPE) return "";
  const image = symbolsOf(d.program);
  const lines = [`${d.program.name}: killed by ${signalName(info.signal)}${reason(info)}`];
  if (!CORE_DUMP.has(info.signal) && info.code !== SI_KERNEL) return `${lines[0]}\n`;
  lines.push(`rip ${hex16(r.rip)} ${formatAddress(image, r.rip)}  rflags ${r.rflags.toString(16)}`);
  for (let i = 0; i < 16; i += 4) {
    const names = REGISTERS.slice(i, i + 4);
    lines.push(names.map((n, k) => `${n.padEnd(3)} ${hex16(r.general[i + k] ?? 0n)}`).join("  "));
  }
  lines.push(`code ${codeAround(d, r.rip)}`);
  lines.push("call stack:", ...callStack(d, image).map((l) => `  ${l}`));
  return lines.map((l) => `${l}\n`).join("");
}

function reason(info: SignalInfo): string {
  const { signal, code, addr } = info;
  const at = addr === undefined ? "" : ` at 0x${addr.toString(16)}`;
  if (signal === SIGKILL && code === SI_KERNEL) return `: out of memory${at}`;
  if (code === SI_USER || code === SI_TKILL) return ", sent by itself";
  if (signal === SIGSEGV && code === SEGV_MAPERR) return `: nothing is mapped${at}`;
  if (signal === SIGSEGV && code === SEGV_ACCERR) return `: access is not allowed${at}`;
  if (signal === SIGBUS && code === BUS_ADRALN) return ": unaligned access";
  if (signal === SIGSEGV) return ": general protection";
  return "";
}

/** Bytes around an address as the kernel's oops has them; the one at the address is in <>. */
function codeAround(d: Death, rip: bigint): string {
  const out: string[] = [];
  for (let i = -AROUND; i < AROUND; i++) {
    const b = d.read(BigInt.asUintN(64, rip + BigInt(i)), 1)?.[0];
    const text = b === undefined ? "??" : b.toString(16).padStart(2, "0");
    out.push(i === 0 ? `<${text}>` : text);
  }
  return out.join(" ");
}

function onStack(sp: bigint): boolean {
  return sp > STACK_TOP - STACK_SIZE && sp <= STACK_TOP;
}

/** The true frames of the program's stack. */
function truth(d: Death): TruthStack | undefined {
  try {
    return trueStack(d.machine, STACK_TOP - 8n);
  } catch (e) {
    // The program unmapped its own stack.
    if (e instanceof UnmappedError) return undefined;
    throw e;
  }
}

function callStack(d: Death, image: Image): readonly string[] {
  const { rip, general } = d.registers;
  const sp = general[4] ?? 0n;
  const place = (va: bigint): string => formatAddress(image, va);
  // A handler that was left by a jump has a frame that no longer says what it said.
  const handlers = d.frames.filter((f) => isLive(d, f));
  const lines: string[] = [place(rip)];
  const interrupted = (f: HandlerFrame): string =>
    `${place(f.rip)}, interrupted by ${signalName(f.signal)}`;
  let from = sp;
  if (!onStack(sp)) {
    lines.push("(another stack, whose calls are not recorded)");
    for (const f of handlers.toReversed()) {
      if (onStack(f.sp)) break;
      lines.push(interrupted(f));
      from = f.rsp;
    }
  }
  const calls = (truth(d)?.frames ?? []).map((f): StackLine => ({
    slot: f.slot,
    text: place(f.ret),
  }));
  const marks = handlers.map((f): StackLine => ({ slot: f.sp, text: interrupted(f) }));
  const rest = [...calls, ...marks.filter((m) => onStack(m.slot))]
    .filter((l) => l.slot >= from)
    .toSorted((a, b) => (a.slot < b.slot ? -1 : a.slot > b.slot ? 1 : 0))
    .map((l) => l.text);
  const all = [...lines, ...rest];
  if (all.length <= MOST_LINES) return all;
  const cut = all.length - MOST_LINES;
  return [...all.slice(0, MOST_LINES - 8), `.. ${cut} more ..`, ...all.slice(-8)];
}

/** Whether the frame still holds the interrupted rip that was put there, and lies in use. */
function isLive(d: Death, f: HandlerFrame): boolean {
  const b = d.read(f.sp + 176n, 8);
  const same = b !== undefined && new DataView(b.buffer).getBigUint64(0, true) === f.rip;
  const sp = d.registers.general[4] ?? 0n;
  return same && (onStack(sp) !== onStack(f.sp) || f.sp >= sp - 8n);
}

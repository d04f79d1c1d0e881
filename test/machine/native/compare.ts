// Compares what the CPU and the emulator did with a case, flags that the manual leaves undefined left out, and says
// what differs in one readable piece.
import { CODE, DATA, STACK, DATA_SIZE, type Case, type Outcome } from "./layout.ts";

const FLAGS = 0xcd5n;
/** MXCSR.MM, which AMD has and CPUID here does not advertise: whoever loads it gets a #GP on the emulator. */
const MXCSR_MM = 1n << 17n;

/** The flags of `rip` that may be compared. */
export function flagMask(c: Case, rip: bigint): bigint {
  const off = Number(rip - CODE) - c.codeOff;
  const open = c.undefinedAt.find(([at]) => at === off)?.[1] ?? c.undefinedAt.at(-1)?.[1] ?? 0;
  return FLAGS & ~BigInt(open);
}

/** Differences by name; empty when the two agree. */
export function compare(c: Case, native: Outcome, emulated: Outcome): string[] {
  if (native.mxcsr & MXCSR_MM && emulated.vector === 13) return [];
  const out: string[] = [];
  const differs = (what: string, a: bigint, b: bigint): void => {
    if (a !== b) out.push(`${what}: cpu 0x${a.toString(16)}, emulated 0x${b.toString(16)}`);
  };
  differs("vector", BigInt(native.vector), BigInt(emulated.vector));
  differs("rip", native.rip, emulated.rip);
  if (native.vector === emulated.vector) {
    // The host's kernel reports every user access beyond its user half as a protection violation.
    const kernelHalf = native.vector === 14 && native.cr2 >= 0x7fff_ffff_f000n;
    const mask = kernelHalf ? ~1n : ~0n;
    differs("error code", native.code & mask, emulated.code & mask);
    if (native.vector === 14) differs("cr2", native.cr2, emulated.cr2);
  }
  native.regs.forEach((v, i) => differs(`r${i}`, v, emulated.regs[i] ?? 0n));
  const m = flagMask(c, native.rip);
  differs("flags", native.rflags & m, emulated.rflags & m);
  differs("mxcsr", native.mxcsr, emulated.mxcsr);
  native.xmm.forEach((v, i) =>
    differs(`xmm${i >> 1}${i & 1 ? "h" : "l"}`, v, emulated.xmm[i] ?? 0n),
  );
  compareFpu(c, native.fpu, emulated.fpu, differs);
  differs("memory", native.hash, emulated.hash);
  return out;
}

const ES = 0x80n << 16n;
/** What AMD keeps of a pointer that FXRSTOR loads. */
const POINTER = (1n << 48n) - 1n;

/**
 * The x87 state. AMD shows the opcode and the pointers only while an exception is pending.
 */
function compareFpu(
  c: Case,
  native: readonly bigint[],
  emulated: readonly bigint[],
  differs: (what: string, a: bigint, b: bigint) => void,
): void {
  const head = native[0] ?? 0n;
  const pending = (head & ES) !== 0n;
  const mask = pending ? ~0n : (1n << 48n) - 1n;
  differs("fpu", head & mask, (emulated[0] ?? 0n) & mask);
  if (pending) {
    differs("fip", (native[1] ?? 0n) & POINTER, (emulated[1] ?? 0n) & POINTER);
    differs("fdp", (native[2] ?? 0n) & POINTER, (emulated[2] ?? 0n) & POINTER);
  }
  for (let i = 3; i < native.length; i++) {
    const what = `st${(i - 3) >> 1}${i & 1 ? "" : "x"}`;
    differs(what, native[i] ?? 0n, emulated[i] ?? 0n);
  }
}

export function describe(c: Case): string {
  const hex = [...c.code].map((b) => b.toString(16).padStart(2, "0")).join(" ");
  const regs = c.regs.map((v, i) => `r${i}=${v.toString(16)}`).join(" ");
  const xmm = c.xmm.flatMap((v, i) =>
    v ? [`xmm${i >> 1}${i & 1 ? "h" : "l"}=${v.toString(16)}`] : [],
  );
  const fpu = c.fpu.map((w) => w.toString(16)).join(" ");
  const rest = [
    `rflags=${c.rflags.toString(16)}`,
    `mxcsr=${c.mxcsr.toString(16)}`,
    ...xmm,
    `fpu=${fpu}`,
  ];
  return `code at +0x${c.codeOff.toString(16)}: ${hex}\n  ${regs} ${rest.join(" ")}`;
}

/** Where two memory dumps differ. */
export function memoryDifference(a: Uint8Array, b: Uint8Array): string[] {
  const out: string[] = [];
  for (let i = 0; i < a.length && out.length < 8; i++) {
    if (a[i] === b[i]) continue;
    const va = i < DATA_SIZE ? DATA + BigInt(i) : STACK + BigInt(i - DATA_SIZE);
    out.push(`0x${va.toString(16)}: cpu ${a[i]?.toString(16)}, emulated ${b[i]?.toString(16)}`);
  }
  return out;
}

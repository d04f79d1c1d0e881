// Which instructions CPUID of the machine promises, in iced-x86's words for features: what each of them is called in
// CPUID, and whether the bit is up. Not a list of what works: the tests hold the core to it.
import { Code, CpuidFeature, type Instruction } from "iced-x86";
import { EmulatedCpu } from "../machine/native/emulated.ts";
import { NO_FPU } from "../machine/native/layout.ts";

type Register = "eax" | "ebx" | "ecx" | "edx";
const REGISTERS: readonly Register[] = ["eax", "ecx", "edx", "ebx"];

interface Bit {
  readonly leaf: number;
  readonly register: Register;
  readonly bit: number;
}

const bit = (leaf: number, register: Register, n: number): Bit => ({ leaf, register, bit: n });

/** Features that every CPU in 64-bit mode has, whatever CPUID says. */
const BASE: ReadonlySet<string> = new Set([
  "INTEL8086", "INTEL8086_ONLY", "INTEL186", "INTEL286", "INTEL286_ONLY", "INTEL386", "INTEL386_ONLY", "INTEL486",
  "X64", "CPUID", "MULTIBYTENOP", "PAUSE", "RDPMC", "HLE_OR_RTM",
]); // prettier-ignore

/** The others that this table knows; a feature that is not here is not promised. SDM Vol. 2, "CPUID". */
export const BITS: Readonly<Record<string, Bit>> = {
  FPU: bit(1, "edx", 0),
  FPU287: bit(1, "edx", 0),
  FPU387: bit(1, "edx", 0),
  TSC: bit(1, "edx", 4),
  MSR: bit(1, "edx", 5),
  CX8: bit(1, "edx", 8),
  SEP: bit(1, "edx", 11),
  CMOV: bit(1, "edx", 15),
  CLFSH: bit(1, "edx", 19),
  MMX: bit(1, "edx", 23),
  FXSR: bit(1, "edx", 24),
  SSE: bit(1, "edx", 25),
  SSE2: bit(1, "edx", 26),
  SSE3: bit(1, "ecx", 0),
  PCLMULQDQ: bit(1, "ecx", 1),
  MONITOR: bit(1, "ecx", 3),
  VMX: bit(1, "ecx", 5),
  SMX: bit(1, "ecx", 6),
  SSSE3: bit(1, "ecx", 9),
  FMA: bit(1, "ecx", 12),
  CMPXCHG16B: bit(1, "ecx", 13),
  SSE4_1: bit(1, "ecx", 19),
  SSE4_2: bit(1, "ecx", 20),
  MOVBE: bit(1, "ecx", 22),
  POPCNT: bit(1, "ecx", 23),
  AES: bit(1, "ecx", 25),
  XSAVE: bit(1, "ecx", 26),
  AVX: bit(1, "ecx", 28),
  F16C: bit(1, "ecx", 29),
  RDRAND: bit(1, "ecx", 30),
  FSGSBASE: bit(7, "ebx", 0),
  BMI1: bit(7, "ebx", 3),
  AVX2: bit(7, "ebx", 5),
  BMI2: bit(7, "ebx", 8),
  INVPCID: bit(7, "ebx", 10),
  RTM: bit(7, "ebx", 11),
  MPX: bit(7, "ebx", 14),
  RDSEED: bit(7, "ebx", 18),
  ADX: bit(7, "ebx", 19),
  SMAP: bit(7, "ebx", 20),
  CLFLUSHOPT: bit(7, "ebx", 23),
  CLWB: bit(7, "ebx", 24),
  SHA: bit(7, "ebx", 29),
  PKU: bit(7, "ecx", 3),
  WAITPKG: bit(7, "ecx", 5),
  CET_SS: bit(7, "ecx", 7),
  GFNI: bit(7, "ecx", 8),
  RDPID: bit(7, "ecx", 22),
  CLDEMOTE: bit(7, "ecx", 25),
  MOVDIRI: bit(7, "ecx", 27),
  MOVDIR64B: bit(7, "ecx", 28),
  SERIALIZE: bit(7, "edx", 14),
  CET_IBT: bit(7, "edx", 20),
  LAHF: bit(0x80000001, "ecx", 0),
  LZCNT: bit(0x80000001, "ecx", 5),
  SVM: bit(0x80000001, "ecx", 2),
  SSE4A: bit(0x80000001, "ecx", 6),
  PREFETCHW: bit(0x80000001, "ecx", 8),
  XOP: bit(0x80000001, "ecx", 11),
  TBM: bit(0x80000001, "ecx", 21),
  SYSCALL: bit(0x80000001, "edx", 11),
  RDTSCP: bit(0x80000001, "edx", 27),
  D3NOW: bit(0x80000001, "edx", 31),
};

/** CPUID as a program in the machine sees it. */
export class Promises {
  readonly #cpu = new EmulatedCpu();
  readonly #leaves = new Map<number, readonly bigint[]>();

  /** eax, ecx, edx and ebx of a leaf, sub-leaf 0. */
  leaf(n: number): readonly bigint[] {
    const known = this.#leaves.get(n);
    if (known) return known;
    const out = this.#cpu.run({
      code: Uint8Array.of(0x0f, 0xa2, 0xcc),
      codeOff: 0,
      regs: [BigInt(n), ...Array.from({ length: 15 }, () => 0n)],
      rflags: 2n,
      mxcsr: 0x1f80n,
      xmm: Array.from({ length: 32 }, () => 0n),
      fpu: NO_FPU,
      hot: new Uint8Array(0),
      rows: [],
      undefinedAt: [],
    });
    const regs = out.regs.slice(0, 4);
    this.#leaves.set(n, regs);
    return regs;
  }

  /** Whether a feature, by iced's name, is promised. */
  has(feature: string): boolean {
    if (BASE.has(feature)) return true;
    const b = BITS[feature];
    if (!b) return false;
    return ((this.register(b.leaf, b.register) >> BigInt(b.bit)) & 1n) === 1n;
  }

  /** One register of a leaf. */
  register(leaf: number, name: Register): bigint {
    return this.leaf(leaf)[REGISTERS.indexOf(name)] ?? 0n;
  }

  /** Whether all that an instruction needs is promised. */
  covers(i: Instruction): boolean {
    return featuresOf(i).every((f) => this.has(f));
  }
}

/** The features that an instruction needs, by iced's names; iced leaves out MMX and the FPU where later ones build on them. */
export function featuresOf(i: Instruction): readonly string[] {
  const name = Code[i.code] ?? "";
  const more = /_mm(_|m|$)/.test(name) ? ["MMX"] : name === "Wait" ? ["FPU"] : [];
  return [...[...i.cpuidFeatures()].map((f) => CpuidFeature[f] ?? "?"), ...more];
}

/** Where a feature shows in CPUID, for messages. */
export function bitName(feature: string): string {
  const b = BITS[feature];
  return b
    ? `CPUID.${b.leaf.toString(16).toUpperCase()}H:${b.register.toUpperCase()}[${b.bit}]`
    : feature;
}

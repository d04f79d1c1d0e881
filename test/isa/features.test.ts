// Every bit of CPUID that stands for instructions, with instructions of it: where the bit is up they execute, where it is
// down they are #UD. A bit that is up and has no instructions here fails.
import { describe, expect, test } from "vitest";
import { CR4, EFER } from "../../assembly/abi.ts";
import { EmulatedCpu } from "../machine/native/emulated.ts";
import { CODE, DATA, MXCSR_RESET, NO_FPU, NO_XMM, STACK } from "../machine/native/layout.ts";
import { BITS, Promises, bitName } from "./features.ts";

const CR4_FSGSBASE = 1n << 16n;
const EFER_SCE = 1n;
const RBX = DATA + 0x40n;

/** Instructions by feature, at CPL 3 or, behind "0:", at CPL 0; rax and rcx hold 0x10, rbx an address of 64 bytes. */
const SAMPLES: Readonly<Record<string, string>> = {
  FPU: "d9e8 dec1 9b",
  TSC: "0f31",
  MSR: "0:0f32",
  CX8: "0fc70b f00fc70b",
  SEP: "0f34 0:0f35",
  CMOV: "0f44c1 480f4f0b",
  CLFSH: "0fae3b",
  MMX: "0ffcc1 0f6f03 0f77",
  FXSR: "0fae03 480fae03",
  SSE: "0f58c1 f30f5803 0f2903",
  SSE2: "660f58c1 660ffec1 f20f1103",
  SSE3: "f20f7cc1 f20f1203 f20ff003",
  PCLMULQDQ: "660f3a44c100",
  MONITOR: "0:0f01c8 0:0f01c9",
  VMX: "0:0f01c4 0:0f01c2 0f7803",
  SMX: "0:0f37",
  SSSE3: "660f3800c1 660f3a0f0308",
  FMA: "c4e2f198c1",
  CMPXCHG16B: "480fc70b f0480fc70b",
  SSE4_1: "660f3840c1 660f3a09c100 660f3817c1",
  SSE4_2: "f20f38f1c1 660f3a63c10c 660f3837c1",
  MOVBE: "0f38f003 0f38f103",
  POPCNT: "f30fb8c1",
  AES: "660f38dcc1 660f3adfc100",
  XSAVE: "0fae23 0fae2b 0f01d0 0:0f01d1",
  AVX: "c5f458c1 c5f877",
  F16C: "c4e27913c1",
  RDRAND: "0fc7f0",
  FSGSBASE: "f3480faec0 f3480faecb f3480faed0 f3480faedb",
  BMI1: "c4e2f0f2c1 c4e2f0f3c9",
  AVX2: "c5f5fcc1",
  BMI2: "c4e2f0f5c1 c4e2fbf7c1",
  INVPCID: "0:660f388203",
  RTM: "c7f800000000",
  RDSEED: "0fc7f8",
  ADX: "660f38f6c1 f30f38f6c1",
  SMAP: "0:0f01cb 0:0f01ca",
  CLFLUSHOPT: "660fae3b",
  CLWB: "660fae33",
  SHA: "0f38c8c1 0f3accc100",
  PKU: "0f01ee",
  WAITPKG: "660faef1",
  CET_SS: "f30f01ea",
  GFNI: "660f38cfc1",
  RDPID: "f30fc7f8",
  MOVDIRI: "0f38f90b",
  MOVDIR64B: "660f38f80b",
  SERIALIZE: "0f01e8",
  LAHF: "9f 9e",
  LZCNT: "f30fbdc1",
  SVM: "0f01d9 0:0f01dc",
  SSE4A: "f20f79c1 f30f2b03",
  XOP: "8fe878a2c100",
  TBM: "8fe97801c8",
  SYSCALL: "0f05",
  RDTSCP: "0f01f9",
  D3NOW: "0f0fc19e 0f0e",
};

// Bits of features that are no instructions, or whose instructions are NOPs without them.
const OTHERS: Readonly<Record<string, string>> = {
  DE: "1 edx 2", PSE: "1 edx 3", PAE: "1 edx 6", MCE: "1 edx 7", APIC: "1 edx 9", MTRR: "1 edx 12", PGE: "1 edx 13",
  MCA: "1 edx 14", PAT: "1 edx 16", X2APIC: "1 ecx 21", TSC_DEADLINE: "1 ecx 24", HYPERVISOR: "1 ecx 31",
  TSC_ADJUST: "7 ebx 1", SMEP: "7 ebx 7", ERMS: "7 ebx 9", NO_FCS_FDS: "7 ebx 13", UMIP: "7 ecx 2", NX: "80000001 edx 20",
  PDPE1GB: "80000001 edx 26", LM: "80000001 edx 29", PREFETCHW: "80000001 ecx 8", CET_IBT: "7 edx 20",
  MPX: "7 ebx 14", CLDEMOTE: "7 ecx 25",
}; // prettier-ignore

/** What became of an instruction: undefined when it was done, else the vector. */
function execute(cpu: EmulatedCpu, hex: string): number | undefined {
  const ring0 = hex.startsWith("0:");
  const code = Uint8Array.from(Buffer.from(ring0 ? hex.slice(2) : hex, "hex"));
  const regs = Array.from({ length: 16 }, () => 0x10n);
  regs[3] = RBX;
  regs[4] = STACK + 0x1000n;
  cpu.prepare({
    code,
    codeOff: 0,
    regs,
    rflags: 2n,
    mxcsr: MXCSR_RESET,
    xmm: NO_XMM,
    fpu: NO_FPU,
    hot: new Uint8Array(0),
    rows: [],
    undefinedAt: [],
  });
  const m = cpu.machine;
  m.core.setU64(CR4, m.core.u64(CR4) | CR4_FSGSBASE);
  m.core.setU64(EFER, m.core.u64(EFER) | EFER_SCE);
  if (ring0) {
    m.setReg(0, "cpl", 0n);
    m.setReg(0, "cs", 0x10n);
    m.setReg(0, "ss", 0x18n);
  }
  m.run(0, 1);
  const rip = m.reg(0, "rip");
  if (rip === CODE + BigInt(code.length) || rip === 0n) return undefined; // LSTAR is 0
  if (rip === CODE) m.run(0, 1); // a fault was met and is delivered with the next unit of time
  return Number((m.reg(0, "rip") & 0xfffn) >> 4n);
}

describe("CPUID", () => {
  const promises = new Promises();
  const cpu = new EmulatedCpu();

  test.each(Object.entries(SAMPLES))("%s: %s", (feature, samples) => {
    const up = promises.has(feature);
    const seen = samples.split(" ").map((hex) => [hex, execute(cpu, hex)] as const);
    expect({ bit: bitName(feature), seen }).toEqual({
      bit: bitName(feature),
      seen: seen.map(([hex]) => [hex, up ? undefined : 6]),
    });
  });

  test("no bit is up that is neither here nor explained", () => {
    const known = new Set(Object.values(OTHERS));
    for (const [feature, b] of Object.entries(BITS)) {
      if (feature in SAMPLES) known.add(`${b.leaf.toString(16)} ${b.register} ${b.bit}`);
    }
    const unknown: string[] = [];
    for (const [leaf, registers] of [
      [1, ["ecx", "edx"]],
      [7, ["ebx", "ecx", "edx"]],
      [0x80000001, ["ecx", "edx"]],
    ] as const) {
      for (const register of registers) {
        const v = promises.register(leaf, register);
        for (let i = 0; i < 32; i++) {
          const name = `${leaf.toString(16)} ${register} ${i}`;
          if ((v >> BigInt(i)) & 1n && !known.has(name)) unknown.push(name);
        }
      }
    }
    expect(unknown).toEqual([]);
  });
});

// CPUID and the time-stamp counter. What is advertised here works, and what is not advertised is #UD or #GP; docs/isa.md
// lists the instructions. SDM Vol. 2, "CPUID", "RDTSC", "RDTSCP", "RDPID", "RDPMC".

import {
  CPL,
  CR4,
  CURRENT,
  MSR_APIC_BASE,
  NR_VCPUS,
  RAX,
  RBX,
  RCX,
  RDX,
  TSC_ADJUST,
  TSC_AUX,
  Vector,
} from "./abi";
import { cetBits } from "./cet";
import { Operand } from "./operand";
import { fault, the, timeAt } from "./state";

const CR4_TSD: u64 = 4;

const MAX_LEAF: u32 = 0xb;
const MAX_EXTENDED: u32 = 0x80000008;

function answer(a: u32, b: u32, c: u32, d: u32): bool {
  store<u64>(RAX, <u64>a);
  store<u64>(RBX, <u64>b);
  store<u64>(RCX, <u64>c);
  store<u64>(RDX, <u64>d);
  return true;
}

/** Leaf 1: FPU PSE TSC MSR PAE MCE CX8 APIC MTRR PGE MCA CMOV PAT CLFSH MMX FXSR SSE SSE2, DE. */
const FEATURES_D: u32 =
  (1 << 0) |
  (1 << 2) |
  (1 << 3) |
  (1 << 4) |
  (1 << 5) |
  (1 << 6) |
  (1 << 7) |
  (1 << 8) |
  (1 << 9) |
  (1 << 12) |
  (1 << 13) |
  (1 << 14) |
  (1 << 15) |
  (1 << 16) |
  (1 << 19) |
  (1 << 23) |
  (1 << 24) |
  (1 << 25) |
  (1 << 26);
/** SSE3 SSSE3 CX16 SSE4.1 SSE4.2 x2APIC MOVBE POPCNT TSC-deadline, and that this is no hardware. */
const FEATURES_C: u32 =
  (1 << 0) |
  (1 << 9) |
  (1 << 13) |
  (1 << 19) |
  (1 << 20) |
  (1 << 21) |
  (1 << 22) |
  (1 << 23) |
  (1 << 24) |
  ((<u32>1) << 31);
/** Leaf 7: FSGSBASE TSC_ADJUST SMEP ERMS, no FCS and FDS, SMAP; UMIP RDPID; SERIALIZE. */
const FEATURES7_B: u32 = (1 << 0) | (1 << 1) | (1 << 7) | (1 << 9) | (1 << 13) | (1 << 20);
const FEATURES7_C: u32 = (1 << 2) | (1 << 22);
const FEATURES7_D: u32 = 1 << 14;
/** Leaf 0x80000001: LAHF LZCNT PREFETCHW; SYSCALL NX 1G pages RDTSCP long mode. */
const EXTENDED_C: u32 = (1 << 0) | (1 << 5) | (1 << 8);
const EXTENDED_D: u32 = (1 << 11) | (1 << 20) | (1 << 26) | (1 << 27) | (1 << 29);

export function cpuid(up: usize): bool {
  let leaf = load<u32>(RAX);
  const sub = load<u32>(RCX);
  const id = load<u32>(CURRENT);
  const nr = load<u32>(NR_VCPUS);
  // A leaf behind the last one is the last basic one; those of hypervisors are there and empty.
  if (leaf > MAX_EXTENDED || (leaf > MAX_LEAF && leaf < 0x40000000)) leaf = MAX_LEAF;
  if (leaf == 0) return answer(MAX_LEAF, 0x756e6547, 0x6c65746e, 0x49656e69); // GenuineIntel
  if (leaf == 1) {
    const apic = load<u64>(MSR_APIC_BASE) & 0x800 ? FEATURES_D : FEATURES_D & ~(<u32>0x200);
    return answer(0x000106a0, (id << 24) | (nr << 16) | 0x800, FEATURES_C, apic);
  }
  if (leaf == 7 && sub == 0) {
    const cet: u32 = cetBits() ? 1 << 20 : 0; // CET_IBT
    return answer(0, FEATURES7_B, FEATURES7_C, FEATURES7_D | cet);
  }
  if (leaf == 0xb) {
    // One thread in a core, all cores in a package.
    if (sub == 0) return answer(0, 1, 0x100, id);
    if (sub == 1) return answer(3, nr, 0x201, id);
    return answer(0, 0, sub & 0xff, id);
  }
  if (leaf == 0x80000000) return answer(MAX_EXTENDED, 0, 0, 0);
  if (leaf == 0x80000001) return answer(0, 0, EXTENDED_C, EXTENDED_D);
  if (leaf == 0x80000002) return answer(0x65697571, 0x20656373, 0x55504376, 0); // "quiesce vCPU"
  if (leaf == 0x80000007) return answer(0, 0, 0, 0x100);
  if (leaf == 0x80000008) return answer(0x3028, 0, 0, 0);
  return answer(0, 0, 0, 0);
}

export function rdtsc(up: usize): bool {
  if (load<u64>(CR4) & CR4_TSD && load<i32>(CPL)) return fault(Vector.GP, 0);
  const t = timeAt(up) + load<u64>(TSC_ADJUST);
  store<u64>(RAX, t & 0xffffffff);
  store<u64>(RDX, t >> 32);
  return true;
}

export function rdtscp(up: usize): bool {
  if (!rdtsc(up)) return false;
  store<u64>(RCX, load<u64>(TSC_AUX) & 0xffffffff);
  return true;
}

/** RDPID. */
export function rdpid<D extends Operand, T>(up: usize): bool {
  the<D>().put<T>(the<D>().at<T>(up, 1), <i64>(load<u64>(TSC_AUX) & 0xffffffff));
  return true;
}

/** RDPMC: there are no counters, so every number of one is wrong. */
export function rdpmc(up: usize): bool {
  return fault(Vector.GP, 0);
}

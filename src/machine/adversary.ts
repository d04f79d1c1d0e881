// The adversarial options of a machine: what real CPUs may do and the plain machine does not. All are off by default, cost
// nothing then, and are drawn from a seed, so that a run with them is as repeatable as one without.
import {
  ADVERSARY,
  ADVERSARY_SIZE,
  ADV_RANDOM,
  ADV_TAGS,
  CAREFUL,
  CAREFUL_SPLIT,
  CAREFUL_STALE,
  CAREFUL_STORES,
  CAREFUL_TLB,
  CPU,
  CURRENT,
  SAVE,
  VCPU_SIZE,
} from "../../assembly/abi.ts";
import type { Core } from "./core.ts";

export interface Adversary {
  /** Each vCPU goes on executing the bytes that it has fetched until it serializes. */
  readonly staleCode?: boolean;
  /** Each vCPU has a first-in first-out store buffer (TSO); off, memory is sequentially consistent. */
  readonly storeBuffer?: boolean;
  /** Other vCPUs may come between the load and the store of an unlocked read-modify-write. */
  readonly splitRmw?: boolean;
  /** Each vCPU uses a translation until it is invalidated, whatever became of the page-table entry. */
  readonly staleTlb?: boolean;
  readonly seed?: number;
}

export function isAdverse(a: Adversary): boolean {
  return (
    a.staleCode === true || a.storeBuffer === true || a.splitRmw === true || a.staleTlb === true
  );
}

/** Splitmix64, so that neighbouring seeds and vCPUs have nothing in common. Steele, Lea and Flood 2014. */
function scatter(n: bigint): bigint {
  let z = BigInt.asUintN(64, n * 0x9e3779b97f4a7c15n);
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}

/** Switches the options of all vCPUs, once, before they run. */
export function setAdversary(core: Core, nrVcpus: number, a: Adversary): void {
  if (!isAdverse(a)) return;
  const bits =
    (a.staleCode ? CAREFUL_STALE : 0) |
    (a.storeBuffer ? CAREFUL_STORES : 0) |
    (a.splitRmw ? CAREFUL_SPLIT : 0) |
    (a.staleTlb ? CAREFUL_TLB : 0);
  const seed = BigInt(a.seed ?? 1);
  for (let v = 0; v < nrVcpus; v++) {
    core.setU32(SAVE + v * VCPU_SIZE + CAREFUL - CPU, bits);
    const at = ADVERSARY + v * ADVERSARY_SIZE;
    core.bytes().fill(0, at, at + ADVERSARY_SIZE);
    core.bytes().fill(0xff, at + ADV_TAGS, at + ADV_TAGS + 0x200);
    core.setU64(at + ADV_RANDOM, scatter(seed * 8n + BigInt(v) + 1n) | 1n);
  }
  if (core.u32(CURRENT) !== 0) throw new Error("machine: options are set before it runs");
  core.setU32(CAREFUL, bits);
}

// Snapshots over the core's base snapshot: a snapshot is the state blocks plus the pages that differ from the base, so
// taking and restoring one costs what was written since. Watches and the host's own bookkeeping are not part of it.
import {
  ADVERSARY,
  ADVERSARY_SIZE,
  APIC,
  CC_A,
  CC_B,
  CC_OP,
  CC_R,
  CPU,
  CURRENT,
  DIRTY_LIST,
  GRANT,
  JUMPS,
  LOG_COUNT,
  NR_DIRTY,
  NR_TRACKED,
  RAM,
  RIP_PAGE,
  SAVE,
  SAVE_END,
  SAVE_NEXT,
  SNAP_ON,
  SYS,
  SYS_SIZE,
  TLB_R,
  VCPU_SIZE,
  APIC_SIZE,
  INSNS,
  EXIT_RIP,
} from "../../assembly/abi.ts";
import { HOST_PAGE, type Core } from "./core.ts";
import type { DeviceBus } from "./device.ts";

export interface Snapshot {
  /** Which base it belongs to. */
  readonly base: number;
  readonly cpus: Uint8Array;
  readonly apics: Uint8Array;
  /** Registers of each vCPU that only MSRs reach. */
  readonly sys: Uint8Array;
  readonly devices: readonly Uint8Array[];
  /** Store buffers and fetched lines, where there are any. */
  readonly adverse: Uint8Array;
  readonly counters: Uint8Array;
  /** Pages that differ from the base, by number from the start of RAM. */
  readonly pages: ReadonlyMap<number, Uint8Array>;
}

export class SnapshotStore {
  readonly #core: Core;
  readonly #cpuBytes: number;
  readonly #apicBytes: number;
  readonly #sysBytes: number;
  readonly #bus: DeviceBus;
  readonly #adverseBytes: number;
  #base = 0;

  constructor(core: Core, nrVcpus: number, bus: DeviceBus, adverse: boolean) {
    this.#core = core;
    this.#bus = bus;
    this.#adverseBytes = adverse ? nrVcpus * ADVERSARY_SIZE : 0;
    this.#sysBytes = nrVcpus * SYS_SIZE;
    this.#cpuBytes = nrVcpus * VCPU_SIZE;
    this.#apicBytes = nrVcpus * APIC_SIZE;
  }

  /** The active vCPU's block is stored in its place in SAVE, so that a snapshot has one layout. */
  #settle(): number {
    const c = this.#core;
    const current = c.u32(CURRENT);
    c.bytes().copyWithin(SAVE + current * VCPU_SIZE, CPU, CPU + VCPU_SIZE);
    return current;
  }

  take(): Snapshot {
    const c = this.#core;
    if (c.u32(SNAP_ON) === 0) {
      c.setU32(SAVE_NEXT, c.size);
      c.setU32(SAVE_END, c.size);
      c.exports.snapBase();
      this.#base++;
    }
    this.#settle();
    const b = c.bytes();
    const pages = new Map<number, Uint8Array>();
    const n = c.u32(NR_DIRTY);
    for (let i = 0; i < n; i++) {
      const page = c.u32(DIRTY_LIST + i * 4);
      const at = RAM + page * 4096;
      pages.set(page, b.slice(at, at + 4096));
    }
    return {
      base: this.#base,
      cpus: b.slice(SAVE, SAVE + this.#cpuBytes),
      apics: b.slice(APIC, APIC + this.#apicBytes),
      sys: b.slice(SYS, SYS + this.#sysBytes),
      devices: this.#bus.save(),
      adverse: b.slice(ADVERSARY, ADVERSARY + this.#adverseBytes),
      counters: b.slice(INSNS, EXIT_RIP),
      pages,
    };
  }

  restore(s: Snapshot): void {
    const c = this.#core;
    if (s.base !== this.#base) throw new Error("machine: the snapshot belongs to another base");
    c.exports.snapBack();
    for (const [page, bytes] of s.pages) {
      c.bytes().set(bytes, HOST_PAGE);
      c.exports.snapPage(page, HOST_PAGE);
    }
    const b = c.bytes();
    b.set(s.cpus, SAVE);
    b.set(s.apics, APIC);
    b.set(s.sys, SYS);
    b.set(s.adverse, ADVERSARY);
    this.#bus.restore(s.devices);
    this.#restoreCounters(s.counters);
    const current = c.u32(CURRENT);
    b.copyWithin(CPU, SAVE + current * VCPU_SIZE, SAVE + (current + 1) * VCPU_SIZE);
    c.exports.restored();
  }

  /** Of the machine's words only those that are the guest's go back; caches, lists and areas stay. */
  #restoreCounters(stored: Uint8Array): void {
    const c = this.#core;
    const v = new DataView(stored.buffer, stored.byteOffset);
    c.setU64(INSNS, v.getBigUint64(0, true));
    c.setU32(CURRENT, v.getUint32(CURRENT - INSNS, true));
    c.setU32(LOG_COUNT, v.getUint32(LOG_COUNT - INSNS, true));
    c.setU64(GRANT, 0n);
  }

  hash(): bigint {
    const c = this.#core;
    this.#settle();
    let h = 0xcbf29ce484222325n;
    h = c.exports.hash(h, RAM, c.u32(NR_TRACKED) * 4096);
    const v = new DataView(c.bytes().buffer);
    // Caches and lazy flags have many forms of one meaning: they are left out, and flags come in as bits.
    const skip = new Set([RIP_PAGE, CC_OP, CC_R, CC_A, CC_B, TLB_R, JUMPS].map((a) => a - CPU));
    const current = c.u32(CURRENT);
    for (let at = 0; at < this.#cpuBytes; at += VCPU_SIZE) {
      c.exports.activate(at / VCPU_SIZE);
      h = mix(h, BigInt(c.exports.arithmetic()));
      for (let i = 0; i < VCPU_SIZE; i += 8) {
        if (!skip.has(i)) h = mix(h, v.getBigUint64(CPU + i, true));
      }
    }
    c.exports.activate(current);
    for (let i = 0; i < this.#apicBytes; i += 8) h = mix(h, v.getBigUint64(APIC + i, true));
    for (let i = 0; i < this.#sysBytes; i += 8) h = mix(h, v.getBigUint64(SYS + i, true));
    h = BigInt.asUintN(64, c.exports.hash(h, ADVERSARY, this.#adverseBytes));
    for (const state of this.#bus.save()) for (const byte of state) h = mix(h, BigInt(byte));
    return BigInt.asUintN(64, h);
  }
}

function mix(h: bigint, w: bigint): bigint {
  return BigInt.asUintN(64, (h ^ w) * 0x100000001b3n);
}

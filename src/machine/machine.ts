// The machine as the rest of the project sees it: vCPUs with registers, guest memory by physical and virtual address,
// exact runs, watches, snapshots. It knows x86 and no kernel; which stacks exist it is told.
import {
  APIC,
  APIC_SIZE,
  A_END,
  A_KIND,
  A_META,
  A_SHADOW,
  A_SIZE,
  A_START,
  CC_OP,
  CET,
  CPL,
  CPU,
  CR0,
  CR2,
  CR3,
  CR4,
  DR0,
  CURRENT,
  EFER,
  EFL,
  EXIT,
  EXIT_ARG,
  Exit,
  FS_BASE,
  GS_BASE,
  HALTED,
  INSNS,
  KERNEL_GS_BASE,
  LOG,
  LOG_COUNT,
  LOG_SIZE,
  MAX_STACK_AREAS,
  MAX_TRACKED,
  MAX_VCPUS,
  MAX_WATCHES,
  NR_STACK_AREAS,
  NR_TRACKED,
  NR_WATCHES,
  P_DEADLINE,
  P_IRR,
  P_NMI,
  P_SENT,
  RAM,
  RAM_SIZE,
  RAX,
  RETIRED,
  RIP,
  SAVE,
  SEG_CS,
  SEG_SS,
  STACK_AREAS,
  STACK_AREA_SIZE,
  STACK_META_SIZE,
  TIME,
  VCPU_SIZE,
  WATCH,
  WATCH_SIZE,
  W_HI,
  W_ID,
  W_KIND,
  W_LO,
  W_OFF,
  W_REG,
  Watch,
} from "../../assembly/abi.ts";
import { isAdverse, setAdversary, type Adversary } from "./adversary.ts";
import { Core, HOST_PAGE } from "./core.ts";
import { DeviceBus, type Device } from "./device.ts";
import { RecordLog, type LogRecord } from "./record-log.ts";
import { SnapshotStore, type Snapshot } from "./snapshot.ts";

/** Stacks of equal size, aligned to it, in [start, end). Per-CPU stacks are entered from another one. */
export interface StackArea {
  readonly start: bigint;
  readonly end: bigint;
  readonly size: bigint;
  readonly kind: "task" | "percpu";
}

export interface MachineConfig {
  readonly core: WebAssembly.Module;
  readonly ramBytes: number;
  readonly nrVcpus: number;
  readonly stackAreas: readonly StackArea[];
  /** What answers to ports and to addresses behind the RAM; nothing if left out. */
  readonly devices?: readonly Device[];
  /** What the vCPUs may do besides the simplest; nothing if left out. */
  readonly adversary?: Adversary;
  /** Whether the CPUs have CET's indirect branch tracking. */
  readonly cet?: boolean;
}

export const REGISTERS = [
  "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
  "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
] as const; // prettier-ignore
export type GeneralRegister = (typeof REGISTERS)[number];
const REGISTER_NUMBERS: ReadonlyMap<string, number> = new Map(REGISTERS.map((r, i) => [r, i]));

const SPECIAL = {
  rip: RIP,
  cr0: CR0,
  cr2: CR2,
  cr3: CR3,
  cr4: CR4,
  dr6: DR0 + 6 * 8,
  efer: EFER,
  cpl: CPL,
  fs_base: FS_BASE,
  gs_base: GS_BASE,
  kernel_gs_base: KERNEL_GS_BASE,
  time: TIME,
  retired: RETIRED,
} as const;
const SELECTORS = { cs: SEG_CS, ss: SEG_SS } as const;
export type Register = GeneralRegister | keyof typeof SPECIAL | keyof typeof SELECTORS | "rflags";

export type ExitReason =
  "none" | "halt" | "vmcall" | "shutdown" | "stop" | "log_full" | "unsupported";
const EXIT_NAMES: Readonly<Record<number, ExitReason>> = {
  [Exit.None]: "none",
  [Exit.Halt]: "halt",
  [Exit.Vmcall]: "vmcall",
  [Exit.Shutdown]: "shutdown",
  [Exit.Stop]: "stop",
  [Exit.LogFull]: "log_full",
  [Exit.Unsupported]: "unsupported",
};

export interface RunOutcome {
  /** Virtual time used: instructions, deliveries of events, waiting. */
  readonly used: number;
  readonly exit: ExitReason;
  readonly arg: bigint;
}

export type WatchKind = "entry" | "range" | "frame" | "new_stack" | "stop";
const WATCH_KINDS: Readonly<Record<WatchKind, number>> = {
  entry: Watch.Entry,
  range: Watch.Range,
  frame: Watch.Frame,
  new_stack: Watch.NewStack,
  stop: Watch.Stop,
};

export interface WatchSpec {
  readonly kind: WatchKind;
  readonly lo: bigint;
  /** End of a range; for the other kinds the label is `lo`. */
  readonly hi?: bigint;
  /** Number that log records and stops carry. */
  readonly id?: number;
  /** For frames: register number and offset of the slot. */
  readonly reg?: number;
  readonly offset?: number;
}

/** An access to an address that nothing maps. */
export class UnmappedError extends Error {
  readonly va: bigint;
  constructor(va: bigint) {
    super(`guest memory at 0x${va.toString(16)} is not mapped`);
    this.name = "UnmappedError";
    this.va = va;
  }
}

export class Machine {
  readonly core: Core;
  readonly config: MachineConfig;
  readonly #snapshots: SnapshotStore;

  constructor(config: MachineConfig) {
    if (!Number.isInteger(config.nrVcpus) || config.nrVcpus < 1 || config.nrVcpus > MAX_VCPUS) {
      throw new RangeError(`vcpus: ${config.nrVcpus} is not a whole number from 1 to ${MAX_VCPUS}`);
    }
    if (config.stackAreas.length > MAX_STACK_AREAS) {
      throw new RangeError(`stack areas: ${config.stackAreas.length}, at most ${MAX_STACK_AREAS}`);
    }
    this.config = config;
    const ram = Math.ceil(config.ramBytes / 4096) * 4096;
    let end = RAM + ram;
    const areas = config.stackAreas.map((a) => {
      const shadow = end;
      end += Number(a.end - a.start) * 2;
      return { area: a, shadow };
    });
    const metas = areas.map(({ area }) => {
      const meta = end;
      end += Number((area.end - area.start) / area.size) * STACK_META_SIZE;
      return meta;
    });
    end = Math.ceil(end / 4096) * 4096;
    const tracked = (end - RAM) / 4096;
    if (tracked > MAX_TRACKED) {
      throw new RangeError(`RAM and stacks take ${tracked} pages, at most ${MAX_TRACKED}`);
    }
    const bus = new DeviceBus(config.devices ?? []);
    this.core = new Core(config.core, end, bus);
    const c = this.core;
    c.setU64(RAM_SIZE, BigInt(ram));
    c.setU32(NR_TRACKED, tracked);
    c.setU32(NR_STACK_AREAS, areas.length);
    areas.forEach(({ area, shadow }, i) => {
      const at = STACK_AREAS + i * STACK_AREA_SIZE;
      c.setU64(at + A_START, area.start);
      c.setU64(at + A_END, area.end);
      c.setU64(at + A_SIZE, area.size);
      c.setU32(at + A_KIND, area.kind === "percpu" ? 1 : 0);
      c.setU32(at + A_SHADOW, shadow);
      c.setU32(at + A_META, metas[i] ?? 0);
    });
    c.exports.reset(config.nrVcpus);
    setAdversary(c, config.nrVcpus, config.adversary ?? {});
    c.setU32(CET, config.cet === true ? 1 : 0);
    this.#snapshots = new SnapshotStore(c, config.nrVcpus, bus, isAdverse(config.adversary ?? {}));
    bus.devices.forEach((d) => d.connect?.(this));
  }

  get nrVcpus(): number {
    return this.config.nrVcpus;
  }

  /** Instructions retired on all vCPUs since the machine was made. */
  get retired(): number {
    return this.core.word(INSNS);
  }

  /** Wasm address of a vCPU's state block. */
  stateOf(vcpu: number): number {
    if (vcpu < 0 || vcpu >= this.nrVcpus) throw new RangeError(`no vCPU ${vcpu}`);
    return this.core.u32(CURRENT) === vcpu ? CPU : SAVE + vcpu * VCPU_SIZE;
  }

  reg(vcpu: number, name: Register): bigint {
    const at = this.stateOf(vcpu) - CPU;
    const i = REGISTER_NUMBERS.get(name);
    if (i !== undefined) return this.core.u64(at + RAX + i * 8);
    if (name === "rflags") {
      this.core.exports.activate(vcpu);
      return this.core.u64(EFL) | BigInt(this.core.exports.arithmetic()) | 2n;
    }
    if (name === "cs" || name === "ss") {
      return BigInt(this.core.view().getUint16(at + SELECTORS[name], true));
    }
    return this.core.u64(at + SPECIAL[name as keyof typeof SPECIAL]);
  }

  setReg(vcpu: number, name: Register, value: bigint): void {
    const i = REGISTER_NUMBERS.get(name);
    if (i !== undefined) {
      this.core.setU64(this.stateOf(vcpu) - CPU + RAX + i * 8, value);
      return;
    }
    this.core.exports.activate(vcpu);
    if (name === "rflags") {
      this.core.setU64(EFL, value & ~0x8d5n);
      this.core.exports.setArithmetic(Number(value & 0x8d5n));
      this.core.setU32(CC_OP, 0);
    } else if (name === "cs" || name === "ss") {
      this.core.view().setUint16(SELECTORS[name], Number(value), true);
    } else {
      this.core.setU64(SPECIAL[name as keyof typeof SPECIAL], value);
    }
    this.core.exports.refresh();
  }

  /** A vCPU's virtual time. */
  time(vcpu: number): number {
    return this.core.word(this.stateOf(vcpu) - CPU + TIME);
  }

  halted(vcpu: number): boolean {
    return this.core.u32(this.stateOf(vcpu) - CPU + HALTED) !== 0;
  }

  /** Runs one vCPU for up to `n` units of virtual time. */
  run(vcpu: number, n: number): RunOutcome {
    const core = this.core;
    core.exports.activate(vcpu);
    const used = core.run(n);
    const exit = core.u32(EXIT);
    if (exit === Exit.None) return { used, exit: "none", arg: 0n };
    return { used, exit: EXIT_NAMES[exit] ?? "none", arg: core.u64(EXIT_ARG) };
  }

  /** Advances a vCPU's clock by modelled work. */
  charge(vcpu: number, insns: number): void {
    const at = this.stateOf(vcpu) - CPU + TIME;
    this.core.setU64(at, this.core.u64(at) + BigInt(insns));
  }

  /** Virtual time until the earliest timer of any vCPU, undefined when none is armed. */
  untilTimer(): number | undefined {
    const t = BigInt.asUintN(64, this.core.exports.untilTimer());
    return t === 0xffffffffffffffffn ? undefined : Number(t);
  }

  /** The virtual time at which a vCPU's timer fires, undefined when it is not armed. */
  timer(vcpu: number): number | undefined {
    const t = this.core.u64(APIC + vcpu * APIC_SIZE + P_DEADLINE);
    return t === 0xffffffffffffffffn ? undefined : Number(t);
  }

  /** An external interrupt for a vCPU's local APIC, as a device raises it. */
  interrupt(vcpu: number, vector: number): void {
    const at = APIC + vcpu * APIC_SIZE + P_IRR + (vector >> 6) * 8;
    this.core.setU64(at, this.core.u64(at) | (1n << BigInt(vector & 63)));
  }

  /** A non-maskable interrupt for a vCPU, taken before its next instruction unless it is in one. */
  nmi(vcpu: number): void {
    this.core.setU32(APIC + vcpu * APIC_SIZE + P_NMI, 1);
  }

  /** IPIs that a vCPU's APIC has sent. */
  ipisSent(vcpu: number): number {
    return Number(this.core.u64(APIC + vcpu * APIC_SIZE + P_SENT));
  }

  /** Physical address that `vcpu` would reach at `va`, without regard to rights. */
  translate(va: bigint, vcpu = 0): bigint | undefined {
    this.core.exports.activate(vcpu);
    const pa = BigInt.asUintN(64, this.core.exports.peekPa(BigInt.asIntN(64, va)));
    return pa === 0xffffffffffffffffn ? undefined : pa;
  }

  /** Reads guest physical memory; RAM only. */
  readPhys(pa: bigint, n: number): Uint8Array {
    if (pa < 0n || pa + BigInt(n) > this.core.u64(RAM_SIZE)) {
      throw new RangeError(`physical 0x${pa.toString(16)} + ${n} is outside of RAM`);
    }
    const at = RAM + Number(pa);
    return this.core.bytes().slice(at, at + n);
  }

  /** Writes guest physical memory as another agent on the bus would: decoded code under it goes stale at once. */
  writePhys(pa: bigint, bytes: Uint8Array): void {
    if (pa < 0n || pa + BigInt(bytes.length) > this.core.u64(RAM_SIZE)) {
      throw new RangeError(`physical 0x${pa.toString(16)} + ${bytes.length} is outside of RAM`);
    }
    for (let i = 0; i < bytes.length; i += 4096) {
      const part = bytes.length <= 4096 ? bytes : bytes.subarray(i, i + 4096);
      this.core.bytes().set(part, HOST_PAGE);
      this.core.exports.hostWrite(pa + BigInt(i), HOST_PAGE, part.length);
    }
  }

  /** The wasm address of `n` bytes of one page. Throws UnmappedError. */
  #hostOf(va: bigint, n: number, vcpu: number): number {
    const pa = this.translate(va, vcpu);
    if (pa === undefined || pa + BigInt(n) > this.core.u64(RAM_SIZE)) throw new UnmappedError(va);
    return RAM + Number(pa);
  }

  /** Reads guest memory through the page tables of `vcpu`. Throws UnmappedError. */
  read(va: bigint, n: number, vcpu = 0): Uint8Array {
    if (Number(va & 4095n) + n <= 4096) {
      const from = this.#hostOf(BigInt.asUintN(64, va), n, vcpu);
      return this.core.bytes().slice(from, from + n);
    }
    const out = new Uint8Array(n);
    for (let i = 0; i < n;) {
      const at = BigInt.asUintN(64, va + BigInt(i));
      const room = Math.min(n - i, 4096 - Number(at & 4095n));
      const from = this.#hostOf(at, room, vcpu);
      out.set(this.core.bytes().subarray(from, from + room), i);
      i += room;
    }
    return out;
  }

  /** Writes through the page tables without regard to rights, as text_poke's alias mapping lets the kernel do. */
  write(va: bigint, bytes: Uint8Array, vcpu = 0): void {
    for (let i = 0; i < bytes.length;) {
      const at = BigInt.asUintN(64, va + BigInt(i));
      const room = Math.min(bytes.length - i, 4096 - Number(at & 4095n));
      const pa = this.translate(at, vcpu);
      if (pa === undefined) throw new UnmappedError(at);
      // A part of an array has a buffer of its own made for it, which many small writes would keep.
      this.writePhys(pa, room === bytes.length ? bytes : bytes.subarray(i, i + room));
      i += room;
    }
  }

  read64(va: bigint, vcpu = 0): bigint {
    const b = this.read(va, 8, vcpu);
    return new DataView(b.buffer).getBigUint64(0, true);
  }

  read32(va: bigint, vcpu = 0): number {
    const b = this.read(va, 4, vcpu);
    return new DataView(b.buffer).getUint32(0, true);
  }

  write64(va: bigint, v: bigint, vcpu = 0): void {
    const b = new Uint8Array(8);
    new DataView(b.buffer).setBigUint64(0, BigInt.asUintN(64, v), true);
    this.write(va, b, vcpu);
  }

  write32(va: bigint, v: number, vcpu = 0): void {
    const b = new Uint8Array(4);
    new DataView(b.buffer).setUint32(0, v >>> 0, true);
    this.write(va, b, vcpu);
  }

  /** Sets a watch and answers its handle. Throws when all are taken. */
  watch(spec: WatchSpec): number {
    const c = this.core;
    let i = 0;
    while (i < c.u32(NR_WATCHES) && c.u32(WATCH + i * WATCH_SIZE + W_KIND) !== 0) i++;
    if (i >= MAX_WATCHES) throw new RangeError(`more than ${MAX_WATCHES} watches`);
    if (i === c.u32(NR_WATCHES)) c.setU32(NR_WATCHES, i + 1);
    const at = WATCH + i * WATCH_SIZE;
    const hi = spec.hi ?? spec.lo + 1n;
    c.setU64(at + W_LO, spec.lo);
    c.setU64(at + W_HI, hi);
    c.setU32(at + W_KIND, WATCH_KINDS[spec.kind]);
    c.setU32(at + W_ID, spec.id ?? 0);
    c.view().setInt32(at + W_REG, spec.reg ?? 0, true);
    c.view().setInt32(at + W_OFF, spec.offset ?? 0, true);
    c.exports.watchChanged(BigInt.asIntN(64, spec.lo), BigInt.asIntN(64, hi));
    return i;
  }

  unwatch(handle: number): void {
    const at = WATCH + handle * WATCH_SIZE;
    const c = this.core;
    c.setU32(at + W_KIND, 0);
    c.exports.watchChanged(
      BigInt.asIntN(64, c.u64(at + W_LO)),
      BigInt.asIntN(64, c.u64(at + W_HI)),
    );
  }

  /** Takes the log records that have come together and empties the buffer. */
  drainLog(): LogRecord[] {
    const log = new RecordLog();
    this.drainInto(log);
    return [...log];
  }

  /** Moves the log records that have come together to the end of a log. */
  drainInto(log: RecordLog): void {
    const c = this.core;
    log.append(c.bytes().subarray(LOG, LOG + c.u32(LOG_COUNT) * LOG_SIZE));
    c.setU32(LOG_COUNT, 0);
  }

  /** Stores the whole state. The first snapshot becomes the base; later ones store what differs from it. */
  snapshot(): Snapshot {
    return this.#snapshots.take();
  }

  restore(s: Snapshot): void {
    this.#snapshots.restore(s);
  }

  /** A hash of RAM, shadow and all vCPUs' architectural state, for comparing runs. */
  stateHash(): bigint {
    return this.#snapshots.hash();
  }
}

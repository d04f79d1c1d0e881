// The seam to the wasm core: instantiation, typed access to its memory, and its exported functions under their names.
// The only file that casts what WebAssembly hands out. Everything above it speaks of vCPUs and addresses.
import { ARENA_END } from "../../assembly/abi.ts";
import { DeviceBus, type Bus } from "./device.ts";

/** What the core exports, with wasm's own types: i64 is bigint, i32 and addresses are number. */
export interface CoreExports {
  reset(nrVcpus: number): void;
  activate(vcpu: number): void;
  run(n: bigint): bigint;
  runShort(n: number): number;
  refresh(): void;
  peekPa(va: bigint): bigint;
  hostWrite(pa: bigint, from: number, n: number): void;
  watchChanged(lo: bigint, hi: bigint): void;
  flushCode(): void;
  snapBase(): void;
  snapBack(): void;
  snapPage(page: number, from: number): void;
  restored(): void;
  touch(p: number): void;
  hash(seed: bigint, from: number, bytes: number): bigint;
  decodeLength(p: number, limit: number): number;
  decodedRow(): number;
  untilTimer(): bigint;
  arithmetic(): number;
  setArithmetic(flags: number): void;
}

/** Scratch bytes for hostWrite and snapPage: one page, above the bounce buffers. */
export const HOST_PAGE = 0xd000;

/** The custom section of core.wasm that scripts/asc.mjs adds. */
const ISA_TABLES = "isa.tables";

/**
 * What V8 has to be told before it compiles the core, as flags of node or for `v8.setFlagsFromString`. The interpreter's switch is
 * one large function. V8 counts the bytes that its loop jumps back over and would begin to optimize it within some hundred
 * instructions, and a program that ends sooner than that compilation has to wait for it: with this budget it begins some
 * milliseconds later. And for a function that large it would take a simpler register allocation, in which every value lives in
 * memory. Where it rotates a loop, the loop's head, which every micro-op comes by, is left unaligned. Without the flags everything
 * works, more slowly.
 */
export const ENGINE_FLAGS = [
  "--wasm-tiering-budget=500000000",
  "--no-turbo-use-mid-tier-regalloc-for-huge-functions",
  "--no-turbo-loop-rotation",
];

export class Core {
  readonly exports: CoreExports;
  readonly #memory: WebAssembly.Memory;
  #bytes: Uint8Array;
  #view: DataView;

  /** `bytes` is the size of the wasm memory that the machine needs from the start. */
  constructor(module: WebAssembly.Module, bytes: number, bus: Bus = new DeviceBus([])) {
    const pages = Math.ceil(Math.max(bytes, ARENA_END) / 65536);
    this.#memory = new WebAssembly.Memory({ initial: pages, maximum: 65536 });
    const instance = new WebAssembly.Instance(module, {
      env: { memory: this.#memory, abort },
      host: {
        portRead: bus.portRead.bind(bus),
        portWrite: bus.portWrite.bind(bus),
        busRead: bus.busRead.bind(bus),
        busWrite: bus.busWrite.bind(bus),
      },
    });
    this.exports = instance.exports as unknown as CoreExports;
    this.#bytes = new Uint8Array(this.#memory.buffer);
    this.#view = new DataView(this.#memory.buffer);
    this.#loadTables(module);
  }

  /** The instruction table that the build packed into the module: address, length, bytes, again and again. */
  #loadTables(module: WebAssembly.Module): void {
    const [section] = WebAssembly.Module.customSections(module, ISA_TABLES);
    if (section === undefined) {
      throw new Error(`core.wasm has no section ${ISA_TABLES}, expected one from the build`);
    }
    const view = new DataView(section);
    for (let p = 0; p < section.byteLength;) {
      const length = view.getUint32(p + 4, true);
      this.#bytes.set(new Uint8Array(section, p + 8, length), view.getUint32(p, true));
      p += 8 + length;
    }
  }

  /** The memory as bytes; valid until the next call into the core. */
  bytes(): Uint8Array {
    // A memory that has grown leaves arrays of no length behind, which costs less to see than its new buffer.
    if (this.#bytes.length === 0) this.#renew();
    return this.#bytes;
  }

  view(): DataView {
    if (this.#bytes.length === 0) this.#renew();
    return this.#view;
  }

  #renew(): void {
    this.#bytes = new Uint8Array(this.#memory.buffer);
    this.#view = new DataView(this.#memory.buffer);
  }

  u32(at: number): number {
    return this.view().getUint32(at, true);
  }

  setU32(at: number, v: number): void {
    this.view().setUint32(at, v, true);
  }

  u64(at: number): bigint {
    return this.view().getBigUint64(at, true);
  }

  /** A word of 8 bytes as a number: exact up to 2 ** 53. */
  word(at: number): number {
    const v = this.view();
    return v.getUint32(at, true) + v.getUint32(at + 4, true) * 0x1_0000_0000;
  }

  setU64(at: number, v: bigint): void {
    this.view().setBigUint64(at, BigInt.asUintN(64, v), true);
  }

  /** Byte length of the wasm memory now. */
  get size(): number {
    return this.#memory.buffer.byteLength;
  }
}

function abort(): never {
  throw new Error("machine: the core reached a place that it calls impossible");
}

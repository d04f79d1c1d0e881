// The seam to the wasm core: instantiation, typed access to its memory, and its exported functions under their names.
// The only file that casts what WebAssembly hands out. Everything above it speaks of vCPUs and addresses.
import { ARENA_END, EXIT } from "../../assembly/abi.ts";
import { DeviceBus, type Bus } from "./device.ts";
import { optimize, shortRun } from "./engine.ts";

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
  hot(up: number): number;
  arithmetic(): number;
  setArithmetic(flags: number): void;
}

/** Scratch bytes for hostWrite and snapPage: one page, above the bounce buffers. */
export const HOST_PAGE = 0xd000;

/** The custom section of core.wasm that scripts/asc.mjs adds. */
const ISA_TABLES = "isa.tables";

export class Core {
  readonly exports: CoreExports;
  readonly #module: WebAssembly.Module;
  readonly #memory: WebAssembly.Memory;
  #bytes: Uint8Array;
  #view: DataView;
  /** What is still to be executed before the loop is optimized. */
  #short: number;

  /** `bytes` is the size of the wasm memory that the machine needs from the start. */
  constructor(module: WebAssembly.Module, bytes: number, bus: Bus = new DeviceBus([])) {
    this.#module = module;
    this.#short = shortRun(module);
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

  /** Runs the active vCPU for up to `n` units of virtual time, and answers how many it used. */
  run(n: number): number {
    if (this.#short <= 0) return this.#grant(n);
    const used = this.#grant(Math.min(n, this.#short));
    this.#short -= used;
    if (this.#short > 0) return used;
    optimize(this.#module, this.exports.hot);
    if (used === n || this.u32(EXIT) !== 0) return used;
    return used + this.#grant(n - used);
  }

  #grant(n: number): number {
    return n <= 0x7fff_ffff ? this.exports.runShort(n) : Number(this.exports.run(BigInt(n)));
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

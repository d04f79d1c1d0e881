// A bare loader and run loop for tests of the kernel's own behaviour: it boots an image on the machine, takes
// turns between the vCPUs, and answers the kernel's hypercalls from a script. The patching agent is not here.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Task } from "../../src/kernel/index.ts";
import {
  CONSTANTS,
  nrCpus,
  readTasks,
  readUint,
  stackAreas,
  symbolVa,
} from "../../src/kernel/index.ts";
import type { Image } from "../../src/link/index.ts";
import { Machine } from "../../src/machine/index.ts";

const CORE = new WebAssembly.Module(
  readFileSync(join(import.meta.dirname, "../../dist/core.wasm")),
);
const NOP5 = Uint8Array.of(0x0f, 0x1f, 0x44, 0x00, 0x00);

/** The answer to one patch call. */
export type Order =
  | { readonly order: "idle"; readonly ticks?: number }
  | { readonly order: "again" }
  | { readonly order: "done"; readonly value: bigint }
  | { readonly order: "call"; readonly fn: string; readonly args?: readonly bigint[] };

/** Answers patch calls: what patchd gets next, given the result of the last order. */
export type Agent = (result: bigint, guest: Guest) => Order;

const idle: Agent = () => ({ order: "idle" });

/** A booted kernel. */
export class Guest {
  readonly machine: Machine;
  readonly image: Image;
  readonly log: string[] = [];
  readonly bugs: string[] = [];
  panic: string | undefined;
  readyAt: number | undefined;
  doneAt: number | undefined;
  agent: Agent = idle;
  readonly #slice: number;
  #turn = 0;

  constructor(image: Image, options: { ramMiB: number; vcpus: number; slice?: number }) {
    this.image = image;
    this.#slice = options.slice ?? 100;
    this.machine = new Machine({
      core: CORE,
      ramBytes: options.ramMiB << 20,
      nrVcpus: options.vcpus,
      stackAreas: stackAreas(image).map((a) => ({ ...a, size: BigInt(a.size) })),
    });
    const m = this.machine;
    for (const s of image.segments) m.writePhys(s.pa, s.bytes);
    const pgt = symbolVa(image, "init_top_pgt") - 0xffff_ffff_8000_0000n;
    for (let i = 0; i < options.vcpus; i++) {
      m.setReg(i, "cr3", pgt);
      m.setReg(i, "cr4", 0xa0n);
      m.setReg(i, "efer", 0xd01n);
      m.setReg(i, "cr0", 0x8005_0033n);
      m.setReg(i, "cs", 0x10n);
      m.setReg(i, "ss", 0x18n);
      m.setReg(i, "cpl", 0n);
      m.setReg(i, "rip", symbolVa(image, i === 0 ? "startup_64" : "secondary_startup_64"));
      m.setReg(i, "rdi", BigInt(i));
      m.setReg(i, "rsi", BigInt(options.vcpus));
    }
    for (const site of image.fentrySites) m.write(site, NOP5);
  }

  read = (va: bigint, n: number): Uint8Array => this.machine.read(va, n);

  tasks(): readonly Task[] {
    return readTasks(this.read, this.image);
  }

  task(comm: string): Task {
    const t = this.tasks().find((x) => x.comm === comm);
    if (t === undefined) throw new Error(`no task ${comm}`);
    return t;
  }

  /** A symbol's word of 8 bytes. */
  word(symbol: string, size = 8): bigint {
    return readUint(this.read, symbolVa(this.image, symbol), size);
  }

  get nrCpus(): number {
    return nrCpus(this.read, this.image);
  }

  /** Runs in turns until `stop` holds or `insns` units of time have passed on each vCPU. */
  run(insns: number, stop: () => boolean = () => false): void {
    for (let spent = 0; spent < insns * this.machine.nrVcpus && !stop();) {
      const cpu = this.#turn++ % this.machine.nrVcpus;
      let left = this.#slice;
      while (left > 0 && this.panic === undefined) {
        const { used, exit } = this.machine.run(cpu, left);
        left -= used;
        spent += used;
        if (exit === "vmcall") this.#hypercall(cpu);
        else if (exit === "shutdown") throw new Error(`vCPU ${cpu} shut down`);
        else if (used === 0) left = 0;
      }
      if (this.panic !== undefined) throw new Error(`panic: ${this.panic}`);
    }
  }

  /** Runs until the workload is done. */
  runUntilDone(insns: number): void {
    this.run(insns, () => this.doneAt !== undefined);
  }

  #text(va: bigint): string {
    const bytes = this.read(va, 80);
    const end = bytes.indexOf(0);
    return new TextDecoder("latin1").decode(end < 0 ? bytes : bytes.subarray(0, end));
  }

  #hypercall(cpu: number): void {
    const m = this.machine;
    const rdi = m.reg(cpu, "rdi");
    switch (Number(m.reg(cpu, "rax"))) {
      case CONSTANTS.HC_PATCH:
        this.#answer(cpu, this.agent(rdi, this));
        break;
      case CONSTANTS.HC_READY:
        this.readyAt = m.retired;
        break;
      case CONSTANTS.HC_BUG:
        this.bugs.push(this.#text(m.reg(cpu, "rdx")));
        break;
      case CONSTANTS.HC_PANIC:
        this.panic = this.#text(rdi);
        break;
      case CONSTANTS.HC_LOG:
        this.log.push(new TextDecoder("latin1").decode(this.read(rdi, Number(m.reg(cpu, "rsi")))));
        break;
      case CONSTANTS.HC_DONE:
        this.doneAt = m.retired;
        break;
      default:
        throw new Error(`hypercall ${m.reg(cpu, "rax")}`);
    }
  }

  #answer(cpu: number, order: Order): void {
    const m = this.machine;
    const set = (rax: number, rdi: bigint): void => {
      m.setReg(cpu, "rax", BigInt(rax));
      m.setReg(cpu, "rdi", rdi);
    };
    switch (order.order) {
      case "idle":
        return set(CONSTANTS.PATCH_IDLE, BigInt(order.ticks ?? 0));
      case "again":
        return set(CONSTANTS.PATCH_AGAIN, 0n);
      case "done":
        return set(CONSTANTS.PATCH_DONE, order.value);
      case "call": {
        const [rdi = 0n, rsi = 0n, rcx = 0n] = order.args ?? [];
        set(CONSTANTS.PATCH_CALL, rdi);
        m.setReg(cpu, "rsi", rsi);
        m.setReg(cpu, "rcx", rcx);
        m.setReg(cpu, "rdx", symbolVa(this.image, order.fn));
      }
    }
  }
}

// Runs a built kernel one unit of virtual time at a time, in a seeded interleaving of the vCPUs, and answers the
// kernel's hypercalls: patch calls by a script, idle by default. It shows each step to an observer, before and after.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CPL, CPU, INSNS, RAM, RBP, RIP, RSP } from "../../assembly/abi.ts";
import { CONSTANTS, declaredFrames, stackAreas, symbolVa } from "../../src/kernel/index.ts";
import { boot, type Machine } from "../../src/machine/index.ts";
import type { BuiltScenario } from "../../src/scenario/index.ts";

const CORE = new WebAssembly.Module(
  readFileSync(join(import.meta.dirname, "../../dist/core.wasm")),
);

/** Sees every step. */
export interface Observer {
  before: (vcpu: number) => void;
  after: (vcpu: number) => void;
}

/** The function that patchd calls next, or undefined to sleep one tick. */
export type Script = (result: bigint) => string | undefined;

export interface StepperOptions {
  readonly vcpus: number;
  readonly seed: number;
  readonly script?: Script;
}

export class Stepper {
  readonly machine: Machine;
  readonly built: BuiltScenario;
  readonly messages: string[] = [];
  isReady = false;
  isDone = false;
  readonly #script: Script;
  #random: number;
  #vcpu = 0;
  #left = 0;

  constructor(built: BuiltScenario, options: StepperOptions) {
    this.built = built;
    this.#script = options.script ?? (() => undefined);
    this.#random = (options.seed * 2654435761) >>> 0 || 1;
    this.machine = boot({
      core: CORE,
      ramBytes: built.scenario.ramMiB << 20,
      nrVcpus: options.vcpus,
      stackAreas: stackAreas(built.image).map((a) => ({ ...a, size: BigInt(a.size) })),
      image: built.image,
      frames: declaredFrames(built.image),
    });
  }

  read = (va: bigint, n: number): Uint8Array => this.machine.read(va, n);

  // Registers as the observer needs them at every step: straight from the state block.
  #state(vcpu: number, at: number): bigint {
    return this.machine.core.u64(this.machine.stateOf(vcpu) - CPU + at);
  }
  rip(vcpu: number): bigint {
    return this.#state(vcpu, RIP);
  }
  rsp(vcpu: number): bigint {
    return this.#state(vcpu, RSP);
  }
  rbp(vcpu: number): bigint {
    return this.#state(vcpu, RBP);
  }
  isUser(vcpu: number): boolean {
    return this.machine.core.u32(this.machine.stateOf(vcpu) - CPU + CPL) === 3;
  }
  retired(): number {
    return Number(this.machine.core.u64(INSNS));
  }
  readonly #pages = new Map<bigint, number>();

  /** A word of a stack; where a stack lies never changes. */
  word(va: bigint): bigint {
    const page = va >> 12n;
    let at = this.#pages.get(page);
    if (at === undefined) {
      at = RAM + Number(this.machine.translate(page << 12n) ?? 0n);
      this.#pages.set(page, at);
    }
    return this.machine.core.u64(at + Number(va & 4095n));
  }
  symbol(name: string): bigint {
    return symbolVa(this.built.image, name);
  }

  #next(bound: number): number {
    // xorshift32
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x >>> 0;
    return this.#random % bound;
  }

  #pick(): void {
    const m = this.machine;
    let least = m.reg(0, "time");
    this.#vcpu = 0;
    for (let v = 1; v < m.nrVcpus; v++) {
      const t = m.reg(v, "time");
      if (t >= least) continue;
      least = t;
      this.#vcpu = v;
    }
    this.#left = 1 + this.#next(180);
  }

  /** Steps until `stop` holds; answers how many instructions were retired. */
  run(insns: number, observer: Observer, stop: () => boolean): number {
    const m = this.machine;
    const from = this.retired();
    while (this.retired() - from < insns && !stop()) {
      if (this.#left-- <= 0) this.#pick();
      const vcpu = this.#vcpu;
      observer.before(vcpu);
      const { exit } = m.run(vcpu, 1);
      observer.after(vcpu);
      if (exit === "halt") this.#rest();
      if (exit === "vmcall") this.#hypercall(vcpu);
      else if (exit === "shutdown") throw new Error(`vCPU ${vcpu} shut down`);
    }
    return this.retired() - from;
  }

  /** When every vCPU waits, time jumps to just before the next timer. */
  #rest(): void {
    const m = this.machine;
    for (let v = 0; v < m.nrVcpus; v++) if (!m.halted(v)) return;
    const t = m.untilTimer();
    if (t === undefined) throw new Error("no vCPU will ever go on");
    if (t > 1) for (let v = 0; v < m.nrVcpus; v++) m.charge(v, t - 1);
  }

  #text(va: bigint): string {
    const bytes = this.read(va, 80);
    const end = bytes.indexOf(0);
    return new TextDecoder("latin1").decode(end < 0 ? bytes : bytes.subarray(0, end));
  }

  #hypercall(vcpu: number): void {
    const m = this.machine;
    switch (Number(m.reg(vcpu, "rax"))) {
      case CONSTANTS.HC_PATCH: {
        const fn = this.#script(m.reg(vcpu, "rdi"));
        const order = fn === undefined ? CONSTANTS.PATCH_IDLE : CONSTANTS.PATCH_CALL;
        m.setReg(vcpu, "rax", BigInt(order));
        m.setReg(vcpu, "rdi", 1n);
        if (fn !== undefined) m.setReg(vcpu, "rdx", this.symbol(fn));
        break;
      }
      case CONSTANTS.HC_READY:
        this.isReady = true;
        break;
      case CONSTANTS.HC_BUG:
        this.messages.push(this.#text(m.reg(vcpu, "rdx")));
        break;
      case CONSTANTS.HC_PANIC:
        throw new Error(`panic: ${this.#text(m.reg(vcpu, "rdi"))}`);
      case CONSTANTS.HC_DONE:
        this.isDone = true;
        break;
      default:
        this.messages.push("log");
    }
  }
}

// A program running in ring 3 of a machine, with the host as its kernel: loading, the loop of runs, system calls and
// traps, and the end. Long runs go on inside the machine; the host is entered for system calls, faults and every
// million instructions. It knows no files and no clock; those come as values and callbacks.
import {
  fxInitial,
  fxRestore,
  fxSave,
  Machine,
  type GeneralRegister,
  REGISTERS,
} from "../machine/index.ts";
import type { Arguments, Context, ProgramIo, SyscallResult } from "./context.ts";
import { Descriptors, NOFILE } from "./descriptors.ts";
import { endOf, memoryOf, ProgramError, type Program } from "./elf.ts";
import { OutOfMemory } from "./frames.ts";
import {
  PAGE,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
  SIGKILL,
  SIGSEGV,
  SI_KERNEL,
  signalName,
} from "./linux.ts";
import { randomBytes } from "./random.ts";
import { reportDeath } from "./report.ts";
import { abortSequence } from "./rseq.ts";
import { Signals, type Delivery, type Registers, type SignalInfo } from "./signals.ts";
import { AddressSpace, STACK_SIZE, STACK_TOP } from "./space.ts";
import { initialStack } from "./stack.ts";
import { FREE, PML4, RETURN_INSNS, Supervisor, type Entry } from "./supervisor.ts";
import { performSyscall } from "./syscalls.ts";
import { traceSignal } from "./trace.ts";
import { signalOfTrap } from "./traps.ts";

export interface ProcessConfig {
  readonly core: WebAssembly.Module;
  /** Memory of the machine in bytes; what the program gets is a little less. */
  readonly ramBytes: number;
  readonly program: Program;
  /** Words of UTF-8, or bytes. */
  readonly argv: readonly (string | Uint8Array)[];
  readonly env: readonly (string | Uint8Array)[];
  /** What /proc/self/exe points to. */
  readonly exe: string;
  readonly seed: number;
  readonly io: ProgramIo;
}

export type ProcessEnd =
  | { readonly kind: "exit"; readonly status: number }
  | { readonly kind: "signal"; readonly signal: number; readonly report: string }
  | { readonly kind: "budget"; readonly rip: bigint };

export interface ProcessResult {
  readonly end: ProcessEnd;
  /** Instructions of the program that were retired. */
  readonly insns: number;
}

/** What one run of the machine may take before the host has a look. */
const CHUNK = 1_000_000;
const TF = 0x100n;
const INFINITY = (1n << 64n) - 1n;
/** Soft limits that are not infinite: RLIMIT_STACK, RLIMIT_NOFILE. */
const LIMITS: Readonly<Record<number, bigint>> = { 3: STACK_SIZE, 7: BigInt(NOFILE) };
const PID = 1000;
const UID = 1000;
const SYSCALL_REGISTERS = ["rdi", "rsi", "rdx", "r10", "r8", "r9"] as const;

export class UserProcess {
  readonly machine: Machine;
  readonly #program: Program;
  readonly #io: ProgramIo;
  readonly #space: AddressSpace;
  readonly #signals: Signals;
  readonly #supervisor: Supervisor;
  readonly #context: Context;
  /** Retired instructions that are not the program's, those of the way back from the present stub included. */
  #stubs = 0;
  #slept = 0n;
  #end: ProcessEnd | undefined;

  /** Loads the program. Throws ProgramError when it does not fit. */
  constructor(config: ProcessConfig) {
    const { program } = config;
    this.#program = program;
    this.#io = config.io;
    this.machine = new Machine({
      core: config.core,
      ramBytes: config.ramBytes,
      nrVcpus: 1,
      stackAreas: [
        { start: STACK_TOP - STACK_SIZE, end: STACK_TOP, size: STACK_SIZE, kind: "task" },
      ],
    });
    const nrFrames = Math.floor(config.ramBytes / PAGE);
    this.#space = new AddressSpace(this.machine, PML4 / PAGE, FREE / PAGE, nrFrames);
    const needed = memoryOf(program);
    const given = this.#space.limit * PAGE;
    if (needed > BigInt(given)) {
      throw new ProgramError(
        `${program.name}: its segments take ${needed} bytes of memory, expected at most the ${given} given`,
      );
    }
    this.#signals = new Signals(this.#space, {
      save: () => fxSave(this.machine, 0),
      restore: (image) => fxRestore(this.machine, 0, image),
      reset: () => fxRestore(this.machine, 0, fxInitial()),
    });
    this.#supervisor = new Supervisor(this.machine);
    const hwcap = this.#supervisor.features();
    const random = randomBytes(config.seed);
    this.#loadSegments();
    const stack = initialStack(
      {
        program,
        argv: config.argv,
        env: config.env,
        execfn: config.argv[0] ?? program.name,
        random: random(16),
        hwcap,
        uid: BigInt(UID),
      },
      STACK_TOP,
    );
    this.#space.mapStack(PROT_READ | PROT_WRITE | (program.executableStack ? PROT_EXEC : 0));
    if (!this.#space.write(stack.rsp, stack.bytes)) throw this.#tooSmall();
    const heap = endOf(program);
    this.#context = this.#makeContext(random, config.exe, heap);
    this.#stubs = this.machine.retired + RETURN_INSNS.iret;
    for (const r of REGISTERS) this.machine.setReg(0, r, 0n);
    this.#supervisor.leave({ rip: program.entry, rsp: stack.rsp, rflags: 0x202n });
  }

  #tooSmall(): ProgramError {
    return new ProgramError(
      `${this.#program.name}: ${this.machine.config.ramBytes} bytes of memory are not enough, expected room for its segments and stack`,
    );
  }

  /** Maps the segments in their order, a later one over an earlier one's pages, as the kernel's elf_load(). */
  #loadSegments(): void {
    const { file, segments } = this.#program;
    try {
      for (const s of segments) {
        const skew = Number(s.va & 0xfffn);
        const start = s.va - BigInt(skew);
        const end = (s.va + s.memSize + 0xfffn) & ~0xfffn;
        const fileEnd = (s.va + BigInt(s.fileSize) + 0xfffn) & ~0xfffn;
        if (s.fileSize > 0) {
          this.#mapPart(start, fileEnd - start, s.prot, false);
          const from = s.offset - skew;
          // A copy whatever kind of array the file is: Buffer.slice() would be a view.
          const bytes = Uint8Array.from(file.subarray(from, from + Number(fileEnd - start)));
          if (s.memSize > BigInt(s.fileSize)) bytes.fill(0, skew + s.fileSize);
          this.#space.load(start, bytes);
        }
        const bss = s.fileSize > 0 ? fileEnd : start;
        if (end > bss) this.#mapPart(bss, end - bss, s.prot, true);
      }
    } catch (e) {
      throw e instanceof OutOfMemory ? this.#tooSmall() : e;
    }
  }

  #mapPart(va: bigint, bytes: bigint, prot: number, anonymous: boolean): void {
    if (!this.#space.map(va, bytes, { prot, anonymous })) throw this.#tooSmall();
  }

  #makeContext(random: Context["random"], exe: string, heap: bigint): Context {
    return {
      space: this.#space,
      signals: this.#signals,
      io: this.#io,
      random,
      exe,
      pid: PID,
      uid: UID,
      heap: { start: heap, end: heap },
      files: new Descriptors(),
      cwd: "/",
      umask: 0o022,
      name: new TextEncoder().encode(exe.replace(/^.*\//, "")).slice(0, 15),
      limits: Array.from({ length: 16 }, (_, i) => [LIMITS[i] ?? INFINITY, INFINITY]),
      rseq: undefined,
      now: () => BigInt(this.insns) + this.#slept,
      sleep: (ns) => {
        this.#slept += ns;
      },
      rsp: () => this.machine.reg(0, "rsp"),
      registers: () => this.#syscallRegisters(),
      base: (which) => this.machine.reg(0, which),
      setBase: (which, va) => this.machine.setReg(0, which, va),
    };
  }

  /** Instructions of the program that were retired. */
  get insns(): number {
    return this.machine.retired - this.#stubs;
  }

  /**
   * Runs until the program ends, or goes on after a budget that ended.
   *
   * maxInsns  the budget in instructions of the program since its start
   */
  run(maxInsns = Number.MAX_SAFE_INTEGER): ProcessResult {
    const m = this.machine;
    while (this.#end === undefined) {
      const left = maxInsns - this.insns;
      // A system call that was begun is finished: its instruction was the last one of the budget.
      if (left <= 0 && m.reg(0, "cpl") === 3n) {
        return { end: { kind: "budget", rip: m.reg(0, "rip") }, insns: this.insns };
      }
      const r = m.run(0, Math.max(1, Math.min(left, CHUNK)));
      if (r.exit === "vmcall") this.#enter();
      else if (r.exit === "unsupported") {
        const at = m.reg(0, "rip").toString(16);
        throw new ProgramError(
          `${this.#program.name}: the instruction at 0x${at} goes to a segment of 32 bits, expected 64-bit code only`,
        );
      } else if (r.exit !== "none") throw new Error(`the machine stopped: ${r.exit}`);
    }
    return { end: this.#end, insns: this.insns };
  }

  #enter(): void {
    this.#stubs++;
    const e = this.#supervisor.entry();
    if (e.kind === "syscall") this.#syscall();
    else this.#trap(e);
  }

  #syscall(): void {
    const m = this.machine;
    const nr = m.reg(0, "rax");
    const [a = 0n, b = 0n, c = 0n, d = 0n, e = 0n, f = 0n] = SYSCALL_REGISTERS.map((r) =>
      m.reg(0, r),
    );
    const args: Arguments = [a, b, c, d, e, f];
    const result: SyscallResult = performSyscall(this.#context, nr, args);
    if (typeof result === "object" && result.kind === "exit") {
      this.#end = { kind: "exit", status: result.status };
      this.#io.trace?.(`+++ exited with ${result.status} +++`);
      return;
    }
    if (typeof result === "object" && result.kind === "killed") {
      this.#die(result.info, this.#syscallRegisters());
      return;
    }
    if (typeof result !== "object") m.setReg(0, "rax", BigInt(result));
    const first = this.#signals.next();
    // SYSRET would trap at once by the TF that it loads, so do_syscall_64() leaves it to IRET.
    const stepping = (m.reg(0, "r11") & TF) !== 0n;
    if (typeof result !== "object" && first === undefined && !stepping) {
      this.#stubs += RETURN_INSNS.syscall;
      return;
    }
    const registers = typeof result === "object" ? result.registers : this.#syscallRegisters();
    const last = this.#handle(first, registers);
    if (last !== undefined) this.#goOn(last, true);
  }

  #syscallRegisters(): Registers {
    const m = this.machine;
    return {
      general: REGISTERS.map((r) => m.reg(0, r)),
      rip: m.reg(0, "rcx"),
      rflags: m.reg(0, "r11"),
    };
  }

  /** Delivers `first` and whatever else is pending. Undefined when that was the end. */
  #handle(first: SignalInfo | undefined, registers: Registers): Registers | undefined {
    let now = registers;
    for (let info = first; info !== undefined; info = this.#signals.next()) {
      const next = this.#deliver(info, now, false);
      if (next === undefined) return undefined;
      now = next;
    }
    return now;
  }

  /** A signal to a thread that may be in a restartable sequence: it is taken out of it first. rseq_signal_deliver(). */
  #deliver(info: SignalInfo, registers: Registers, forced: boolean): Registers | undefined {
    const area = this.#context.rseq;
    const r =
      area === undefined || !this.#signals.handles(info)
        ? registers
        : abortSequence(this.#space, area, registers);
    if (r === undefined) {
      const segv: SignalInfo = { signal: SIGSEGV, code: SI_KERNEL };
      return this.#after({ kind: "killed", info: segv }, registers, segv);
    }
    const d = forced ? this.#signals.force(info, r) : this.#signals.deliver(info, r);
    return this.#after(d, r, info);
  }

  #after(d: Delivery, registers: Registers, info: SignalInfo): Registers | undefined {
    if (d.kind !== "ignored") this.#io.trace?.(traceSignal(info));
    if (d.kind === "killed") {
      this.#die(d.info, registers);
      return undefined;
    }
    return d.kind === "handler" ? d.registers : registers;
  }

  /** Returns to user mode with these registers. */
  #goOn(registers: Registers, fromSyscall: boolean): void {
    const m = this.machine;
    let r = registers;
    // IRETQ to a non-canonical address would fault; the kernel makes a SIGSEGV of it.
    while (BigInt.asUintN(64, BigInt.asIntN(48, r.rip)) !== r.rip) {
      const segv: SignalInfo = { signal: SIGSEGV, code: SI_KERNEL };
      const next = this.#deliver(segv, r, true);
      if (next === undefined) return;
      r = next;
    }
    REGISTERS.forEach((name: GeneralRegister, i) => {
      if (name !== "rsp") m.setReg(0, name, r.general[i] ?? 0n);
    });
    const state = { rip: r.rip, rsp: r.general[4] ?? 0n, rflags: (r.rflags & 0x50dd5n) | 0x202n };
    if (fromSyscall) {
      this.#supervisor.leave(state);
      this.#stubs += RETURN_INSNS.iret;
    } else {
      this.#supervisor.setFrame(state);
      this.#stubs += RETURN_INSNS.trap;
    }
  }

  #trap(e: Extract<Entry, { kind: "trap" }>): void {
    const m = this.machine;
    if (!e.user) {
      // The single-step trap of a syscall instruction comes behind it, in the stub, where TF is clear.
      if (e.vector !== 1)
        throw new Error(`vector ${e.vector} at 0x${e.state.rip.toString(16)} in the stubs`);
      this.#supervisor.stepped();
      this.#stubs += RETURN_INSNS.trap;
      return;
    }
    const cr2 = m.reg(0, "cr2");
    const access = e.code & 16 ? "exec" : e.code & 2 ? "write" : "read";
    const memory = e.vector === 14 ? this.#space.fault(cr2, access) : undefined;
    if (memory === "mapped") {
      this.#stubs += RETURN_INSNS.trap;
      return;
    }
    const general = REGISTERS.map((r) => (r === "rsp" ? e.state.rsp : m.reg(0, r)));
    const registers: Registers = { general, rip: e.state.rip, rflags: e.state.rflags };
    if (memory === "oom") {
      this.#die({ signal: SIGKILL, code: SI_KERNEL, addr: cr2 }, registers);
      return;
    }
    const stepped = e.vector === 1 && this.#supervisor.stepped();
    const info = signalOfTrap(
      e.vector,
      e.code,
      e.state.rip,
      cr2,
      memory,
      () => fxSave(this.machine, 0),
      stepped,
    );
    const forced = this.#deliver(info, registers, true);
    const last = forced === undefined ? undefined : this.#handle(this.#signals.next(), forced);
    if (last !== undefined) this.#goOn(last, false);
  }

  #die(info: SignalInfo, registers: Registers): void {
    const report = reportDeath({
      machine: this.machine,
      program: this.#program,
      read: (va, n) => this.#space.read(va, n),
      frames: this.#signals.frames,
      info,
      registers,
    });
    this.#end = { kind: "signal", signal: info.signal, report };
    this.#io.trace?.(`+++ killed by ${signalName(info.signal)} +++`);
  }
}

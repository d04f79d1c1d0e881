// A booted kernel with a patching agent: it runs the machine by a schedule, answers the kernel's hypercalls, collects
// what happened as plain events, and can go back to any snapshot of all that. It judges nothing.
import {
  CONSTANTS,
  KLP_CONSTANTS,
  currentTask,
  declaredFrames,
  PT_REGS,
  readTasks,
  stackAreas,
  symbolVa,
  type Message,
  type Program,
  type Read,
  type Task,
} from "../kernel/index.ts";
import { findSymbol, type Image } from "../link/index.ts";
import {
  boot,
  Scheduler,
  trueStack,
  type Adversary,
  type Cursor,
  RecordLog,
  type Machine,
  type Schedule,
  type Snapshot,
  type TruthFrame,
  type WatchSpec,
} from "../machine/index.ts";
import { Agent, type AgentState } from "./agent.ts";
import type { Job, Outcome } from "./mechanism.ts";

export interface SessionConfig {
  readonly core: WebAssembly.Module;
  readonly image: Image;
  readonly ramBytes: number;
  readonly nrVcpus: number;
  readonly schedule: Schedule;
  readonly adversary?: Adversary;
}

/** A BUG() or an unexpected trap of the guest. */
export interface GuestBug {
  readonly kind: "bug" | "panic";
  readonly insn: number;
  readonly vcpu: number;
  readonly ip: bigint;
  readonly message: string;
  readonly pid: number;
  readonly comm: string;
  /** The true stack at that moment, innermost first, from the failing instruction outwards. */
  readonly truth: readonly TruthFrame[];
  /** Registers at the failing instruction. */
  readonly rsp: bigint;
  readonly rbp: bigint;
}

/** A line of the kernel's log. insn: retired on all vCPUs since the start. */
export interface LogLine {
  readonly insn: number;
  readonly text: string;
}

/** Everything that happened since the events were last cleared. */
export interface Events {
  readonly bugs: readonly GuestBug[];
  readonly klog: readonly string[];
  /** Everything that was said, by the guest and by the mechanism, in order. */
  readonly dmesg: readonly string[];
  /** The same with the moment of each line. */
  readonly log: readonly LogLine[];
  readonly records: RecordLog;
  readonly readyAt: number | undefined;
  readonly doneAt: number | undefined;
}

/** Why a run stopped; "reply": the program answered a message. */
export type SessionStop =
  "insns" | "idle" | "ready" | "done" | "bug" | "shutdown" | "outcome" | "reply";

export interface SessionSnapshot {
  readonly machine: Snapshot;
  readonly cursor: Cursor;
  readonly events: Events;
  readonly agent: AgentState;
  readonly job: Job | undefined;
}

export class Session {
  readonly machine: Machine;
  readonly image: Image;
  readonly agent: Agent;
  scheduler: Scheduler;
  readonly read: Read;
  /** Told of every stop watch that is reached, before its instruction; the machine stands still meanwhile. */
  onStop: ((id: number, vcpu: number) => void) | undefined;
  #job: Job | undefined;
  #bugs: GuestBug[] = [];
  #klog: string[] = [];
  #log: LogLine[] = [];
  #records = new RecordLog();
  #readyAt: number | undefined;
  #doneAt: number | undefined;

  constructor(config: SessionConfig) {
    const { image } = config;
    this.image = image;
    this.machine = boot({
      core: config.core,
      image,
      ramBytes: config.ramBytes,
      nrVcpus: config.nrVcpus,
      stackAreas: stackAreas(image).map((a) => ({ ...a, size: BigInt(a.size) })),
      frames: declaredFrames(image),
      ...(config.adversary && { adversary: config.adversary }),
    });
    this.scheduler = new Scheduler(this.machine, config.schedule);
    this.agent = new Agent(this.machine, image);
    this.agent.onLog = (text) => void this.#log.push({ insn: this.machine.retired, text });
    this.read = (va, n) => this.machine.read(va, n);
  }

  events(): Events {
    this.machine.drainInto(this.#records);
    return {
      bugs: this.#bugs.slice(),
      klog: this.#klog.slice(),
      dmesg: this.#log.map((l) => l.text),
      log: this.#log.slice(),
      records: this.#records.copy(),
      readyAt: this.#readyAt,
      doneAt: this.#doneAt,
    };
  }

  tasks(): readonly Task[] {
    return readTasks(this.read, this.image);
  }

  /** From now on another schedule decides. */
  reschedule(schedule: Schedule): void {
    this.scheduler = new Scheduler(this.machine, schedule);
  }

  watch(spec: WatchSpec): number {
    return this.machine.watch(spec);
  }

  /** Hands a mechanism's program to patchd and wakes it, as a device interrupt would, between two instructions. */
  request(job: Job | (() => Program<Outcome>), vcpu = 0): void {
    this.#job = typeof job === "function" ? { make: job } : job;
    this.agent.start(this.#job.make);
    this.#wakePatchd(vcpu);
  }

  /** Leaves a message for the program that runs, and wakes patchd. */
  send(message: Message, vcpu = 0): void {
    this.agent.send(message);
    this.#wakePatchd(vcpu);
  }

  #wakePatchd(vcpu: number): void {
    this.machine.interrupt(vcpu, CONSTANTS.HYPERVISOR_CALLBACK_VECTOR);
  }

  /** Runs until `until` instructions have retired on all vCPUs together, or something that `stops` names happens. */
  run(until: number, stops: ReadonlySet<SessionStop> = new Set()): SessionStop {
    for (;;) {
      const s = this.scheduler.run(until);
      if (s.kind !== "exit") return s.kind;
      if (s.outcome.exit === "stop") {
        this.onStop?.(Number(s.outcome.arg), s.vcpu);
        continue;
      }
      const happened = this.#exit(s.vcpu, s.outcome.exit);
      if (happened === "shutdown" || (happened && stops.has(happened))) return happened;
    }
  }

  #exit(vcpu: number, exit: string): SessionStop | undefined {
    // A kernel that leaves 64-bit mode is as gone as one that shut down.
    if (exit === "shutdown" || exit === "unsupported") return "shutdown";
    if (exit === "log_full") {
      this.machine.drainInto(this.#records);
      return undefined;
    }
    if (exit !== "vmcall") return undefined;
    const m = this.machine;
    const nr = Number(m.reg(vcpu, "rax") & 0xffffffffn);
    const rdi = m.reg(vcpu, "rdi");
    switch (nr) {
      case CONSTANTS.HC_PATCH: {
        const before = this.agent.outcome;
        const answered = this.agent.nrReplies;
        this.agent.patchCall(vcpu);
        if (before === undefined && this.agent.outcome !== undefined) return "outcome";
        return this.agent.nrReplies > answered ? "reply" : undefined;
      }
      case CONSTANTS.HC_READY:
        this.#readyAt = m.retired;
        return "ready";
      case CONSTANTS.HC_BUG:
        this.#bugs.push(this.#bug(vcpu, "bug", rdi, m.reg(vcpu, "rdx"), m.reg(vcpu, "rsi")));
        return "bug";
      case CONSTANTS.HC_PANIC:
        this.#bugs.push(this.#bug(vcpu, "panic", undefined, rdi, m.reg(vcpu, "rsi")));
        return "bug";
      case CONSTANTS.HC_LOG: {
        const length = Math.min(4096, Number(m.reg(vcpu, "rsi")));
        const text = new TextDecoder("latin1").decode(m.read(rdi, length, vcpu));
        this.#klog.push(text);
        this.#log.push({ insn: m.retired, text });
        return undefined;
      }
      case KLP_CONSTANTS.HC_UPCALL:
        this.agent.upcall(vcpu);
        return undefined;
      case KLP_CONSTANTS.HC_KLP_CHECK_STACK:
        m.setReg(vcpu, "rax", BigInt(this.#checkStack(vcpu)));
        return undefined;
      case CONSTANTS.HC_DONE:
        this.#doneAt = m.retired;
        return "done";
      default:
        throw new Error(`the guest made hypercall ${nr}, which does not exist`);
    }
  }

  #text(va: bigint, vcpu: number): string {
    const bytes = this.machine.read(va, 96, vcpu);
    const end = bytes.indexOf(0);
    return new TextDecoder("latin1").decode(end < 0 ? bytes : bytes.subarray(0, end));
  }

  /** `regs` is the guest's pt_regs of the failing instruction, 0 when it has none. */
  #bug(
    vcpu: number,
    kind: GuestBug["kind"],
    ip: bigint | undefined,
    message: bigint,
    regs: bigint,
  ): GuestBug {
    const m = this.machine;
    const { fields } = PT_REGS;
    const task = currentTask(this.read, this.image, this.#gsBase(vcpu));
    const at = (offset: number): bigint =>
      regs === 0n ? 0n : m.read64(regs + BigInt(offset), vcpu);
    const rip = ip ?? at(fields.RIP.offset);
    const all = trueStack(m, m.reg(vcpu, "rsp") - 8n)?.frames ?? [];
    const own = all.findIndex(
      (f) => f.kind === "interrupt" && f.slot === regs + BigInt(fields.RIP.offset),
    );
    return {
      kind,
      insn: m.retired,
      vcpu,
      ip: rip,
      message: this.#text(message, vcpu),
      pid: task.pid,
      comm: task.comm,
      truth: own < 0 ? all : all.slice(own + 1),
      rsp: at(fields.RSP.offset),
      rbp: at(fields.RBP.offset),
    };
  }

  #gsBase(vcpu: number): bigint {
    const gs = this.machine.reg(vcpu, "gs_base");
    return gs >> 63n ? gs : this.machine.reg(vcpu, "kernel_gs_base");
  }

  /** current's own check, for __klp_sched_try_switch: 0, or an errno where it may not be switched. */
  #checkStack(vcpu: number): number {
    const check = this.#job?.stackCheck;
    if (check === undefined) return -CONSTANTS.EINVAL;
    const m = this.machine;
    const { value, cost } = check({
      read: (va, n) => m.read(va, n, vcpu),
      image: this.image,
      registers: { ip: m.reg(vcpu, "rip"), sp: m.reg(vcpu, "rsp"), bp: m.reg(vcpu, "rbp") },
    });
    m.charge(vcpu, cost);
    return value;
  }

  /** A symbol's 8 bytes. Throws when the image has no such symbol. */
  word(symbol: string): bigint {
    return this.machine.read64(symbolVa(this.image, symbol));
  }

  /** The bytes of the kernel's text now. */
  text(): Uint8Array {
    const from = findSymbol(this.image, "_stext");
    const to = findSymbol(this.image, "_etext");
    if (!from || !to) throw new Error(`${this.image.name}: no _stext and _etext`);
    return this.machine.read(from.va, Number(to.va - from.va));
  }

  snapshot(): SessionSnapshot {
    return {
      events: this.events(),
      machine: this.machine.snapshot(),
      cursor: this.scheduler.cursor(),
      agent: this.agent.state(),
      job: this.#job,
    };
  }

  restore(s: SessionSnapshot): void {
    this.machine.restore(s.machine);
    this.machine.drainLog();
    this.scheduler.seek(s.cursor);
    this.#bugs = s.events.bugs.slice();
    this.#klog = s.events.klog.slice();
    this.#log = s.events.log.slice();
    this.#records = s.events.records.copy();
    this.#readyAt = s.events.readyAt;
    this.#doneAt = s.events.doneAt;
    this.#job = s.job;
    this.agent.restore(s.job?.make, s.agent);
  }
}

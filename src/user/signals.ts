// Signals of a process of one thread: dispositions, mask, pending ones, the alternate stack, and the frame that a
// handler starts on. The layout and the order of checks are the kernel's: kernel/signal.c, arch/x86/kernel/signal_64.c.
// The floating-point state is an image of FXSAVE on the frame, as without XSAVE. DIFFERS: signals that would stop the process
// are ignored.
import {
  EINVAL,
  ENOMEM,
  EPERM,
  NSIG,
  SA_NODEFER,
  SA_ONSTACK,
  SA_RESETHAND,
  SA_RESTORER,
  SIGKILL,
  SIGSEGV,
  SIGSTOP,
  SIG_DFL,
  SIG_IGN,
  SI_KERNEL,
  SS_AUTODISARM,
  SS_DISABLE,
  SS_ONSTACK,
} from "./linux.ts";
import type { AddressSpace } from "./space.ts";

/** All registers of the program: general ones in encoding order, rip and rflags. */
export interface Registers {
  readonly general: readonly bigint[];
  readonly rip: bigint;
  readonly rflags: bigint;
}

/** The floating-point state that signals save and put back, as images of FXSAVE. */
export interface FpState {
  save(): Uint8Array;
  /** False when the CPU would not load it. */
  restore(image: Uint8Array): boolean;
  /** As a program finds it. */
  reset(): void;
}

/** What siginfo_t and sigcontext say of a signal. */
export interface SignalInfo {
  readonly signal: number;
  readonly code: number;
  /** Where a fault was. */
  readonly addr?: bigint;
  /** Who sent it. */
  readonly pid?: number;
  readonly uid?: number;
  /** The word that sigqueue sends along. */
  readonly value?: bigint;
  readonly trap?: { readonly vector: number; readonly code: number; readonly cr2: bigint };
}

export interface SigAction {
  readonly handler: bigint;
  readonly flags: bigint;
  readonly restorer: bigint;
  readonly mask: bigint;
}

/** A frame that a handler was started on, for call stacks. */
export interface HandlerFrame {
  readonly sp: bigint;
  readonly signal: number;
  readonly rip: bigint;
  readonly rsp: bigint;
}

/** How a signal ends: with registers to go on with, ignored, or with the process's death. */
export type Delivery =
  | { readonly kind: "handler"; readonly registers: Registers }
  | { readonly kind: "ignored" }
  | { readonly kind: "killed"; readonly info: SignalInfo };

/** Encoding order. */
const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
// sigcontext_64: r8..r15, then these.
const CONTEXT_ORDER = [8, 9, 10, 11, 12, 13, 14, 15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP];

const DF = 0x400n;
const TF = 0x100n;
const RF = 0x10000n;
// FIX_EFLAGS: AC OF DF TF SF ZF AF PF CF RF
const FIX_EFLAGS = 0x50dd5n;
const UC_FLAGS = 6n; // UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS
const FRAME_SIZE = 440n;
const FX_SIZE = 512n;
const REDZONE = 128n;
const MINSIGSTKSZ = 2048n;
const F = { uc: 8, stack: 24, context: 48, mask: 304, info: 312 } as const;
const IGNORED_BY_DEFAULT = new Set([17, 18, 19, 20, 21, 22, 23, 28]);
/** Those that faults raise: they are delivered first. */
const SYNCHRONOUS = new Set([4, 5, 7, 8, 11, 31]);
const SIGRTMIN = 32;
const PF_VECTOR = 14;
const NEVER_BLOCKED = bit(SIGKILL) | bit(SIGSTOP);

function bit(signal: number): bigint {
  return 1n << BigInt(signal - 1);
}

export class Signals {
  readonly #space: AddressSpace;
  readonly #fp: FpState;
  readonly #actions = new Map<number, SigAction>();
  #pending: SignalInfo[] = [];
  #blocked = 0n;
  /** The mask from before sigsuspend, until a handler has been started. */
  #suspended: bigint | undefined;
  /** thread.trap_nr, error_code and cr2: they stay until the next trap. */
  #trap = { vector: 0, code: 0, cr2: 0n };
  #alt = { sp: 0n, size: 0n, flags: SS_DISABLE };
  #frames: HandlerFrame[] = [];

  constructor(space: AddressSpace, fp: FpState) {
    this.#space = space;
    this.#fp = fp;
  }

  get blocked(): bigint {
    return this.#blocked;
  }

  set blocked(mask: bigint) {
    this.#blocked = mask & ~NEVER_BLOCKED;
  }

  /** The signals that wait, as a mask. */
  get pending(): bigint {
    return this.#pending.reduce((m, info) => m | bit(info.signal), 0n);
  }

  /** Handlers that may still be running, innermost last. */
  get frames(): readonly HandlerFrame[] {
    return this.#frames;
  }

  action(signal: number): SigAction {
    return this.#actions.get(signal) ?? { handler: SIG_DFL, flags: 0n, restorer: 0n, mask: 0n };
  }

  setAction(signal: number, a: SigAction): number {
    if (signal < 1 || signal > NSIG || signal === SIGKILL || signal === SIGSTOP) return -EINVAL;
    this.#actions.set(signal, { ...a, mask: a.mask & ~NEVER_BLOCKED });
    if (this.#ignores(signal)) this.#pending = this.#pending.filter((i) => i.signal !== signal);
    return 0;
  }

  #ignores(signal: number): boolean {
    const { handler } = this.action(signal);
    return handler === SIG_IGN || (handler === SIG_DFL && IGNORED_BY_DEFAULT.has(signal));
  }

  /** A signal that was sent; it waits for `next`. */
  send(info: SignalInfo): void {
    const held = (this.#blocked & bit(info.signal)) !== 0n;
    if (this.#ignores(info.signal) && !held) return;
    // Real-time signals queue; of the others one waits. DIFFERS: there is no RLIMIT_SIGPENDING.
    const waits = this.#pending.some((i) => i.signal === info.signal);
    if (!waits || info.signal >= SIGRTMIN) this.#pending.push(info);
  }

  /** Takes a pending signal of a mask: those of faults first, then the lowest, as next_signal(). */
  take(mask: bigint): SignalInfo | undefined {
    const of = this.#pending.filter((i) => (mask & bit(i.signal)) !== 0n);
    const faults = of.filter((i) => SYNCHRONOUS.has(i.signal));
    const candidates = faults.length > 0 ? faults : of;
    const [first] = candidates.toSorted((a, b) => a.signal - b.signal);
    if (first !== undefined) this.#pending.splice(this.#pending.indexOf(first), 1);
    return first;
  }

  /** Takes a pending signal that is not blocked. */
  next(): SignalInfo | undefined {
    return this.#pending.length === 0 ? undefined : this.take(~this.#blocked);
  }

  /** sigsuspend: another mask until a handler starts. False, and nothing is changed, when none would. */
  suspend(mask: bigint): boolean {
    const open = ~(mask & ~NEVER_BLOCKED);
    const any = this.#pending.some(
      (i) => (open & bit(i.signal)) !== 0n && !this.#ignores(i.signal),
    );
    if (!any) return false;
    this.#suspended = this.#blocked;
    this.blocked = mask;
    return true;
  }

  /** Whether the signal has a handler. */
  handles(info: SignalInfo): boolean {
    const { handler } = this.action(info.signal);
    return handler !== SIG_DFL && handler !== SIG_IGN;
  }

  /** A signal that an instruction raised: blocked or ignored it kills. force_sig_info_to_task(). */
  force(info: SignalInfo, r: Registers): Delivery {
    const { trap } = info;
    if (trap !== undefined) {
      const { vector, code } = trap;
      this.#trap = { vector, code, cr2: vector === PF_VECTOR ? trap.cr2 : this.#trap.cr2 };
    }
    if ((this.#blocked & bit(info.signal)) !== 0n || this.action(info.signal).handler === SIG_IGN) {
      return { kind: "killed", info };
    }
    return this.deliver(info, r);
  }

  /** Does what the disposition says: starts the handler, or the default. */
  deliver(info: SignalInfo, r: Registers): Delivery {
    const a = this.action(info.signal);
    if (this.#ignores(info.signal)) return { kind: "ignored" };
    if (a.handler === SIG_DFL) return { kind: "killed", info };
    const started = this.#start(info, a, r);
    if (started !== undefined) return { kind: "handler", registers: started };
    // force_sigsegv(): a SIGSEGV whose own handler cannot be started kills.
    const segv: SignalInfo = { signal: SIGSEGV, code: SI_KERNEL };
    if (info.signal === SIGSEGV) return { kind: "killed", info: segv };
    return this.force(segv, r);
  }

  #onAlt(sp: bigint): boolean {
    if (this.#alt.flags & SS_AUTODISARM) return false;
    return sp > this.#alt.sp && sp - this.#alt.sp <= this.#alt.size;
  }

  #altFlags(sp: bigint): number {
    if (this.#alt.size === 0n) return SS_DISABLE;
    return this.#onAlt(sp) ? SS_ONSTACK : 0;
  }

  /** Builds the frame. Undefined when it cannot be written. x64_setup_rt_frame(). */
  #start(info: SignalInfo, a: SigAction, r: Registers): Registers | undefined {
    if ((a.flags & SA_RESTORER) === 0n) return undefined;
    const rsp = r.general[RSP] ?? 0n;
    const nested = this.#onAlt(rsp);
    let sp = rsp - REDZONE;
    const entering = (a.flags & SA_ONSTACK) !== 0n && this.#altFlags(rsp) === 0;
    if (entering) sp = this.#alt.sp + this.#alt.size;
    const fx = BigInt.asUintN(64, (sp - FX_SIZE) & ~63n);
    sp = BigInt.asUintN(64, ((fx - FRAME_SIZE) & ~15n) - 8n);
    const inside = sp > this.#alt.sp && sp - this.#alt.sp <= this.#alt.size;
    if ((nested || entering) && !inside) return undefined;
    if (!this.#space.write(fx, this.#fp.save())) return undefined;
    if (!this.#space.write(sp, this.#frame(info, a, r, fx))) return undefined;
    this.#fp.reset();
    if (this.#alt.flags & SS_AUTODISARM) this.#alt = { sp: 0n, size: 0n, flags: SS_DISABLE };
    this.#frames = this.#frames.filter((f) => f.sp > sp || this.#onAlt(sp) !== this.#onAlt(f.sp));
    this.#frames.push({ sp, signal: info.signal, rip: r.rip, rsp });
    this.#suspended = undefined;
    this.blocked = this.#blocked | a.mask | (a.flags & SA_NODEFER ? 0n : bit(info.signal));
    if (a.flags & SA_RESETHAND) this.#actions.delete(info.signal);
    const general = [...r.general];
    general[RAX] = 0n;
    general[RDI] = BigInt(info.signal);
    general[RSI] = sp + BigInt(F.info);
    general[RDX] = sp + BigInt(F.uc);
    general[RSP] = sp;
    return { general, rip: a.handler, rflags: r.rflags & ~(DF | TF | RF) };
  }

  #frame(info: SignalInfo, a: SigAction, r: Registers, fx: bigint): Uint8Array {
    const b = new Uint8Array(Number(FRAME_SIZE));
    const v = new DataView(b.buffer);
    const put = (at: number, x: bigint): void => v.setBigUint64(at, BigInt.asUintN(64, x), true);
    put(0, a.restorer);
    put(F.uc, UC_FLAGS);
    put(F.stack, this.#alt.sp);
    v.setUint32(
      F.stack + 8,
      (this.#altFlags(r.general[RSP] ?? 0n) | (this.#alt.flags & SS_AUTODISARM)) >>> 0,
      true,
    );
    put(F.stack + 16, this.#alt.size);
    CONTEXT_ORDER.forEach((n, i) => put(F.context + i * 8, r.general[n] ?? 0n));
    put(F.context + 128, r.rip);
    put(F.context + 136, r.rflags);
    put(F.context + 144, 0x33n | (0x2bn << 48n)); // cs, gs, fs, ss
    const mask = this.#suspended ?? this.#blocked;
    put(F.context + 152, BigInt(this.#trap.code));
    put(F.context + 160, BigInt(this.#trap.vector));
    put(F.context + 168, mask);
    put(F.context + 176, this.#trap.cr2);
    put(F.context + 184, fx);
    put(F.mask, mask);
    b.set(siginfoBytes(info), F.info);
    return b;
  }

  /** fpu__restore_sig(): no image means a new state; what cannot be loaded leaves one, too, and kills. */
  #restoreFp(fx: bigint): boolean {
    const image = fx === 0n || fx & 15n ? undefined : this.#space.read(fx, Number(FX_SIZE));
    if (image !== undefined && this.#fp.restore(image)) return true;
    this.#fp.reset();
    return fx === 0n;
  }

  /** rt_sigreturn: undefined when the frame cannot be read, or its floating-point state not be loaded. */
  return(r: Registers): Registers | undefined {
    const at = BigInt.asUintN(64, (r.general[RSP] ?? 0n) - 8n);
    const b = this.#space.read(at, F.info);
    if (b === undefined) return undefined;
    const v = new DataView(b.buffer);
    const get = (o: number): bigint => v.getBigUint64(o, true);
    this.blocked = get(F.mask);
    const general = [...r.general];
    CONTEXT_ORDER.forEach((n, i) => (general[n] = get(F.context + i * 8)));
    this.#frames = this.#frames.filter((f) => f.sp !== at);
    if (!this.#restoreFp(get(F.context + 184))) return undefined;
    this.setAlt(
      { sp: get(F.stack), flags: v.getUint32(F.stack + 8, true), size: get(F.stack + 16) },
      general[RSP] ?? 0n,
      0n,
    );
    const rflags = (r.rflags & ~FIX_EFLAGS) | (get(F.context + 136) & FIX_EFLAGS);
    return { general, rip: get(F.context + 128), rflags };
  }

  /** The alternate stack as sigaltstack reports it. */
  alt(sp: bigint): { readonly sp: bigint; readonly size: bigint; readonly flags: number } {
    return { ...this.#alt, flags: (this.#altFlags(sp) | (this.#alt.flags & SS_AUTODISARM)) >>> 0 };
  }

  /** do_sigaltstack(): 0 or a negative error. */
  setAlt(
    ss: { readonly sp: bigint; readonly size: bigint; readonly flags: number },
    sp: bigint,
    least = MINSIGSTKSZ,
  ): number {
    if (this.#onAlt(sp)) return -EPERM;
    const mode = (ss.flags & ~SS_AUTODISARM) >>> 0;
    if (mode !== SS_DISABLE && mode !== SS_ONSTACK && mode !== 0) return -EINVAL;
    if (mode === SS_DISABLE) this.#alt = { sp: 0n, size: 0n, flags: ss.flags >>> 0 };
    else if (ss.size < least) return -ENOMEM;
    else this.#alt = { sp: ss.sp, size: ss.size, flags: ss.flags >>> 0 };
    return 0;
  }
}

/** siginfo_t: number, code, and either an address or who sent it with what. */
export function siginfoBytes(info: SignalInfo): Uint8Array {
  const b = new Uint8Array(128);
  const v = new DataView(b.buffer);
  v.setInt32(0, info.signal, true);
  v.setInt32(8, info.code, true);
  if (info.addr !== undefined) v.setBigUint64(16, info.addr, true);
  else {
    v.setInt32(16, info.pid ?? 0, true);
    v.setInt32(20, info.uid ?? 0, true);
    v.setBigUint64(24, info.value ?? 0n, true);
  }
  return b;
}

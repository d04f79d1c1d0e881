// Which signal a trap becomes, with its code: arch/x86/kernel/traps.c and mm/fault.c. No state.
import {
  BUS_ADRALN,
  FPE_FLTDIV,
  FPE_FLTINV,
  FPE_FLTOVF,
  FPE_FLTRES,
  FPE_FLTUND,
  FPE_INTDIV,
  ILL_ILLOPN,
  SEGV_ACCERR,
  SEGV_MAPERR,
  SIGBUS,
  SIGFPE,
  SIGILL,
  SIGSEGV,
  SIGTRAP,
  SI_KERNEL,
  TASK_SIZE,
  TRAP_BRKPT,
  TRAP_TRACE,
} from "./linux.ts";
import type { SignalInfo } from "./signals.ts";

/** What is unmasked among the flags of an #MF or #XM, one code for all. fpu__exception_code(). */
function floatingCode(flags: number): number {
  if (flags & 1) return FPE_FLTINV;
  if (flags & 4) return FPE_FLTDIV;
  if (flags & 8) return FPE_FLTOVF;
  if (flags & 0x12) return FPE_FLTUND;
  return flags & 0x20 ? FPE_FLTRES : 0;
}

/** The flags of an image of FXSAVE that are up and not masked: the x87 FPU's for #MF, those of SSE for #XM. */
function unmasked(vector: number, fx: Uint8Array): number {
  const v = new DataView(fx.buffer, fx.byteOffset);
  if (vector === 16) return v.getUint16(2, true) & ~v.getUint16(0, true);
  const mxcsr = v.getUint32(24, true);
  return mxcsr & ~(mxcsr >> 7);
}

/** fx: the floating-point state as FXSAVE has it. memory: how the page fault ended, for #PF. stepped: DR6.BS, for #DB. */
export function signalOfTrap(
  vector: number,
  code: number,
  rip: bigint,
  cr2: bigint,
  memory: "maperr" | "accerr" | undefined,
  fx: () => Uint8Array,
  stepped: boolean,
): SignalInfo {
  // set_signal_archinfo(): a kernel address is always a protection fault to the program.
  const seen = vector === 14 && cr2 >= TASK_SIZE ? code | 1 : code;
  const trap = { vector, code: seen, cr2 };
  switch (vector) {
    case 0:
      return { signal: SIGFPE, code: FPE_INTDIV, addr: rip, trap };
    case 1:
      // get_si_code(): what is not a single step is INT1, for a program sets no breakpoints in debug registers.
      return { signal: SIGTRAP, code: stepped ? TRAP_TRACE : TRAP_BRKPT, addr: rip, trap };
    case 3:
      return { signal: SIGTRAP, code: SI_KERNEL, trap };
    case 6:
      return { signal: SIGILL, code: ILL_ILLOPN, addr: rip, trap };
    case 11:
    case 12:
      return { signal: SIGBUS, code: SI_KERNEL, trap };
    case 14:
      return {
        signal: SIGSEGV,
        code: memory === "accerr" ? SEGV_ACCERR : SEGV_MAPERR,
        addr: cr2,
        trap,
      };
    case 16:
    case 19:
      return {
        signal: SIGFPE,
        code: floatingCode(unmasked(vector, fx()) & 0x3f),
        addr: rip,
        trap,
      };
    case 17:
      return { signal: SIGBUS, code: BUS_ADRALN, addr: 0n, trap };
    default:
      return { signal: SIGSEGV, code: SI_KERNEL, trap };
  }
}

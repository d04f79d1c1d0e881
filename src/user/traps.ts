// Which signal a trap becomes, with its code: arch/x86/kernel/traps.c and mm/fault.c. No state.
import {
  BUS_ADRALN,
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
  TRAP_TRACE,
} from "./linux.ts";
import type { SignalInfo } from "./signals.ts";

/** memory: how the page fault ended, for #PF. */
export function signalOfTrap(
  vector: number,
  code: number,
  rip: bigint,
  cr2: bigint,
  memory: "maperr" | "accerr" | undefined,
): SignalInfo {
  // set_signal_archinfo(): a kernel address is always a protection fault to the program.
  const seen = vector === 14 && cr2 >= TASK_SIZE ? code | 1 : code;
  const trap = { vector, code: seen, cr2 };
  switch (vector) {
    case 0:
      return { signal: SIGFPE, code: FPE_INTDIV, addr: rip, trap };
    case 1:
      return { signal: SIGTRAP, code: TRAP_TRACE, addr: rip, trap };
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
    case 17:
      return { signal: SIGBUS, code: BUS_ADRALN, addr: 0n, trap };
    default:
      return { signal: SIGSEGV, code: SI_KERNEL, trap };
  }
}

// Unwinding by frame pointers, as arch/x86/kernel/unwind_frame.c does: rbp points to {caller's rbp, return address},
// or with bit 0 set to a pt_regs. It needs no table, and is wrong wherever rbp is not the running function's.
import type { Registers, Row, Surroundings, Unwinder } from "./row.ts";

/** (sp, ip, bp) = (bp + 16, *(bp + 8), *bp). */
const FRAME: Row = { kind: "call", cfa: { reg: "bp", offset: 16 }, ra: -8, bp: -16 };

/** asm/frame.h, encode_frame_pointer(): the entry code points rbp at its pt_regs, plus one. */
const ENCODED_REGS: Row = { kind: "regs", at: { reg: "bp", offset: -1 } };

/** At ip 0 the caller has called NULL and its return address is all there is: a frame faked at sp - 8. */
const CALLED_NULL: Row = { kind: "call", cfa: { reg: "sp", offset: 8 }, ra: -8, bp: undefined };

function find(at: Registers): Row {
  if (at.ip === 0n) return CALLED_NULL;
  return (at.bp & 1n) === 1n ? ENCODED_REGS : FRAME;
}

/**
 * The frame below task_pt_regs is the last: rbp was task_pt_regs - 16; or 8 lower with the same return address, where
 * the prologue realigned the stack; or 24 lower, inside of ftrace at the entry of the last function.
 *
 * kernel  arch/x86/kernel/unwind_frame.c, is_last_task_frame()
 */
function isLast(at: Registers, { peek, ptRegsVa }: Surroundings): boolean {
  const bp = at.sp - 16n;
  const last = ptRegsVa - 16n;
  if (bp === last) return true;
  if (bp === last - 8n) return peek(bp + 8n) === peek(last + 8n);
  return bp === last - 24n && peek(bp) === peek(bp + 16n) && peek(bp + 8n) === peek(bp + 32n);
}

export const FRAME_POINTER: Unwinder = { name: "fp", canBeReliable: true, find, isLast };

// What a row of the instruction table says. The rows themselves are in x86.ts, sse.ts, mmx.ts and x87.ts.

/**
 * One form.
 *
 * opcode    prefixes that choose the form (np: none of 66 f3 f2), opcode bytes, /r or /digit, a fixed ModRM byte, immediates
 *           (ib iw iz iv, rel8 rel32, mo a 64-bit offset, en the two of ENTER)
 * syntax    mnemonic and operands: E ModRM r/m, G ModRM reg, Z opcode reg, M memory, R register, S C D segment, control
 *           and debug registers, V XMM reg, W XMM r/m, U XMM r/m register only, I immediate, J relative, O offset;
 *           P MMX register, Q MMX r/m, N MMX r/m register only, ST a register of the x87 stack;
 *           b w d q 8 to 64 bits, t 80, v 16/32/64, y 32/64
 * does      the operation in assembly/ (function.Class), `:v` its width where no operand tells, `!` no operand classes
 * flags     written flags, then after ? those that the SDM leaves undefined
 * attrs     lock: LOCK is legal · end: ends a block · branch: direct · f64/d64: operand size · priv: ring 0 · rep · rexw: only
 *           with REX.W · sp, spany, spalways: may write rsp through the first, any or no operand
 *           simd: works on XMM state and finds its operands itself; #UD and #NM as CR0 and CR4 say
 *           x87, mmx: works on x87 state and finds its operands itself, its checks included
 * example   bytes, and what objdump -M intel prints for them
 */
export interface Form {
  readonly opcode: string;
  readonly syntax: string;
  readonly does: string;
  readonly flags: string;
  readonly attrs: string;
  readonly example: string;
}

/** A row of a table. */
export function x(
  opcode: string,
  syntax: string,
  does: string,
  flags: string,
  attrs: string,
  example: string,
): Form {
  return { opcode, syntax, does, flags, attrs, example };
}

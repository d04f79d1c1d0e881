// What the core must know of a micro-op when it executes an instruction alone: whether it reads the memory that it writes,
// and what it does to a store buffer and to instructions that were fetched before. By the name of the operation.
import {
  FIRST_ROW_UOP,
  KINDS,
  KIND_DRAINS,
  KIND_LOCKED,
  KIND_RMW,
  KIND_SERIALIZES,
} from "../../assembly/abi.ts";

const RMW =
  /^(alu<(?!Cmp|Test)|unary|incDec|notNeg|shift|bit<(?!Bt,)|bitString<(?!Bt,)|xadd|cmpxchg|xchg)/;
const LOCKED = /^xchg/;
// SDM Vol. 3A, "Store Buffer": exceptions, serializing and I/O instructions, LOCK, SFENCE, MFENCE.
const DRAINS = /^(fence|portIn|portOut|insOuts|int\d?\(|intN|iret|hlt|vmcall)/;
// SDM Vol. 3A, "Serializing Instructions". WRMSR is one, but for some registers, which it looks at itself.
const SERIALIZES = /^(serialize|cpuid|iret|movToDr|loadTable|lldt|ltr|invlpg|lmsw)/;

/** KIND_* of an operation. */
export function kindOf(call: string): number {
  return (
    (RMW.test(call) ? KIND_RMW : 0) |
    (LOCKED.test(call) ? KIND_LOCKED : 0) |
    (DRAINS.test(call) ? KIND_DRAINS : 0) |
    (SERIALIZES.test(call) ? KIND_SERIALIZES : 0)
  );
}

/** The table by micro-op. */
export function kindTable(calls: readonly string[]): { at: number; bytes: Uint8Array } {
  const bytes = new Uint8Array(FIRST_ROW_UOP + calls.length);
  calls.forEach((c, i) => (bytes[FIRST_ROW_UOP + i] = kindOf(c)));
  return { at: KINDS, bytes };
}

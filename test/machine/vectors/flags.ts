// Which flags the manual leaves undefined after one instruction whose operands are known. The table says it for the form;
// shifts and rotates depend on their count. SDM Vol. 2, "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR", "SHLD".
import type { Operands } from "../native/encode.ts";
import { C, O, type Row } from "../native/rows.ts";

export function undefinedFlags(row: Row, o: Operands, rcx: bigint): number {
  if (!/^(shift|shiftDouble)\./.test(row.form.does)) return row.undefined;
  const bits = row.operands[0] === "Eb" ? 8 : o.size;
  const mask = bits === 64 ? 63n : 31n;
  const count = row.operands.includes("1") ? 1n : row.operands.includes("CL") ? rcx : o.imm;
  const n = Number(count & mask);
  if (n === 0) return 0;
  if (n === 1) return row.undefined & ~O;
  const rotate = /Ro[lr]|Rc[lr]/.test(row.form.does);
  return row.undefined | (!rotate && n >= bits ? C : 0);
}

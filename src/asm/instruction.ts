// Executes one instruction statement: branches become relaxable fragments, the rest is encoded at once
// with fixups for what waits for an address.
import type { Encoder } from "./encode.ts";
import { Reason } from "./errors.ts";
import type { StatementPlace } from "./layout.ts";
import { conditionOfJump } from "./mnemonics.ts";
import { parseInstruction } from "./operand.ts";
import type { Program } from "./program.ts";
import { PREFIX_BYTES } from "./mnemonics.ts";

/** Assembles an instruction into the current section. */
export function assembleInstruction(
  program: Program,
  encoder: Encoder,
  text: string,
  stmt: StatementPlace,
): void {
  const ins = parseInstruction(text, program);
  const { current } = program;
  program.lines.push({ at: current.here(), file: stmt.at.file, line: stmt.at.line });
  const [target] = ins.operands;
  const jump = /^jmpq?$/.test(ins.mnemonic);
  const cc = conditionOfJump(ins.mnemonic);
  const call = /^callq?$/.test(ins.mnemonic);
  if (target?.k === "expr" && !target.indirect && (jump || call || cc !== undefined)) {
    if (ins.operands.length !== 1 || target.segment !== undefined) {
      throw new Reason(`${ins.mnemonic} takes one label`);
    }
    if (current.type === "nobits") throw new Reason(`section ${current.name} holds no bytes`);
    const prefixes = ins.prefixes.map((p) => PREFIX_BYTES[p] ?? 0);
    if (program.constant(target.expr) !== undefined) {
      throw new Reason("branch to an absolute address: expected a label");
    }
    if (call) {
      program.emit([...prefixes, 0xe8]);
      program.fixup({ size: 4, expr: target.expr, pcTail: 4, signed: true, branch: true, stmt });
      program.emit([0, 0, 0, 0]);
      return;
    }
    if (prefixes.length > 0) program.emit(prefixes);
    if (target.plt) {
      // gas does not relax a branch that names its relocation.
      program.emit(cc === undefined ? [0xe9] : [0x0f, 0x80 | cc]);
      program.fixup({ size: 4, expr: target.expr, pcTail: 4, signed: true, branch: true, stmt });
      program.emit([0, 0, 0, 0]);
      return;
    }
    current.addFrag({ k: "branch", cc, target: target.expr, size: 2, stmt });
    return;
  }
  const encoded = encoder.encode(ins, (e) => program.constant(e));
  const { fields } = encoded;
  const bytes = fields.length === 0 ? encoded.bytes : encoded.bytes.slice();
  for (const f of fields) {
    bytes.fill(0, f.off, f.off + f.size);
    program.fixup(
      {
        size: f.size,
        expr: f.expr,
        pcTail: f.pcRelative ? bytes.length - f.off : undefined,
        signed: f.signed,
        branch: false,
        stmt,
      },
      f.off,
    );
  }
  program.emit(bytes);
}

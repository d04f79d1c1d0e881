// docs/isa.md as text: every form of the instruction table in the order of the table, with what the flags columns say.
// A test holds the file to it.
import type { Form } from "./x86.ts";

const HEAD = `# The instruction set

Made from the rows of src/isa/x86.ts, sse.ts, sse4.ts, mmx.ts and x87.ts; \`npm test -- -u\` writes it anew. An encoding
that no row lists is #UD.
The notation is that of the SDM's Opcode column and Appendix A: E and G are the ModRM r/m and reg operands, Z a register in
the opcode, M memory only, R a register only, S C D segment, control and debug registers, V W U the XMM and P Q N the
MMX registers of G E R, ST the x87 stack, I an immediate, J a relative and O an absolute address; b w d q are 8 to 64 bits, v is 16, 32 or 64 by operand size, y 32 or
64. Flags after \`?\` are left undefined by the SDM and masked in comparisons.

What CPUID advertises works, and what it does not is #UD; but hints (0F 0D, 0F 18 to 0F 1F) are NOPs where they have no other
meaning, and F3 before BSF or WBINVD is ignored, there being neither TZCNT nor WBNOINVD.

## Limits

- A REP instruction counts as one instruction. Interrupts, debug traps and faults come between its iterations, and it goes on
  from there.
- The x87 FPU computes with 80 bits, bit for bit, and its transcendental functions within 0.51 units in the last place; the
  selectors of its pointers read as 0, as CPUID says.
- Where vendors differ it is Intel's CPUs: 66 before a near branch changes nothing, REX.W makes a far pointer 64 bits wide, and
  a prefetch of a register does nothing.
- Code segments of 16 and 32 bits are not there: a transfer to one ends the run as unsupported.

## Forms

| opcode | form | flags | attributes | example |
| --- | --- | --- | --- | --- |
`;

function cell(text: string): string {
  return text === "" ? "" : `\`${text.replaceAll("|", "\\|")}\``;
}

/** The document. Deterministic. */
export function isaMarkdown(forms: readonly Form[]): string {
  const rows = forms.map((f) => {
    const [bytes = "", text = ""] = f.example.split(" | ");
    return `| ${cell(f.opcode)} | ${cell(f.syntax)} | ${cell(f.flags)} | ${f.attrs} | ${cell(bytes)} ${cell(text)} |`;
  });
  return `${HEAD}${rows.join("\n")}\n`;
}

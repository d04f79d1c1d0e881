// Random legal statements: what is assembled decodes to what was written. The decoder is iced-x86, asked here for
// GNU syntax, so this is another road than the assembler's own check.
import fc from "fast-check";
import { Decoder, DecoderOptions, Formatter, FormatterSyntax } from "iced-x86";
import { beforeAll, describe, expect, test } from "vitest";
import type { Assembler } from "../../src/asm/index.ts";
import { makeAssembler } from "../../src/asm/index.ts";

let assembler: Assembler;
beforeAll(async () => {
  assembler = await makeAssembler();
});

function bytesOf(statement: string): Uint8Array {
  const o = assembler.assemble({ name: "in.S", text: statement }, { include: () => undefined });
  return o.sections[0]?.bytes ?? new Uint8Array(0);
}

/** Text of the one instruction in bytes, in a spelling of its own: no spaces, hexadecimal, no suffix. */
function decode(bytes: Uint8Array): { readonly text: string; readonly length: number } {
  const decoder = new Decoder(64, bytes, DecoderOptions.None);
  const formatter = new Formatter(FormatterSyntax.Gas);
  const insn = decoder.decode();
  formatter.gasShowMnemonicSizeSuffix = false;
  formatter.showBranchSize = false;
  formatter.uppercaseHex = false;
  formatter.gasSpaceAfterMemoryOperandComma = false;
  formatter.spaceAfterOperandSeparator = false;
  formatter.smallHexNumbersInDecimal = false;
  formatter.signedImmediateOperands = true;
  const out = { text: formatter.format(insn), length: insn.length };
  insn.free();
  formatter.free();
  decoder.free();
  return out;
}

const R64 = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");
const R32 = "eax ecx edx ebx esp ebp esi edi r8d r9d r10d r11d r12d r13d r14d r15d".split(" ");
const edge = fc.oneof(
  fc.constantFrom(0, 1, -1, 127, 128, -128, -129, 0x7fffffff, -0x80000000),
  fc.integer({ min: -0x80000000, max: 0x7fffffff }),
);
const width = fc.constantFrom<64 | 32>(64, 32);
const num = (v: number): string => (v < 0 ? `-0x${(-v).toString(16)}` : `0x${v.toString(16)}`);

const memory = fc
  .record({
    base: fc.constantFrom(...R64),
    index: fc.option(fc.constantFrom(...R64.filter((r) => r !== "rsp")), { nil: undefined }),
    scale: fc.constantFrom(1, 2, 4, 8),
    disp: edge,
    segment: fc.constantFrom("", "", "", "%gs:", "%fs:"),
  })
  .map((m) => {
    const index = m.index === undefined ? "" : `,%${m.index},${m.scale}`;
    const shown = m.index === undefined ? "" : m.scale === 1 ? `,%${m.index}` : index;
    const disp = m.disp === 0 ? "" : num(m.disp);
    return {
      written: `${m.segment}${disp}(%${m.base}${index})`,
      decoded: `${m.segment}${disp}(%${m.base}${shown})`,
      base: m.base,
    };
  });

const register = (w: 64 | 32) => fc.nat(15).map((i) => (w === 64 ? R64[i] : R32[i]) ?? "");
const ALU = ["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"];

describe("a random statement", () => {
  test("with two registers decodes to what was written", () => {
    fc.assert(
      fc.property(
        width.chain((w) => fc.tuple(register(w), register(w))),
        fc.constantFrom("mov", ...ALU),
        ([a, b], op) => {
          const bytes = bytesOf(`${op} %${a}, %${b}`);
          expect(decode(bytes)).toEqual({ text: `${op} %${a},%${b}`, length: bytes.length });
        },
      ),
    );
  });

  test("with an immediate decodes to what was written", () => {
    fc.assert(
      fc.property(register(64), edge, fc.constantFrom("mov", ...ALU), (r, v, op) => {
        const bytes = bytesOf(`${op} $${v}, %${r}`);
        expect(decode(bytes)).toEqual({ text: `${op} $${num(v)},%${r}`, length: bytes.length });
      }),
    );
  });

  test("with memory decodes to what was written", () => {
    fc.assert(
      fc.property(
        width.chain((w) => register(w)),
        memory,
        fc.constantFrom("mov", ...ALU),
        fc.boolean(),
        (r, m, op, load) => {
          const text = load ? `${op} ${m.written},%${r}` : `${op} %${r},${m.written}`;
          const decoded = load ? `${op} ${m.decoded},%${r}` : `${op} %${r},${m.decoded}`;
          const bytes = bytesOf(text);
          expect(decode(bytes)).toEqual({ text: decoded, length: bytes.length });
        },
      ),
    );
  });

  test("is no longer with spaces, comments or capitals in its mnemonic", () => {
    fc.assert(
      fc.property(register(64), memory, (r, m) => {
        const plain = bytesOf(`mov ${m.written},%${r}`);
        expect(bytesOf(`\t MOV\t${m.written} , %${r} # comment`)).toEqual(plain);
        expect(bytesOf(`/* a */ mov ${m.written}, /* b */ %${r};`)).toEqual(plain);
      }),
      { numRuns: 30 },
    );
  });
});

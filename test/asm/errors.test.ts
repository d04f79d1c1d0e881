// What the assembler says about broken sources, and that it says it whatever they are.
import fc from "fast-check";
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import type { Assembler, Obj } from "../../src/asm/index.ts";
import { AsmError, makeAssembler } from "../../src/asm/index.ts";

let assembler: Assembler;
beforeAll(async () => {
  assembler = await makeAssembler();
});

function assemble(text: string, files: Readonly<Record<string, string>> = {}): Obj {
  return assembler.assemble({ name: "in.S", text }, { include: (p) => files[p] });
}

function messageOf(text: string, files: Readonly<Record<string, string>> = {}): string {
  try {
    assemble(text, files);
  } catch (e) {
    if (e instanceof AsmError) return e.message;
    throw e;
  }
  return "no error";
}

describe("an error", () => {
  test.each([
    ["mov %eax,%foo", /^in\.S:1: unknown register %foo in "mov %eax,%foo"$/],
    ["nop\nmovl %rax,%ebx", /^in\.S:2: no such instruction, or its operands do not match in /],
    ["frobnicate %rax", /no such instruction/],
    ["jmpq 0x2000", /branch to an absolute address/],
    ["mov $1,(%rax)", /expected a suffix b, w, l or q/],
    ["add $0x123456789,%rax", /immediate 4886718345 does not fit 32 bits/],
    ["movb $256,%al", /does not fit 8 bits/],
    ["mov 0x123456789(%rax),%rbx", /displacement 4886718345 does not fit/],
    ["call %rax", /indirect call needs a \*/],
    ["lock mov %rax,%rbx", /not a legal instruction/],
    ["into", /not a legal instruction/],
    ["lea (%rax,%rsp),%rbx", /%rsp cannot be an index/],
    ["mov (%rax,%ebx),%rcx", /differ in size/],
    ["mov (%rax,%rbx,3),%rcx", /bad scale 3/],
    ["jmp 1f", /label 1: does not follow/],
    ["jmp 1b", /no label 1: before/],
    ["a: nop\na: nop", /^in\.S:2: symbol a is already defined/],
    [".byte 256", /value 256 does not fit 1 bytes/],
    [".long a*2", /not a symbol plus a constant/],
    [".if x\n.endif", /"x" is not a constant here/],
    [".if 1\nnop", /^in\.S:1: \.if without its \.endif/],
    [".endif", /\.endif without \.if/],
    [".macro m\nnop", /\.macro without its end/],
    [".rept 3\nnop", /\.rept without its end/],
    [".popsection", /\.popsection without \.pushsection/],
    [".frob", /unknown directive \.frob/],
    ['.include "none.inc"', /cannot find the file "none\.inc"/],
    ['.error "the reason"', /the reason/],
    [".org 4\n.org 2", /attempt to move \.org backwards by 2 bytes/],
    [".bss\n.byte 1", /section \.bss holds no bytes/],
    [".set a, b\n.set b, a\n.quad a", /defined by itself/],
    [".cfi_startproc", /without \.cfi_endproc/],
    ['.ascii "abc', /string without an end/],
    ["/* abc", /comment without an end/],
    [".byte 1/0", /division by zero/],
    [".p2align 40", /alignment 2\^40 is too large/],
    [".skip 1<<40", /beyond 2\^28/],
    ['.section .x,"aq"', /unknown section flag "q"/],
    ["x: loop far\n.skip 200\nfar:", /does not fit 1 bytes/],
  ])("in %j names the place and the reason", (text, expected) => {
    expect(messageOf(text)).toMatch(expected);
  });

  test("in a macro in an included file tells the way there, innermost first", () => {
    const files = {
      "m.inc": "\n.macro inner x\n\tmov \\x\n.endm\n.macro outer y\n\tinner \\y\n.endm\n",
    };
    try {
      assemble('nop\n.include "m.inc"\nouter %rax', files);
      expect.unreachable();
    } catch (e) {
      if (!(e instanceof AsmError)) throw e;
      expect([e.file, e.line, e.statement]).toEqual(["m.inc", 3, "mov %rax"]);
      expect(e.backtrace).toEqual(["macro inner at m.inc:6", "macro outer at in.S:3"]);
      expect(e.message).not.toMatch(/\n/);
    }
  });

  test.each([
    [".macro m\nm\n.endm\nm", /nested more than 100 deep/],
    [".rept 100000000\n.rept 100000000\nnop\n.endr\n.endr", /more than 1000000 lines/],
    ['.include "self.inc"', /nested more than 100 deep/],
    ["(".repeat(100_000), /./],
    [`.byte ${"(".repeat(5000)}1`, /nested too deeply/],
    [`.byte ${"-".repeat(5000)}1`, /nested too deeply/],
    [
      Array.from({ length: 60 }, (_, i) => `.set a${i + 1}, a${i}+a${i}`).join("\n") +
        "\n.quad a60",
      /too deep/,
    ],
  ])("ends a source that would never end: %.40s", (text, expected) => {
    expect(messageOf(text, { "self.inc": '.include "self.inc"' })).toMatch(expected);
  });
});

const SEEDS = ["statements", "control", "sections", "macro-arguments", "relocations"].map((n) =>
  readFileSync(new URL(`./cases/${n}.s`, import.meta.url), "utf8").split("\n"),
);

/** Lines of the test files, with characters dropped, doubled, swapped and lines shuffled. */
const brokenSource = fc
  .array(
    fc.record({
      file: fc.nat(SEEDS.length - 1),
      line: fc.nat(500),
      edit: fc.constantFrom("keep", "keep", "cut", "drop", "insert", "double"),
      at: fc.nat(60),
      text: fc.string({ maxLength: 4 }),
    }),
    { minLength: 1, maxLength: 25 },
  )
  .map((edits) =>
    edits
      .map(({ file, line, edit, at, text }) => {
        const lines = SEEDS[file] ?? [""];
        const l = lines[line % lines.length] ?? "";
        const i = at % (l.length + 1);
        if (edit === "cut") return l.slice(0, i);
        if (edit === "drop") return l.slice(0, i) + l.slice(i + 1);
        if (edit === "insert") return l.slice(0, i) + text + l.slice(i);
        return edit === "double" ? `${l}${l}` : l;
      })
      .join("\n"),
  );

describe("a broken source", () => {
  test("gives an object or an AsmError, never another exception", () => {
    fc.assert(
      fc.property(brokenSource, (text) => {
        messageOf(text);
      }),
      { numRuns: 300 },
    );
  });

  test("of arbitrary text gives an object or an AsmError", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
        messageOf(text);
      }),
      { numRuns: 500 },
    );
  });
});

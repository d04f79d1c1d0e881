// The ELF reader: what a compiler's object says, and that a broken file is an ElfError.
import fc from "fast-check";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ElfError, readElf } from "../../src/link/index.ts";

const file = new Uint8Array(
  Buffer.from(readFileSync(new URL("./sample.o.b64", import.meta.url), "utf8"), "base64"),
);

describe("a compiler's object", () => {
  const o = readElf(file, "sample.o");

  test("has its sections with their flags", () => {
    const text = o.sections.find((s) => s.name === ".text.work");
    expect(text?.flags).toEqual({ alloc: true, write: false, exec: true });
    expect(text?.bytes.length).toBe(text?.size);
    expect(o.sections.find((s) => s.name === ".bss.buffer")).toMatchObject({
      type: "nobits",
      size: 256,
    });
    expect(o.sections.some((s) => s.name.startsWith(".rela") || s.name === ".symtab")).toBe(false);
  });

  test("has its symbols", () => {
    const work = o.symbols.find((s) => s.name === "work");
    expect(work).toMatchObject({ type: "func", bind: "global" });
    expect(work?.size).toBeGreaterThan(0n);
    expect(o.symbols.find((s) => s.name === "outside")).toMatchObject({
      section: "undef",
      bind: "global",
    });
  });

  test("has its relocations, each against a symbol of the table", () => {
    const text = o.sections.find((s) => s.name === ".text.work");
    const named = text?.relocs.map((r) => [r.type, o.symbols[r.symbol]?.name]);
    expect(named).toContainEqual(["R_X86_64_PLT32", "__fentry__"]);
    expect(named).toContainEqual(["R_X86_64_PLT32", "outside"]);
    const mcount = o.sections.find((s) => s.name === "__mcount_loc");
    expect(mcount?.relocs.map((r) => r.type)).toEqual(["R_X86_64_64"]);
  });
});

describe("a broken file is an ElfError:", () => {
  const edited = (at: number, value: number): Uint8Array => {
    const copy = file.slice();
    copy[at] = value;
    return copy;
  };
  test.each([
    ["nothing", new Uint8Array(0), /0 bytes are no ELF file/],
    ["text", new TextEncoder().encode("x".repeat(100)), /no ELF magic/],
    ["32 bits", edited(4, 1), /expected ELFCLASS64/],
    ["an executable", edited(16, 2), /e_type is 2: expected 1/],
    ["another machine", edited(18, 3), /e_machine is 3: expected 62/],
    ["a header table outside", edited(0x2e, 1), /outside the file|e_shoff/],
    ["cut short", file.slice(0, 300), /outside the file/],
  ])("%s", (_, bytes, expected) => {
    expect(() => readElf(bytes, "x.o")).toThrow(ElfError);
    expect(() => readElf(bytes, "x.o")).toThrow(expected);
  });

  test("any bytes changed give an object or an ElfError", () => {
    const edit = fc.tuple(fc.nat(file.length - 1), fc.nat(255));
    fc.assert(
      fc.property(
        fc.array(edit, { minLength: 1, maxLength: 12 }),
        fc.nat(file.length),
        (edits, keep) => {
          const copy = file.slice(0, keep < 64 ? file.length : keep);
          for (const [at, v] of edits) if (at < copy.length) copy[at] = v;
          try {
            readElf(copy, "x.o");
          } catch (e) {
            expect(e).toBeInstanceOf(ElfError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

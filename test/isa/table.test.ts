// The table itself: its rows pack, its examples decode as iced-x86 decodes them, and no two rows claim one encoding.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Code, Decoder, DecoderOptions, Mnemonic } from "iced-x86";
import { describe, expect, test } from "vitest";
import { X86, packIsa } from "../../src/isa/index.ts";
import { BareDecoder } from "./decoder.ts";

const decoder = new BareDecoder();

function exampleBytes(example: string): Uint8Array {
  const hex = example.split("|")[0] ?? "";
  return Uint8Array.from(hex.trim().split(" "), (h) => parseInt(h, 16));
}

// Where objdump's word and iced's differ.
const ALIASES: Readonly<Record<string, string>> = {
  xlat: "xlatb",
  movsv: "movsq",
  cmpsv: "cmpsq",
  stosv: "stosq",
  lodsv: "lodsq",
  scasv: "scasq",
  pushf: "pushfq",
  popf: "popfq",
  nop: "nop|reservednop",
  shl: "shl|sal",
  prefetch: "prefetch|prefetchw|prefetchwt1|prefetchreserved",
};

describe("the instruction table", () => {
  test.each(X86.map((f) => [f.opcode, f.syntax, f.example] as const))(
    "%s %s: the example has the length and the name that iced-x86 gives it",
    (_opcode, syntax, example) => {
      const bytes = exampleBytes(example);
      const d = new Decoder(64, bytes, DecoderOptions.None);
      const i = d.decode();
      const name = Mnemonic[i.mnemonic]?.toLowerCase() ?? "";
      const length = i.code === Code.INVALID ? 0 : i.length;
      i.free();
      d.free();
      const padded = new Uint8Array(32).fill(0x90);
      padded.set(bytes);
      const ours = decoder.decode(padded);
      expect(ours).not.toBe("past the limit");
      expect({ length, ours: ours === "past the limit" ? 0 : ours.length }).toEqual({
        length: bytes.length,
        ours: bytes.length,
      });
      const word = syntax.split(" ")[0] ?? "";
      expect((ALIASES[word] ?? word).split("|")).toContain(name);
    },
  );

  test("a second row for an encoding throws", () => {
    for (const again of [X86[0], X86[8], X86.find((f) => f.opcode === "f3 90")]) {
      if (!again) throw new Error("no such row");
      expect(() => packIsa([...X86, { ...again, syntax: "twice Ev, Gv" }])).toThrow(
        /claim the same encoding/,
      );
    }
    expect(() => packIsa(X86)).not.toThrow();
  });

  test("packing is deterministic, and the built core carries what it gives", () => {
    expect(packIsa()).toEqual(packIsa());
    const file = readFileSync(join(import.meta.dirname, "../../dist/core.wasm"));
    const [section] = WebAssembly.Module.customSections(new WebAssembly.Module(file), "isa.tables");
    const expected = packIsa().patches.flatMap(({ at, bytes }) => [
      Buffer.from(Uint32Array.of(at, bytes.length).buffer),
      bytes,
    ]);
    expect(Buffer.concat(expected).equals(Buffer.from(section ?? new ArrayBuffer(0)))).toBe(true);
  });
});

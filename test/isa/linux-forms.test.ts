// The instruction forms that Linux kernels and their user programs were seen to execute while they booted: each
// decodes as iced-x86 decodes it and names the row that serves it, or is #UD because CPUID does not promise it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Code, Decoder, DecoderOptions, Mnemonic } from "iced-x86";
import { describe, expect, test } from "vitest";
import { BareDecoder } from "./decoder.ts";
import { Promises, bitName, featuresOf } from "./features.ts";

interface Seen {
  /** K in the kernel, U in a user program. */
  readonly mode: string;
  readonly form: string;
  readonly bytes: Uint8Array;
  readonly text: string;
}

const SEEN: readonly Seen[] = readFileSync(join(import.meta.dirname, "linux-forms.txt"), "utf8")
  .trim()
  .split("\n")
  .map((line) => {
    const [mode = "", form = "", hex = "", text = ""] = line.split("|");
    return { mode, form, bytes: Uint8Array.from(Buffer.from(hex, "hex")), text };
  });

// Names of one operation in iced-x86 and in the table.
const SAME: readonly (readonly [RegExp, RegExp])[] = [
  [/^(movs|cmps|stos|lods|scas|ins|outs)[bwdq]$/, /^(movs|cmps|stos|lods|scas|ins|outs)[bv]$/],
  [/^(cbw|cwde|cdqe)$/, /^cwde$/],
  [/^(cwd|cdq|cqo)$/, /^cdq$/],
  [/^(push|pop)f[wq]$/, /^(push|pop)f$/],
  [/^fx(save|rstor)64$/, /^fx(save|rstor)$/],
  [/^tzcnt$/, /^bsf$/], // F3 before BSF means nothing to a CPU without BMI1
  [/^movq$/, /^movd$/],
  [/^pextrq$/, /^pextrd$/],
  [/^pinsrq$/, /^pinsrd$/],
  [/^cmpxchg16b$/, /^cmpxchg8b$/],
  [/^movabs$/, /^mov$/],
  [/^sysretq$/, /^sysretq?$/],
  [/^sal$/, /^shl$/],
];

// Instructions that a CPU which does not promise them runs as others.
const HINTS = /^(tzcnt|endbr64)$/;

describe("forms that Linux was seen to execute", () => {
  const decoder = new BareDecoder();
  const promises = new Promises();

  test("there are 855 of them, none twice", () => {
    expect(SEEN.length).toBe(855);
    expect(new Set(SEEN.map((s) => `${s.mode} ${s.form}`)).size).toBe(855);
  });

  test("each has iced's length and a row of its name, or CPUID does not promise it and it is #UD", () => {
    const wrong: string[] = [];
    const absent = new Map<string, number>();
    let served = 0;
    for (const { mode, form, bytes, text } of SEEN) {
      const padded = new Uint8Array(32).fill(0x90);
      padded.set(bytes);
      const ours = decoder.decode(padded);
      const d = new Decoder(64, padded, DecoderOptions.None);
      const i = d.decode();
      const name = (Mnemonic[i.mnemonic] ?? "").toLowerCase();
      const features = featuresOf(i);
      const lacking = features.find((f) => !promises.has(f));
      const { code, length } = i;
      i.free();
      d.free();
      const say = (what: string): void => void wrong.push(`${mode} ${form} (${text}): ${what}`);
      if (code === Code.INVALID || length !== bytes.length) say(`iced reads ${length} bytes`);
      else if (ours === "past the limit") say("reads past the end");
      else if (lacking !== undefined && !HINTS.test(name)) {
        if (ours.vector !== 6) say(`works, and ${bitName(lacking)} is down`);
        absent.set(bitName(lacking), (absent.get(bitName(lacking)) ?? 0) + 1);
      } else if (ours.vector !== undefined) say(`raises ${ours.vector}`);
      else if (ours.length !== length) say(`length ${ours.length}, iced ${length}`);
      else {
        served++;
        const row = ours.form?.syntax.split(" ")[0] ?? "";
        if (row !== name && !SAME.some(([a, b]) => a.test(name) && b.test(row)))
          say(`served by the row "${ours.form?.syntax}", iced calls it ${name}`);
      }
    }
    expect(wrong).toEqual([]);
    const lack = [...absent.values()].reduce((a, b) => a + b, 0);
    expect(served + lack).toBe(SEEN.length);
    expect([...absent.keys()].filter((k) => !k.startsWith("CPUID"))).toEqual([]);
  });
});

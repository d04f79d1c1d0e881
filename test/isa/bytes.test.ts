// Random bytes: the decoder's length is iced-x86's wherever a row lists the encoding, what no row lists is #UD, and
// executing any bytes at either privilege neither throws nor hangs.
import { Code, Decoder, DecoderOptions } from "iced-x86";
import { describe, expect, test } from "vitest";
import { EmulatedCpu } from "../machine/native/emulated.ts";
import { Random, edgy } from "../machine/native/random.ts";
import { CODE, DATA, MXCSR_RESET, NO_FPU, NO_XMM, STACK } from "../machine/native/layout.ts";
import { BareDecoder } from "./decoder.ts";
import { Promises } from "./features.ts";
import { PREFIXES, someBytes } from "./random-bytes.ts";

const COMPARED = Number(process.env["QUIESCE_BYTES"] ?? 200_000);
const EXECUTED = COMPARED / 4;
const PATIENCE = Math.max(120_000, COMPARED);

// What a CPU that does not promise them does not refuse: the hints of 0F 0D and 0F 18 to 0F 1F are NOPs, and F3 before
// BSF and WBINVD means nothing.
const HINTS = new Set([
  0x0f09, 0x0f0d, 0x0f18, 0x0f19, 0x0f1a, 0x0f1b, 0x0f1c, 0x0f1d, 0x0f1e, 0x0f1f, 0x0fbc,
]);
// The hypercall of this machine.
const VMCALL = "Vmcall";
// Registers that do not exist are found when the instruction executes: it decodes, and raises #UD.
const NUMBERED = new Set([0x8c, 0x8e, 0x0f20, 0x0f21, 0x0f22, 0x0f23]);

function opcodeOf(b: Uint8Array): number {
  let i = 0;
  while (
    PREFIXES.some((p) => p === b[i]) ||
    [0x26, 0x36].includes(b[i] ?? 0) ||
    ((b[i] ?? 0) & 0xf0) === 0x40
  )
    i++;
  return b[i] === 0x0f ? 0x0f00 | (b[i + 1] ?? 0) : (b[i] ?? 0);
}

describe("random bytes", { timeout: PATIENCE }, () => {
  test(`${COMPARED} times the length is iced's or the encoding is #UD`, () => {
    const decoder = new BareDecoder();
    const r = new Random(20150223);
    const promises = new Promises();
    const wrong: string[] = [];
    let listed = 0;
    for (let k = 0; k < COMPARED; k++) {
      const b = someBytes(r);
      const ours = decoder.decode(b);
      if (ours === "past the limit") throw new Error("16 bytes are never too few");
      const d = new Decoder(64, b, DecoderOptions.None);
      const i = d.decode();
      const { code, length } = i;
      const promised = code !== Code.INVALID && promises.covers(i);
      i.free();
      d.free();
      let fault: string | undefined;
      if (ours.vector === undefined) {
        listed++;
        if (code === Code.INVALID) {
          if (!NUMBERED.has(opcodeOf(b))) fault = "iced knows no such instruction";
        } else if (length !== ours.length) fault = `length ${ours.length}, iced ${length}`;
        else if (!promised && !HINTS.has(opcodeOf(b)) && Code[code] !== VMCALL)
          fault = `works, and CPUID does not promise ${Code[code]}`;
      } else if (code !== Code.INVALID) {
        if (ours.vector !== 6) fault = `vector ${ours.vector} for a valid instruction`;
        else if (promised) fault = `#UD for iced's ${Code[code]}`;
      }
      if (fault !== undefined) wrong.push(`${Buffer.from(b).toString("hex")}: ${fault}`);
    }
    expect(wrong.slice(0, 5)).toEqual([]);
    expect(listed).toBeGreaterThan(COMPARED / 3);
  });

  test.each([0, 3])("at CPL %i nothing that executes throws or hangs", (cpl) => {
    const cpu = new EmulatedCpu();
    const r = new Random(20150224 + cpl);
    const exits = new Map<string, number>();
    for (let k = 0; k < EXECUTED; k += 4) {
      const code = new Uint8Array(64);
      for (let i = 0; i < 4; i++) code.set(someBytes(r), i * 16);
      const regs = Array.from({ length: 16 }, () =>
        r.chance(50) ? DATA + BigInt(r.below(0x2000)) : edgy(r),
      );
      regs[4] = STACK + 0x1000n;
      cpu.prepare({
        code,
        codeOff: 0xfe0,
        regs,
        rflags: 2n,
        mxcsr: MXCSR_RESET,
        xmm: NO_XMM,
        fpu: NO_FPU,
        hot: new Uint8Array(0),
        rows: [],
        undefinedAt: [],
      });
      const m = cpu.machine;
      if (cpl === 0) {
        m.setReg(0, "cpl", 0n);
        m.setReg(0, "cs", 0x10n);
        m.setReg(0, "ss", 0x18n);
      }
      for (let i = 0; i < 4; i++) {
        // Each of the four places is started at, whatever came of the one before.
        if (m.reg(0, "cpl") === BigInt(cpl)) m.setReg(0, "rip", CODE + 0xfe0n + BigInt(i * 16));
        const out = m.run(0, 2);
        exits.set(out.exit, (exits.get(out.exit) ?? 0) + 1);
        if (out.used > 2) throw new Error(`ran for ${out.used}`);
      }
    }
    expect(exits.get("none")).toBeGreaterThan(EXECUTED / 4);
  });
});

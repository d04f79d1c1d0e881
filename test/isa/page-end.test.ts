// Instructions at the end of a page: one that needs the next page faults on its first byte there when nothing is mapped,
// and one that does not, or whose next page is there, does what it does anywhere else.
import { Code, Decoder, DecoderOptions } from "iced-x86";
import { describe, expect, test } from "vitest";
import { EmulatedCpu } from "../machine/native/emulated.ts";
import {
  CODE,
  CODE_SIZE,
  DATA,
  MXCSR_RESET,
  NO_FPU,
  NO_XMM,
  STACK,
  type Case,
} from "../machine/native/layout.ts";
import { Random, edgy } from "../machine/native/random.ts";
import { BareDecoder } from "./decoder.ts";
import { someBytes } from "./random-bytes.ts";

const COUNT = Math.floor(Number(process.env["QUIESCE_BYTES"] ?? 200_000) / 20);
const PAGE = 0x1000;
const PATIENCE = Math.max(120_000, COUNT * 20);

function caseOf(code: Uint8Array, codeOff: number, regs: readonly bigint[]): Case {
  return {
    code,
    codeOff,
    regs,
    rflags: 2n,
    mxcsr: MXCSR_RESET,
    xmm: NO_XMM,
    fpu: NO_FPU,
    hot: new Uint8Array(0),
    rows: [],
    undefinedAt: [],
  };
}

describe("instructions at the end of a page", () => {
  test(
    `${COUNT} times the next page is asked for exactly when it is needed`,
    () => {
      const cpu = new EmulatedCpu();
      const decoder = new BareDecoder();
      const m = cpu.machine;
      const r = new Random(20150225);
      const wrong: string[] = [];
      let crossing = 0;
      for (let k = 0; k < COUNT; k++) {
        const bytes = someBytes(r);
        const d = new Decoder(64, bytes, DecoderOptions.None);
        const i = d.decode();
        const ours = decoder.decode(bytes);
        const known = ours !== "past the limit" && ours.vector === undefined;
        const length = i.code === Code.INVALID || !known ? undefined : i.length;
        i.free();
        d.free();
        if (length === undefined) continue;
        const regs = Array.from({ length: 16 }, () =>
          r.chance(60) ? DATA + BigInt(r.below(0x2000)) : edgy(r),
        );
        regs[4] = STACK + 0x1000n;
        const room = 1 + r.below(15);
        // In the last page of the code, behind which nothing is mapped.
        cpu.prepare(caseOf(bytes.subarray(0, room), CODE_SIZE - room, regs));
        const before = m.stateHash();
        m.run(0, 1);
        const rip = m.reg(0, "rip");
        const asked = m.reg(0, "cr2") === CODE + BigInt(CODE_SIZE) && m.reg(0, "cpl") === 0n;
        const code = asked ? m.read64(m.reg(0, "rsp")) : 0n;
        const from = asked ? m.read64(m.reg(0, "rsp") + 8n) : 0n;
        const say = (what: string): void =>
          void wrong.push(`${Buffer.from(bytes).toString("hex")} with ${room} bytes: ${what}`);
        if (length > room) {
          crossing++;
          if (!asked) say(`ends at 0x${rip.toString(16)} without asking for the next page`);
          else if (code !== 0x14n || from !== CODE + BigInt(CODE_SIZE - room))
            say(`#PF(0x${code.toString(16)}) of 0x${from.toString(16)}`);
        } else if (asked && code === 0x14n && from === CODE + BigInt(CODE_SIZE - room)) {
          say("asks for the next page");
        }
        if (length > room && m.stateHash() === before) say("nothing happened");
      }
      expect(wrong.slice(0, 5)).toEqual([]);
      expect(crossing).toBeGreaterThan(COUNT / 8);
    },
    PATIENCE,
  );

  test(
    `${COUNT} times it does not matter where the page ends`,
    () => {
      const a = new EmulatedCpu();
      const b = new EmulatedCpu();
      const r = new Random(20150226);
      const wrong: string[] = [];
      for (let k = 0; k < COUNT; k++) {
        const bytes = someBytes(r);
        const regs = Array.from({ length: 16 }, () =>
          r.chance(60) ? DATA + BigInt(r.below(0x2000)) : edgy(r),
        );
        regs[4] = STACK + 0x1000n;
        const at = PAGE - 1 - r.below(15);
        const half = (cpu: EmulatedCpu, off: number): string => {
          cpu.prepare(caseOf(bytes, off, regs));
          const m = cpu.machine;
          m.run(0, 1);
          const state = ["rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", "r8", "r15"] as const;
          const user = m.reg(0, "cpl") === 3n;
          const rip = user ? m.reg(0, "rip") - BigInt(off) : m.reg(0, "rip");
          return [rip, m.reg(0, "cpl"), m.reg(0, "rsp"), ...state.map((n) => m.reg(0, n))].join(
            " ",
          );
        };
        // Addresses relative to rip, and calls that store it, see the difference; neither is compared.
        if (readsRip(bytes)) continue;
        const x = half(a, at);
        const y = half(b, at - 0x400);
        if (x !== y) wrong.push(`${Buffer.from(bytes).toString("hex")} at 0x${at.toString(16)}`);
      }
      expect(wrong.slice(0, 5)).toEqual([]);
    },
    PATIENCE,
  );
});

function readsRip(bytes: Uint8Array): boolean {
  const d = new Decoder(64, bytes, DecoderOptions.None);
  const i = d.decode();
  const name = Code[i.code] ?? "";
  const yes = i.isIpRelMemoryOperand || /^(Syscall|Jmp|Call|J|Loop|Rdtsc|Xbegin)/.test(name);
  i.free();
  d.free();
  return yes;
}

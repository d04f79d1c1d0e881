// SSE as the system sees it: which control bits allow it, where its exceptions go, and its state as a whole. What each
// instruction computes is compared with a CPU in native.test.ts and vectors.test.ts.
import { describe, expect, test } from "vitest";
import { CPU, CR0, CR4, MXCSR, VCPU_SIZE, XMM } from "../../assembly/abi.ts";
import { Bare, USER, USER_DATA } from "./bare.ts";

const OSFXSR = 0x200n;
const OSXMMEXCPT = 0x400n;

// The assembler knows no XMM registers.
const BYTES: Readonly<Record<string, string>> = {
  "movaps %xmm1, %xmm2": "0x0f, 0x28, 0xd1",
  "addsd %xmm1, %xmm2": "0xf2, 0x0f, 0x58, 0xd1",
  "pxor %xmm1, %xmm1": "0x66, 0x0f, 0xef, 0xc9",
  "movups (%rax), %xmm1": "0x0f, 0x10, 0x08",
  "stmxcsr (%rax)": "0x0f, 0xae, 0x18",
  "cvttsd2si %xmm1, %rax": "0xf2, 0x48, 0x0f, 0x2c, 0xc1",
  "pmovmskb %xmm1, %eax": "0x66, 0x0f, 0xd7, 0xc1",
  "divsd %xmm1, %xmm0": "0xf2, 0x0f, 0x5e, 0xc1",
  "movaps (%rax), %xmm0": "0x0f, 0x28, 0x00",
  "movups %xmm0, (%rax)": "0x0f, 0x11, 0x00",
  "xorps %xmm5, %xmm5": "0x0f, 0x57, 0xed",
  "rcpps %xmm0, %xmm1": "0x0f, 0x53, 0xc8",
  "rsqrtps %xmm0, %xmm2": "0x0f, 0x52, 0xd0",
  "rcpss %xmm3, %xmm4": "0xf3, 0x0f, 0x53, 0xe3",
  "rsqrtss %xmm5, %xmm6": "0xf3, 0x0f, 0x52, 0xf5",
  "fxsave (%rax)": "0x0f, 0xae, 0x00",
  "fxrstor (%rax)": "0x0f, 0xae, 0x08",
  "fxsave 512(%rax)": "0x0f, 0xae, 0x80, 0x00, 0x02, 0x00, 0x00",
  "ldmxcsr (%rax)": "0x0f, 0xae, 0x10",
  "fxrstor (%rbx)": "0x0f, 0xae, 0x0b",
  "movnti %rbx, (%rax)": "0x48, 0x0f, 0xc3, 0x18",
};

/** A line of instructions, those of SSE as bytes. */
function line(text: string): string {
  return text
    .split("\n ")
    .map((i) => (BYTES[i] === undefined ? i : `.byte ${BYTES[i]}`))
    .join("\n ");
}

async function user(text: string): Promise<Bare> {
  const b = await Bare.make(`start: vmcall\n.section .user,"ax"\nprobe: ${line(text)}\n int3\n`);
  b.gate(3, { dpl: 3 });
  b.set(0, CR4, b.machine.reg(0, "cr4") | OSFXSR | OSXMMEXCPT);
  b.enterUser("probe");
  return b;
}

function xmm(b: Bare, n: number): readonly [bigint, bigint] {
  const at = b.machine.stateOf(0) + XMM - CPU + n * 16;
  return [b.machine.core.u64(at), b.machine.core.u64(at + 8)];
}

describe("SSE", () => {
  const SIMD = ["movaps %xmm1, %xmm2", "addsd %xmm1, %xmm2", "pxor %xmm1, %xmm1", "movups (%rax), %xmm1",
    "stmxcsr (%rax)", "cvttsd2si %xmm1, %rax", "pmovmskb %xmm1, %eax"]; // prettier-ignore
  test.each(SIMD)(
    "%s is #UD without CR4.OSFXSR or with CR0.EM, and #NM with CR0.TS",
    async (insn) => {
      const b = await user(insn);
      const cr0 = b.machine.reg(0, "cr0");
      const cr4 = b.machine.reg(0, "cr4");
      b.machine.setReg(0, "rax", USER_DATA);
      b.set(0, CR4, cr4 & ~OSFXSR);
      expect(b.toTrap()).toMatchObject({ vector: 6, rip: USER });
      b.enterUser("probe");
      b.set(0, CR0, cr0 | 4n);
      b.set(0, CR4, cr4);
      expect(b.toTrap()).toMatchObject({ vector: 6, rip: USER });
      b.enterUser("probe");
      b.set(0, CR0, cr0 | 8n);
      expect(b.toTrap()).toMatchObject({ vector: 7, rip: USER });
      b.enterUser("probe");
      b.set(0, CR0, cr0);
      expect(b.toTrap().vector).toBe(3);
    },
  );

  test.each(["fxsave (%rax)", "fxrstor (%rax)"])(
    "%s needs no CR4 bit and is #NM with CR0.TS",
    async (insn) => {
      const b = await user(insn);
      const cr0 = b.machine.reg(0, "cr0");
      b.machine.setReg(0, "rax", USER_DATA);
      b.set(0, CR4, b.machine.reg(0, "cr4") & ~OSFXSR);
      b.set(0, CR0, cr0 | 8n);
      expect(b.toTrap()).toMatchObject({ vector: 7, rip: USER });
      b.enterUser("probe");
      b.set(0, CR0, cr0);
      expect(b.toTrap().vector).toBe(3);
    },
  );

  test("movnti asks no control bit", async () => {
    const b = await user("movnti %rbx, (%rax)");
    b.machine.setReg(0, "rax", USER_DATA);
    b.machine.setReg(0, "rbx", 5n);
    b.set(0, CR4, b.machine.reg(0, "cr4") & ~OSFXSR);
    expect(b.toTrap().vector).toBe(3);
    expect(b.machine.read64(USER_DATA)).toBe(5n);
  });

  test("an unmasked exception is #XM, and #UD without CR4.OSXMMEXCPT; its flag stays up", async () => {
    const b = await user("divsd %xmm1, %xmm0");
    b.set(0, MXCSR, 0x1d80n); // ZM clear; the word behind MXCSR is part of the x87 image
    b.set(0, XMM, 0x3ff0_0000_0000_0000n);
    expect(b.toTrap()).toMatchObject({ vector: 19, rip: USER });
    expect(b.machine.core.u32(b.machine.stateOf(0) + MXCSR - CPU)).toBe(0x1d84);
    expect(xmm(b, 0)).toEqual([0x3ff0_0000_0000_0000n, 0n]);
    b.enterUser("probe");
    b.set(0, CR4, b.machine.reg(0, "cr4") & ~OSXMMEXCPT);
    expect(b.toTrap()).toMatchObject({ vector: 6, rip: USER });
  });

  test("an access of 16 bytes that is not aligned is #GP(0) before its page is looked at", async () => {
    const b = await user("movaps (%rax), %xmm0");
    b.machine.setReg(0, "rax", 0x5000_0008n);
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 0n, rip: USER });
  });

  test("a store across a page that cannot be written has written nothing", async () => {
    const b = await user("movups %xmm0, (%rax)");
    b.map(USER_DATA + 0x1000n, 0n);
    b.machine.write64(USER_DATA + 0xff8n, 7n);
    b.machine.setReg(0, "rax", USER_DATA + 0xff8n);
    expect(b.toTrap()).toMatchObject({ vector: 14, rip: USER });
    expect(b.machine.read64(USER_DATA + 0xff8n)).toBe(7n);
  });

  test("fxsave writes the manual's image, and fxrstor brings it back", async () => {
    const b = await user("fxsave (%rax)\n xorps %xmm5, %xmm5\n fxrstor (%rax)\n fxsave 512(%rax)");
    b.machine.setReg(0, "rax", USER_DATA);
    for (let i = 0; i < 16; i++) b.set(0, XMM + i * 16, BigInt(i) * 0x1111n);
    expect(b.toTrap().vector).toBe(3);
    const image = b.machine.read(USER_DATA, 512);
    const v = new DataView(image.buffer, image.byteOffset);
    expect(v.getUint16(0, true)).toBe(0x37f);
    expect([v.getUint32(24, true), v.getUint32(28, true)]).toEqual([0x1f80, 0xffff]);
    for (let i = 0; i < 16; i++) {
      expect(v.getBigUint64(160 + i * 16, true)).toBe(BigInt(i) * 0x1111n);
    }
    expect(xmm(b, 5)).toEqual([0x5555n, 0n]);
    expect(b.machine.read(USER_DATA + 512n, 416)).toEqual(b.machine.read(USER_DATA, 416));
  });

  test.each(["ldmxcsr (%rax)", "fxrstor (%rbx)"])(
    "%s of a reserved bit of MXCSR is #GP(0)",
    async (insn) => {
      const b = await user(insn);
      b.machine.setReg(0, "rax", USER_DATA + 24n);
      b.machine.setReg(0, "rbx", USER_DATA);
      b.machine.write64(USER_DATA + 24n, 0x11f80n);
      expect(b.toTrap()).toMatchObject({ vector: 13, code: 0n, rip: USER });
    },
  );

  test("the reciprocals are within the manual's error of 1.5 * 2^-12, and raise nothing", async () => {
    const b = await user(
      "rcpps %xmm0, %xmm1\n rsqrtps %xmm0, %xmm2\n rcpss %xmm3, %xmm4\n rsqrtss %xmm5, %xmm6",
    );
    const f = new Float32Array([3, 0.1, 1e20, 7e-20]);
    const words = new BigUint64Array(f.buffer);
    words.forEach((w, i) => b.set(0, XMM + i * 8, w));
    b.set(0, XMM + 48, 0x8000_0001n); // a negative denormal counts as -0
    b.set(0, XMM + 80, 0xbf80_0000n);
    expect(b.toTrap().vector).toBe(3);
    const one = new Float32Array(new BigUint64Array(xmm(b, 1)).buffer);
    const root = new Float32Array(new BigUint64Array(xmm(b, 2)).buffer);
    f.forEach((v, i) => {
      expect(Math.abs((one[i] ?? 0) * v - 1)).toBeLessThan(1.5 * 2 ** -12);
      expect(Math.abs((root[i] ?? 0) * Math.sqrt(v) - 1)).toBeLessThan(1.5 * 2 ** -12);
    });
    expect(xmm(b, 4)[0]).toBe(0xff80_0000n);
    expect(xmm(b, 6)[0]).toBe(0xffc0_0000n);
    expect(b.machine.core.u32(b.machine.stateOf(0) + MXCSR - CPU)).toBe(0x1f80);
  });

  test("XMM registers and MXCSR are a vCPU's own, go back with a snapshot, and count in the hash", async () => {
    const b = await Bare.make("start: vmcall", { vcpus: 2 });
    const m = b.machine;
    expect(XMM + 256).toBeLessThanOrEqual(CPU + VCPU_SIZE);
    b.set(0, XMM + 8, 1n);
    const h0 = m.stateHash();
    const s = m.snapshot();
    b.set(0, XMM + 8, 2n);
    b.set(1, MXCSR, 0x9f80n);
    const h1 = m.stateHash();
    expect(h1).not.toBe(h0);
    m.core.exports.activate(1);
    b.run(0, 0);
    expect(xmm(b, 0)[1]).toBe(2n);
    m.restore(s);
    expect(m.stateHash()).toBe(h0);
    expect(xmm(b, 0)[1]).toBe(1n);
  });

  test("cpuid names the FPU, MMX, FXSR and SSE up to SSE4.2", async () => {
    const b = await user("mov $1, %eax\n cpuid");
    expect(b.toTrap().vector).toBe(3);
    expect(b.machine.reg(0, "rdx") & 0x7800001n).toBe(0x7800001n);
    expect(b.machine.reg(0, "rcx") & 0x180201n).toBe(0x180201n);
  });
});

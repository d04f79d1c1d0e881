// The x87 FPU and MMX as the system sees them: which control bits allow them, when a pending exception is reported, and their
// state in memory. What each instruction computes is compared with a CPU in native.test.ts and vectors.test.ts.
import { describe, expect, test } from "vitest";
import { CPU, CR0, CR4, FPU, FPU_REGS } from "../../assembly/abi.ts";
import { Bare, USER, USER_DATA } from "./bare.ts";

const CR0_MP = 2n;
const CR0_EM = 4n;
const CR0_TS = 8n;
const CR0_NE = 0x20n;
const OSFXSR = 0x200n;

// The assembler knows no x87 instructions.
const BYTES: Readonly<Record<string, string>> = {
  fld1: "0xd9, 0xe8",
  fldz: "0xd9, 0xee",
  fldpi: "0xd9, 0xeb",
  fninit: "0xdb, 0xe3",
  fwait: "0x9b",
  fnclex: "0xdb, 0xe2",
  "fnstsw %ax": "0xdf, 0xe0",
  "fdivp %st, %st(1)": "0xde, 0xf9",
  "fldcw (%rax)": "0xd9, 0x28",
  "fstpt (%rax)": "0xdb, 0x38",
  "fnstenv (%rax)": "0xd9, 0x30",
  "fldenv (%rax)": "0xd9, 0x20",
  "fnstenvs (%rax)": "0x66, 0xd9, 0x30",
  "fnsave (%rax)": "0xdd, 0x30",
  "frstor (%rax)": "0xdd, 0x20",
  "fxsave (%rax)": "0x0f, 0xae, 0x00",
  "fxrstor (%rax)": "0x0f, 0xae, 0x08",
  "movq %rbx, %mm3": "0x48, 0x0f, 0x6e, 0xdb",
  "paddb %mm3, %mm3": "0x0f, 0xfc, 0xdb",
  emms: "0x0f, 0x77",
};

function line(text: string): string {
  return text
    .split("\n ")
    .map((i) => (BYTES[i] === undefined ? i : `.byte ${BYTES[i]}`))
    .join("\n ");
}

async function user(text: string): Promise<Bare> {
  const b = await Bare.make(`start: vmcall\n.section .user,"ax"\nprobe: ${line(text)}\n int3\n`);
  b.gate(3, { dpl: 3 });
  b.set(0, CR4, b.machine.reg(0, "cr4") | OSFXSR);
  b.machine.setReg(0, "rax", USER_DATA);
  b.enterUser("probe");
  return b;
}

function words(b: Bare, va: bigint, n: number, bytes: 2 | 4): readonly number[] {
  const v = new DataView(b.machine.read(va, n * bytes).buffer);
  return Array.from({ length: n }, (_, i) =>
    bytes === 2 ? v.getUint16(i * 2, true) : v.getUint32(i * 4, true),
  );
}

describe("x87", () => {
  test.each(["fld1", "fninit", "fnstsw %ax", "fstpt (%rax)"])(
    "%s is #NM with CR0.EM or CR0.TS",
    async (insn) => {
      const b = await user(insn);
      const cr0 = b.machine.reg(0, "cr0");
      for (const bit of [CR0_EM, CR0_TS]) {
        b.set(0, CR0, cr0 | bit);
        expect(b.toTrap()).toMatchObject({ vector: 7, rip: USER });
        b.enterUser("probe");
      }
    },
  );

  test("fwait is #NM with CR0.TS only when CR0.MP is set, and never with CR0.EM alone", async () => {
    const b = await user("fwait");
    const cr0 = b.machine.reg(0, "cr0") & ~CR0_MP;
    for (const [bits, vector] of [
      [CR0_TS, 3],
      [CR0_EM, 3],
      [CR0_TS | CR0_MP, 7],
    ] as const) {
      // prettier-ignore
      b.set(0, CR0, cr0 | bits);
      expect(b.toTrap().vector).toBe(vector);
      b.enterUser("probe");
    }
  });

  test("an unmasked division by zero is #MF at the next waiting instruction, not at those that do not wait", async () => {
    const b = await user(
      "fninit\n movw $0x37b, (%rax)\n fldcw (%rax)\n fld1\n fldz\n fdivp %st, %st(1)\n fnstsw %ax\n fwait",
    );
    const trap = b.toTrap();
    // 2 + 5 + 2 + 2 + 2 + 2 + 2 bytes before the fwait
    expect(trap).toMatchObject({ vector: 16, rip: USER + 17n });
    expect(b.machine.reg(0, "rax") & 0xffffn).toBe(0xb084n); // B, TOP 6, ES, ZE
  });

  test("with CR0.NE clear a pending exception is not reported", async () => {
    const b = await user("fninit\n movw $0x37b, (%rax)\n fldcw (%rax)\n fld1\n fldz\n fdivp %st, %st(1)\n fwait"); // prettier-ignore
    b.set(0, CR0, b.machine.reg(0, "cr0") & ~CR0_NE);
    expect(b.toTrap().vector).toBe(3);
  });

  test("the environment has 28 bytes, and 14 with an operand size of 16; both mask everything", async () => {
    const b = await user(
      "fninit\n fldpi\n movw $0x37e, (%rax)\n fldcw (%rax)\n fnstenv (%rax)\n add $64, %rax\n fnstenvs (%rax)",
    );
    expect(b.toTrap().vector).toBe(3);
    expect(words(b, USER_DATA, 7, 4)).toEqual([
      0xffff037e,
      0xffff3800,
      0xffff3fff, // R7 valid
      Number(USER) + 2, // the fldpi
      0x1eb << 16,
      0,
      0xffff0000,
    ]);
    expect(words(b, USER_DATA + 64n, 7, 2)).toEqual([
      0x37f,
      0x3800,
      0x3fff,
      (Number(USER) + 2) & 0xffff,
      0,
      0,
      0,
    ]);
  });

  test("fnsave keeps the registers from the top on and clears; frstor brings them back", async () => {
    const b = await user("fninit\n fld1\n fldpi\n fnsave (%rax)\n frstor (%rax)\n fnstsw %ax");
    expect(b.toTrap().vector).toBe(3);
    const image = words(b, USER_DATA, 54, 2);
    expect(image.slice(14, 24)).toEqual([
      0xc235, 0x2168, 0xdaa2, 0xc90f, 0x4000, 0, 0, 0, 0x8000, 0x3fff,
    ]);
    expect(b.machine.reg(0, "rax") & 0xffffn).toBe(0x3000n);
  });

  test("an MMX register is the significand of a physical register, with an exponent of ones", async () => {
    const b = await user("fninit\n fld1\n fld1\n movq %rbx, %mm3");
    b.machine.setReg(0, "rbx", 0x1122334455667788n);
    expect(b.toTrap().vector).toBe(3);
    const at = b.machine.stateOf(0) - CPU;
    expect(b.machine.core.u64(at + FPU_REGS + 48)).toBe(0x1122334455667788n);
    expect(b.machine.core.u64(at + FPU_REGS + 56)).toBe(0xffffn);
    expect(b.machine.core.u64(at + FPU) & 0xff_ffff_ffffn).toBe(0xff_0000_037fn); // all full, TOP 0
  });

  test("MMX is #UD with CR0.EM, #NM with CR0.TS, #MF with an exception pending, and emms empties all", async () => {
    const b = await user("paddb %mm3, %mm3\n emms");
    const cr0 = b.machine.reg(0, "cr0");
    const at = b.machine.stateOf(0) - CPU + FPU;
    b.set(0, CR0, cr0 | CR0_EM);
    expect(b.toTrap()).toMatchObject({ vector: 6, rip: USER });
    b.enterUser("probe");
    b.set(0, CR0, cr0 | CR0_TS);
    expect(b.toTrap()).toMatchObject({ vector: 7, rip: USER });
    b.enterUser("probe");
    b.set(0, CR0, cr0);
    b.machine.core.setU64(at, 0x8084_037bn);
    expect(b.toTrap()).toMatchObject({ vector: 16, rip: USER });
    b.enterUser("probe");
    b.machine.core.setU64(at, 0x037fn);
    expect(b.toTrap()).toMatchObject({ vector: 3 });
    expect(b.machine.core.u64(at) & 0xff_ffff_ffffn).toBe(0x037fn);
  });

  test("fxsave has the abridged tags, fxrstor takes them, and an unmasked flag in the image is pending", async () => {
    const b = await user(
      "fninit\n fld1\n fxsave (%rax)\n movw $0x3884, 2(%rax)\n movw $0x37b, (%rax)\n fxrstor (%rax)\n fwait",
    );
    expect(b.toTrap().vector).toBe(16);
    expect(words(b, USER_DATA, 3, 2)[2]).toBe(0x80);
    expect(words(b, USER_DATA + 32n, 5, 2)).toEqual([0, 0, 0, 0x8000, 0x3fff]);
  });
});

// Indirect branch tracking as the SDM has it: what arms the tracker, what disarms it, where its bit is kept, and who may
// turn it on. The hazard of a branch written over an ENDBR64 is here in small.
import { describe, expect, test } from "vitest";
import { CPU, CR0, CR4, DR0, S_CET, U_CET } from "../../assembly/abi.ts";
import { Bare, P, RW, US, USER_DATA } from "./bare.ts";

const CR4_CET = 1n << 23n;
const CR0_WP = 1n << 16n;
const ENDBR_EN = 4n;
const NO_TRACK_EN = 0x10n;
const WAITING = 0x800n;
const ENDBR64 = ".byte 0xf3, 0x0f, 0x1e, 0xfa";
const NOTRACK = ".byte 0x3e";
const STUBS = 0xd000n;

/** Stubs that begin with ENDBR64, as handlers under tracking must. */
function landings(b: Bare): void {
  for (let v = 0n; v < 256n; v++) {
    b.machine.writePhys(STUBS + v * 16n, Uint8Array.of(0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x01, 0xc1));
  }
}

async function kernel(text: string, msr = ENDBR_EN): Promise<Bare> {
  const b = await Bare.make(`start: ${text}\n`, { cet: true });
  landings(b);
  b.set(0, CR4, b.machine.reg(0, "cr4") | CR4_CET);
  b.set(0, S_CET, msr);
  return b;
}

function field(b: Bare, at: number): bigint {
  return b.machine.core.u64(b.machine.stateOf(0) + at - CPU);
}

describe("indirect branch tracking", () => {
  test("without it in the configuration there is neither the CPUID bit nor CR4.CET nor the MSRs", async () => {
    const cpuid = "mov $7, %eax\n xor %ecx, %ecx\n cpuid\n vmcall\n";
    const cr4 = "mov %cr4, %rax\n bts $23, %rax\n mov %rax, %cr4\n vmcall";
    const b = await Bare.make(`start: ${cpuid}${cr4}`);
    b.toVmcall();
    expect((b.machine.reg(0, "rdx") >> 20n) & 1n).toBe(0n);
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 0n });
    const m = await Bare.make("start: mov $0x6a2, %ecx\n rdmsr\n vmcall");
    expect(m.toTrap()).toMatchObject({ vector: 13, code: 0n });
    const c = await Bare.make(`start: ${cpuid}${cr4}`, { cet: true });
    c.toVmcall();
    expect((c.machine.reg(0, "rdx") >> 20n) & 1n).toBe(1n);
    c.toVmcall();
    expect(c.machine.reg(0, "cr4") & CR4_CET).toBe(CR4_CET);
  });

  test("CR4.CET needs CR0.WP, and keeps it", async () => {
    const b = await Bare.make(
      "start: mov %cr0, %rax\n btr $16, %rax\n mov %rax, %cr0\n mov %cr4, %rax\n bts $23, %rax\n mov %rax, %cr4\n vmcall",
      { cet: true },
    );
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 0n });
    expect(b.machine.reg(0, "cr0") & CR0_WP).toBe(0n);
    const c = await kernel("mov %cr0, %rax\n btr $16, %rax\n mov %rax, %cr0\n vmcall", 0n);
    expect(c.toTrap()).toMatchObject({ vector: 13, code: 0n });
  });

  test.each([
    ["a shadow stack", 1n, 13],
    ["the legacy bitmap", 8n, 13],
    ["a waiting tracker that is suppressed", 0xc00n, 13],
    ["tracking with notrack", 0x14n, undefined],
  ] as const)("writing %s to IA32_U_CET", async (_what, value, vector) => {
    const b = await kernel(`mov $0x6a0, %ecx\n xor %edx, %edx\n wrmsr\n rdmsr\n vmcall`, 0n);
    b.machine.setReg(0, "rax", value);
    if (vector !== undefined) expect(b.toTrap()).toMatchObject({ vector, code: 0n });
    else {
      b.toVmcall();
      expect(b.machine.reg(0, "rax")).toBe(value);
      expect(field(b, U_CET)).toBe(value);
    }
  });

  const LEA = "lea target(%rip), %rax\n";
  const BRANCHES = [
    ["call *%rax", "call *%rax", true],
    ["jmp *%rax", "jmp *%rax", true],
    ["a call through memory", "push %rax\n call *(%rsp)", true],
    ["a direct call", "call target", false],
    ["a direct jump", "jmp target", false],
    ["ret", "push %rax\n ret", false],
    ["notrack jmp", `${NOTRACK}\n jmp *%rax`, true],
  ] as const;
  test.each(BRANCHES)("%s to a place without ENDBR64", async (_name, branch, bad) => {
    const b = await kernel(`${LEA} ${branch}\n target: nop\n vmcall`);
    if (!bad) return void b.toVmcall();
    const trap = b.toTrap();
    expect(trap).toMatchObject({ vector: 21, code: 3n, rip: b.symbol("target") });
    expect(field(b, S_CET) & WAITING).toBe(0n); // the handler's ENDBR64 was executed
  });

  test.each(BRANCHES)("%s to an ENDBR64", async (_name, branch) => {
    const b = await kernel(`${LEA} ${branch}\n target: ${ENDBR64}\n vmcall`);
    b.toVmcall();
    expect(field(b, S_CET)).toBe(ENDBR_EN);
  });

  test("notrack counts where NO_TRACK_EN is up, and not with fs or gs behind it", async () => {
    const b = await kernel(
      `${LEA} ${NOTRACK}\n call *%rax\n target: nop\n vmcall`,
      ENDBR_EN | NO_TRACK_EN,
    );
    b.toVmcall();
    const c = await kernel(
      `${LEA} .byte 0x3e, 0x65, 0xff, 0xd0\n target: nop\n vmcall`,
      ENDBR_EN | NO_TRACK_EN,
    );
    expect(c.toTrap()).toMatchObject({ vector: 21, code: 3n });
  });

  test.each(["call *%rax", "jmp *%rax", "call *(%rbx)"])(
    "a place that direct branches reach often is no landing of %s",
    async (branch) => {
      const loop = "mov $200, %ecx\n again: call target\n dec %ecx\n jnz again\n";
      const b = await kernel(
        `${loop} push %rax\n mov %rsp, %rbx\n ${LEA} mov %rax, (%rbx)\n ${branch}\n vmcall\n target: nop\n ret`,
      );
      expect(b.toTrap()).toMatchObject({ vector: 21, code: 3n, rip: b.symbol("target") });
    },
  );

  test("ENDBR32 is no landing in 64-bit mode", async () => {
    const b = await kernel(`${LEA} jmp *%rax\n target: .byte 0xf3, 0x0f, 0x1e, 0xfb\n vmcall`);
    expect(b.toTrap()).toMatchObject({ vector: 21, code: 3n, rip: b.symbol("target") });
  });

  test("a call has pushed its return address when its landing is refused", async () => {
    const b = await kernel(`${LEA} call *%rax\n back: nop\n target: nop\n vmcall`);
    const trap = b.toTrap();
    expect(b.machine.read64(trap.rsp)).toBe(b.symbol("back"));
  });

  test("an interrupt handler must begin with ENDBR64, and #CP's own too, or it meets #CP again", async () => {
    const b = await kernel("int $0x40\n vmcall\n handler: nop\n vmcall");
    b.gate(0x40, { to: b.symbol("handler") });
    expect(b.toTrap()).toMatchObject({ vector: 21, code: 3n, rip: b.symbol("handler") });
    const c = await kernel("int $0x40\n vmcall\n handler: nop\n vmcall");
    c.gate(21, { to: c.symbol("handler") });
    c.gate(0x40, { to: c.symbol("handler") });
    const before = c.machine.reg(0, "rsp");
    // Each delivery is complete when the next fault comes, so none of them is a double fault.
    expect(c.run(10).exit).toBe("none");
    expect(c.machine.reg(0, "rip")).toBe(c.symbol("handler"));
    expect(before - c.machine.reg(0, "rsp")).toBeGreaterThan(8n * 48n);
  });

  const user = async (text: string): Promise<Bare> => {
    const b = await Bare.make(`start: iretq\n.section .user,"ax"\nprobe: ${text}\n`, { cet: true });
    landings(b);
    b.set(0, CR4, b.machine.reg(0, "cr4") | CR4_CET);
    b.set(0, U_CET, ENDBR_EN);
    b.enterUser("probe");
    b.machine.setReg(0, "rax", USER_DATA);
    return b;
  };

  test("the user's tracker waits while the kernel serves a page fault at the landing", async () => {
    for (const [first, vector] of [
      [Uint8Array.of(0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x0b), 6],
      [Uint8Array.of(0x90, 0x0f, 0x0b), 21],
    ] as const) {
      const b = await user("jmp *%rax");
      b.map(USER_DATA, 0n);
      expect(b.toTrap()).toMatchObject({ vector: 14, code: 0x14n, rip: USER_DATA });
      expect(field(b, U_CET)).toBe(ENDBR_EN | WAITING);
      expect(field(b, S_CET)).toBe(0n);
      b.map(USER_DATA, P | RW | US);
      b.machine.write(USER_DATA, first);
      const m = b.machine;
      m.setReg(0, "rsp", m.reg(0, "rsp") + 8n);
      m.setReg(0, "rip", b.symbol("start"));
      const at = vector === 6 ? USER_DATA + 4n : USER_DATA;
      expect(b.toTrap()).toMatchObject({ vector, rip: at });
      expect(field(b, U_CET) & WAITING).toBe(vector === 6 ? 0n : WAITING);
    }
  });

  test.each([
    ["int3", Uint8Array.of(0xcc), 3],
    ["int3 with prefixes", Uint8Array.of(0x66, 0xf3, 0x48, 0xcc), 3],
    ["int1", Uint8Array.of(0xf1), 1],
  ] as const)(
    "%s at a landing raises its trap, and the tracker waits on",
    async (_name, first, vector) => {
      const b = await user("jmp *%rax");
      b.map(USER_DATA, P | RW | US);
      b.gate(3, { dpl: 3 });
      b.machine.write(USER_DATA, first);
      expect(b.toTrap()).toMatchObject({ vector, rip: USER_DATA + BigInt(first.length) });
      expect(field(b, U_CET)).toBe(ENDBR_EN | WAITING);
      // The debugger puts the instruction back, and it is looked at then.
      for (const [bytes, next] of [
        [Uint8Array.of(0x90, 0x0f, 0x0b), { vector: 21, code: 3n, rip: USER_DATA }],
        [Uint8Array.of(0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x0b), { vector: 6, rip: USER_DATA + 4n }],
      ] as const) {
        const s = b.machine.snapshot();
        const m = b.machine;
        m.write(USER_DATA, bytes);
        m.write(m.reg(0, "rsp"), new Uint8Array(new BigUint64Array([USER_DATA]).buffer));
        m.setReg(0, "rip", b.symbol("start"));
        expect(b.toTrap()).toMatchObject(next);
        m.restore(s);
      }
    },
  );

  test("int3 that the gate does not let in, and int $3, are no breakpoints", async () => {
    const b = await user("jmp *%rax");
    b.map(USER_DATA, P | RW | US);
    b.machine.write(USER_DATA, Uint8Array.of(0xcc));
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 0x1an, rip: USER_DATA });
    const c = await user("jmp *%rax");
    c.map(USER_DATA, P | RW | US);
    c.machine.write(USER_DATA, Uint8Array.of(0xcd, 3));
    expect(c.toTrap()).toMatchObject({ vector: 21, code: 3n, rip: USER_DATA });
  });

  test.each([
    ["ud2", "ud2"],
    ["lock int3", ".byte 0xf0, 0xcc"],
    ["an instruction of 16 bytes", ".fill 15, 1, 0x66\n nop"],
    ["what device-not-available would come of", "fninit"],
    ["a load of a debug register under DR7.GD", "mov %rax, %db0"],
  ])("%s at a landing is #CP before all that it raises itself", async (_name, insn) => {
    const b = await kernel(`${LEA} jmp *%rax\n target: ${insn}\n vmcall`);
    b.set(0, CR0, b.machine.reg(0, "cr0") | 8n); // TS
    b.set(0, DR0 + 56, 0x2400n);
    expect(b.toTrap()).toMatchObject({ vector: 21, code: 3n, rip: b.symbol("target") });
  });

  test("a breakpoint register at a landing, and a single step of the branch, come before #CP", async () => {
    const b = await kernel(`${LEA} jmp *%rax\n target: nop\n vmcall`);
    b.set(0, DR0, b.symbol("target"));
    b.set(0, DR0 + 56, 0x402n);
    b.machine.setReg(0, "rip", b.image.entry);
    expect(b.toTrap()).toMatchObject({ vector: 1, rip: b.symbol("target") });
    const c = await user("jmp *%rax");
    c.map(USER_DATA, P | RW | US);
    c.machine.write(USER_DATA, Uint8Array.of(0x90));
    c.machine.setReg(0, "rflags", 0x302n);
    expect(c.toTrap()).toMatchObject({ vector: 1, rip: USER_DATA });
    expect(field(c, U_CET)).toBe(ENDBR_EN | WAITING);
  });

  test("the bytes of a landing that goes on in the next page are fetched there", async () => {
    const b = await user("jmp *%rax");
    const at = USER_DATA + 0xffen;
    b.machine.setReg(0, "rax", at);
    b.map(USER_DATA, P | RW | US);
    b.map(USER_DATA + 0x1000n, 0n);
    b.machine.write(at, Uint8Array.of(0xf3, 0x0f));
    expect(b.toTrap()).toMatchObject({ vector: 14, code: 0x14n, rip: at });
    expect(b.machine.reg(0, "cr2")).toBe(USER_DATA + 0x1000n);
  });

  test("a user program without tracking runs under a kernel that has it", async () => {
    const b = await user("jmp *%rax");
    b.set(0, U_CET, 0n);
    b.set(0, S_CET, ENDBR_EN);
    b.map(USER_DATA, P | RW | US);
    b.machine.write(USER_DATA, Uint8Array.of(0x0f, 0x0b));
    expect(b.toTrap()).toMatchObject({ vector: 6, rip: USER_DATA });
    expect(field(b, S_CET)).toBe(ENDBR_EN);
  });

  test("a jump written over the ENDBR64 of a function that is called through a pointer is #CP", async () => {
    const text = `loop: ${LEA} call *%rax\n vmcall\n jmp loop\n new: mov $2, %ebx\n ret\n`;
    const b = await kernel(`${text} target: ${ENDBR64}\n nop\n mov $1, %ebx\n ret`);
    b.toVmcall();
    expect(b.machine.reg(0, "rbx")).toBe(1n);
    const from = b.symbol("target");
    const d = Number(b.symbol("new") - (from + 5n));
    const jmp = Uint8Array.of(0xe9, d & 0xff, (d >> 8) & 0xff, (d >> 16) & 0xff, (d >> 24) & 0xff);
    b.machine.write(from, jmp);
    expect(b.toTrap()).toMatchObject({ vector: 21, code: 3n, rip: from });
    // Behind the landing it is as good as ever.
    const c = await kernel(`${text} target: ${ENDBR64}\n nop\n nop\n nop\n nop\n nop\n ret`);
    c.machine.write(c.symbol("target") + 4n, Uint8Array.of(0xe9, ...jmp.subarray(1)));
    const e = Number(c.symbol("new") - (c.symbol("target") + 9n));
    c.machine.write(
      c.symbol("target") + 5n,
      Uint8Array.of(e & 0xff, (e >> 8) & 0xff, (e >> 16) & 0xff, (e >> 24) & 0xff),
    );
    c.toVmcall();
    expect(c.machine.reg(0, "rbx")).toBe(2n);
  });

  test("a run cut and restored at every instruction ends as one that was not", async () => {
    const text = `mov $50, %ecx\n again: ${LEA} call *%rax\n dec %ecx\n jnz again\n vmcall\n target: ${ENDBR64}\n ret`;
    const whole = await kernel(text);
    whole.toVmcall();
    const cut = await kernel(text);
    for (let i = 0; i < 10_000; i++) {
      const s = cut.machine.snapshot();
      cut.machine.restore(s);
      if (cut.run(1).exit === "vmcall") break;
    }
    expect(cut.machine.stateHash()).toBe(whole.machine.stateHash());
    expect(cut.machine.retired).toBe(whole.machine.retired);
  });
});

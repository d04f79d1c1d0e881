// Near branches in 64-bit mode with the prefix 66, where vendors differ: SDM Vol. 2, Appendix A, "f64": operand size is 64 bits
// with and without it. AMD's CPUs take 16 bits of the target (APM Vol. 3, "Near Branches in 64-Bit Mode"); no compiler emits it
// but with REX.W behind, which both take for 64 bits.
import { describe, expect, test } from "vitest";
import { Bare } from "./bare.ts";

describe("66 before a near branch changes nothing", () => {
  test.each([
    ["jmp rel8", ".byte 0x66\n jmp 1f\n vmcall\n 1: mov $1, %ebx", 1n],
    ["jmp rel32", ".byte 0x66, 0xe9, 3, 0, 0, 0\n vmcall\n mov $1, %ebx", 1n],
    ["je rel32", "xor %eax, %eax\n .byte 0x66, 0x0f, 0x84, 3, 0, 0, 0\n vmcall\n mov $1, %ebx", 1n],
    ["call rel32", ".byte 0x66, 0xe8, 3, 0, 0, 0\n vmcall\n mov %rsp, %rbx\n sub %rsp, %rcx\n mov %rcx, %rbx", 8n],
    ["call rel32 with REX.W", ".byte 0x66, 0x66, 0x48, 0xe8, 3, 0, 0, 0\n vmcall\n sub %rsp, %rcx\n mov %rcx, %rbx", 8n],
    ["jmp *%rax", "lea 1f(%rip), %rax\n .byte 0x66, 0xff, 0xe0\n vmcall\n 1: mov $1, %ebx", 1n],
    ["ret", "lea 1f(%rip), %rax\n push %rax\n .byte 0x66, 0xc3\n vmcall\n 1: sub %rsp, %rcx\n mov %rcx, %rbx", 0n],
  ])("%s", async (_name, text, value) => {
    const b = await Bare.make(`start: mov %rsp, %rcx\n mov $77, %ebx\n ${text}\n vmcall\n`);
    b.toVmcall();
    expect(b.machine.reg(0, "rbx")).toBe(value);
  });
}); // prettier-ignore

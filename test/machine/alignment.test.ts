// When accesses are checked for alignment: in ring 3, with CR0.AM and EFLAGS.AC, from the instruction behind the one that
// made it so. What faults then, test/machine/faults and test/user/programs/align.c say. SDM Vol. 3A, "Interrupt 17".
import { describe, expect, test } from "vitest";
import { Bare, USER_DATA } from "./bare.ts";

const AC = 0x40000n;
const AM = 0x40000n;

const GUEST = `
start:	vmcall
handler:
	mov 3(%rdi), %rbx
	andq $~0x40000, 24(%rsp)
	add $8, %rsp
	iretq
	.section .user,"ax"
probe:	mov 1(%rdi), %eax
	add %rax, 1(%rdi)
	pushfq
	orl $0x40000, (%rsp)
	popfq
here:	mov 1(%rdi), %ecx
	mov 1(%rdi), %edx
	int3
`;

async function guest(): Promise<Bare> {
  const b = await Bare.make(GUEST);
  b.gate(3, { dpl: 3 });
  b.gate(17, { to: b.symbol("handler") });
  b.enterUser("probe");
  b.machine.setReg(0, "rdi", USER_DATA);
  b.machine.write(
    USER_DATA,
    Uint8Array.from({ length: 16 }, (_, i) => i),
  );
  return b;
}

describe("alignment checks", () => {
  test("begin behind popfq, though the translation is known, and end with AC in the frame", async () => {
    const b = await guest();
    b.gate(17, {});
    expect(b.toTrap()).toMatchObject({ vector: 17, code: 0n, rip: b.symbol("here") });
    expect(b.seen().rflags & AC).toBe(AC);
    expect(b.machine.reg(0, "rcx")).toBe(0n);
  });

  test("do not hold in ring 0, where AC stays set", async () => {
    const b = await guest();
    expect(b.toTrap()).toMatchObject({ vector: 3 });
    expect(b.seen().rflags & AC).toBe(0n);
    expect(b.machine.reg(0, "rbx")).toBe(0x0a09_0807_0605_0806n);
    expect(b.machine.reg(0, "rcx")).toBe(b.machine.reg(0, "rdx"));
  });

  test("need CR0.AM", async () => {
    const b = await guest();
    b.machine.setReg(0, "cr0", b.machine.reg(0, "cr0") & ~AM);
    expect(b.toTrap()).toMatchObject({ vector: 3 });
    expect(b.seen().rflags & AC).toBe(AC);
  });

  test("are the same however the run is cut, and go back with a snapshot", async () => {
    const whole = await guest();
    whole.toTrap();
    const hash = whole.machine.stateHash();
    const b = await guest();
    const early = b.machine.snapshot();
    for (let i = 0; i < 40 && b.run(1).exit !== "vmcall"; i++) {
      const now = b.machine.snapshot();
      b.run(3);
      b.machine.restore(now);
    }
    expect(b.machine.stateHash()).toBe(hash);
    b.machine.restore(early);
    b.toTrap();
    expect(b.machine.stateHash()).toBe(hash);
  });
});

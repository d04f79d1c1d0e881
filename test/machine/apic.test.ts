// The local APIC: the timer at exactly its deadline, interrupts by priority, IPIs, and waiting in hlt. SDM Vol. 3A,
// "Advanced Programmable Interrupt Controller (APIC)".
import { describe, expect, test } from "vitest";
import { Bare } from "./bare.ts";

const WRITE = `
	.macro apic reg, value, high=0
	mov $\\reg, %ecx
	mov $\\value, %eax
	mov $\\high, %edx
	wrmsr
	.endm
`;
const ON = "apic 0x80f, 0x1ff\n";
const SPIN = "1: inc %r15\n jmp 1b\n";

describe("the timer", () => {
  test.each([
    ["one count per instruction", "apic 0x83e, 0xb", 1n],
    ["divided by two", "apic 0x83e, 0", 2n],
    ["divided by sixteen", "apic 0x83e, 3", 16n],
  ])("one-shot, %s: the interrupt comes at its deadline", async (_what, divide, by) => {
    const b = await Bare.make(
      `${WRITE}start: ${ON} ${divide}\n apic 0x832, 0x40\n sti\n apic 0x838, 100\n ${SPIN}`,
    );
    const m = b.machine;
    let armed = 0n;
    while (m.untilTimer() === undefined) {
      armed = m.reg(0, "time"); // the time at which the write to the count executes
      b.run(1);
    }
    b.toTrap(20_000);
    // The delivery takes one unit, the stub's vmcall one.
    expect(m.reg(0, "time") - armed).toBe(100n * by + 2n);
    expect(m.untilTimer()).toBeUndefined();
  });

  test("the deadline does not depend on how the run is cut", async () => {
    const text = `${WRITE}start: ${ON} apic 0x83e, 0xb\n apic 0x832, 0x40\n sti\n apic 0x838, 77\n ${SPIN}`;
    const seen: string[] = [];
    for (const slice of [1, 2, 3, 7, 50, 100_000]) {
      const b = await Bare.make(text);
      while (b.run(slice).exit === "none");
      seen.push(`${b.seen().rip} ${b.machine.reg(0, "r15")} ${b.machine.reg(0, "time")}`);
    }
    expect(new Set(seen).size).toBe(1);
  });

  test("a divisor that is changed on the way holds for what is left of the count", async () => {
    const b = await Bare.make(
      `${WRITE}start: ${ON} apic 0x83e, 0xb\n apic 0x832, 0x40\n sti\n apic 0x838, 100\n .skip 36, 0x90\n apic 0x83e, 0\n ${SPIN}`,
    );
    const m = b.machine;
    let armed = 0n;
    while (m.untilTimer() === undefined) {
      armed = m.reg(0, "time");
      b.run(1);
    }
    b.toTrap(20_000);
    // 36 instructions and four of the write pass at one count each; 60 counts at two.
    expect(m.reg(0, "time") - armed).toBe(40n + 2n * 60n + 2n);
  });

  test("periodic: it comes again without being set", async () => {
    const b = await Bare.make(`
${WRITE}
start:	${ON}
	apic 0x83e, 0xb
	apic 0x832, 0x20040
	sti
	apic 0x838, 1000
	${SPIN}
tick:	mov %r14, %r13
	push %rcx; push %rax; push %rdx
	rdtsc
	mov %rax, %r14
	apic 0x80b, 0
	pop %rdx; pop %rax; pop %rcx
	inc %r12
	cmp $5, %r12
	je 2f
	iretq
2:	vmcall
`);
    b.gate(0x40, { to: b.symbol("tick") });
    b.toVmcall(20_000);
    const m = b.machine;
    expect(m.reg(0, "r14") - m.reg(0, "r13")).toBe(1000n);
  });

  test("TSC deadline: it comes when the TSC is there, and a zero disarms it", async () => {
    const b = await Bare.make(
      `${WRITE}start: ${ON} apic 0x832, 0x40040\n sti\n apic 0x6e0, 500\n ${SPIN}`,
    );
    b.toTrap();
    expect(b.machine.reg(0, "time")).toBe(502n);
    const c = await Bare.make(
      `${WRITE}start: ${ON} apic 0x832, 0x40040\n sti\n apic 0x6e0, 500\n apic 0x6e0, 0\n ${SPIN}`,
    );
    expect(c.run(3000).exit).toBe("none");
    expect(c.machine.untilTimer()).toBeUndefined();
  });

  test("a deadline set before an adjustment of the TSC counts in the TSC's terms", async () => {
    const b = await Bare.make(
      `${WRITE}start: ${ON} apic 0x3b, 1000\n apic 0x832, 0x40040\n sti\n apic 0x6e0, 1500\n ${SPIN}`,
    );
    b.toTrap();
    expect(b.machine.reg(0, "time")).toBe(502n);
  });

  test.each([
    ["IA32_TSC_ADJUST", "apic 0x3b, 1000\n", 4000n],
    ["IA32_TSC", "apic 0x10, 3000\n", undefined],
  ])("a TSC that jumps by %s takes the deadline with it", async (_, jump, expected) => {
    const b = await Bare.make(
      `${WRITE}start: ${ON} apic 0x832, 0x40040\n sti\n apic 0x6e0, 5000\n${jump} ${SPIN}`,
    );
    b.toTrap();
    // The write to the TSC is the seventeenth instruction.
    expect(b.machine.reg(0, "time")).toBe((expected ?? 5000n - 3000n + 16n) + 2n);
  });

  test("a change from the count to the deadline disarms", async () => {
    const b = await Bare.make(
      `${WRITE}start: ${ON} apic 0x832, 0x40\n sti\n apic 0x838, 100\n apic 0x832, 0x40040\n apic 0x838, 100\n ${SPIN}`,
    );
    expect(b.run(3000).exit).toBe("none");
    expect(b.machine.untilTimer()).toBeUndefined();
  });

  test("a masked timer is silent, and the current count runs down", async () => {
    const b = await Bare.make(`${WRITE}
start:	${ON} apic 0x83e, 0xb
	apic 0x832, 0x10040
	sti
	apic 0x838, 1000
	mov $0x839, %ecx
	rdmsr
	vmcall
	${SPIN}`);
    b.toVmcall();
    expect(b.machine.reg(0, "rax")).toBe(998n);
    expect(b.run(3000).exit).toBe("none");
  });
});

describe("hlt", () => {
  test("waits for the timer without executing, and the handler returns behind it", async () => {
    const b = await Bare.make(
      `${WRITE}start: ${ON} apic 0x83e, 0xb\n apic 0x832, 0x40\n sti\n apic 0x838, 10000\n hlt\nafter: vmcall\n`,
    );
    const before = b.machine.retired;
    expect(b.toTrap(20_000)).toMatchObject({ vector: 0x40, rip: b.symbol("after") });
    expect(b.machine.retired - before).toBeLessThan(40);
    expect(b.machine.reg(0, "time")).toBeGreaterThan(10_000n);
  });

  test("without a timer it reports that it waits, and an IPI wakes it", async () => {
    const b = await Bare.make(
      `${WRITE}
start:	test %edi, %edi
	jne other
	${ON}
	sti
	hlt
after:	vmcall
other:	apic 0x830, 0x41, 0
	vmcall
`,
      { vcpus: 2 },
    );
    b.machine.setReg(0, "rdi", 0n);
    b.machine.setReg(1, "rdi", 1n);
    expect(b.run(1000)).toMatchObject({ exit: "halt", used: 1000 });
    expect(b.machine.halted(0)).toBe(true);
    b.toVmcall(100, 1);
    expect(b.machine.ipisSent(1)).toBe(1);
    expect(b.toTrap()).toMatchObject({ vector: 0x41, rip: b.symbol("after") });
    expect(b.machine.halted(0)).toBe(false);
  });

  test("an NMI wakes it even with IF clear", async () => {
    const b = await Bare.make(
      `${WRITE}\nstart: test %edi, %edi\n jne other\n hlt\nafter: vmcall\nother: apic 0x830, 0xc0400\n vmcall\n`,
      { vcpus: 2 },
    );
    b.machine.setReg(1, "rdi", 1n);
    expect(b.run(10).exit).toBe("halt");
    b.toVmcall(100, 1);
    expect(b.toTrap()).toMatchObject({ vector: 2, rip: b.symbol("after") });
  });
});

describe("priorities", () => {
  test("the higher vector goes first, and a lower one waits for the end of interrupt", async () => {
    const b = await Bare.make(`${WRITE}
start:	${ON}
	apic 0x83f, 0x40
	apic 0x83f, 0x90
	sti
	nop
	nop
	vmcall
high:	mov $1, %r8d
	sti
	nop
	nop
	mov %r9d, %r10d		/* the low one did not come in between */
	apic 0x80b, 0
	nop
	mov %r9d, %r11d		/* now it has */
	iretq
low:	mov $1, %r9d
	apic 0x80b, 0
	iretq
`);
    b.gate(0x90, { to: b.symbol("high") });
    b.gate(0x40, { to: b.symbol("low") });
    b.toVmcall();
    const m = b.machine;
    expect(["r8", "r10", "r11"].map((r) => m.reg(0, r as "r8"))).toEqual([1n, 0n, 1n]);
  });

  test("the task priority holds back vectors of its class and below", async () => {
    const b = await Bare.make(`${WRITE}
start:	${ON}
	mov $5, %eax
	mov %rax, %cr8
	apic 0x83f, 0x58
	sti
	nop
	nop
	vmcall
	xor %eax, %eax
	mov %rax, %cr8
one:	nop
	vmcall
`);
    b.toVmcall();
    expect(b.toTrap()).toMatchObject({ vector: 0x58, rip: b.symbol("one") });
  });
});

test("an INIT to oneself stops the vCPU behind the write, however the run is cut", async () => {
  for (const slice of [1, 2, 1000]) {
    const b = await Bare.make(`${WRITE}start: ${ON} apic 0x830, 0x4500\n ${SPIN}`);
    let used = 0;
    for (let exit = "none"; exit === "none" && used < 1000;) {
      const r = b.run(slice);
      exit = r.exit;
      used += r.used;
    }
    expect([slice, b.machine.reg(0, "r15"), b.machine.retired]).toEqual([slice, 0n, 8]);
  }
});

// Who runs next, and when time passes at once: only halted vCPUs wait, and one that is ahead by modelled work is not.
import { describe, expect, test } from "vitest";
import { Scheduler, seededSchedule } from "../../src/machine/index.ts";
import { Bare } from "./bare.ts";

const AHEAD = 50_000;
const TEXT = `
	.macro apic reg, value
	mov $\\reg, %ecx
	mov $\\value, %eax
	xor %edx, %edx
	wrmsr
	.endm
start:	sti
1:	hlt
	jmp 1b
timed:	apic 0x80f, 0x1ff
	apic 0x83e, 0xb
	apic 0x832, 0x40
	sti
	apic 0x838, 9000
1:	hlt
	jmp 1b
spin:	inc %r15
	jmp spin
`;

/** Two vCPUs at two labels, the second one ahead of the first. */
async function two(first: string, second: string): Promise<{ b: Bare; s: Scheduler }> {
  const b = await Bare.make(TEXT, { vcpus: 2 });
  b.machine.setReg(0, "rip", b.symbol(first));
  b.machine.setReg(1, "rip", b.symbol(second));
  b.machine.charge(1, AHEAD);
  return { b, s: new Scheduler(b.machine, seededSchedule(1)) };
}

describe("while one vCPU has halted and the other one is ahead", () => {
  test("the machine is not idle: the one that is ahead goes on", async () => {
    const { b, s } = await two("start", "spin");
    expect(s.run(100)).toEqual({ kind: "insns" });
    expect(b.machine.reg(1, "r15")).toBeGreaterThan(40n);
    expect(b.machine.reg(0, "time")).toBeGreaterThanOrEqual(BigInt(AHEAD));
  });

  test("a timer of the halted one fires at its time, and the other one's clock stands", async () => {
    const { b, s } = await two("timed", "spin");
    expect(s.run(1_000_000)).toMatchObject({ kind: "exit", vcpu: 0 });
    const fired = Number(b.machine.reg(0, "time"));
    expect(fired).toBeGreaterThan(9000);
    expect(fired).toBeLessThan(9100);
    expect(b.machine.reg(1, "time")).toBe(BigInt(AHEAD));
    expect(b.machine.reg(1, "r15")).toBe(0n);
  });

  test("a slice more or less makes no difference", async () => {
    const ends = [1, 7, 1000].map(async (step) => {
      const { b, s } = await two("timed", "spin");
      b.gate(0x40, { to: b.symbol("start") });
      while (b.machine.retired < 3000) s.run(Math.min(3000, b.machine.retired + step));
      return b.machine.stateHash();
    });
    expect(new Set(await Promise.all(ends)).size).toBe(1);
  });
});

test("when all have halted time jumps to the timer, for both alike, and without one nothing is left to happen", async () => {
  const { b, s } = await two("timed", "start");
  const apart = AHEAD - 9000;
  expect(s.run(1_000_000)).toMatchObject({ kind: "exit", vcpu: 0 });
  expect(Number(b.machine.reg(1, "time") - b.machine.reg(0, "time"))).toBeGreaterThan(apart - 200);
  const none = await two("start", "start");
  expect(none.s.run(1_000_000)).toEqual({ kind: "idle" });
});

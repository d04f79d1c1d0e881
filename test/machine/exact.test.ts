// A run is the same however it is cut, on one vCPU and on two, and a snapshot is the whole of it. The guest does a bit of
// everything that could tell: timer interrupts, IPIs, locked counters, its own code, string moves, the TSC, user mode.
import { describe, expect, test } from "vitest";
import type { Snapshot } from "../../src/machine/index.ts";
import { Bare } from "./bare.ts";
import { Random } from "./native/random.ts";

const GUEST = `
	.macro apic reg, value, high=0
	mov $\\reg, %ecx
	mov $\\value, %eax
	mov $\\high, %edx
	wrmsr
	.endm
start:	apic 0x80f, 0x1ff
	apic 0x83e, 0xb
	apic 0x832, 0x20040
	apic 0x838, 173
	apic 0xc0000081, 0, 0x00230010
	mov $0xc0000082, %ecx
	lea entry(%rip), %rax
	mov $0xffffffff, %edx
	wrmsr
	apic 0xc0000084, 0x700
	mov %rdi, %r15
	lea table(%rip), %rbx
	sti
again:	imul $1103515245, %r8, %r8	/* a small random number */
	add $12345, %r8
	mov %r8, %rsi
	shr $16, %rsi
	and $0xf8, %esi
	add %r8, (%rbx,%rsi)
	lock incq shared(%rip)
	test $0x10000, %r8d
	jz 1f
	call f
1:	test $0x70000, %r8d
	jnz 2f
	mov %r8b, patched+3(%rip)	/* its own code */
2:	call patched
	lea 0x100(%rbx), %rdi
	mov $13, %ecx
	mov %rbx, %rsi
	rep movsb
	test $0x1f0000, %r8d
	jnz 3f
	rdtsc
	add %rax, %r14
	mov $0x830, %ecx			/* an IPI to the other vCPU */
	mov $0xc0051, %eax
	xor %edx, %edx
	wrmsr
3:	test $0x3f0000, %r8d
	jnz 4f
	hlt
4:	test $0xe0000, %r8d
	jnz again
	push $0x2b			/* to ring 3; it comes back by syscall */
	push %rsp
	push $0x202
	push $0x33
	push $user
	iretq
entry:	lea stacks_end(%rip), %rsp
	mov %r15, %rax
	shl $12, %rax
	sub %rax, %rsp
	sti
	jmp again
f:	push %rax
	xchg %rax, other(%rip)
	pop %rax
	div %r15
	ret
patched: add $0x11, %r13
	ret
tick:	push %rax
	push %rcx
	push %rdx
	incq ticks(%rip)
	apic 0x80b, 0
	pop %rdx
	pop %rcx
	pop %rax
	iretq
divide:	addq $3, (%rsp)			/* over the div */
	incq divides(%rip)
	iretq
	.balign 8
ticks:	.quad 0
divides: .quad 0
shared:	.quad 0
other:	.quad 0
table:	.fill 0x200, 1, 7
	.balign 4096
	.skip 0x8000
stacks_end:
	.section .user,"ax"
user:	inc %r12
	mov %r12, 0x410000
	syscall
`;

async function boot(vcpus: number, seed: number): Promise<Bare> {
  const b = await Bare.make(GUEST, { vcpus });
  b.gate(0x40, { to: b.symbol("tick") });
  b.gate(0x51, { to: b.symbol("tick") });
  b.gate(0, { to: b.symbol("divide") });
  for (let v = 0; v < vcpus; v++) {
    b.machine.setReg(v, "rdi", BigInt(v));
    b.machine.setReg(v, "r8", BigInt(seed * 7919 + v));
  }
  return b;
}

type Turns = readonly (readonly [number, number])[];

function randomTurns(r: Random, vcpus: number, units: number): Turns {
  const out: [number, number][] = [];
  for (let left = units; left > 0;) {
    const n = Math.min(left, 1 + r.below(90));
    out.push([r.below(vcpus), n]);
    left -= n;
  }
  return out;
}

/** Runs turns, each cut at random into pieces. */
function runCut(b: Bare, turns: Turns, cut: (n: number) => number): void {
  for (const [vcpu, units] of turns) {
    for (let left = units; left > 0;) {
      const n = Math.max(1, Math.min(left, cut(left)));
      const out = b.run(n, vcpu);
      if (out.used !== n) throw new Error(`${out.exit} after ${out.used} of ${n}`);
      left -= n;
    }
  }
}

const WHOLE = (n: number): number => n;

describe("exact runs", () => {
  test.each([1, 2])("%i vCPUs: every cut of a run ends in the same state", async (vcpus) => {
    for (let seed = 1; seed <= 4; seed++) {
      const turns = randomTurns(new Random(seed), vcpus, 12_000);
      const whole = await boot(vcpus, seed);
      runCut(whole, turns, WHOLE);
      const hash = whole.machine.stateHash();
      const r = new Random(seed + 100);
      for (const cut of [(n: number): number => 1 + r.below(n), (): number => 1, (): number => 3]) {
        const b = await boot(vcpus, seed);
        runCut(b, turns, cut);
        expect(b.machine.retired).toBe(whole.machine.retired);
        expect(b.machine.stateHash()).toBe(hash);
      }
      // It has done what the test is about.
      for (const what of ["ticks", "shared", "divides"]) {
        expect(whole.machine.read64(whole.symbol(what))).toBeGreaterThan(3n);
      }
      expect(whole.machine.reg(0, "r12")).toBeGreaterThan(0n);
    }
  });

  test("a state differs from the one an instruction later", async () => {
    const b = await boot(1, 1);
    runCut(b, [[0, 5000]], WHOLE);
    let before = b.machine.stateHash();
    for (let i = 0; i < 50; i++) {
      b.run(1);
      expect(b.machine.stateHash()).not.toBe(before);
      before = b.machine.stateHash();
    }
  });
});

describe("snapshots", () => {
  test.each([1, 2])("%i vCPUs: restoring gives the state and its future back", async (vcpus) => {
    const r = new Random(vcpus);
    const b = await boot(vcpus, 3);
    for (let i = 0; i < 12; i++) {
      runCut(b, randomTurns(r, vcpus, 1 + r.below(900)), WHOLE);
      const s = b.machine.snapshot();
      const hash = b.machine.stateHash();
      const turns = randomTurns(r, vcpus, 700);
      runCut(b, turns, WHOLE);
      const later = b.machine.stateHash();
      const retired = b.machine.retired;
      b.machine.restore(s);
      expect(b.machine.stateHash()).toBe(hash);
      runCut(b, turns, (n) => 1 + r.below(n));
      expect(b.machine.stateHash()).toBe(later);
      expect(b.machine.retired).toBe(retired);
    }
  });

  test("the machine with snapshots does what one without does", async () => {
    const turns = randomTurns(new Random(9), 2, 6000);
    const plain = await boot(2, 9);
    runCut(plain, turns, WHOLE);
    const b = await boot(2, 9);
    turns.forEach((t, i) => {
      if (i % 3 === 0) b.machine.snapshot();
      if (i % 5 === 0) b.machine.restore(b.machine.snapshot());
      runCut(b, [t], WHOLE);
    });
    expect(b.machine.stateHash()).toBe(plain.machine.stateHash());
  });

  test("nested: any of many snapshots can be gone back to, in any order", async () => {
    const r = new Random(4);
    const b = await boot(2, 4);
    const kept: { s: Snapshot; hash: bigint; turns: Turns; later: bigint }[] = [];
    for (let i = 0; i < 8; i++) {
      const s = b.machine.snapshot();
      const hash = b.machine.stateHash();
      const turns = randomTurns(r, 2, 400);
      runCut(b, turns, WHOLE);
      kept.push({ s, hash, turns, later: b.machine.stateHash() });
    }
    for (let i = 0; i < 40; i++) {
      const k = r.pick(kept);
      b.machine.restore(k.s);
      expect(b.machine.stateHash()).toBe(k.hash);
      runCut(b, k.turns, WHOLE);
      expect(b.machine.stateHash()).toBe(k.later);
    }
  });
});

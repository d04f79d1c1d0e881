// Cross-modifying code. On a machine whose vCPUs keep what they have fetched until they serialize, an entry that is
// overwritten raw is seen old after it is new, and torn where it lies across two lines; with the INT3 protocol it never is.
// SDM Vol. 3A, "Handling Self- and Cross-Modifying Code".
import { beforeAll, describe, expect, test } from "vitest";
import { branchTo, NOP5, textPokeBp } from "../../src/ftrace/index.ts";
import { symbolVa, type Program } from "../../src/kernel/index.ts";
import type { Adversary } from "../../src/machine/index.ts";
import type { Mechanism, Outcome } from "../../src/patch/index.ts";
import { Bare } from "../machine/bare.ts";
import { makeLab, mechanism, type Lab } from "../patch/lab.ts";

const STALE: Adversary = { staleCode: true, seed: 11 };

/** vCPU 1 waits until vCPU 0 says that f has its new entry, and calls it; the entry starts `at` bytes into a line. */
const program = (at: number, before: string): string => `
start:	vmcall
writer:	mov %r8, (%rdi)			/* r8: the new bytes, of which rdi is the place */
	movl $1, (%rsi)
	vmcall
reader:	call f
	mov (%rsi), %ecx
	test %ecx, %ecx
	jz reader
	${before}
	call f
	mov %eax, %edx
	vmcall
	.balign 64
	.skip ${at}
f:	.byte 0x0f, 0x1f, 0x44, 0x00, 0x00
	mov $1, %eax
	ret
	.balign 64
g:	mov $2, %eax
	ret
`;

interface Seen {
  old: number;
  fresh: number;
  torn: number;
}

async function race(at: number, before: string, adversary: Adversary): Promise<Seen> {
  const seen: Seen = { old: 0, fresh: 0, torn: 0 };
  for (let trial = 0; trial < 25; trial++) {
    const b = await Bare.make(program(at, before), {
      vcpus: 2,
      adversary: { ...adversary, seed: trial + 1 },
    });
    const m = b.machine;
    const flag = 0xffff_ffff_8007_0000n;
    const f = b.symbol("f");
    const jump = new Uint8Array(8);
    jump.set(m.read(f, 8));
    jump.set(branchTo("jmp", f, b.symbol("g")));
    for (const v of [0, 1]) m.setReg(v, "rsi", flag);
    m.setReg(0, "rdi", f);
    m.setReg(0, "r8", new DataView(jump.buffer).getBigUint64(0, true));
    m.setReg(0, "rip", b.symbol("writer"));
    m.setReg(1, "rip", b.symbol("reader"));
    m.run(1, 60 + trial);
    expect(m.run(0, 10).exit).toBe("vmcall");
    const r = m.run(1, 3000);
    if (r.exit === "vmcall" && m.reg(1, "rdx") === 1n && m.reg(1, "rip") < f) seen.old++;
    else if (r.exit === "vmcall" && m.reg(1, "rdx") === 2n && m.reg(1, "rip") < f) seen.fresh++;
    else seen.torn++;
  }
  return seen;
}

describe("an entry that is overwritten raw", () => {
  test("is executed old by a vCPU that knows it is new: Sometimes with stale bytes, Never without", async () => {
    const stale = await race(0, "", STALE);
    expect(stale.old).toBeGreaterThan(2);
    expect(await race(0, "", {})).toEqual({ old: 0, fresh: 25, torn: 0 });
  });

  test("is executed new by a vCPU that serializes in between: Always", async () => {
    for (const insn of ["cpuid", "serialize", "mov %cr3, %rax\n mov %rax, %cr3"]) {
      const text = `push %rcx\n ${insn}\n pop %rcx`;
      expect(await race(0, text, STALE)).toEqual({ old: 0, fresh: 25, torn: 0 });
    }
  });

  test("is torn where it lies across two lines: Sometimes", async () => {
    const seen = await race(62, "", STALE);
    expect(seen.torn).toBeGreaterThan(0);
    expect(seen.fresh + seen.old + seen.torn).toBe(25);
  });
});

test("a vCPU sees its own stores to code at once, through another mapping too", async () => {
  const b = await Bare.make(
    `start:
	mov $4, %ecx
1:	call f
	add %eax, %ebx
	incb f+1(%rip)
	dec %ecx
	jnz 1b
	vmcall
f:	mov $1, %eax
	ret
`,
    { adversary: STALE },
  );
  b.machine.setReg(0, "rbx", 0n);
  b.toVmcall();
  expect(b.machine.reg(0, "rbx")).toBe(10n);
});

describe("the INT3 protocol on the running kernel, with stale bytes and store buffers", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await makeLab("default", 2, {
      staleCode: true,
      storeBuffer: true,
      splitRmw: true,
      seed: 5,
    });
  }, 60_000);

  test("replaces an entry thousands of times, and no BUG, no wrong result, no torn instruction", () => {
    const { session, built } = lab;
    const va = symbolVa(built.image, "xfer_queue");
    const on = branchTo("call", va, symbolVa(built.image, "ftrace_caller"));
    let pokes = 0;
    const poke: Mechanism = {
      ...mechanism("naive"),
      *enable(): Program<Outcome> {
        for (;;) {
          yield* textPokeBp(built.image, [{ va, bytes: on }]);
          yield* textPokeBp(built.image, [{ va, bytes: NOP5 }]);
          pokes += 2;
        }
      },
    };
    for (let seed = 1; pokes < 2000; seed++) {
      lab.reset(seed);
      lab.request(poke);
      lab.finish();
      expect(session.events().bugs).toEqual([]);
      expect(session.word("wrong_results")).toBe(0n);
      expect(seed).toBeLessThan(200);
    }
  }, 120_000);
});

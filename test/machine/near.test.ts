// The near forms of the hot loop are second statements of what the table's micro-ops do: here a machine without them
// runs the same code, and both must agree after every cut. The code is random: a loop over all common shapes, with
// operands that cross pages, lie beside code and are not mapped, and jumps into the middle of fused pairs.
import { expect, test } from "vitest";
import {
  ARENA,
  ARENA_NEXT,
  BLOCK_HEADER,
  B_RECORDS,
  FIRST_NEAR_UOP,
  FIRST_ROW_UOP,
  MAX_UOPS,
  NEAR_OF,
  PAIR_FIRST,
  UOP_SIZE,
} from "../../assembly/abi.ts";
import { CHAINED } from "../../src/isa/chains.ts";
import { packIsa } from "../../src/isa/index.ts";
import { Bare, BOOT_TOP, KERNEL, TEXT } from "./bare.ts";
import { chainText } from "./chains.ts";
import { Random } from "./native/random.ts";

const R64 = ["rax", "rcx", "rdx", "rbx", "rsi", "r8", "r9", "r10", "r11", "r12"];
const R32 = ["eax", "ecx", "edx", "ebx", "esi", "r8d", "r9d", "r10d", "r11d", "r12d"];
const R16 = ["ax", "cx", "dx", "bx", "si", "r8w", "r9w", "r10w", "r11w", "r12w"];
const R8 = ["al", "cl", "dl", "bl", "sil", "r8b", "r9b", "r10b", "r11b", "r12b"];
const CONDITIONS = ["e", "ne", "b", "ae", "be", "a", "l", "ge", "le", "g", "s", "ns", "o", "p"];
const BINARY = ["add", "sub", "and", "or", "xor", "cmp", "mov", "test"];
const SUFFIX = { q: R64, l: R32, w: R16, b: R8 } as const;

/** One random instruction; rdi points into the data, r14 is an index of at most 15, r15 counts. */
function instruction(r: Random, label: number): string {
  const chain = r.below(3) ? chainText(r.pick(CHAINED), r, `c${label}`) : undefined;
  if (chain !== undefined) return chain;
  const suffix = r.pick(["q", "q", "l", "l", "b", "w"] as const);
  const regs = SUFFIX[suffix];
  const a = r.pick(regs);
  const b = r.pick(regs);
  const base = r.below(12) === 0 ? "%rsp" : "%rdi";
  const disp = r.pick([0, 8, -8, 3, 0xff8, 0xffc, 0x1000, 64]);
  const m = r.below(2) ? `${disp}(${base})` : `${disp}(%rdi,%r14,${r.pick([1, 2, 4, 8])})`;
  const imm = r.pick([0, 1, -1, 5, 0x7f, -128]);
  const wide = suffix === "q" || suffix === "l" ? suffix : "q";
  const d = r.pick(SUFFIX[wide]);
  const cc = r.pick(CONDITIONS);
  switch (r.below(24)) {
    case 0:
    case 1:
      return `${r.pick(BINARY)} %${a}, %${b}`;
    case 2:
      return `${r.pick(BINARY.slice(0, 7))} ${m}, %${b}`;
    case 3:
      return `${r.pick(BINARY)} %${a}, ${m}`;
    case 4:
      return `${r.pick(BINARY)} $${imm}, %${b}`;
    case 5:
      return `${r.pick(BINARY)}${suffix} $${imm}, ${m}`;
    case 6:
      return `lea${wide} ${m}, %${d}`;
    case 7:
      return `movzb${wide} ${r.below(2) ? m : `%${r.pick(R8)}`}, %${d}`;
    case 8:
      return `${r.pick(["movsb", "movzw", "movsw"])}${wide} ${m}, %${d}`;
    case 9:
      return `cmov${cc} %${r.pick(SUFFIX[wide])}, %${d}`;
    case 10:
      return `set${cc} %${r.pick(R8)}`;
    case 11:
      return `${r.pick(["shl", "shr", "sar"])} $${r.below(wide === "q" ? 64 : 32)}, %${d}`;
    case 12:
      return `${r.pick(["inc", "dec", "neg", "not"])} %${d}`;
    case 13:
      return `imul %${r.pick(SUFFIX[wide])}, %${d}`;
    case 14:
      return `push %${r.pick(R64)}\n\tpop %${r.pick(R64)}`;
    case 16:
    case 17:
      // The end of a loop: a step, a comparison, and a jump that is not always taken.
      return [
        `${label}3:\tadd $${r.pick([1, 8])}, %r14\n\t`,
        `${r.pick(["cmpb $0x35, (%rdi,%r14)", "cmpb $0, (%rdi,%r14)", "cmp %r14, %rax", "cmp $40, %r14"])}`,
        `\n\tj${cc} ${label}4f\n\ttest $0x40, %r14b\n\tjz ${label}3b\n${label}4:\tand $15, %r14d`,
      ].join("");
    case 18: {
      const p = r.pick(R64.slice(1));
      return `lea 8(%rdi), %${p}\n\tadd $${r.pick([8, -8])}, %${p}\n\tcmp %rax, (%${p})\n\tj${cc} ${label}5f\n\tmov (%${p}), %${p}\n\ttest %${p}, %${p}\n\tj${cc} ${label}5f\n\tnop\n${label}5:`;
    }
    case 19:
      return `${r.pick(["cmp", "sub", "test"])} %${a}, %${b}\n\tset${cc} ${m}`;
    case 20:
      return `cmp${suffix} $${imm}, ${m}\n\t${r.pick(["adc", "sbb"])} ${r.below(2) ? `$${imm}` : `%${r.pick(SUFFIX[wide])}`}, %${d}`;
    case 21:
      return `${r.pick(["rol", "ror"])} $${r.below(wide === "q" ? 64 : 32)}, %${d}\n\tdec %${r.pick(SUFFIX[wide])}\n\tadc $0, %${d}`;
    case 15:
      return r.pick([`call f`, `lea f(%rip), %rax\n\tcall *%rax`, `cltq`, `push $3\n\tpop %rax`]);
    default:
      // A comparison and a jump, which may be entered in the middle.
      return [
        r.below(4) ? "" : `jmp ${label}1f\n`,
        `\t${r.pick(["cmp", "test"])}${suffix} `,
        r.pick([`%${a}, %${b}`, `$${imm}, %${b}`, `%${a}, ${m}`, `$${imm}, ${m}`]),
        `\n${label}1:\tj${cc} ${label}2f\n\tadd $3, %rax\n${label}2:`,
      ].join("");
  }
}

/** An address of the data at which its low bits are not its place in RAM. */
const ELSEWHERE = 0x400000n;

function randomBody(seed: number): string {
  const r = new Random(seed);
  return Array.from({ length: 120 }, (_, i) => `\t${instruction(r, i)}\n`).join("");
}

function guest(body: string, elsewhere: boolean): string {
  return `
start:	lea data(%rip), %rbp
	add $${elsewhere ? ELSEWHERE : 0}, %rbp
	mov $14, %r15d
again:	lea (%rbp), %rdi
	mov %r15d, %r14d
	and $15, %r14d
	test $8, %r14b
	jz 1f
	sub $0x18, %rdi			/* across a page, and over the code in front of it */
1:
${body}
	dec %r15d
	jnz again
	vmcall
f:	push %rbp
	mov %rsp, %rbp
	sub $0x20, %rsp
	mov %rax, -8(%rbp)
	add $1, %rcx
	leave
	ret
	.balign 4096
	.fill 0xff0, 1, 0x90
	nop				/* code and data on one page */
data:	.fill 0x3000, 1, 0x35
`;
}

async function boot(
  seed: number,
  near: boolean,
  body = randomBody(seed),
  code = guest(body, seed % 2 === 0),
): Promise<Bare> {
  const b = await Bare.make(code);
  b.put(0x5010n, 0x83n);
  if (!near) {
    const bytes = b.machine.core.bytes();
    bytes.fill(0, NEAR_OF, NEAR_OF + 2 * MAX_UOPS);
    bytes.fill(0, PAIR_FIRST, PAIR_FIRST + MAX_UOPS);
  }
  const r = new Random(seed);
  for (const reg of ["rax", "rcx", "rdx", "rbx", "rsi", "r8", "r9", "r10", "r11", "r12"] as const) {
    b.machine.setReg(0, reg, BigInt(r.below(0x7fffffff)) * 0x1_0000_0003n);
  }
  b.machine.setReg(0, "rsp", BOOT_TOP - 0x100n);
  return b;
}

test("a machine without near forms is in the same state after every cut", async () => {
  let vmcalls = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const near = await boot(seed, true);
    const general = await boot(seed, false);
    const r = new Random(seed);
    for (let i = 0; i < 700; i++) {
      const n = r.pick([1, 2, 3, 9, 90]);
      const a = near.run(n);
      const b = general.run(n);
      expect(a, `seed ${seed}`).toEqual(b);
      expect(near.machine.reg(0, "rip"), `seed ${seed}`).toBe(general.machine.reg(0, "rip"));
      if (i % 100 === 0 || a.exit !== "none") {
        expect(near.machine.stateHash(), `seed ${seed}`).toBe(general.machine.stateHash());
      }
      if (a.exit !== "none") {
        vmcalls++;
        break;
      }
    }
  }
  expect(vmcalls).toBeGreaterThan(12);
});

/** Behind it, nothing is mapped. */
const MAPPED_END = KERNEL + ELSEWHERE + 0x200000n;

test("a chain that faults in its middle leaves the state of before the instruction", async () => {
  const faults = new Set<string>();
  for (const chain of CHAINED) {
    const r = new Random(7);
    for (let k = 0; k < 4; k++) {
      const text = chainText(chain, r, `c${k}`);
      if (text === undefined || !/\(%rdi/.test(text)) break;
      const code = `start:\n${text}\tvmcall\nf:\tret\n`;
      const [near, general] = await Promise.all(
        [true, false].map(async (forms) => {
          const b = await boot(k + 1, forms, "", code);
          b.machine.setReg(0, "rdi", MAPPED_END - BigInt([0x40, 8, 0x1000][k % 3] ?? 0));
          b.machine.setReg(0, "r14", BigInt(k));
          b.machine.setReg(0, "rflags", k & 1 ? 0x8d5n : 0x2n);
          return b;
        }),
      );
      if (near === undefined || general === undefined) throw new Error("there are two machines");
      const exit = near.run(100);
      expect(exit, chain).toEqual(general.run(100));
      expect(near.machine.reg(0, "rflags"), `${chain}:\n${text}`).toBe(
        general.machine.reg(0, "rflags"),
      );
      expect(near.machine.reg(0, "rip"), chain).toBe(general.machine.reg(0, "rip"));
      expect(near.machine.stateHash(), chain).toBe(general.machine.stateHash());
      if (near.machine.reg(0, "rip") < TEXT) faults.add(chain); // in a gate's stub
    }
  }
  expect(faults.size).toBeGreaterThan(30);
});

test.each([
  ["pops", MAPPED_END - 8n, "pop %rax\n\tpop %rcx\n\tpop %rdx\n\tpop %rbx"],
  ["pops and a return", MAPPED_END - 8n, "pop %rax\n\tret"],
  ["pushes", KERNEL + 8n, "push %rax\n\tpush %rcx\n\tpush %rdx\n\tpush %rbx"],
])("%s in a row out of what is mapped end at the one that faults", async (_, rsp, text) => {
  // Both pages are in the TLBs, as far as they are mapped.
  const code = `start: mov (%rsp), %rdi\n mov %rdi, (%rsp)\n jmp 1f\n1: ${text}\n nop\n vmcall\nf: ret\n`;
  const [near, general] = await Promise.all([boot(2, true, "", code), boot(2, false, "", code)]);
  for (const b of [near, general]) b.machine.setReg(0, "rsp", rsp);
  expect(near.run(100)).toEqual(general.run(100));
  for (const reg of ["rax", "rcx", "rdx", "rbx", "rsp", "rip", "cr2"] as const) {
    expect(near.machine.reg(0, reg), reg).toBe(general.machine.reg(0, reg));
  }
  expect(near.machine.reg(0, "cr2")).toBe(text.startsWith("pop") ? MAPPED_END : KERNEL - 8n);
  expect(near.machine.stateHash()).toBe(general.machine.stateHash());
});

/** The chains that stand in decoded blocks, as src/isa/chains.ts has them. */
function chainsOf(b: Bare): Set<string> {
  const { uops } = packIsa().near;
  const view = b.machine.core.view();
  const seen = new Set<string>();
  for (let at = ARENA; at < view.getUint32(ARENA_NEXT, true);) {
    const end = at + BLOCK_HEADER + view.getUint16(at + B_RECORDS, true) * UOP_SIZE;
    for (at += BLOCK_HEADER; at < end; at += UOP_SIZE) {
      const id = view.getUint16(at, true);
      const chain = id < FIRST_ROW_UOP ? uops[id - FIRST_NEAR_UOP]?.chain : undefined;
      if (chain !== undefined) seen.add(chain.map((c) => c.replace(/\(.*/, "")).join("; "));
    }
  }
  return seen;
}

test("every chain of near forms is met, but those that return or jump by a register", async () => {
  const expected = CHAINED.filter((c) => chainText(c, new Random(1), "x") !== undefined);
  let missing = expected;
  for (let seed = 1; seed <= 20 && missing.length > 0; seed++) {
    const r = new Random(seed);
    const body = missing.flatMap((c, i) => [0, 1, 2, 3].map((k) => chainText(c, r, `c${i}_${k}`)));
    const b = await boot(seed, true, body.join(""));
    b.run(3000);
    const seen = chainsOf(b);
    missing = missing.filter((c) => !seen.has(c));
  }
  expect(missing).toEqual([]);
  expect(expected.length).toBeGreaterThan(90);
});

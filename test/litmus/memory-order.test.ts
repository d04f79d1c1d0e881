// Memory order: what x86-TSO allows with store buffers, what it never does, and that without them memory is sequentially
// consistent. The patterns and their names are those of Sewell, Sarkar, Owens, Nardelli and Myreen 2010, "x86-TSO", and of
// SDM Vol. 3A, "Examples Illustrating the Memory-Ordering Principles".
import { describe, expect, test } from "vitest";
import { count, outcomes } from "./litmus.ts";

const TSO = { storeBuffer: true, seed: 7 };
const SC = { seed: 7 };
const TRIALS = 1500;
const set = (to: string, v = 1): string => `movl $${v}, (%${to})\n`;
const get = (from: string, r: string): string => `mov (%${from}), %${r}\n`;

const SB = [set("rsi") + get("rdi", "eax"), set("rdi") + get("rsi", "eax")];
const fenced = (fence: string): string[] => [
  `${set("rsi")} ${fence}\n ${get("rdi", "eax")}`,
  `${set("rdi")} ${fence}\n ${get("rsi", "eax")}`,
];
const BOTH_OLD = /^0,\d+ 0,/;

describe("SB: two stores, each followed by a load of the other", () => {
  test("both loads see the old value: Sometimes with store buffers, Never without", async () => {
    expect(
      count(await outcomes({ programs: SB, adversary: TSO, trials: TRIALS }), BOTH_OLD),
    ).toBeGreaterThan(50);
    expect(count(await outcomes({ programs: SB, adversary: SC, trials: TRIALS }), BOTH_OLD)).toBe(
      0,
    );
  });

  test.each([
    "mfence",
    "lock addl $0, (%rsp)",
    "xchg %ecx, 8(%rsi)",
    "xor %eax, %eax\n cpuid\n xor %eax, %eax\n xor %ebx, %ebx",
  ])("with %s between them: Never", async (fence) => {
    const seen = await outcomes({ programs: fenced(fence), adversary: TSO, trials: TRIALS });
    expect(count(seen, BOTH_OLD)).toBe(0);
    expect(count(seen, /^[01],\d+ [01],/)).toBe(TRIALS);
  });

  test("with lfence between them: Sometimes, as it does not drain", async () => {
    const seen = await outcomes({ programs: fenced("lfence"), adversary: TSO, trials: TRIALS });
    expect(count(seen, BOTH_OLD)).toBeGreaterThan(10);
  });
});

describe("with store buffers", () => {
  test("MP: the flag is seen and the message is not: Never", async () => {
    const programs = [set("rsi") + set("rdi"), get("rdi", "eax") + get("rsi", "ebx")];
    const seen = await outcomes({ programs, adversary: TSO, trials: TRIALS });
    expect(count(seen, / 1,0 /)).toBe(0);
    expect(count(seen, / 0,1 /)).toBeGreaterThan(10);
  });

  test("LB: each load sees the store behind the other one: Never", async () => {
    const programs = [get("rdi", "eax") + set("rsi"), get("rsi", "eax") + set("rdi")];
    const seen = await outcomes({ programs, adversary: TSO, trials: TRIALS });
    expect(count(seen, /^1,\d+ 1,/)).toBe(0);
  });

  test("2+2W: the first store of each comes last: Never", async () => {
    const programs = [set("rsi", 1) + set("rdi", 2), set("rdi", 1) + set("rsi", 2)];
    const seen = await outcomes({ programs, adversary: TSO, trials: TRIALS });
    expect(count(seen, / 1 1$/)).toBe(0);
    expect(count(seen, / [12] 2$/)).toBeGreaterThan(10);
  });

  test("IRIW: two readers see two stores in different orders: Never", async () => {
    const programs = [
      set("rsi"),
      set("rdi"),
      get("rsi", "eax") + get("rdi", "ebx"),
      get("rdi", "eax") + get("rsi", "ebx"),
    ];
    const seen = await outcomes({ programs, adversary: TSO, trials: TRIALS });
    expect(count(seen, / 1,0 1,0 /)).toBe(0);
  });

  test("SB+rfi: a vCPU sees its own store before anybody else does: Sometimes", async () => {
    const programs = [
      set("rsi") + get("rsi", "ebx") + get("rdi", "eax"),
      set("rdi") + get("rdi", "ebx") + get("rsi", "eax"),
    ];
    const seen = await outcomes({ programs, adversary: TSO, trials: TRIALS });
    expect(count(seen, /^0,1 0,1 /)).toBeGreaterThan(10);
    expect(count(seen, /^\d+,0 /)).toBe(0);
  });

  test("a load that overlaps two stores of its own vCPU sees both, whatever their widths", async () => {
    const programs = [
      "movl $0x11223344, (%rsi)\n movw $0x5566, 3(%rsi)\n movb $0x77, 1(%rsi)\n mov (%rsi), %rax\n",
      "mov (%rsi), %rbx\n",
    ];
    const seen = await outcomes({ programs, adversary: TSO, trials: 50 });
    expect(count(seen, new RegExp(`^${0x5566227744n},`))).toBe(50);
  });
});

const ROUNDS = 40;
const increments = (insn: string): string[] =>
  [0, 1].map((i) => `mov $${ROUNDS}, %ecx\n1${i}: ${insn}\n dec %ecx\n jnz 1${i}b\n`);

describe("an increment on two vCPUs", () => {
  const lost = async (insn: string, adversary: object): Promise<number> => {
    const programs = increments(insn).map((p, i) => p.replaceAll(`1${i}`, "1"));
    const seen = await outcomes({ programs, adversary: { seed: 3, ...adversary }, trials: 20 });
    return 20 - count(seen, new RegExp(` ${2 * ROUNDS} 0$`));
  };
  test("is lost Sometimes when it may be split, and Never with LOCK", async () => {
    expect(await lost("incl (%rsi)", { splitRmw: true })).toBeGreaterThan(15);
    expect(await lost("incl (%rsi)", { storeBuffer: true })).toBeGreaterThan(15);
    for (const adversary of [{ splitRmw: true }, { storeBuffer: true }]) {
      expect(await lost("lock incl (%rsi)", adversary)).toBe(0);
      expect(await lost("mov $1, %eax\n lock xadd %eax, (%rsi)", adversary)).toBe(0);
    }
  });
  test("is never lost on a machine without adversary, with LOCK or not", async () => {
    expect(await lost("incl (%rsi)", {})).toBe(0);
  });
  test("an exchange with memory is locked without the prefix", async () => {
    // A token goes around: whoever takes a 1 puts it back.
    const take =
      "mov $0, %eax\n2: xor %eax, %eax\n xchg %eax, (%rsi)\n add %eax, %ebx\n xchg %eax, 8(%rsi)\n";
    const seen = await outcomes({
      programs: [take, take],
      adversary: { splitRmw: true },
      trials: 100,
    });
    expect(count(seen, /^0,0 0,0 0 0$/)).toBe(100);
  });
});

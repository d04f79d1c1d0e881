// Register names of AT&T syntax with their size in bytes. Vector and x87 registers are left out:
// the kernel does not use them.

const GPR64 = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");
const GPR32 = "eax ecx edx ebx esp ebp esi edi r8d r9d r10d r11d r12d r13d r14d r15d".split(" ");
const GPR16 = "ax cx dx bx sp bp si di r8w r9w r10w r11w r12w r13w r14w r15w".split(" ");
const GPR8 = "al cl dl bl spl bpl sil dil r8b r9b r10b r11b r12b r13b r14b r15b ah ch dh bh".split(
  " ",
);

export type RegisterClass = "gpr" | "segment" | "control" | "debug" | "ip";

/** A register: size in bytes (segment registers 2, control and debug 8). */
export interface Register {
  readonly name: string;
  readonly cls: RegisterClass;
  readonly size: number;
  /** Number in ModRM, 0..15; ah ch dh bh are 4..7. */
  readonly num: number;
}

/** Registers by name without the %. */
export const REGISTERS: ReadonlyMap<string, Register> = new Map(
  [
    ...GPR64.map((name, num) => reg(name, "gpr", 8, num)),
    ...GPR32.map((name, num) => reg(name, "gpr", 4, num)),
    ...GPR16.map((name, num) => reg(name, "gpr", 2, num)),
    ...GPR8.map((name, num) => reg(name, "gpr", 1, num < 16 ? num : num - 12)),
    ..."es cs ss ds fs gs".split(" ").map((name, num) => reg(name, "segment", 2, num)),
    ...[0, 2, 3, 4, 8].map((n) => reg(`cr${n}`, "control", 8, n)),
    ...[0, 1, 2, 3, 6, 7].flatMap((n) => [
      reg(`db${n}`, "debug", 8, n),
      reg(`dr${n}`, "debug", 8, n),
    ]),
    reg("rip", "ip", 8, 0),
    reg("eip", "ip", 4, 0),
  ].map((r) => [r.name, r]),
);

function reg(name: string, cls: RegisterClass, size: number, num: number): Register {
  return { name, cls, size, num };
}

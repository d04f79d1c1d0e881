// Programs run by exec against the same programs run natively: recorded results with checked-in builds everywhere, and
// fresh builds where gcc is.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { assembleElf } from "./elf-writer.ts";
import { CASES, compileAll, execute, FOLDER, nameOf, native, storedProgram } from "./cases.ts";

const RECORDED: Readonly<Record<string, unknown>> = JSON.parse(
  readFileSync(join(FOLDER, "native.json"), "utf8"),
);

describe("a program does what it was seen to do natively", () => {
  it.each(CASES.map((c) => [nameOf(c), c] as const))("%s", (name, c) => {
    const { out, exit } = execute(storedProgram(c.program), c.program, { args: c.args });
    expect({ out, exit }).toEqual(RECORDED[name]);
  });
});

const built = compileAll();
describe("a program that this machine compiled does what this machine does", () => {
  afterAll(() => built?.close());
  const why = built === undefined ? " (skipped: no gcc on Linux x86-64)" : "";
  it.skipIf(built === undefined).each(CASES.map((c) => [nameOf(c), c] as const))(
    `%s${why}`,
    (_, c) => {
      if (built === undefined) return;
      const bytes = readFileSync(join(built.folder, c.program));
      const { out, exit } = execute(bytes, c.program, { args: c.args });
      expect({ out, exit }).toEqual(native(built.folder, c));
    },
  );
});

describe("a run", () => {
  const bytes = storedProgram("signals");

  it("counts the program's instructions however it is cut", () => {
    const whole = execute(bytes, "signals", { maxInsns: 20_000 });
    expect(whole.result).toMatchObject({ insns: 20_000, end: { kind: "budget" } });
    const pieces = execute(bytes, "signals", { maxInsns: 1 });
    for (let n = 2; n <= 20_000; n += n < 6000 ? 1 : 997) pieces.process.run(n);
    pieces.process.run(20_000);
    expect(pieces.process.insns).toBe(20_000);
    expect(pieces.process.run(50_000_000)).toEqual(whole.process.run(50_000_000));
  });

  it("has the bases of fs and gs at hand, and says so in AT_HWCAP2", async () => {
    // wrgsbase, what arch_prctl(ARCH_GET_GS) makes of it, and the vector's entry 26.
    const elf = await assembleElf(`
      .text
      .globl _start
_start: mov $0x1230, %eax
      .byte 0xf3, 0x48, 0x0f, 0xae, 0xd8
      mov $158, %eax
      mov $0x1004, %edi
      lea -64(%rsp), %rsi
      syscall
      mov -64(%rsp), %rbx
      sub $0x1200, %rbx
      mov %rsp, %rsi
1:    add $8, %rsi
      cmpq $26, (%rsi)
      jne 1b
      add 8(%rsi), %rbx
      mov %ebx, %edi
      mov $60, %eax
      syscall
`);
    expect(execute(elf, "bases").exit).toBe(0x32);
  });

  it("maps below 2 GiB on request, no huge pages, and keeps what is shared", async () => {
    const call = (nr: number, ...a: readonly (number | string)[]): string =>
      ["rdi", "rsi", "rdx", "r10", "r8", "r9"]
        .slice(0, a.length)
        .map((r, i) => `mov ${typeof a[i] === "number" ? "$" : ""}${a[i]}, %${r}\n`)
        .join("") + `mov $${nr}, %eax\n syscall\n`;
    const keep = (condition: string, n: number): string =>
      `xor %ecx, %ecx\n set${condition} %cl\n shl $${n}, %ecx\n or %ecx, %ebx\n`;
    const elf = await assembleElf(`
      .text
      .globl _start
_start: xor %ebx, %ebx
      ${call(9, 0, 4096, 3, 0x62, -1, 0)} /* MAP_32BIT */
      mov %rax, %rbp
      shr $30, %rax
      cmp $1, %rax
      ${keep("e", 0)}
      ${call(10, "%rbp", 4096, 11)} /* PROT_SEM */
      test %rax, %rax
      ${keep("e", 1)}
      ${call(9, 0, 0x200000, 3, 0x40022, -1, 0)} /* MAP_HUGETLB */
      cmp $-12, %rax
      ${keep("e", 2)}
      ${call(9, 0, 4096, 3, 0x21, -1, 0)} /* MAP_SHARED */
      mov %rax, %rbp
      movb $77, (%rbp)
      ${call(28, "%rbp", 4096, 4)} /* MADV_DONTNEED */
      cmpb $77, (%rbp)
      ${keep("e", 3)}
      ${call(28, "%rbp", 4096, 8)} /* MADV_FREE */
      cmp $-22, %rax
      ${keep("e", 4)}
      ${call(60, "%rbx")}
`);
    expect(execute(elf, "maps").exit).toBe(0x1f);
  });

  it("answers a call that is not there with ENOSYS, and the trace has a line for it", async () => {
    // Calls by number from a table; bl counts those that are not ENOSYS.
    const elf = await assembleElf(`
      .text
      .globl _start
_start: xor %ebx, %ebx
      lea numbers(%rip), %r12
1:    mov (%r12), %eax
      test %eax, %eax
      jz 2f
      mov $1, %edi
      syscall
      add $4, %r12
      cmp $-38, %rax
      je 1b
      inc %ebx
      jmp 1b
2:    mov $60, %eax
      mov %ebx, %edi
      syscall
      .data
numbers: .long 57, 101, 165, 425, 470, 5000, -1, 0
`);
    const lines: string[] = [];
    expect(execute(elf, "calls", { trace: (l) => lines.push(l) }).exit).toBe(0);
    const told = lines.map((l) => l.replace(/\(.*\) +/, "() "));
    const names = ["fork", "ptrace", "mount", "io_uring_setup"];
    for (const name of names) {
      expect(told).toContain(`${name}() = -1 ENOSYS (Function not implemented)`);
    }
    expect(told.filter((l) => l.includes("ENOSYS"))).toHaveLength(7);
    expect(told.at(-1)).toMatch(/^\+\+\+ exited with 0/);
  });

  it("has virtual time, a nanosecond for each of its instructions, and no calls of 32 bits", async () => {
    const elf = await assembleElf(`
      .text
      .globl _start
_start: mov $228, %eax
      mov $1, %edi
      lea -64(%rsp), %rsi
      syscall
      mov $1000, %ecx
1:    loop 1b
      mov $228, %eax
      lea -32(%rsp), %rsi
      syscall
      mov -24(%rsp), %rdi
      sub -56(%rsp), %rdi
      sub $1000, %rdi
      mov $60, %eax
      cmp $1, %rdi
      jb 2f
      cmp $9, %rdi
      ja 2f
      mov $20, %eax
      int $0x80
2:    syscall
`);
    const { exit, result } = execute(elf, "time");
    expect(exit).toBe(139);
    expect(result.end.kind === "signal" && result.end.report).toMatch(/SIGSEGV/);
  });

  it("is the same every time", () => {
    const runs = [1, 2].map(() => {
      const lines: string[] = [];
      const r = execute(bytes, "signals", { trace: (l) => lines.push(l) });
      return { out: r.out, insns: r.result.insns, lines };
    });
    expect(runs[0]).toEqual(runs[1]);
    expect(runs[0]?.lines.length).toBeGreaterThan(50);
  });

  it("reports a death with the true call stack", () => {
    const { result } = execute(storedProgram("ends"), "ends", { args: ["0"] });
    const report = result.end.kind === "signal" ? result.end.report : "";
    expect(report).toMatch(/^ends: killed by SIGSEGV: nothing is mapped at 0x0\n/);
    const stack = report.slice(report.indexOf("call stack:\n") + 12);
    const names = stack
      .trimEnd()
      .split("\n")
      .map((l) => l.trim().replace(/\+.*/, ""));
    expect(names).toEqual(["leaf", "middle", "main", "start", "_start"]);
  });

  it("reports the death of a recursion that filled its stack, with the ends of the call stack", async () => {
    const { result } = execute(await assembleElf("_start:\tcall _start\n"), "deep");
    const report = result.end.kind === "signal" ? result.end.report : "";
    expect(report).toMatch(/^deep: killed by SIGSEGV: nothing is mapped at /);
    expect(report).toMatch(/\.\. \d{6,7} more \.\./);
  });

  it("tells a handler of INT1 that it is no single step, and where it goes on", async () => {
    const text = `
_start:	mov $13, %eax
	mov $5, %edi
	lea action(%rip), %rsi
	xor %edx, %edx
	mov $8, %r10d
	syscall
	pushfq
	orl $0x100, (%rsp)
	popfq
	nop
	.byte 0xf1
after:	mov $60, %eax
	mov total(%rip), %edi
	syscall
handler: mov 8(%rsi), %eax
	imul $10, total(%rip), %ecx
	add %eax, %ecx
	mov %ecx, total(%rip)
	andq $~0x100, 176(%rdx)
	ret
back:	mov $15, %eax
	syscall
	.section .data
action:	.quad handler, 0x04000004, back, 0
total:	.long 0
`;
    const { exit } = execute(await assembleElf(text), "int1");
    expect(exit).toBe(21);
  });
});

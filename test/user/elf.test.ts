// What exec accepts as a program and how it refuses the rest: in one line that says what, where and what was expected.
import { describe, expect, it } from "vitest";
import { readProgram } from "../../src/user/index.ts";
import { execute, storedProgram } from "./cases.ts";
import { assembleElf, DATA, TEXT, writeElf } from "./elf-writer.ts";
import { runMutations } from "./mutate.ts";

const CODE = Uint8Array.of(0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05); // mov $60, %eax; syscall
const good = writeElf(TEXT, [{ va: TEXT, flags: 5, bytes: CODE }]);

function changed(at: number, bytes: readonly number[]): Uint8Array {
  const file = good.slice();
  file.set(bytes, at);
  return file;
}

const REFUSED: readonly (readonly [string, Uint8Array, RegExp])[] = [
  ["an empty file", new Uint8Array(0), /no ELF magic at offset 0x0, expected 7f 45 4c 46/],
  ["a script", new TextEncoder().encode("#!/bin/sh\n"), /no ELF magic/],
  ["a header cut short", good.slice(0, 40), /40 bytes, expected at least the 64/],
  ["a 32-bit file", changed(4, [1]), /a 32-bit file, expected 2/],
  ["another machine", changed(18, [183, 0]), /e_machine is 183 \(AArch64\), expected 62/],
  ["big-endian", changed(5, [2]), /expected 1, little-endian/],
  ["a relocatable file", changed(16, [1]), /a relocatable file\), expected 2 or 3/],
  ["a dynamic program", changed(64, [3]), /PT_INTERP: a dynamically linked program/],
  ["no segment", changed(64, [4]), /without a PT_LOAD/],
  ["a truncated file", good.slice(0, 4098), /the file is truncated/],
  ["program headers outside", changed(32, [0, 0, 1]), /program headers at offset 0x10000 go beyond/],
  ["an entry outside", changed(24, [0, 0, 0x50]), /entry 0x500000 lies in no segment/],
  ["an entry in data", changed(68, [6]), /a segment without PF_X/],
  ["a low segment", writeElf(0x1000n, [{ va: 0x1000n, flags: 5, bytes: CODE }]), /is below 0x10000/],
  ["a segment in the kernel's half", writeElf(1n << 63n, [{ va: 1n << 63n, flags: 5, bytes: CODE }]), /ends above/],
  ["overlapping segments", writeElf(TEXT, [{ va: TEXT, flags: 5, bytes: CODE, memSize: 0x1001n }, { va: DATA, flags: 6, bytes: CODE }]), /program headers 0 and 1 overlap at 0x402000/],
  ["an offset that does not fit", changed(72, [1]), /is not congruent to its offset/],
  ["more in the file than in memory", changed(104, [1]), /p_filesz 0x7 above p_memsz 0x1/],
]; // prettier-ignore

describe("a file that is no static program is refused", () => {
  it.each(REFUSED)("%s", (_, file, reason) => {
    expect(() => readProgram(file, "file")).toThrow(reason);
    expect(() => readProgram(file, "file")).toThrow(/^file: [^\n]*, expected [^\n]*$/);
  });

  it("when it needs more memory than there is", () => {
    const file = writeElf(TEXT, [{ va: TEXT, flags: 7, bytes: CODE, memSize: 1n << 40n }]);
    expect(() => execute(file, "big")).toThrow(
      /its segments take \d+ bytes of memory, expected at most/,
    );
  });

  it("in 400 damaged files, and those that are accepted run", () => {
    const t = runMutations(1, 0, 400);
    expect(t.wrong).toEqual([]);
    expect(t.refused).toBeGreaterThan(100);
    expect(t.ran).toBeGreaterThan(50);
  });
});

describe("a program from our own assembler", () => {
  const LOOP = `
    .text
    .globl _start
    _start: mov $1000, %ebx
    1:  mov $39, %eax
        syscall
        dec %ebx
        jnz 1b
        mov $60, %eax
        lea value(%rip), %rdx
        mov (%rdx), %edi
        syscall
    .data
    value: .quad 77
  `;

  it("retires exactly its own instructions", async () => {
    const { exit, result } = execute(await assembleElf(LOOP), "loop");
    expect(exit).toBe(77);
    expect(result.insns).toBe(1 + 1000 * 4 + 4);
  });

  it("ends within a budget after exactly that many instructions", async () => {
    const file = await assembleElf(LOOP);
    for (let n = 1; n < 30; n++)
      expect(execute(file, "loop", { maxInsns: n }).result.insns).toBe(n);
  });

  it("runs as static-PIE at another address", async () => {
    const { exit, result } = execute(await assembleElf(LOOP, 3), "loop");
    expect([exit, result.insns]).toEqual([77, 4005]);
  });

  it.each([
    ["without PT_GNU_STACK", undefined, 139],
    ["with PF_X in PT_GNU_STACK", 7, 9],
    ["without PF_X in PT_GNU_STACK", 6, 139],
  ])("%s has a stack that can be executed or not", async (_, flags, exit) => {
    // mov $9, %edi; mov $60, %eax; syscall
    const file = await assembleElf(`
      .text
      _start: movabs $0x3cb800000009bf, %rax
        mov %rax, -16(%rsp)
        movabs $0x050f0000, %rax
        mov %rax, -8(%rsp)
        lea -16(%rsp), %rax
        jmp *%rax`);
    if (flags !== undefined) {
      const v = new DataView(file.buffer);
      const nr = v.getUint16(56, true);
      v.setUint16(56, nr + 1, true);
      v.setUint32(64 + nr * 56, 0x6474e551, true);
      v.setUint32(64 + nr * 56 + 4, flags, true);
    }
    expect(execute(file, "stack").exit).toBe(exit);
  });

  it("may take all the memory it is given and no more", async () => {
    const file = await assembleElf(`
      .text
      _start: mov $9, %eax
        xor %edi, %edi
        mov $0x40000000, %esi
        mov $3, %edx
        mov $0x22, %r10d
        mov $-1, %r8
        xor %r9d, %r9d
        syscall
        mov %eax, %edi
        neg %edi
        mov $60, %eax
        syscall`);
    expect(execute(file, "greedy").exit).toBe(12);
  });

  it("that touches more than there is dies of it", async () => {
    const file = await assembleElf(`
      .text
      _start: mov $9, %eax
        xor %edi, %edi
        mov $0x40000000, %esi
        mov $3, %edx
        mov $0x4022, %r10d
        mov $-1, %r8
        xor %r9d, %r9d
        syscall
      1:  movb $1, (%rax)
        add $4096, %rax
        jmp 1b`);
    const { exit, result } = execute(file, "greedy", { ramBytes: 16 << 20 });
    expect(exit).toBe(137);
    expect(result.end.kind === "signal" && result.end.report).toMatch(
      /SIGKILL: out of memory at 0x/,
    );
  });

  it("dies of a handler that is nowhere", async () => {
    const file = await assembleElf(`
      .text
      _start: mov $13, %eax
        mov $11, %edi
        lea action(%rip), %rsi
        xor %edx, %edx
        mov $8, %r10d
        syscall
        mov %eax, 0
      .data
      action: .quad 0x8000000000000000, 0x44000000, 0x401000, 0`);
    expect(execute(file, "nowhere").exit).toBe(139);
  });

  it("has its seed's randomness", async () => {
    const file = await assembleElf(`
      .text
      _start: mov $318, %eax
        lea buffer(%rip), %rdi
        mov $1, %esi
        xor %edx, %edx
        syscall
        movzbl buffer(%rip), %edi
        mov $60, %eax
        syscall
      .data
      buffer: .quad 0`);
    const run = (seed: number): number => execute(file, "random", { seed }).exit;
    expect(run(5)).toBe(run(5));
    expect(new Set([1, 2, 3, 4, 5, 6].map(run)).size).toBeGreaterThan(2);
  });
});

describe("a program that goes to a segment of 32 bits", () => {
  it("ends with one line that says where", async () => {
    const file = await assembleElf(`
      .text
      _start: push $0x23
        push $0
        lretq`);
    expect(() => execute(file, "narrow")).toThrow(
      /^narrow: the instruction at 0x401004 goes to a segment of 32 bits/,
    );
  });
});

describe("the symbols of a stripped program", () => {
  it("are not missed", () => {
    const file = storedProgram("ends");
    new DataView(file.buffer, file.byteOffset).setUint16(60, 0, true);
    const { exit, result } = execute(file, "ends", { args: ["1"] });
    expect(exit).toBe(132);
    expect(result.end.kind === "signal" && result.end.report).toMatch(
      /\nrip [0-9a-f]{16} 0x[0-9a-f]{16} /,
    );
  });
});

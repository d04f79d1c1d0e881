// The linker: where sections go, what symbols and relocations become, and what it refuses.
import { beforeAll, describe, expect, test } from "vitest";
import type { Assembler, Obj } from "../../src/asm/index.ts";
import { makeAssembler } from "../../src/asm/index.ts";
import type { Image, Layout } from "../../src/link/index.ts";
import {
  LinkError,
  countSymbols,
  findSymbol,
  formatAddress,
  link,
  linkModule,
  symbolAt,
} from "../../src/link/index.ts";

let assembler: Assembler;
beforeAll(async () => {
  assembler = await makeAssembler();
});

function obj(text: string, name = "a.S"): Obj {
  return assembler.assemble({ name, text }, { include: () => undefined });
}

const R = { read: true, write: false, exec: false, user: false };
const LAYOUT: Layout = {
  name: "vmlinux",
  entry: "start",
  regions: [
    {
      name: ".text",
      va: 0xffffffff81000000n,
      pa: 0x1000000n,
      sections: [".head.text", ".text*"],
      align: 4096,
      flags: { ...R, exec: true },
      start: "_stext",
      end: "_etext",
    },
    { name: ".rodata", va: "next", pa: "next", sections: [".rodata*"], align: 4096, flags: R },
    {
      name: "__mcount_loc",
      va: "next",
      pa: "next",
      sections: ["__mcount_loc"],
      align: 8,
      flags: R,
      start: "__start_mcount_loc",
      end: "__stop_mcount_loc",
    },
    {
      name: ".data",
      va: "next",
      pa: "next",
      sections: [".data*", ".bss*"],
      align: 4096,
      flags: { ...R, write: true },
    },
  ],
};

const KERNEL = `
	.macro FENTRY
771:	call	__fentry__
	.pushsection __mcount_loc,"a"
	.quad	771b
	.popsection
	.endm
	.globl	start, f, __fentry__, counter
	.type	f, @function
f:	FENTRY
	mov	counter(%rip), %rax
	incq	counter
	ret
	.size	f, .-f
__fentry__: ret
	.section .head.text,"ax"
start:	call	f
	jmp	other
	.data
counter: .quad	5, f, start - .
	.bss
	.balign 64
buf:	.skip 100000
`;
const OTHER = `
	.globl	other
	.type	other, @function
other:	lea	buf(%rip), %rax
	ret
	.size other, .-other
	.p2align 4
buf:	.byte 1
	.weak	maybe
	.data
	.quad	maybe, _stext, _etext
`;

const kernel = (): Image => link([obj(KERNEL), obj(OTHER, "b.S")], LAYOUT);

function quad(image: Image, va: bigint): bigint {
  const s = image.segments.find((x) => va >= x.va && va < x.va + BigInt(x.bytes.length));
  if (s === undefined) throw new Error(`no bytes at ${va}`);
  return new DataView(s.bytes.buffer, s.bytes.byteOffset).getBigUint64(Number(va - s.va), true);
}

describe("a linked image", () => {
  test("has its segments where the layout says, pages apart where rights differ", () => {
    const image = kernel();
    expect(image.segments.map((s) => [s.name, s.va, s.pa])).toEqual([
      [".text", 0xffffffff81000000n, 0x1000000n],
      ["__mcount_loc", 0xffffffff81001000n, 0x1001000n],
      [".data", 0xffffffff81002000n, 0x1002000n],
    ]);
    expect(image.entry).toBe(0xffffffff81000000n);
  });

  test("keeps nobits out of the bytes", () => {
    const data = kernel().segments.find((s) => s.name === ".data");
    expect(data?.bytes.length).toBeLessThan(100);
    expect(data?.memSize).toBeGreaterThan(100000);
  });

  test("has the addresses of its symbols in its data", () => {
    const image = kernel();
    const va = (n: string): bigint => findSymbol(image, n)?.va ?? 0n;
    expect(quad(image, va("counter"))).toBe(5n);
    expect(quad(image, va("counter") + 8n)).toBe(va("f"));
    const here = va("counter") + 16n;
    expect(BigInt.asIntN(64, quad(image, here))).toBe(va("start") - here);
    expect(quad(image, va("counter") + 24n)).toBe(0n);
    expect(quad(image, va("counter") + 32n)).toBe(va("_stext"));
    expect(quad(image, va("counter") + 40n)).toBe(va("_etext"));
  });

  test("lists the fentry sites that __mcount_loc names", () => {
    const image = kernel();
    expect(image.fentrySites).toEqual([findSymbol(image, "f")?.va]);
    expect(findSymbol(image, "__stop_mcount_loc")?.va).toBe(
      (findSymbol(image, "__start_mcount_loc")?.va ?? 0n) + 8n,
    );
  });

  test("tells namesakes apart by sympos, in kallsyms order", () => {
    const image = kernel();
    expect(countSymbols(image, "buf")).toBe(2);
    expect(findSymbol(image, "buf")).toBeUndefined();
    expect(findSymbol(image, "buf", 1)?.section).toBe(".text");
    expect(findSymbol(image, "buf", 2)?.section).toBe(".bss");
    expect(findSymbol(image, "buf", 3)).toBeUndefined();
    expect(findSymbol(image, "f", 1)).toEqual(findSymbol(image, "f"));
  });

  test("formats an address as the kernel does", () => {
    const image = kernel();
    const f = findSymbol(image, "f");
    expect(formatAddress(image, (f?.va ?? 0n) + 5n)).toBe(`f+0x5/0x${f?.size.toString(16)}`);
    expect(symbolAt(image, 0xffffffff80000000n)).toBeUndefined();
    expect(formatAddress(image, 0x1000n)).toBe("0x0000000000001000");
  });

  test("is the same for the same input, and another for another", () => {
    expect(kernel().hash).toBe(kernel().hash);
    expect(kernel()).toEqual(kernel());
    expect(link([obj(KERNEL), obj(`${OTHER}\nnop`, "b.S")], LAYOUT).hash).not.toBe(kernel().hash);
  });
});

describe("the linker refuses", () => {
  const messageOf = (...texts: string[]): string => {
    try {
      link(
        texts.map((t, i) => obj(t, `${i}.S`)),
        LAYOUT,
      );
    } catch (e) {
      if (e instanceof LinkError) return e.message;
      throw e;
    }
    return "no error";
  };
  const start = ".globl start\nstart: ret\n";

  test.each([
    [
      "an undefined symbol",
      [`${start}call nowhere`],
      /^0\.S:3: \.text\+0x2: undefined symbol nowhere$/,
    ],
    ["a symbol defined twice", [start, start], /^start is defined in 0\.S and again in 1\.S$/],
    ["no entry", ["nop"], /^entry symbol start is undefined$/],
    [
      "a section without a region",
      [`${start}.section .x,"aw"\n.byte 1`],
      /no region takes section \.x/,
    ],
    [
      "an address that does not fit 32 bits",
      [`${start}mov $start, %eax`],
      /^0\.S: \.text\+0x2: R_X86_64_32 against start does not fit: 0xffffffff81000000, expected 32 bits unsigned$/,
    ],
    [
      "a distance that does not fit 32 bits",
      [`${start}far = 0x100000000000\n.globl far`, "call far"],
      /R_X86_64_PLT32 against far does not fit/,
    ],
  ])("%s", (_, texts, expected) => {
    expect(messageOf(...texts)).toMatch(expected);
  });

  test("regions that overlap", () => {
    const [a, b, ...rest] = LAYOUT.regions;
    if (a === undefined || b === undefined) throw new Error("no regions");
    const bad = { ...LAYOUT, regions: [a, { ...b, va: a.va, pa: a.pa }, ...rest] };
    const objs = [obj(`${start}.section .rodata\n.quad 1`)];
    expect(() => link(objs, bad)).toThrow(/regions \.text and \.rodata overlap at va/);
    const close = { ...LAYOUT, regions: [a, { ...b, align: 8 }, ...rest] };
    expect(() => link(objs, close)).toThrow(/share a page with different rights/);
  });
});

describe("a module", () => {
  const room = { va: 0xffffffffa0000000n, pa: 0x1800000n, room: 0x200000 };
  const PATCH = `
	.globl	f
	.type	f, @function
f:	call	__fentry__
	mov	counter(%rip), %rax
	call	helper
	ret
	.size	f, .-f
	.data
helper_data: .quad start, f
	.text
helper:	ret
`;

  test("takes what it does not define from the image, and its own first", () => {
    const image = kernel();
    const m = linkModule(obj(PATCH, "patch.S"), image, room);
    const text = m.segments[0];
    expect([text?.va, text?.pa]).toEqual([room.va, room.pa]);
    const view = new DataView(text?.bytes.buffer ?? new ArrayBuffer(0));
    expect(room.va + 5n + BigInt(view.getInt32(1, true))).toBe(findSymbol(image, "__fentry__")?.va);
    const data = findSymbol(m, "helper_data");
    expect(quad(m, data?.va ?? 0n)).toBe(findSymbol(image, "start")?.va);
    expect(quad(m, (data?.va ?? 0n) + 8n)).toBe(room.va);
  });

  test("must fit its room, and names what nobody defines", () => {
    const image = kernel();
    expect(() => linkModule(obj(PATCH), image, { ...room, room: 64 })).toThrow(
      /there is room for 64/,
    );
    expect(() => linkModule(obj("call gone", "p.S"), image, room)).toThrow(
      /p\.S:1: .*undefined symbol gone/,
    );
  });
});

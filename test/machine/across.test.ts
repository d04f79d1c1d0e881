// Instructions that lie in two pages. They are decoded once and kept, so what either page holds, where the second one is and
// who may fetch from it has to count at each execution as if they were not.
import { describe, expect, test } from "vitest";
import { CAREFUL, DR0, PAGE_BLOCKS } from "../../assembly/abi.ts";
import { Bare, KERNEL, NX, P, RW, US, USER } from "./bare.ts";

const PA = 0x20_0000n; // of USER
const NEXT = USER + 0x1000n;
const OTHER = 0x30_0000n; // a page of RAM that nothing else uses
const AT = USER + 0xffdn; // of an instruction of five bytes, two of which are in the next page
const ALIAS = KERNEL + PA; // the same memory as USER, writable
const LOOP = `
start:	mov $0x400ffd, %edi
	mov $100, %ecx
1:	call *%rdi
	add %rax, %rbx
	dec %ecx
	jnz 1b
	vmcall
`;

/** mov $v, %eax; ret. */
function mov(v: number): Uint8Array {
  const out = new Uint8Array(8);
  out[0] = 0xb8;
  new DataView(out.buffer).setUint32(1, v, true);
  out[5] = 0xc3;
  return out;
}

async function guest(text: string): Promise<Bare> {
  const b = await Bare.make(`${text}\n\t.section .user,"ax"\n\t.skip 8192\n`);
  b.machine.writePhys(PA + 0xffdn, mov(1));
  for (const r of ["rax", "rbx", "rcx", "rdx", "rsi"] as const) b.machine.setReg(0, r, 0n);
  return b;
}

describe("an instruction in two pages", () => {
  test("is kept, and known in both of them", async () => {
    const b = await guest("start: jmp *%rdi");
    b.machine.setReg(0, "rdi", AT);
    b.machine.writePhys(PA + 0xffdn, Uint8Array.of(0xe9, 0xfb, 0xff, 0xff, 0xff)); // to itself
    expect(b.run(100).exit).toBe("none");
    const blocks = (page: bigint): number => b.machine.core.u32(PAGE_BLOCKS + Number(page >> 12n) * 4);
    expect(blocks(PA)).not.toBe(0);
    expect(blocks(PA + 0x1000n)).not.toBe(0);
    expect(b.machine.reg(0, "rip")).toBe(AT);
  }); // prettier-ignore

  test.each([
    ["its first byte", "movb $0xbb, (%rdx)", 0xffdn, "rbx", 1n],
    ["a byte of its first page", "movb $3, (%rdx)", 0xffen, "rax", 3n],
    ["a byte of its second page", "movb $3, (%rdx)", 0x1000n, "rax", 0x30001n],
    ["bytes of both", "movl $0x02020202, (%rdx)", 0xffen, "rax", 0x02020202n],
  ] as const)("takes a store to %s as it is then", async (_where, store, off, reg, value) => {
    const twice = `call *%rdi\n mov %eax, %esi\n xor %eax, %eax\n ${store}\n call *%rdi\n vmcall`;
    const b = await guest(`start: mov $0x400ffd, %edi\n ${twice}`);
    b.machine.setReg(0, "rdx", ALIAS + off);
    b.toVmcall();
    expect(b.machine.reg(0, "rsi")).toBe(1n);
    expect(b.machine.reg(0, reg)).toBe(value);
  });

  test("that overwrites its own end has executed as it was, and is another one the next time", async () => {
    const b = await guest("start: mov $0x400ff9, %edi\n call *%rdi\n call *%rdi\n vmcall");
    // addq $1, 0x20(%rsi); ret, whose last byte, the constant, is at rsi + 0x20
    b.machine.writePhys(PA + 0xff9n, Uint8Array.of(0x90, 0x90, 0x90, 0x48, 0x83, 0x46, 0x20, 1, 0xc3));
    b.machine.setReg(0, "rsi", ALIAS + 0x1000n - 0x20n);
    b.toVmcall();
    // 1 and 1, then 2 and 2
    expect(b.machine.readPhys(PA + 0x1000n, 1)).toEqual(Uint8Array.of(4));
  }); // prettier-ignore

  test("is another one when the host or another vCPU has written its second page", async () => {
    const b = await guest(LOOP);
    b.run(200);
    b.machine.writePhys(PA + 0x1000n, Uint8Array.of(1));
    const before = b.machine.reg(0, "rbx");
    const left = b.machine.reg(0, "rcx");
    b.toVmcall();
    expect(b.machine.reg(0, "rbx") - before).toBeGreaterThan((left - 2n) * 0x10001n);

    const two = await Bare.make(
      "start: test %edi, %edi\n jne other\n jmp *%rsi\nother: movb $0, (%rdx)\n vmcall\n",
      { vcpus: 2 },
    );
    const m = two.machine;
    m.writePhys(PA + 0xffdn, Uint8Array.of(0xe9, 0xfb, 0xff, 0xff, 0xff)); // to itself
    m.setReg(0, "rdi", 0n);
    m.setReg(0, "rsi", AT);
    m.setReg(1, "rdi", 1n);
    m.setReg(1, "rdx", ALIAS + 0x1000n);
    expect(two.run(100).exit).toBe("none");
    two.toVmcall(10, 1);
    expect(two.run(1).exit).toBe("none");
    expect(m.reg(0, "rip")).toBe(BigInt.asUintN(64, AT + 5n + BigInt.asIntN(32, 0xff00fffbn)));
  });

  test("is fetched anew when its second page is mapped elsewhere, in the very loop that executes it", async () => {
    const b = await guest(`
start:	mov $0x400ffd, %edi
	mov $100, %ecx
1:	call *%rdi
	add %rax, %rbx
	cmp $50, %ecx
	jne 2f
	mov %rdx, (%rsi)
	invlpg 0x401000
2:	dec %ecx
	jnz 1b
	vmcall
`);
    b.machine.writePhys(OTHER, Uint8Array.of(1, 0, 0xc3));
    b.machine.setReg(0, "rsi", KERNEL + b.pteAt(NEXT));
    b.machine.setReg(0, "rdx", OTHER | P | US);
    b.toVmcall();
    expect(b.machine.reg(0, "rbx")).toBe(51n + 49n * 0x10001n);
  });

  test.each([
    ["absent", 0n, false, 0x10n],
    ["not executable", P | US | NX, false, 0x11n],
    ["the supervisor's, in ring 3", P, true, 0x15n],
  ] as const)("faults with the address of its second page when that is %s", async (_what, flags, user, code) => {
    const b = await guest(`${LOOP}\n.section .user, "ax"\n`);
    if (user) {
      b.enterUser("start");
      b.machine.setReg(0, "rip", AT);
      b.machine.writePhys(PA + 0xffdn, Uint8Array.of(0xe9, 0xfb, 0xff, 0xff, 0xff));
    }
    expect(b.run(30).exit).toBe("none");
    b.map(NEXT, flags, PA + 0x1000n);
    const trap = b.toTrap();
    expect(trap).toMatchObject({ vector: 14, code, rip: AT });
    expect(b.machine.reg(0, "cr2")).toBe(NEXT);
    // The page is given, and the instruction goes on from there.
    b.map(NEXT, P | US, PA + 0x1000n);
    const m = b.machine;
    m.setReg(0, "cpl", trap.cs & 3n);
    m.setReg(0, "cs", trap.cs);
    m.setReg(0, "ss", trap.ss);
    m.setReg(0, "rsp", trap.rsp);
    m.setReg(0, "rip", trap.rip);
    if (user) return void expect(b.run(30).exit).toBe("none");
    b.toVmcall();
    expect(m.reg(0, "rbx")).toBe(100n);
  }); // prettier-ignore

  test("whose first page is mapped twice ends in the page behind, which is not the same", async () => {
    const b = await guest(`
start:	mov $0x400ffd, %edi
	mov $0x411ffd, %esi
	mov $100, %ecx
1:	call *%rdi
	add %rax, %rbx
	call *%rsi
	add %rax, %rdx
	dec %ecx
	jnz 1b
	vmcall
`);
    b.map(0x411000n, P | US, PA);
    b.map(0x412000n, P | US, OTHER);
    b.machine.writePhys(OTHER, Uint8Array.of(2, 0, 0xc3));
    b.toVmcall();
    expect(b.machine.reg(0, "rbx")).toBe(100n);
    expect(b.machine.reg(0, "rdx")).toBe(100n * 0x20001n);
  });

  test("whose two pages are one and the same", async () => {
    const b = await guest(`${LOOP.replace("vmcall", "movb $5, (%rdx)\n call *%rdi\n vmcall")}`);
    b.map(NEXT, P | US, PA);
    b.machine.writePhys(PA, Uint8Array.of(0, 0, 0xc3));
    b.machine.setReg(0, "rdx", ALIAS);
    b.toVmcall();
    expect(b.machine.reg(0, "rbx")).toBe(100n);
    expect(b.machine.reg(0, "rax")).toBe(0x50001n);
  });

  test.each([
    [AT, AT],
    [NEXT + 1n, NEXT + 2n],
  ])("meets a watch that is set on it later, at 0x%x", async (lo, hi) => {
    const b = await guest(LOOP);
    const m = b.machine;
    expect(b.run(200).exit).toBe("none");
    const kind = lo === hi ? "stop" : "range";
    const w = m.watch(kind === "stop" ? { kind, lo } : { kind, lo, hi });
    const left = Number(m.reg(0, "rcx"));
    if (kind === "range") {
      b.toVmcall();
      const log = m.drainLog();
      expect(log.length).toBeGreaterThanOrEqual(left - 1);
      expect(new Set(log.map((l) => l.rip))).toEqual(new Set([AT]));
      return;
    }
    expect(b.run().exit).toBe("stop");
    expect(m.reg(0, "rip")).toBe(AT);
    expect(b.run(1).used).toBe(1);
    expect(b.run().exit).toBe("stop");
    m.unwatch(w);
    b.toVmcall();
    expect(m.reg(0, "rbx")).toBe(100n);
  });

  test("is cut before and behind as any other", async () => {
    const whole = await guest(LOOP);
    whole.toVmcall();
    const cut = await guest(LOOP);
    for (let i = 0; i < 10_000; i++) {
      const s = cut.machine.snapshot();
      cut.machine.restore(s);
      if (cut.run(1 + (i % 3)).exit === "vmcall") break;
    }
    expect(cut.machine.stateHash()).toBe(whole.machine.stateHash());
    expect(cut.machine.retired).toBe(whole.machine.retired);
  });

  test("is what memory says after a snapshot was put back", async () => {
    const b = await guest(LOOP);
    b.run(50);
    const s = b.machine.snapshot();
    b.toVmcall();
    const whole = b.machine.reg(0, "rbx");
    b.machine.restore(s);
    b.machine.writePhys(PA + 0x1000n, Uint8Array.of(9));
    b.toVmcall();
    expect(b.machine.reg(0, "rbx")).toBeGreaterThan(whole);
    b.machine.restore(s);
    b.map(NEXT, P | US, OTHER);
    b.machine.writePhys(OTHER, Uint8Array.of(1, 0, 0xc3));
    b.toVmcall();
    b.machine.restore(s);
    b.toVmcall();
    expect(b.machine.reg(0, "rbx")).toBe(whole);
  });
});

/** xorshift, for the walk below. */
function draws(seed: number): (n: number) => number {
  let x = seed;
  return (n) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % n;
  };
}

test("writes and new mappings at random count as for a machine that decodes each instruction when it executes", async () => {
  const text = `
start:	mov $0x400ff0, %edi
	mov $0x411ff0, %esi
1:	call *%rdi
	call *%rsi
	incb 0xfff(%rdx)
	jmp 1b
`;
  // Seven bytes around the end of the page: add $imm32, %rax; then ret
  const body = [0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x48, 0x05, 1, 0, 0, 0, 0xc3];
  const make = async (): Promise<Bare> => {
    const b = await guest(text);
    b.machine.writePhys(PA + 0xff0n, Uint8Array.from(body));
    b.map(0x411000n, P | US | RW, PA);
    b.map(0x412000n, P | US | RW, OTHER);
    b.machine.writePhys(OTHER, Uint8Array.of(7, 0, 0xc3));
    b.machine.writePhys(OTHER + 0x1000n, Uint8Array.of(3, 0, 0xc3));
    b.machine.setReg(0, "rdx", ALIAS);
    return b;
  };
  const kept = await make();
  const fresh = await make();
  fresh.set(0, DR0, 0x7000n); // a breakpoint somewhere: everything executes alone
  fresh.set(0, DR0 + 56, 0x402n);
  fresh.machine.setReg(0, "rip", fresh.image.entry);
  expect(fresh.machine.core.u32(CAREFUL)).not.toBe(0);
  const r = draws(20261124);
  const pages = [PA, PA + 0x1000n, OTHER, OTHER + 0x1000n];
  for (let step = 0; step < 1500; step++) {
    const what = r(6);
    const [page, byte, second, n] = [pages[r(4)] ?? PA, r(256), pages[1 + r(3)] ?? PA, 1 + r(60)];
    for (const b of [kept, fresh]) {
      if (what === 0) b.machine.writePhys(page === PA ? PA + 0xffen : page, Uint8Array.of(byte));
      else if (what === 1) b.map(NEXT, P | US, second);
      else if (what === 2) b.map(0x412000n, P | US, second);
      else if (what === 3) b.machine.writePhys(page, Uint8Array.of(byte, 0, 0xc3).subarray(page === PA ? 3 : 0));
      expect(b.run(n).exit).toBe("none");
    }
    for (const reg of ["rip", "rax", "rsp", "rflags"] as const) {
      expect(`${step} ${reg} ${kept.machine.reg(0, reg)}`).toBe(`${step} ${reg} ${fresh.machine.reg(0, reg)}`);
    }
  }
  expect(kept.machine.reg(0, "rax")).not.toBe(0n);
}); // prettier-ignore

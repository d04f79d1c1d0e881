// Ports, memory-mapped devices, the xAPIC page, and what MSRs and CPUID say of the machine.
import { describe, expect, test } from "vitest";
import { TR_LIMIT } from "../../assembly/abi.ts";
import { Uart, type Device, type DeviceAccess } from "../../src/machine/index.ts";
import { Bare, KERNEL, USER, USER_DATA, P, RW, NX } from "./bare.ts";

/** Remembers what happened to it; answers 0x11, 0x22, .. */
class Probe implements Device {
  readonly name = "probe";
  readonly ranges = [
    { space: "port", start: 0x100n, end: 0x110n },
    { space: "memory", start: 0x1000_0000n, end: 0x1000_1000n },
  ] as const;
  log: string[] = [];
  #reads = 0;
  read(a: DeviceAccess): bigint {
    this.#reads++;
    this.log.push(`r ${a.space} ${a.offset} ${a.width}`);
    return 0x1111_1111_1111_1111n * BigInt(this.#reads);
  }
  write(a: DeviceAccess, v: bigint): void {
    this.log.push(`w ${a.space} ${a.offset} ${a.width} ${v.toString(16)}`);
  }
  save(): Uint8Array {
    return Uint8Array.of(this.#reads);
  }
  restore(s: Uint8Array): void {
    this.#reads = s[0] ?? 0;
  }
}

/** Maps the physical page at `pa` for the kernel at the first page of the user's data. */
const mapDevice = (b: Bare, pa: bigint): void => b.map(USER_DATA, P | RW | NX, pa);

describe("ports", () => {
  test("of a device see each access once, with its width; all others read as ones", async () => {
    const p = new Probe();
    const b = await Bare.make(
      `start: mov $0x104, %edx
	in %dx, %al
	out %ax, %dx
	in %dx, %eax
	mov %eax, %ebx
	mov $0xcf8, %edx
	mov $0x80000000, %eax
	out %eax, %dx
	mov $0xcfc, %edx
	in %dx, %eax
	vmcall
`,
      { devices: [p] },
    );
    b.machine.setReg(0, "rax", 0xaabbccddn);
    b.toVmcall();
    expect(p.log).toEqual(["r port 4 1", "w port 4 2 cc11", "r port 4 4"]);
    expect(b.machine.reg(0, "rbx")).toBe(0x22222222n);
    expect(b.machine.reg(0, "rax")).toBe(0xffffffffn);
  });

  test("the bit map of the TSS lets ring 3 use some, and both bytes of a word count", async () => {
    const text = `start: vmcall\n.section .user,"ax"\nprobe: in $0x42, %al\nbad: in $0x43, %ax\n`;
    const b = await Bare.make(text);
    b.put(0xb000n + 96n, 0x68n << 48n);
    b.put(0xb000n + 0x68n + 8n, 0xffff_ffff_ffff_eff0n); // ports 0x40 to 0x43, and 0x4c
    b.set(0, TR_LIMIT, 0x68n + 16n);
    b.enterUser("probe");
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 0n, rip: b.symbol("bad") });
    expect(b.machine.reg(0, "rax") & 0xffn).toBe(0xffn);
  });

  test("rep insb stores what the device says, and a fault in the middle has not read the next byte", async () => {
    const p = new Probe();
    const b = await Bare.make(`start: mov $0x100, %edx\n mov $8, %ecx\nhere: rep insb\n`, {
      devices: [p],
    });
    b.map(USER_DATA, P | RW | NX);
    b.put(b.pteAt(USER_DATA + 0x1000n), 0n);
    b.machine.setReg(0, "rdi", USER_DATA + 0xffdn);
    const t = b.toTrap();
    expect(t).toMatchObject({ vector: 14, rip: b.symbol("here") });
    expect(p.log.length).toBe(3);
    expect(b.machine.reg(0, "rcx")).toBe(5n);
    expect([...b.machine.read(USER_DATA + 0xffdn, 3)]).toEqual([0x11, 0x22, 0x33]);
  });
});

describe("memory-mapped devices", () => {
  test("see loads, stores and read-modify-writes once each, and a store does not read", async () => {
    const p = new Probe();
    const b = await Bare.make(
      `start: mov 8(%rdi), %eax
	movw $0x1234, 2(%rdi)
	addl $1, 16(%rdi)
	push 32(%rdi)
	mov %rax, (%rdi)
	vmcall
`,
      { devices: [p] },
    );
    mapDevice(b, 0x1000_0000n);
    b.machine.setReg(0, "rdi", USER_DATA);
    b.toVmcall();
    expect(p.log).toEqual([
      "r memory 8 4",
      "w memory 2 2 1234",
      "r memory 16 4",
      "w memory 16 4 22222223",
      "r memory 32 8",
      "w memory 0 8 11111111",
    ]);
  });

  test("go back with a snapshot and count in the state hash", async () => {
    const p = new Probe();
    const b = await Bare.make(
      `start: vmcall\n in $0x1, %al\n mov $0x100, %edx\n in %dx, %al\n vmcall\n`,
      { devices: [p] },
    );
    b.toVmcall();
    const s = b.machine.snapshot();
    const h = b.machine.stateHash();
    b.toVmcall();
    const end = b.machine.stateHash();
    b.machine.restore(s);
    expect(b.machine.stateHash()).toBe(h);
    b.toVmcall();
    expect(b.machine.stateHash()).toBe(end);
  });

  test("two devices for one address are refused", async () => {
    await expect(
      Bare.make("start: nop\n", { devices: [new Probe(), new Probe()] }),
    ).rejects.toThrow("both claim");
  });
});

describe("a serial port", () => {
  test("sends a string by rep outsb, and receives with an interrupt", async () => {
    const uart = new Uart({ port: 0x3f8, irq: { vcpu: 0, vector: 0x34 } });
    const b = await Bare.make(
      `start: mov $0x80f, %ecx
	mov $0x1ff, %eax
	xor %edx, %edx
	wrmsr
	mov $0x3f8, %edx
	lea text(%rip), %rsi
	mov $6, %ecx
	rep outsb
	mov $0x3fc, %edx
	mov $8, %al
	out %al, %dx
	mov $0x3f9, %edx
	mov $1, %al
	out %al, %dx
	sti
	vmcall
	vmcall
handler: mov $0x3fa, %edx
	in %dx, %al
	mov %al, %bl
	mov $0x3f8, %edx
	in %dx, %al
	mov %al, %cl
	iretq
text:	.ascii "hello\\n"
`,
      { devices: [uart] },
    );
    b.gate(0x34, { to: b.symbol("handler") });
    b.toVmcall();
    expect(new TextDecoder().decode(uart.output)).toBe("hello\n");
    uart.receive(Uint8Array.of(0x5a));
    b.toVmcall();
    expect(b.machine.reg(0, "rcx") & 0xffn).toBe(0x5an);
    expect(b.machine.reg(0, "rbx") & 0xffn).toBe(4n);
  });
});

describe("the page of the local APIC", () => {
  const X1 = `	mov $0x1b, %ecx
	xor %edx, %edx
	mov $0xfee00100, %eax
	wrmsr				/* off, which resets it */
	mov $0xfee00900, %eax
	wrmsr				/* xAPIC mode */
`;
  test("has its registers 16 bytes apart, and an IPI through it arrives", async () => {
    const b = await Bare.make(`start: ${X1}
	movl $0x1ff, 0xf0(%rdi)
	mov 0x20(%rdi), %r8d
	mov 0x30(%rdi), %r9d
	movl $0x20, 0x80(%rdi)
	mov 0xa0(%rdi), %r10d
	movl $0x00000000, 0x310(%rdi)
	movl $0x51, 0x300(%rdi)		/* to APIC 0 */
	sti
	nop
	nop
`);
    mapDevice(b, 0xfee0_0000n);
    b.machine.setReg(0, "rdi", USER_DATA);
    expect(b.toTrap()).toMatchObject({ vector: 0x51 });
    expect([b.machine.reg(0, "r8"), b.machine.reg(0, "r9"), b.machine.reg(0, "r10")]).toEqual([
      0n,
      0x50014n,
      0x20n,
    ]);
  });

  test("a write to a register that cannot be written is no error, one to none is, and switched off it forgets", async () => {
    const b = await Bare.make(`start: ${X1}
	movl $0x1ff, 0xf0(%rdi)
	movl $5, 0x390(%rdi)		/* the current count */
	movl $5, 0x100(%rdi)		/* ISR */
	movl $0, 0x280(%rdi)
	mov 0x280(%rdi), %r8d
	movl $5, 0x3f0(%rdi)		/* reserved */
	movl $0, 0x280(%rdi)
	mov 0x280(%rdi), %r9d
	movl $0, 0x310(%rdi)
	movl $0x51, 0x300(%rdi)
	mov 0x220(%rdi), %r10d
	${X1}
	mov 0x220(%rdi), %r11d
	sti
	nop
	nop
	vmcall
`);
    mapDevice(b, 0xfee0_0000n);
    b.machine.setReg(0, "rdi", USER_DATA);
    b.toVmcall();
    const seen = (["r8", "r9", "r10", "r11"] as const).map((r) => b.machine.reg(0, r));
    expect(seen).toEqual([0n, 0x80n, 1n << 17n, 0n]);
  });

  test("x2APIC registers are #GP in xAPIC mode, and the mode cannot go straight back", async () => {
    const b = await Bare.make(`start: ${X1} mov $0x802, %ecx\nhere: rdmsr\n`);
    expect(b.toTrap()).toMatchObject({ vector: 13, rip: b.symbol("here") });
    const c = await Bare.make(
      `start: mov $0x1b, %ecx\n xor %edx, %edx\n mov $0xfee00900, %eax\nhere: wrmsr\n`,
    );
    expect(c.toTrap()).toMatchObject({ vector: 13, rip: c.symbol("here") });
  });

  test("logical destinations, flat and by cluster", async () => {
    const b = await Bare.make(`start: ${X1}
	movl $0x1ff, 0xf0(%rdi)
	movl $0x04000000, 0xd0(%rdi)
	movl $0x05000000, 0x310(%rdi)
	movl $0x852, 0x300(%rdi)
	movl $0x0a000000, 0x310(%rdi)
	movl $0x853, 0x300(%rdi)
	movl $0x0fffffff, 0xe0(%rdi)
	movl $0x31000000, 0xd0(%rdi)
	movl $0x35000000, 0x310(%rdi)
	movl $0x854, 0x300(%rdi)
	movl $0x25000000, 0x310(%rdi)
	movl $0x855, 0x300(%rdi)
	mov 0x220(%rdi), %eax
	vmcall
`);
    mapDevice(b, 0xfee0_0000n);
    b.machine.setReg(0, "rdi", USER_DATA);
    b.toVmcall();
    expect(b.machine.reg(0, "rax")).toBe((1n << 0x12n) | (1n << 0x14n));
  });
});

describe("INIT and start-up IPIs", () => {
  const ICR = (low: string, dest: string): string =>
    `	mov $0x830, %ecx\n	mov $${low}, %eax\n	mov $${dest}, %edx\n	wrmsr\n`;
  test("stop a vCPU where it is and start it at the vector's page, with the sender's tables", async () => {
    const b = await Bare.make(
      `start: ${ICR("0x4500", "1")} vmcall
	${ICR("0x4607", "1")} vmcall
busy:	jmp busy
`,
      { vcpus: 2 },
    );
    const m = b.machine;
    b.map(USER_DATA, P | RW);
    m.setReg(1, "rip", b.symbol("busy"));
    m.setReg(1, "rflags", 0x202n);
    m.run(1, 10);
    b.toVmcall();
    expect(m.run(1, 50)).toMatchObject({ exit: "halt", used: 50 });
    expect([m.reg(1, "rip") === b.symbol("busy"), m.reg(1, "rflags"), m.halted(1)]).toEqual([
      true,
      2n,
      true,
    ]);
    // Nothing but a start-up IPI ends the waiting.
    m.nmi(1);
    expect(m.run(1, 50).exit).toBe("halt");
    b.toVmcall();
    // 0x7000 is not mapped low by this machine: the fetch faults there, as it should.
    m.setReg(1, "rsp", 0n);
    m.run(1, 1);
    expect(m.halted(1)).toBe(true); // shut down: no IDT entry is reachable through an empty stack
    expect(m.reg(1, "cr3")).toBe(m.reg(0, "cr3"));
    expect(m.reg(1, "rip")).toBe(0x7000n);
  });
});

describe("REP", () => {
  test("lets an interrupt in between its iterations, and goes on behind it", async () => {
    const b = await Bare.make(`
start:	sti
	cld
	mov $100000, %ecx
	mov $0x80070000, %rdi
	mov $0xffffffff80070000, %rdi
there:	repe scasb
	vmcall
handler: mov (%rsp), %r8
	mov 16(%rsp), %r9
	mov %rcx, %r10
	movl $0, %eax
	iretq
`);
    const m = b.machine;
    b.gate(0x40, { to: b.symbol("handler") });
    m.core.setU32(0x5000 + 68, 0x1ff);
    m.setReg(0, "rax", 0n);
    m.run(0, 8);
    const rest = m.reg(0, "rcx");
    expect(rest > 0n && rest < 100000n).toBe(true);
    const retired = m.retired;
    m.interrupt(0, 0x40);
    m.run(0, 1);
    m.run(0, 5);
    expect(m.reg(0, "r8")).toBe(b.symbol("there"));
    expect(m.reg(0, "r9") & 0x10000n).toBe(0x10000n);
    expect(m.reg(0, "r10")).toBe(rest);
    expect(m.retired - retired).toBe(5);
  });

  test("of four thousand million iterations does not keep the host waiting, and retires once", async () => {
    const b = await Bare.make(`start: mov $-1, %ecx\nthere: rep lodsb\n vmcall\n`);
    b.machine.setReg(0, "rsi", KERNEL);
    expect(b.run(1000)).toMatchObject({ used: 1000, exit: "none" });
    expect(b.machine.retired).toBe(1);
    expect(b.machine.reg(0, "rip")).toBe(b.symbol("there"));
    expect(b.machine.reg(0, "rcx")).toBe(0xffffffffn - 999n * 64n);
  });
});

describe("MSRs and CPUID", () => {
  const READ = (n: number): string => `start: mov $${n}, %ecx\nhere: rdmsr\n vmcall\n`;
  test.each([
    0x10, 0x1b, 0x3a, 0x8b, 0xfe, 0x179, 0x1a0, 0x200, 0x20f, 0x250, 0x26f, 0x277, 0x2ff, 0x6e0,
    0x802, 0x80f, 0xc0000080, 0xc0000103,
  ])("%i can be read", async (n) => {
    (await Bare.make(READ(n))).toVmcall();
  });
  test.each([
    0x48, 0x10a, 0x210, 0x251, 0x270, 0x345, 0x7ff, 0x801, 0x80b, 0x80e, 0x83f, 0x900, 0xc0000104,
    0xc0010015,
  ])("%i is #GP", async (n) => {
    const b = await Bare.make(READ(n));
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 0n, rip: b.symbol("here") });
  });
  test.each([
    [0x277, 0x2n], // a memory type that does not exist
    [0x2ff, 0x1000n],
    [0x201, 0x1n],
    [0x3a, 1n], // locked
    [0xfe, 0n],
    [0x80b, 1n],
    [0x80f, 0x200n],
    [0x832, 0x80000n],
    [0xc0000080, 0x502n],
    [0xc0000080, 0x400n], // long mode stays
    [0xc0000082, 0x8000_0000_0000n],
    [0xc0000101, 0x8000_0000_0000n],
    [0xc0000084, 1n << 32n],
  ])("writing %i with %i is #GP", async (n, v) => {
    const b = await Bare.make(
      `start: mov $${n}, %ecx\n mov $${v & 0xffffffffn}, %eax\n mov $${v >> 32n}, %edx\nhere: wrmsr\n`,
    );
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 0n, rip: b.symbol("here") });
  });
  test.each([
    ["cr4", 0x20020n], // PCIDE
    ["cr4", 0x40020n], // OSXSAVE
    ["cr4", 0x21n], // VME
    ["cr0", 0x20000001n], // NW without CD
    ["cr0", 0x1n], // paging off
    ["cr3", 1n << 40n],
  ])("%s refuses %i", async (cr, v) => {
    const b = await Bare.make(`start: movabs $${v}, %rax\nhere: mov %rax, %${cr}\n`);
    expect(b.toTrap()).toMatchObject({ vector: 13, code: 0n, rip: b.symbol("here") });
    expect(USER > 0n).toBe(true);
  });
  test("a leaf behind the last one is the last one", async () => {
    const leaf = async (n: string): Promise<bigint[]> => {
      const b = await Bare.make(`start: mov $${n}, %eax\n xor %ecx, %ecx\n cpuid\n vmcall\n`);
      b.toVmcall();
      return (["rax", "rbx", "rcx", "rdx"] as const).map((r) => b.machine.reg(0, r));
    };
    expect(await leaf("0x20")).toEqual(await leaf("0xb"));
    expect(await leaf("0x80000009")).toEqual(await leaf("0xb"));
    expect((await leaf("0"))[0]).toBe(0xbn);
  });
});

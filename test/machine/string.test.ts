// REP MOVS and REP STOS by runs of elements against the same element by element, as a machine whose instructions execute
// alone does them: overlaps, page ends, pages that lie elsewhere, widths, directions and faults in the middle.
import { expect, test } from "vitest";
import { Bare, NX, P, RW, US, USER, USER_DATA } from "./bare.ts";
import { Random } from "./native/random.ts";

const PAGES = 4;
const DATA_PA = 0x200000n + (USER_DATA - USER);
const TEXT = ["movsb", "movsw", "movsl", "movsq", "stosb", "stosw", "stosl", "stosq"]
  .map((s, i) => `f${i}: rep ${s}\n vmcall\n b${i}: std\n rep ${s}\n cld\n vmcall\n`)
  .join("");

interface Drawn {
  readonly label: string;
  readonly rsi: bigint;
  readonly rdi: bigint;
  readonly rcx: bigint;
  readonly rax: bigint;
  /** A page that is not there, or one that lies on another one's memory. */
  readonly hole: number | undefined;
  readonly alias: readonly [number, number] | undefined;
}

function draw(r: Random): Drawn {
  const back = r.below(4) === 0;
  const rdi = USER_DATA + BigInt(r.below(PAGES * 4096 - 8));
  const near = r.below(2) === 0 ? rdi + BigInt(r.below(40) - 20) : undefined;
  const far = USER_DATA + BigInt(r.below(PAGES * 4096 - 8));
  return {
    label: `${back ? "b" : "f"}${r.below(8)}`,
    rsi: near !== undefined && near >= USER_DATA ? near : far,
    rdi,
    rcx: BigInt(r.below(r.below(2) === 0 ? 20 : 600)),
    rax: BigInt.asUintN(64, BigInt(r.below(1 << 30)) * 0x9e3779b97f4a7c15n),
    hole: r.below(3) === 0 ? r.below(PAGES) : undefined,
    alias: r.below(3) === 0 ? [r.below(PAGES), r.below(PAGES)] : undefined,
  };
}

function set(b: Bare, d: Drawn): void {
  for (let i = 0; i < PAGES; i++) b.map(USER_DATA + BigInt(i * 4096), P | RW | US | NX);
  if (d.alias) {
    const pa = DATA_PA + BigInt(d.alias[1] * 4096);
    b.map(USER_DATA + BigInt(d.alias[0] * 4096), P | RW | US | NX, pa);
  }
  if (d.hole !== undefined) b.put(b.pteAt(USER_DATA + BigInt(d.hole * 4096)), 0n);
  const m = b.machine;
  for (const name of ["rsi", "rdi", "rcx", "rax"] as const) m.setReg(0, name, d[name]);
  m.setReg(0, "rflags", 2n);
  m.setReg(0, "rsp", 0xffff_ffff_800a_0000n);
  m.setReg(0, "rip", b.symbol(d.label));
}

function end(b: Bare): unknown {
  const r = b.run(200_000);
  const m = b.machine;
  const regs = (["rip", "rsi", "rdi", "rcx", "rflags", "rsp", "cr2"] as const).map((n) =>
    m.reg(0, n),
  );
  return {
    exit: r.exit,
    regs,
    memory: Buffer.from(m.readPhys(DATA_PA, PAGES * 4096)).toString("base64"),
  };
}

test("a run of elements does what they do one by one", async () => {
  const plain = await Bare.make(`start: vmcall\n${TEXT}`);
  const alone = await Bare.make(`start: vmcall\n${TEXT}`, { adversary: { splitRmw: true } });
  const r = new Random(21);
  const bytes = Uint8Array.from({ length: PAGES * 4096 }, () => r.below(256));
  let faults = 0;
  for (const b of [plain, alone]) b.machine.writePhys(DATA_PA, bytes);
  for (let i = 0; i < 1500; i++) {
    const d = draw(r);
    set(plain, d);
    set(alone, d);
    const seen = end(plain);
    expect(seen, `${i}: ${d.label}`).toEqual(end(alone));
    if (plain.machine.reg(0, "rcx") !== 0n) faults++;
  }
  expect(faults).toBeGreaterThan(50);
});

// Page walks against a model of them that was written from the manual and apart from the core: random entries on all four
// levels, leaves of 4 KiB, 2 MiB and 1 GiB, rights, reserved bits, and the control bits that count. SDM Vol. 3A,
// "4-Level Paging", "Determination of Access Rights", "Page-Fault Exceptions", "Accessed and Dirty Flags".
import { expect, test } from "vitest";
import { EFER } from "../../assembly/abi.ts";
import { BOOT_TOP, Bare, NX, P, RW, US, USER_CS, USER_DS, USER_STACK_TOP } from "./bare.ts";

const CASES = 6000;
const PS = 0x80n;
const A = 0x20n;
const D = 0x40n;
const WP = 0x10000n;
const SMEP = 0x100000n;
const SMAP = 0x200000n;
const NXE = 0x800n;
const AC = 0x40000n;
const SLOT = 3n; // of the PML4
const TABLES = [0x1000n + SLOT * 8n, 0x30_1000n, 0x30_2000n, 0x30_3000n] as const;
const TARGET = 0x31_0000n; // physical
const MARK = 0x1122_3344_5566_77ccn; // begins with an int3
const SHIFTS = [39n, 30n, 21n, 12n] as const;
const PHYSICAL = 0xf_ffff_ffff_f000n;
const BEYOND = 0xf_ff00_0000_0000n; // MAXPHYADDR is 40

interface World {
  readonly user: boolean;
  readonly write: boolean;
  readonly fetch: boolean;
  readonly wp: boolean;
  readonly smep: boolean;
  readonly smap: boolean;
  readonly nxe: boolean;
  readonly ac: boolean;
}

/** The error code that a walk over `entries`, the PML4E first, must raise; undefined when the access is made. */
function model(entries: readonly bigint[], w: World): number | undefined {
  const how = (w.write ? 2 : 0) + (w.user ? 4 : 0) + (w.fetch && (w.nxe || w.smep) ? 16 : 0);
  const every = (bit: bigint): boolean => entries.every((e) => (e & bit) !== 0n);
  for (const [i, e] of entries.entries()) {
    if (!(e & P)) return how;
    let reserved = BEYOND | (w.nxe ? 0n : NX);
    if (i === 0) reserved |= PS;
    else if (i < 3 && e & PS) reserved |= ((1n << SHIFTS[i as 1 | 2]) - 1n) & PHYSICAL & ~0x1000n;
    if (e & reserved) return how + 9;
  }
  const refused =
    (w.fetch && entries.some((e) => e & NX)) ||
    (w.user && !every(US)) ||
    (w.write && !every(RW) && (w.user || w.wp)) ||
    (!w.user && every(US) && (w.fetch ? w.smep : w.smap && !w.ac));
  return refused ? how + 1 : undefined;
}

function draws(seed: number): (n: number) => number {
  let x = seed;
  return (n) => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) % n;
  };
}

const INSNS =
  "mov (%rdi), %rax\n int3\n .balign 16\n mov %rax, (%rdi)\n int3\n .balign 16\n jmp *%rdi\n";

test(`${CASES} accesses through random tables do what a model of the manual says`, async () => {
  const b = await Bare.make(`start: ${INSNS}\n.section .user,"ax"\nprobe: ${INSNS}`);
  const m = b.machine;
  b.gate(3, { dpl: 3 });
  const r = draws(20261125);
  const chance = (percent: number): boolean => r(100) < percent;
  const seen = new Map<string, number>();
  const { cr0, cr4 } = { cr0: m.reg(0, "cr0"), cr4: m.reg(0, "cr4") };

  for (let k = 0; k < CASES; k++) {
    const leaf = 1 + r(3); // the level of the leaf: 1 GiB, 2 MiB, 4 KiB
    const kind = r(3);
    const w: World = {
      user: chance(50), write: kind === 1, fetch: kind === 2, wp: chance(60), smep: chance(50), smap: chance(50),
      nxe: chance(80), ac: chance(40),
    }; // prettier-ignore
    const size = 1n << SHIFTS[leaf as 1 | 2 | 3];
    const target = TARGET + BigInt(r(0x800)) * 16n;
    let va = (SLOT << 39n) | (target & (size - 1n));
    for (let i = 1; i <= leaf; i++) va |= BigInt(r(512)) << SHIFTS[i as 1 | 2 | 3];
    const places: bigint[] = [];
    const entries: bigint[] = [];
    for (let i = 0; i <= leaf; i++) {
      const index = i === 0 ? 0n : (va >> SHIFTS[i as 1 | 2 | 3]) & 511n;
      places.push(TABLES[i as 0 | 1 | 2 | 3] + index * 8n);
      let e = i === leaf ? target & ~(size - 1n) : TABLES[(i + 1) as 1 | 2 | 3];
      if (i === leaf && leaf < 3) e |= PS | (chance(10) ? 0x1000n : 0n); // PAT
      if (chance(97)) e |= P;
      if (chance(85)) e |= RW;
      if (chance(w.user ? 93 : 60)) e |= US;
      if (chance(40)) e |= A;
      if (chance(30)) e |= D;
      if (chance(w.nxe ? 8 : 2)) e |= NX;
      if (chance(20)) e |= 0x100n; // G, or ignored
      if (chance(20)) e |= BigInt(1 + r(7)) << 9n; // ignored
      if (chance(10)) e |= 0x7fn << 52n; // ignored
      if (chance(2)) e |= 1n << BigInt(40 + r(12));
      if (chance(2) && i === 0) e |= PS;
      if (chance(3) && i === leaf && leaf < 3) e |= 1n << BigInt(13 + r(leaf === 2 ? 8 : 17));
      entries.push(e);
    }
    places.forEach((p, i) => b.put(p, entries[i] ?? 0n));
    b.put(target, MARK);

    b.set(0, EFER, w.nxe ? 0xd01n : 0xd01n & ~NXE);
    m.setReg(0, "cr0", w.wp ? cr0 | WP : cr0 & ~WP);
    m.setReg(0, "cr4", cr4 | (w.smep ? SMEP : 0n) | (w.smap ? SMAP : 0n));
    m.setReg(0, "cpl", w.user ? 3n : 0n);
    m.setReg(0, "cs", w.user ? USER_CS : 0x10n);
    m.setReg(0, "ss", w.user ? USER_DS : 0x18n);
    m.setReg(0, "rsp", w.user ? USER_STACK_TOP : BOOT_TOP);
    m.setReg(0, "rflags", w.ac ? AC | 2n : 2n);
    m.setReg(0, "rdi", va);
    m.setReg(0, "rax", ~MARK & 0xffff_ffff_ffff_ffffn);
    const at = b.symbol(w.user ? "probe" : "start") + BigInt(kind) * 16n;
    m.setReg(0, "rip", at);
    const trap = b.toTrap();

    const code = model(entries, w);
    const what = `${k}: ${entries.map((e) => e.toString(16)).join(" ")} ${JSON.stringify(w)}`;
    const now = places.map((p) => b.get(p));
    if (code === undefined) {
      expect([what, trap.vector]).toEqual([what, 3]);
      if (w.fetch) expect([what, trap.rip]).toEqual([what, va + 1n]);
      else if (w.write) expect([what, b.get(target)]).toEqual([what, ~MARK & 0xffff_ffff_ffff_ffffn]);
      else expect([what, m.reg(0, "rax")]).toEqual([what, MARK]);
      const used = entries.map((e, i) => e | A | (i === leaf && w.write ? D : 0n));
      expect([what, ...now]).toEqual([what, ...used]);
    } else {
      expect([what, trap.vector, Number(trap.code), trap.rip]).toEqual([what, 14, code, w.fetch ? va : at]);
      expect([what, m.reg(0, "cr2")]).toEqual([what, va]);
      expect([what, b.get(target)]).toEqual([what, MARK]);
      // Whether entries above the one that refused count as used is the CPU's own; the last one is not.
      expect([what, now[leaf]]).toEqual([what, entries[leaf]]);
      expect([what, ...now.map((e) => e & ~A)]).toEqual([what, ...entries.map((e) => e & ~A)]);
    }
    const key = `${leaf} ${kind} ${code ?? "done"}`;
    seen.set(key, (seen.get(key) ?? 0) + 1);
  }
  // Every leaf in every kind of access, made, absent, refused and reserved.
  for (const leaf of [1, 2, 3]) {
    for (const kind of [0, 1, 2]) {
      const codes = [...seen.keys()].filter((s) => s.startsWith(`${leaf} ${kind} `)).map((s) => s.slice(4));
      expect(codes).toContain("done");
      expect(new Set(codes.filter((c) => c !== "done").map((c) => Number(c) & 9))).toEqual(new Set([0, 1, 9]));
    }
  }
}); // prettier-ignore

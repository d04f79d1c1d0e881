// The guest that cases run in, on KVM and on the emulator alike: page tables, descriptor tables, a task state segment and
// stubs, as one image of physical memory. Every gate leads to a stub that halts, so that whoever runs the guest sees
// what was delivered. SDM Vol. 3A, "System Data Structures".
import { NR_WORDS, W, type State } from "./words.ts";

/** Virtual address of physical 0; the first 2 MiB, for the supervisor. */
export const KERNEL = 0xffff_ffff_8000_0000n;
export const RAM_BYTES = 0x60000;

export const PML4 = 0x1000;
const PDPT_LOW = 0x2000;
const PDPT_HIGH = 0x3000;
const PD_LOW = 0x4000;
const PD_HIGH = 0x5000;
const PT_CODE = 0x6000;
const PT_DATA = 0x7000;
const PT_STACK = 0x8000;
export const PDPT_TOP = 0x17000;
export const PD_TOP = 0x18000;
const PT_TOP = 0x19000;
export const TABLES_END = 0x9000;
export const GDT = 0xa000;
export const TSS = 0xb000;
export const IDT = 0xc000;
export const STUBS = 0xd000;
/** Tops of the stacks: rsp0, and the first three of the IST. */
export const RSP0 = 0x10000;
export const IST = [0x12000, 0x14000, 0x16000] as const;
const PA_CODE = 0x20000;
const PA_DATA = 0x30000;
const PA_STACK = 0x40000;

/** Two pages of code; what is not an instruction of the case is int3. The page behind is not present. */
export const CODE = 0x1000_0000n;
export const CODE_SIZE = 0x2000;
/** The same pages again, 1 GiB below the end of the lower canonical addresses, so that a branch leads out of them. */
export const HIGH = 0x7fff_c000_0000n;
/** Three pages of data that user mode may write and not execute. */
export const DATA = 0x2000_0000n;
export const DATA_SIZE = 0x3000;
/** Pages behind the data, each of its kind; pages between them are like DATA. */
export const RO = 0x2000_3000n;
export const ABSENT = 0x2000_4000n;
export const SUPER = 0x2000_6000n;
export const RESERVED = 0x2000_8000n;
export const SUPER_RO = 0x2000_a000n;
export const STACK = 0x3000_0000n;
export const STACK_SIZE = 0x2000;
/** Offset in the data of the bytes that a case chooses, 128 of them across the end of the first page. */
export const HOT = 0xfc0;
export const FS_BASE = 0x800n;
export const GS_BASE = 0x2000n;

/** Selectors of the GDT. */
export const SEL = {
  kernelCs: 0x10,
  kernelDs: 0x18,
  userCs32: 0x20,
  userDs: 0x28,
  userCs: 0x30,
  absentDs: 0x38,
  tss: 0x40,
  absentUserCs: 0x50,
  readOnlyDs: 0x58,
  otherTss: 0x60,
  ldt: 0x70,
  callGate: 0x80,
  conforming: 0x90,
  basedDs: 0x98,
  absentKernelCs: 0xa0,
  absentTss: 0xa8,
  kernelCs32: 0xb8,
} as const;
export const GDT_LIMIT = 0xbf;

const A_D = 0x60n; // accessed and dirty from the start: who sets them when is not compared
const P = 1n;
const RW = 2n;
const US = 4n;
const NX = 1n << 63n;

/** What is compared after a case: descriptor tables, stacks, data. */
export const OBSERVED: readonly (readonly [number, number])[] = [
  [GDT, 0x2000],
  [RSP0 - 0x1000, 0x1000],
  ...IST.map((top): readonly [number, number] => [top - 0x1000, 0x1000]),
  [PA_DATA, 0x4000],
  [PA_DATA + 0x5000, 0x6000],
  [PA_STACK, STACK_SIZE],
];

/** Physical address of a virtual one of the layout above. */
export function paOf(va: bigint): number {
  if (va >= KERNEL) return Number(va - KERNEL);
  if (va >= STACK) return PA_STACK + Number(va - STACK);
  if (va >= DATA) return PA_DATA + Number(va - DATA);
  return PA_CODE + Number(va - CODE);
}

/** Physical address of the page-table entry of a page of the layout. */
export function pteOf(va: bigint): number {
  const pt = va >= STACK ? PT_STACK : va >= DATA ? PT_DATA : PT_CODE;
  return pt + Number((va >> 12n) & 511n) * 8;
}

export interface GateOptions {
  readonly dpl?: number;
  readonly ist?: number;
  readonly trap?: boolean;
  readonly selector?: number;
  readonly absent?: boolean;
  readonly type?: number;
}

/** The two words of an interrupt gate to the stub of `vector`. */
export function gate(vector: number, o: GateOptions = {}): readonly [bigint, bigint] {
  const to = KERNEL + BigInt(STUBS + vector * 16);
  const type = BigInt(o.type ?? (o.trap ? 15 : 14)) | (BigInt(o.dpl ?? 0) << 5n) | (o.absent ? 0n : 0x80n);
  const low =
    (to & 0xffffn) |
    (BigInt(o.selector ?? SEL.kernelCs) << 16n) |
    (BigInt(o.ist ?? 1) << 32n) |
    (type << 40n) |
    (((to >> 16n) & 0xffffn) << 48n);
  return [low, to >> 32n];
} // prettier-ignore

function descriptors(put: (pa: number, v: bigint) => void): void {
  const system = (sel: number, type: bigint, base: bigint, limit: bigint): void => {
    const at = GDT + sel;
    const low = (limit & 0xffffn) | ((base & 0xffffffn) << 16n) | (type << 40n) | (((base >> 24n) & 0xffn) << 56n);
    put(at, low);
    put(at + 8, (base >> 32n) & 0xffff_ffffn);
  }; // prettier-ignore
  put(GDT + SEL.kernelCs, 0x00af9b000000ffffn);
  put(GDT + SEL.kernelDs, 0x00cf93000000ffffn);
  put(GDT + SEL.userCs32, 0x00cffb000000ffffn);
  put(GDT + SEL.userDs, 0x00cff3000000ffffn);
  put(GDT + SEL.userCs, 0x00affb000000ffffn);
  put(GDT + SEL.absentDs, 0x00cf73000000ffffn);
  system(SEL.tss, 0x8bn, KERNEL + BigInt(TSS), 0x67n);
  put(GDT + SEL.absentUserCs, 0x00af7b000000ffffn);
  put(GDT + SEL.readOnlyDs, 0x00cf91000000ffffn);
  system(SEL.otherTss, 0x89n, KERNEL + BigInt(TSS), 0x67n);
  system(SEL.ldt, 0x82n, KERNEL + BigInt(GDT), 0x3fn);
  const to = KERNEL + BigInt(STUBS);
  put(
    GDT + SEL.callGate,
    (to & 0xffffn) |
      (BigInt(SEL.kernelCs) << 16n) |
      (0xecn << 40n) |
      (((to >> 16n) & 0xffffn) << 48n),
  );
  put(GDT + SEL.callGate + 8, to >> 32n);
  put(GDT + SEL.conforming, 0x00af9f000000ffffn);
  put(GDT + SEL.basedDs, 0x12cff3345678ffffn);
  put(GDT + SEL.absentKernelCs, 0x00af1b000000ffffn);
  system(SEL.absentTss, 0x09n, KERNEL + BigInt(TSS), 0x67n);
  put(GDT + SEL.kernelCs32, 0x00cf9b000000ffffn);
}

/** Physical memory before any case. */
export function makeWorld(): Uint8Array {
  const ram = new Uint8Array(RAM_BYTES);
  const view = new DataView(ram.buffer);
  const put = (pa: number, v: bigint): void => view.setBigUint64(pa, v, true);
  const table = (pa: number): bigint => BigInt(pa) | 7n | A_D;
  put(PML4, table(PDPT_LOW));
  put(PML4 + 511 * 8, table(PDPT_HIGH));
  put(PDPT_LOW, table(PD_LOW));
  put(PDPT_HIGH + 510 * 8, table(PD_HIGH));
  put(PD_HIGH, 0x83n | A_D);
  const map = (va: bigint, pages: number, flags: bigint): void => {
    put(PD_LOW + Number((va >> 21n) & 511n) * 8, table(pteOf(va) & ~0xfff));
    for (let i = 0; i < pages; i++) {
      const page = va + BigInt(i) * 0x1000n;
      put(pteOf(page), BigInt(paOf(page)) | flags | P | A_D);
    }
  };
  map(CODE, 2, US);
  map(DATA, 12, RW | US | NX);
  map(RO, 1, US | NX);
  put(pteOf(ABSENT), 0n);
  map(SUPER, 1, RW | NX);
  map(RESERVED, 1, RW | US | NX | (1n << 51n));
  map(SUPER_RO, 1, NX);
  map(STACK, 2, RW | US | NX);
  put(PML4 + 255 * 8, table(PDPT_TOP));
  put(PDPT_TOP + 511 * 8, table(PD_TOP));
  put(PD_TOP, table(PT_TOP));
  for (let i = 0; i < 2; i++) put(PT_TOP + i * 8, BigInt(PA_CODE + i * 0x1000) | US | P | A_D);
  descriptors(put);
  put(TSS + 4, KERNEL + BigInt(RSP0));
  put(TSS + 0x60, 0x68n << 48n); // no I/O permission bitmap: its offset is behind the end
  IST.forEach((top, i) => put(TSS + 36 + i * 8, KERNEL + BigInt(top)));
  for (let v = 0; v < 256; v++) {
    const [low, high] = gate(v, { dpl: v === 3 || v === 4 ? 3 : 0 });
    put(IDT + v * 16, low);
    put(IDT + v * 16 + 8, high);
    ram[STUBS + v * 16] = 0xf4;
  }
  ram.fill(0xcc, PA_CODE, PA_CODE + CODE_SIZE);
  const fill = (pa: number, bytes: number): void => {
    for (let i = 0; i < bytes / 8; i++) {
      const x = BigInt.asUintN(64, BigInt(i + 1) * 0x9e3779b97f4a7c15n);
      put(pa + i * 8, x ^ (x >> 29n));
    }
  };
  fill(PA_DATA, 0xc000);
  fill(PA_STACK, STACK_SIZE);
  return ram;
}

export const CR0_START = 0x8005_0033n; // PG AM WP NE ET MP PE
export const CR4_START = 0x620n; // PAE OSFXSR OSXMMEXCPT

function makeStart(cpl: 0 | 3): State {
  const s = new BigUint64Array(NR_WORDS);
  s[W.rip] = CODE;
  s[W.rsp] = STACK + 0x1000n;
  s[W.rflags] = 2n;
  s[W.cr0] = CR0_START;
  s[W.cr3] = BigInt(PML4);
  s[W.cr4] = CR4_START;
  s[W.efer] = 0xd01n; // SCE LME LMA NXE
  s[W.fsBase] = FS_BASE;
  s[W.gsBase] = GS_BASE;
  s[W.cs] = BigInt(cpl ? SEL.userCs | 3 : SEL.kernelCs);
  s[W.ss] = BigInt(cpl ? SEL.userDs | 3 : SEL.kernelDs);
  s[W.tr] = BigInt(SEL.tss);
  s[W.trBase] = KERNEL + BigInt(TSS);
  s[W.trLimit] = 0x67n;
  s[W.gdtBase] = KERNEL + BigInt(GDT);
  s[W.gdtLimit] = BigInt(GDT_LIMIT);
  s[W.idtBase] = KERNEL + BigInt(IDT);
  s[W.idtLimit] = 0xfffn;
  s[W.pat] = 0x0007040600070406n;
  s[W.dr6] = 0xffff0ff0n;
  s[W.dr7] = 0x400n;
  s[W.mxcsr] = 0x1f80n;
  s[W.x87] = 0x037fn;
  return s;
}

const STARTS = { 0: makeStart(0), 3: makeStart(3) } as const;

/** A vCPU of this guest in a ring, everything else at rest. */
export function startState(cpl: 0 | 3): State {
  return STARTS[cpl].slice();
}

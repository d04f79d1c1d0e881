// The state of a vCPU as a flat list of 64-bit words, which is `struct state` of kvm.c, and the names of the words.
// It is plain data: who fills it and what runs it is elsewhere.
import { REGISTERS } from "../../../src/machine/index.ts";

const pair = (n: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => [`${n}${i}l`, `${n}${i}h`]).flat();

const SPECIAL =
  "rip rflags cr0 cr2 cr3 cr4 efer fs_base gs_base kernel_gs_base es cs ss ds fs gs tr ldtr " +
  "gdt_base gdt_limit idt_base idt_limit tr_base tr_limit star lstar cstar sfmask tsc_aux pat " +
  "dr0 dr1 dr2 dr3 dr6 dr7 mxcsr";

/** Names of the words in their order; `xmm3h` is the high half of xmm3, `st0h` sign and exponent of its first register. */
export const NAMES: readonly string[] = [
  ...REGISTERS,
  ...SPECIAL.split(" "),
  ...pair("xmm", 16),
  ..."x87 fip fdp".split(" "),
  ...pair("st", 8),
];

export const NR_WORDS = NAMES.length;

function at(name: string): number {
  const i = NAMES.indexOf(name);
  if (i < 0) throw new RangeError(`no word "${name}"`);
  return i;
}

/** Where the words lie. */
export const W = {
  rax: 0,
  rcx: 1,
  rdx: 2,
  rbx: 3,
  rsp: 4,
  rbp: 5,
  rsi: 6,
  rdi: 7,
  r8: 8,
  r11: 11,
  rip: at("rip"),
  rflags: at("rflags"),
  cr0: at("cr0"),
  cr2: at("cr2"),
  cr3: at("cr3"),
  cr4: at("cr4"),
  efer: at("efer"),
  fsBase: at("fs_base"),
  gsBase: at("gs_base"),
  kernelGsBase: at("kernel_gs_base"),
  es: at("es"),
  cs: at("cs"),
  ss: at("ss"),
  ds: at("ds"),
  fs: at("fs"),
  gs: at("gs"),
  tr: at("tr"),
  ldtr: at("ldtr"),
  gdtBase: at("gdt_base"),
  gdtLimit: at("gdt_limit"),
  idtBase: at("idt_base"),
  idtLimit: at("idt_limit"),
  trBase: at("tr_base"),
  trLimit: at("tr_limit"),
  star: at("star"),
  lstar: at("lstar"),
  cstar: at("cstar"),
  sfmask: at("sfmask"),
  tscAux: at("tsc_aux"),
  pat: at("pat"),
  dr0: at("dr0"),
  dr6: at("dr6"),
  dr7: at("dr7"),
  mxcsr: at("mxcsr"),
  xmm: at("xmm0l"),
  x87: at("x87"),
  fip: at("fip"),
  fdp: at("fdp"),
  st: at("st0l"),
} as const;

/** The words, NR_WORDS of them. */
export type State = BigUint64Array;

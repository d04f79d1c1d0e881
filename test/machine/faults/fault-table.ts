// Faulting instructions and kinds of fault: what each must raise. Every expected number is the manual's; faults.test.ts
// says where a CPU has confirmed it. SDM Vol. 3A, "Exception and Interrupt Reference"; Vol. 2 for the instructions.
import {
  ABSENT, CODE, DATA, HIGH, PDPT_TOP, PD_TOP, PML4, RESERVED, RO, SEL, STACK, SUPER, SUPER_RO, paOf,
} from "../guest/world.ts"; // prettier-ignore
import {
  at,
  descriptor,
  executable,
  f,
  gateOf,
  words,
  writable,
  type FaultRow,
  type RowOptions,
} from "./row.ts";

const NONCANONICAL = 0x8000_0000_0000n;
const STACK_END = STACK + 0x2000n;
const AC = 0x40000n;
const TF = 0x100n;
const NP_VECTOR = 6n;
const good = [writable(ABSENT)];

/** Instructions that the assembler of the kernels does not know. */
export const ENCODED: Readonly<Record<string, string>> = {
  "movups %xmm0, (%rbx)": "0f 11 03",
  "movups (%rbx), %xmm0": "0f 10 03",
  "movaps (%rbx), %xmm1": "0f 28 0b",
  "movaps %xmm1, (%rbx)": "0f 29 0b",
  "addps (%rbx), %xmm1": "0f 58 0b",
  "movntdq %xmm1, (%rbx)": "66 0f e7 0b",
  "mov %cr1, %rax": "0f 20 c8",
  "mov %rax, %cr5": "0f 22 e8",
  "mov %db8, %rax": "44 0f 21 c0",
  "rep insb": "f3 6c",
  "rep outsl": "f3 6f",
  "mov %db4, %rax": "0f 21 e0",
  "addps %xmm1, %xmm2": "0f 58 d1",
  "movaps (%rbx), %xmm2": "0f 28 13",
  "divss %xmm1, %xmm0": "f3 0f 5e c1",
  "fnsave (%rbx)": "dd 33",
  "fldt (%rbx)": "db 2b",
  "fstpt (%rbx)": "db 3b",
  "lss (%rbx), %eax": "0f b2 03",
  "lfs (%rbx), %eax": "0f b4 03",
  "lgs (%rbx), %eax": "0f b5 03",
  "ljmp *(%rbx)": "ff 2b",
  "lcall *(%rbx)": "ff 1b",
  xlat: "d7",
  "pushw %ax": "66 50",
  "popw (%rbx)": "66 8f 03",
  "pop 8(%rsp)": "8f 44 24 08",
  "movnti %rax, (%rbx)": "48 0f c3 03",
  "addr32 rep stosb": "67 f3 aa",
  "stmxcsr (%rbx)": "0f ae 1b",
  "fldenv (%rbx)": "d9 23",
  "movsd %xmm1, (%rbx)": "f2 0f 11 0b",
  "jmp .+0x40000000": "e9 fb ff ff 3f",
  "jmp .+0x3fffffff": "e9 fa ff ff 3f",
  "jmp .-1": "e9 fa ff ff ff",
  "je .+0x40000000": "0f 84 fa ff ff 3f",
  "call .+0x40000000": "e8 fb ff ff 3f",
};

/** #PF: not present, not allowed, reserved bits, execution; the second half of an access; the stack. */
const PAGE: readonly FaultRow[] = [
  f("mov (%rbx), %rax", "read, page absent", 14, { code: 4n, cr2: ABSENT + 8n, regs: { rbx: ABSENT + 8n }, repair: good }),
  f("mov %rax, (%rbx)", "write, page absent", 14, { code: 6n, cr2: ABSENT + 8n, regs: { rbx: ABSENT + 8n }, repair: good }),
  f("add %rax, (%rbx)", "read-modify-write, page absent", 14, { code: 6n, cr2: ABSENT, regs: { rbx: ABSENT }, repair: good }),
  f("mov %rax, (%rbx)", "write, page read-only", 14, { code: 7n, cr2: RO + 16n, regs: { rbx: RO + 16n }, repair: [writable(RO)] }),
  f("add %rax, (%rbx)", "read-modify-write, page read-only", 14, { code: 7n, cr2: RO, regs: { rbx: RO }, repair: [writable(RO)] }),
  f("lock incq (%rbx)", "locked, page read-only", 14, { code: 7n, cr2: RO, regs: { rbx: RO }, repair: [writable(RO)] }),
  f("xchg %rax, (%rbx)", "page read-only", 14, { code: 7n, cr2: RO, regs: { rbx: RO }, repair: [writable(RO)] }),
  f("lock cmpxchg %rcx, (%rbx)", "would not store, page read-only", 14, { code: 7n, cr2: RO, regs: { rbx: RO }, repair: [writable(RO)] }),
  f("lock xadd %rax, (%rbx)", "page read-only", 14, { code: 7n, cr2: RO, regs: { rbx: RO }, repair: [writable(RO)] }),
  f("cmpxchg16b (%rbx)", "page read-only", 14, { code: 7n, cr2: RO + 32n, regs: { rbx: RO + 32n }, repair: [writable(RO)] }),
  f("bts %rax, (%rbx)", "bit in another page, read-only", 14, { code: 7n, cr2: RO + 8n, regs: { rbx: RO - 8n, rax: 130n }, repair: [writable(RO)] }),
  f("shll $3, (%rbx)", "page read-only", 14, { code: 7n, cr2: RO, regs: { rbx: RO }, repair: [writable(RO)] }),
  f("sete (%rbx)", "page read-only", 14, { code: 7n, cr2: RO, regs: { rbx: RO }, repair: [writable(RO)] }),
  f("mov (%rbx), %rax", "read from user mode, page the supervisor's", 14, { code: 5n, cr2: SUPER, regs: { rbx: SUPER }, repair: [writable(SUPER)] }),
  f("mov %rax, (%rbx)", "write from user mode, page the supervisor's", 14, { code: 7n, cr2: SUPER, regs: { rbx: SUPER }, repair: [writable(SUPER)] }),
  f("mov (%rbx), %rax", "reserved bit in the entry", 14, { code: 13n, cr2: RESERVED, regs: { rbx: RESERVED }, repair: [writable(RESERVED)] }),
  f("mov %rax, (%rbx)", "write, reserved bit in the entry", 14, { code: 15n, cr2: RESERVED, regs: { rbx: RESERVED }, repair: [writable(RESERVED)] }),
  f("jmp *%rax", "target not executable", 14, { code: 0x15n, cr2: DATA + 0x40n, regs: { rax: DATA + 0x40n }, at: DATA + 0x40n, repair: [executable(DATA)] }),
  f("jmp *%rax", "target absent", 14, { code: 0x14n, cr2: ABSENT + 5n, regs: { rax: ABSENT + 5n }, at: ABSENT + 5n, repair: [executable(ABSENT)] }),
  f("jmp *%rax", "target the supervisor's", 14, { code: 0x15n, cr2: SUPER, regs: { rax: SUPER }, at: SUPER, repair: [executable(SUPER)] }),
  f("mov (%rbx), %rax", "read, second half absent", 14, { code: 4n, cr2: ABSENT, regs: { rbx: ABSENT - 3n }, repair: good }),
  f("mov %rax, (%rbx)", "write, second half read-only", 14, { code: 7n, cr2: RO, regs: { rbx: RO - 3n }, repair: [writable(RO)] }),
  f("add %rax, (%rbx)", "read-modify-write, second half read-only", 14, { code: 7n, cr2: RO, regs: { rbx: RO - 5n }, repair: [writable(RO)] }),
  f("movups %xmm0, (%rbx)", "write, second half read-only", 14, { code: 7n, cr2: RO, regs: { rbx: RO - 8n }, repair: [writable(RO)] }),
  f("movups (%rbx), %xmm0", "read, second half absent", 14, { code: 4n, cr2: ABSENT, regs: { rbx: ABSENT - 15n }, repair: good }),
  f("push %rax", "stack absent", 14, { code: 6n, cr2: STACK - 8n, regs: { rsp: STACK }, mend: { rsp: STACK + 64n } }),
  f("push %rax", "first half of the slot absent", 14, { code: 6n, cr2: STACK - 4n, regs: { rsp: STACK + 4n }, mend: { rsp: STACK + 64n } }),
  f("push (%rbx)", "operand absent", 14, { code: 4n, cr2: ABSENT, regs: { rbx: ABSENT }, repair: good }),
  f("pop (%rbx)", "operand absent: rsp stays", 14, { code: 6n, cr2: ABSENT, regs: { rbx: ABSENT }, repair: good }),
  f("pop %rax", "stack absent", 14, { code: 4n, cr2: STACK_END, regs: { rsp: STACK_END }, mend: { rsp: STACK + 64n } }),
  f("call 1f\n1: nop", "stack absent", 14, { code: 6n, cr2: STACK - 8n, regs: { rsp: STACK }, mend: { rsp: STACK + 64n } }),
  f("call *(%rbx)", "operand absent", 14, { code: 4n, cr2: ABSENT, regs: { rbx: ABSENT }, repair: [...good, at(ABSENT, CODE + 0x100n)] }),
  f("ret", "stack absent", 14, { code: 4n, cr2: STACK_END, regs: { rsp: STACK_END }, patches: [at(STACK + 64n, CODE + 0x100n)], mend: { rsp: STACK + 64n } }),
  f("enter $16, $0", "stack absent", 14, { code: 6n, cr2: STACK - 8n, regs: { rsp: STACK }, mend: { rsp: STACK + 64n } }),
  f("leave", "frame absent", 14, { code: 4n, cr2: ABSENT, regs: { rbp: ABSENT }, mend: { rbp: STACK + 64n } }),
  f("pushfq", "stack absent", 14, { code: 6n, cr2: STACK - 8n, regs: { rsp: STACK }, mend: { rsp: STACK + 64n } }),
  f("popfq", "stack absent", 14, { code: 4n, cr2: STACK_END, regs: { rsp: STACK_END }, mend: { rsp: STACK + 64n } }),
  f("iretq", "stack absent; which word is read first is the CPU's own", 14, { code: 4n, regs: { rsp: STACK_END }, patches: [at(STACK + 64n, CODE + 0x100n, BigInt(SEL.userCs | 3), 0x202n, STACK + 128n, BigInt(SEL.userDs | 3))], mend: { rsp: STACK + 64n } }),
  f("mov %rax, (%rbx)", "write in ring 0, page read-only, CR0.WP", 14, { ring: 0, code: 3n, cr2: SUPER_RO, regs: { rbx: SUPER_RO }, mend: { cr0: 0x8004_0033n } }),
  f("mov (%rbx), %rax", "a user's page under SMAP", 14, { ring: 0, code: 1n, cr2: DATA, regs: { rbx: DATA }, on: { cr4: 0x20_0000n }, mend: { rflags: AC | 2n } }),
  f("mov %rax, (%rbx)", "write to a user's page under SMAP", 14, { ring: 0, code: 3n, cr2: DATA, regs: { rbx: DATA }, on: { cr4: 0x20_0000n }, mend: { cr4: 0x620n } }),
  f("nop", "a user's page under SMEP", 14, { ring: 0, code: 0x11n, cr2: CODE, on: { cr4: 0x10_0000n }, mend: { cr4: 0x620n } }),
]; // prettier-ignore

/** In the middle of a REP: the iterations before are done and counted, and going on does the rest. */
const STRINGS: readonly FaultRow[] = [
  f("rep movsb", "destination absent after 8 bytes", 14, { code: 6n, cr2: ABSENT, regs: { rcx: 20n, rsi: DATA, rdi: ABSENT - 8n }, progress: { rcx: 12n, rsi: DATA + 8n, rdi: ABSENT } , repair: good, patches: [writable(RO)] }),
  f("rep movsq", "source absent after 2 words", 14, { code: 4n, cr2: ABSENT, regs: { rcx: 5n, rsi: ABSENT - 16n, rdi: DATA }, progress: { rcx: 3n, rsi: ABSENT, rdi: DATA + 16n }, repair: good }),
  f("rep movsq", "a word of the source across the end", 14, { code: 4n, cr2: ABSENT, regs: { rcx: 5n, rsi: ABSENT - 20n, rdi: DATA }, progress: { rcx: 3n, rsi: ABSENT - 4n, rdi: DATA + 16n }, repair: good }),
  f("std\nrep movsb", "downwards, destination read-only", 14, { code: 7n, cr2: RO + 0xfffn, regs: { rcx: 9n, rsi: DATA + 0x100n, rdi: ABSENT + 3n }, progress: { rcx: 5n, rsi: DATA + 0xfcn, rdi: RO + 0xfffn, rflags: 0x402n }, patches: [writable(ABSENT)], repair: [writable(RO)], at: CODE + 1n }),
  f("rep stosq", "destination absent after 3 words", 14, { code: 6n, cr2: ABSENT, regs: { rcx: 7n, rdi: ABSENT - 24n, rax: 0x1234n }, progress: { rcx: 4n, rdi: ABSENT }, patches: [writable(RO)], repair: good }),
  f("rep stosb", "destination read-only after 5 bytes", 14, { code: 7n, cr2: RO, regs: { rcx: 9n, rdi: RO - 5n, rax: 0x55n }, progress: { rcx: 4n, rdi: RO }, repair: [writable(RO)] }),
  f("rep lodsb", "source absent after 4 bytes", 14, { code: 4n, cr2: ABSENT, regs: { rcx: 6n, rsi: ABSENT - 4n }, progress: { rcx: 2n, rsi: ABSENT, rax: 0x77n }, patches: [writable(RO), at(ABSENT - 8n, 0x7777_7777_7777_7777n)], repair: good }),
  f("repe cmpsb", "equal so far, source absent", 14, { code: 4n, cr2: ABSENT, regs: { rcx: 9n, rsi: ABSENT - 4n, rdi: DATA + 4n }, progress: { rcx: 5n, rsi: ABSENT, rdi: DATA + 8n, rflags: 0x46n }, patches: [writable(RO), at(ABSENT - 8n, 5n << 32n), at(DATA, 5n << 32n)], repair: good }),
  f("repne scasb", "not found so far, source absent", 14, { code: 4n, cr2: ABSENT, regs: { rcx: 9n, rdi: ABSENT - 2n, rax: 0n }, progress: { rcx: 7n, rdi: ABSENT, rflags: 0x93n }, patches: [writable(RO), at(ABSENT - 8n, 0x7171_7171_7171_7171n)], repair: good }),
  f("movsb", "destination read-only", 14, { code: 7n, cr2: RO, regs: { rsi: DATA, rdi: RO }, repair: [writable(RO)] }),
]; // prettier-ignore

/** #GP and #SS: addresses, alignment, privilege, reserved bits, selectors. */
const PROTECTION: readonly FaultRow[] = [
  f("mov (%rbx), %rax", "address not canonical", 13, { code: 0n, regs: { rbx: NONCANONICAL }, mend: { rbx: DATA } }),
  f("mov %rax, (%rbx)", "address not canonical", 13, { code: 0n, regs: { rbx: 0xffff_7fff_ffff_fff8n }, mend: { rbx: DATA } }),
  f("mov (%rsp), %rax", "address not canonical, through rsp", 12, { code: 0n, regs: { rsp: NONCANONICAL }, mend: { rsp: STACK } }),
  f("mov 8(%rbp), %rax", "address not canonical, through rbp", 12, { code: 0n, regs: { rbp: NONCANONICAL }, mend: { rbp: STACK } }),
  f("mov %gs:8(%rbp), %rax", "address not canonical, through rbp with gs", 13, { code: 0n, regs: { rbp: NONCANONICAL }, mend: { rbp: DATA } }),
  f("push %rax", "stack not canonical", 12, { code: 0n, regs: { rsp: NONCANONICAL + 16n }, mend: { rsp: STACK + 64n } }),
  f("pop %rax", "stack not canonical", 12, { code: 0n, regs: { rsp: NONCANONICAL }, mend: { rsp: STACK + 64n } }),
  f("push (%rbx)", "operand not canonical", 13, { code: 0n, regs: { rbx: NONCANONICAL }, mend: { rbx: DATA } }),
  f("jmp *%rax", "target not canonical", 13, { code: 0n, regs: { rax: NONCANONICAL }, mend: { rax: CODE + 0x100n } }),
  f("call *%rax", "target not canonical: nothing is pushed", 13, { code: 0n, regs: { rax: NONCANONICAL }, mend: { rax: CODE + 0x100n } }),
  f("ret", "target not canonical: nothing is popped", 13, { code: 0n, patches: [at(STACK + 0x1000n, NONCANONICAL)], repair: [at(STACK + 0x1000n, CODE + 0x100n)] }),
  f("cmpxchg16b (%rbx)", "not aligned to 16", 13, { code: 0n, regs: { rbx: DATA + 8n }, mend: { rbx: DATA } }),
  f("movaps (%rbx), %xmm1", "not aligned to 16", 13, { code: 0n, regs: { rbx: DATA + 8n }, mend: { rbx: DATA } }),
  f("movaps %xmm1, (%rbx)", "not aligned to 16", 13, { code: 0n, regs: { rbx: DATA + 1n }, mend: { rbx: DATA } }),
  f("addps (%rbx), %xmm1", "not aligned to 16", 13, { code: 0n, regs: { rbx: DATA + 4n }, mend: { rbx: DATA } }),
  f("movntdq %xmm1, (%rbx)", "not aligned to 16", 13, { code: 0n, regs: { rbx: DATA + 8n }, mend: { rbx: DATA } }),
  f("fxsave (%rbx)", "not aligned to 16", 13, { code: 0n, regs: { rbx: DATA + 8n }, mend: { rbx: DATA } }),
  f("movaps (%rbx), %xmm1", "not aligned, and the page absent", 13, { code: 0n, regs: { rbx: ABSENT + 8n } }),
  f("ldmxcsr (%rbx)", "a reserved bit", 13, { code: 0n, regs: { rbx: DATA }, patches: [at(DATA, 0x8000_1f80n)], repair: [at(DATA, 0x1f80n)] }),
  ...["hlt", "cli", "sti", "clts", "wbinvd", "invlpg (%rbx)", "mov %cr0, %rax", "mov %rax, %cr3", "mov %db7, %rax", "rdmsr", "wrmsr",
    "lgdt (%rbx)", "lidt (%rbx)", "ltr %ax", "lldt %ax", "lmsw %ax", "swapgs", "sysretq", "in %dx, %al", "out %al, %dx"]
    .map((insn) => f(insn, "not in ring 0", 13, { code: 0n, regs: { rbx: DATA } })),
  f("int $0x20", "gate of ring 0", 13, { code: 0x102n, repair: [gateOf(0x20, { dpl: 3 })] }),
  f("mov %ax, %ds", "selector behind the table", 13, { code: 0xfff0n, regs: { rax: 0xfff3n }, mend: { rax: BigInt(SEL.userDs | 3) } }),
  f("mov %ax, %ds", "a segment of ring 0", 13, { code: BigInt(SEL.kernelDs), regs: { rax: BigInt(SEL.kernelDs | 3) }, mend: { rax: BigInt(SEL.userDs | 3) } }),
  f("mov %ax, %ss", "null in ring 3", 13, { code: 0n, regs: { rax: 0n }, mend: { rax: BigInt(SEL.userDs | 3) } }),
  f("mov %ax, %ss", "RPL is not CPL", 13, { code: BigInt(SEL.userDs), regs: { rax: BigInt(SEL.userDs) }, mend: { rax: BigInt(SEL.userDs | 3) } }),
  f("mov %ax, %ss", "a read-only segment", 13, { ring: 0, code: BigInt(SEL.readOnlyDs), regs: { rax: BigInt(SEL.readOnlyDs) }, mend: { rax: BigInt(SEL.kernelDs) } }),
  f("iretq", "a nested task", 13, { code: 0n, regs: { rflags: 0x4202n }, patches: [at(STACK + 0x1000n, CODE + 0x100n, BigInt(SEL.userCs | 3), 0x202n, STACK + 128n, BigInt(SEL.userDs | 3))], mend: { rflags: 0x202n } }),
  f("iretq", "to ring 0 from ring 3", 13, { code: BigInt(SEL.kernelCs), patches: [at(STACK + 0x1000n, CODE, BigInt(SEL.kernelCs), 2n, STACK, BigInt(SEL.kernelDs))] }),
  f("iretq", "null SS for ring 3", 13, { ring: 0, code: 0n, patches: [at(STACK + 0x1000n, CODE, BigInt(SEL.userCs | 3), 2n, STACK, 0n)] }),
  f("iretq", "target not canonical", 13, { ring: 0, code: 0n, patches: [at(STACK + 0x1000n, NONCANONICAL, BigInt(SEL.userCs | 3), 2n, STACK, BigInt(SEL.userDs | 3))] }),
  f("rdmsr", "no such MSR", 13, { ring: 0, code: 0n, regs: { rcx: 0x1234n }, mend: { rcx: 0xc000_0081n } }),
  f("wrmsr", "LSTAR not canonical", 13, { ring: 0, code: 0n, regs: { rcx: 0xc000_0082n, rdx: 0x8000n }, mend: { rdx: 0n } }),
  f("wrmsr", "a reserved bit of EFER", 13, { ring: 0, code: 0n, regs: { rcx: 0xc000_0080n, rdx: 1n, rax: 0xd01n }, mend: { rdx: 0n } }),
  f("mov %rax, %cr0", "paging without protection", 13, { ring: 0, code: 0n, regs: { rax: 0x8000_0032n }, mend: { rax: 0x8005_0033n } }),
  f("mov %rax, %cr0", "NW without CD", 13, { ring: 0, code: 0n, regs: { rax: 0xa005_0033n }, mend: { rax: 0x8005_0033n } }),
  f("mov %rax, %cr4", "PAE cleared in long mode", 13, { ring: 0, code: 0n, regs: { rax: 0x600n }, mend: { rax: 0x620n } }),
  f("mov %rax, %cr4", "a reserved bit", 13, { ring: 0, code: 0n, regs: { rax: 0x8000_0620n }, mend: { rax: 0x620n } }),
  f("mov %rax, %db7", "upper half not zero", 13, { ring: 0, code: 0n, regs: { rax: 1n << 32n }, mend: { rax: 0x400n } }),
  f("ltr %ax", "busy", 13, { ring: 0, code: BigInt(SEL.tss), regs: { rax: BigInt(SEL.tss) }, mend: { rax: BigInt(SEL.otherTss) } }),
  f("ltr %ax", "null", 13, { ring: 0, code: 0n, regs: { rax: 0n }, mend: { rax: BigInt(SEL.otherTss) } }),
  f(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90", "longer than 15 bytes", 13, { code: 0n }),
]; // prettier-ignore

/** A pointer of 16:32 bits. With REX.W vendors differ in how wide it is. */
const far = (offset: bigint, selector: number): bigint => offset | (BigInt(selector) << 32n);
/** Operands of several parts, addresses that are not where one looks, selectors from memory. */
const PARTS: readonly FaultRow[] = [
  f("cmpxchg8b (%rbx)", "second half read-only", 14, { code: 7n, cr2: RO, regs: { rbx: RO - 4n }, patches: [writable(ABSENT)], repair: [writable(RO)] }),
  f("cmpxchg %rcx, (%rbx)", "not locked, would not store, page read-only", 14, { code: 7n, cr2: RO, regs: { rbx: RO }, repair: [writable(RO)] }),
  f("movnti %rax, (%rbx)", "page read-only", 14, { code: 7n, cr2: RO + 8n, regs: { rbx: RO + 8n }, repair: [writable(RO)] }),
  f("fldt (%rbx)", "its last two bytes absent", 14, { code: 4n, cr2: ABSENT, regs: { rbx: ABSENT - 8n }, repair: good }),
  f("fnsave (%rbx)", "its end read-only: nothing is stored", 14, { code: 7n, regs: { rbx: RO - 100n }, repair: [writable(RO)] }),
  f("fxsave (%rbx)", "its end read-only: nothing is stored", 14, { code: 7n, regs: { rbx: RO - 496n }, repair: [writable(RO)] }),
  f("fldenv (%rbx)", "its end absent: nothing is loaded", 14, { code: 4n, regs: { rbx: ABSENT - 24n }, repair: good }),
  f("stmxcsr (%rbx)", "page read-only", 14, { code: 7n, cr2: RO, regs: { rbx: RO }, repair: [writable(RO)] }),
  f("fxrstor (%rbx)", "a reserved bit of MXCSR", 13, { code: 0n, regs: { rbx: DATA }, patches: [at(DATA, 0x37fn, 0n, 0n, 0xffff_8000_1f80n)], repair: [at(DATA, 0x37fn, 0n, 0n, 0xffff_0000_1f80n)] }),
  f("enter $0x100, $0", "the final rsp absent", 14, { code: 6n, cr2: ABSENT + 0xf08n, regs: { rsp: ABSENT + 0x1010n, rbp: 0x777n }, patches: [at(ABSENT + 0x1008n, 0x777n)], repair: good }),
  f("enter $16, $3", "an earlier frame not present; a CPU may have pushed some", 14, { code: 4n, cr2: ABSENT + 0xff8n, regs: { rbp: ABSENT + 0x1008n }, repair: good }),
  f("enter $16, $2", "the second slot not present; a CPU may have written the first", 14, { code: 6n, cr2: STACK - 8n, regs: { rsp: STACK + 8n, rbp: STACK + 0x100n }, mend: { rsp: STACK + 0x80n } }),
  f("xlat", "table absent", 14, { code: 4n, cr2: ABSENT + 0x11n, regs: { rbx: ABSENT, rax: 0xff11n }, repair: good }),
  f("bt %rax, (%rbx)", "a negative bit, in the page before", 14, { code: 4n, cr2: ABSENT + 0xff8n, regs: { rbx: ABSENT + 0x1000n, rax: -3n }, repair: good }),
  f("pushw %ax", "stack absent", 14, { code: 6n, cr2: STACK - 2n, regs: { rsp: STACK }, mend: { rsp: STACK + 64n } }),
  f("popw (%rbx)", "page read-only: rsp stays", 14, { code: 7n, cr2: RO, regs: { rbx: RO }, repair: [writable(RO)] }),
  f("pop 8(%rsp)", "the address is that of after the pop", 14, { code: 6n, cr2: STACK_END, regs: { rsp: STACK_END - 16n }, mend: { rsp: STACK + 64n } }),
  f("leave", "frame not canonical", 12, { code: 0n, regs: { rbp: NONCANONICAL }, mend: { rbp: STACK + 64n } }),
  f("ret $16", "stack absent", 14, { code: 4n, cr2: STACK_END, regs: { rsp: STACK_END }, patches: [at(STACK + 64n, CODE + 0x100n)], mend: { rsp: STACK + 64n } }),
  f("addr32 rep stosb", "edi wraps at 32 bits", 14, { code: 6n, cr2: 0n, regs: { rcx: 0x7_0000_0003n, rdi: 0x5_0000_0000n, rax: 0x55n } }),
  f("lss (%rbx), %eax", "null in ring 3", 13, { code: 0n, regs: { rbx: DATA }, patches: [at(DATA, 7n)], repair: [at(DATA, far(7n, SEL.userDs | 3))] }),
  f("lfs (%rbx), %eax", "selector behind the table", 13, { code: 0xfff0n, regs: { rbx: DATA }, patches: [at(DATA, far(7n, 0xfff3))], repair: [at(DATA, far(7n, SEL.userDs | 3))] }),
  f("lgs (%rbx), %eax", "selector absent in memory: nothing is loaded", 14, { code: 4n, cr2: ABSENT, regs: { rbx: ABSENT - 4n }, repair: good }),
  f("ljmp *(%rbx)", "null selector", 13, { code: 0n, regs: { rbx: DATA }, patches: [at(DATA, 0n)] }),
  f("lcall *(%rbx)", "a data segment: nothing is pushed", 13, { code: BigInt(SEL.userDs), regs: { rbx: DATA }, patches: [at(DATA, far(CODE, SEL.userDs | 3))] }),
]; // prettier-ignore

/** #AC: CR0.AM is set from the start, and EFLAGS.AC here. */
const aligned = (insn: string, why: string, o: RowOptions = {}): FaultRow =>
  f(insn, `not aligned to ${why}`, 17, {
    code: 0n,
    on: { rflags: AC },
    mend: { rflags: 0x202n },
    ...o,
  });
const ALIGNMENT: readonly FaultRow[] = [
  aligned("mov (%rbx), %ax", "2", { regs: { rbx: DATA + 1n } }),
  aligned("mov %eax, (%rbx)", "4", { regs: { rbx: DATA + 2n } }),
  aligned("mov %rax, (%rbx)", "8", { regs: { rbx: DATA + 4n } }),
  aligned("lock xadd %rax, (%rbx)", "8", { regs: { rbx: DATA + 60n } }),
  aligned("cmpxchg8b (%rbx)", "8", { regs: { rbx: DATA + 4n } }),
  aligned("add %rax, (%rbx)", "8, in two pages", { regs: { rbx: DATA + 0xffcn } }),
  aligned("push %rax", "8", { regs: { rsp: STACK + 68n } }),
  aligned("call 1f\n1: nop", "8", { regs: { rsp: STACK + 66n } }),
  aligned("ret", "8", { regs: { rsp: STACK + 65n }, mend: { rsp: STACK + 64n }, patches: [at(STACK + 64n, CODE + 0x100n)] }),
  aligned("enter $16, $0", "8", { regs: { rsp: STACK + 68n } }),
  aligned("rep movsq", "8", { regs: { rcx: 3n, rsi: DATA, rdi: DATA + 0x104n } }),
  aligned("movups (%rbx), %xmm0", "16", { regs: { rbx: DATA + 8n } }),
  aligned("movsd %xmm1, (%rbx)", "8", { regs: { rbx: DATA + 4n } }),
  aligned("fldt (%rbx)", "8", { regs: { rbx: DATA + 2n } }),
  aligned("fnsave (%rbx)", "4: nothing is stored", { regs: { rbx: DATA + 0x102n } }),
  f("movaps (%rbx), %xmm1", "not aligned to 16, and alignment checked", 13, { code: 0n, on: { rflags: AC }, regs: { rbx: DATA + 8n } }),
  f("mov (%rbx), %rax", "not aligned, and not canonical", 13, { code: 0n, on: { rflags: AC }, regs: { rbx: NONCANONICAL + 1n } }),
  f("mov (%rbx), %rax", "not aligned, and not present", 14, { code: 4n, cr2: ABSENT + 1n, on: { rflags: AC }, regs: { rbx: ABSENT + 1n } }),
  f("mov (%rbx), %rax", "not aligned, and its second half not present", 14, { code: 4n, cr2: ABSENT, on: { rflags: AC }, regs: { rbx: ABSENT - 3n } }),
]; // prettier-ignore

const LAST = NONCANONICAL - 0x1000n;
const LOWEST = 0xffff_8000_0000_0000n;
const PT_LAST = 0x1a000;
const pageOfCode = BigInt(paOf(CODE)) | 0x65n;
/** The last page of the lower half and the first of the upper one; bytes at the end of the former. */
const ends = (...bytes: readonly number[]): Pick<RowOptions, "patches"> => ({
  patches: [
    words(PD_TOP + 511 * 8, BigInt(PT_LAST) | 7n),
    words(PT_LAST + 511 * 8, pageOfCode),
    words(PML4 + 256 * 8, BigInt(PDPT_TOP) | 7n),
    words(PDPT_TOP, BigInt(PD_TOP) | 7n),
    at(
      CODE + 0xff8n,
      bytes.reduce((v, b, i) => v | (BigInt(b) << BigInt(i * 8)), 0n),
    ),
  ],
});
const END = LAST + 0xff8n;

/** Branches out of the canonical addresses: nothing of them has happened. */
const OUT: readonly FaultRow[] = [
  f("jmp .+0x40000000", "target not canonical", 13, { code: 0n, regs: { rip: HIGH }, at: HIGH, mend: { rip: CODE } }),
  f("je .+0x40000000", "taken, target not canonical", 13, { code: 0n, regs: { rip: HIGH }, on: { rflags: 0x40n }, at: HIGH, mend: { rip: CODE } }),
  f("call .+0x40000000", "target not canonical: nothing is pushed", 13, { code: 0n, regs: { rip: HIGH }, at: HIGH, mend: { rip: CODE } }),
  f("call .+0x40000000", "stack absent, and target not canonical", 14, { code: 6n, cr2: STACK - 8n, regs: { rip: HIGH, rsp: STACK }, at: HIGH, mend: { rsp: STACK + 64n, rip: CODE } }),
  f("call *%rax", "stack absent, and target not canonical", 14, { code: 6n, cr2: STACK - 8n, regs: { rax: NONCANONICAL, rsp: STACK }, mend: { rsp: STACK + 64n, rax: CODE + 0x100n } }),
  f("ret $16", "target not canonical: nothing is popped", 13, { code: 0n, patches: [at(STACK + 0x1000n, NONCANONICAL)], repair: [at(STACK + 0x1000n, CODE + 0x100n)] }),
  f("jmp .+0x3fffffff", "target the last page of the lower half, which is absent", 14, { code: 0x10n, cr2: NONCANONICAL - 1n, regs: { rip: HIGH }, at: NONCANONICAL - 1n, ring: 0 }),
  f("jmp .-1", "target below the upper half", 13, { ...ends(), code: 0n, regs: { rip: LOWEST }, at: LOWEST, mend: { rip: CODE } }),
  f("loop .+0x10", "taken, target not canonical: rcx stays", 13, { ...ends(0xe2, 0x0e), code: 0n, regs: { rip: END, rcx: 2n }, at: END, mend: { rcx: 1n } }),
  f("jrcxz .+0x10", "taken, target not canonical", 13, { ...ends(0xe3, 0x0e), code: 0n, regs: { rip: END, rcx: 0n }, at: END, mend: { rcx: 1n } }),
  f("jmp .+0x10", "target not canonical", 13, { ...ends(0xeb, 0x0e), code: 0n, regs: { rip: END }, at: END }),
  f("nop", "the last of the lower half: the fetch behind it faults", 13, { ...ends(0, 0, 0, 0, 0, 0, 0, 0x90), code: 0n, regs: { rip: NONCANONICAL - 1n }, at: NONCANONICAL }),
  f("jrcxz .+0x10", "not taken, behind it not canonical", 13, { ...ends(0, 0, 0, 0, 0, 0, 0xe3, 0x0e), code: 0n, regs: { rip: NONCANONICAL - 2n, rcx: 1n }, at: NONCANONICAL }),
]; // prettier-ignore

/** #NP, #TS and #SS in far transfers and deliveries. */
const SEGMENTS: readonly FaultRow[] = [
  f("mov %ax, %ds", "segment not present", 11, { code: BigInt(SEL.absentDs), regs: { rax: BigInt(SEL.absentDs | 3) }, repair: [descriptor(SEL.absentDs, 0x00cff3000000ffffn)] }),
  f("mov %ax, %ss", "segment not present", 12, { code: BigInt(SEL.absentDs), regs: { rax: BigInt(SEL.absentDs | 3) }, repair: [descriptor(SEL.absentDs, 0x00cff3000000ffffn)] }),
  f("iretq", "code segment not present", 11, { ring: 0, code: BigInt(SEL.absentUserCs), patches: [at(STACK + 0x1000n, CODE + 0x100n, BigInt(SEL.absentUserCs | 3), 2n, STACK + 128n, BigInt(SEL.userDs | 3))], repair: [descriptor(SEL.absentUserCs, 0x00affb000000ffffn)] }),
  f("iretq", "stack segment not present", 12, { ring: 0, code: BigInt(SEL.absentDs), patches: [at(STACK + 0x1000n, CODE + 0x100n, BigInt(SEL.userCs | 3), 2n, STACK + 128n, BigInt(SEL.absentDs | 3))], repair: [descriptor(SEL.absentDs, 0x00cff3000000ffffn)] }),
  f("iretq", "stack segment's privilege", 13, { ring: 0, code: BigInt(SEL.kernelDs), patches: [at(STACK + 0x1000n, CODE + 0x100n, BigInt(SEL.userCs | 3), 2n, STACK + 128n, BigInt(SEL.kernelDs))] }),
  f("lretq", "code segment not present", 11, { ring: 0, code: BigInt(SEL.absentKernelCs), patches: [at(STACK + 0x1000n, CODE + 0x100n, BigInt(SEL.absentKernelCs))], repair: [descriptor(SEL.absentKernelCs, 0x00af9b000000ffffn)] }),
  f("lretq", "a data segment", 13, { ring: 0, code: BigInt(SEL.kernelDs), patches: [at(STACK + 0x1000n, CODE + 0x100n, BigInt(SEL.kernelDs))] }),
  f("ltr %ax", "not present", 11, { ring: 0, code: BigInt(SEL.absentTss), regs: { rax: BigInt(SEL.absentTss) }, repair: [descriptor(SEL.absentTss, 0x0000_8900_b000_0067n)] }),
  f("int $0x20", "gate not present", 11, { code: 0x102n, patches: [gateOf(0x20, { dpl: 3, absent: true })], repair: [gateOf(0x20, { dpl: 3 })] }),
  f("ud2", "gate of the fault not present", 11, { code: NP_VECTOR * 8n + 3n, patches: [gateOf(6, { absent: true })], repair: [gateOf(6, {})] }),
  f("int $0x20", "stack behind the end of the TSS", 10, { ring: 0, code: BigInt(SEL.tss), regs: { trLimit: 0x20n }, patches: [gateOf(10, { ist: 0 })], repair: [gateOf(0x20, { ist: 0 })] }),
  f("int $0x20", "gate's segment is data", 13, { code: BigInt(SEL.kernelDs), patches: [gateOf(0x20, { dpl: 3, selector: SEL.kernelDs })], repair: [gateOf(0x20, { dpl: 3 })] }),
  f("int $0x20", "gate behind the end of the table", 13, { ring: 0, code: 0x102n, regs: { idtLimit: 0x1ffn }, mend: { idtLimit: 0xfffn } }),
]; // prettier-ignore

/** #UD, #NM, #DE, #XM, #DB, #BP, #OF. */
const OTHERS: readonly FaultRow[] = [
  f("ud2", "always", 6),
  f(".byte 0xf0, 0x48, 0x01, 0xd8", "LOCK with a register", 6),
  f(".byte 0xf0, 0x48, 0x8b, 0x03", "LOCK with a load", 6, { regs: { rbx: DATA } }),
  f(".byte 0x8e, 0xc8", "a move to cs", 6, { regs: { rax: 0n } }),
  f(".byte 0xce", "INTO in 64-bit mode", 6),
  f(".byte 0x06", "push es in 64-bit mode", 6),
  f(".byte 0x0f, 0xc7, 0xcb", "CMPXCHG8B with a register", 6),
  f("stac", "not in ring 0", 6),
  f("mov %cr1, %rax", "no such register", 6, { ring: 0 }),
  f("mov %cr1, %rax", "no such register: before the privilege", 6),
  f("mov %rax, %cr5", "no such register: before the privilege", 6),
  f("mov %db8, %rax", "no such register: before the privilege", 6),
  f("rep insb", "not in ring 0, and nothing to move", 13, { code: 0n, regs: { rcx: 0n } }),
  f("rep outsl", "not in ring 0, and nothing to move", 13, { code: 0n, regs: { rcx: 0n } }),
  f("mov %db4, %rax", "CR4.DE", 6, { ring: 0, on: { cr4: 8n }, mend: { cr4: 0x620n } }),
  f("addps %xmm1, %xmm2", "CR4.OSFXSR clear", 6, { off: { cr4: 0x200n }, mend: { cr4: 0x620n } }),
  f("addps %xmm1, %xmm2", "CR0.EM", 6, { on: { cr0: 4n }, mend: { cr0: 0x8005_0033n } }),
  f("addps %xmm1, %xmm2", "CR0.TS", 7, { on: { cr0: 8n }, mend: { cr0: 0x8005_0033n } }),
  f("movaps (%rbx), %xmm2", "CR0.TS before the alignment", 7, { on: { cr0: 8n }, regs: { rbx: DATA + 1n } }),
  f("fxsave (%rbx)", "CR0.TS", 7, { on: { cr0: 8n }, regs: { rbx: DATA }, mend: { cr0: 0x8005_0033n } }),
  f("div %rcx", "by zero", 0, { regs: { rcx: 0n, rdx: 0n }, mend: { rcx: 3n } }),
  f("div %ecx", "quotient too large", 0, { regs: { rcx: 1n, rdx: 1n }, mend: { rdx: 0n } }),
  f("idiv %rcx", "the least number by -1", 0, { regs: { rcx: ~0n, rax: 1n << 63n, rdx: ~0n }, mend: { rcx: 1n } }),
  f("divb (%rbx)", "by zero in memory", 0, { regs: { rbx: DATA, rax: 7n }, patches: [at(DATA, 0n)], repair: [at(DATA, 5n)] }),
  f("divss %xmm1, %xmm0", "zero by zero, unmasked", 19, { regs: { mxcsr: 0n }, progress: { mxcsr: 1n }, mend: { mxcsr: 0x1f80n } }),
  f("divss %xmm1, %xmm0", "unmasked without CR4.OSXMMEXCPT", 6, { regs: { mxcsr: 0n }, off: { cr4: 0x400n }, progress: { mxcsr: 1n }, mend: { mxcsr: 0x1f80n } }),
  f("nop", "TF: a trap", 1, { on: { rflags: TF }, at: "next", dr6: 0x4000n }),
  f("mov %rax, (%rbx)", "a watched write: a trap", 1, { regs: { rbx: DATA + 8n, dr0: DATA + 8n, dr7: 0x9_0403n }, at: "next", dr6: 1n, ring: 0, patches: [] }),
  f("nop", "an instruction breakpoint: a fault", 1, { regs: { dr0: CODE, dr7: 0x403n }, dr6: 1n, ring: 0, mend: { dr7: 0x400n } }),
  f("mov %rax, %db0", "CR4 and DR7.GD", 1, { ring: 0, regs: { dr7: 0x2400n }, dr6: 0x2000n, mend: { dr7: 0x400n } }),
  f("int3", "always: a trap", 3, { at: "next" }),
  f("int $4", "as INTO was: a trap", 4, { at: "next" }),
]; // prettier-ignore

export const FAULTS: readonly FaultRow[] = [
  ...PAGE,
  ...STRINGS,
  ...PROTECTION,
  ...PARTS,
  ...ALIGNMENT,
  ...OUT,
  ...SEGMENTS,
  ...OTHERS,
];

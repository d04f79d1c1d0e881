// The instructions that the tests of text_poke replace: a field of small functions, most of them each with one site, and
// the fentry sites of some functions of the kernel that run in interrupts and NMIs. Each site has variants, and each variant
// says where an execution of it leads; that is said here, by hand, and not taken from the code that is tested.
import { symbolVa } from "../../src/kernel/index.ts";
import type { Image } from "../../src/link/index.ts";

/** What an instruction does: the next ip, what it adds to rsp, and for a call where its callee returns to. */
export interface Outcome {
  readonly next: bigint;
  readonly sp: bigint;
  readonly returnsTo?: bigint;
}

export interface Variant {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly does: Outcome;
}

/** fn: the function that the loops call to get there, 0 for a fentry site. variants[0] is what it is at the start. */
export interface Site {
  readonly name: string;
  readonly va: bigint;
  readonly fn: bigint;
  readonly len: number;
  readonly variants: readonly Variant[];
}

/** How many functions the field has, and the stride between them: two lines. */
const NR_FUNCTIONS = 320;
const STRIDE = 128;
/** Functions of the kernel with a fentry site: in NMIs, in interrupts (the one that synchronises cores too), in tasks. */
const FENTRY = [
  "default_do_nmi",
  "__sysvec_call_function",
  "generic_smp_call_function_interrupt",
  "__sysvec_apic_timer_interrupt",
  "sched_tick",
  "schedule",
] as const;

type Kind = "five" | "two zf" | "two nz" | "six zf" | "six nz";
const KINDS: readonly Kind[] = [
  "five",
  "five",
  "two zf",
  "five",
  "six zf",
  "five",
  "two nz",
  "six nz",
];

function kindOf(i: number): Kind {
  return KINDS[i % KINDS.length] ?? "five";
}

function lengthOf(kind: Kind): number {
  return kind === "five" ? 5 : kind.startsWith("two") ? 2 : 6;
}

/** Where in its line a site begins: every second one lies across the end of it. */
function offsetOf(i: number): number {
  return i % 2 === 0 ? 64 - 1 - ((i >> 1) % (lengthOf(kindOf(i)) - 1)) : 8 + ((i * 5) % 40);
}

const NOP = { 2: [0x66, 0x90], 5: [0x0f, 0x1f, 0x44, 0x00, 0x00] } as const;

/** One function: an instruction that sets the flags, the site, and what comes after it. */
function functionText(i: number): string {
  const kind = kindOf(i);
  const flags = kind.endsWith("zf") ? "cmpl %eax, %eax" : "testq %rsp, %rsp";
  const setUp = kind === "five" ? "" : flags;
  const before = kind === "five" ? 0 : kind.endsWith("zf") ? 2 : 3;
  const first =
    kind === "five"
      ? ".byte 0x0f, 0x1f, 0x44, 0x00, 0x00"
      : kind.startsWith("two")
        ? ".byte 0x66, 0x90"
        : ".byte 0x0f, 0x84\n\t.long poke_hop - . - 4";
  return `
	.fill	poke_area + ${64 + i * STRIDE + offsetOf(i) - before} - ., 1, 0xcc
poke_fn_${i}:
	${setUp}
poke_site_${i}:
	${first}
	ret
	.fill	6, 1, 0xcc
	ret					/* where short jumps lead */
	.fill	6, 1, 0xcc
	ret
`;
}

/** The kernel's half: the field, and the loop that calls what poke_hot lists. */
export function pokeSource(): string {
  const functions = Array.from({ length: NR_FUNCTIONS }, (_, i) => functionText(i)).join("");
  const globals = Array.from(
    { length: NR_FUNCTIONS },
    (_, i) => `\t.globl	poke_fn_${i}, poke_site_${i}\n`,
  ).join("");
  return `
	.include "kernel.inc"
	.text
${globals}
	.globl	poke_area, poke_area_end, poke_callee, poke_callee2, poke_hop, poke_hop2, poke_back
	.balign	4096
poke_area:
poke_callee:
	ret
	.fill	15, 1, 0xcc
poke_hop:
	ret
${functions}
	.fill	16, 1, 0xcc
poke_callee2:
	ret
	.fill	15, 1, 0xcc
poke_hop2:
	ret
poke_area_end:

C_FUNC_START_NOTRACE poke_loop
1:	movl	poke_nr_hot(%rip), %r12d
	xorl	%ebx, %ebx
2:	cmpl	%r12d, %ebx
	jae	1b
	movq	poke_hot(,%rbx,8), %rax
	call	*%rax
poke_back:
	incl	%ebx
	jmp	2b
SYM_FUNC_END poke_loop

# edi: CPU. A thread of it in the loop.
C_FUNC_START_NOTRACE poke_start
	movl	%edi, %ecx
	movq	$poke_loop, %rdi
	xorl	%esi, %esi
	movq	$.Lpoke_name, %rdx
	call	kthread_create_on_cpu
	movq	%rax, %rdi
	call	wake_up_process
	FRAME_END
	ret
SYM_FUNC_END poke_start

	.section .rodata, "a", @progbits
.Lpoke_name:
	.asciz	"poke_loop"

	.data
	.p2align 3
SYM_DATA_START poke_nr_hot
	.long	0
SYM_DATA_END poke_nr_hot
	.p2align 3
SYM_DATA_START poke_hot
	.skip	${NR_FUNCTIONS * 8}
SYM_DATA_END poke_hot
`;
}

/** Whether a condition of jcc holds, for flags as cmp of equals leaves them, or test of a negative number. p is not used. */
function holds(cc: number, isEqual: boolean): boolean {
  const [zf, sf, cf, of] = isEqual ? [true, false, false, false] : [false, true, false, false];
  const base = [of, cf, zf, cf || zf, sf, undefined, sf !== of, zf || sf !== of][cc >> 1];
  if (base === undefined) throw new Error("a condition on the parity");
  return (cc & 1) === 0 ? base : !base;
}

const CONDITIONS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15] as const;

function rel32(opcode: readonly number[], va: bigint, target: bigint): Uint8Array {
  const bytes = new Uint8Array(opcode.length + 4);
  bytes.set(opcode);
  const rel = Number(target - va - BigInt(bytes.length));
  new DataView(bytes.buffer).setInt32(opcode.length, rel, true);
  return bytes;
}

interface Places {
  readonly callee: readonly (readonly [string, bigint])[];
  readonly hop: readonly (readonly [string, bigint])[];
  readonly back: bigint;
}

function calls(va: bigint, places: Places): readonly Variant[] {
  return places.callee.map(([name, target]) => ({
    name: `call ${name}`,
    bytes: rel32([0xe8], va, target),
    does: { next: target, sp: -8n, returnsTo: va + 5n },
  }));
}

function nop5(va: bigint): Variant {
  return { name: "nop5", bytes: Uint8Array.from(NOP[5]), does: { next: va + 5n, sp: 0n } };
}

function variantsOf(kind: Kind, va: bigint, places: Places): readonly Variant[] {
  if (kind === "five") {
    return [
      nop5(va),
      ...calls(va, places),
      ...places.hop.map(([name, target]) => ({
        name: `jmp ${name}`,
        bytes: rel32([0xe9], va, target),
        does: { next: target, sp: 0n },
      })),
      {
        name: "ret",
        bytes: Uint8Array.of(0xc3, 0xcc, 0xcc, 0xcc, 0xcc),
        does: { next: places.back, sp: 8n },
      },
    ];
  }
  const isEqual = kind.endsWith("zf");
  const behind = va + BigInt(lengthOf(kind));
  if (kind.startsWith("two")) {
    const near = [behind + 7n, behind + 14n];
    return [
      { name: "nop2", bytes: Uint8Array.from(NOP[2]), does: { next: behind, sp: 0n } },
      ...near.map((target) => ({
        name: `jmp .+${target - va}`,
        bytes: Uint8Array.of(0xeb, Number(target - behind)),
        does: { next: target, sp: 0n },
      })),
      ...CONDITIONS.map((cc) => ({
        name: `j${cc.toString(16)} .+9`,
        bytes: Uint8Array.of(0x70 | cc, 7),
        does: { next: holds(cc, isEqual) ? behind + 7n : behind, sp: 0n },
      })),
    ];
  }
  return [4, ...CONDITIONS.filter((cc) => cc !== 4)].flatMap((cc) =>
    places.hop.map(([name, target]) => ({
      name: `j${cc.toString(16)} ${name}`,
      bytes: rel32([0x0f, 0x80 | cc], va, target),
      does: { next: holds(cc, isEqual) ? target : behind, sp: 0n },
    })),
  );
}

/** All sites of a kernel that was built with pokeSource. */
export function pokeSites(image: Image): readonly Site[] {
  const va = (name: string): bigint => symbolVa(image, name);
  const named = (...names: readonly string[]): readonly (readonly [string, bigint])[] =>
    names.map((n) => [n, va(n)] as const);
  const places: Places = {
    callee: named("poke_callee", "poke_callee2"),
    hop: named("poke_hop", "poke_hop2"),
    back: va("poke_back"),
  };
  const field = Array.from({ length: NR_FUNCTIONS }, (_, i): Site => {
    const name = `poke_site_${i}`;
    const kind = kindOf(i);
    const at = va(name);
    const variants = variantsOf(kind, at, places);
    return { name, va: at, fn: va(`poke_fn_${i}`), len: lengthOf(kind), variants };
  });
  const fentry = FENTRY.map((name): Site => {
    const at = va(name);
    return { name, va: at, fn: 0n, len: 5, variants: [nop5(at), ...calls(at, places)] };
  });
  return [...field, ...fentry];
}

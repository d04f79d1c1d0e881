// What it costs the machine when the host rewrites a function's 5-byte entry, as a mechanism does through text_poke, and the
// function is called 10,000 times after each rewriting, with its shadow of the stack.
import { makeGuest, toVmcall, type Guest } from "./guest.ts";
import { BenchError } from "./programs.ts";
import type { Row } from "./row.ts";
import { derived, measured, minOf } from "./row.ts";
import type { World } from "./world.ts";

const CALLS = 10_000;
const REWRITINGS = 2000;
const INSNS_OF_CALL = 8; // mov, call, jmp, lea, ret, add, dec, jne
const TEXT = `
	.text
	.globl start
start:
	mov	$${CALLS}, %ecx
1:	mov	%ecx, %edi
	call	entry
	add	%rax, %rbx
	dec	%ecx
	jne	1b
	vmcall
	jmp	start
	.balign 64
	.globl entry
entry:
	.byte	0xe9
	.long	old - . - 4
	.balign 64
	.globl old
old:	lea	1(%rdi), %eax
	ret
	.balign 64
	.globl new
new:	lea	2(%rdi), %eax
	ret
`;

/** A jmp from the entry to a body. */
function jump(g: Guest, to: bigint): Uint8Array {
  const b = Uint8Array.of(0xe9, 0, 0, 0, 0);
  new DataView(b.buffer).setInt32(1, Number(to - g.at("entry") - 5n), true);
  return b;
}

/** One side of the comparison: CPU seconds. The sum of all results is checked. */
function once(world: World, g: Guest, rewrite: boolean, rewritings: number): number {
  const m = g.machine;
  const forms = [jump(g, g.at("new")), jump(g, g.at("old"))];
  const entry = g.at("entry");
  m.setReg(0, "rbx", 0n);
  const before = m.retired;
  const start = world.cpuSeconds();
  for (let i = 0; i < rewritings; i++) {
    const form = forms[i & 1];
    if (rewrite && form !== undefined) m.write(entry, form);
    toVmcall(m);
  }
  const seconds = world.cpuSeconds() - start;
  const perRound = (BigInt(CALLS) * BigInt(CALLS + 1)) / 2n + BigInt(CALLS);
  const extra = rewrite ? BigInt(CALLS) * BigInt((rewritings + 1) >> 1) : 0n;
  const want = perRound * BigInt(rewritings) + extra;
  if (m.reg(0, "rbx") !== want) {
    throw new BenchError(`bench: rewrite.host: the sum is ${m.reg(0, "rbx")}, expected ${want}`);
  }
  const insns = m.retired - before;
  // mov, the calls, vmcall; and the jmp back in front of all but the first of the guest's life.
  const least = rewritings * (2 + CALLS * INSNS_OF_CALL);
  if (insns !== least + rewritings && insns !== least + rewritings - 1) {
    throw new BenchError(`bench: rewrite.host: ${insns} instructions, expected ${least} and jumps`);
  }
  return seconds;
}

/**
 * Measures rewriting by the host.
 *
 * rewritings  fewer than the target's for tests
 */
export async function patchRows(
  world: World,
  rounds: number,
  rewritings = REWRITINGS,
): Promise<readonly Row[]> {
  const g = await makeGuest(world.core, TEXT);
  const plain: number[] = [];
  const changed: number[] = [];
  // A round before the first one, so that the engine has compiled the core on both sides.
  for (let i = 0; i <= rounds && (await world.goOn("rewrite.host")); i++) {
    const p = once(world, g, false, rewritings);
    const c = once(world, g, true, rewritings);
    g.machine.write(g.at("entry"), jump(g, g.at("old")));
    if (i === 0 && rounds > 0) continue;
    plain.push(p);
    changed.push(c);
  }
  if (plain.length === 0) return [];
  const definition = `CPU time of ${rewritings} rewritings of a 5-byte entry by the host, ${CALLS} calls after each`;
  return [
    measured({ name: "rewrite.host.seconds", unit: "s", definition }, changed, "least"),
    derived(
      {
        name: "rewrite.host",
        unit: "x",
        definition: `${definition}, by that of the same calls without`,
        target: { bound: "at most", value: 2 },
      },
      minOf(changed) / minOf(plain),
      changed.map((c, i) => c / (plain[i] ?? NaN)),
    ),
  ];
}

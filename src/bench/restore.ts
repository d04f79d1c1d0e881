// `bench restore`: how often a second a guest of 16 MiB is put back to a snapshot after it wrote to 1, 8 or 64 pages, and
// how fast two vCPUs run that are switched at every instruction. A native loop of the same run stands beside the rates.
import { makeGuest, toVmcall } from "./guest.ts";
import type { BenchConfig } from "./core.ts";
import { BenchError, checkOutcome, jobOf } from "./programs.ts";
import type { Row } from "./row.ts";
import { measured, skipped } from "./row.ts";
import type { World } from "./world.ts";

const RATES = [
  { pages: 1, atLeast: 300_000 },
  { pages: 8, atLeast: 50_000 },
  { pages: 64, atLeast: 5_000 },
] as const;
const SWITCHES = 3_700_000;
/** Seconds of restoring in one sample. */
const SAMPLE = 0.15;

/** Writes a word to each of so many pages. */
const writer = (pages: number): string => `
	.text
	.globl start
start:
	mov	$0x400000, %edi
	mov	$${pages}, %ecx
1:	incq	(%rdi)
	add	$4096, %rdi
	dec	%ecx
	jne	1b
	vmcall
	jmp	start
`;

/** Two vCPUs on one word of memory and their own registers. */
const SPINNER = `
	.text
	.globl start
start:
1:	add	$1, %rax
	mov	%rax, 8(%rdi)
	mov	8(%rdi), %rdx
	add	%rdx, %rbx
	jmp	1b
`;

/**
 * Restores a second after the guest wrote to `pages` pages. Only the restores are timed, each by itself on the wall clock;
 * the guest writes between them.
 */
export async function restoresPerSecond(
  world: World,
  pages: number,
  seconds: number,
): Promise<number> {
  const { machine } = await makeGuest(world.core, writer(pages));
  const base = machine.snapshot();
  const hash = machine.stateHash();
  toVmcall(machine);
  const written = machine.snapshot().pages.size;
  if (written !== pages) {
    throw new BenchError(`bench: restore: ${written} pages were written, expected ${pages}`);
  }
  let spent = 0;
  let count = 0;
  let best = Infinity;
  // A batch is short enough to miss the interruptions of a shared machine now and then; the best one counts.
  while (spent < seconds) {
    let batch = 0;
    for (let i = 0; i < 200; i++) {
      const start = world.wallSeconds();
      machine.restore(base);
      batch += world.wallSeconds() - start;
      toVmcall(machine);
    }
    count += 200;
    spent += batch;
    best = Math.min(best, batch / 200);
  }
  machine.restore(base);
  if (machine.stateHash() !== hash) {
    throw new BenchError(`bench: restore: the state after ${count} restores is not the snapshot's`);
  }
  return 1 / best;
}

/** Instructions a second of two vCPUs that take turns after every one. */
export async function switchesPerSecond(world: World, insns: number): Promise<number> {
  const { machine } = await makeGuest(world.core, SPINNER, 2);
  for (const v of [0, 1]) machine.setReg(v, "rdi", 0x400000n);
  const start = world.cpuSeconds();
  for (let i = 0; i < insns; i += 2) {
    machine.run(0, 1);
    machine.run(1, 1);
  }
  const seconds = world.cpuSeconds() - start;
  // In lockstep both read what the second one wrote, which is what they would have written themselves.
  const turns = BigInt(insns / 10);
  const sum = (turns * (turns + 1n)) / 2n;
  for (const v of [0, 1]) {
    const seen = { rax: machine.reg(v, "rax"), rbx: machine.reg(v, "rbx") };
    if (machine.retired !== insns || seen.rax !== turns || seen.rbx !== sum) {
      throw new BenchError(
        `bench: switch: vCPU ${v} has rax ${seen.rax}, rbx ${seen.rbx} after ${machine.retired} instructions, expected ${turns}, ${sum}, ${insns}`,
      );
    }
  }
  return insns / seconds;
}

/** A native loop of the same run: fib, in million instructions a second. */
async function nativeRow(world: World, rounds: number): Promise<Row> {
  const n = {
    name: "native.loop",
    unit: "Minsns/s",
    definition: "the program fib on this CPU in the same run, for scale",
  };
  if (world.noNative !== undefined) return skipped(n, world.noNative);
  const job = jobOf("fib", "quick");
  const rates: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const r = await world.native(job);
    checkOutcome(world.facts, job, "the CPU", r);
    const insns = world.facts[`${job.program} ${job.n} ${job.mode}`]?.insns ?? NaN;
    rates.push(insns / r.seconds / 1e6);
  }
  return measured(n, rates, "most");
}

/** Measures snapshots and switching. */
export async function benchRestore(world: World, config: BenchConfig): Promise<readonly Row[]> {
  const restores = RATES.map((r) => ({ ...r, samples: new Array<number>() }));
  const switches: number[] = [];
  await switchesPerSecond(world, 400_000); // so that the engine has compiled the core
  for (let i = 0; i < config.rounds; i++) {
    if (!(await world.goOn(`round ${i + 1} of ${config.rounds}`))) break;
    for (const r of restores) r.samples.push(await restoresPerSecond(world, r.pages, SAMPLE));
    switches.push(await switchesPerSecond(world, 1_000_000));
  }
  const none = "no round was made";
  return [
    ...restores.map(({ pages, atLeast, samples }) => {
      const n = {
        name: `restore.${pages}`,
        unit: "1/s",
        definition: `restores a second of a 16 MiB guest that wrote to ${pages} page${pages > 1 ? "s" : ""}, its writing not timed`,
        target: { bound: "at least", value: atLeast } as const,
      };
      return samples.length === 0 ? skipped(n, none) : measured(n, samples, "most");
    }),
    ((): Row => {
      const n = {
        name: "switch",
        unit: "1/s",
        definition:
          "instructions a second of CPU time of two vCPUs, switched by the host after each",
        target: { bound: "at least", value: SWITCHES } as const,
      };
      return switches.length === 0 ? skipped(n, none) : measured(n, switches, "most");
    })(),
    await nativeRow(world, config.rounds),
  ];
}

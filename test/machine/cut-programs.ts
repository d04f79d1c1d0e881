// Programs that are cut at random places to see that nothing comes of it: a kernel that boots, a process with signals, one with SSE, code that changes itself, two vCPUs that interrupt each other, and these once more with the adversary's options.
import { join } from "node:path";
import { Scheduler, seededSchedule, type Adversary } from "../../src/machine/index.ts";
import { Session } from "../../src/patch/index.ts";
import { C_FOLDER } from "../user/c-programs.ts";
import { execute, stored, storedProgram } from "../user/cases.ts";
import { makeLab, type Lab } from "../patch/lab.ts";
import { Bare } from "./bare.ts";
import { bootGuest } from "./guest.ts";

/** A program under way. */
export interface Running {
  /** Runs until `n` instructions have retired since its start. */
  to(n: number): void;
  /** Saves, runs `ahead` instructions further where that can be undone, and restores. */
  saveAndRestore(ahead: number): void;
  hash(): bigint;
}

export interface CutProgram {
  readonly name: string;
  readonly insns: number;
  start(): Promise<Running>;
}

function ofScheduler(b: Bare, seed: number): Running {
  const s = new Scheduler(b.machine, seededSchedule(seed));
  const to = (n: number): void => {
    const r = s.run(n);
    if (r.kind === "exit") throw new Error(`${r.outcome.exit} on vCPU ${r.vcpu}`);
  };
  return {
    to,
    saveAndRestore(ahead) {
      const saved = b.machine.snapshot();
      const cursor = s.cursor();
      to(b.machine.retired + ahead);
      b.machine.restore(saved);
      s.seek(cursor);
    },
    hash: () => b.machine.stateHash(),
  };
}

/** A process can be restored where it stands only: its system calls are the host's. */
function ofProcess(elf: Uint8Array, name: string): Running {
  const { process } = execute(elf, name, { maxInsns: 1 });
  return {
    to: (n) => void process.run(n),
    saveAndRestore: () => process.machine.restore(process.machine.snapshot()),
    hash: () => process.machine.stateHash(),
  };
}

const OWN_CODE = `
start:	lea patched(%rip), %rbx
	lea far_(%rip), %rbp
again:	imul $1103515245, %r8, %r8
	add $12345, %r8
	mov %r8, %rax
	shr $16, %rax
	mov %al, 1(%rbx)		/* the constant of an instruction ahead */
	mov %ah, 0x40-3(%rbx)		/* one that lies across two lines */
	mov %al, 1(%rbp)		/* one that lies across two pages */
patched: mov $0x11, %ecx
	add %rcx, %r9
	.skip 0x40-8-4, 0x90
	mov $0x22334455, %edx
	add %rdx, %r10
	mov %rsp, %rdi
	call far_
	test $0x70, %r8b
	jnz again
	movb $0x90, here(%rip)		/* and the one that comes next */
here:	nop
	movb $0x90, here(%rip)
	jmp again
	.balign 4096
	.skip 4093
far_:	mov $0x44332211, %esi
	add %rsi, %r11
	ret
`;

const ALL: Adversary = {
  staleCode: true,
  storeBuffer: true,
  splitRmw: true,
  staleTlb: true,
  seed: 9,
};

let lab: Lab | undefined;

/** The default scenario from its first instruction. */
async function kernel(adversary: Adversary): Promise<Running> {
  lab ??= await makeLab();
  const session = new Session({
    core: lab.core,
    image: lab.built.image,
    ramBytes: lab.ramBytes,
    nrVcpus: 2,
    schedule: seededSchedule(3),
    adversary,
  });
  const m = session.machine;
  return {
    to: (n) => void session.run(n),
    saveAndRestore(ahead) {
      const saved = session.snapshot();
      session.run(m.retired + ahead);
      session.restore(saved);
    },
    hash: () => m.stateHash(),
  };
}

export const CUT_PROGRAMS: readonly CutProgram[] = [
  { name: "the kernel from its first instruction", insns: 60_000, start: () => kernel({}) },
  {
    name: "a process with signals",
    insns: 20_000,
    start: async () => ofProcess(storedProgram("signals"), "signals"),
  },
  {
    name: "a process with SSE",
    insns: 30_000,
    start: async () => ofProcess(stored(join(C_FOLDER, "real-O3.gz.b64")), "real"),
  },
  {
    name: "code that changes itself",
    insns: 30_000,
    start: async () => ofScheduler(await Bare.make(OWN_CODE), 1),
  },
  {
    name: "two vCPUs with timers and IPIs",
    insns: 30_000,
    start: async () => ofScheduler(await bootGuest(2, 5), 5),
  },
  {
    name: "two vCPUs with store buffers, split read-modify-writes, stale code and translations",
    insns: 15_000,
    start: async () => ofScheduler(await bootGuest(2, 6, { adversary: ALL }), 6),
  },
  {
    name: "code that changes itself, with the adversary",
    insns: 10_000,
    start: async () => ofScheduler(await Bare.make(OWN_CODE, { adversary: ALL }), 1),
  },
  { name: "the kernel with the adversary", insns: 20_000, start: () => kernel(ALL) },
];

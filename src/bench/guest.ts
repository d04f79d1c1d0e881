// A machine with a piece of code in ring 0 and nothing else: page tables of 2 MiB pages whose accessed and dirty bits are
// set, so that the code's own stores are all that is written. For what is measured below a kernel or a process.
import type { Assembler } from "../asm/index.ts";
import { makeAssembler } from "../asm/index.ts";
import { findSymbol, link, type Image } from "../link/index.ts";
import { Machine } from "../machine/index.ts";

/** RAM of the guest: what the targets of snapshots are stated for. */
export const GUEST_BYTES = 16 << 20;
const TEXT = 0x100000n;
const STACKS = 0x200000n;
const STACK_SIZE = 0x4000n;
const NR_STACKS = 8n;
const HUGE = 2 << 20;
// Present, writable, accessed, dirty, 2 MiB.
const PDE = 0xe3n;

let assembler: Assembler | undefined;

export interface Guest {
  readonly machine: Machine;
  readonly image: Image;
  /** Address of a label. */
  readonly at: (name: string) => bigint;
}

/** Makes a guest whose vCPUs stand at `start`. */
export async function makeGuest(
  core: WebAssembly.Module,
  text: string,
  nrVcpus = 1,
): Promise<Guest> {
  assembler ??= await makeAssembler();
  const obj = assembler.assemble({ name: "guest.S", text }, { include: () => undefined });
  const image = link([obj], {
    name: "guest",
    entry: "start",
    regions: [
      {
        name: ".text",
        va: TEXT,
        pa: TEXT,
        sections: [".text"],
        align: 4096,
        flags: { read: true, write: false, exec: true, user: false },
      },
    ],
  });
  const machine = new Machine({
    core,
    ramBytes: GUEST_BYTES,
    nrVcpus,
    stackAreas: [
      { start: STACKS, end: STACKS + STACK_SIZE * NR_STACKS, size: STACK_SIZE, kind: "task" },
    ],
  });
  const put = (pa: number, value: bigint): void => {
    const b = new Uint8Array(8);
    new DataView(b.buffer).setBigUint64(0, value, true);
    machine.writePhys(BigInt(pa), b);
  };
  put(0x1000, 0x2023n);
  put(0x2000, 0x3023n);
  for (let i = 0; i * HUGE < GUEST_BYTES; i++) put(0x3000 + i * 8, BigInt(i * HUGE) | PDE);
  for (const s of image.segments) machine.writePhys(s.pa, s.bytes);
  const at = (name: string): bigint => {
    const s = findSymbol(image, name);
    if (s === undefined) throw new Error(`guest: no label ${name}`);
    return s.va;
  };
  for (let v = 0; v < nrVcpus; v++) {
    machine.setReg(v, "cr3", 0x1000n);
    machine.setReg(v, "rip", at("start"));
    machine.setReg(v, "rsp", STACKS + STACK_SIZE * BigInt(v + 1));
  }
  return { machine, image, at };
}

/** Runs to the next vmcall. Throws when something else comes, or nothing. */
export function toVmcall(machine: Machine, most = 100_000_000): void {
  const { exit } = machine.run(0, most);
  if (exit !== "vmcall") throw new Error(`guest: the run ended by ${exit}, expected vmcall`);
}

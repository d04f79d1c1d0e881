// Puts an image into a new machine as a boot loader would: segments at their physical addresses, fentry sites made
// nops, every vCPU in long mode at its entry point. DIFFERS: firmware, real mode and the decompressor are left out.
import type { Image } from "../link/index.ts";
import { findSymbol } from "../link/index.ts";
import { Machine, type MachineConfig } from "./machine.ts";

/** The 5-byte nop that a fentry site is while nothing is hooked (x86_nops[5]). */
export const NOP5: Uint8Array = Uint8Array.of(0x0f, 0x1f, 0x44, 0x00, 0x00);

/** A store at a label that makes a true frame. */
export interface StoredFrame {
  readonly va: bigint;
  readonly reg: number;
  readonly offset: number;
  readonly fresh: boolean;
}

export interface BootConfig extends MachineConfig {
  readonly image: Image;
  readonly frames: readonly StoredFrame[];
}

const START_KERNEL_MAP = 0xffff_ffff_8000_0000n;

function need(image: Image, name: string): bigint {
  const s = findSymbol(image, name);
  if (!s) throw new Error(`${image.name}: no symbol ${name}, expected the kernel's start-up code`);
  return s.va;
}

/** Makes a machine with the image loaded and all vCPUs at its first instruction. */
export function boot(config: BootConfig): Machine {
  const { image } = config;
  const m = new Machine(config);
  for (const s of image.segments) m.writePhys(s.pa, s.bytes);
  const pgt = need(image, "init_top_pgt") - START_KERNEL_MAP;
  for (let v = 0; v < m.nrVcpus; v++) {
    m.setReg(v, "cr3", pgt);
    m.setReg(v, "rip", need(image, v === 0 ? "startup_64" : "secondary_startup_64"));
    m.setReg(v, "rdi", BigInt(v));
    m.setReg(v, "rsi", BigInt(m.nrVcpus));
  }
  for (const site of image.fentrySites) m.write(site, NOP5);
  for (const f of config.frames) {
    m.watch({ kind: f.fresh ? "new_stack" : "frame", lo: f.va, reg: f.reg, offset: f.offset });
  }
  return m;
}

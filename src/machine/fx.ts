// The floating-point state of a vCPU as the 512 bytes of FXSAVE64, for a host that saves and restores it in a kernel's place. The
// instructions themselves are in assembly/sse-state.ts. SDM Vol. 1, "FXSAVE Area".
import { CPU, FPU, FPU_REGS, MXCSR, XMM } from "../../assembly/abi.ts";
import type { Machine } from "./machine.ts";

export const FX_BYTES = 512;
const MXCSR_MASK = 0xffff;
const AT = { fip: 8, fdp: 16, mxcsr: 24, mask: 28, st: 32, xmm: 160 } as const;

/** The image of a vCPU's state. */
export function fxSave(machine: Machine, vcpu: number): Uint8Array {
  const { core } = machine;
  const at = machine.stateOf(vcpu) - CPU;
  const out = new Uint8Array(FX_BYTES);
  const v = new DataView(out.buffer);
  const put = (to: number, from: number): void => v.setBigUint64(to, core.u64(at + from), true);
  put(0, FPU);
  put(AT.fip, FPU + AT.fip);
  put(AT.fdp, FPU + AT.fdp);
  v.setUint32(AT.mxcsr, core.u32(at + MXCSR), true);
  v.setUint32(AT.mask, MXCSR_MASK, true);
  const top = (v.getUint16(2, true) >> 11) & 7;
  for (let i = 0; i < 8; i++) {
    put(AT.st + i * 16, FPU_REGS + ((top + i) & 7) * 16);
    put(AT.st + i * 16 + 8, FPU_REGS + ((top + i) & 7) * 16 + 8);
  }
  for (let i = 0; i < 256; i += 8) put(AT.xmm + i, XMM + i);
  return out;
}

/** Puts an image in place. False, and nothing is done, where FXRSTOR would raise #GP: MXCSR has reserved bits. */
export function fxRestore(machine: Machine, vcpu: number, image: Uint8Array): boolean {
  const { core } = machine;
  const at = machine.stateOf(vcpu) - CPU;
  const v = new DataView(image.buffer, image.byteOffset, FX_BYTES);
  const mxcsr = v.getUint32(AT.mxcsr, true);
  if (mxcsr & ~MXCSR_MASK) return false;
  const control = (v.getUint16(0, true) & 0x1f3f) | 0x40;
  const flags = v.getUint16(2, true) & 0x7f7f;
  const status = flags & ~control & 0x3f ? flags | 0x8080 : flags;
  const tags = BigInt(v.getUint8(4)) << 32n;
  const opcode = BigInt(v.getUint16(6, true) & 0x7ff) << 48n;
  core.setU64(at + FPU, BigInt(control) | (BigInt(status) << 16n) | tags | opcode);
  core.setU64(at + FPU + AT.fip, v.getBigUint64(AT.fip, true));
  core.setU64(at + FPU + AT.fdp, v.getBigUint64(AT.fdp, true));
  core.setU32(at + MXCSR, mxcsr);
  const top = (status >> 11) & 7;
  for (let i = 0; i < 8; i++) {
    const to = at + FPU_REGS + ((top + i) & 7) * 16;
    core.setU64(to, v.getBigUint64(AT.st + i * 16, true));
    core.setU64(to + 8, BigInt(v.getUint16(AT.st + i * 16 + 8, true)));
  }
  for (let i = 0; i < 256; i += 8) core.setU64(at + XMM + i, v.getBigUint64(AT.xmm + i, true));
  return true;
}

/** The image of a state that nobody has used: FNINIT, every exception masked, registers 0. */
export function fxInitial(): Uint8Array {
  const out = new Uint8Array(FX_BYTES);
  const v = new DataView(out.buffer);
  v.setUint16(0, 0x37f, true);
  v.setUint32(AT.mxcsr, 0x1f80, true);
  v.setUint32(AT.mask, MXCSR_MASK, true);
  return out;
}

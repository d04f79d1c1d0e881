// Where a native case lives, on the CPU and on the emulator alike, and the form of a case and of what it did. The
// numbers are those of harness.c.

export const CODE = 0x1000_0000n;
export const CODE_SIZE = 0x2000;
export const DATA = 0x2000_0000n;
export const DATA_SIZE = 0x3000;
/** One page behind the data that can only be read. */
export const RO = 0x2000_3000n;
export const STACK = 0x3000_0000n;
export const STACK_SIZE = 0x2000;
/** Offset in the data of the bytes that a case chooses. */
export const HOT = 0xfc0;
export const FS_BASE = 0x800n;
export const GS_BASE = 0x2000n;

/** MXCSR after reset: every exception masked, to nearest. */
export const MXCSR_RESET = 0x1f80n;

/** What the XMM registers of a case hold that has no use for them. */
export const NO_XMM: readonly bigint[] = Array.from({ length: 32 }, () => 0n);

/**
 * The x87 state as FXSAVE64 has it, in words: control, status, tags and opcode; instruction and data pointer; then the
 * significand and the rest of ST(0), ST(1), .. in turn.
 */
export const FPU_WORDS = 19;
/** The x87 state after FNINIT. */
export const NO_FPU: readonly bigint[] = [0x37fn, ...Array.from({ length: 18 }, () => 0n)];

/** Code with the registers to start from. */
export interface Case {
  readonly code: Uint8Array;
  /** Offset of the first byte from CODE. */
  readonly codeOff: number;
  /** General registers in encoding order. */
  readonly regs: readonly bigint[];
  readonly rflags: bigint;
  readonly mxcsr: bigint;
  /** The sixteen XMM registers, low half first. */
  readonly xmm: readonly bigint[];
  /** The x87 state, see FPU_WORDS. */
  readonly fpu: readonly bigint[];
  readonly hot: Uint8Array;
  /** Table rows that it executes or may execute. */
  readonly rows: readonly number[];
  /** Undefined flags by offset in the code of the next instruction; the last entry is for any other rip. */
  readonly undefinedAt: readonly (readonly [number, number])[];
}

/** The state in which a case ended: always at a trap, a fault or an int3. */
export interface Outcome {
  readonly regs: readonly bigint[];
  readonly rip: bigint;
  readonly rflags: bigint;
  readonly vector: number;
  readonly code: bigint;
  readonly cr2: bigint;
  /** Hash of data and stack. */
  readonly hash: bigint;
  readonly mxcsr: bigint;
  readonly xmm: readonly bigint[];
  readonly fpu: readonly bigint[];
  readonly memory?: Uint8Array;
}

/** The content of data, and after it of the stack, before the hot bytes are put in. */
export function baseMemory(): Uint8Array {
  const n = (DATA_SIZE + STACK_SIZE) / 8;
  const out = new BigUint64Array(n);
  for (let i = 0; i < n; i++) {
    const x = BigInt.asUintN(64, BigInt(i + 1) * 0x9e3779b97f4a7c15n);
    out[i] = x ^ (x >> 29n);
  }
  return new Uint8Array(out.buffer);
}

// Random operands, biased so that most accesses hit memory that is there and few instructions spoil a pointer.
import type { MemoryOperand, Operands } from "./encode.ts";
import { DATA, HOT, RO } from "./layout.ts";
import { edgy, type Random } from "./random.ts";
import type { Row } from "./rows.ts";

export const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
/** Holds a small number. */
export const INDEX = 11;
/** Hold addresses in the data. */
export const POINTERS: readonly number[] = [12, 13, 14, 15, RBX, RSI, RDI];

export function register(r: Random): number {
  // Mostly one that holds no pointer.
  const n = r.below(16);
  if (n === RSP) return r.chance(6) ? n : RAX;
  return POINTERS.includes(n) && r.chance(80) ? r.pick([RAX, RCX, RDX, RBP, 8, 9, 10]) : n;
}

function displacement(r: Random): number {
  const d = r.below(10);
  if (d < 6) return r.below(32) - 16;
  if (d < 8) return r.below(256) - 128;
  return r.below(2048) - 1024;
}

export function memory(r: Random): MemoryOperand {
  const kind = r.below(20);
  if (kind < 11) return { base: r.pick(POINTERS), disp: displacement(r) };
  if (kind < 14)
    return {
      base: r.pick(POINTERS),
      index: INDEX,
      scale: r.below(4),
      disp: displacement(r),
    };
  if (kind < 15) return { base: RSP, disp: displacement(r) };
  if (kind < 16) return { base: RBP, disp: displacement(r) };
  if (kind < 17) return { base: "none", index: r.pick(POINTERS), disp: displacement(r) };
  if (kind < 18) return { base: "none", disp: Number(DATA) + HOT + r.below(100) };
  if (kind < 19) return { base: "rip", disp: 0 };
  const index = r.below(16);
  return {
    base: r.below(16),
    ...(index === RSP ? {} : { index }),
    scale: r.below(4),
    disp: r.u32() | 0,
  };
}

export function operands(r: Random, row: Row, given: Partial<Operands> = {}): Operands {
  const v =
    row.operands.some((o) => /^[EGZMRV]y$|^[EGZMROI]v$|^e?r?AX$/i.test(o)) ||
    /:v|:y/.test(row.form.does);
  const d64 = row.attrs.has("d64");
  const f64 = row.attrs.has("f64");
  const noWord = row.operands.includes("My") || f64;
  const sizes: readonly (16 | 32 | 64)[] = d64
    ? [16, 64, 64]
    : noWord
      ? [32, 64]
      : [16, 32, 64, 64];
  let size: Operands["size"] = v || d64 ? r.pick(sizes) : 32;
  if ((row.encoding.prefix === "66" || row.encoding.prefix === "np") && size === 16) size = 32;
  const memoryOnly = row.operands.some((o) => o[0] === "M");
  const registerOnly = row.operands.some((o) => /^[RUN]|^ST/.test(o));
  const hasRm = memoryOnly || row.operands.some((o) => /^[EWQ]/.test(o));
  const inMemory = memoryOnly || (hasRm && !registerOnly && r.chance(55));
  const rm = inMemory ? memory(r) : register(r);
  const padding: number[] = [];
  if (!inMemory && r.chance(10)) padding.push(0x40); // an empty REX
  if (r.chance(4)) padding.push(r.pick([0x2e, 0x36, 0x3e, 0x26]));
  const lock = inMemory && row.attrs.has("lock") && r.chance(15);
  return {
    size,
    reg: register(r),
    rm,
    imm: edgy(r),
    addr32: inMemory && r.chance(7),
    lock,
    rep: 0,
    segment: inMemory && r.chance(6) ? r.pick([0x64, 0x65]) : 0,
    padding,
    ...given,
  };
}

/** An address that is mostly in the hot bytes. */
export function pointer(r: Random): bigint {
  if (r.chance(4)) return RO + BigInt(r.below(64)) - 32n;
  if (r.chance(3)) return DATA + BigInt(r.below(64)) - 32n;
  return DATA + BigInt(HOT) + BigInt(r.below(112));
}

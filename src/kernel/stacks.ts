// The truth tables that the kernel exports for the machine: where its stacks are, and at which labels a
// store has made a true frame. Read from the image's bytes; nothing here looks at a running guest.
import type { Image } from "../link/index.ts";
import type { Read } from "./image.ts";
import { readUint, symbolVa } from "./image.ts";

/** A run of stacks, each `size` bytes and aligned to it. */
export interface StackArea {
  readonly start: bigint;
  readonly end: bigint;
  readonly size: number;
  readonly kind: "task" | "percpu";
}

/** Before the instruction at `va` runs, the 8 bytes at reg + offset are a return address. */
export interface DeclaredFrame {
  readonly va: bigint;
  readonly reg: number;
  readonly offset: number;
  /** The stack was given out anew: whatever was on it is gone. */
  readonly fresh: boolean;
}

/** Reads the image's own bytes at a virtual address, zero where it has none. */
export function readImage(image: Image): Read {
  return (va, n) => {
    const out = new Uint8Array(n);
    for (const s of image.segments) {
      const from = va > s.va ? va : s.va;
      const end = s.va + BigInt(s.bytes.length);
      const to = va + BigInt(n) < end ? va + BigInt(n) : end;
      if (from < to) {
        out.set(s.bytes.subarray(Number(from - s.va), Number(to - s.va)), Number(from - va));
      }
    }
    return out;
  };
}

function* entries(image: Image, section: string, size: number): Generator<bigint> {
  const end = symbolVa(image, `__stop_${section}`);
  for (let va = symbolVa(image, `__start_${section}`); va < end; va += BigInt(size)) yield va;
}

/** Section .quiesce.stacks. */
export function stackAreas(image: Image): readonly StackArea[] {
  const read = readImage(image);
  return [...entries(image, "quiesce_stacks", 32)].map((va) => ({
    start: readUint(read, va, 8),
    end: readUint(read, va + 8n, 8),
    size: Number(readUint(read, va + 16n, 8)),
    kind: readUint(read, va + 24n, 8) === 0n ? "task" : "percpu",
  }));
}

/** Section .quiesce.frames. */
export function declaredFrames(image: Image): readonly DeclaredFrame[] {
  const read = readImage(image);
  return [...entries(image, "quiesce_frames", 16)].map((va) => ({
    va: readUint(read, va, 8),
    reg: Number(readUint(read, va + 8n, 4)) & 0xf,
    fresh: (Number(readUint(read, va + 8n, 4)) & 0x100) !== 0,
    offset: Number(readUint(read, va + 12n, 4)) | 0,
  }));
}

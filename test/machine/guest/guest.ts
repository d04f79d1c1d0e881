// What is run in the guest of world.ts and what comes of it. A case is a state and patches of memory; its end is the
// state that was left and the memory that changed. A trap that was delivered is read back from its frame, so that an
// outcome shows the interrupted program, and beside it how the trap arrived.
import { KERNEL, OBSERVED, STUBS, makeWorld, paOf } from "./world.ts";
import { W, type State } from "./words.ts";

export interface Patch {
  readonly pa: number;
  /** A multiple of 8 bytes, at a multiple of 8. */
  readonly bytes: Uint8Array;
}

export interface GuestCase {
  readonly start: State;
  readonly patches: readonly Patch[];
  /** Sets and reads MSRs and debug registers, which costs time. */
  readonly system?: boolean;
  /** Page tables are patched. */
  readonly tables?: boolean;
}

/** How a guest stopped, as kvm.c and user.c number it. */
export const EXITS = ["halt", "shutdown", "mmio", "failed", "timeout", "trap", "syscall"] as const;
export type ExitName = (typeof EXITS)[number];

/** What a run left, as it stands. */
export interface End {
  readonly exit: ExitName;
  readonly state: State;
  /** Words of memory that changed, physical address and new value, ascending. */
  readonly changes: readonly (readonly [number, bigint])[];
}

export interface Trap {
  readonly vector: number;
  readonly code: bigint | undefined;
  /** How it was delivered; undefined where an operating system stood between. */
  readonly arrival: Arrival | undefined;
}

/** How a trap was delivered. */
export interface Arrival {
  /** Address of the lowest word of the frame. */
  readonly frame: bigint;
  readonly rflags: bigint;
  readonly cs: bigint;
  readonly ss: bigint;
}

export interface Outcome {
  readonly exit: ExitName;
  /** The trap that ended the case, undefined when it ended in its own HLT. */
  readonly trap: Trap | undefined;
  /** The state of the program: at the trap, or at the end. */
  readonly state: State;
  /** As in End, without the words of the frame. */
  readonly changes: readonly (readonly [number, bigint])[];
}

/** The frame of a trap: words from its lowest address, behind the error code. */
const FRAME = [W.rip, W.cs, W.rflags, W.rsp, W.ss];

/** Reads a delivered trap back from its frame. `before` is the memory that the case started with. */
export function outcomeOf(end: End, before: DataView): Outcome {
  const at = Number(end.state[W.rip]! - 1n - KERNEL) - STUBS;
  if (end.exit !== "halt" || at < 0 || at >= 0x1000 || at % 16) {
    return { exit: end.exit, trap: undefined, state: end.state, changes: end.changes };
  }
  const frame = end.state[W.rsp]!;
  const pa = paOf(frame);
  const changed = new Map(end.changes);
  const word = (i: number): bigint => {
    const p = pa + i * 8;
    return changed.get(p) ?? before.getBigUint64(p, true);
  };
  const coded = frame % 16n === 0n; // six words from an aligned top, or five
  const skip = coded ? 1 : 0;
  const state = end.state.slice();
  FRAME.forEach((w, i) => (state[w] = word(i + skip)));
  return {
    exit: end.exit,
    trap: {
      vector: at / 16,
      code: coded ? word(0) : undefined,
      arrival: {
        frame,
        rflags: end.state[W.rflags]!,
        cs: end.state[W.cs]!,
        ss: end.state[W.ss]!,
      },
    },
    state,
    changes: end.changes.filter(([p]) => p < pa || p >= pa + 40 + skip * 8),
  };
}

/** The memory of a guest before a case: the world with the patches of one case at a time. */
export class Memory {
  readonly bytes = makeWorld();
  readonly view = new DataView(this.bytes.buffer);
  readonly words = new Uint32Array(this.bytes.buffer);
  readonly #pristine = this.bytes.slice();

  patch(c: GuestCase): void {
    for (const p of c.patches) this.bytes.set(p.bytes, p.pa);
  }

  unpatch(c: GuestCase): void {
    for (const p of c.patches) {
      this.bytes.set(this.#pristine.subarray(p.pa, p.pa + p.bytes.length), p.pa);
    }
  }

  /** Words in which `after` differs, over those of `pages` that are observed. */
  changes(
    after: Uint32Array,
    from: number,
    pages: Iterable<number>,
  ): (readonly [number, bigint])[] {
    const out: (readonly [number, bigint])[] = [];
    const before = this.words;
    const skew = from >> 2;
    for (const page of pages) {
      if (!OBSERVED_PAGES.has(page)) continue;
      const start = page << 10;
      for (let i = start; i < start + 1024; i += 2) {
        if (before[i] === after[i + skew] && before[i + 1] === after[i + skew + 1]) continue;
        const v = BigInt(after[i + skew] ?? 0) | (BigInt(after[i + skew + 1] ?? 0) << 32n);
        out.push([i * 4, v]);
      }
    }
    return out;
  }
}

const OBSERVED_PAGES: ReadonlySet<number> = new Set(
  OBSERVED.flatMap(([pa, bytes]) => Array.from({ length: bytes >> 12 }, (_, i) => (pa >> 12) + i)),
);

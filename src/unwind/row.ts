// The one form that every unwinder lowers its source to: how to get from a frame to its caller. The rules differ, the
// walk does not; what is safe to follow is decided in walk.ts and nowhere else.

/** What is known of a frame: the instruction it goes on at, and the registers that lead to its caller. */
export interface Registers {
  readonly ip: bigint;
  readonly sp: bigint;
  readonly bp: bigint;
}

/**
 * A rule for one frame. Offsets are in bytes.
 *
 * call  the caller's sp is cfa = reg + offset; its ip lies at cfa + ra, its bp at cfa + bp, unchanged if undefined
 * regs  a struct pt_regs of an interrupt, trap or fault lies at reg + offset
 * end   nobody is returned to
 */
export type Row =
  | {
      readonly kind: "call";
      readonly cfa: { readonly reg: "sp" | "bp"; readonly offset: number };
      readonly ra: number;
      readonly bp: number | undefined;
    }
  | {
      readonly kind: "regs";
      readonly at: { readonly reg: "sp" | "bp"; readonly offset: number };
    }
  | { readonly kind: "end" };

/** What a source of rows may look at: one word of the stack it is on, undefined elsewhere; and what text is. */
export interface Surroundings {
  readonly peek: (va: bigint) => bigint | undefined;
  readonly isText: (va: bigint) => boolean;
  /** Where the task's user registers lie: the upper end of what a walk may report. */
  readonly ptRegsVa: bigint;
}

/** An unwinder: a source of rows. */
export interface Unwinder {
  readonly name: string;
  /** False for one whose frames are guesses: no walk with it is reliable. */
  readonly canBeReliable: boolean;
  /** The row that holds when `at.ip` is about to execute; undefined where there is none. */
  readonly find: (at: Registers, around: Surroundings) => Row | undefined;
  /** Whether the frame that was just left, whose caller's registers are `at`, was the last one of its task. */
  readonly isLast: (at: Registers, around: Surroundings) => boolean;
}

// A row of the table of faults: an instruction, what is done so that it faults, what it must raise, and what makes it go
// through after all. It is data with a few helpers; fault-table.ts holds the rows and faults.test.ts what is asked of them.
import type { Patch } from "../guest/guest.ts";
import { GDT, IDT, gate, paOf, pteOf, type GateOptions } from "../guest/world.ts";
import { W, type State } from "../guest/words.ts";

export interface FaultRow {
  /** Instruction in AT&T syntax. */
  readonly insn: string;
  /** What is wrong. */
  readonly why: string;
  readonly ring: 0 | 3;
  readonly vector: number;
  readonly code: bigint | undefined;
  readonly cr2: bigint | undefined;
  /** Changes the start. */
  readonly set: (s: State) => void;
  readonly patches: readonly Patch[];
  /** Takes the cause away: memory, and state. Without any the instruction can only fault. */
  readonly repair: readonly Patch[];
  readonly mend: ((s: State) => void) | undefined;
  /** Where the trap says it was: at the instruction unless it is a trap or a fault of the fetch that follows. */
  readonly at: "insn" | "next" | bigint;
  /** Registers that may differ from those before: iterations of a REP that were done. */
  readonly progress: Readonly<Record<string, bigint>>;
  /** DR6 behind it, where it is a #DB. */
  readonly dr6: bigint | undefined;
}

type Registers = Partial<Record<keyof typeof W, bigint>>;

export interface RowOptions {
  readonly ring?: 0 | 3;
  readonly code?: bigint;
  readonly cr2?: bigint;
  readonly regs?: Registers;
  /** Bits to set in and to clear from words. */
  readonly on?: Registers;
  readonly off?: Registers;
  readonly patches?: readonly Patch[];
  readonly repair?: readonly Patch[];
  readonly mend?: Registers;
  readonly at?: "next" | bigint;
  readonly progress?: Readonly<Record<string, bigint>>;
  readonly dr6?: bigint;
}

function assign(s: State, r: Registers | undefined): void {
  for (const [name, v] of Object.entries(r ?? {})) {
    const at = Object.entries(W).find(([n]) => n === name)?.[1];
    if (at === undefined) throw new RangeError(`no word "${name}"`);
    s[at] = BigInt.asUintN(64, v);
  }
}

function combine(s: State, r: Registers | undefined, f: (old: bigint, v: bigint) => bigint): void {
  for (const [name, at] of Object.entries(W)) {
    const v = Object.entries(r ?? {}).find(([n]) => n === name)?.[1];
    if (v !== undefined) s[at] = BigInt.asUintN(64, f(s[at] ?? 0n, v));
  }
}

/** A row. Without a code the trap pushes none. */
export function f(insn: string, why: string, vector: number, o: RowOptions = {}): FaultRow {
  const { mend } = o;
  return {
    insn,
    why,
    ring: o.ring ?? 3,
    vector,
    code: o.code,
    cr2: o.cr2,
    set: (s) => {
      assign(s, o.regs);
      combine(s, o.on, (old, v) => old | v);
      combine(s, o.off, (old, v) => old & ~v);
    },
    patches: o.patches ?? [],
    repair: o.repair ?? [],
    mend: mend && ((s) => assign(s, mend)),
    at: o.at ?? "insn",
    progress: o.progress ?? {},
    dr6: o.dr6,
  };
}

export function words(pa: number, ...values: readonly bigint[]): Patch {
  const bytes = new Uint8Array(values.length * 8);
  const view = new DataView(bytes.buffer);
  values.forEach((v, i) => view.setBigUint64(i * 8, v, true));
  return { pa, bytes };
}

/** Words at a virtual address of the layout. */
export function at(va: bigint, ...values: readonly bigint[]): Patch {
  return words(paOf(va), ...values);
}

const NX = 1n << 63n;

/** Maps a page of the layout so that anybody may write it. */
export function writable(page: bigint): Patch {
  return words(pteOf(page), BigInt(paOf(page)) | 0x67n | NX);
}

/** Maps a page of the layout so that anybody may execute it. */
export function executable(page: bigint): Patch {
  return words(pteOf(page), BigInt(paOf(page)) | 0x67n);
}

/** A page-table entry as given, of the page's own physical page. */
export function entry(page: bigint, flags: bigint): Patch {
  return words(pteOf(page), flags && BigInt(paOf(page)) | flags);
}

export function gateOf(vector: number, o: GateOptions): Patch {
  return words(IDT + vector * 16, ...gate(vector, o));
}

export function descriptor(selector: number, v: bigint): Patch {
  return words(GDT + (selector & 0xfff8), v);
}

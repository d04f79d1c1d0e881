// Sections under construction: fragments of known size with relaxable ones between them, the symbols
// that point into them, and gas's relaxation of branches and alignment. It emits no ELF.
import type { SourceLine } from "./errors.ts";
import { Reason } from "./errors.ts";
import type { Expr, Places } from "./expr.ts";
import { evaluate, isConstant } from "./expr.ts";

/** A symbol. `at` is a place, `equ` another expression; neither: not defined here. */
export interface Sym {
  readonly name: string;
  at: { readonly section: SectionDraft; readonly frag: Frag; readonly off: number } | undefined;
  equ: Expr<Sym> | undefined;
  bind: "local" | "global" | "weak" | undefined;
  type: "notype" | "object" | "func";
  size: Expr<Sym> | undefined;
  /** Named by a directive that puts it into the symbol table even when undefined. */
  declared: boolean;
  /** An assembler's own: never in the symbol table. */
  readonly internal: boolean;
  /** Replaced by a later `.set`: keeps the old value for the statements before it. */
  stale: boolean;
}

/** A field to be filled when addresses are known. off: bytes from the start of the fragment. */
export interface Fixup {
  readonly off: number;
  readonly size: 1 | 2 | 4 | 8;
  readonly expr: Expr<Sym>;
  /** Bytes from the field to the end of the instruction; undefined when not relative. */
  readonly pcTail: number | undefined;
  /** The CPU sign-extends the field to 64 bits. */
  readonly signed: boolean;
  /** A branch target: PLT32 where gas says so. */
  readonly branch: boolean;
  readonly stmt: StatementPlace;
}

/** Where a fragment or fixup came from, for errors found after parsing. */
export interface StatementPlace {
  readonly at: SourceLine;
  readonly text: string;
  readonly backtrace: readonly string[];
}

/** A run of bytes, a gap in nobits, or something whose size is only known after relaxation. addr: bytes from the section's start. */
export type Frag = { addr: number; readonly index: number; pass: number; region: number } & (
  | { readonly k: "data"; bytes: Uint8Array; size: number; readonly fixups: Fixup[] }
  | { readonly k: "gap"; readonly size: number }
  | {
      readonly k: "branch";
      /** Condition code, or undefined for jmp. */
      readonly cc: number | undefined;
      readonly target: Expr<Sym>;
      size: number;
      readonly stmt: StatementPlace;
    }
  | {
      readonly k: "align";
      readonly to: number;
      /** undefined: gas's own (nops in code, else zero). */
      readonly fill: readonly number[] | undefined;
      readonly max: number;
      size: number;
    }
  | {
      readonly k: "space" | "org";
      readonly expr: Expr<Sym>;
      readonly fill: number;
      size: number;
      readonly stmt: StatementPlace;
    }
);

type DataFrag = Extract<Frag, { k: "data" }>;
type NewFrag =
  | Pick<Extract<Frag, { k: "branch" }>, "k" | "cc" | "target" | "size" | "stmt">
  | Pick<Extract<Frag, { k: "align" }>, "k" | "to" | "fill" | "max" | "size">
  | Pick<Extract<Frag, { k: "space" | "org" }>, "k" | "expr" | "fill" | "size" | "stmt">;

/** Sections larger than this are refused: a slip of a `.skip`, not a program. */
const MAX_SECTION = 2 ** 28;
const MAX_NOBITS = 2 ** 36;

function maxSize(s: { readonly type: SectionDraft["type"] }): number {
  return s.type === "nobits" ? MAX_NOBITS : MAX_SECTION;
}

/** A section while its statements arrive. */
export class SectionDraft {
  readonly name: string;
  readonly index: number;
  readonly type: "progbits" | "nobits" | "note";
  readonly flags: { alloc: boolean; write: boolean; exec: boolean; merge: boolean };
  align = 1;
  readonly frags: Frag[] = [];
  #total = 0;

  constructor(
    name: string,
    index: number,
    type: SectionDraft["type"],
    flags: SectionDraft["flags"],
  ) {
    this.name = name;
    this.index = index;
    this.type = type;
    this.flags = flags;
    this.#push(emptyData(0));
  }

  /** The fragment that bytes go to. */
  openData(): DataFrag {
    const last = this.frags[this.frags.length - 1];
    if (last?.k === "data") return last;
    const fresh = emptyData(this.frags.length);
    this.#push(fresh);
    return fresh;
  }

  emit(bytes: ArrayLike<number>): void {
    const t = this.openData();
    const need = t.size + bytes.length;
    this.#grow(bytes.length);
    if (need > t.bytes.length) {
      const bigger = new Uint8Array(Math.max(need, t.bytes.length * 2, 64));
      bigger.set(t.bytes);
      t.bytes = bigger;
    }
    t.bytes.set(bytes, t.size);
    t.size = need;
  }

  emitFill(n: number, byte: number): void {
    if (this.type === "nobits") {
      this.#grow(n);
      const index = this.frags.length;
      if (n > 0) this.#push({ k: "gap", addr: 0, index, pass: 0, region: 0, size: n });
      return;
    }
    this.#grow(n);
    this.#total -= n;
    const bytes = new Uint8Array(n);
    if (byte !== 0) bytes.fill(byte);
    this.emit(bytes);
  }

  addFixup(f: Fixup): void {
    this.openData().fixups.push(f);
  }

  addFrag(f: NewFrag): void {
    this.#push({ ...f, addr: 0, index: this.frags.length, pass: 0, region: 0 });
  }

  here(): { readonly section: SectionDraft; readonly frag: Frag; readonly off: number } {
    const frag = this.openData();
    return { section: this, frag, off: frag.size };
  }

  /** Bytes in all, once relaxed. */
  sizeNow(): number {
    const last = this.frags[this.frags.length - 1];
    return last === undefined ? 0 : last.addr + last.size;
  }

  #push(f: Frag): void {
    this.frags.push(f);
  }

  #grow(n: number): void {
    this.#total += n;
    const most = maxSize(this);
    if (this.#total > most) throw new Reason(`section ${this.name} grows beyond ${most} bytes`);
  }
}

function emptyData(index: number): DataFrag {
  return {
    k: "data",
    addr: 0,
    index,
    pass: 0,
    region: 0,
    bytes: new Uint8Array(0),
    size: 0,
    fixups: [],
  };
}

/** True for a symbol that a relocation must name: another object may define or replace it. */
export function isExternal(s: Sym): boolean {
  return s.bind === "global" || s.bind === "weak";
}

/** What is known while statements still arrive: distances over fragments of fixed size only. */
export const EARLY: Places<Sym> = {
  equated: (s) => s.equ,
  distance(a, b) {
    if (a === b) return 0n;
    if (a.at === undefined || b.at === undefined || a.at.section !== b.at.section) return undefined;
    const [lo, hi, sign] =
      a.at.frag.index <= b.at.frag.index ? [a.at, b.at, -1n] : [b.at, a.at, 1n];
    let d = hi.off - lo.off;
    for (let i = lo.frag.index; i < hi.frag.index; i++) {
      const f = a.at.section.frags[i];
      if (f?.k !== "data" && f?.k !== "gap") return undefined;
      d += f.size;
    }
    return sign * BigInt(d);
  },
};

/** What is known once sections are relaxed. */
export const FINAL: Places<Sym> = {
  equated: (s) => s.equ,
  distance(a, b) {
    if (a === b) return 0n;
    if (a.at === undefined || b.at === undefined || a.at.section !== b.at.section) return undefined;
    return BigInt(addressOf(a.at) - addressOf(b.at));
  },
};

/** Bytes from the start of the section, as of the last relaxation pass. */
export function addressOf(at: NonNullable<Sym["at"]>): number {
  return at.frag.addr + at.off;
}

/** A failure in the value of an expression, with the statement it belongs to. */
export class LateError extends Error {
  override name = "LateError";
  readonly stmt: StatementPlace;
  constructor(stmt: StatementPlace, reason: string) {
    super(reason);
    this.stmt = stmt;
  }
}

/**
 * Gives every fragment its address: branches start short and only grow, until nothing moves.
 *
 * kernel  none; GNU as, gas/write.c relax_segment() and gas/config/tc-i386.c md_relax_table
 */
export function relax(section: SectionDraft): void {
  const { frags } = section;
  let addr = 0;
  let region = 0;
  for (const f of frags) {
    f.addr = addr;
    f.region = region;
    if (f.k === "branch") f.size = mustBeLong(f.target, section) ? longSize(f.cc) : 2;
    else if (f.k === "align") {
      f.size = padding(addr, f);
      region++;
    } else if (f.k !== "data" && f.k !== "gap") {
      f.size = 0;
      region++;
    }
    addr += f.size;
  }
  const maxPasses = frags.length * 2 + 20;
  for (let pass = 1; ; pass++) {
    let stretch = 0;
    let moved = false;
    for (const f of frags) {
      f.pass = pass;
      f.addr += stretch;
      const old = f.size;
      if (f.k === "branch") {
        if (f.size === 2 && !reachesShort(f, stretch, section)) f.size = longSize(f.cc);
      } else if (f.k === "align") f.size = padding(f.addr, f);
      else if (f.k === "space" || f.k === "org") f.size = variableSize(f, section);
      if (f.size !== old) {
        stretch += f.size - old;
        moved = true;
      }
      if (f.addr > maxSize(section)) {
        throw new Reason(`section ${section.name} grows beyond ${maxSize(section)} bytes`);
      }
    }
    if (!moved) return;
    if (pass > maxPasses)
      throw new Reason(`section ${section.name} does not settle: sizes depend on themselves`);
  }
}

/** Bytes of an alignment at addr. */
function padding(addr: number, f: { to: number; max: number }): number {
  const pad = (f.to - (addr % f.to)) % f.to;
  return f.max > 0 && pad > f.max ? 0 : pad;
}

function longSize(cc: number | undefined): number {
  return cc === undefined ? 5 : 6;
}

/** The place a branch goes to if it is one of this section's own; addend in bytes. */
export function localTarget(
  target: Expr<Sym>,
  section: SectionDraft,
): { readonly at: NonNullable<Sym["at"]>; readonly addend: number } | undefined {
  const v = evaluate(target, { equated: stopAtWeak, distance: FINAL.distance });
  const s = v?.plus[0];
  if (v === undefined || s === undefined || v.plus.length !== 1 || v.minus.length !== 0)
    return undefined;
  if (s.bind === "weak" || s.at?.section !== section) return undefined;
  return { at: s.at, addend: Number(v.c) };
}

// A weak symbol may be replaced; a global one is taken as it stands, as gas does without -mshared.
function stopAtWeak(s: Sym): Expr<Sym> | undefined {
  return s.bind === "weak" ? undefined : placeOfAlias(s);
}

/**
 * What an equated symbol stands for in a branch or relocation. An alias of a place is that place, a local one: what
 * the other symbol's binding is does not matter any more.
 */
export function placeOfAlias(s: Sym): Expr<Sym> | undefined {
  if (s.equ === undefined || s.equ.k === "num") return s.equ;
  const v = evaluate(s.equ, FINAL);
  const to = v?.plus[0];
  if (v === undefined || to?.at === undefined || v.plus.length > 1 || v.minus.length > 0) {
    return s.equ;
  }
  const at = { ...to.at, off: to.at.off + Number(v.c) };
  return { k: "sym", s: { ...s, at, equ: undefined, bind: undefined, internal: true } };
}

function mustBeLong(target: Expr<Sym>, section: SectionDraft): boolean {
  return localTarget(target, section) === undefined;
}

function reachesShort(
  f: Extract<Frag, { k: "branch" }>,
  stretch: number,
  section: SectionDraft,
): boolean {
  const t = localTarget(f.target, section);
  if (t === undefined) return false;
  let target = addressOf(t.at) + t.addend;
  // A target later in this pass has not been moved yet; it moves along unless an alignment may absorb it.
  if (stretch !== 0 && t.at.frag.pass !== f.pass) {
    if (stretch < 0 || t.at.frag.region === f.region) target += stretch;
    else if (target < f.addr) return true;
  }
  const d = target - (f.addr + 2);
  return d >= -128 && d <= 127;
}

function variableSize(f: Extract<Frag, { k: "space" | "org" }>, section: SectionDraft): number {
  const v = evaluate(f.expr, FINAL);
  if (v === undefined) throw new LateError(f.stmt, "the size is not a constant");
  let n: number;
  if (f.k === "org") {
    const s = v.plus[0];
    if (
      v.minus.length !== 0 ||
      v.plus.length > 1 ||
      (s !== undefined && s.at?.section !== section)
    ) {
      throw new LateError(f.stmt, "the place is not in this section");
    }
    n = Number(v.c) + (s?.at === undefined ? 0 : addressOf(s.at)) - f.addr;
    if (n < 0) throw new LateError(f.stmt, `attempt to move .org backwards by ${-n} bytes`);
  } else {
    if (!isConstant(v)) throw new LateError(f.stmt, "the size is not a constant");
    n = Number(BigInt.asIntN(64, v.c));
    if (n < 0) throw new LateError(f.stmt, `the size is negative (${n})`);
  }
  const most = maxSize(section);
  if (n > most) throw new LateError(f.stmt, `the size ${n} is beyond ${most} bytes`);
  return n;
}

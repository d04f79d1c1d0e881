// Everything one assembly builds up: sections, the section stack, symbols, local labels, CFI and lines.
// Directives and instructions act on it; object.ts turns it into an Obj.
import type { CfiDirective } from "./obj.ts";
import { Reason } from "./errors.ts";
import type { Expr, Names } from "./expr.ts";
import { evaluate, isConstant, parseExpr } from "./expr.ts";
import type { Fixup, StatementPlace, Sym } from "./layout.ts";
import { EARLY, SectionDraft } from "./layout.ts";
import { sectionDefaults } from "./section-defaults.ts";

/** A `.cfi_startproc` with what followed it; places are labels until the layout is known. */
export interface CfiDraft {
  readonly section: SectionDraft;
  readonly start: Sym;
  end: Sym | undefined;
  readonly simple: boolean;
  readonly directives: {
    readonly at: Sym;
    readonly op: string;
    readonly args: CfiDirective["args"];
  }[];
  readonly stmt: StatementPlace;
}

/** The state of one assembly. */
export class Program implements Names<Sym> {
  readonly sections: SectionDraft[] = [];
  readonly symbols = new Map<string, Sym>();
  /** All symbols ever made, in order of first mention. */
  readonly order: Sym[] = [];
  readonly cfi: CfiDraft[] = [];
  readonly lines: {
    readonly at: NonNullable<Sym["at"]>;
    readonly file: string;
    readonly line: number;
  }[] = [];
  readonly commons: { readonly sym: Sym; readonly size: number; readonly align: number }[] = [];
  current: SectionDraft;
  previous: SectionDraft;
  readonly pushed: { readonly current: SectionDraft; readonly previous: SectionDraft }[] = [];
  readonly #numbered = new Map<number, { last: Sym | undefined; next: Sym | undefined }>();

  constructor() {
    this.current = this.section(".text");
    this.section(".data");
    this.section(".bss");
    this.previous = this.current;
  }

  /** Finds or makes a section. */
  section(name: string, flags?: SectionDraft["flags"], type?: SectionDraft["type"]): SectionDraft {
    const old = this.sections.find((s) => s.name === name);
    if (old !== undefined) {
      if (
        flags !== undefined &&
        (flags.alloc !== old.flags.alloc ||
          flags.write !== old.flags.write ||
          flags.exec !== old.flags.exec)
      ) {
        throw new Reason(`section ${name} had other flags before`);
      }
      if (type !== undefined && type !== old.type)
        throw new Reason(`section ${name} had another type before`);
      return old;
    }
    const d = sectionDefaults(name);
    const s = new SectionDraft(name, this.sections.length, type ?? d.type, flags ?? { ...d.flags });
    this.sections.push(s);
    return s;
  }

  /** Makes a section the current one. */
  switchTo(s: SectionDraft): void {
    this.previous = this.current;
    this.current = s;
  }

  symbol(name: string): Sym {
    let s = this.symbols.get(name);
    if (s === undefined) {
      s = this.#make(name, false);
      this.symbols.set(name, s);
    }
    return s;
  }

  isDefined(name: string): boolean {
    const s = this.symbols.get(name);
    return s !== undefined && (s.at !== undefined || s.equ !== undefined);
  }

  /** A label here. */
  defineLabel(name: string): void {
    const s = this.symbol(name);
    if (s.at !== undefined || s.equ !== undefined || this.commons.some((c) => c.sym === s)) {
      throw new Reason(`symbol ${name} is already defined`);
    }
    s.at = this.current.here();
  }

  /** A label `1:` here. */
  defineNumbered(n: number): void {
    const slot = this.#slot(n);
    const s = slot.next ?? this.#make(`${n}`, true);
    s.at = this.current.here();
    slot.last = s;
    slot.next = undefined;
  }

  /** `name = expr`. */
  assign(name: string, e: Expr<Sym>): void {
    let s = this.symbol(name);
    if (s.at !== undefined || this.commons.some((c) => c.sym === s)) {
      throw new Reason(`symbol ${name} is already defined`);
    }
    const v = this.constant(e);
    const value: Expr<Sym> = v === undefined ? e : { k: "num", v };
    if (s.equ !== undefined && (s.equ.k !== "num" || v === undefined)) {
      // Statements before this one keep the old value.
      const fresh = { ...s };
      s.stale = true;
      this.order[this.order.indexOf(s)] = fresh;
      this.symbols.set(name, fresh);
      s = fresh;
    }
    s.equ = value;
    if (v === undefined) evaluate({ k: "sym", s }, EARLY);
  }

  /** An internal label here. */
  marker(): Sym {
    const s = this.#make(".", true);
    s.at = this.current.here();
    return s;
  }

  // Names<Sym>
  lookup(name: string): Expr<Sym> {
    const s = this.symbol(name);
    return s.equ?.k === "num" ? s.equ : { k: "sym", s };
  }
  here(): Expr<Sym> {
    return { k: "sym", s: this.marker() };
  }
  localLabel(n: number, forward: boolean): Expr<Sym> {
    const slot = this.#slot(n);
    if (!forward) {
      if (slot.last === undefined) throw new Reason(`no label ${n}: before this line`);
      return { k: "sym", s: slot.last };
    }
    slot.next ??= this.#make(`${n}`, true);
    return { k: "sym", s: slot.next };
  }

  parse(text: string): Expr<Sym> {
    return parseExpr(text, this);
  }

  /** The value of an expression if it is known at this point of the source. */
  constant(e: Expr<Sym>): bigint | undefined {
    if (e.k === "num") return e.v;
    const v = evaluate(e, EARLY);
    return v !== undefined && isConstant(v) ? v.c : undefined;
  }

  /** The same, where the directive cannot do without. */
  needConstant(text: string): bigint {
    const v = this.constant(this.parse(text));
    if (v === undefined) throw new Reason(`"${text.trim()}" is not a constant here`);
    return BigInt.asIntN(64, v);
  }

  /** A constant that counts something. */
  needCount(text: string): number {
    const v = this.needConstant(text);
    if (v < 0n || v > 1n << 28n) throw new Reason(`"${text.trim()}" is ${v}: expected 0 to 2^28`);
    return Number(v);
  }

  emit(bytes: ArrayLike<number>): void {
    this.#writable(bytes);
    this.current.emit(bytes);
  }

  fixup(f: Omit<Fixup, "off">, at = 0): void {
    const t = this.current.openData();
    this.current.addFixup({ ...f, off: t.size + at });
  }

  #writable(bytes: ArrayLike<number>): void {
    if (this.current.type !== "nobits") return;
    for (let i = 0; i < bytes.length; i++) {
      if (bytes[i] !== 0) throw new Reason(`section ${this.current.name} holds no bytes`);
    }
  }

  #slot(n: number): { last: Sym | undefined; next: Sym | undefined } {
    let s = this.#numbered.get(n);
    if (s === undefined) {
      s = { last: undefined, next: undefined };
      this.#numbered.set(n, s);
    }
    return s;
  }

  #make(name: string, internal: boolean): Sym {
    const s: Sym = {
      name,
      at: undefined,
      equ: undefined,
      bind: undefined,
      type: "notype",
      size: undefined,
      declared: false,
      internal,
      stale: false,
    };
    if (!internal) this.order.push(s);
    return s;
  }
}

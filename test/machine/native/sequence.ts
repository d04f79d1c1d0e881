// A sequence of instructions under construction: where jumps go, and which flags the manual leaves undefined at each
// place. It does not choose instructions; generate.ts does.
import { encode, type Operands } from "./encode.ts";
import { ALL, C, O, type Row } from "./rows.ts";

export interface Item {
  readonly bytes: number[];
  /** A displacement to fill in: at `at`, `size` bytes, to the start of group `to`. */
  readonly jump?: { readonly at: number; readonly size: number; readonly to: number };
}

const SHIFT = /^(shift|shiftDouble)\./;
const PLAIN: Operands = {
  size: 64,
  reg: 0,
  rm: 0,
  imm: 0n,
  addr32: false,
  lock: false,
  rep: 0,
  segment: 0,
  padding: [],
};

export class Sequence {
  readonly items: Item[] = [];
  readonly rows: number[] = [];
  readonly marks: (readonly [number, number])[] = []; // item, undefined flags before it
  #group = 0; // jumps go to the first item of a group only: its items belong together
  readonly #groups: number[] = [];
  readonly #pending = new Map<number, number>();
  #open = 0; // flags that are undefined here
  #ever = 0;

  /** Flags that were undefined somewhere. */
  get ever(): number {
    return this.#ever;
  }

  /** The group that is being built. */
  get group(): number {
    return this.#group;
  }

  /** Puts an item down; a jump to it brings its undefined flags along. */
  place(item: Item, row: Row): void {
    const at = this.items.length;
    this.#open |= this.#arriving();
    this.marks.push([at, this.#open]);
    this.items.push(item);
    this.rows.push(row.index);
  }

  /** Undefined flags just before the next item. */
  openHere(): number {
    return this.#open | this.#arriving();
  }

  #arriving(): number {
    return this.items.length === this.#groups[this.#group]
      ? (this.#pending.get(this.#group) ?? 0)
      : 0;
  }

  /** Starts a group. */
  begin(): void {
    if (this.#groups.at(-1) === this.items.length) return;
    this.#group = this.#groups.push(this.items.length) - 1;
  }

  /** First item of a group. */
  startOf(group: number): number {
    return this.#groups[group] ?? this.items.length;
  }

  /** A jump from here to a group brings its undefined flags there. */
  jumpTo(group: number): void {
    this.#pending.set(group, (this.#pending.get(group) ?? 0) | this.#open);
  }

  /** The end: jumps beyond it end there. */
  finish(): void {
    this.begin();
    const at = this.items.length;
    for (const [to, open] of this.#pending) if (to >= this.#group) this.#open |= open;
    this.marks.push([at, this.#open]);
  }

  /** Emits an instruction whose operands matter to nobody's flags. */
  plain(row: Row, o: Partial<Operands>): void {
    this.place({ bytes: encode(row, { ...PLAIN, ...o }) }, row);
    this.effect(row, { ...PLAIN, ...o });
  }

  /** What an instruction does to the set of undefined flags. */
  effect(row: Row, o: Operands): void {
    let defined = row.defined;
    let open = row.undefined;
    if (SHIFT.test(row.form.does)) {
      const bits = row.operands[0] === "Eb" ? 8 : o.size;
      const rotate = /Ro[lr]|Rc[lr]/.test(row.form.does);
      if (row.operands.includes("CL")) {
        open |= rotate ? O : ALL & ~row.defined;
        if (!rotate && bits < 32) open |= C;
        defined = 0; // a count of 0 writes nothing
      } else if (!row.operands.includes("1")) {
        const n = Number(o.imm & (o.size === 64 && bits === 64 ? 63n : 31n));
        if (n === 0) defined = open = 0;
        else if (n === 1) {
          defined |= O;
          open &= ~O;
        } else if (!rotate && n > bits - 1 && bits < 32) open |= C;
      }
    }
    if (row.encoding.plusReg && row.form.does === "bswap" && o.size === 16) open = 0;
    if (o.rep) defined = 0; // a count of 0
    this.#open = (this.#open & ~defined) | open;
    this.#ever |= this.#open;
  }
}

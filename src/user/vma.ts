// The list of mapped ranges of a process: sorted, disjoint, neighbours with the same rights merged. It works on page
// numbers and knows no page tables. The kernel's mm/mmap.c is where the rules come from.

/** Pages [start, end) with the same rights. */
export interface Vma {
  readonly start: number;
  readonly end: number;
  /** PROT_ bits. */
  readonly prot: number;
  /** Its pages count against the memory given, as VM_ACCOUNT. */
  readonly account: boolean;
  /** Its pages are zeros until written, not a file's. */
  readonly anonymous: boolean;
}

export class VmaList {
  #list: Vma[] = [];

  get all(): readonly Vma[] {
    return this.#list;
  }

  /** Index of the first range that ends above `page`. */
  #from(page: number): number {
    let lo = 0;
    let hi = this.#list.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if ((this.#list[mid]?.end ?? 0) <= page) lo = mid + 1;
      else hi = mid;
    }
    return lo;
  }

  /** The range that holds a page. */
  find(page: number): Vma | undefined {
    const v = this.#list[this.#from(page)];
    return v !== undefined && v.start <= page ? v : undefined;
  }

  /** The ranges that touch [start, end), clipped to it, ascending. */
  within(start: number, end: number): readonly Vma[] {
    const out: Vma[] = [];
    for (let i = this.#from(start); i < this.#list.length; i++) {
      const v = this.#list[i];
      if (v === undefined || v.start >= end) break;
      out.push({ ...v, start: Math.max(v.start, start), end: Math.min(v.end, end) });
    }
    return out;
  }

  isFree(start: number, end: number): boolean {
    const v = this.#list[this.#from(start)];
    return v === undefined || v.start >= end;
  }

  /** Takes [start, end) out. */
  remove(start: number, end: number): void {
    this.#splice(start, end, []);
  }

  /** Puts a range in, over whatever was there. */
  put(v: Vma): void {
    this.#splice(v.start, v.end, [v]);
  }

  /** Pages of [0, top) from above: the highest gap of `pages` in [bottom, top). */
  gapBelow(top: number, bottom: number, pages: number): number | undefined {
    let end = top;
    for (let i = this.#list.length - 1; i >= 0; i--) {
      const v = this.#list[i];
      if (v === undefined || v.start >= end) continue;
      if (end - Math.max(v.end, bottom) >= pages) return end - pages;
      end = v.start;
      if (end <= bottom) return undefined;
    }
    return end - bottom >= pages ? end - pages : undefined;
  }

  #splice(start: number, end: number, middle: readonly Vma[]): void {
    const first = this.#from(start);
    let last = first;
    const parts: Vma[] = [];
    const after: Vma[] = [];
    for (let v = this.#list[last]; v !== undefined && v.start < end; v = this.#list[++last]) {
      if (v.start < start) parts.push({ ...v, end: start });
      if (v.end > end) after.push({ ...v, start: end });
    }
    parts.push(...middle, ...after);
    // The neighbours on both sides take part in merging.
    const lo = first > 0 ? first - 1 : 0;
    const hi = Math.min(last + 1, this.#list.length);
    const around = [...this.#list.slice(lo, first), ...parts, ...this.#list.slice(last, hi)];
    this.#list.splice(lo, hi - lo, ...merged(around));
  }
}

function merged(list: readonly Vma[]): readonly Vma[] {
  const out: Vma[] = [];
  for (const v of list) {
    const before = out.at(-1);
    const same =
      before !== undefined &&
      before.end === v.start &&
      before.prot === v.prot &&
      before.account === v.account &&
      before.anonymous === v.anonymous;
    if (same) out[out.length - 1] = { ...before, end: v.end };
    else out.push(v);
  }
  return out;
}

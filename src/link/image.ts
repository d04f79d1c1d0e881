// The linker's result and the questions asked of it: symbols by name and by address, as kallsyms
// answers them. Plain data; nothing here knows objects or relocations.

/** Access rights of a segment's pages. */
export interface SegmentFlags {
  readonly read: boolean;
  readonly write: boolean;
  readonly exec: boolean;
  readonly user: boolean;
}

/** A stretch of memory to load. bytes: Uint8Array[<= memSize], the rest is zero. */
export interface Segment {
  readonly name: string;
  readonly va: bigint;
  readonly pa: bigint;
  readonly bytes: Uint8Array;
  readonly memSize: number;
  readonly flags: SegmentFlags;
}

/** A symbol at its address. section: the output section, "abs" for a constant. */
export interface ImageSymbol {
  readonly name: string;
  readonly va: bigint;
  readonly size: bigint;
  readonly type: "notype" | "object" | "func";
  readonly bind: "local" | "global" | "weak";
  readonly section: string;
}

/** Where an output section lies. size in bytes. */
export interface ImageSection {
  readonly name: string;
  readonly va: bigint;
  readonly size: number;
}

/**
 * A linked program.
 *
 * symbols       sorted by va, then in link order, as kallsyms; constants are not among them
 * constants     absolute symbols
 * fentrySites   va of each `call __fentry__`, ascending, from section __mcount_loc
 * hash          hexadecimal, of bytes and layout
 */
export interface Image {
  readonly name: string;
  readonly entry: bigint;
  readonly segments: readonly Segment[];
  readonly symbols: readonly ImageSymbol[];
  readonly constants: readonly ImageSymbol[];
  readonly fentrySites: readonly bigint[];
  readonly sections: readonly ImageSection[];
  readonly hash: string;
}

/**
 * Finds a symbol by name.
 *
 * sympos  as in livepatch: 0 the only one of that name, n >= 1 the n-th in kallsyms order
 */
export function findSymbol(image: Image, name: string, sympos = 0): ImageSymbol | undefined {
  const index = indexOf(image);
  const named = index.byName.get(name) ?? [];
  if (sympos > 0) return named[sympos - 1];
  if (named.length === 1) return named[0];
  // A global name is one symbol whatever local namesakes it has.
  const global = named.filter((s) => s.bind !== "local");
  return global.length === 1 ? global[0] : undefined;
}

/** How many symbols bear a name. */
export function countSymbols(image: Image, name: string): number {
  return indexOf(image).byName.get(name)?.length ?? 0;
}

/** The symbol that va lies in; offset and size in bytes. */
export function symbolAt(
  image: Image,
  va: bigint,
): { readonly name: string; readonly offset: bigint; readonly size: bigint } | undefined {
  const { starts } = indexOf(image);
  let lo = 0;
  let hi = starts.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if ((starts[mid]?.va ?? 0n) <= va) lo = mid + 1;
    else hi = mid;
  }
  const s = starts[lo - 1];
  if (s === undefined || va >= s.end) return undefined;
  return { name: s.symbol.name, offset: va - s.va, size: s.end - s.va };
}

/** As the kernel's %pS: "f+0x12/0x40", or the address where no symbol is. */
export function formatAddress(image: Image, va: bigint): string {
  const s = symbolAt(image, va);
  return s === undefined
    ? `0x${va.toString(16).padStart(16, "0")}`
    : `${s.name}+0x${s.offset.toString(16)}/0x${s.size.toString(16)}`;
}

interface Start {
  readonly va: bigint;
  readonly end: bigint;
  readonly symbol: ImageSymbol;
}

interface Index {
  readonly byName: ReadonlyMap<string, readonly ImageSymbol[]>;
  readonly starts: readonly Start[];
}

const indexes = new WeakMap<Image, Index>();

function indexOf(image: Image): Index {
  let index = indexes.get(image);
  if (index === undefined) {
    index = makeIndex(image);
    indexes.set(image, index);
  }
  return index;
}

function makeIndex(image: Image): Index {
  const byName = new Map<string, ImageSymbol[]>();
  for (const s of [...image.symbols, ...image.constants]) {
    const list = byName.get(s.name);
    if (list === undefined) byName.set(s.name, [s]);
    else list.push(s);
  }
  // One symbol for each address: the one with a size, a function, then the global, then the first.
  const best = new Map<bigint, ImageSymbol>();
  for (const s of image.symbols) {
    const old = best.get(s.va);
    if (old === undefined || rank(s) > rank(old)) best.set(s.va, s);
  }
  const sorted = [...best.values()].sort((a, b) => (a.va < b.va ? -1 : a.va > b.va ? 1 : 0));
  const starts = sorted.map((symbol, i): Start => {
    const next = sorted[i + 1]?.va;
    const section = image.sections.find(
      (x) => x.va <= symbol.va && symbol.va <= x.va + BigInt(x.size) && x.name === symbol.section,
    );
    const sectionEnd = section === undefined ? symbol.va : section.va + BigInt(section.size);
    const open = next !== undefined && next < sectionEnd ? next : sectionEnd;
    return { va: symbol.va, end: symbol.size > 0n ? symbol.va + symbol.size : open, symbol };
  });
  return { byName, starts };
}

function rank(s: ImageSymbol): number {
  return (s.size > 0n ? 4 : 0) + (s.type === "func" ? 2 : 0) + (s.bind === "local" ? 0 : 1);
}

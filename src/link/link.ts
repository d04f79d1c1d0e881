// Links objects into an image: lays their sections out in the regions of a Layout, resolves symbols, and applies
// relocations. It keeps every allocated section (no garbage collection) and the order given, so the same input
// gives the same image.
import type { Obj, ObjSymbol, Section } from "../asm/index.ts";
import { hashParts } from "./hash.ts";
import type { Image, ImageSection, ImageSymbol, Segment } from "./image.ts";
import { findSymbol } from "./image.ts";
import type { Layout, Region } from "./layout.ts";
import { matches } from "./layout.ts";
import { LinkError, relocate } from "./relocate.ts";

/** An input section at its address. */
interface Placed {
  readonly obj: Obj;
  readonly section: Section;
  readonly va: bigint;
  /** Bytes from the start of its region. */
  readonly offset: number;
}

interface PlacedRegion {
  readonly region: Region;
  readonly va: bigint;
  readonly pa: bigint;
  readonly size: number;
  readonly placed: readonly Placed[];
}

const PAGE_SIZE = 4096;

/**
 * Links objects at fixed addresses.
 *
 * throws  LinkError: an undefined or doubly defined symbol, a relocation out of range, a section that no region
 *         takes, regions that overlap
 */
export function link(objs: readonly Obj[], layout: Layout): Image {
  const regions = placeRegions(objs, layout.regions);
  checkOverlap(regions);
  const image = finish(layout.name, objs, regions, []);
  const entry = findSymbol(image, layout.entry);
  if (entry === undefined) throw new LinkError(`entry symbol ${layout.entry} is undefined`);
  return { ...image, entry: entry.va };
}

/**
 * Links one object as a module: symbols it does not define are those of another image.
 *
 * against  the image that is running; of several the first that has the symbol
 * at       where the module goes; room: bytes there are. Its code, then its data, each from a page of its own.
 */
export function linkModule(
  obj: Obj,
  against: Image | readonly Image[],
  at: { readonly va: bigint; readonly pa: bigint; readonly room: number },
): Image {
  const alloc = obj.sections.filter((s) => s.flags.alloc);
  const names = (test: (s: Section) => boolean): string[] => [
    ...new Set(alloc.filter(test).map((s) => s.name)),
  ];
  const rights = { read: true, write: false, exec: false, user: false };
  const next = { va: "next", pa: "next", align: PAGE_SIZE } as const;
  const regions: Region[] = [
    {
      name: ".text",
      va: at.va,
      pa: at.pa,
      align: PAGE_SIZE,
      sections: names((s) => s.flags.exec),
      flags: { ...rights, exec: true },
    },
    {
      ...next,
      name: ".rodata",
      sections: names((s) => !s.flags.exec && !s.flags.write),
      flags: rights,
    },
    {
      ...next,
      name: ".data",
      sections: names((s) => !s.flags.exec && s.flags.write),
      flags: { ...rights, write: true },
    },
  ];
  const placed = placeRegions([obj], regions);
  const last = placed[placed.length - 1];
  const used = last === undefined ? 0n : last.va + BigInt(last.size) - at.va;
  if (used > BigInt(at.room)) {
    throw new LinkError(
      `${obj.name}: the module needs ${used} bytes, there is room for ${at.room}`,
    );
  }
  return finish(obj.name, [obj], placed, "name" in against ? [against] : against);
}

function placeRegions(objs: readonly Obj[], regions: readonly Region[]): PlacedRegion[] {
  const taken = new Set<Section>();
  const out: PlacedRegion[] = [];
  let nextVa: bigint | undefined;
  let distance = 0n;
  for (const region of regions) {
    if (!isPowerOfTwo(region.align)) {
      throw new LinkError(`region ${region.name}: alignment ${region.align} is not a power of two`);
    }
    const va = region.va === "next" ? alignUp(nextOf(region, nextVa), region.align) : region.va;
    if (va % BigInt(region.align) !== 0n) {
      throw new LinkError(
        `region ${region.name}: 0x${va.toString(16)} is not aligned to ${region.align}`,
      );
    }
    if (region.pa !== "next") distance = va - region.pa;
    const placed: Placed[] = [];
    let offset = 0;
    for (const pattern of region.sections) {
      for (const obj of objs) {
        for (const section of obj.sections) {
          if (!section.flags.alloc || taken.has(section) || !matches(pattern, section.name))
            continue;
          taken.add(section);
          offset = Number(alignUp(va + BigInt(offset), section.align) - va);
          placed.push({ obj, section, va: va + BigInt(offset), offset });
          offset += section.size;
        }
      }
    }
    out.push({ region, va, pa: va - distance, size: offset, placed });
    nextVa = va + BigInt(offset);
  }
  for (const obj of objs) {
    for (const s of obj.sections) {
      if (s.flags.alloc && !taken.has(s) && s.size > 0) {
        throw new LinkError(`${obj.name}: no region takes section ${s.name} (${s.size} bytes)`);
      }
    }
  }
  return out;
}

function nextOf(region: Region, nextVa: bigint | undefined): bigint {
  if (nextVa === undefined)
    throw new LinkError(`region ${region.name}: "next" has nothing before it`);
  return nextVa;
}

function isPowerOfTwo(n: number): boolean {
  return Number.isInteger(n) && n >= 1 && n <= 2 ** 30 && (n & (n - 1)) === 0;
}

function alignUp(v: bigint, align: number): bigint {
  const a = BigInt(align);
  return ((v + a - 1n) / a) * a;
}

// Regions that share a page must agree on its rights, and none may lie on another.
function checkOverlap(regions: readonly PlacedRegion[]): void {
  const used = regions.filter((r) => r.size > 0);
  for (const space of ["va", "pa"] as const) {
    const sorted = [...used].sort((a, b) => (a[space] < b[space] ? -1 : 1));
    for (const [i, a] of sorted.entries()) {
      const b = sorted[i + 1];
      if (b === undefined) break;
      const end = a[space] + BigInt(a.size);
      if (end > b[space]) {
        throw new LinkError(
          `regions ${a.region.name} and ${b.region.name} overlap at ${space} 0x${b[space].toString(16)}`,
        );
      }
      const samePage = (end - 1n) / BigInt(PAGE_SIZE) === b[space] / BigInt(PAGE_SIZE);
      if (samePage && JSON.stringify(a.region.flags) !== JSON.stringify(b.region.flags)) {
        throw new LinkError(
          `regions ${a.region.name} and ${b.region.name} share a page with different rights: ` +
            `expected an alignment of ${PAGE_SIZE}`,
        );
      }
    }
  }
}

function finish(
  name: string,
  objs: readonly Obj[],
  regions: readonly PlacedRegion[],
  against: readonly Image[],
): Image {
  const places = new Map<Section, Placed>();
  for (const r of regions) for (const p of r.placed) places.set(p.section, p);
  const bounds = new Map<string, bigint>();
  for (const r of regions) {
    if (r.region.start !== undefined) bounds.set(r.region.start, r.va);
    if (r.region.end !== undefined) bounds.set(r.region.end, r.va + BigInt(r.size));
  }
  const globals = globalSymbols(objs, places, bounds);
  const segments: Segment[] = [];
  for (const r of regions) {
    if (r.size === 0) continue;
    segments.push(makeSegment(r, globals, places, against));
  }
  const { symbols, constants } = imageSymbols(objs, places, regions);
  const sections: ImageSection[] = regions.flatMap((r) => outputSections(r));
  const fentrySites = mcountSites(regions, segments);
  const hash = hashParts([
    name,
    ...segments.flatMap((s) => [
      `${s.name} ${s.va} ${s.pa} ${s.memSize} ${JSON.stringify(s.flags)}`,
      s.bytes,
    ]),
    ...symbols.map((s) => `${s.name} ${s.va} ${s.size} ${s.type} ${s.bind}`),
  ]);
  return { name, entry: 0n, segments, symbols, constants, fentrySites, sections, hash };
}

function valueOf(s: ObjSymbol, obj: Obj, places: ReadonlyMap<Section, Placed>): bigint | undefined {
  if (s.section === "abs") return s.value;
  if (s.section === "undef") return undefined;
  const section = obj.sections[s.section];
  const p = section === undefined ? undefined : places.get(section);
  return p === undefined ? undefined : p.va + s.value;
}

interface GlobalSymbol {
  readonly va: bigint;
  readonly weak: boolean;
  readonly from: string;
}

function globalSymbols(
  objs: readonly Obj[],
  places: ReadonlyMap<Section, Placed>,
  bounds: ReadonlyMap<string, bigint>,
): ReadonlyMap<string, GlobalSymbol> {
  const out = new Map<string, GlobalSymbol>();
  for (const [n, va] of bounds) out.set(n, { va, weak: false, from: "the layout" });
  for (const obj of objs) {
    for (const s of obj.symbols) {
      if (s.bind === "local" || s.section === "undef") continue;
      const va = valueOf(s, obj, places);
      if (va === undefined) continue;
      const old = out.get(s.name);
      const weak = s.bind === "weak";
      if (old !== undefined && !old.weak && !weak) {
        throw new LinkError(`${s.name} is defined in ${old.from} and again in ${obj.name}`);
      }
      if (old === undefined || (old.weak && !weak)) out.set(s.name, { va, weak, from: obj.name });
    }
  }
  return out;
}

/** "file:line: " of the statement that made the byte at an offset of a section; the object's name where that is unknown. */
function sourceOf(p: Placed, offset: number): string {
  const section = p.obj.sections.indexOf(p.section);
  const entry = p.obj.lines.findLast((l) => l.section === section && l.offset <= offset);
  return entry === undefined ? `${p.obj.name}: ` : `${entry.file}:${entry.line}: `;
}

function makeSegment(
  r: PlacedRegion,
  globals: ReadonlyMap<string, GlobalSymbol>,
  places: ReadonlyMap<Section, Placed>,
  against: readonly Image[],
): Segment {
  const full = r.placed.reduce(
    (n, p) => (p.section.type === "nobits" ? n : Math.max(n, p.offset + p.section.size)),
    0,
  );
  const bytes = new Uint8Array(full);
  // Gaps in code trap: nothing runs through them by accident.
  if (r.region.flags.exec) bytes.fill(0xcc);
  for (const p of r.placed) {
    if (p.section.type === "nobits") {
      if (p.offset < full) bytes.fill(0, p.offset, Math.min(full, p.offset + p.section.size));
      continue;
    }
    const own = bytes.subarray(p.offset, p.offset + p.section.size);
    own.set(p.section.bytes);
    const where = `${p.obj.name}: ${p.section.name}`;
    for (const reloc of p.section.relocs) {
      const s = p.obj.symbols[reloc.symbol];
      if (s === undefined) throw new LinkError(`${where}: relocation names symbol ${reloc.symbol}`);
      const va = resolve(s, p.obj, globals, places, against);
      if (va === undefined) {
        const at = `${sourceOf(p, reloc.offset)}${p.section.name}+0x${reloc.offset.toString(16)}`;
        throw new LinkError(`${at}: undefined symbol ${s.name}`);
      }
      relocate(own, p.va, reloc, va, s.name, where);
    }
  }
  const { region, va, pa, size } = r;
  return { name: region.name, va, pa, bytes, memSize: size, flags: { ...region.flags } };
}

function resolve(
  s: ObjSymbol,
  obj: Obj,
  globals: ReadonlyMap<string, GlobalSymbol>,
  places: ReadonlyMap<Section, Placed>,
  against: readonly Image[],
): bigint | undefined {
  if (s.bind === "local") return valueOf(s, obj, places);
  const own = globals.get(s.name);
  if (own !== undefined) return own.va;
  for (const image of against) {
    const outside = findSymbol(image, s.name);
    if (outside !== undefined) return outside.va;
  }
  return s.bind === "weak" ? 0n : undefined;
}

function imageSymbols(
  objs: readonly Obj[],
  places: ReadonlyMap<Section, Placed>,
  regions: readonly PlacedRegion[],
): { readonly symbols: readonly ImageSymbol[]; readonly constants: readonly ImageSymbol[] } {
  const symbols: ImageSymbol[] = [];
  const constants: ImageSymbol[] = [];
  for (const obj of objs) {
    for (const s of obj.symbols) {
      const va = valueOf(s, obj, places);
      if (va === undefined || s.type === "section") continue;
      const { name, size, type, bind } = s;
      const section = typeof s.section === "number" ? (obj.sections[s.section]?.name ?? "") : "abs";
      (s.section === "abs" ? constants : symbols).push({ name, va, size, type, bind, section });
    }
  }
  for (const r of regions) {
    const bound = { size: 0n, type: "notype", bind: "global", section: r.region.name } as const;
    if (r.region.start !== undefined) symbols.push({ name: r.region.start, va: r.va, ...bound });
    if (r.region.end !== undefined) {
      symbols.push({ name: r.region.end, va: r.va + BigInt(r.size), ...bound });
    }
  }
  // Stable: symbols of one address stay in link order.
  symbols.sort((a, b) => (a.va < b.va ? -1 : a.va > b.va ? 1 : 0));
  constants.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return { symbols, constants };
}

// Adjacent input sections of one name make one output section.
function outputSections(r: PlacedRegion): ImageSection[] {
  const out: { name: string; va: bigint; size: number }[] = [];
  for (const p of r.placed) {
    if (p.section.size === 0) continue;
    const last = out[out.length - 1];
    if (last !== undefined && last.name === p.section.name) {
      last.size = Number(p.va - last.va) + p.section.size;
    } else out.push({ name: p.section.name, va: p.va, size: p.section.size });
  }
  return out;
}

function mcountSites(
  regions: readonly PlacedRegion[],
  segments: readonly Segment[],
): readonly bigint[] {
  const sites: bigint[] = [];
  for (const r of regions) {
    const segment = segments.find((s) => s.name === r.region.name && s.va === r.va);
    for (const p of r.placed) {
      if (p.section.name !== "__mcount_loc" || segment === undefined) continue;
      if (p.section.size % 8 !== 0) {
        throw new LinkError(
          `${p.obj.name}: __mcount_loc has ${p.section.size} bytes: expected quads`,
        );
      }
      const { bytes } = segment;
      const view = new DataView(bytes.buffer, bytes.byteOffset + p.offset, p.section.size);
      for (let i = 0; i < p.section.size; i += 8) sites.push(view.getBigUint64(i, true));
    }
  }
  return sites.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

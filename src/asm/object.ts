// From a laid-out Program to an Obj: relaxes the sections, fills what is known, and makes relocations and
// the symbol table as GNU as does.
import { littleEndian } from "./data.ts";
import { markerOffset } from "./directives.ts";
import { Reason } from "./errors.ts";
import type { Expr, Places } from "./expr.ts";
import { evaluate, isConstant } from "./expr.ts";
import type { Fixup, Frag, SectionDraft, StatementPlace, Sym } from "./layout.ts";
import {
  FINAL,
  LateError,
  addressOf,
  isExternal,
  localTarget,
  placeOfAlias,
  relax,
} from "./layout.ts";
import { nopFill } from "./nops.ts";
import type { Obj, ObjSymbol, RelocType } from "./obj.ts";
import type { Program } from "./program.ts";

/** A relocation before symbols have numbers. */
interface RelocDraft {
  readonly offset: number;
  readonly type: RelocType;
  readonly symbol: Sym | SectionDraft;
  readonly addend: bigint;
}

/** Values as relocations see them: a global alias stands for itself. */
const RELOCATABLE: Places<Sym> = {
  equated: (s) => (s.equ?.k === "num" || !isExternal(s) ? placeOfAlias(s) : undefined),
  distance: FINAL.distance,
};

/** Finishes an assembly. */
export function makeObj(name: string, program: Program): Obj {
  placeCommons(program);
  for (const s of program.sections) relax(s);
  const used = new Set<Sym | SectionDraft>();
  const drafts = program.sections.map((s) => {
    const relocs: RelocDraft[] = [];
    const bytes = s.type === "nobits" ? new Uint8Array(0) : new Uint8Array(s.sizeNow());
    for (const f of s.frags) writeFrag(s, f, bytes, relocs);
    for (const r of relocs) used.add(r.symbol);
    return { section: s, bytes, relocs };
  });
  const { symbols, numbers } = symbolTable(program, used);
  const numberOf = (s: Sym | SectionDraft): number => {
    const n = numbers.get(s);
    if (n === undefined) throw new Reason(`symbol ${s.name} has no entry`);
    return n;
  };
  return {
    name,
    sections: drafts.map(({ section: s, bytes, relocs }) => ({
      name: s.name,
      type: s.type,
      flags: { alloc: s.flags.alloc, write: s.flags.write, exec: s.flags.exec },
      align: s.align,
      bytes,
      size: s.sizeNow(),
      relocs: relocs.map((r) => ({ ...r, symbol: numberOf(r.symbol) })),
    })),
    symbols,
    cfi: program.cfi.map((c) => {
      if (c.end === undefined) throw new LateError(c.stmt, ".cfi_startproc without .cfi_endproc");
      return {
        section: c.section.index,
        start: markerOffset(c.start),
        end: markerOffset(c.end),
        simple: c.simple,
        directives: c.directives.map((d) => ({
          offset: markerOffset(d.at),
          op: d.op,
          args: d.args,
        })),
      };
    }),
    lines: program.lines.map((l) => ({
      section: l.at.section.index,
      offset: addressOf(l.at),
      file: l.file,
      line: l.line,
    })),
  };
}

// DIFFERS: GNU as leaves .comm to the linker as SHN_COMMON; here it is .bss at once.
function placeCommons(program: Program): void {
  const bss = program.section(".bss");
  for (const c of program.commons) {
    if (c.align > 1) bss.addFrag({ k: "align", to: c.align, fill: undefined, max: 0, size: 0 });
    if (c.align > bss.align) bss.align = c.align;
    c.sym.at = bss.here();
    bss.emitFill(c.size, 0);
  }
}

function writeFrag(s: SectionDraft, f: Frag, out: Uint8Array, relocs: RelocDraft[]): void {
  if (f.k === "data") {
    if (s.type !== "nobits") out.set(f.bytes.subarray(0, f.size), f.addr);
    for (const x of f.fixups) applyFixup(s, x, f.addr + x.off, out, relocs);
  } else if (f.k === "branch") {
    const short = f.size === 2;
    if (short) out.set([f.cc === undefined ? 0xeb : 0x70 | f.cc], f.addr);
    else out.set(f.cc === undefined ? [0xe9] : [0x0f, 0x80 | f.cc], f.addr);
    const size = short ? 1 : 4;
    const at = f.addr + f.size - size;
    const to = localTarget(f.target, s);
    const x: Fixup = {
      off: 0,
      size,
      expr: f.target,
      pcTail: size,
      signed: true,
      branch: true,
      stmt: f.stmt,
    };
    if (to === undefined) applyFixup(s, x, at, out, relocs);
    else writeValue(x, BigInt(addressOf(to.at) + to.addend - at - size), at, out);
  } else if (s.type !== "nobits" && f.k !== "gap" && f.size > 0) {
    if (f.k === "align") writePadding(s, f, out);
    else out.fill(f.fill, f.addr, f.addr + f.size);
  }
}

function writePadding(s: SectionDraft, f: Extract<Frag, { k: "align" }>, out: Uint8Array): void {
  if (f.fill === undefined) {
    if (s.flags.exec) out.set(nopFill(f.size), f.addr);
    return;
  }
  // A pattern that does not fit starts late: the odd bytes come first and are zero.
  const odd = f.size % f.fill.length;
  for (let i = odd; i < f.size; i++) out[f.addr + i] = f.fill[(i - odd) % f.fill.length] ?? 0;
}

function applyFixup(
  s: SectionDraft,
  x: Fixup,
  at: number,
  out: Uint8Array,
  relocs: RelocDraft[],
): void {
  const v = evaluateFor(x.expr, x.stmt);
  let { c } = v;
  const plus = v.plus[0];
  const minus = v.minus[0];
  if (v.plus.length > 1 || v.minus.length > 1 || (minus !== undefined && plus === undefined)) {
    throw new LateError(x.stmt, "the value is not a symbol plus a constant");
  }
  let relative = x.pcTail !== undefined;
  if (x.pcTail !== undefined) c -= BigInt(x.pcTail);
  if (minus !== undefined) {
    if (relative || minus.at?.section !== s || x.signed) {
      throw new LateError(x.stmt, `cannot subtract ${minus.name}: it is not in section ${s.name}`);
    }
    relative = true;
    c += BigInt(at - addressOf(minus.at));
  }
  if (plus === undefined) {
    if (relative) throw new LateError(x.stmt, "relative reference to an absolute address");
    writeValue(x, c, at, out);
    return;
  }
  if (plus.internal && plus.at === undefined) {
    throw new LateError(x.stmt, `label ${plus.name}: does not follow`);
  }
  if (relative && plus.at?.section === s && !isExternal(plus)) {
    writeValue({ ...x, signed: true }, c + BigInt(addressOf(plus.at) - at), at, out);
    return;
  }
  const keep =
    plus.at === undefined || isExternal(plus) || (relative && plus.at.section.flags.merge);
  // gas marks a branch to a symbol itself, not to a place inside it.
  const plt =
    x.branch && keep && x.size === 4 && c === -4n && !(plus.at !== undefined && !isExternal(plus));
  relocs.push({
    offset: at,
    type: relocType(x, relative, plt),
    symbol: keep || plus.at === undefined ? plus : plus.at.section,
    addend: BigInt.asIntN(64, keep || plus.at === undefined ? c : c + BigInt(addressOf(plus.at))),
  });
}

function evaluateFor(
  e: Expr<Sym>,
  stmt: StatementPlace,
): { c: bigint; plus: readonly Sym[]; minus: readonly Sym[] } {
  try {
    const v = evaluate(e, RELOCATABLE);
    if (v !== undefined) return v;
  } catch (err) {
    if (err instanceof Reason) throw new LateError(stmt, err.message);
    throw err;
  }
  throw new LateError(stmt, "the value is not a symbol plus a constant");
}

function relocType(x: Fixup, relative: boolean, plt: boolean): RelocType {
  if (relative) {
    if (plt) return "R_X86_64_PLT32";
    return x.size === 1
      ? "R_X86_64_PC8"
      : x.size === 2
        ? "R_X86_64_PC16"
        : x.size === 4
          ? "R_X86_64_PC32"
          : "R_X86_64_PC64";
  }
  if (x.size === 4) return x.signed ? "R_X86_64_32S" : "R_X86_64_32";
  return x.size === 1 ? "R_X86_64_8" : x.size === 2 ? "R_X86_64_16" : "R_X86_64_64";
}

function writeValue(x: Fixup, value: bigint, at: number, out: Uint8Array): void {
  const v = BigInt.asIntN(64, value);
  if (x.signed && BigInt.asIntN(x.size * 8, v) !== v) {
    throw new LateError(x.stmt, `value ${v} does not fit ${x.size} bytes, signed`);
  }
  try {
    out.set(littleEndian(v, x.size), at);
  } catch (e) {
    throw new LateError(x.stmt, e instanceof Error ? e.message : String(e));
  }
}

function symbolTable(
  program: Program,
  used: ReadonlySet<Sym | SectionDraft>,
): {
  readonly symbols: readonly ObjSymbol[];
  readonly numbers: ReadonlyMap<Sym | SectionDraft, number>;
} {
  const locals: [Sym | SectionDraft, ObjSymbol][] = [];
  const others: [Sym | SectionDraft, ObjSymbol][] = [];
  for (const s of program.sections) {
    if (used.has(s)) {
      locals.push([
        s,
        { name: s.name, section: s.index, value: 0n, size: 0n, type: "section", bind: "local" },
      ]);
    }
  }
  for (const s of program.order) {
    const entry = symbolEntry(s, used.has(s));
    if (entry !== undefined) (entry.bind === "local" ? locals : others).push([s, entry]);
  }
  const all = [...locals, ...others];
  return { symbols: all.map(([, e]) => e), numbers: new Map(all.map(([s], i) => [s, i])) };
}

function symbolEntry(s: Sym, isUsed: boolean): ObjSymbol | undefined {
  if (s.stale && !isUsed) return undefined;
  const size = s.size === undefined ? 0n : sizeOf(s, s.size);
  const base = { name: s.name, size, type: s.type };
  const hidden = s.name.startsWith(".L") && !isUsed && !isExternal(s);
  if (s.at !== undefined) {
    if (hidden) return undefined;
    return {
      ...base,
      section: s.at.section.index,
      value: BigInt(addressOf(s.at)),
      bind: s.bind ?? "local",
    };
  }
  if (s.equ !== undefined) {
    if (hidden) return undefined;
    if (s.equ.k === "num") {
      return {
        ...base,
        section: "abs",
        value: BigInt.asUintN(64, s.equ.v),
        bind: s.bind ?? "local",
      };
    }
    const v = evaluate(s.equ, FINAL);
    if (v !== undefined && isConstant(v)) {
      return { ...base, section: "abs", value: BigInt.asUintN(64, v.c), bind: s.bind ?? "local" };
    }
    const to = v?.plus[0];
    if (v === undefined || to === undefined || v.plus.length > 1 || v.minus.length > 0) {
      throw new Reason(`symbol ${s.name}: the value is not a symbol plus a constant`);
    }
    // An alias of something undefined has no entry of its own unless it is global.
    if (to.at === undefined) {
      if (isUsed)
        throw new Reason(`symbol ${s.name} is equal to ${to.name}, which is not defined here`);
      return undefined;
    }
    const type = s.type === "notype" && to.type !== "notype" ? to.type : s.type;
    const own = s.size === undefined && to.size !== undefined ? sizeOf(to, to.size) : size;
    return {
      ...base,
      type,
      size: own,
      section: to.at.section.index,
      value: BigInt.asUintN(64, BigInt(addressOf(to.at)) + v.c),
      bind: s.bind ?? "local",
    };
  }
  if (!isUsed && !s.declared) return undefined;
  return { ...base, section: "undef", value: 0n, bind: s.bind === "weak" ? "weak" : "global" };
}

function sizeOf(s: Sym, e: Expr<Sym>): bigint {
  const v = evaluate(e, FINAL);
  if (v === undefined || !isConstant(v))
    throw new Reason(`the size of ${s.name} is not a constant`);
  return BigInt.asUintN(64, v.c);
}

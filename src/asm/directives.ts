// Directives about sections, symbols and call frames, and those that GNU as takes and this assembler ignores.
// Control flow (.if, .macro, .rept, .include) is control.ts; bytes are data.ts.
import type { Directive } from "./data.ts";
import { Reason } from "./errors.ts";
import type { SectionDraft, Sym } from "./layout.ts";
import { addressOf } from "./layout.ts";
import type { Program } from "./program.ts";
import { parseStringLiteral, splitCommas } from "./source.ts";

function nameOf(text: string): string {
  const t = text.trim();
  if (/^"[^"]+"$/.test(t)) return t.slice(1, -1);
  if (/^[A-Za-z_.$][\w.$]*$/.test(t)) return t;
  throw new Reason(`expected a symbol name, found "${t}"`);
}

const eachName =
  (action: (p: Program, s: Sym) => void): Directive =>
  (p, args) => {
    for (const a of splitCommas(args)) action(p, p.symbol(nameOf(a)));
  };

const bind = (to: "local" | "global" | "weak"): Directive =>
  eachName((_, s) => {
    // .weak stays weak after .globl and the other way round, as in gas.
    s.bind = to === "global" && s.bind === "weak" ? "weak" : to;
    s.declared = true;
  });

const sectionFlags = (text: string): SectionDraft["flags"] => {
  const flags = { alloc: false, write: false, exec: false, merge: false };
  for (const c of text) {
    if (c === "a") flags.alloc = true;
    else if (c === "w") flags.write = true;
    else if (c === "x") flags.exec = true;
    else if (c === "M") flags.merge = true;
    else if (!"SGoeRTl?d0123456789".includes(c)) throw new Reason(`unknown section flag "${c}"`);
  }
  return flags;
};

/** Parses `name,"flags",@type,...` and finds or makes the section. */
function sectionOf(p: Program, args: string): SectionDraft {
  const [name = "", flags, type] = splitCommas(args);
  const id = name.startsWith('"') ? new TextDecoder().decode(parseStringLiteral(name)) : name;
  if (!/^[^\s"(),]+$/.test(id)) throw new Reason(`bad section name "${id}"`);
  if (flags !== undefined && !flags.startsWith('"'))
    throw new Reason("section flags: expected a string");
  const parsed = flags === undefined ? undefined : sectionFlags(flags.slice(1, -1));
  const kind = type === undefined || type === "" ? undefined : /^[@%]?"?(\w+)"?$/.exec(type)?.[1];
  if (kind === "nobits" || kind === "note" || kind === "progbits")
    return p.section(id, parsed, kind);
  if (kind !== undefined && !/^(init|fini|preinit)_array$|^unwind$/.test(kind)) {
    throw new Reason(`unknown section type "${type ?? ""}"`);
  }
  return p.section(id, parsed, kind === undefined ? undefined : "progbits");
}

const set: Directive = (p, args) => {
  const comma = args.indexOf(",");
  if (comma < 0) throw new Reason("expected a name and a value");
  p.assign(nameOf(args.slice(0, comma)), p.parse(args.slice(comma + 1)));
};

const symbolType: Directive = (p, args) => {
  const m = /^(.+?)\s*(?:,\s*|\s+)(?:[@%#]|STT_)?"?(\w+)"?$/.exec(args.trim());
  if (m?.[1] === undefined || m[2] === undefined) throw new Reason("expected a name and a type");
  const s = p.symbol(nameOf(m[1]));
  const kind = m[2].toLowerCase();
  if (kind === "function" || kind === "func") s.type = "func";
  else if (kind === "object") s.type = "object";
  else if (kind === "notype") s.type = "notype";
  else throw new Reason(`unknown symbol type "${m[2]}"`);
  s.declared = true;
};

const size: Directive = (p, args) => {
  const comma = args.indexOf(",");
  if (comma < 0) throw new Reason("expected a name and a size");
  const s = p.symbol(nameOf(args.slice(0, comma)));
  s.size = p.parse(args.slice(comma + 1));
  s.declared = true;
};

const common =
  (local: boolean): Directive =>
  (p, args) => {
    const [name = "", bytes = "", alignment = ""] = splitCommas(args);
    const s = p.symbol(nameOf(name));
    const n = p.needCount(bytes);
    const power = local ? Math.min(16, 2 ** Math.floor(Math.log2(Math.max(n, 1)))) : 1;
    const align = alignment === "" ? power : p.needCount(alignment);
    if (align < 1 || (align & (align - 1)) !== 0)
      throw new Reason(`alignment ${align} is not a power of two`);
    if (s.at !== undefined || s.equ !== undefined)
      throw new Reason(`symbol ${s.name} is already defined`);
    s.type = "object";
    s.size = { k: "num", v: BigInt(n) };
    s.declared = true;
    if (!local && s.bind === undefined) s.bind = "global";
    if (!p.commons.some((c) => c.sym === s)) p.commons.push({ sym: s, size: n, align });
  };

const startproc: Directive = (p, args, stmt) => {
  const open = p.cfi[p.cfi.length - 1];
  if (open !== undefined && open.end === undefined) {
    throw new Reason(".cfi_startproc before the .cfi_endproc of the last one");
  }
  const simple = args.trim() === "simple";
  p.cfi.push({
    section: p.current,
    start: p.marker(),
    end: undefined,
    simple,
    directives: [],
    stmt,
  });
};

/** Any other .cfi_ directive: recorded with its arguments, numbers as numbers. */
export function cfiDirective(p: Program, op: string, args: string): void {
  if (op === "cfi_sections") return;
  const proc = p.cfi[p.cfi.length - 1];
  if (proc === undefined || proc.end !== undefined) {
    throw new Reason(`.${op} without .cfi_startproc`);
  }
  if (op === "cfi_endproc") {
    if (proc.section !== p.current) throw new Reason(".cfi_endproc in another section");
    proc.end = p.marker();
    return;
  }
  if (!CFI_OPS.has(op)) throw new Reason(`unknown directive .${op}`);
  const values = splitCommas(args).map((a): number | string => {
    if (/^%?[A-Za-z_]\w*$/.test(a)) return a.replace(/^%/, "");
    return Number(p.needConstant(a));
  });
  proc.directives.push({ at: p.marker(), op, args: values });
}

const CFI_OPS: ReadonlySet<string> = new Set(
  (
    "def_cfa def_cfa_register def_cfa_offset adjust_cfa_offset offset rel_offset register restore undefined " +
    "same_value remember_state restore_state return_column signal_frame window_save escape val_offset " +
    "personality lsda"
  )
    .split(" ")
    .map((o) => `cfi_${o}`),
);

const ignore: Directive = () => undefined;

const IGNORED =
  "file loc ident line ln version hidden protected internal extern loc_mark_labels att_syntax code64 arch " +
  "addrsig sframe print title sbttl list nolist psize eject";

const popSection: Directive = (p) => {
  const top = p.pushed.pop();
  if (top === undefined) throw new Reason(".popsection without .pushsection");
  p.current = top.current;
  p.previous = top.previous;
};

/** Directives by name without the dot. */
export const DIRECTIVES: ReadonlyMap<string, Directive> = new Map<string, Directive>([
  ...IGNORED.split(" ").map((n): [string, Directive] => [n, ignore]),
  ["text", (p) => p.switchTo(p.section(".text"))],
  ["data", (p) => p.switchTo(p.section(".data"))],
  ["bss", (p) => p.switchTo(p.section(".bss"))],
  ["section", (p, args) => p.switchTo(sectionOf(p, args))],
  [
    "pushsection",
    (p, args) => {
      const to = sectionOf(p, args);
      if (p.pushed.length > 1000) throw new Reason(".pushsection nested too deeply");
      p.pushed.push({ current: p.current, previous: p.previous });
      p.switchTo(to);
    },
  ],
  ["popsection", popSection],
  ["previous", (p) => p.switchTo(p.previous)],
  ["globl", bind("global")],
  ["global", bind("global")],
  ["weak", bind("weak")],
  ["local", bind("local")],
  ["set", set],
  ["equ", set],
  [
    "equiv",
    (p, args, stmt) => {
      const name = nameOf(args.slice(0, Math.max(args.indexOf(","), 0)));
      if (p.isDefined(name)) throw new Reason(`symbol ${name} is already defined`);
      set(p, args, stmt);
    },
  ],
  ["type", symbolType],
  ["size", size],
  ["comm", common(false)],
  ["lcomm", common(true)],
  ["cfi_startproc", startproc],
]);

/** Bytes from the start of the section to a marker, once laid out. */
export function markerOffset(s: Sym): number {
  return s.at === undefined ? 0 : addressOf(s.at);
}

// Compares our object with the one GNU as makes of the same text: bytes, symbols, relocations of
// every section. It says what differs in words; it asserts nothing.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { mkdirSync } from "node:fs";
import type { Obj, Section } from "../../src/asm/index.ts";
import { readElf } from "../../src/link/index.ts";

/** True where GNU as is on PATH. */
export function hasGas(): boolean {
  const r = spawnSync("as", ["--version"], { encoding: "utf8" });
  return r.status === 0 && /GNU assembler/.test(r.stdout);
}

/** Assembles with GNU as; files are what `.include` may name. Throws its messages. */
export function gas(
  text: string,
  files: Readonly<Record<string, string>> = {},
  symbols: Readonly<Record<string, bigint>> = {},
): Obj {
  const dir = mkdtempSync(join(tmpdir(), "quiesce-as-"));
  try {
    for (const [name, body] of Object.entries(files)) {
      mkdirSync(dirname(join(dir, name)), { recursive: true });
      writeFileSync(join(dir, name), body);
    }
    writeFileSync(join(dir, "in.S"), text);
    const defs = Object.entries(symbols).flatMap(([n, v]) => ["--defsym", `${n}=${v}`]);
    const r = spawnSync(
      "as",
      ["--64", ...defs, "-I", dir, "-o", join(dir, "out.o"), join(dir, "in.S")],
      {
        encoding: "utf8",
        cwd: dir,
      },
    );
    if (r.status !== 0) throw new Error(r.stderr);
    return readElf(readFileSync(join(dir, "out.o")), "out.o");
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** What differs, one line each; empty when the objects say the same. */
export function differences(ours: Obj, theirs: Obj): string[] {
  const out: string[] = [];
  const mine = new Map(ours.sections.map((s) => [s.name, s]));
  const skip = (n: string): boolean => n === ".eh_frame" || n.startsWith(".debug");
  for (const t of theirs.sections) {
    if (skip(t.name)) continue;
    const o = mine.get(t.name);
    mine.delete(t.name);
    if (o === undefined) out.push(`section ${t.name} is missing`);
    else out.push(...sectionDifferences(ours, o, theirs, t));
  }
  for (const n of mine.keys()) out.push(`section ${n} is ours alone`);
  const a = new Set(symbolLines(ours));
  const b = new Set(symbolLines(theirs));
  for (const l of b) if (!a.has(l)) out.push(`symbol of as: ${l}`);
  for (const l of a) if (!b.has(l)) out.push(`symbol of ours: ${l}`);
  return out;
}

function sectionDifferences(ours: Obj, o: Section, theirs: Obj, t: Section): string[] {
  const out: string[] = [];
  if (o.size !== t.size) out.push(`${t.name}: size ${o.size}, as ${t.size}`);
  if (o.align !== t.align) out.push(`${t.name}: align ${o.align}, as ${t.align}`);
  if (o.type !== t.type) out.push(`${t.name}: type ${o.type}, as ${t.type}`);
  if (JSON.stringify(o.flags) !== JSON.stringify(t.flags)) {
    out.push(`${t.name}: flags ${JSON.stringify(o.flags)}, as ${JSON.stringify(t.flags)}`);
  }
  const at = o.bytes.findIndex((b, i) => b !== t.bytes[i]);
  if (at >= 0) {
    const from = Math.max(0, at - 4);
    const line = [...ours.lines]
      .reverse()
      .find((l) => ours.sections[l.section] === o && l.offset <= at);
    out.push(
      `${t.name}+0x${at.toString(16)} (line ${line?.line ?? "?"}): ${hex(o.bytes.slice(from, at + 12))}, as ${hex(t.bytes.slice(from, at + 12))}`,
    );
  }
  const a = new Set(relocLines(ours, o));
  const b = new Set(relocLines(theirs, t));
  for (const l of b) if (!a.has(l)) out.push(`${t.name} reloc of as: ${l}`);
  for (const l of a) if (!b.has(l)) out.push(`${t.name} reloc of ours: ${l}`);
  return out;
}

function symbolLines(o: Obj): string[] {
  return o.symbols.map((s) => {
    const where = typeof s.section === "number" ? o.sections[s.section]?.name : s.section;
    return `${s.name} ${where} 0x${s.value.toString(16)} size ${s.size} ${s.type} ${s.bind}`;
  });
}

function relocLines(o: Obj, s: Section): string[] {
  return s.relocs.map(
    (r) => `0x${r.offset.toString(16)} ${r.type} ${o.symbols[r.symbol]?.name} ${r.addend}`,
  );
}

/** Bytes as hexadecimal pairs. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

// An object as text, for golden files: every section's bytes, relocations, and the symbols.
import type { Obj } from "../../src/asm/index.ts";

/** Dumps an object; sections without bytes show their size alone. */
export function dump(o: Obj): string {
  const out: string[] = [];
  for (const s of o.sections) {
    if (s.size === 0 && s.relocs.length === 0) continue;
    const f = `${s.flags.alloc ? "a" : ""}${s.flags.write ? "w" : ""}${s.flags.exec ? "x" : ""}`;
    out.push(`section ${s.name} "${f}" ${s.type} align ${s.align} size ${s.size}`);
    for (let i = 0; i < s.bytes.length; i += 32) {
      const row = Buffer.from(s.bytes.subarray(i, i + 32)).toString("hex");
      if (i > 0 && i + 32 < s.bytes.length && /^(..)\1*$/.test(row)) {
        out.push(`  ${i.toString(16)}: all ${row.slice(0, 2)}`);
      } else out.push(`  ${i.toString(16)}: ${row}`);
    }
    for (const r of s.relocs) {
      out.push(
        `  reloc ${r.offset.toString(16)} ${r.type} ${o.symbols[r.symbol]?.name} ${r.addend}`,
      );
    }
  }
  for (const s of o.symbols) {
    const where = typeof s.section === "number" ? o.sections[s.section]?.name : s.section;
    out.push(`symbol ${s.name} ${where} ${s.value.toString(16)} ${s.size} ${s.type} ${s.bind}`);
  }
  return `${out.join("\n")}\n`;
}

// docs/faults.md as text, and which rows a process on the CPU can confirm: those whose cause user mode can see.
import { RESERVED, SUPER } from "../guest/world.ts";
import type { FaultRow } from "./row.ts";

const NAMES: Readonly<Record<number, string>> = {
  0: "#DE", 1: "#DB", 3: "#BP", 4: "#OF", 6: "#UD", 7: "#NM", 10: "#TS", 11: "#NP", 12: "#SS", 13: "#GP", 14: "#PF", 16: "#MF",
  17: "#AC", 19: "#XM",
}; // prettier-ignore

/** Who has confirmed a row. */
export function confirmedBy(row: FaultRow): "CPU" | "SDM" {
  const unseen = row.cr2 !== undefined && row.cr2 >= SUPER && row.cr2 < RESERVED + 0x3000n;
  const system =
    row.patches.some((p) => p.pa < 0x20000) || row.dr6 !== undefined || /control/.test(row.why);
  return row.ring === 0 || unseen || system || /CR[04]|present/.test(row.why) ? "SDM" : "CPU";
}

function hex(v: bigint | undefined): string {
  return v === undefined ? "" : `\`${v.toString(16)}\``;
}

export function faultsMarkdown(rows: readonly FaultRow[]): string {
  const lines = rows.map((r) => {
    const insn = r.insn.replaceAll("\n", "; ");
    const after = r.repair.length > 0 || r.mend ? "yes" : "";
    return `| \`${insn}\` | ${r.ring} | ${r.why} | ${NAMES[r.vector] ?? r.vector} | ${hex(r.code)} | ${hex(r.cr2)} | ${after} | ${confirmedBy(r)} |`;
  });
  return `${HEAD}${lines.join("\n")}\n`;
}

const HEAD = `# The table of faults

Made from test/machine/faults/fault-table.ts. For each row the tests show that the trap has this vector, error code and CR2, that the state
is that of before the instruction (but for the iterations that a REP has done, and for traps, which come after it), and, where
the last but one column says so, that the instruction does from there what it would have done, once the cause is taken
away. Numbers are hexadecimal. The last column says who else answers so: a CPU in user mode, compared in every run of the
tests that has gcc, or the manual alone.

| instruction | ring | cause | trap | code | CR2 | restarted | confirmed by |
| ----------- | ---- | ----- | ---- | ---- | --- | --------- | ------------ |
`;

// The table of faults: each row on the emulator, then with its cause taken away, and on this machine's CPU where there is
// one that can tell. docs/faults.md is the table as text, with who has confirmed which row.
import { afterAll, describe, expect, test } from "vitest";
import { makeAssembler } from "../../../src/asm/index.ts";
import { openUser, type CpuResult } from "../guest/cpu.ts";
import { EmulatedGuest } from "../guest/emulated.ts";
import type { GuestCase, Outcome } from "../guest/guest.ts";
import { NAMES, W, type State } from "../guest/words.ts";
import { CODE, paOf, startState } from "../guest/world.ts";
import { ENCODED, FAULTS } from "./fault-table.ts";
import { words, type FaultRow } from "./row.ts";
import { confirmedBy, faultsMarkdown } from "./document.ts";

const RF = 0x1_0000n;
const assembler = await makeAssembler();
const guest = new EmulatedGuest();

function bytesOf(row: FaultRow): Uint8Array {
  const hex = ENCODED[row.insn];
  if (hex !== undefined) return Uint8Array.from(hex.split(" "), (b) => parseInt(b, 16));
  const source = { name: "fault.S", text: `.text\n${row.insn}\n` };
  const obj = assembler.assemble(source, { include: () => undefined });
  return obj.sections.find((s) => s.name === ".text")?.bytes ?? new Uint8Array();
}

/** The instruction's bytes, and behind them what halts, or is an int3 for user mode. */
function codeOf(row: FaultRow): Uint8Array {
  const out = new Uint8Array(24).fill(row.ring === 0 ? 0xf4 : 0xcc);
  out.set(bytesOf(row));
  return out;
}

function caseOf(row: FaultRow): GuestCase {
  const start = startState(row.ring);
  for (let i = 0; i < 16; i++) if (i !== W.rsp) start[i] = BigInt(i) * 0x1111n;
  if (row.ring === 3) start[W.rflags] = 0x202n; // as an operating system's user mode has it
  row.set(start);
  const patches = [{ pa: paOf(CODE), bytes: codeOf(row) }, ...row.patches];
  return { start, patches, system: true, tables: true };
}

/** Words by name that differ, apart from RF. */
function differences(a: State, b: State, except: readonly string[]): string[] {
  return NAMES.flatMap((n, i) => {
    const x = (a[i] ?? 0n) & (i === W.rflags ? ~RF : ~0n);
    const y = (b[i] ?? 0n) & (i === W.rflags ? ~RF : ~0n);
    return x === y || except.includes(n) ? [] : [`${n}: ${x.toString(16)}, ${y.toString(16)}`];
  });
}

function whereOf(row: FaultRow): bigint {
  return row.at === "insn" ? CODE : row.at === "next" ? CODE + BigInt(bytesOf(row).length) : row.at;
}

function check(row: FaultRow, o: Outcome, before: State): void {
  expect(o.trap?.vector).toBe(row.vector);
  expect(o.trap?.code).toBe(row.code);
  expect(o.state[W.rip]).toBe(whereOf(row));
  if (row.cr2 !== undefined) expect(o.state[W.cr2]).toBe(row.cr2);
  if (row.dr6 !== undefined) expect((o.state[W.dr6] ?? 0n) & 0xe00fn).toBe(row.dr6);
  const open = ["rip", "cr2", ...(row.vector === 1 ? ["dr6", "dr7"] : []), ...Object.keys(row.progress)];
  expect(differences(before, o.state, open)).toEqual([]);
  for (const [n, v] of Object.entries(row.progress)) {
    const mask = n === "rflags" ? ~(RF | 0x200n) : n === "rax" ? 0xffn : ~0n;
    expect(`${n} ${((o.state[NAMES.indexOf(n)] ?? 0n) & mask).toString(16)}`).toBe(`${n} ${v.toString(16)}`);
  }
  if (!("rcx" in row.progress) && row.at !== "next") expect(o.changes).toEqual([]);
} // prettier-ignore

describe("the table of faults", () => {
  const cpu: CpuResult = openUser();
  afterAll(() => {
    if (cpu.ok) cpu.cpu.close();
  });

  test.each(FAULTS)("$insn in ring $ring, $why: the state of before, and #$vector", (row) => {
    const c = caseOf(row);
    check(row, guest.run(c), c.start);
  });

  const restartable = FAULTS.filter((r) => r.repair.length > 0 || r.mend !== undefined);
  test.each(restartable)("$insn in ring $ring, $why: with that repaired it goes through", (row) => {
    const c = caseOf(row);
    const faulted = guest.run(c);
    const state = faulted.state.slice();
    const straight = c.start.slice();
    row.mend?.(state);
    row.mend?.(straight);
    const done = faulted.changes.map(([pa, v]) => words(pa, v));
    const again = guest.run({ ...c, start: state, patches: [...c.patches, ...done, ...row.repair] });
    const never = guest.run({ ...c, start: straight, patches: [...c.patches, ...row.repair] });
    expect(differences(again.state, never.state, ["cr2", "dr6"])).toEqual([]);
    expect(again.trap?.vector).toBe(never.trap?.vector);
    expect([again.trap?.vector, again.state[W.rip]]).not.toEqual([row.vector, faulted.state[W.rip]]);
    const memory = new Map([...faulted.changes, ...again.changes]);
    for (const [pa, v] of never.changes) memory.set(pa, (memory.get(pa) ?? 0n) ^ v);
    expect([...memory].filter(([, v]) => v !== 0n)).toEqual([]);
  }); // prettier-ignore

  const name = cpu.ok ? "" : ` (skipped: ${cpu.reason})`;
  const own = FAULTS.filter((r) => confirmedBy(r) === "CPU");
  test.skipIf(!cpu.ok)(`this machine's CPU raises the same for ${own.length} rows${name}`, () => {
    if (!cpu.ok) return;
    const cases = own.map(caseOf);
    const seen = cpu.cpu.run(cases);
    const wrong = own.flatMap((row, i) => {
      const c = cases[i];
      const o = seen[i];
      try {
        if (c && o) check(row, o, c.start);
        return [];
      } catch (e) {
        return [`${row.insn}, ${row.why}: ${e instanceof Error ? e.message : "?"}`];
      }
    });
    expect(wrong).toEqual([]);
  });

  test("docs/faults.md is the table", async () => {
    await expect(faultsMarkdown(FAULTS)).toMatchFileSnapshot("../../../docs/faults.md");
  });
});

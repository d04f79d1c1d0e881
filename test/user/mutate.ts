// Damaged ELF files: mutations of whole ones, from a seed. Whatever they are, exec must end with a refusal of one line, or
// run them within a budget; it must not fail itself.
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { ProgramError, readProgram, symbolsOf, UserProcess } from "../../src/user/index.ts";
import { CORE, PROGRAMS, storedProgram } from "./cases.ts";

export interface Tally {
  refused: number;
  ran: number;
  readonly wrong: string[];
}

const SPECIAL = [
  0n,
  1n,
  0xfffn,
  0x1000n,
  0x400000n,
  0x7fffffffn,
  0x7fff_ffff_f000n,
  1n << 47n,
  1n << 63n,
  (1n << 64n) - 1n,
];

/** Runs mutations [from, from + count) of all programs. */
export function runMutations(seed: number, from: number, count: number): Tally {
  const tally: Tally = { refused: 0, ran: 0, wrong: [] };
  const files = PROGRAMS.map(storedProgram);
  for (let i = from; i < from + count; i++) {
    const file = mutated(files[i % files.length] ?? new Uint8Array(0), seed * 1_000_003 + i);
    try {
      one(file, i % 16 === 0);
      tally.ran++;
    } catch (e) {
      const line = e instanceof Error ? e.message : String(e);
      if (e instanceof ProgramError && /^[^\n]+, expected [^\n]+$/.test(line)) tally.refused++;
      else tally.wrong.push(`seed ${seed} mutation ${i}: ${line}`);
    }
  }
  return tally;
}

function one(file: Uint8Array, always: boolean): void {
  const program = readProgram(file, "mutant");
  symbolsOf(program);
  // A machine takes milliseconds to make: of the files that are accepted some are run.
  if (!always && file.reduce((s, b) => (s + b) | 0, 0) % 4 !== 0) return;
  const p = new UserProcess({
    core: CORE,
    ramBytes: 16 << 20,
    program,
    argv: ["mutant", "0"],
    env: [],
    exe: "/mutant",
    seed: 1,
    io: { write: (_, b) => b.length, read: () => new Uint8Array(0) },
  });
  p.run(20_000);
}

function mutated(whole: Uint8Array, seed: number): Uint8Array {
  const rng = xoroshiro128plus(seed);
  const upTo = (n: number): number => uniformInt(rng, 0, n - 1);
  let file = whole.slice();
  const view = new DataView(file.buffer);
  for (let n = 1 + upTo(3); n > 0; n--) {
    const header = 64 + 56 * 3;
    // Most of the damage goes where it is looked at.
    const at = upTo(10) < 8 ? upTo(header) : upTo(file.length);
    const kind = upTo(5);
    if (kind === 0) file[at] = upTo(256);
    else if (kind === 1) file[at] = (file[at] ?? 0) ^ (1 << upTo(8));
    else if (kind === 2) file.fill(upTo(256), at, at + upTo(64));
    else if (at + 8 <= file.length) {
      const word = SPECIAL[upTo(SPECIAL.length)] ?? 0n;
      view.setBigUint64(kind === 3 ? at & ~7 : at, word, true);
    }
  }
  if (upTo(10) === 0) file = file.slice(0, upTo(file.length));
  return file;
}

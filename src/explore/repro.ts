// A repro: one small text file from which a violation happens again at the same instruction. What it was made for is
// named by hashes, the schedule is spelled out slice by slice, and the file is readable. Format: docs/repro.md.
import type { Schedule, Slice } from "../machine/index.ts";
import { CHECKS, type CheckName, type Violation } from "../check/index.ts";

/** The form of the file. */
export const REPRO_VERSION = 1;

export interface Repro {
  readonly scenario: string;
  /** Slots for tasks that the scenario was built with. */
  readonly tasks: number;
  /** Hashes of kernel and patch. */
  readonly image: string;
  readonly patch: string;
  readonly mechanism: string;
  /** Whose rows the mechanism walked by. */
  readonly unwinder: string;
  readonly vcpus: number;
  readonly at: number;
  readonly schedule: Schedule;
  readonly check: CheckName;
  /** Where the violation is, from the ready mark. */
  readonly insn: number;
}

export type ReproText =
  | { readonly ok: true; readonly repro: Repro }
  | { readonly ok: false; readonly line: number; readonly reason: string };

const WIDTH = 96;

/** "0:57" is a slice of 57 units on vCPU 0; "0:57*3" three of them. */
function sliceWords(slices: readonly Slice[]): readonly string[] {
  const out: string[] = [];
  for (let i = 0; i < slices.length;) {
    const s = slices[i];
    if (s === undefined) break;
    let n = 1;
    while (slices[i + n]?.vcpu === s.vcpu && slices[i + n]?.units === s.units) n++;
    out.push(`${s.vcpu}:${s.units}${n > 1 ? `*${n}` : ""}`);
    i += n;
  }
  return out;
}

function lines(word: string, words: readonly string[]): readonly string[] {
  const out: string[] = [];
  for (const w of words) {
    const last = out.at(-1);
    if (last !== undefined && last.length + w.length < WIDTH) {
      out[out.length - 1] = `${last} ${w}`;
    } else out.push(`${word} ${w}`);
  }
  return out;
}

export function formatRepro(r: Repro): string {
  return [
    `quiesce-repro ${REPRO_VERSION}`,
    `scenario ${r.scenario}`,
    `tasks ${r.tasks}`,
    `image ${r.image}`,
    `patch ${r.patch}`,
    `mechanism ${r.mechanism}`,
    `unwinder ${r.unwinder}`,
    `vcpus ${r.vcpus}`,
    `at ${r.at}`,
    `check ${r.check}`,
    `insn ${r.insn}`,
    `seed ${r.schedule.seed}`,
    `tail ${r.schedule.min} ${r.schedule.max}`,
    ...lines("slices", sliceWords(r.schedule.slices)),
    "",
  ].join("\n");
}

const NUMBERS = ["tasks", "vcpus", "at", "insn", "seed"] as const;
const WORDS = ["scenario", "image", "patch", "mechanism", "unwinder"] as const;

function isCheck(word: string): word is CheckName {
  return CHECKS.some((c) => c === word);
}

function parseSlice(word: string): readonly Slice[] | undefined {
  const m = /^([0-9]{1,3}):([0-9]{1,9})(?:\*([0-9]{1,6}))?$/.exec(word);
  if (m === null) return undefined;
  const slice = { vcpu: Number(m[1]), units: Number(m[2]) };
  return slice.units > 0 ? Array.from({ length: Number(m[3] ?? 1) }, () => slice) : undefined;
}

/** Reads a repro file; what is wrong with it is a value. */
export function parseRepro(text: string): ReproText {
  const words: Partial<Record<string, string>> = {};
  const slices: Slice[] = [];
  const bad = (line: number, reason: string): ReproText => ({ ok: false, line, reason });
  const all = text.split(/\r?\n/);
  if (all[0]?.trim() !== `quiesce-repro ${REPRO_VERSION}`) {
    return bad(1, `'${(all[0] ?? "").slice(0, 40)}', expected 'quiesce-repro ${REPRO_VERSION}'`);
  }
  for (const [i, raw] of all.entries()) {
    const line = raw.trim();
    if (i === 0 || line === "" || line.startsWith("#")) continue;
    const space = line.indexOf(" ");
    const key = space < 0 ? line : line.slice(0, space);
    const value = space < 0 ? "" : line.slice(space + 1).trim();
    if (key === "slices") {
      for (const word of value.split(/\s+/)) {
        const some = parseSlice(word);
        if (some === undefined) return bad(i + 1, `slice '${word}', expected VCPU:UNITS[*TIMES]`);
        slices.push(...some);
      }
    } else if (![...NUMBERS, ...WORDS, "check", "tail"].some((k) => k === key)) {
      return bad(i + 1, `'${key}' is no word of a repro`);
    } else if (words[key] !== undefined) return bad(i + 1, `${key} is given twice`);
    else words[key] = value;
  }
  const end = all.length;
  const numbers: Record<(typeof NUMBERS)[number], number> = {
    tasks: 0,
    vcpus: 0,
    at: 0,
    insn: 0,
    seed: 0,
  };
  for (const key of NUMBERS) {
    const n = /^-?[0-9]+$/.test(words[key] ?? "") ? Number(words[key]) : NaN;
    if (!Number.isSafeInteger(n))
      return bad(end, `${key} '${words[key] ?? ""}', expected a number`);
    numbers[key] = n;
  }
  const { scenario, image, patch, mechanism, unwinder, check = "", tail = "" } = words;
  if (!scenario || !image || !patch || !mechanism || !unwinder) {
    const missing = WORDS.find((w) => !words[w]);
    return bad(end, `${missing ?? "a word"} is missing`);
  }
  if (!isCheck(check)) return bad(end, `check '${check}', expected one of ${CHECKS.join(", ")}`);
  const ends = /^([0-9]+) ([0-9]+)$/.exec(tail);
  const [min, max] = [Number(ends?.[1]), Number(ends?.[2])];
  if (ends === null || min < 1 || max < min) return bad(end, `tail '${tail}', expected MIN MAX`);
  const { tasks, vcpus, at, insn, seed } = numbers;
  const schedule = { seed, min, max, slices };
  return {
    ok: true,
    repro: { scenario, tasks, image, patch, mechanism, unwinder, vcpus, at, schedule, check, insn },
  };
}

/** The first violation of a check. */
export function firstOf(violations: readonly Violation[], check: CheckName): Violation | undefined {
  return violations.find((v) => v.check === check);
}

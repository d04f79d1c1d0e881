// Records the vectors of forms that have none, or whose inputs are not the recorded ones any more. The core is not asked:
// what it thinks of the new lines, the test says.
import type { RealCpu } from "../guest/cpu.ts";
import { casesOf, guestCasesOf } from "./cases.ts";
import { FORMS, fileOf, needsGuest, type VectorForm } from "./forms.ts";
import { derive } from "./manual.ts";
import { masked } from "./mask.ts";
import { readVectors, writeVectors, type Block } from "./store.ts";
import { inputSum, lineOf } from "./text.ts";
import type { VectorCase } from "./user-cases.ts";

export interface Recorder {
  readonly cpu: RealCpu;
  /** CPU, way of recording, date. */
  readonly name: string;
}

export interface Recording {
  readonly file: string;
  readonly recorded: number;
  readonly kept: number;
  readonly bytes: number;
}

export interface RecordOptions {
  /** Records what this is true of even where vectors are there. */
  readonly anew: (form: VectorForm) => boolean;
  readonly user: Recorder;
  /** A guest with hardware behind it; without one the manual's Operation sections answer. */
  readonly guest: Recorder | undefined;
  /** What the head says of lines by the manual. */
  readonly manual: string;
}

interface Wanted {
  readonly form: VectorForm;
  readonly cases: readonly VectorCase[];
  readonly sum: string;
}

function record(recorder: Recorder, index: number, wanted: readonly Wanted[]): Block[] {
  const outcomes = recorder.cpu.run(wanted.flatMap((w) => w.cases));
  let at = 0;
  return wanted.map(({ form, cases, sum }) => ({
    key: form.key,
    sum,
    recorder: index,
    lines: cases.map((c) => {
      const o = outcomes[at++];
      if (!o) throw new Error("record: an outcome is missing");
      return lineOf(c, masked(form, c, o));
    }),
  }));
}

/** Lines by the manual, for forms that only a guest could answer. */
function fromManual(index: number, wanted: readonly Wanted[]): Block[] {
  return wanted.map(({ form, sum }) => ({
    key: form.key,
    sum,
    recorder: index,
    lines: guestCasesOf(form).map((c) => `sdm: ${lineOf(c, masked(form, c, derive(form, c)))}`),
  }));
}

/** The forms of each file, in the order of the table. */
export function formsByFile(): [string, VectorForm[]][] {
  const files = new Map<string, VectorForm[]>();
  for (const form of FORMS) {
    const list = files.get(fileOf(form));
    if (list) list.push(form);
    else files.set(fileOf(form), [form]);
  }
  return [...files];
}

/** Brings every file up to date. */
export function recordMissing(options: RecordOptions): Recording[] {
  return formsByFile().map(([file, forms]) => {
    const old = readVectors(file);
    const recorders = [...old.recorders];
    const kept = new Map<string, Block>();
    const wanted: Wanted[] = [];
    for (const form of forms) {
      const cases = casesOf(form);
      const sum = inputSum(cases);
      const block = old.blocks.get(form.key);
      if (block?.sum === sum && !options.anew(form)) kept.set(form.key, block);
      else wanted.push({ form, cases, sum });
    }
    const fresh: Block[] = [];
    const own = wanted.filter((w) => !needsGuest(w.form));
    const others = wanted.filter((w) => needsGuest(w.form));
    if (own.length) fresh.push(...record(options.user, recorders.push(options.user.name) - 1, own));
    if (others.length && options.guest) {
      fresh.push(...record(options.guest, recorders.push(options.guest.name) - 1, others));
    } else if (others.length) {
      fresh.push(...fromManual(recorders.push(options.manual) - 1, others));
    }
    const byKey = new Map([...kept, ...fresh.map((b): [string, Block] => [b.key, b])]);
    const blocks = forms.flatMap((f) => byKey.get(f.key) ?? []);
    const stale = old.blocks.size - kept.size;
    if (!fresh.length && stale === 0) {
      return { file, recorded: 0, kept: kept.size, bytes: 0 };
    }
    const bytes = writeVectors(file, recorders, blocks);
    return { file, recorded: fresh.length, kept: kept.size, bytes };
  });
}

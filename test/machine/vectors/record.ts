// Records the vectors of forms that have none, or whose inputs are not the recorded ones any more. The core is not asked:
// what it thinks of the new lines, the test says.
import type { RealCpu } from "../guest/cpu.ts";
import { casesOf } from "./cases.ts";
import { FORMS, fileOf, needsGuest, type VectorForm } from "./forms.ts";
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
  readonly guest: Recorder | undefined;
  readonly log: (line: string) => void;
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

/** Brings every file up to date. Forms that only a guest can answer are left out where there is none. */
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
    const take = (r: Recorder | undefined, part: readonly Wanted[]): void => {
      if (!part.length) return;
      if (!r) options.log(`${file}: ${part.length} forms need a guest, and there is none`);
      else fresh.push(...record(r, recorders.push(r.name) - 1, part));
    };
    take(
      options.user,
      wanted.filter((w) => !needsGuest(w.form)),
    );
    take(
      options.guest,
      wanted.filter((w) => needsGuest(w.form)),
    );
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

// How a struct of the toy kernel is laid out: C's rule for offsets, computed once from a table of fields. The tables are in
// layout.ts and klp-layout.ts; nothing here knows what they hold.

/** One field: its name and its size in bytes; a trailing number aligns it (default: its size, at most 8). */
type FieldRow = readonly [name: string, size: number, align?: number];

/** A field with its computed offset from the start of the struct. */
export interface Field {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

/** A struct with computed offsets; `prefix` begins its assembly symbols (`TASK_threadsp`). */
export interface Struct<F extends string> {
  readonly name: string;
  readonly prefix: string;
  readonly size: number;
  readonly fields: Readonly<Record<F, Field>>;
}

function alignUp(n: number, align: number): number {
  return Math.ceil(n / align) * align;
}

function isComplete<F extends string>(
  fields: Partial<Record<string, Field>>,
  names: readonly F[],
): fields is Record<F, Field> {
  return names.every((name) => fields[name] !== undefined);
}

/** Lays a struct out: each field at the next multiple of its alignment, the size a multiple of `align`. */
export function makeStruct<const R extends readonly FieldRow[]>(
  name: string,
  prefix: string,
  rows: R,
  align = 8,
): Struct<R[number][0]> {
  const fields: Partial<Record<string, Field>> = {};
  let offset = 0;
  for (const [field, size, fieldAlign] of rows) {
    offset = alignUp(offset, fieldAlign ?? Math.min(size, 8));
    fields[field] = { name: field, offset, size };
    offset += size;
  }
  const names: readonly R[number][0][] = rows.map(([field]) => field);
  if (!isComplete(fields, names)) throw new Error(`struct ${name}: a field has no offset`);
  return { name, prefix, size: alignUp(offset, align), fields };
}

// The forms that vectors are recorded for: each row of the instruction table in each operand size and each shape of its
// r/m operand that it stands for, in user mode, and once more in ring 0 where ring 0 does something else.
import { ROWS, type Row } from "../native/rows.ts";

export type Size = 8 | 16 | 32 | 64;
export type Kind = "reg" | "mem" | "-";

export interface VectorForm {
  readonly row: Row;
  /** "opcode | syntax | size kind ring": what names it in files and messages. */
  readonly key: string;
  readonly size: Size;
  readonly kind: Kind;
  readonly ring: 0 | 3;
}

/** Operations that ring 0 does otherwise than ring 3, besides those that only ring 0 may do. */
const RING0 =
  /^(movToSeg|popFlags|iret|int|syscall|cli|sti|acFlag|portIn|portOut|storeTable|storeSelector|rdtsc|retFar|mov(From|To)[CD]r|callFar|jmpFar)/;

function sizesOf(row: Row): readonly Size[] {
  const wide = row.operands.some((o) => /^[EGZMROIPQ]v$|^r?eAX$|^rAX$/.test(o)) || /:v/.test(row.form.does);
  const either = row.operands.some((o) => /^[EGM]y$/.test(o)) || /:y/.test(row.form.does);
  if (row.attrs.has("f64") || row.attrs.has("rexw")) return [64];
  if (row.attrs.has("d64")) return [16, 64];
  if (wide) return row.encoding.prefix === "66" ? [16, 64] : [16, 32, 64];
  if (either) return [32, 64];
  return [32];
} // prettier-ignore

function kindsOf(row: Row): readonly Kind[] {
  if (!row.encoding.modrm || row.encoding.fixed !== undefined) return ["-"];
  if (row.operands.some((o) => o[0] === "M")) return ["mem"];
  if (row.operands.some((o) => /^([RUN]|STi)/.test(o))) return ["reg"];
  return row.operands.some((o) => /^[EWQ]/.test(o)) ? ["reg", "mem"] : ["reg"];
}

function formsOf(row: Row): VectorForm[] {
  const rings: readonly (0 | 3)[] =
    row.attrs.has("priv") || RING0.test(row.form.does) ? [3, 0] : [3];
  return rings.flatMap((ring) =>
    sizesOf(row).flatMap((size) =>
      kindsOf(row).map((kind) => ({
        row,
        key: `${row.form.opcode} | ${row.form.syntax} | ${size} ${kind} ring ${ring}`,
        size,
        kind,
        ring,
      })),
    ),
  );
}

/** What user mode under an operating system or a hypervisor does not show, or not as this guest has it, or not on every CPU. */
const GUEST_ONLY = /^(sgdt|sidt|sldt|str|smsw|syscall|vmcall|int1|rdpid|serialize)$/;

export function needsGuest(form: VectorForm): boolean {
  return form.ring === 0 || GUEST_ONLY.test(form.row.mnemonic);
}

/** Forms that are not recorded, because vendors differ in the whole of what they do: pattern of the name, and why. */
export const VENDORS_DIFFER: readonly (readonly [RegExp, string])[] = [
  [/^0f 0d \/r \| prefetch Eb \| 32 reg/, "nothing on Intel, #UD on AMD"],
  [
    /^0f b[245] \/r \| l[sfg]s Gv, M \| 64/,
    "a far pointer of 64 bits on Intel; AMD takes REX.W for nothing",
  ],
  [/^ff \/[35] \| (call|jmp) Mp \| 64/, "as those"],
  [/vmcall.* ring 0$/, "a hypervisor's own; here it goes to the host, and vmcall of ring 3 is #UD"],
];

/** Every form that has vectors. */
export const FORMS: readonly VectorForm[] = ROWS.flatMap(formsOf).filter(
  (f) => !VENDORS_DIFFER.some(([re]) => re.test(f.key)),
);

/** Vectors of each form. */
export const PER_FORM = 64;

/** The file that a form's vectors lie in: by the part of the opcode map, so that recording one leaves the others alone. */
export function fileOf(form: VectorForm): string {
  const e = form.row.encoding;
  if (needsGuest(form)) return "guest";
  if (e.map === 0) return e.opcode >= 0xd8 && e.opcode <= 0xdf ? "x87" : "one-byte";
  if (e.map === 1) return e.prefix === "any" || e.prefix === "np" ? "0f" : `0f-${e.prefix}`;
  return e.map === 2 ? "0f38" : "0f3a";
}

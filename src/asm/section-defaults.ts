// Flags and types of the sections that GNU as knows by name (bfd/elf.c special_sections), for a `.section` without
// flags.
import type { SectionDraft } from "./layout.ts";

interface Defaults {
  readonly type: SectionDraft["type"];
  readonly flags: SectionDraft["flags"];
}

const AX = { alloc: true, write: false, exec: true, merge: false };
const AW = { alloc: true, write: true, exec: false, merge: false };
const A = { alloc: true, write: false, exec: false, merge: false };
const NONE = { alloc: false, write: false, exec: false, merge: false };

const TABLE: readonly (readonly [RegExp, Defaults])[] = [
  [/^\.text(\.|$)/, { type: "progbits", flags: AX }],
  [/^\.(init|fini)$/, { type: "progbits", flags: AX }],
  [/^\.data(1$|\.|$)/, { type: "progbits", flags: AW }],
  [/^\.bss(\.|$)/, { type: "nobits", flags: AW }],
  [/^\.rodata(1$|\.|$)/, { type: "progbits", flags: A }],
  [/^\.(init|fini|preinit)_array(\.|$)/, { type: "progbits", flags: AW }],
  [/^\.note\.GNU-stack$/, { type: "progbits", flags: NONE }],
  [/^\.note/, { type: "note", flags: NONE }],
];

/** The defaults for a section name; a name without any gets no flags, as in gas. */
export function sectionDefaults(name: string): Defaults {
  return TABLE.find(([re]) => re.test(name))?.[1] ?? { type: "progbits", flags: NONE };
}

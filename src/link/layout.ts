// What the caller tells the linker: regions of memory in order, and which sections go where. It is the
// place of a linker script; there is no expression language.
import type { SegmentFlags } from "./image.ts";

/**
 * One stretch of memory, loaded with one set of rights.
 *
 * pa        physical address; "next" follows the region before it, with the same distance to va
 * va        virtual address; "next" follows the region before it
 * sections  patterns (`*` stands for anything) of input sections, in the order they are laid out
 * align     of the region's start, in bytes, a power of two
 * start     a symbol to define at its first byte; end: one at its last byte + 1
 */
export interface Region {
  readonly name: string;
  readonly va: bigint | "next";
  readonly pa: bigint | "next";
  readonly sections: readonly string[];
  readonly align: number;
  readonly flags: SegmentFlags;
  readonly start?: string;
  readonly end?: string;
}

/** Where everything goes. entry: the symbol to start at. */
export interface Layout {
  readonly name: string;
  readonly entry: string;
  readonly regions: readonly Region[];
}

/** True if a section's name matches a pattern. */
export function matches(pattern: string, name: string): boolean {
  if (!pattern.includes("*")) return pattern === name;
  const parts = pattern.split("*").map((p) => p.replace(/[.$^|()[\]{}+?\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`).test(name);
}

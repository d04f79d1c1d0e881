// The linker's door: objects in, image out, and the questions asked of an image.
export { ElfError, readElf } from "./elf.ts";
export { countSymbols, findSymbol, formatAddress, symbolAt } from "./image.ts";
export type { Image, ImageSection, ImageSymbol, Segment, SegmentFlags } from "./image.ts";
export type { Layout, Region } from "./layout.ts";
export { link, linkModule } from "./link.ts";
export { LinkError } from "./relocate.ts";
export type { Obj } from "../asm/index.ts";

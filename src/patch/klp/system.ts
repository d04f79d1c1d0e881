// What livepatch's parts share: the kernel that they work on, and the prefix of everything that they say.
import type { Read } from "../../kernel/index.ts";
import type { Image } from "../../link/index.ts";
import type { UnwinderName } from "../../unwind/index.ts";

/** pr_fmt() of kernel/livepatch. */
export const KLP = "livepatch: ";

/** A loaded module: its struct module, its name, and what was linked for where it lies. */
export interface LoadedModule {
  readonly va: bigint;
  readonly name: string;
  readonly image: Image;
}

/** Plain values, given to each attempt anew. */
export interface KlpSystem {
  readonly image: Image;
  /** Ticks per virtual second. */
  readonly hz: number;
  readonly unwinder: UnwinderName;
  /** The loaded modules, read from the guest. */
  modules(read: Read): readonly LoadedModule[];
}

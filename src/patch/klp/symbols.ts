// Finding functions by name in the kernel or in a module, by position where a name occurs more than once.
// kernel/livepatch/core.c: klp_find_object_symbol(), klp_init_object_loaded().
import { CONSTANTS, ERRNO, KLP_FUNC, log, writeField, type Program } from "../../kernel/index.ts";
import type { Image } from "../../link/index.ts";
import { KLP, type KlpSystem } from "./system.ts";
import { see, type KlpFunc, type KlpObject } from "./view.ts";

/** kallsyms of one object: the functions and data of that name, in address order. */
function named(image: Image, name: string): readonly bigint[] {
  return image.symbols
    .filter((s) => s.name === name)
    .map((s) => s.va)
    .toSorted((a, b) => (a < b ? -1 : 1));
}

/** kallsyms_lookup_size_offset(): the size of the symbol at va, undefined when none is there. */
function sizeAt(images: readonly Image[], va: bigint): bigint | undefined {
  for (const image of images) {
    const s = image.symbols.find((x) => x.type === "func" && va >= x.va && va < x.va + x.size);
    if (s) return s.size;
  }
  return undefined;
}

/** klp_find_object_symbol(). Answers the address, or what is wrong in the kernel's words. */
export function findObjectSymbol(
  image: Image,
  object: string | undefined,
  name: string,
  sympos: number,
): { readonly va: bigint } | { readonly error: string } {
  const found = named(image, name);
  const only = found[0];
  const nth = found[sympos - 1];
  if (only === undefined) return { error: `symbol '${name}' not found in symbol table` };
  if (sympos === 0) {
    if (found.length === 1) return { va: only };
    // The kernel prints a NULL pointer here when the object is vmlinux.
    return {
      error: `unresolvable ambiguity for symbol '${name}' in object '${object ?? "(null)"}'`,
    };
  }
  if (nth !== undefined) return { va: nth };
  const where = object ?? "vmlinux";
  return { error: `symbol position ${sympos} for symbol '${name}' in object '${where}' not found` };
}

/** klp_init_object_loaded(): addresses and sizes of every function of an object that is there. */
export function* initObjectLoaded(k: KlpSystem, object: KlpObject): Program<number> {
  const modules = yield* see((g) => k.modules(g.read));
  const home =
    object.name === undefined ? k.image : modules.find((m) => m.va === object.mod)?.image;
  if (home === undefined) return -CONSTANTS.EINVAL;
  const images = [k.image, ...modules.map((m) => m.image)];
  for (const func of object.funcs) {
    const found = findObjectSymbol(home, object.name, func.oldName, func.oldSympos);
    if ("error" in found) {
      yield* log(`${KLP}${found.error}`);
      return -CONSTANTS.EINVAL;
    }
    const error = yield* initFuncLoaded(images, func, found.va);
    if (error !== 0) return error;
  }
  return 0;
}

function* initFuncLoaded(
  images: readonly Image[],
  func: KlpFunc,
  oldFunc: bigint,
): Program<number> {
  yield* writeField(KLP_FUNC, func.va, "old_func", oldFunc);
  const oldSize = sizeAt(images, oldFunc);
  if (oldSize === undefined) {
    yield* log(`${KLP}kallsyms size lookup failed for '${func.oldName}'`);
    return -ERRNO.ENOENT;
  }
  yield* writeField(KLP_FUNC, func.va, "old_size", oldSize);
  const newFunc = func.nop ? oldFunc : func.newFunc;
  if (func.nop) yield* writeField(KLP_FUNC, func.va, "new_func", newFunc);
  const newSize = sizeAt(images, newFunc);
  if (newSize === undefined) {
    yield* log(`${KLP}kallsyms size lookup failed for '${func.oldName}' replacement`);
    return -ERRNO.ENOENT;
  }
  yield* writeField(KLP_FUNC, func.va, "new_size", newSize);
  return 0;
}

// Atomic replace: nops for what the new patch no longer changes, and what becomes of the patches below it; freeing.
// kernel/livepatch/core.c: klp_add_nops() to klp_free_patch_finish().
import {
  call,
  ERRNO,
  fieldVa,
  KLP_FUNC,
  KLP_OBJECT,
  KLP_PATCH,
  readUint,
  write,
  writeField,
  type Program,
} from "../../kernel/index.ts";
import { readPatches, see, type KlpFunc, type KlpObject, type KlpPatch } from "./view.ts";
import { initListHead, listAddTail, listDel } from "../lists.ts";
import { unpatchObjects } from "./objects.ts";
import type { KlpSystem } from "./system.ts";

/** kstrdup(). Answers 0 when there is no memory. */
function* copyString(text: string): Program<bigint> {
  const bytes = new TextEncoder().encode(`${text}\0`);
  const va = yield* call("kzalloc", BigInt(bytes.length));
  if (va !== 0n) yield* write(va, bytes);
  return va;
}

/** klp_alloc_object_dynamic(). */
function* allocObject(patch: KlpPatch, name: string | undefined): Program<bigint> {
  const va = yield* call("kzalloc", BigInt(KLP_OBJECT.size));
  if (va === 0n) return 0n;
  if (name !== undefined) yield* writeField(KLP_OBJECT, va, "name", yield* copyString(name));
  yield* writeField(KLP_OBJECT, va, "dynamic", 1n);
  yield* initListHead(fieldVa(KLP_OBJECT, va, "func_list"));
  yield* listAddTail(fieldVa(KLP_OBJECT, va, "node"), fieldVa(KLP_PATCH, patch.va, "obj_list"));
  return va;
}

/** klp_alloc_func_nop(). */
function* allocNop(object: bigint, old: KlpFunc): Program<bigint> {
  const va = yield* call("kzalloc", BigInt(KLP_FUNC.size));
  if (va === 0n) return 0n;
  yield* writeField(KLP_FUNC, va, "old_name", yield* copyString(old.oldName));
  yield* writeField(KLP_FUNC, va, "old_sympos", BigInt(old.oldSympos));
  yield* writeField(KLP_FUNC, va, "nop", 1n);
  yield* listAddTail(fieldVa(KLP_FUNC, va, "node"), fieldVa(KLP_OBJECT, object, "func_list"));
  return va;
}

/** klp_add_nops(): so that what an older patch replaced goes back to the original. Returns 0 or an errno. */
export function* addNops(k: KlpSystem, patch: KlpPatch): Program<number> {
  const made = new Map<string | undefined, { va: bigint; names: Set<string> }>();
  const key = (f: KlpFunc): string => `${f.oldName},${f.oldSympos}`;
  for (const o of patch.objects) made.set(o.name, { va: o.va, names: new Set(o.funcs.map(key)) });
  for (const old of yield* see((g) => readPatches(g.read, k.image))) {
    for (const object of old.objects) {
      let mine = made.get(object.name);
      if (mine === undefined) {
        mine = { va: yield* allocObject(patch, object.name), names: new Set() };
        if (mine.va === 0n) return -ERRNO.ENOMEM;
        made.set(object.name, mine);
      }
      for (const func of object.funcs) {
        if (mine.names.has(key(func))) continue;
        if ((yield* allocNop(mine.va, func)) === 0n) return -ERRNO.ENOMEM;
        mine.names.add(key(func));
      }
    }
  }
  return 0;
}

/** klp_unpatch_replaced_patches(). */
export function* unpatchReplaced(k: KlpSystem, patch: KlpPatch): Program<void> {
  for (const old of yield* see((g) => readPatches(g.read, k.image))) {
    if (old.va === patch.va) return;
    yield* writeField(KLP_PATCH, old.va, "enabled", 0n);
    yield* unpatchObjects(k, old);
  }
}

function* freeFunc(func: KlpFunc): Program<void> {
  yield* listDel(fieldVa(KLP_FUNC, func.va, "node"));
  if (!func.nop) return;
  yield* freeString(fieldVa(KLP_FUNC, func.va, "old_name"));
  yield* call("kfree", func.va);
}

function* freeString(at: bigint): Program<void> {
  const text = yield* see((g) => readUint(g.read, at, 8));
  if (text !== 0n) yield* call("kfree", text);
}

function* freeObject(object: KlpObject, isNopOnly: boolean): Program<void> {
  for (const f of object.funcs) if (!isNopOnly || f.nop) yield* freeFunc(f);
  if (isNopOnly && !object.dynamic) return;
  yield* listDel(fieldVa(KLP_OBJECT, object.va, "node"));
  if (!object.dynamic) return;
  yield* freeString(fieldVa(KLP_OBJECT, object.va, "name"));
  yield* call("kfree", object.va);
}

/** klp_discard_nops(): the originals are in force without them. */
export function* discardNops(k: KlpSystem, patch: KlpPatch): Program<void> {
  yield* unpatchObjects(k, patch, true);
  for (const object of patch.objects) yield* freeObject(object, true);
}

/** klp_free_patch_start() and klp_free_patch_finish(): off the list, and the module may go, unless it was forced. */
export function* freePatch(k: KlpSystem, patch: KlpPatch): Program<void> {
  const isListed = yield* see((g) => readPatches(g.read, k.image).some((p) => p.va === patch.va));
  if (isListed) yield* listDel(fieldVa(KLP_PATCH, patch.va, "list"));
  for (const object of patch.objects) yield* freeObject(object, false);
  if (!patch.forced && patch.mod !== 0n) yield* call("module_put", patch.mod);
}

/** klp_free_replaced_patches_async(). */
export function* freeReplacedPatches(k: KlpSystem, patch: KlpPatch): Program<void> {
  for (const old of yield* see((g) => readPatches(g.read, k.image))) {
    if (old.va === patch.va) return;
    yield* freePatch(k, old);
  }
}

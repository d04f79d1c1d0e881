// Enabling, disabling, reversing and forcing a patch, and modules that come and go. Each is one program, klp_mutex held
// from its first look to its last store. kernel/livepatch/core.c
import {
  call,
  CONSTANTS,
  fieldVa,
  ERRNO,
  KLP_CONSTANTS,
  KLP_FUNC,
  KLP_OBJECT,
  KLP_PATCH,
  log,
  MODULE,
  readField,
  readString,
  readModule,
  symbolVa,
  withMutex,
  writeField,
  type Program,
  type Read,
  type Upcall,
} from "../../kernel/index.ts";
import { callPost, callPrePatch, callPreUnpatch } from "./callbacks.ts";
import { initListHead, listAddTail } from "../lists.ts";
import { patchObject, unpatchObject } from "./objects.ts";
import { addNops, freePatch } from "./replace.ts";
import { initObjectLoaded } from "./symbols.ts";
import { KLP, type KlpSystem } from "./system.ts";
import {
  cancelTransition,
  current,
  forceTransition,
  initTransition,
  PATCHED,
  reverseTransition,
  startTransition,
  tryComplete,
  UNPATCHED,
  type Tried,
} from "./transition.ts";
import { readPatch, readPatches, readStates, see, type KlpObject, type KlpPatch } from "./view.ts";

const { EBUSY, EINVAL } = CONSTANTS;
const EEXIST = 17;
const MODULE_NAME_LEN = 56;
const KSYM_NAME_LEN = 512;

function locked<T>(k: KlpSystem, body: Program<T>): Program<T> {
  return withMutex(symbolVa(k.image, "klp_mutex"), body);
}

function nameOf(object: KlpObject): string {
  return object.name ?? "vmlinux";
}

function isLoaded(object: KlpObject): boolean {
  return object.name === undefined || object.mod !== 0n;
}

/** What an enable or disable came to at once; the worker goes on with a transition that is not complete. */
export interface Begun {
  readonly error: number;
  readonly tried: Tried | undefined;
}

/** The static arrays of a patch, as its author made them. */
function staticObjects(
  read: Read,
  patch: bigint,
): readonly { va: bigint; funcs: readonly bigint[] }[] {
  const out: { va: bigint; funcs: readonly bigint[] }[] = [];
  let va = readField(read, KLP_PATCH, patch, "objs");
  const word = (at: bigint, field: "name" | "funcs"): bigint =>
    readField(read, KLP_OBJECT, at, field);
  for (; word(va, "funcs") !== 0n || word(va, "name") !== 0n; va += BigInt(KLP_OBJECT.size)) {
    const funcs: bigint[] = [];
    for (let f = word(va, "funcs"); f !== 0n && !isEnd(read, f); f += BigInt(KLP_FUNC.size)) {
      funcs.push(f);
    }
    out.push({ va, funcs });
  }
  return out;
}

/** The end of klp_for_each_func_static(). */
function isEnd(read: Read, f: bigint): boolean {
  return (["old_name", "new_func", "old_sympos"] as const).every(
    (field) => readField(read, KLP_FUNC, f, field) === 0n,
  );
}

/** klp_init_patch_early(). */
export function* initPatchEarly(va: bigint): Program<void> {
  yield* initListHead(fieldVa(KLP_PATCH, va, "list"));
  yield* initListHead(fieldVa(KLP_PATCH, va, "obj_list"));
  yield* writeField(KLP_PATCH, va, "enabled", 0n);
  yield* writeField(KLP_PATCH, va, "forced", 0n);
  for (const object of yield* see((g) => staticObjects(g.read, va))) {
    yield* initListHead(fieldVa(KLP_OBJECT, object.va, "func_list"));
    yield* listAddTail(fieldVa(KLP_OBJECT, object.va, "node"), fieldVa(KLP_PATCH, va, "obj_list"));
    for (const f of object.funcs) {
      yield* listAddTail(fieldVa(KLP_FUNC, f, "node"), fieldVa(KLP_OBJECT, object.va, "func_list"));
    }
  }
}

/** klp_find_object_module(): one that klp_module_coming() has seen, and klp_module_going() has not; 0 when there is none. */
function findObjectModule(k: KlpSystem, read: Read, name: string | undefined): bigint {
  const mod = k.modules(read).find((m) => m.name === name)?.va ?? 0n;
  return mod !== 0n && readField(read, MODULE, mod, "klp_alive") !== 0n ? mod : 0n;
}

/** kobject_add() of a name below livepatch's folder that sysfs has already. Answers -EEXIST. */
function* duplicate(path: string): Program<number> {
  const name = path.slice(path.lastIndexOf("/") + 1);
  yield* log(`sysfs: cannot create duplicate filename '/kernel/livepatch/${path}'`);
  yield* log(
    `kobject: kobject_add_internal failed for ${name} with -EEXIST, don't try to register things with the same name in the same directory.`,
  );
  return -EEXIST;
}

/** klp_init_object(). folder: the patch's; known: what is below it already. */
function* initObject(
  k: KlpSystem,
  object: KlpObject,
  folder: string,
  known: Set<string>,
): Program<number> {
  if ((object.name?.length ?? 0) >= MODULE_NAME_LEN) return -EINVAL;
  yield* writeField(KLP_OBJECT, object.va, "patched", 0n);
  const path = `${folder}/${nameOf(object)}`;
  if (known.has(path)) return yield* duplicate(path);
  known.add(path);
  for (const f of object.funcs) {
    if (f.oldName === "" || (!f.nop && f.newFunc === 0n)) return -EINVAL;
    if (f.oldName.length >= KSYM_NAME_LEN) return -EINVAL;
    yield* writeField(KLP_FUNC, f.va, "patched", 0n);
    yield* writeField(KLP_FUNC, f.va, "transition", 0n);
    const file = `${path}/${f.oldName},${f.oldSympos === 0 ? 1 : f.oldSympos}`;
    if (known.has(file)) return yield* duplicate(file);
    known.add(file);
  }
  const mod =
    object.name === undefined ? 0n : yield* see((g) => findObjectModule(k, g.read, object.name));
  yield* writeField(KLP_OBJECT, object.va, "mod", mod);
  return isLoaded({ ...object, mod }) ? yield* initObjectLoaded(k, { ...object, mod }) : 0;
}

/** klp_init_patch(). */
export function* initPatch(k: KlpSystem, va: bigint): Program<number> {
  let patch = yield* see((g) => readPatch(g.read, va));
  if (yield* see((g) => readPatches(g.read, k.image).some((p) => p.name === patch.name))) {
    return yield* duplicate(patch.name);
  }
  if (patch.replace) {
    const error = yield* addNops(k, patch);
    if (error !== 0) return error;
    patch = yield* see((g) => readPatch(g.read, va));
  }
  const known = new Set<string>();
  for (const object of patch.objects) {
    const error = yield* initObject(k, object, patch.name, known);
    if (error !== 0) return error;
  }
  yield* listAddTail(fieldVa(KLP_PATCH, va, "list"), symbolVa(k.image, "klp_patches"));
  return 0;
}

/** klp_is_patch_compatible(): every state that is modified already is handled, by a version not lower. */
function isCompatible(k: KlpSystem, read: Read, va: bigint): boolean {
  const states = readStates(read, readField(read, KLP_PATCH, va, "states"));
  const replace = readField(read, KLP_PATCH, va, "replace") !== 0n;
  return readPatches(read, k.image).every((old) =>
    old.states.every((s) => {
      const mine = states.find((x) => x.id === s.id);
      return mine === undefined ? !replace : mine.version >= s.version;
    }),
  );
}

/** __klp_enable_patch(). */
function* enableLocked(k: KlpSystem, va: bigint): Program<Begun> {
  if ((yield* current(k)).patch !== 0n) return { error: -EBUSY, tried: undefined };
  const patch = yield* see((g) => readPatch(g.read, va));
  yield* log(`${KLP}enabling patch '${patch.name}'`);
  yield* initTransition(k, patch, PATCHED);
  // smp_wmb(): func->transition before the func_stack.
  for (const object of patch.objects) {
    const now = yield* see((g) => readPatch(g.read, va).objects.find((o) => o.va === object.va));
    if (now === undefined || !isLoaded(now)) continue;
    let error = yield* callPrePatch(now);
    if (error !== 0) {
      yield* log(`${KLP}pre-patch callback failed for object '${nameOf(now)}'`);
    } else {
      error = yield* patchObject(k, now);
      if (error !== 0) yield* log(`${KLP}failed to patch object '${nameOf(now)}'`);
    }
    if (error === 0) continue;
    yield* log(`${KLP}failed to enable patch '${patch.name}'`);
    yield* cancelTransition(k, patch);
    return { error, tried: undefined };
  }
  yield* startTransition(k, patch);
  yield* writeField(KLP_PATCH, va, "enabled", 1n);
  return { error: 0, tried: yield* tryComplete(k) };
}

/**
 * klp_enable_patch(): from the init function of a patch's module.
 *
 * va       struct klp_patch, its static arrays filled in
 * returns  0 or an errno, and who could not be switched at once
 */
export function* klpEnablePatch(k: KlpSystem, va: bigint): Program<Begun> {
  const isWhole = yield* see(
    (g) =>
      va !== 0n &&
      readField(g.read, KLP_PATCH, va, "mod") !== 0n &&
      readField(g.read, KLP_PATCH, va, "objs") !== 0n &&
      staticObjects(g.read, va).every((o) => readField(g.read, KLP_OBJECT, o.va, "funcs") !== 0n),
  );
  if (!isWhole) return { error: -EINVAL, tried: undefined };
  const stranger = yield* see((g) => {
    const mod = readField(g.read, KLP_PATCH, va, "mod");
    if (readField(g.read, MODULE, mod, "klp") !== 0n) return undefined;
    return readModule(g.read, mod).name;
  });
  if (stranger !== undefined) {
    yield* log(`${KLP}module ${stranger} is not marked as a livepatch module`);
    return { error: -EINVAL, tried: undefined };
  }
  return yield* locked(k, enableFirst(k, va));
}

function* enableFirst(k: KlpSystem, va: bigint): Program<Begun> {
  const mod = yield* see((g) => readField(g.read, KLP_PATCH, va, "mod"));
  if (!(yield* see((g) => isCompatible(k, g.read, va)))) {
    // Its lists are made later.
    const name = yield* see((g) => readString(g.read, readField(g.read, KLP_PATCH, va, "name")));
    yield* log(
      `${KLP}Livepatch patch (${name}) is not compatible with the already installed livepatches.`,
    );
    return { error: -EINVAL, tried: undefined };
  }
  if ((yield* call("try_module_get", mod)) === 0n) {
    return { error: -ERRNO.ENODEV, tried: undefined };
  }
  yield* initPatchEarly(va);
  const error = yield* initPatch(k, va);
  const begun = error === 0 ? yield* enableLocked(k, va) : { error, tried: undefined };
  if (begun.error !== 0) yield* freePatch(k, yield* see((g) => readPatch(g.read, va)));
  return begun;
}

/** __klp_disable_patch(). */
function* disableLocked(k: KlpSystem, patch: KlpPatch): Program<Begun> {
  if (!patch.enabled) return { error: -EINVAL, tried: undefined };
  if ((yield* current(k)).patch !== 0n) return { error: -EBUSY, tried: undefined };
  yield* initTransition(k, patch, UNPATCHED);
  for (const object of patch.objects) if (object.patched) yield* callPreUnpatch(object);
  // smp_wmb(): func->transition before TIF_PATCH_PENDING.
  yield* startTransition(k, patch);
  yield* writeField(KLP_PATCH, patch.va, "enabled", 0n);
  return { error: 0, tried: yield* tryComplete(k) };
}

function* find(k: KlpSystem, name: string): Program<KlpPatch | undefined> {
  return yield* see((g) => readPatches(g.read, k.image).find((p) => p.name === name));
}

const NO_SUCH: Begun = { error: -ERRNO.ENOENT, tried: undefined };

/** enabled_store(): 0 disables or reverses, 1 reverses; what is so already is an error. */
export function* enabledStore(k: KlpSystem, name: string, enabled: boolean): Program<Begun> {
  return yield* locked(
    k,
    (function* (): Program<Begun> {
      const patch = yield* find(k, name);
      if (patch === undefined) return NO_SUCH;
      if (patch.enabled === enabled) return { error: -EINVAL, tried: undefined };
      if ((yield* current(k)).patch === patch.va) {
        yield* reverseTransition(k, patch);
        return { error: 0, tried: undefined };
      }
      return enabled ? { error: -EINVAL, tried: undefined } : yield* disableLocked(k, patch);
    })(),
  );
}

/** force_store(): only 1, and only on the patch in transition. */
export function* forceStore(k: KlpSystem, name: string, value: boolean): Program<Begun> {
  return yield* locked(
    k,
    (function* (): Program<Begun> {
      const patch = yield* find(k, name);
      if (patch === undefined) return NO_SUCH;
      if (!value) return { error: 0, tried: undefined };
      if ((yield* current(k)).patch !== patch.va) return { error: -EINVAL, tried: undefined };
      yield* forceTransition(k);
      return { error: 0, tried: undefined };
    })(),
  );
}

/** klp_transition_work_fn(): one round of the worker; undefined when there is no transition. */
export function* transitionWork(k: KlpSystem): Program<Tried | undefined> {
  return yield* locked(
    k,
    (function* (): Program<Tried | undefined> {
      return (yield* current(k)).patch === 0n ? undefined : yield* tryComplete(k);
    })(),
  );
}

/** What a livepatch module's init function asks of the core. */
export function* serveUpcall(k: KlpSystem, up: Upcall): Program<bigint> {
  if (up.upcall !== KLP_CONSTANTS.UPCALL_KLP_ENABLE_PATCH) {
    throw new Error(`patch call: upcall ${up.upcall} does not exist`);
  }
  const { error } = yield* klpEnablePatch(k, up.arg);
  return BigInt(error);
}

/** klp_module_coming(): every patch of a module that is being loaded. Returns 0 or an errno. */
export function* klpModuleComing(k: KlpSystem, mod: bigint, name: string): Program<number> {
  if (name === "vmlinux") {
    yield* log(`${KLP}vmlinux.ko: invalid module name`);
    return -EINVAL;
  }
  return yield* locked(k, comingLocked(k, mod, name));
}

function* comingLocked(k: KlpSystem, mod: bigint, name: string): Program<number> {
  // Each klp_init_object() that comes from here on sees the module; what it has missed is done here.
  yield* writeField(MODULE, mod, "klp_alive", 1n);
  const patches = yield* see((g) => readPatches(g.read, k.image));
  const inTransition = (yield* current(k)).patch;
  for (const patch of patches) {
    const object = patch.objects.find((o) => o.name === name);
    if (object === undefined) continue;
    yield* writeField(KLP_OBJECT, object.va, "mod", mod);
    const error = yield* applyToComing(k, patch, { ...object, mod }, patch.va === inTransition);
    if (error === 0) continue;
    yield* log(
      `${KLP}patch '${patch.name}' failed for module '${name}', refusing to load module '${name}'`,
    );
    yield* writeField(MODULE, mod, "klp_alive", 0n);
    yield* writeField(KLP_OBJECT, object.va, "mod", 0n);
    yield* cleanup(k, name, patch.va);
    return error;
  }
  return 0;
}

function* applyToComing(
  k: KlpSystem,
  patch: KlpPatch,
  object: KlpObject,
  inTransition: boolean,
): Program<number> {
  const name = nameOf(object);
  let error = yield* initObjectLoaded(k, object);
  if (error !== 0) {
    yield* log(`${KLP}failed to initialize patch '${patch.name}' for module '${name}' (${error})`);
    return error;
  }
  yield* log(`${KLP}applying patch '${patch.name}' to loading module '${name}'`);
  error = yield* callPrePatch(object);
  if (error !== 0) {
    yield* log(`${KLP}pre-patch callback failed for object '${name}'`);
    return error;
  }
  const ready = yield* see((g) =>
    readPatch(g.read, patch.va).objects.find((o) => o.va === object.va),
  );
  error = yield* patchObject(k, ready ?? object);
  if (error !== 0) {
    yield* log(`${KLP}failed to apply patch '${patch.name}' to module '${name}' (${error})`);
    yield* callPost("unpatch", object);
    return error;
  }
  if (!inTransition) yield* callPost("patch", object);
  return 0;
}

/** klp_module_going(): patches that are enabled from here on leave the module alone. */
export function* klpModuleGoing(k: KlpSystem, mod: bigint, name: string): Program<void> {
  yield* locked(
    k,
    (function* (): Program<void> {
      yield* writeField(MODULE, mod, "klp_alive", 0n);
      yield* cleanup(k, name, undefined);
    })(),
  );
}

/** klp_cleanup_module_patches_limited(). */
function* cleanup(k: KlpSystem, name: string, limit: bigint | undefined): Program<void> {
  const inTransition = (yield* current(k)).patch;
  for (const patch of yield* see((g) => readPatches(g.read, k.image))) {
    if (patch.va === limit) return;
    const object = patch.objects.find((o) => o.name === name);
    if (object === undefined) continue;
    if (patch.va !== inTransition) yield* callPreUnpatch(object);
    yield* log(`${KLP}reverting patch '${patch.name}' on unloading module '${name}'`);
    yield* unpatchObject(k, object);
    yield* callPost("unpatch", object);
    yield* writeField(KLP_OBJECT, object.va, "mod", 0n);
  }
}

// Loading and unloading modules of a running kernel, as its system calls init_module and delete_module do: memory,
// linking at the place that was found, records, notifiers, init; exit, notifiers, and the memory back. All that lasts
// is the guest's list of struct module. kernel: kernel/module/main.c.
// DIFFERS: a module that waits for another one of its name, and dependencies between modules, are left out.

import {
  ftraceModuleEnable,
  ftraceModuleInit,
  ftraceReleaseMod,
  type ModuleRange,
} from "../ftrace/index.ts";
import {
  call,
  callUp,
  ERRNO,
  KERNEL_PARAM,
  look,
  MODULE,
  MODULE_CONSTANTS,
  readModules,
  symbolVa,
  write,
  writeField,
  type GuestModule,
  type Program,
  type Upcall,
} from "../kernel/index.ts";
import { findSymbol, linkModule, type Image, type ImageSymbol, type Obj } from "../link/index.ts";
import { parseArgs } from "./module-params.ts";
import { moduleAugmentKernelTaints } from "./taint.ts";

/** What a module is made of. isLivepatch, isInTree: it has MODULE_INFO(livepatch, "Y"), (intree, "Y"). */
export interface ModuleSource {
  readonly name: string;
  readonly obj: Obj;
  readonly isLivepatch?: boolean;
  readonly isInTree?: boolean;
}

/** A module by its object, with what its .modinfo says. */
export function moduleSource(name: string, obj: Obj): ModuleSource {
  const info = obj.sections.find((s) => s.name === ".modinfo");
  const lines = new TextDecoder("latin1").decode(info?.bytes).split("\0");
  return {
    name,
    obj,
    isLivepatch: lines.includes("livepatch=Y"),
    isInTree: lines.includes("intree=Y"),
  };
}

/** A module that is loaded, with its symbols. */
export interface LoadedModule extends GuestModule {
  readonly image: Image;
}

/**
 * Who is told of modules that come and go, in this order; livepatch's own place is before all others when a module comes
 * and after all others when it goes.
 */
export interface ModuleNotifier {
  /** The module is complete and its init has not run; an error refuses it. */
  coming?(mod: LoadedModule): Program<number>;
  live?(mod: LoadedModule): Program<void>;
  going?(mod: LoadedModule): Program<void>;
}

const { EBUSY, ENOENT, ENOMEM } = ERRNO;
const EEXIST = 17;
const EWOULDBLOCK = ERRNO.EAGAIN;
const PAGE_SIZE = 4096n;

/** A name for the linker that no object defines. */
function thisModule(va: bigint): Image {
  const symbol: ImageSymbol = {
    name: "__this_module",
    va,
    size: BigInt(MODULE.size),
    type: "object",
    bind: "global",
    section: "abs",
  };
  return {
    name: "__this_module",
    entry: 0n,
    segments: [],
    symbols: [symbol],
    constants: [],
    fentrySites: [],
    sections: [],
    hash: "",
  };
}

/** Images by object and place; what was linked against decides nothing that its hash does not say. */
const linkedAt = new WeakMap<Obj, Map<string, Image>>();

/**
 * A module linked at a place: the same object at the same place is the same image, so that whoever knows the objects can
 * have the symbols of what the guest's list says is loaded.
 */
export function linkModuleAt(
  source: ModuleSource,
  against: readonly Image[],
  at: { readonly base: bigint; readonly mod: bigint },
): Image {
  const key = [at.base, at.mod, ...against.map((i) => i.hash)].join();
  const known = linkedAt.get(source.obj) ?? new Map<string, Image>();
  linkedAt.set(source.obj, known);
  const found = known.get(key);
  if (found !== undefined) return found;
  const images = [...against, thisModule(at.mod)];
  const made = linkModule(source.obj, images, { va: at.base, pa: 0n, room: 1 << 30 });
  known.set(key, made);
  return made;
}

/** The modules of the guest's list whose objects are known, with their symbols; the one loaded first comes first. */
export function loadedModules(
  modules: readonly GuestModule[],
  sources: readonly ModuleSource[],
  kernel: Image,
): readonly LoadedModule[] {
  const out: LoadedModule[] = [];
  for (const m of [...modules].reverse()) {
    const source = sources.find((s) => s.name === m.name);
    if (source === undefined || m.base === 0n) continue;
    const against = [kernel, ...out.map((o) => o.image)];
    out.push({ ...m, image: linkModuleAt(source, against, { base: m.base, mod: m.va }) });
  }
  return out;
}

/** Bytes from base to the end of its last page. */
export function moduleSize(image: Image, base: bigint): bigint {
  const ends = image.segments.map((s) => s.va + BigInt(s.memSize) - base);
  const end = ends.reduce((a, b) => (a > b ? a : b), 0n);
  return ((end + PAGE_SIZE - 1n) / PAGE_SIZE) * PAGE_SIZE;
}

/** A struct module with what its sections say; nobody knows it yet. */
function moduleStruct(
  { base, size }: ModuleRange,
  { name, linked, isLivepatch }: ModuleParts,
): Uint8Array {
  const bytes = new Uint8Array(MODULE.size);
  const view = new DataView(bytes.buffer);
  const put = (field: keyof typeof MODULE.fields, value: bigint): void => {
    const f = MODULE.fields[field];
    if (f.size === 8) view.setBigUint64(f.offset, value, true);
    else if (f.size === 4) view.setUint32(f.offset, Number(value), true);
    else view.setUint8(f.offset, Number(value));
  };
  const { offset, size: room } = MODULE.fields.name;
  bytes.set(new TextEncoder().encode(name).subarray(0, room - 1), offset);
  const text = linked.segments.find((s) => s.flags.exec);
  const bugs = linked.sections.find((s) => s.name === "__bug_table");
  const params = linked.sections.find((s) => s.name === "__param");
  put("init", findSymbol(linked, "init_module")?.va ?? 0n);
  put("exit", findSymbol(linked, "cleanup_module")?.va ?? 0n);
  put("base", base);
  put("size", BigInt(size));
  put("text_size", text === undefined ? 0n : BigInt(text.memSize));
  put("bug_table", bugs?.va ?? 0n);
  put("bug_table_end", bugs === undefined ? 0n : bugs.va + BigInt(bugs.size));
  put("kp", params?.va ?? 0n);
  put("num_kp", BigInt((params?.size ?? 0) / KERNEL_PARAM.size));
  put("klp", isLivepatch ? 1n : 0n);
  // module_unload_init(): a reference is held until init is done.
  put("refcnt", BigInt(MODULE_CONSTANTS.MODULE_REF_BASE + 1));
  return bytes;
}

/** What a module consists of, linked at its place. */
export interface ModuleParts {
  readonly name: string;
  readonly linked: Image;
  readonly isLivepatch: boolean;
  readonly isInTree: boolean;
}

/**
 * Puts a module together in memory that was found for it, and makes it known: after it, it is coming.
 *
 * range    its struct module, and where it lies
 * returns  0; -EEXIST: one of its name is loaded; -ENOMEM: then nobody knows it, and its memory is the caller's
 * kernel   load_module() up to complete_formation()
 */
export function* formModule(image: Image, range: ModuleRange, parts: ModuleParts): Program<number> {
  for (const s of parts.linked.segments) {
    const bytes = new Uint8Array(s.memSize);
    bytes.set(s.bytes);
    yield* write(s.va, bytes);
  }
  yield* write(range.va, moduleStruct(range, parts));
  const exists = yield* withModuleMutex(image, function* () {
    const now = yield* lookAtModules(image);
    if (now.some((m) => m.name === parts.name)) return true;
    yield* call("add_unformed_module", range.va);
    return false;
  });
  if (exists) return -EEXIST;
  yield* moduleAugmentKernelTaints(image, range.va, parts);
  const mcount = parts.linked.sections.find((s) => s.name === "__mcount_loc");
  const start = mcount?.va ?? 0n;
  const sites = { start, end: start + BigInt(mcount?.size ?? 0) };
  if (!(yield* ftraceModuleInit(image, range, sites))) {
    yield* forgetModule(image, range);
    return -ENOMEM;
  }
  yield* withModuleMutex(image, () => setModuleState(range.va, "coming"));
  return 0;
}

/** Its records are gone, it is off the list, and nobody can look at it any more. */
export function* forgetModule(image: Image, mod: ModuleRange): Program<void> {
  yield* ftraceReleaseMod(image, mod);
  yield* withModuleMutex(image, () => call("del_module", mod.va));
  yield* call("schedule_on_each_cpu", symbolVa(image, "rcu_tasks_be_rude")); // synchronize_rcu()
}

export function* setModuleState(va: bigint, state: "live" | "coming" | "going"): Program<void> {
  const name =
    state === "live"
      ? "MODULE_STATE_LIVE"
      : state === "coming"
        ? "MODULE_STATE_COMING"
        : "MODULE_STATE_GOING";
  yield* writeField(MODULE, va, "state", BigInt(MODULE_CONSTANTS[name]));
}

function* withModuleMutex<T>(image: Image, body: () => Program<T>): Program<T> {
  const mutex = symbolVa(image, "module_mutex");
  yield* call("mutex_lock", mutex);
  const value = yield* body();
  yield* call("mutex_unlock", mutex);
  return value;
}

function* lookAtModules(image: Image): Program<readonly GuestModule[]> {
  return yield* look("module_mutex", (g) => ({ value: readModules(g.read, image), cost: 0 }));
}

/** What init and exit need to know besides the module: the objects behind the list, and who is told. */
export interface ModuleWorld {
  readonly image: Image;
  readonly sources: readonly ModuleSource[];
  readonly notifiers: readonly ModuleNotifier[];
  /** Answers an init or exit function that asks the patch core for something. */
  serve?(up: Upcall): Program<bigint>;
}

/**
 * Loads a module and runs its init_module.
 *
 * args     "NAME=VALUE ..", for its parameters
 * returns  0; -EEXIST: one of its name is loaded; -ENOMEM; what a notifier refused it with; what its init answered
 * throws   LinkError: it wants a symbol that nobody has
 * kernel   load_module()
 */
export function* initModule(world: ModuleWorld, source: ModuleSource, args = ""): Program<number> {
  const { image } = world;
  const va = yield* call("kzalloc", BigInt(MODULE.size));
  if (va === 0n) return -ENOMEM;
  const known = yield* withModuleMutex(image, () => lookAtModules(image));
  const against = [image, ...loadedModules(known, world.sources, image).map((m) => m.image)];
  const probe = linkModuleAt(source, against, { base: symbolVa(image, "module_room"), mod: va });
  const size = moduleSize(probe, symbolVa(image, "module_room"));
  const base = yield* call("module_alloc", size);
  if (base === 0n) {
    yield* call("kfree", va);
    return -ENOMEM;
  }
  const linked = linkModuleAt(source, against, { base, mod: va });
  const range = { va, base, size: Number(size) };
  const isLivepatch = source.isLivepatch === true;
  const isInTree = source.isInTree === true;
  const parts = { name: source.name, linked, isLivepatch, isInTree };
  const error = yield* formModule(image, range, parts);
  if (error !== 0) {
    yield* call("module_memfree", base);
    yield* call("kfree", va);
    return error;
  }
  const mod = { ...(yield* lookAt(image, va)), image: linked };
  yield* ftraceModuleEnable(image, range);
  const told: ModuleNotifier[] = [];
  let ret = 0;
  for (const n of world.notifiers) {
    ret = n.coming === undefined ? 0 : yield* n.coming(mod);
    if (ret !== 0) break;
    told.push(n);
  }
  if (ret === 0) ret = yield* parseArgs(va, source.name, args);
  if (ret === 0)
    ret = Number(BigInt.asIntN(64, yield* callModule(world, "do_one_initcall_mod", va)));
  if (ret !== 0) {
    yield* setModuleState(va, "going");
    yield* tellGoing(told, mod);
    yield* freeModule(image, range);
    return ret;
  }
  yield* setModuleState(va, "live");
  for (const n of world.notifiers) if (n.live !== undefined) yield* n.live(mod);
  yield* call("module_put", va);
  return 0;
}

/** Calls the module's init (do_one_initcall()) or its exit function. */
function* callModule(
  { serve }: ModuleWorld,
  fn: "do_one_initcall_mod" | "module_exit_mod",
  va: bigint,
): Program<bigint> {
  return serve === undefined ? yield* call(fn, va) : yield* callUp(serve, fn, va);
}

function* lookAt(image: Image, va: bigint): Program<GuestModule> {
  const all = yield* lookAtModules(image);
  const m = all.find((x) => x.va === va);
  if (m === undefined) throw new Error("a module that was just added is not on the list");
  return m;
}

/** Those that come first go last. */
function* tellGoing(notifiers: readonly ModuleNotifier[], mod: LoadedModule): Program<void> {
  for (const n of [...notifiers].reverse()) if (n.going !== undefined) yield* n.going(mod);
}

/** Its memory back, after forgetModule. kernel: free_module() */
function* freeModule(image: Image, mod: ModuleRange): Program<void> {
  yield* forgetModule(image, mod);
  yield* call("module_memfree", mod.base);
  yield* call("kfree", mod.va);
}

/**
 * Unloads a module.
 *
 * returns  0; -ENOENT: no such module; -EBUSY: it is coming or going, or has an init and no exit; -EWOULDBLOCK: in use
 * kernel   SYSCALL_DEFINE2(delete_module)
 */
export function* deleteModule(world: ModuleWorld, name: string): Program<number> {
  const { image } = world;
  const found = yield* withModuleMutex(image, function* (): Program<number | LoadedModule> {
    const all = yield* lookAtModules(image);
    const m = loadedModules(all, world.sources, image).find((x) => x.name === name);
    if (m === undefined) return -ENOENT;
    if (m.state !== "live") return -EBUSY;
    if (m.init !== 0n && m.exit === 0n) return -EBUSY;
    if ((yield* call("try_release_module_ref", m.va)) === 0n) return -EWOULDBLOCK;
    yield* setModuleState(m.va, "going");
    return { ...m, state: "going" };
  });
  if (typeof found === "number") return found;
  yield* callModule(world, "module_exit_mod", found.va);
  yield* tellGoing(world.notifiers, found);
  yield* freeModule(image, found);
  return 0;
}

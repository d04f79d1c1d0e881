// A patch as a module of the kernel: linked beforehand at a place that the kernel keeps for it, and otherwise a module like
// every other: on the list, with records of its fentry sites, its BUG table, and references of whoever uses it.
// kernel: kernel/module/main.c. DIFFERS: it has no init function; what that would do, the mechanism does when it is loaded.
import { ftraceModuleEnable } from "../ftrace/index.ts";
import {
  call,
  ERRNO,
  look,
  MODULE,
  readModules,
  write,
  type GuestModule,
  type Program,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import { forgetModule, formModule, moduleSize, setModuleState } from "./kernel-module.ts";
import type { PatchPlan } from "./plan.ts";

const { EAGAIN: EWOULDBLOCK, ENOENT, ENOMEM } = ERRNO;
const INT3 = 0xcc;

/** What insmod prints for an errno of the loader, where that is all that is known. */
const INSMOD: Readonly<Record<number, string>> = {
  [-ENOMEM]: "Cannot allocate memory",
  [-ERRNO.EEXIST]: "File exists",
};

/** Why a module was not loaded, as the user's tool says it. */
export function insmodError(plan: PatchPlan, error: number): string {
  const name = plan.name;
  return `could not insert module ${name}: ${INSMOD[error] ?? `error ${error}`}`;
}

function baseOf({ module }: PatchPlan): bigint {
  return module.segments.reduce((lo, s) => (s.va < lo ? s.va : lo), module.segments[0]?.va ?? 0n);
}

/** The struct module of a plan's patch in the guest's list, undefined when it is not loaded. */
export function* findModule(image: Image, plan: PatchPlan): Program<GuestModule | undefined> {
  const name = plan.name;
  return yield* look("module_mutex", (g) => ({
    value: readModules(g.read, image).find((m) => m.name === name),
    cost: 0,
  }));
}

/**
 * Loads the patch's module.
 *
 * returns  0; -EEXIST: one of its name is loaded; -ENOMEM
 * kernel   load_module()
 */
export function* loadModule(image: Image, plan: PatchPlan, isLivepatch = false): Program<number> {
  const name = plan.name;
  // Its place is linked into it: whoever has it must be asked before anything is written there.
  if ((yield* findModule(image, plan)) !== undefined) return -ERRNO.EEXIST;
  const va = yield* call("kzalloc", BigInt(MODULE.size));
  if (va === 0n) return -ENOMEM;
  const base = baseOf(plan);
  const range = { va, base, size: Number(moduleSize(plan.module, base)) };
  const parts = { name, linked: plan.module, isLivepatch, isInTree: false };
  const error = yield* formModule(image, range, parts);
  if (error !== 0) {
    yield* call("kfree", va);
    return error;
  }
  yield* ftraceModuleEnable(image, range);
  yield* setModuleState(va, "live");
  yield* call("module_put", va);
  return 0;
}

/**
 * Unloads the module: it is off the list, and its text is int3 again, as execmem leaves it, so that whoever is still in it
 * does not get far. The caller knows that nobody is.
 *
 * returns  0; -ENOENT: it is not loaded; -EWOULDBLOCK: it is in use
 * kernel   SYSCALL_DEFINE2(delete_module), free_module()
 */
export function* unloadModule(image: Image, plan: PatchPlan): Program<number> {
  const mod = yield* findModule(image, plan);
  if (mod === undefined) return -ENOENT;
  if ((yield* call("try_release_module_ref", mod.va)) === 0n) return -EWOULDBLOCK;
  yield* setModuleState(mod.va, "going");
  yield* forgetModule(image, mod);
  for (const s of plan.module.segments) {
    if (s.flags.exec) yield* write(s.va, new Uint8Array(s.bytes.length).fill(INT3));
  }
  yield* call("kfree", mod.va);
  return 0;
}

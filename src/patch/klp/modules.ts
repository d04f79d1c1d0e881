// livepatch among the loadable modules: patches that are modules, with an init function that enables them, and objects that
// are modules, which come and go. What the loader is given so that the two know each other.
import { kprobesModuleGoing, serveKprobeUpcall } from "../../ftrace/index.ts";
import { readModules, type Program, type Read, type Upcall } from "../../kernel/index.ts";
import type { Image } from "../../link/index.ts";
import type { UnwinderName } from "../../unwind/index.ts";
import {
  loadedModules,
  type ModuleNotifier,
  type ModuleSource,
  type ModuleWorld,
} from "../kernel-module.ts";
import { klpModuleComing, klpModuleGoing, serveUpcall } from "./core.ts";
import type { KlpSystem } from "./system.ts";

/** A kernel with livepatch, whose modules are those of the guest's list. sources: the objects that may be loaded. */
export function makeKlpSystem(given: {
  readonly image: Image;
  readonly hz: number;
  readonly unwinder: UnwinderName;
  readonly sources: readonly ModuleSource[];
}): KlpSystem {
  const { image, hz, unwinder, sources } = given;
  const modules = (read: Read): ReturnType<KlpSystem["modules"]> =>
    loadedModules(readModules(read, image), sources, image);
  return { image, hz, unwinder, modules };
}

/** klp_module_coming() and klp_module_going(), in their places among the notifiers: the first, and the last. */
function livepatchNotifier(k: KlpSystem): ModuleNotifier {
  return {
    coming: (mod) => klpModuleComing(k, mod.va, mod.name),
    going: (mod) => klpModuleGoing(k, mod.va, mod.name),
  };
}

/** kprobe_module_nb: an ordinary notifier, between those two. */
function kprobesNotifier(k: KlpSystem): ModuleNotifier {
  return { going: (mod) => kprobesModuleGoing(k.image, mod) };
}

/** What a module's init or exit function asks for: a livepatch or a probe. */
function* serve(k: KlpSystem, up: Upcall): Program<bigint> {
  const modules = (read: Read): readonly Image[] => k.modules(read).map((m) => m.image);
  const answer = yield* serveKprobeUpcall({ image: k.image, modules }, up);
  return answer ?? (yield* serveUpcall(k, up));
}

/** The loader's world with livepatch and kprobes in it. */
export function klpModuleWorld(k: KlpSystem, sources: readonly ModuleSource[]): ModuleWorld {
  return {
    image: k.image,
    sources,
    notifiers: [livepatchNotifier(k), kprobesNotifier(k)],
    serve: (up) => serve(k, up),
  };
}

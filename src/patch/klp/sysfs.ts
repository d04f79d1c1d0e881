// /sys/kernel/livepatch, /sys/module, /proc/modules and /proc/PID/patch_state as a virtual tree over guest memory: what is there, with which mode, what
// a read gives, and what a write does. Documentation/ABI/testing/sysfs-kernel-livepatch; fs/proc/base.c,
// proc_pid_patch_state(). stack_order is of 6.14.
import {
  CONSTANTS,
  ERRNO,
  MODULE_CONSTANTS,
  readModules,
  readTasks,
  type GuestModule,
  type Program,
  type Read,
} from "../../kernel/index.ts";
import type { Image } from "../../link/index.ts";
import { moduleFlagsTaint } from "../taint.ts";
import { enabledStore, forceStore } from "./core.ts";
import type { KlpSystem } from "./system.ts";
import { readPatches, readTransition, see, type KlpPatch } from "./view.ts";

/** One file or directory. mode: as `stat -c %A` prints it; text: what a read gives, undefined where there is none. */
export interface SysfsEntry {
  readonly path: string;
  readonly mode: string;
  readonly text: string | undefined;
}

const EISDIR = 21;
const ROOT = "/sys/kernel/livepatch";
const DIRECTORY = "drwxr-xr-x";

function flag(value: boolean): string {
  return value ? "1\n" : "0\n";
}

function patchEntries(
  patch: KlpPatch,
  order: number,
  inTransition: boolean,
): readonly SysfsEntry[] {
  const top = `${ROOT}/${patch.name}`;
  const file = (name: string, mode: string, text: string | undefined): SysfsEntry => ({
    path: `${top}/${name}`,
    mode,
    text,
  });
  const entries: SysfsEntry[] = [
    { path: top, mode: DIRECTORY, text: undefined },
    file("enabled", "-rw-r--r--", flag(patch.enabled)),
    file("force", "--w-------", undefined),
    file("replace", "-r--r--r--", flag(patch.replace)),
    file("stack_order", "-r--r--r--", `${order}\n`),
    file("transition", "-r--r--r--", flag(inTransition)),
  ];
  for (const object of patch.objects) {
    const name = object.name ?? "vmlinux";
    entries.push(file(name, DIRECTORY, undefined));
    for (const f of object.funcs) {
      entries.push(file(`${name}/${f.oldName},${Math.max(1, f.oldSympos)}`, DIRECTORY, undefined));
    }
    entries.push(file(`${name}/patched`, "-r--r--r--", flag(object.patched)));
  }
  return entries;
}

function references({ refcnt }: GuestModule): number {
  return refcnt === 0 ? 0 : refcnt - MODULE_CONSTANTS.MODULE_REF_BASE;
}

/** A line of /proc/modules. kernel/module/procfs.c, m_show(); module_flags() */
function moduleLine(m: GuestModule): string {
  const state = { live: "Live", coming: "Loading", going: "Unloading", unformed: "" }[m.state];
  const flag = m.state === "coming" ? "+" : m.state === "going" ? "-" : "";
  const flags = `${moduleFlagsTaint(m.taints)}${flag}`;
  const shown = flags === "" ? "" : ` (${flags})`;
  return `${m.name} ${m.size} ${references(m)} - ${state} 0x${m.base.toString(16)}${shown}\n`;
}

/** /sys/module/NAME and /proc/modules; one that is not formed yet shows in neither. kernel/module/sysfs.c, main.c */
function moduleEntries(modules: readonly GuestModule[]): readonly SysfsEntry[] {
  const formed = modules.filter((m) => m.state !== "unformed");
  const entries: SysfsEntry[] = [];
  for (const m of formed) {
    const top = `/sys/module/${m.name}`;
    const file = (name: string, text: string): SysfsEntry => ({
      path: `${top}/${name}`,
      mode: "-r--r--r--",
      text: `${text}\n`,
    });
    entries.push(
      { path: top, mode: DIRECTORY, text: undefined },
      file("initstate", m.state),
      file("refcnt", `${references(m)}`),
      file("taint", moduleFlagsTaint(m.taints)),
    );
  }
  const text = formed.map(moduleLine).join("");
  return [...entries, { path: "/proc/modules", mode: "-r--r--r--", text }];
}

/** The whole tree, in the order of the patches, of the modules from the one loaded last, and of the pids. */
export function sysfsTree(read: Read, image: Image): readonly SysfsEntry[] {
  const now = readTransition(read, image);
  const entries: SysfsEntry[] = [{ path: ROOT, mode: DIRECTORY, text: undefined }];
  readPatches(read, image).forEach((patch, i) => {
    entries.push(...patchEntries(patch, i + 1, patch.va === now.patch));
  });
  entries.push(...moduleEntries(readModules(read, image)));
  for (const t of readTasks(read, image)) {
    if (!t.isListed) continue;
    const path = `/proc/${t.pid}/patch_state`;
    entries.push({ path, mode: "-r--------", text: `${t.patchState}\n` });
  }
  return entries;
}

/** kstrtobool(). */
function toBool(text: string): boolean | undefined {
  const m = /^(?:([1yYtT]|on|ON|On|oN)|([0nNfF]|off|OFF|Off))/.exec(text);
  return m === null ? undefined : m[1] !== undefined;
}

/** A write to a file of the tree; answers 0 or an errno, as write(2) would fail. */
export function* sysfsWrite(k: KlpSystem, path: string, text: string): Program<number> {
  const entry = yield* see((g) => sysfsTree(g.read, k.image).find((e) => e.path === path));
  if (entry === undefined) return -ERRNO.ENOENT;
  if (entry.mode.startsWith("d")) return -EISDIR;
  // A file of proc without a write operation opens for root; one of sysfs does not.
  if (!entry.mode.includes("w"))
    return path.startsWith("/proc/") ? -CONSTANTS.EINVAL : -ERRNO.EACCES;
  const [, patch = "", file] = /^\/sys\/kernel\/livepatch\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
  const value = toBool(text);
  if (value === undefined) return -CONSTANTS.EINVAL;
  const store = file === "enabled" ? enabledStore : forceStore;
  return (yield* store(k, patch, value)).error;
}

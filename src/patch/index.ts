// The door of patching: plans, mechanisms, and the session that lets one of them loose on a running kernel.
import { kgraft } from "./kgraft.ts";
import { immediate } from "./klp/immediate.ts";
import { klp } from "./klp/klp.ts";
import { kpatch } from "./kpatch.ts";
import { ksplice } from "./ksplice.ts";
import type { Mechanism } from "./mechanism.ts";
import { naive } from "./naive.ts";
import { simple } from "./simple.ts";

/** Every mechanism by its name on the command line. */
export const MECHANISMS: Readonly<Record<string, Mechanism>> = {
  naive,
  immediate,
  ksplice,
  kpatch,
  kgraft,
  simple,
  klp,
};

export {
  Agent,
  type AgentLog,
  type AgentProgress,
  type AgentState,
  type AgentWrite,
} from "./agent.ts";
export { KGRAFT_RECHECK_S } from "./kgraft.ts";
export { KPATCH_ATTEMPTS, KPATCH_RETRY_S } from "./kpatch.ts";
export { KSPLICE_ATTEMPTS, KSPLICE_RETRY_S } from "./ksplice.ts";
export type { UnwinderName } from "../unwind/index.ts";
export {
  jobOf,
  outcome,
  type Blocker,
  type Job,
  type Mechanism,
  type Outcome,
  type Request,
  type Result,
  type Switched,
} from "./mechanism.ts";
export { attendJob, REPLY_COMPLETE, REPLY_LOADED, type SysfsRequest } from "./klp/attend.ts";
export { patchName, PatchError, planPatch, type PatchedFunction, type PatchPlan } from "./plan.ts";
export { callGraph, quiescentSet, type CallGraph } from "./quiescent-set.ts";
export {
  Session,
  type Events,
  type GuestBug,
  type LogLine,
  type SessionConfig,
  type SessionSnapshot,
  type SessionStop,
} from "./session.ts";
export { SIMPLE_TIMEOUT_S } from "./simple.ts";
export {
  deleteModule,
  initModule,
  linkModuleAt,
  loadedModules,
  moduleSource,
  type LoadedModule,
  type ModuleNotifier,
  type ModuleSource,
  type ModuleWorld,
} from "./kernel-module.ts";
export { paramStore, readParams, type KernelParam } from "./module-params.ts";
export { enabledStore, forceStore, klpEnablePatch, transitionWork } from "./klp/core.ts";
export { klpModuleWorld, makeKlpSystem } from "./klp/modules.ts";
export { moduleFlagsTaint } from "./taint.ts";
export { sysfsTree, sysfsWrite, type SysfsEntry } from "./klp/sysfs.ts";
export type { KlpSystem } from "./klp/system.ts";
export { stackCheckOf } from "./klp/klp.ts";

// struct module as a running kernel has it, and the readers of the list of modules. Names are those of
// include/linux/module.h; who loads and unloads them is src/patch.
import type { Image } from "../link/index.ts";
import { readField, readUint, symbolVa, type Read } from "./image.ts";
import { makeStruct } from "./struct.ts";

/** struct module. DIFFERS: its sections are one run of pages; no symbol table of its own. */
// prettier-ignore
export const MODULE = makeStruct("module", "MOD", [
  ["state", 4],               // MODULE_STATE_*
  ["refcnt", 4],              // MODULE_REF_BASE while nobody uses it, 0 when it may not be used any more
  ["list", 16, 8],
  ["name", 56, 8],            // NUL-terminated
  ["init", 8],
  ["exit", 8],
  ["base", 8],                // mem[MOD_TEXT].base
  ["size", 8],                // of everything
  ["text_size", 8],
  ["bug_table", 8],
  ["bug_table_end", 8],
  ["taints", 8],              // bits TAINT_*
  ["klp", 1],                 // is_livepatch_module()
  ["klp_alive", 1],           // livepatch has seen it come, and has not seen it go
  ["kp", 8],                  // its parameters, an array of struct kernel_param
  ["num_kp", 4],
]);

/** struct kernel_param, in section __param. DIFFERS: ops are a number, the union of arg, str and arr is spread out. */
// prettier-ignore
export const KERNEL_PARAM = makeStruct("kernel_param", "KPARAM", [
  ["name", 8],
  ["ops", 4],                 // PARAM_OPS_*
  ["max", 4],                 // of an array
  ["arg", 8],                 // where its value lies
  ["num", 8],                 // where the number of an array's elements lies, or 0
]);

// prettier-ignore
export const MODULE_CONSTANTS = {
  MODULE_STATE_LIVE: 0, MODULE_STATE_COMING: 1, MODULE_STATE_GOING: 2, MODULE_STATE_UNFORMED: 3,
  MODULE_REF_BASE: 1,
  TAINT_USER: 6, TAINT_OOT_MODULE: 12, TAINT_LIVEPATCH: 15,
  PARAM_OPS_INT: 1, PARAM_OPS_BOOL: 2, PARAM_OPS_ARRAY: 3,
} as const;

export type ModuleState = "live" | "coming" | "going" | "unformed";
const STATES: readonly ModuleState[] = ["live", "coming", "going", "unformed"];

/** A module of the guest's list. */
export interface GuestModule {
  readonly va: bigint;
  readonly name: string;
  readonly state: ModuleState;
  readonly refcnt: number;
  readonly init: bigint;
  readonly exit: bigint;
  readonly base: bigint;
  readonly size: number;
  readonly textSize: number;
  readonly taints: bigint;
  readonly isLivepatch: boolean;
}

/** The module whose struct lies at va. */
export function readModule(read: Read, va: bigint): GuestModule {
  const f = (name: keyof typeof MODULE.fields): bigint => readField(read, MODULE, va, name);
  const { offset, size } = MODULE.fields.name;
  const name = read(va + BigInt(offset), size);
  const end = name.indexOf(0);
  return {
    va,
    name: new TextDecoder("latin1").decode(end < 0 ? name : name.subarray(0, end)),
    state: STATES[Number(f("state"))] ?? "unformed",
    refcnt: Number(f("refcnt")),
    init: f("init"),
    exit: f("exit"),
    base: f("base"),
    size: Number(f("size")),
    textSize: Number(f("text_size")),
    taints: f("taints"),
    isLivepatch: f("klp") !== 0n,
  };
}

/** The list `modules`, from the one that was loaded last. Its links can be followed at every instruction. */
export function readModules(read: Read, image: Image): readonly GuestModule[] {
  const head = symbolVa(image, "modules");
  const out: GuestModule[] = [];
  for (let at = readUint(read, head, 8); at !== head && at !== 0n; at = readUint(read, at, 8)) {
    const va = at - BigInt(MODULE.fields.list.offset);
    if (out.some((m) => m.va === va)) break;
    out.push(readModule(read, va));
  }
  return out;
}

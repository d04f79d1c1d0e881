// What the patch core reads of livepatch's structures in guest memory, as plain values. Everything here is read under
// klp_mutex, which whoever changes it holds; nothing is kept between two steps.
import {
  KLP_FUNC,
  KLP_OBJECT,
  KLP_OPS,
  KLP_PATCH,
  KLP_STATE,
  look,
  readField,
  readString,
  readUint,
  symbolVa,
  type GuestView,
  type Program,
  type Read,
} from "../../kernel/index.ts";
import { listEntries } from "../lists.ts";
import type { Image } from "../../link/index.ts";

/** struct klp_func. */
export interface KlpFunc {
  readonly va: bigint;
  readonly oldName: string;
  readonly oldSympos: number;
  readonly oldFunc: bigint;
  readonly oldSize: bigint;
  readonly newFunc: bigint;
  readonly newSize: bigint;
  readonly nop: boolean;
  readonly patched: boolean;
}

/** struct klp_object. name: undefined for vmlinux; mod: 0 while a module is not loaded. */
export interface KlpObject {
  readonly va: bigint;
  readonly name: string | undefined;
  readonly mod: bigint;
  readonly patched: boolean;
  readonly dynamic: boolean;
  readonly funcs: readonly KlpFunc[];
}

/** struct klp_patch. */
export interface KlpPatch {
  readonly va: bigint;
  readonly mod: bigint;
  readonly name: string;
  readonly replace: boolean;
  readonly enabled: boolean;
  readonly forced: boolean;
  readonly states: readonly { readonly id: bigint; readonly version: bigint }[];
  readonly objects: readonly KlpObject[];
}

export function readFunc(read: Read, va: bigint): KlpFunc {
  const f = (name: keyof typeof KLP_FUNC.fields): bigint => readField(read, KLP_FUNC, va, name);
  return {
    va,
    oldName: readString(read, f("old_name")),
    oldSympos: Number(f("old_sympos")),
    oldFunc: f("old_func"),
    oldSize: f("old_size"),
    newFunc: f("new_func"),
    newSize: f("new_size"),
    nop: f("nop") !== 0n,
    patched: f("patched") !== 0n,
  };
}

export function readObject(read: Read, va: bigint): KlpObject {
  const f = (name: keyof typeof KLP_OBJECT.fields): bigint => readField(read, KLP_OBJECT, va, name);
  const node = BigInt(KLP_FUNC.fields.node.offset);
  const list = va + BigInt(KLP_OBJECT.fields.func_list.offset);
  return {
    va,
    name: f("name") === 0n ? undefined : readString(read, f("name")),
    mod: f("mod"),
    patched: f("patched") !== 0n,
    dynamic: f("dynamic") !== 0n,
    funcs: listEntries(read, list).map((at) => readFunc(read, at - node)),
  };
}

/** A patch whose lists have been made. */
export function readPatch(read: Read, va: bigint): KlpPatch {
  const f = (name: keyof typeof KLP_PATCH.fields): bigint => readField(read, KLP_PATCH, va, name);
  const node = BigInt(KLP_OBJECT.fields.node.offset);
  const list = va + BigInt(KLP_PATCH.fields.obj_list.offset);
  return {
    va,
    mod: f("mod"),
    name: readString(read, f("name")),
    replace: f("replace") !== 0n,
    enabled: f("enabled") !== 0n,
    forced: f("forced") !== 0n,
    states: readStates(read, f("states")),
    objects: listEntries(read, list).map((at) => readObject(read, at - node)),
  };
}

export function readStates(
  read: Read,
  array: bigint,
): readonly { readonly id: bigint; readonly version: bigint }[] {
  const out: { id: bigint; version: bigint }[] = [];
  if (array === 0n) return out;
  for (let va = array; ; va += BigInt(KLP_STATE.size)) {
    const id = readField(read, KLP_STATE, va, "id");
    if (id === 0n) return out;
    out.push({ id, version: readField(read, KLP_STATE, va, "version") });
  }
}

/** The patches of the list klp_patches, in order. */
export function readPatches(read: Read, image: Image): readonly KlpPatch[] {
  const list = BigInt(KLP_PATCH.fields.list.offset);
  return listEntries(read, symbolVa(image, "klp_patches")).map((at) => readPatch(read, at - list));
}

/** klp_find_ops(): the klp_ops of an old function, with its func_stack from the top. */
export function findOps(
  read: Read,
  image: Image,
  oldFunc: bigint,
): { readonly va: bigint; readonly stack: readonly KlpFunc[] } | undefined {
  const node = BigInt(KLP_FUNC.fields.stack_node.offset);
  for (const va of listEntries(read, symbolVa(image, "klp_ops"))) {
    const head = va + BigInt(KLP_OPS.fields.func_stack.offset);
    const stack = listEntries(read, head).map((at) => readFunc(read, at - node));
    if (stack[0]?.oldFunc === oldFunc) return { va, stack };
  }
  return undefined;
}

/** A transition, as the words of transition.c have it: target -1 when there is none. */
export interface Transition {
  readonly patch: bigint;
  readonly target: number;
}

export function readTransition(read: Read, image: Image): Transition {
  return {
    patch: readUint(read, symbolVa(image, "klp_transition_patch"), 8),
    target: Number(readUint(read, symbolVa(image, "klp_target_state"), 4)) | 0,
  };
}

/** A look under klp_mutex that costs nothing to speak of. */
export function* see<T>(run: (g: GuestView) => T): Program<T> {
  return yield* look("klp_mutex", (g) => ({ value: run(g), cost: 0 }));
}

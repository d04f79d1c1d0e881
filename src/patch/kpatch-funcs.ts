// kpatch's functions in the guest: struct kpatch_func, the hash that the handler looks into, and the state that an NMI may change
// under whoever changes them. kernel: kpatch's kmod/core/core.c; the handler is kernels/base/kpatch.S.
import {
  call,
  cmpxchg,
  CONSTANTS,
  fieldVa,
  KPATCH_FUNC,
  look,
  readField,
  readUint,
  symbolVa,
  write,
  writeField,
  writeWord,
  type Program,
  type Read,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import { hooksOf } from "./hooks.ts";
import type { PatchPlan } from "./plan.ts";

export const {
  KPATCH_STATE_IDLE: IDLE,
  KPATCH_STATE_UPDATING: UPDATING,
  KPATCH_STATE_SUCCESS: SUCCESS,
  KPATCH_STATE_FAILURE: FAILURE,
  KPATCH_OP_NONE: NONE,
  KPATCH_OP_PATCH: PATCH,
  KPATCH_OP_UNPATCH: UNPATCH,
} = CONSTANTS;

/** struct kpatch_func in the guest. oldAddr: the fentry site. */
export interface KpatchFunc {
  readonly va: bigint;
  readonly oldAddr: bigint;
  readonly newAddr: bigint;
  readonly newSize: number;
  readonly mod: bigint;
  readonly op: number;
  readonly force: boolean;
}

/** kpatch_func_hash, from the function that was added last. */
export function readFuncs(read: Read, image: Image): readonly KpatchFunc[] {
  const out: KpatchFunc[] = [];
  const f = (va: bigint, name: keyof typeof KPATCH_FUNC.fields): bigint =>
    readField(read, KPATCH_FUNC, va, name);
  let va = readUint(read, symbolVa(image, "kpatch_func_hash"), 8);
  for (; va !== 0n; va = f(va, "next")) {
    out.push({
      va,
      oldAddr: f(va, "old_addr"),
      newAddr: f(va, "new_addr"),
      newSize: Number(f(va, "new_size")),
      mod: f(va, "mod"),
      op: Number(f(va, "op")),
      force: f(va, "force") !== 0n,
    });
  }
  return out;
}

/** The functions under kpatch_mutex, which whoever changes them holds: patchd alone. */
export function* lookAtFuncs(image: Image): Program<readonly KpatchFunc[]> {
  return yield* look("word", (g) => ({ value: readFuncs(g.read, image), cost: 0 }));
}

export function* setOp(f: bigint, op: number): Program<void> {
  yield* writeField(KPATCH_FUNC, f, "op", BigInt(op));
}

export function* setState(image: Image, state: number): Program<void> {
  yield* writeWord(symbolVa(image, "kpatch_state"), BigInt(state), 4);
}

/** kpatch_state_finish(): what it is when nobody was faster. */
export function* finishState(image: Image, state: number): Program<number> {
  const was = yield* cmpxchg(symbolVa(image, "kpatch_state"), UPDATING, state);
  return was === UPDATING ? state : was;
}

/** hash_add_rcu(): the entry is complete before it can be found. */
export function* hashAdd(image: Image, f: bigint): Program<void> {
  const head = symbolVa(image, "kpatch_func_hash");
  const first = yield* look("word", (g) => ({ value: readUint(g.read, head, 8), cost: 0 }));
  yield* writeField(KPATCH_FUNC, f, "next", first);
  yield* writeWord(head, f);
}

/** hash_del_rcu(): who stands on the entry can go on. */
export function* hashDel(image: Image, f: bigint): Program<void> {
  const at = yield* look("word", (g) => {
    const all = readFuncs(g.read, image);
    const i = all.findIndex((x) => x.va === f);
    const before = all[i - 1];
    const link =
      before === undefined
        ? symbolVa(image, "kpatch_func_hash")
        : fieldVa(KPATCH_FUNC, before.va, "next");
    const next = readField(g.read, KPATCH_FUNC, f, "next");
    return { value: i < 0 ? undefined : { link, next }, cost: 0 };
  });
  if (at !== undefined) yield* writeWord(at.link, at.next);
}

/** synchronize_rcu(): no NMI that began before is in the handler any more. */
export function* synchronize(image: Image): Program<void> {
  yield* call("schedule_on_each_cpu", symbolVa(image, "rcu_tasks_be_rude"));
}

/** The new functions that a patch wants in force whoever is in the old ones. */
export function forcedFunctions({ module }: PatchPlan): ReadonlySet<bigint> {
  return new Set(hooksOf(module, ".kpatch.force"));
}

/** The functions of a patch's module, in memory of their own; nobody finds them yet. */
export function* makeFuncs(plan: PatchPlan, mod: bigint): Program<readonly bigint[]> {
  const funcs: bigint[] = [];
  const forced = forcedFunctions(plan);
  for (const f of plan.functions) {
    const va = yield* call("kzalloc", BigInt(KPATCH_FUNC.size));
    const bytes = new Uint8Array(KPATCH_FUNC.size);
    const view = new DataView(bytes.buffer);
    const put = (field: keyof typeof KPATCH_FUNC.fields, value: bigint): void =>
      view.setBigUint64(KPATCH_FUNC.fields[field].offset, value, true);
    put("old_addr", f.site ?? 0n);
    put("new_addr", f.newVa);
    put("new_size", BigInt(f.newSize));
    put("mod", mod);
    view.setUint32(KPATCH_FUNC.fields.force.offset, forced.has(f.newVa) ? 1 : 0, true);
    yield* write(va, bytes);
    funcs.push(va);
  }
  return funcs;
}

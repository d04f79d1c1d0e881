// Redirecting functions: one klp_ops per old function with the stack of its replacements, hooked at the fentry site while
// the stack is not empty. kernel/livepatch/patch.c
import {
  ftraceLocation,
  ftraceSetFilterIp,
  readFtraceOps,
  registerFtraceFunction,
  unregisterFtraceFunction,
} from "../../ftrace/index.ts";
import {
  call,
  CONSTANTS,
  ERRNO,
  fieldVa,
  FTRACE_CONSTANTS,
  FTRACE_OPS,
  KLP_FUNC,
  KLP_OBJECT,
  KLP_OPS,
  log,
  symbolVa,
  writeField,
  type Program,
} from "../../kernel/index.ts";
import { KLP, type KlpSystem } from "./system.ts";
import { initListHead, listAdd, listDel } from "../lists.ts";
import { findOps, see, type KlpFunc, type KlpObject, type KlpPatch } from "./view.ts";

const FLAGS =
  FTRACE_CONSTANTS.FTRACE_OPS_FL_DYNAMIC |
  FTRACE_CONSTANTS.FTRACE_OPS_FL_IPMODIFY |
  FTRACE_CONSTANTS.FTRACE_OPS_FL_PERMANENT;

/** Where the ftrace_ops of a klp_ops lies. */
function fops(ops: bigint): bigint {
  return ops + BigInt(KLP_OPS.size);
}

function stackNode(func: KlpFunc): bigint {
  return fieldVa(KLP_FUNC, func.va, "stack_node");
}

/** Gives a klp_ops back, and the filter of its ftrace_ops with it. */
function* freeOps(ops: bigint): Program<void> {
  const hash = yield* see((g) => readFtraceOps(g.read, fops(ops)).hashVa);
  if (hash !== 0n) yield* call("kfree", hash);
  yield* call("kfree", ops);
}

/** klp_patch_func(). Returns 0 or an errno. */
function* patchFunc({ image }: KlpSystem, func: KlpFunc): Program<number> {
  const found = yield* see((g) => findOps(g.read, image, func.oldFunc)?.va);
  if (found !== undefined) {
    yield* listAdd(stackNode(func), fieldVa(KLP_OPS, found, "func_stack"));
    yield* writeField(KLP_FUNC, func.va, "patched", 1n);
    return 0;
  }
  const site = yield* ftraceLocation(image, func.oldFunc);
  if (site === undefined) {
    yield* log(`${KLP}failed to find location for function '${func.oldName}'`);
    return -CONSTANTS.EINVAL;
  }
  const ops = yield* call("kzalloc", BigInt(KLP_OPS.size + FTRACE_OPS.size));
  if (ops === 0n) return -ERRNO.ENOMEM;
  yield* writeField(FTRACE_OPS, fops(ops), "func", symbolVa(image, "klp_ftrace_handler"));
  yield* writeField(FTRACE_OPS, fops(ops), "flags", BigInt(FLAGS));
  yield* listAdd(fieldVa(KLP_OPS, ops, "node"), symbolVa(image, "klp_ops"));
  yield* initListHead(fieldVa(KLP_OPS, ops, "func_stack"));
  yield* listAdd(stackNode(func), fieldVa(KLP_OPS, ops, "func_stack"));
  let error = yield* ftraceSetFilterIp(image, fops(ops), site, false, false);
  if (error !== 0) {
    yield* log(`${KLP}failed to set ftrace filter for function '${func.oldName}' (${error})`);
  } else {
    error = yield* registerFtraceFunction(image, fops(ops));
    if (error === 0) {
      yield* writeField(KLP_FUNC, func.va, "patched", 1n);
      return 0;
    }
    yield* log(`${KLP}failed to register ftrace handler for function '${func.oldName}' (${error})`);
    yield* ftraceSetFilterIp(image, fops(ops), site, true, false);
  }
  yield* listDel(stackNode(func));
  yield* listDel(fieldVa(KLP_OPS, ops, "node"));
  yield* freeOps(ops);
  return error;
}

/** klp_unpatch_func(). */
function* unpatchFunc({ image }: KlpSystem, func: KlpFunc): Program<void> {
  const ops = yield* see((g) => findOps(g.read, image, func.oldFunc));
  if (ops === undefined) return;
  if (ops.stack.length === 1) {
    const site = yield* ftraceLocation(image, func.oldFunc);
    yield* unregisterFtraceFunction(image, fops(ops.va));
    if (site !== undefined) yield* ftraceSetFilterIp(image, fops(ops.va), site, true, false);
    yield* listDel(stackNode(func));
    yield* listDel(fieldVa(KLP_OPS, ops.va, "node"));
    yield* freeOps(ops.va);
  } else {
    yield* listDel(stackNode(func));
  }
  yield* writeField(KLP_FUNC, func.va, "patched", 0n);
}

/** klp_unpatch_object(). `isNopOnly`: only the nops that atomic replace made. */
export function* unpatchObject(k: KlpSystem, object: KlpObject, isNopOnly = false): Program<void> {
  for (const func of object.funcs) {
    if (isNopOnly && !func.nop) continue;
    if (func.patched) yield* unpatchFunc(k, func);
  }
  if (object.dynamic || !isNopOnly) yield* writeField(KLP_OBJECT, object.va, "patched", 0n);
}

/** klp_patch_object(): every function or none. Returns 0 or an errno. */
export function* patchObject(k: KlpSystem, object: KlpObject): Program<number> {
  for (const [i, func] of object.funcs.entries()) {
    const error = yield* patchFunc(k, func);
    if (error === 0) continue;
    const done = object.funcs.slice(0, i).map((f) => ({ ...f, patched: true }));
    yield* unpatchObject(k, { ...object, funcs: done });
    return error;
  }
  yield* writeField(KLP_OBJECT, object.va, "patched", 1n);
  return 0;
}

/** klp_unpatch_objects() and klp_unpatch_objects_dynamic(). */
export function* unpatchObjects(k: KlpSystem, patch: KlpPatch, isNopOnly = false): Program<void> {
  for (const object of patch.objects) {
    if (object.patched) yield* unpatchObject(k, object, isNopOnly);
  }
}

// An ops' own trampoline: a copy of ftrace_caller or ftrace_regs_caller that loads this ops and calls its callback. It is
// written before anything leads to it. arch/x86/kernel/ftrace.c, create_trampoline().
import { call, readImage, symbolVa, write, type Program } from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import { hasFlag, type FtraceOps } from "./state.ts";
import { branchTo } from "./text-poke.ts";

const OP_REF_SIZE = 7; // mov disp32(%rip), %rdx
const OP_REF = [0x48, 0x8b, 0x15];
const RET = 0xc3;

/** The bytes of an ops' trampoline at va. size: without the pointer to the ops that lies behind it. */
export function trampolineText(
  image: Image,
  ops: Pick<FtraceOps, "va" | "func" | "flags">,
  va: bigint,
): { readonly bytes: Uint8Array; readonly size: number } {
  const name = hasFlag(ops.flags, "FTRACE_OPS_FL_SAVE_REGS")
    ? "ftrace_regs_caller"
    : "ftrace_caller";
  const call = name === "ftrace_caller" ? "ftrace_call" : "ftrace_regs_call";
  const start = symbolVa(image, name);
  const offset = (label: string): number => Number(symbolVa(image, label) - start);
  const length = offset(`${name}_end`);
  const size = length + 1;
  const bytes = new Uint8Array(size + 8);
  bytes.set(readImage(image)(start, length));
  bytes[length] = RET;
  const view = new DataView(bytes.buffer);
  const opPtr = offset(`${name}_op_ptr`);
  if (OP_REF.some((b, i) => bytes[opPtr + i] !== b)) {
    throw new Error(`${name}_op_ptr: expected a load of function_trace_op into rdx`);
  }
  view.setInt32(opPtr + 3, size - (opPtr + OP_REF_SIZE), true);
  bytes.set(branchTo("call", va + BigInt(offset(call)), ops.func), offset(call));
  view.setBigUint64(size, ops.va, true);
  return { bytes, size };
}

/** Makes the trampoline; answers where it is and how large, or undefined when there is no room. */
export function* createTrampoline(
  image: Image,
  ops: Pick<FtraceOps, "va" | "func" | "flags">,
): Program<{ readonly va: bigint; readonly size: number } | undefined> {
  const { bytes: probe } = trampolineText(image, ops, symbolVa(image, "module_room"));
  const va = yield* call("module_alloc", BigInt(probe.length));
  if (va === 0n) return undefined;
  const { bytes, size } = trampolineText(image, ops, va);
  yield* write(va, bytes);
  return { va, size };
}

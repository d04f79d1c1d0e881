// Registering kprobes: on a fentry site through ftrace, elsewhere by an int3 and a slot in which the probed instruction
// executes. A probe with a post_handler may change ip and so owns its site (IPMODIFY). After kernel/kprobes.c.
// DIFFERS: one probe for each address; instructions that branch, or change IF, are refused.
import {
  call,
  ERRNO,
  fieldVa,
  KPROBE,
  look,
  readField,
  readUint,
  symbolVa,
  write,
  writeWord,
  type Program,
  type Read,
} from "../kernel/index.ts";
import { symbolAt, type Image } from "../link/index.ts";
import { Code, Decoder, DecoderOptions, FlowControl, Mnemonic } from "iced-x86";
import { ftraceSetFilterIp, registerFtraceFunction, unregisterFtraceFunction } from "./ftrace.ts";
import { synchronizeRcuTasks } from "./rcu-tasks.ts";
import { readRecords } from "./state.ts";

const { EBUSY, EINVAL, ENOENT, ENOMEM } = ERRNO;
const INT3 = 0xcc;

/** pre: (kprobe, pt_regs), not 0 if it has changed regs->ip; post: after the instruction. Guest functions, 0 for none. */
export interface KprobeHandlers {
  readonly pre: bigint;
  readonly post: bigint;
}

interface Found {
  readonly isFtrace: boolean;
  readonly exists: boolean;
  readonly bytes: Uint8Array | undefined;
}

const IF_MODIFIERS: ReadonlySet<Mnemonic> = new Set([
  Mnemonic.Cli,
  Mnemonic.Sti,
  Mnemonic.Pushfq,
  Mnemonic.Popfq,
]);

/** The instruction at addr if it is the start of one and can be executed elsewhere. kernel: can_probe(), copy of insn */
function probedInsn(read: Read, image: Image, addr: bigint): Uint8Array | undefined {
  const s = symbolAt(image, addr);
  if (s === undefined) return undefined;
  const where = image.sections.find((x) => addr >= x.va && addr < x.va + BigInt(x.size));
  if (where === undefined || !/^\.(text|init\.text)/.test(where.name)) return undefined;
  const start = addr - s.offset;
  const bytes = read(start, Number(s.size)).slice();
  const d = new Decoder(64, bytes, DecoderOptions.None);
  try {
    d.ip = start;
    while (d.canDecode && d.ip < addr) d.decode().free();
    if (d.ip !== addr) return undefined;
    const insn = d.decode();
    const { code, flowControl, mnemonic, length } = insn;
    insn.free();
    if (code === Code.INVALID || flowControl !== FlowControl.Next) return undefined;
    if (IF_MODIFIERS.has(mnemonic)) return undefined;
    const at = Number(s.offset);
    return bytes.slice(at, at + length);
  } finally {
    d.free();
  }
}

/** The instruction for another place: a displacement from rip is counted from there, and an int3 follows. */
function slotBytes(insn: Uint8Array, from: bigint, to: bigint): Uint8Array | undefined {
  const out = new Uint8Array(insn.length + 1);
  out.set(insn);
  out[insn.length] = INT3;
  const d = new Decoder(64, insn, DecoderOptions.None);
  d.ip = from;
  const i = d.decode();
  const offsets = d.getConstantOffsets(i);
  const isRelative = i.isIpRelMemoryOperand;
  const at = offsets.displacementOffset;
  i.free();
  offsets.free();
  d.free();
  if (!isRelative) return out;
  const view = new DataView(out.buffer);
  const disp = BigInt(view.getInt32(at, true)) + BigInt.asIntN(64, from - to);
  if (disp !== BigInt.asIntN(32, disp)) return undefined;
  view.setInt32(at, Number(disp), true);
  return out;
}

function* withKprobeMutex<T>(image: Image, body: () => Program<T>): Program<T> {
  const mutex = symbolVa(image, "kprobe_mutex");
  yield* call("mutex_lock", mutex);
  const value = yield* body();
  yield* call("mutex_unlock", mutex);
  return value;
}

/** A probe that is armed, or why it is not. */
export type Registered =
  { readonly ok: true; readonly kprobe: bigint } | { readonly ok: false; readonly error: number };

const refused = (error: number): Registered => ({ ok: false, error });

/**
 * Registers a probe at an instruction of the kernel.
 *
 * returns  its struct kprobe; or -EINVAL: not the start of an instruction that can be probed; -EBUSY: probed already, or a
 *          post_handler wants a site that another one may redirect; -ENOMEM; -ENODEV
 * kernel   kernel/kprobes.c, register_kprobe()
 */
export function* registerKprobe(
  image: Image,
  addr: bigint,
  handlers: KprobeHandlers,
): Program<Registered> {
  return yield* withKprobeMutex(image, function* (): Program<Registered> {
    const found = yield* look("text_mutex", (g): { value: Found; cost: number } => {
      const isFtrace = readRecords(g.read, image).some((r) => r.ip === addr);
      const bytes = isFtrace ? undefined : probedInsn(g.read, image, addr);
      return { value: { isFtrace, exists: kprobeAt(g.read, image, addr) !== 0n, bytes }, cost: 60 };
    });
    if (found.exists) return refused(-EBUSY);
    if (!found.isFtrace && found.bytes === undefined) return refused(-EINVAL);
    const va = yield* call("kzalloc", BigInt(KPROBE.size));
    if (va === 0n) return refused(-ENOMEM);
    const at = (f: keyof typeof KPROBE.fields): bigint => fieldVa(KPROBE, va, f);
    yield* writeWord(at("addr"), addr);
    yield* writeWord(at("pre_handler"), handlers.pre);
    yield* writeWord(at("post_handler"), handlers.post);
    if (found.bytes !== undefined) {
      const slot = yield* call("module_alloc", 16n);
      const bytes = slot === 0n ? undefined : slotBytes(found.bytes, addr, slot);
      if (bytes === undefined) {
        yield* call("kfree", va);
        return refused(slot === 0n ? -ENOMEM : -EINVAL);
      }
      yield* write(slot, bytes);
      yield* writeWord(at("opcode"), BigInt(found.bytes[0] ?? 0), 1);
      yield* writeWord(at("len"), BigInt(found.bytes.length), 1);
      yield* writeWord(at("slot"), slot);
    }
    const list = symbolVa(image, "kprobe_list");
    const first = yield* lookAtWord(list);
    // Complete before it can be found: pairs with get_kprobe().
    yield* writeWord(at("next"), first);
    yield* writeWord(list, va);
    const error = found.isFtrace
      ? yield* armFtrace(image, addr, handlers.post !== 0n)
      : yield* pokeOpcode(image, addr, INT3);
    if (error !== 0) {
      yield* writeWord(list, first);
      yield* call("schedule_on_each_cpu", symbolVa(image, "rcu_tasks_be_rude"));
      yield* call("kfree", va);
      return refused(error);
    }
    return { ok: true, kprobe: va };
  });
}

function kprobeAt(read: Read, image: Image, addr: bigint): bigint {
  let kp = readUint(read, symbolVa(image, "kprobe_list"), 8);
  while (kp !== 0n && readField(read, KPROBE, kp, "addr") !== addr) {
    kp = readField(read, KPROBE, kp, "next");
  }
  return kp;
}

function* lookAtWord(va: bigint, size = 8): Program<bigint> {
  return yield* look("word", (g) => ({ value: readUint(g.read, va, size), cost: 0 }));
}

/** kernel: arm_kprobe_ftrace() */
function* armFtrace(image: Image, addr: bigint, ipmodify: boolean): Program<number> {
  const kind = ipmodify ? "ipmodify" : "ftrace";
  const ops = symbolVa(image, `kprobe_${kind}_ops`);
  const count = symbolVa(image, `kprobe_${kind}_enabled`);
  const ret = yield* ftraceSetFilterIp(image, ops, addr, false, false);
  if (ret !== 0) return ret;
  const n = yield* lookAtWord(count, 4);
  if (n === 0n) {
    const error = yield* registerFtraceFunction(image, ops);
    if (error !== 0) {
      yield* ftraceSetFilterIp(image, ops, addr, true, false);
      return error;
    }
  }
  yield* writeWord(count, n + 1n, 4);
  return 0;
}

/** kernel: disarm_kprobe_ftrace() */
function* disarmFtrace(image: Image, addr: bigint, ipmodify: boolean): Program<void> {
  const kind = ipmodify ? "ipmodify" : "ftrace";
  const ops = symbolVa(image, `kprobe_${kind}_ops`);
  const count = symbolVa(image, `kprobe_${kind}_enabled`);
  const n = yield* lookAtWord(count, 4);
  if (n === 1n) yield* unregisterFtraceFunction(image, ops);
  yield* writeWord(count, n - 1n, 4);
  yield* ftraceSetFilterIp(image, ops, addr, true, false);
}

/** kernel: arch_arm_kprobe(), arch_disarm_kprobe() */
function* pokeOpcode(image: Image, addr: bigint, opcode: number): Program<number> {
  const mutex = symbolVa(image, "text_mutex");
  yield* call("mutex_lock", mutex);
  yield* writeWord(addr, BigInt(opcode), 1);
  yield* call("smp_sync_cores");
  yield* call("mutex_unlock", mutex);
  return 0;
}

/**
 * Takes a probe away. When it returns nobody is in its handlers or its slot.
 *
 * returns  0 or -ENOENT
 * kernel   kernel/kprobes.c, unregister_kprobe()
 */
export function* unregisterKprobe(image: Image, addr: bigint): Program<number> {
  return yield* withKprobeMutex(image, function* () {
    const kp = yield* look("word", (g) => {
      const va = kprobeAt(g.read, image, addr);
      const field = (f: keyof typeof KPROBE.fields): bigint =>
        va === 0n ? 0n : readField(g.read, KPROBE, va, f);
      const value = {
        va,
        slot: field("slot"),
        opcode: Number(field("opcode")),
        post: field("post_handler"),
        next: field("next"),
      };
      return { value, cost: 0 };
    });
    if (kp.va === 0n) return -ENOENT;
    if (kp.slot === 0n) yield* disarmFtrace(image, addr, kp.post !== 0n);
    else yield* pokeOpcode(image, addr, kp.opcode);
    const link = yield* look("word", (g) => {
      let at = symbolVa(image, "kprobe_list");
      while (readUint(g.read, at, 8) !== kp.va) {
        at = fieldVa(KPROBE, readUint(g.read, at, 8), "next");
      }
      return { value: at, cost: 0 };
    });
    yield* writeWord(link, kp.next);
    yield* call("schedule_on_each_cpu", symbolVa(image, "rcu_tasks_be_rude"));
    yield* synchronizeRcuTasks(image);
    if (kp.slot !== 0n) yield* call("module_memfree", kp.slot);
    yield* call("kfree", kp.va);
    return 0;
  });
}

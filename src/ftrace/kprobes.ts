// Registering kprobes: on a fentry site through ftrace, elsewhere by an int3 and a slot in which the probed instruction
// executes. A probe with a post_handler may change ip and so owns its site (IPMODIFY). After kernel/kprobes.c; what runs
// when a probe is hit is kernels/base/kprobes.S.
// DIFFERS: instructions that branch, or change IF, are refused; what ops a probe is armed by is remembered, where v6.12 looks whether
// it has a post_handler now; a probe whose module is gone is not aggregated with.
import {
  call,
  ERRNO,
  fieldVa,
  FTRACE_CONSTANTS,
  KLP_CONSTANTS,
  KPROBE,
  log,
  look,
  readField,
  readString,
  readUint,
  symbolVa,
  write,
  writeField,
  writeWord,
  type Program,
  type Read,
  type Upcall,
} from "../kernel/index.ts";
import { findSymbol, formatAddress, symbolAt, type Image } from "../link/index.ts";
import { ftraceSetFilterIp, registerFtraceFunction, unregisterFtraceFunction } from "./ftrace.ts";
import { leaveAggrKprobe, linkTo, registerAggrKprobe } from "./kprobe-aggr.ts";
import { probedInsn, readKprobes, slotBytes, type ListedKprobe } from "./kprobe-insn.ts";
import type { ModuleRange } from "./module.ts";
import { synchronizeCallbacks } from "./rcu-tasks.ts";
import { readRecords } from "./state.ts";

const { EINVAL, ENOENT, ENOMEM } = ERRNO;
const F = FTRACE_CONSTANTS;
const INT3 = 0xcc;
const ENDBR64 = 0xfa1e0ff3n;

/** pre: (kprobe, pt_regs), not 0 if it has changed regs->ip; post: after the instruction. Guest functions, 0 for none. */
export interface KprobeHandlers {
  readonly pre: bigint;
  readonly post: bigint;
}

/** A probe that is armed, or why it is not. */
export type Registered =
  { readonly ok: true; readonly kprobe: bigint } | { readonly ok: false; readonly error: number };

/** The text that may be probed: the kernel, and the modules that are loaded. */
export interface ProbedText {
  readonly image: Image;
  modules?(read: Read): readonly Image[];
}

function* withKprobeMutex<T>(image: Image, body: () => Program<T>): Program<T> {
  const mutex = symbolVa(image, "kprobe_mutex");
  yield* call("mutex_lock", mutex);
  const value = yield* body();
  yield* call("mutex_unlock", mutex);
  return value;
}

function imagesOf(text: ProbedText, read: Read): readonly Image[] {
  return [text.image, ...(text.modules?.(read) ?? [])];
}

/**
 * Registers a probe at an instruction of the kernel, with a struct kprobe of its own.
 *
 * returns  its struct kprobe; or why not, as registerKprobeAt
 */
export function* registerKprobe(
  image: Image,
  addr: bigint,
  handlers: KprobeHandlers,
): Program<Registered> {
  const va = yield* call("kzalloc", BigInt(KPROBE.size));
  if (va === 0n) return { ok: false, error: -ENOMEM };
  yield* writeField(KPROBE, va, "addr", addr);
  yield* writeField(KPROBE, va, "pre_handler", handlers.pre);
  yield* writeField(KPROBE, va, "post_handler", handlers.post);
  const error = yield* registerKprobeAt({ image }, va);
  if (error === 0) return { ok: true, kprobe: va };
  yield* call("kfree", va);
  return { ok: false, error };
}

/** Takes the probe of registerKprobe at addr away, of several the latest. Returns 0 or -ENOENT. */
export function* unregisterKprobe(image: Image, addr: bigint): Program<number> {
  const kp = yield* lookAtProbes(image, (all) => {
    const found = all.find((p) => p.addr === addr);
    return found?.members[0] ?? found;
  });
  if (kp === undefined) return -ENOENT;
  yield* unregisterKprobeAt(image, kp.va);
  yield* call("kfree", kp.va);
  return 0;
}

function* lookAtProbes<T>(image: Image, run: (probes: readonly ListedKprobe[]) => T): Program<T> {
  return yield* look("word", (g) => ({ value: run(readKprobes(g.read, image)), cost: 0 }));
}

/** What is probed: where, through ftrace or not, and the instruction if not. */
interface Place {
  readonly addr: bigint;
  readonly isFtrace: boolean;
  readonly insn: Uint8Array | undefined;
}

/**
 * Registers the struct kprobe at kp: it says an address, or the name of a symbol, and offset.
 *
 * returns  0; -EINVAL: both or neither, registered already, or not the start of an instruction that can be probed;
 *          -ENOENT: no such symbol; -EBUSY: a post_handler wants a site that another one may redirect; -ENOMEM; -ENODEV
 * kernel   kernel/kprobes.c, register_kprobe()
 */
export function* registerKprobeAt(text: ProbedText, kp: bigint): Program<number> {
  const { image } = text;
  const at = yield* look("private", (g) => ({ value: kprobeAddr(text, g.read, kp), cost: 40 }));
  if (typeof at === "number") return at;
  return yield* withKprobeMutex(image, function* () {
    const probes = yield* lookAtProbes(image, (all) => all);
    if (probes.some((p) => [p, ...p.members].some((x) => x.va === kp))) return -EINVAL; // warn_kprobe_rereg()
    // check_kprobe_address_safe()
    const place = yield* look("text_mutex", (g): { value: Place; cost: number } => {
      const isFtrace = readRecords(g.read, image).some((r) => r.ip === at);
      const insn = isFtrace ? undefined : probedInsn(g.read, imagesOf(text, g.read), at, probes);
      return { value: { addr: at, isFtrace, insn }, cost: 60 };
    });
    if (!place.isFtrace && place.insn === undefined) return -EINVAL;
    const old = probes.find((p) => p.addr === at && (p.flags & F.KPROBE_FLAG_GONE) === 0);
    if (old === undefined) return yield* registerLocked(image, kp, place);
    const post = yield* postHandler(kp);
    return yield* registerAggrKprobe(image, probes, old, { va: kp, post }, place.insn?.length ?? 0);
  });
}

/** _kprobe_addr(): the address, or an errno. */
function kprobeAddr(text: ProbedText, read: Read, kp: bigint): bigint | number {
  const given = readField(read, KPROBE, kp, "addr");
  const name = readField(read, KPROBE, kp, "symbol_name");
  if ((given === 0n) === (name === 0n)) return -EINVAL;
  const images = imagesOf(text, read);
  let start = given;
  if (name !== 0n) {
    const wanted = readString(read, name);
    const found = images.map((i) => findSymbol(i, wanted)).find((s) => s !== undefined);
    if (found === undefined) return -ENOENT;
    start = found.va;
  }
  const addr = start + readField(read, KPROBE, kp, "offset");
  // The modules first: to the kernel's own symbols they are one piece of data.
  const symbol = images
    .toReversed()
    .map((i) => symbolAt(i, addr))
    .find((s) => s !== undefined);
  if (symbol === undefined) return -ENOENT;
  // arch_adjust_kprobe_addr(): the entry of a function is behind its endbr64.
  return symbol.offset === 0n && readUint(read, addr, 4) === ENDBR64 ? addr + 4n : addr;
}

/** needs kprobe_mutex */
function* registerLocked(image: Image, kp: bigint, place: Place): Program<number> {
  const { addr, insn } = place;
  let slot = 0n;
  if (insn !== undefined) {
    // arch_prepare_kprobe()
    slot = yield* call("module_alloc", BigInt(F.MAX_INSN_SIZE));
    if (slot === 0n) return -ENOMEM;
    const bytes = slotBytes(insn, addr, slot);
    if (bytes === undefined) {
      yield* call("module_memfree", slot);
      return -EINVAL;
    }
    yield* write(slot, bytes);
  }
  yield* writeField(KPROBE, kp, "addr", addr);
  yield* writeField(KPROBE, kp, "flags", BigInt(place.isFtrace ? F.KPROBE_FLAG_FTRACE : 0));
  yield* writeField(KPROBE, kp, "nmissed", 0n);
  yield* writeField(KPROBE, kp, "opcode", BigInt(insn?.[0] ?? 0));
  yield* writeField(KPROBE, kp, "len", BigInt(insn?.length ?? 0));
  yield* writeField(KPROBE, kp, "slot", slot);
  const ipmodify = place.isFtrace && (yield* postHandler(kp)) !== 0n;
  yield* writeField(KPROBE, kp, "ipmodify", ipmodify ? 1n : 0n);
  const list = symbolVa(image, "kprobe_list");
  const first = yield* lookAtWord(list);
  // hlist_add_head_rcu(): complete before it can be found. Pairs with get_kprobe().
  yield* writeField(KPROBE, kp, "next", first);
  yield* writeWord(list, kp);
  const error = place.isFtrace
    ? yield* armFtrace(image, addr, ipmodify)
    : yield* pokeOpcode(image, addr, INT3);
  if (error !== 0) {
    yield* writeWord(list, first);
    yield* call("schedule_on_each_cpu", symbolVa(image, "rcu_tasks_be_rude"));
  }
  return error;
}

function* postHandler(kp: bigint): Program<bigint> {
  return yield* lookAtWord(fieldVa(KPROBE, kp, "post_handler"));
}

function* lookAtWord(va: bigint, size = 8): Program<bigint> {
  return yield* look("word", (g) => ({ value: readUint(g.read, va, size), cost: 0 }));
}

/** The ops that calls probes of fentry sites, and how many it has: one may change ip, the other not. */
function opsFor(image: Image, ipmodify: boolean): { readonly ops: bigint; readonly count: bigint } {
  const kind = ipmodify ? "ipmodify" : "ftrace";
  return {
    ops: symbolVa(image, `kprobe_${kind}_ops`),
    count: symbolVa(image, `kprobe_${kind}_enabled`),
  };
}

/** kernel: arm_kprobe_ftrace() */
function* armFtrace(image: Image, addr: bigint, ipmodify: boolean): Program<number> {
  const { ops, count } = opsFor(image, ipmodify);
  const ret = yield* ftraceSetFilterIp(image, ops, addr, false, false);
  if (ret !== 0) {
    yield* log(`Failed to arm kprobe-ftrace at ${formatAddress(image, addr)} (error ${ret})`);
    return ret;
  }
  const n = yield* lookAtWord(count, 4);
  if (n === 0n) {
    const error = yield* registerFtraceFunction(image, ops);
    if (error !== 0) {
      yield* log(`Failed to register kprobe-ftrace (error ${error})`);
      yield* ftraceSetFilterIp(image, ops, addr, true, false);
      return error;
    }
  }
  yield* writeWord(count, n + 1n, 4);
  return 0;
}

/** kernel: disarm_kprobe_ftrace() */
function* disarmFtrace(image: Image, addr: bigint, ipmodify: boolean): Program<void> {
  const { ops, count } = opsFor(image, ipmodify);
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
 * Takes the struct kprobe at kp away; nothing is done when it is not registered. When it returns nobody is in its
 * handlers or its slot, and its address is forgotten, so that it can be registered again by its name.
 *
 * kernel   kernel/kprobes.c, unregister_kprobe()
 */
export function* unregisterKprobeAt(image: Image, kp: bigint): Program<void> {
  const found = yield* withKprobeMutex(image, function* () {
    const probes = yield* lookAtProbes(image, (all) => all);
    const p = probes.find((x) => x.va === kp || x.members.some((m) => m.va === kp));
    if (p === undefined) return undefined;
    const member = p.members.find((m) => m.va === kp);
    if (member !== undefined && p.members.length > 1) {
      yield* leaveAggrKprobe(p, member);
      return { slot: 0n, aggr: 0n };
    }
    if ((p.flags & F.KPROBE_FLAG_GONE) === 0) {
      if (p.slot === 0n) yield* disarmFtrace(image, p.addr, p.ipmodify);
      else yield* pokeOpcode(image, p.addr, p.opcode);
    }
    yield* writeWord(linkTo(image, probes, p.va), p.next);
    return { slot: p.slot, aggr: member === undefined ? 0n : p.va };
  });
  yield* writeField(KPROBE, kp, "addr", 0n);
  if (found === undefined) return;
  yield* synchronizeCallbacks(image);
  // An independent probe's, or with the last of its members the aggr_kprobe's.
  if (found.slot !== 0n) yield* call("module_memfree", found.slot);
  if (found.aggr !== 0n) yield* call("kfree", found.aggr);
}

/**
 * The probes in a module that is going, which its text takes with it: they are never called again, and stay registered
 * until their users take them away. ftrace still knows the module's sites.
 *
 * kernel   kernel/kprobes.c, kprobes_module_callback(), kill_kprobe()
 */
export function* kprobesModuleGoing(image: Image, mod: ModuleRange): Program<void> {
  yield* withKprobeMutex(image, function* () {
    const lost = yield* lookAtProbes(image, (all) =>
      all.filter((p) => p.addr >= mod.base && p.addr < mod.base + BigInt(mod.size)),
    );
    for (const p of lost) {
      if ((p.flags & F.KPROBE_FLAG_FTRACE) !== 0) {
        yield* disarmFtrace(image, p.addr, p.ipmodify);
      }
      for (const x of [p, ...p.members]) {
        yield* writeField(KPROBE, x.va, "flags", BigInt(x.flags | F.KPROBE_FLAG_GONE));
      }
      if (p.slot === 0n) continue;
      // arch_remove_kprobe(): nobody is in the module any more.
      yield* writeField(KPROBE, p.va, "slot", 0n);
      yield* call("module_memfree", p.slot);
    }
  });
}

/** What the init or exit function of a module asks; undefined when it is about no probe. */
export function* serveKprobeUpcall(text: ProbedText, up: Upcall): Program<bigint | undefined> {
  if (up.upcall === KLP_CONSTANTS.UPCALL_REGISTER_KPROBE) {
    return BigInt(yield* registerKprobeAt(text, up.arg));
  }
  if (up.upcall !== KLP_CONSTANTS.UPCALL_UNREGISTER_KPROBE) return undefined;
  yield* unregisterKprobeAt(text.image, up.arg);
  return 0n;
}

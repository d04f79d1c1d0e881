// Several kprobes at one address: an aggr_kprobe stands for them in the list, with their instruction and slot, and its handlers
// (kernels/base/kprobes.S) call theirs in turn. It lasts until the last of them goes. needs kprobe_mutex throughout.
// kernel: kernel/kprobes.c, register_aggr_kprobe(), __unregister_kprobe_top(), __unregister_kprobe_bottom().
import {
  call,
  ERRNO,
  fieldVa,
  FTRACE_CONSTANTS,
  KPROBE,
  symbolVa,
  writeField,
  writeWord,
  type Program,
} from "../kernel/index.ts";
import type { Image } from "../link/index.ts";
import type { ListedKprobe } from "./kprobe-insn.ts";

const F = FTRACE_CONSTANTS;
const PREV = 8n;

function listVa(kp: bigint): bigint {
  return fieldVa(KPROBE, kp, "list");
}

/** The place that leads to a probe in the list: the next of the one before it, or the list's head. */
export function linkTo(image: Image, probes: readonly ListedKprobe[], kp: bigint): bigint {
  const before = probes.find((p) => p.next === kp);
  return before === undefined ? symbolVa(image, "kprobe_list") : fieldVa(KPROBE, before.va, "next");
}

/** copy_kprobe(): the instruction and the slot that another one has. */
function* copyKprobe(to: bigint, from: ListedKprobe, len: bigint): Program<void> {
  yield* writeField(KPROBE, to, "addr", from.addr);
  yield* writeField(KPROBE, to, "opcode", BigInt(from.opcode));
  yield* writeField(KPROBE, to, "len", len);
  yield* writeField(KPROBE, to, "slot", from.slot);
}

/** init_aggr_kprobe(): takes the place of the only probe of an address, which becomes its first member. 0: no memory. */
function* aggregate(
  image: Image,
  probes: readonly ListedKprobe[],
  first: ListedKprobe,
  len: bigint,
): Program<bigint> {
  const ap = yield* call("kzalloc", BigInt(KPROBE.size));
  if (ap === 0n) return 0n;
  yield* copyKprobe(ap, first, len);
  yield* writeField(KPROBE, ap, "flags", BigInt(first.flags));
  yield* writeField(KPROBE, ap, "ipmodify", first.ipmodify ? 1n : 0n);
  yield* writeField(KPROBE, ap, "pre_handler", symbolVa(image, "aggr_pre_handler"));
  const post = first.post === 0n ? 0n : symbolVa(image, "aggr_post_handler");
  yield* writeField(KPROBE, ap, "post_handler", post);
  for (const [a, b] of [
    [ap, first.va],
    [first.va, ap],
  ] as const) {
    yield* writeWord(listVa(a), listVa(b));
    yield* writeWord(listVa(a) + PREV, listVa(b));
  }
  // hlist_replace_rcu(): complete before it can be found. Whoever stands on the other one goes on from there.
  yield* writeField(KPROBE, ap, "next", first.next);
  yield* writeWord(linkTo(image, probes, first.va), ap);
  return ap;
}

/**
 * Registers another probe at the address of `old`, which is armed.
 *
 * len      of the probed instruction, 0 at a fentry site
 * returns  0 or -ENOMEM
 */
export function* registerAggrKprobe(
  image: Image,
  probes: readonly ListedKprobe[],
  old: ListedKprobe,
  kp: { readonly va: bigint; readonly post: bigint },
  len: number,
): Program<number> {
  const isAggr = old.members.length > 0;
  const ap = isAggr ? old.va : yield* aggregate(image, probes, old, BigInt(len));
  if (ap === 0n) return -ERRNO.ENOMEM;
  yield* copyKprobe(kp.va, old, BigInt(len));
  yield* writeField(KPROBE, kp.va, "flags", BigInt(old.flags & F.KPROBE_FLAG_FTRACE));
  yield* writeField(KPROBE, kp.va, "nmissed", 0n);
  // add_new_kprobe(): list_add_rcu(), so that the latest is called first.
  const head = listVa(ap);
  const next = listVa(old.members[0]?.va ?? old.va);
  yield* writeWord(listVa(kp.va), next);
  yield* writeWord(listVa(kp.va) + PREV, head);
  yield* writeWord(head, listVa(kp.va));
  yield* writeWord(next + PREV, listVa(kp.va));
  if (kp.post !== 0n) {
    yield* writeField(KPROBE, ap, "post_handler", symbolVa(image, "aggr_post_handler"));
  }
  return 0;
}

/** Takes a member that is not the last one out of its aggr_kprobe, which stays armed. */
export function* leaveAggrKprobe(ap: ListedKprobe, kp: ListedKprobe): Program<void> {
  yield* writeField(KPROBE, kp.va, "flags", BigInt(kp.flags | F.KPROBE_FLAG_DISABLED));
  const others = ap.members.filter((p) => p.va !== kp.va);
  const isFtrace = (ap.flags & F.KPROBE_FLAG_FTRACE) !== 0;
  if (!isFtrace && others.every((p) => p.post === 0n)) {
    yield* writeField(KPROBE, ap.va, "post_handler", 0n);
  }
  // list_del_rcu()
  const at = ap.members.findIndex((p) => p.va === kp.va);
  const prev = listVa(ap.members[at - 1]?.va ?? ap.va);
  const next = listVa(ap.members[at + 1]?.va ?? ap.va);
  yield* writeWord(next + PREV, prev);
  yield* writeWord(prev, next);
}

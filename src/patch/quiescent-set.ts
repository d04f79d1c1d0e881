// The functions that are on some stack, or running, even when everything is quiescent: the way to the checkpoint and to
// the park site down to the context switch, the idle loop, the stopper and patchd, NMI and #BP entry. `simple` must not
// patch them. Computed from the call graph of the image's own bytes; the roots are the only names.
import { Decoder, DecoderOptions, FlowControl, OpKind } from "iced-x86";
import type { Image, ImageSymbol } from "../link/index.ts";

/** Functions by name with the functions that they call or jump to directly. */
export interface CallGraph {
  readonly callees: ReadonlyMap<string, ReadonlySet<string>>;
  readonly callers: ReadonlyMap<string, ReadonlySet<string>>;
}

function isCode(s: ImageSymbol): boolean {
  return s.type === "func" && s.size > 0n;
}

/** The direct calls and tail jumps between the functions of an image. Indirect ones are not in it. */
export function callGraph(image: Image): CallGraph {
  const functions = image.symbols.filter(isCode).toSorted((a, b) => (a.va < b.va ? -1 : 1));
  const starts = functions.map((f) => f.va);
  const at = (va: bigint): ImageSymbol | undefined => {
    let lo = 0;
    let hi = starts.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if ((starts[mid] ?? 0n) <= va) lo = mid + 1;
      else hi = mid;
    }
    const f = functions[lo - 1];
    return f && va < f.va + f.size ? f : undefined;
  };
  const callees = new Map<string, Set<string>>();
  const callers = new Map<string, Set<string>>();
  const edge = (from: string, to: string): void => {
    callees.set(from, (callees.get(from) ?? new Set()).add(to));
    callers.set(to, (callers.get(to) ?? new Set()).add(from));
  };
  for (const f of functions) {
    const s = image.segments.find((x) => f.va >= x.va && f.va < x.va + BigInt(x.bytes.length));
    if (!s?.flags.exec) continue;
    const from = Number(f.va - s.va);
    const d = new Decoder(64, s.bytes.subarray(from, from + Number(f.size)), DecoderOptions.None);
    d.ip = f.va;
    while (d.canDecode) {
      const insn = d.decode();
      const flow = insn.flowControl;
      const branches =
        flow === FlowControl.Call ||
        flow === FlowControl.UnconditionalBranch ||
        flow === FlowControl.ConditionalBranch;
      if (branches && insn.op0Kind === OpKind.NearBranch64) {
        const to = at(insn.nearBranchTarget);
        if (to && to.name !== f.name) edge(f.name, to.name);
      }
      insn.free();
    }
    d.free();
  }
  return { callees, callers };
}

function closure(
  from: Iterable<string>,
  next: ReadonlyMap<string, ReadonlySet<string>>,
  except: ReadonlySet<string> = new Set(),
): ReadonlySet<string> {
  const seen = new Set(from);
  const queue = [...seen];
  for (let f = queue.pop(); f !== undefined; f = queue.pop()) {
    for (const g of next.get(f) ?? []) {
      if (seen.has(g) || except.has(g)) continue;
      seen.add(g);
      queue.push(g);
    }
  }
  return seen;
}

/** Where a task stands still at quiescence: what calls these is on its stack, and so is the way to the switch. */
const WAITING = [
  "checkpoint_stop",
  "__kthread_parkme",
  "__refrigerator",
  "do_idle",
  "cpu_stopper_thread",
];
/** Where user tasks freeze: at quiescence they stand at the checkpoint, and only kernel threads are frozen. */
const USERS_FREEZE: ReadonlySet<string> = new Set(["get_signal"]);
/** What every switched-out stack ends in. */
const SWITCH = "__switch_to_asm";
/** The stopper's loop on every CPU, and what the hardware may enter with interrupts off. */
const RUNNING = ["multi_cpu_stop", "asm_exc_nmi", "asm_exc_int3"];
/** Where an unexpected trap leaves the living: not on the way of anything that comes back. */
const NO_RETURN: ReadonlySet<string> = new Set(["do_trap", "panic"]);
/** The requester's own stack, and what only an indirect call or a first return enters. */
const ALONE = [
  "patchd",
  "patch_loop",
  "patch_stop_fn",
  "stop_machine",
  "kthread",
  "ret_from_fork_asm",
  "ret_from_fork",
  "__switch_to",
];

/**
 * The functions that `simple` cannot patch, sorted by name: the WAITING functions with everything above them and with
 * whatever lies between them and the context switch, the RUNNING ones with everything below them, and ALONE.
 */
export function quiescentSet(image: Image): readonly string[] {
  const known = quiescentSets.get(image) ?? computeQuiescentSet(image);
  quiescentSets.set(image, known);
  return known;
}

// An image is frozen: its set is computed once.
const quiescentSets = new WeakMap<Image, readonly string[]>();

function computeQuiescentSet(image: Image): readonly string[] {
  const graph = callGraph(image);
  const known = new Set(image.symbols.filter(isCode).map((s) => s.name));
  const roots = (names: readonly string[]): string[] => names.filter((n) => known.has(n));
  const toSwitch = closure(roots([SWITCH]), graph.callers);
  const set = new Set<string>(closure(roots(WAITING), graph.callers, USERS_FREEZE));
  for (const f of closure(roots(WAITING), graph.callees)) if (toSwitch.has(f)) set.add(f);
  for (const f of closure(roots(RUNNING), graph.callees, NO_RETURN)) set.add(f);
  for (const f of roots(ALONE)) set.add(f);
  return [...set].sort();
}

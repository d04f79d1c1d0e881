// The truth about stacks, read out of the shadow that the core keeps: the return addresses that are really live on a
// stack, running or not, whatever its memory says. No unwinder may import this; the checks compare against it.
import {
  A_END,
  A_KIND,
  A_META,
  A_SHADOW,
  A_SIZE,
  A_START,
  CPU,
  CURRENT,
  FrameKind,
  M_LEFT_RIP,
  M_PARENT,
  M_TOP,
  NR_STACK_AREAS,
  RAM,
  STACK_AREAS,
  STACK_AREA_SIZE,
  STACK_META_SIZE,
  STK_META,
  STK_TOP,
  S_KIND,
  S_LINK,
  S_RET,
} from "../../assembly/abi.ts";
import { UnmappedError, type Machine } from "./machine.ts";

export type TruthKind = "call" | "interrupt" | "user" | "stored";

/** A live return address: the slot that holds it, and where it returns to. */
export interface TruthFrame {
  readonly slot: bigint;
  readonly ret: bigint;
  readonly kind: TruthKind;
}

export interface TruthStack {
  /** Innermost first. A frame of kind `user` is the boundary to user mode. */
  readonly frames: readonly TruthFrame[];
  /** The instruction that executes next on this stack: the vCPU's rip, or where the stack was left. */
  readonly ip: bigint;
  /** The vCPU that is on it, undefined when none is. */
  readonly vcpu: number | undefined;
}

interface Area {
  readonly start: bigint;
  readonly end: bigint;
  readonly size: bigint;
  readonly percpu: boolean;
  readonly shadow: number;
  readonly meta: number;
}

const KINDS: Readonly<Record<number, TruthKind>> = {
  [FrameKind.Call]: "call",
  [FrameKind.Interrupt]: "interrupt",
  [FrameKind.User]: "user",
  [FrameKind.Stored]: "stored",
};

// The areas are fixed when a machine is made.
const areasKnown = new WeakMap<Machine, readonly Area[]>();

function areasOf(m: Machine): readonly Area[] {
  const known = areasKnown.get(m);
  if (known) return known;
  const c = m.core;
  const areas = Array.from({ length: c.u32(NR_STACK_AREAS) }, (_, i) => {
    const at = STACK_AREAS + i * STACK_AREA_SIZE;
    return {
      start: c.u64(at + A_START),
      end: c.u64(at + A_END),
      size: c.u64(at + A_SIZE),
      percpu: c.u32(at + A_KIND) === 1,
      shadow: c.u32(at + A_SHADOW),
      meta: c.u32(at + A_META),
    };
  });
  areasKnown.set(m, areas);
  return areas;
}

interface Stack {
  readonly lo: bigint;
  readonly shadow: number;
  readonly meta: number;
  readonly percpu: boolean;
}

function stackAt(areas: readonly Area[], va: bigint): Stack | undefined {
  const a = areas.find((x) => va >= x.start && va < x.end);
  if (!a) return undefined;
  const i = (va - a.start) / a.size;
  return {
    lo: a.start + i * a.size,
    shadow: a.shadow + Number(i * a.size) * 2,
    meta: a.meta + Number(i) * STACK_META_SIZE,
    percpu: a.percpu,
  };
}

function stackOfMeta(areas: readonly Area[], meta: number): Stack | undefined {
  for (const a of areas) {
    const nr = Number((a.end - a.start) / a.size);
    const i = (meta - a.meta) / STACK_META_SIZE;
    if (meta >= a.meta && i < nr) return stackAt(areas, a.start + BigInt(i) * a.size);
  }
  return undefined;
}

/** The vCPU whose rsp is on the stack, with the number of its lowest live slot + 1. */
function occupant(m: Machine, meta: number): { vcpu: number; top: number } | undefined {
  for (let v = 0; v < m.nrVcpus; v++) {
    const at = m.stateOf(v) - CPU;
    if (m.core.u32(at + STK_META) === meta) return { vcpu: v, top: m.core.u32(at + STK_TOP) };
  }
  return undefined;
}

/**
 * Where the frame returns to, undefined when it no longer does: `now` is what its slot holds. A slot that another store
 * overwrote is not a return address (a retpoline's, a redirected call's), unless it now holds a return trampoline that
 * was registered: then the original counts. An interrupt frame returns to whatever its slot holds.
 */
function returnOf(
  now: bigint,
  recorded: bigint,
  kind: TruthKind,
  trampolines: ReadonlySet<bigint>,
): bigint | undefined {
  if (now === recorded || kind === "interrupt" || kind === "user") return now;
  return trampolines.has(now) ? recorded : undefined;
}

function chain(
  m: Machine,
  s: Stack,
  top: number,
  trampolines: ReadonlySet<bigint>,
): readonly TruthFrame[] {
  const frames: TruthFrame[] = [];
  const view = m.core.view();
  const vcpu = m.core.u32(CURRENT);
  let page = -1;
  let host = 0;
  for (let t = top; t !== 0;) {
    const at = s.shadow + (t - 1) * 16;
    const off = (t - 1) * 8;
    const slot = s.lo + BigInt(off);
    // Stacks are page-aligned or smaller than a page and aligned to their size: a slot does not cross.
    if (off >> 12 !== page) {
      page = off >> 12;
      const pa = m.translate(slot, vcpu);
      if (pa === undefined) throw new UnmappedError(slot);
      host = RAM + Number(pa) - off;
    }
    const kind = KINDS[view.getUint32(at + S_KIND, true)] ?? "call";
    const now = view.getBigUint64(host + off, true);
    const ret = returnOf(now, view.getBigUint64(at + S_RET, true), kind, trampolines);
    if (ret !== undefined) frames.push({ slot, ret, kind });
    t = view.getUint32(at + S_LINK, true);
  }
  return frames;
}

/**
 * The true stack that holds `va`, with the stacks that it was entered from behind it when it is a per-CPU one.
 *
 * va           any address of the stack
 * trampolines  addresses that replace return addresses (return_to_handler)
 * returns      undefined when no stack is known there
 */
export function trueStack(
  m: Machine,
  va: bigint,
  trampolines: ReadonlySet<bigint> = new Set(),
): TruthStack | undefined {
  const areas = areasOf(m);
  const first = stackAt(areas, va);
  if (!first) return undefined;
  const on = occupant(m, first.meta);
  let frames: readonly TruthFrame[] = [];
  const seen = new Set<number>();
  for (let s: Stack | undefined = first; s && !seen.has(s.meta);) {
    seen.add(s.meta);
    const top = occupant(m, s.meta)?.top ?? m.core.u32(s.meta + M_TOP);
    frames = [...frames, ...chain(m, s, top, trampolines)];
    if (!s.percpu || frames.at(-1)?.kind === "user") break;
    s = stackOfMeta(areas, m.core.u32(s.meta + M_PARENT));
  }
  return {
    frames,
    ip: on ? m.reg(on.vcpu, "rip") : m.core.u64(first.meta + M_LEFT_RIP),
    vcpu: on?.vcpu,
  };
}

/** The true stack that a vCPU is on; undefined in user mode and on no known stack. */
export function trueStackOf(
  m: Machine,
  vcpu: number,
  trampolines: ReadonlySet<bigint> = new Set(),
): TruthStack | undefined {
  return m.reg(vcpu, "cpl") === 3n ? undefined : trueStack(m, m.reg(vcpu, "rsp") - 8n, trampolines);
}

/** The stacks that a vCPU is on: its own one, and those that it was entered from as long as they are per-CPU ones. */
function* metasOf(m: Machine, areas: readonly Area[], vcpu: number): Generator<number> {
  const seen = new Set<number>();
  let meta = m.core.u32(m.stateOf(vcpu) - CPU + STK_META);
  while (meta !== 0 && !seen.has(meta)) {
    seen.add(meta);
    yield meta;
    const s = stackOfMeta(areas, meta);
    if (!s?.percpu) break;
    meta = m.core.u32(meta + M_PARENT);
  }
}

/** The vCPU that stack `va` is reachable from through the per-CPU stacks on top of it: who runs the task it belongs to. */
export function runnerOf(m: Machine, va: bigint): number | undefined {
  const areas = areasOf(m);
  const wanted = stackAt(areas, va)?.meta;
  for (let v = 0; v < m.nrVcpus; v++) {
    for (const meta of metasOf(m, areas, v)) if (meta === wanted) return v;
  }
  return undefined;
}

/** runnerOf() for all stacks that have one, by their lowest addresses. */
export function runners(m: Machine): ReadonlyMap<bigint, number> {
  const areas = areasOf(m);
  const out = new Map<bigint, number>();
  for (let v = 0; v < m.nrVcpus; v++) {
    for (const meta of metasOf(m, areas, v)) {
      const lo = stackOfMeta(areas, meta)?.lo;
      if (lo !== undefined && !out.has(lo)) out.set(lo, v);
    }
  }
  return out;
}

// An outcome as a line of text: what differs from the plain end, in which nothing but rip has moved. Recording and replay
// make the same line from what they saw, and the test compares lines. docs/vectors.md explains the notation.
import type { Arrival, Outcome } from "../guest/guest.ts";
import { CODE, DATA, IST, KERNEL, SEL, STACK, makeWorld } from "../guest/world.ts";
import { NAMES, W, type State } from "../guest/words.ts";
import type { VectorCase } from "./user-cases.ts";

const RF = 0x1_0000n;
/** What delivery through an interrupt gate clears: TF, IF, NT, RF. */
const CLEARED = 0x1_4300n;
const WORLD = makeWorld();

function hex(v: bigint, digits: number): string {
  return v.toString(16).padStart(digits, "0");
}

/** A changed register: as many low bytes as it takes, the others being what they were. */
function changed(before: bigint, after: bigint): string {
  const x = before ^ after;
  const digits = x >> 32n ? 16 : x >> 16n ? 8 : x >> 8n ? 4 : 2;
  return hex(after & ((1n << BigInt(digits * 4)) - 1n), digits);
}

/** Virtual address of a byte that is observed. */
function vaOf(pa: number): bigint {
  if (pa >= 0x40000) return STACK + BigInt(pa - 0x40000);
  if (pa >= 0x30000) return DATA + BigInt(pa - 0x30000);
  return KERNEL + BigInt(pa);
}

/** Bytes that changed, as runs: a gap of up to three equal bytes belongs to its run. */
function memory(o: Outcome, c: VectorCase): string[] {
  if (!o.changes.length) return [];
  const out: string[] = [];
  let start = -1;
  let last = -1;
  let text = "";
  const before = new Map<number, number>();
  for (const p of c.patches) p.bytes.forEach((b, i) => before.set(p.pa + i, b));
  let pending = "";
  const close = (): void => {
    if (start >= 0) out.push(`[${vaOf(start).toString(16)}]=${text}`);
    start = -1;
    text = "";
    pending = "";
  };
  for (const [pa, v] of o.changes) {
    if (start >= 0 && pa > last + 8 - (last & 7)) close();
    for (let i = 0; i < 8; i++) {
      const b = Number((v >> BigInt(i * 8)) & 0xffn);
      const at = pa + i;
      const same = b === (before.get(at) ?? WORLD[at] ?? 0);
      const digits = b.toString(16).padStart(2, "0");
      if (same) {
        if (start >= 0) pending += digits;
        continue;
      }
      if (start >= 0 && at - last > 4) close();
      if (start < 0) {
        start = at;
        pending = "";
      }
      text += pending + digits;
      pending = "";
      last = at;
    }
  }
  close();
  return out;
}

/** Where a case that does nothing ends: behind the int3 or hlt that follows it. */
function plainEnd(c: VectorCase): bigint {
  return CODE + BigInt(c.codeOff + c.code.length + 1);
}

/** The line of an outcome. */
export function lineOf(c: VectorCase, o: Outcome): string {
  const out: string[] = [];
  const start = c.start;
  const ring3 = ((start[W.cs] ?? 0n) & 3n) === 3n;
  const t = o.trap;
  const plain = ring3 ? t?.vector === 3 : t === undefined && o.exit === "halt";
  if (!plain) {
    const code = t?.code === undefined ? "" : `(${t.code.toString(16)})`;
    out.push(t ? `#${t.vector}${code}` : o.exit);
  }
  const get = (s: State, w: number): bigint => s[w] ?? 0n;
  const fault = t !== undefined && !plain;
  const rip = plain ? plainEnd(c) : fault ? get(start, W.rip) : get(start, W.rip);
  if (get(o.state, W.rip) !== rip) out.push(`rip=${get(o.state, W.rip).toString(16)}`);
  const done = get(o.state, W.rip) !== get(start, W.rip);
  const open = done ? BigInt(c.undefinedFlags) : 0n;
  const flags = get(o.state, W.rflags) & ~open;
  const expected = (get(start, W.rflags) & ~open) | (fault ? RF : 0n);
  if (flags !== expected) out.push(`fl=${hex(flags, 4)}`);
  const a = new Uint32Array(start.buffer, start.byteOffset);
  const b = new Uint32Array(o.state.buffer, o.state.byteOffset);
  for (let w = 0; w < NAMES.length; w++) {
    if ((a[w * 2] === b[w * 2] && a[w * 2 + 1] === b[w * 2 + 1]) || w === W.rip || w === W.rflags)
      continue;
    out.push(`${NAMES[w]}=${changed(get(start, w), get(o.state, w))}`);
  }
  if (t?.arrival) arrival(out, o, t.code !== undefined, t.arrival, open);
  out.push(...memory(o, c));
  return out.join(" ");
}

/** How the trap arrived, where that is not as every gate of the guest has it: on the first stack of the IST. */
function arrival(out: string[], o: Outcome, coded: boolean, t: Arrival, open: bigint): void {
  const top = KERNEL + BigInt(IST[0]);
  if (t.frame !== top - (coded ? 48n : 40n)) out.push(`frame=${hex(t.frame, 16)}`);
  const flags = (o.state[W.rflags] ?? 0n) & ~CLEARED & ~open;
  if ((t.rflags & ~open) !== flags) out.push(`hfl=${hex(t.rflags & ~open, 4)}`);
  if (t.cs !== BigInt(SEL.kernelCs)) out.push(`hcs=${hex(t.cs, 4)}`);
  const outer = ((o.state[W.cs] ?? 0n) & 3n) === 3n;
  const ss = outer ? 0n : (o.state[W.ss] ?? 0n);
  if (t.ss !== ss) out.push(`hss=${hex(t.ss, 4)}`);
}

/** A sum over everything that goes into a case, to find recorded lines that belong to other inputs. */
export function inputSum(cases: readonly VectorCase[]): string {
  let h = 0x811c9dc5;
  const add = (v: number): void => {
    h = Math.imul(h ^ v, 0x01000193);
    h ^= h >>> 15;
  };
  for (const c of cases) {
    const words = new Uint32Array(c.start.buffer, c.start.byteOffset, c.start.length * 2);
    for (const w of words) add(w);
    add(c.undefinedFlags);
    for (const p of c.patches) {
      add(p.pa);
      for (const b of p.bytes) add(b);
    }
  }
  return (h >>> 0).toString(16).padStart(8, "0");
}

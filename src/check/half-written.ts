// half-written: no instruction of a site executes while the site's bytes are neither old nor new and no int3 stands in
// front of them, and nobody goes on in the middle of bytes that are no longer those it began in.
import { findSymbol, symbolAt, type Image } from "../link/index.ts";
import type { PatchedFunction, PatchPlan } from "../patch/index.ts";
import { addressName, hex } from "./address.ts";
import type { Trace, Violation } from "./trace.ts";

const WINDOW = 5;
/** A store of more than this many bytes is code of its own. */
const TRAMPOLINE_MIN = 64;
const INT3 = 0xcc;
const CALL = 0xe8;
const JMP = 0xe9;

/** What a window holds. */
export type WindowState = "old" | "int3" | "branch" | "torn";

/** A window's bytes from `insn` on. */
interface Content {
  readonly insn: number;
  readonly bytes: Uint8Array;
  readonly state: WindowState;
}

function isFunction(image: Image, va: bigint): boolean {
  const s = symbolAt(image, va);
  return s !== undefined && s.offset === 0n && findSymbol(image, s.name)?.type !== "object";
}

function sameFrom(a: Uint8Array, b: Uint8Array, from: number): boolean {
  for (let i = from; i < WINDOW; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * What the 5 bytes of a window are. A branch is whole when it leads to the start of a function.
 *
 * made  starts of what was written as one piece elsewhere: trampolines
 */
export function windowState(
  image: Image,
  plan: PatchPlan,
  f: PatchedFunction,
  bytes: Uint8Array,
  made: ReadonlySet<bigint> = new Set(),
): WindowState {
  if (sameFrom(bytes, f.oldBytes, 0)) return "old";
  if (bytes[0] === INT3) return "int3";
  if (bytes[0] !== CALL && bytes[0] !== JMP) return "torn";
  const rel = new DataView(bytes.buffer, bytes.byteOffset).getInt32(1, true);
  const target = BigInt.asUintN(64, f.jumpVa + BigInt(WINDOW) + BigInt(rel));
  const isWhole =
    target === f.newVa ||
    made.has(target) ||
    isFunction(plan.module, target) ||
    isFunction(image, target);
  return isWhole ? "branch" : "torn";
}

/** The contents of a function's window over time, the first one from the beginning. */
export function windowContents(trace: Trace, f: PatchedFunction): readonly Content[] {
  const made = new Set(trace.dynamic);
  const first = trace.windows[trace.plan.functions.indexOf(f)] ?? f.oldBytes;
  const found = windowState(trace.image, trace.plan, f, first, made);
  // What stands there before anybody has stored anything is whole, whoever has put it there.
  const state = found === "torn" ? "old" : found;
  const out: Content[] = [{ insn: 0, bytes: first, state }];
  for (const w of trace.writes) {
    if (w.bytes.length > TRAMPOLINE_MIN) made.add(w.va);
    const at = Number(w.va - f.jumpVa);
    if (at >= WINDOW || at + w.bytes.length <= 0) continue;
    const bytes = (out.at(-1)?.bytes ?? f.oldBytes).slice();
    for (const [i, b] of w.bytes.entries()) {
      if (at + i >= 0 && at + i < WINDOW) bytes[at + i] = b;
    }
    out.push({ insn: w.insn, bytes, state: windowState(trace.image, trace.plan, f, bytes, made) });
  }
  return out;
}

/** Whether an instruction at `offset` of the window is what it began as. A store at n is seen by instruction n. */
function isWhole(c: Content, offset: number, old: Uint8Array): boolean {
  if (c.state === "old") return true;
  if (c.state === "torn" || offset < 0) return false;
  return offset === 0 || sameFrom(c.bytes, old, offset);
}

export function halfWritten(trace: Trace): readonly Violation[] {
  const out: Violation[] = [];
  for (const [index, f] of trace.plan.functions.entries()) {
    const contents = windowContents(trace, f);
    const seen = new Set<string>();
    let at = 0;
    for (const e of trace.entries) {
      if (e.kind !== "site" || e.index !== index) continue;
      while ((contents[at + 1]?.insn ?? Infinity) <= e.insn) at++;
      const c = contents[at];
      const offset = Number(e.ip - f.jumpVa);
      if (c === undefined || isWhole(c, offset, f.oldBytes)) continue;
      const task = e.task?.comm ?? `vcpu ${e.vcpu}`;
      if (seen.has(task)) continue;
      seen.add(task);
      const bytes = [...c.bytes].map((b) => b.toString(16).padStart(2, "0")).join(" ");
      const how =
        offset === 0
          ? `executes the entry of ${f.name} while it is half-written (${bytes})`
          : `goes on at byte ${offset} of the entry of ${f.name}, which is now ${bytes} (${c.state})`;
      out.push({
        check: "half-written",
        vcpu: e.vcpu,
        insn: e.insn,
        task,
        ip: e.ip,
        symbol: addressName(trace.image, trace.plan, e.ip),
        message: `${task} ${how}; new code at ${hex(f.newVa)}`,
      });
    }
  }
  return out;
}

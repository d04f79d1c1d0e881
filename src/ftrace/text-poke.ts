// Changing instructions of a running kernel by the INT3 protocol: int3 on every site, cores synchronised, tails,
// synchronised, first bytes, synchronised. While an int3 stands the kernel's #BP handler executes the new instruction.
// kernel: arch/x86/kernel/alternative.c, text_poke_bp_batch().
import type { Image } from "../link/index.ts";
import {
  BP_DESC,
  call,
  cmpxchg,
  CONSTANTS,
  look,
  readField,
  symbolVa,
  TEXT_POKE_LOC,
  writeWord,
  write,
  type Program,
} from "../kernel/index.ts";

/** One instruction to replace: `bytes` is the new one, as long as the old one. */
export interface TextPokeLoc {
  readonly va: bigint;
  readonly bytes: Uint8Array;
}

const INT3 = 0xcc;
const CALL = 0xe8;
const JMP32 = 0xe9;
const JMP8 = 0xeb;
const JCC8 = 0x70;

/** The 5-byte nop that a fentry site is while nothing is hooked (x86_nops[5]). */
export const NOP5: Uint8Array = Uint8Array.of(0x0f, 0x1f, 0x44, 0x00, 0x00);

/** What the #BP handler does while an int3 stands: the opcode, and where a branch leads, 0 for what does not branch. */
function emulationOf(loc: TextPokeLoc): { readonly opcode: number; readonly target: bigint } {
  const [op = 0, second = 0] = loc.bytes;
  const view = new DataView(loc.bytes.buffer, loc.bytes.byteOffset, loc.bytes.byteLength);
  const to = (rel: number): bigint =>
    BigInt.asUintN(64, loc.va + BigInt(loc.bytes.length) + BigInt(rel));
  if (op === CALL || op === JMP32) return { opcode: op, target: to(view.getInt32(1, true)) };
  if (op === JMP8 || (op & 0xf0) === JCC8) return { opcode: op, target: to(view.getInt8(1)) };
  // A jcc with four bytes of displacement is known by its condition, as the one with one byte is.
  if (op === 0x0f && (second & 0xf0) === 0x80) {
    return { opcode: JCC8 | (second & 0xf), target: to(view.getInt32(2, true)) };
  }
  return { opcode: op, target: 0n };
}

/**
 * Replaces instructions on live text, in batches of TP_VEC_MAX: int3 on all sites of the batch, tails, first bytes.
 *
 * locs    each one whole instruction of 1 to 8 bytes, as long as the old one
 * returns number of sync_core rendezvous
 * needs   text_mutex, held by the caller
 * kernel  arch/x86/kernel/alternative.c, text_poke_queue(), text_poke_finish(), text_poke_bp_batch()
 * sdm     Vol. 3A, "Handling Self- and Cross-Modifying Code"
 */
export function* textPokeBpLocked(image: Image, locs: readonly TextPokeLoc[]): Program<number> {
  const sorted = [...locs].sort((a, b) => (a.va < b.va ? -1 : 1));
  let syncs = 0;
  for (let i = 0; i < sorted.length; i += CONSTANTS.TP_VEC_MAX) {
    syncs += yield* textPokeBpBatch(image, sorted.slice(i, i + CONSTANTS.TP_VEC_MAX));
  }
  return syncs;
}

/** The same, taking text_mutex. kernel: text_poke_bp() */
export function* textPokeBp(image: Image, locs: readonly TextPokeLoc[]): Program<number> {
  const mutex = symbolVa(image, "text_mutex");
  yield* call("mutex_lock", mutex);
  const syncs = yield* textPokeBpLocked(image, locs);
  yield* call("mutex_unlock", mutex);
  return syncs;
}

/** locs: sorted by address, which the #BP handler's search counts on. */
function* textPokeBpBatch(image: Image, locs: readonly TextPokeLoc[]): Program<number> {
  const desc = symbolVa(image, "bp_desc");
  const vec = symbolVa(image, "tp_vec");
  const field = (name: keyof typeof BP_DESC.fields): bigint =>
    desc + BigInt(BP_DESC.fields[name].offset);
  let syncs = 0;
  for (const [i, loc] of locs.entries()) {
    const at = vec + BigInt(i * TEXT_POKE_LOC.size);
    const f = TEXT_POKE_LOC.fields;
    yield* writeWord(at + BigInt(f.addr.offset), loc.va);
    const { opcode, target } = emulationOf(loc);
    yield* writeWord(at + BigInt(f.target.offset), target);
    yield* writeWord(at + BigInt(f.opcode.offset), BigInt(opcode), 1);
    yield* writeWord(at + BigInt(f.len.offset), BigInt(loc.bytes.length), 1);
  }
  yield* writeWord(field("vec"), vec);
  yield* writeWord(field("nr_entries"), BigInt(locs.length), 4);
  // Pairs with try_get_desc() in poke_int3_handler: the description is complete before it can be taken.
  yield* writeWord(field("refs"), 1n, 4);

  for (const loc of locs) yield* writeWord(loc.va, BigInt(INT3), 1);
  yield* call("smp_sync_cores");
  syncs++;
  let tails = false;
  for (const loc of locs) {
    if (loc.bytes.length < 2) continue;
    yield* write(loc.va + 1n, loc.bytes.subarray(1));
    tails = true;
  }
  if (tails) {
    yield* call("smp_sync_cores");
    syncs++;
  }
  for (const loc of locs) yield* write(loc.va, loc.bytes.subarray(0, 1));
  yield* call("smp_sync_cores");
  syncs++;

  // put_desc(), against readers that come and go: one that came just now keeps its reference. Then until they are gone,
  // atomic_cond_read_acquire(&desc->refs, !VAL).
  for (let refs = 1, seen = 0; ; refs = seen) {
    seen = yield* cmpxchg(field("refs"), refs, refs - 1);
    if (seen === refs) break;
  }
  for (;;) {
    const refs = yield* look("word", (g) => ({
      value: Number(readField(g.read, BP_DESC, desc, "refs")),
      cost: 0,
    }));
    if (refs === 0) break;
  }
  return syncs;
}

/** The 5 bytes of `call target` or `jmp target` at `va`. Throws RangeError when the target is out of reach. */
export function branchTo(kind: "call" | "jmp", va: bigint, target: bigint): Uint8Array {
  const rel = BigInt.asIntN(64, target - va - 5n);
  if (rel !== BigInt.asIntN(32, rel)) {
    throw new RangeError(
      `${kind} at 0x${va.toString(16)}: target 0x${target.toString(16)} is further than 2 GiB`,
    );
  }
  const bytes = new Uint8Array(5);
  bytes[0] = kind === "call" ? 0xe8 : 0xe9;
  new DataView(bytes.buffer).setInt32(1, Number(rel), true);
  return bytes;
}

// Changing instructions of a running kernel by the INT3 protocol: int3 on every site, cores synchronised, tails,
// synchronised, first bytes, synchronised. While an int3 stands the kernel's #BP handler executes the new instruction.
// kernel: arch/x86/kernel/alternative.c, text_poke_bp_batch().
import type { Image } from "../link/index.ts";
import {
  BP_DESC,
  call,
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

/** The 5-byte nop that a fentry site is while nothing is hooked (x86_nops[5]). */
export const NOP5: Uint8Array = Uint8Array.of(0x0f, 0x1f, 0x44, 0x00, 0x00);

/** The target of a `call rel32` or `jmp rel32` at `va`, 0 for anything else. */
function targetOf(loc: TextPokeLoc): bigint {
  const op = loc.bytes[0];
  if (op !== 0xe8 && op !== 0xe9) return 0n;
  const rel = new DataView(loc.bytes.buffer, loc.bytes.byteOffset).getInt32(1, true);
  return BigInt.asUintN(64, loc.va + 5n + BigInt(rel));
}

/**
 * Replaces a batch of instructions on live text.
 *
 * locs    at most TP_VEC_MAX, sorted by nothing in particular; each one whole instruction of 1 to 8 bytes
 * returns number of sync_core rendezvous
 * needs   text_mutex, which it takes
 * kernel  arch/x86/kernel/alternative.c, text_poke_bp_batch()
 * sdm     Vol. 3A, "Handling Self- and Cross-Modifying Code"
 */
export function* textPokeBp(image: Image, locs: readonly TextPokeLoc[]): Program<number> {
  const mutex = symbolVa(image, "text_mutex");
  const desc = symbolVa(image, "bp_desc");
  const vec = symbolVa(image, "tp_vec");
  const field = (name: keyof typeof BP_DESC.fields): bigint =>
    desc + BigInt(BP_DESC.fields[name].offset);
  let syncs = 0;
  yield* call("mutex_lock", mutex);
  for (const [i, loc] of locs.entries()) {
    const at = vec + BigInt(i * TEXT_POKE_LOC.size);
    const f = TEXT_POKE_LOC.fields;
    yield* writeWord(at + BigInt(f.addr.offset), loc.va);
    yield* writeWord(at + BigInt(f.target.offset), targetOf(loc));
    yield* writeWord(at + BigInt(f.opcode.offset), BigInt(loc.bytes[0] ?? 0), 1);
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

  // put_desc(), then wait for the readers: atomic_cond_read_acquire(&desc->refs, !VAL).
  for (;;) {
    const refs = yield* look("word", (g) => ({
      value: Number(readField(g.read, BP_DESC, desc, "refs")),
      cost: 0,
    }));
    if (refs === 1) break;
  }
  yield* writeWord(field("refs"), 0n, 4);
  yield* call("mutex_unlock", mutex);
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

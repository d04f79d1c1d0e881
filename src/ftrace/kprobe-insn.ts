// The instruction under a kprobe: whether one starts there that can be executed elsewhere, and its bytes for that other
// place. What the text was before any probe came is put together from the probes' own copies of their first bytes.
// kernel: arch/x86/kernel/kprobes/core.c, can_probe(), recover_probed_instruction(), arch_copy_kprobe().
import { Code, Decoder, DecoderOptions, FlowControl, Mnemonic } from "iced-x86";
import { KPROBE, readField, readUint, symbolVa, type Read } from "../kernel/index.ts";
import { symbolAt, type Image } from "../link/index.ts";

const INT3 = 0xcc;

const IF_MODIFIERS: ReadonlySet<Mnemonic> = new Set([
  Mnemonic.Cli,
  Mnemonic.Sti,
  Mnemonic.Pushfq,
  Mnemonic.Popfq,
]);

/**
 * A probe of the list. slot: 0 when ftrace calls it. members: of an aggr_kprobe, in the order of their handlers; of every other
 * one none. ipmodify: armed by the ops that may change ip.
 */
export interface ListedKprobe {
  readonly va: bigint;
  readonly addr: bigint;
  readonly slot: bigint;
  readonly opcode: number;
  readonly flags: number;
  readonly post: bigint;
  readonly ipmodify: boolean;
  readonly next: bigint;
  readonly members: readonly ListedKprobe[];
}

function readKprobe(read: Read, va: bigint, members: readonly ListedKprobe[]): ListedKprobe {
  const f = (name: keyof typeof KPROBE.fields): bigint => readField(read, KPROBE, va, name);
  return {
    va,
    addr: f("addr"),
    slot: f("slot"),
    opcode: Number(f("opcode")),
    flags: Number(f("flags")),
    post: f("post_handler"),
    ipmodify: f("ipmodify") !== 0n,
    next: f("next"),
    members,
  };
}

/** The probes whose handlers an aggr_kprobe calls. */
function readMembers(read: Read, ap: bigint): readonly ListedKprobe[] {
  const offset = BigInt(KPROBE.fields.list.offset);
  const head = ap + offset;
  const out: ListedKprobe[] = [];
  for (let at = readUint(read, head, 8); at !== head; at = readUint(read, at, 8)) {
    out.push(readKprobe(read, at - offset, []));
  }
  return out;
}

/** The registered probes, the latest first; several at one address as their aggr_kprobe. */
export function readKprobes(read: Read, image: Image): readonly ListedKprobe[] {
  const out: ListedKprobe[] = [];
  const aggr = symbolVa(image, "aggr_pre_handler");
  for (let va = readUint(read, symbolVa(image, "kprobe_list"), 8); va !== 0n;) {
    const isAggr = readField(read, KPROBE, va, "pre_handler") === aggr;
    const p = readKprobe(read, va, isAggr ? readMembers(read, va) : []);
    out.push(p);
    va = p.next;
  }
  return out;
}

/** Text as it is without its probes. */
function recovered(
  read: Read,
  start: bigint,
  size: number,
  probes: readonly ListedKprobe[],
): Uint8Array {
  const bytes = read(start, size).slice();
  for (const p of probes) {
    if (p.slot === 0n || p.addr < start || p.addr >= start + BigInt(size)) continue;
    bytes[Number(p.addr - start)] = p.opcode;
  }
  return bytes;
}

/**
 * The bytes of the instruction at addr; undefined unless one starts there, in text that may be probed, that can be
 * executed elsewhere.
 *
 * images  the kernel and its modules
 */
export function probedInsn(
  read: Read,
  images: readonly Image[],
  addr: bigint,
  probes: readonly ListedKprobe[],
): Uint8Array | undefined {
  for (const image of images) {
    const s = symbolAt(image, addr);
    const where = image.sections.find((x) => addr >= x.va && addr < x.va + BigInt(x.size));
    // To the kernel's own symbols all modules are one piece of data.
    if (s === undefined || !/^\.(text|init\.text)/.test(where?.name ?? "")) continue;
    const start = addr - s.offset;
    return insnAt(recovered(read, start, Number(s.size), probes), start, addr);
  }
  return undefined;
}

function insnAt(bytes: Uint8Array, start: bigint, addr: bigint): Uint8Array | undefined {
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
    const at = Number(addr - start);
    return bytes.slice(at, at + length);
  } finally {
    d.free();
  }
}

/**
 * The instruction for another place: a displacement from rip is counted from there, and an int3 follows.
 *
 * returns  undefined when what it refers to is out of reach from there
 */
export function slotBytes(insn: Uint8Array, from: bigint, to: bigint): Uint8Array | undefined {
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

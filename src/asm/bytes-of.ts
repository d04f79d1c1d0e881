// The bytes of one instruction with plain operands. keystone encodes; these are GNU as's choices where they
// differ and the forms that keystone gets wrong, stated here:
//   mov $imm,%r64 and movabs; mov of segment registers; xchg %rax,%rax; nop with an operand and ud1; int $3; rdpid; endbr64, serialize;
//   absolute addresses such as %gs:0x28; segment overrides; the order of prefixes.
import type { Engine } from "./engine.ts";
import { Reason } from "./errors.ts";
import { OWN_BYTES, PREFIX_BYTES, splitSuffix, suffixOf } from "./mnemonics.ts";
import { REGISTERS } from "./registers.ts";
import type { PlainOperand } from "./verify.ts";

type PlainMem = Extract<PlainOperand, { k: "mem" }>;

/** Encodes, prefixes in gas's order. The caller verifies. */
export function bytesOf(
  engine: Engine,
  mnemonic: string,
  operands: readonly PlainOperand[],
  prefixes: readonly number[],
): Uint8Array {
  const bare = ownBytes(engine, mnemonic, operands) ?? engineBytes(engine, mnemonic, operands);
  const segments = operands.flatMap((o) =>
    o.k === "mem" && o.segment !== undefined ? [PREFIX_BYTES[o.segment] ?? 0] : [],
  );
  return orderPrefixes(bare, [...prefixes, ...segments]);
}

function ownBytes(
  engine: Engine,
  mnemonic: string,
  operands: readonly PlainOperand[],
): ArrayLike<number> | undefined {
  const [a, b] = operands;
  if (a === undefined) return OWN_BYTES[mnemonic];
  const { base, size } = splitSuffix(mnemonic);
  if (mnemonic === "int" && a.k === "imm" && a.value === 3n && b === undefined) return [0xcc];
  if ((base === "mov" || base === "movabs") && a.k === "imm" && b?.k === "reg") {
    const r = REGISTERS.get(b.name);
    if (r?.cls === "gpr" && r.size === 8 && (size ?? 8) === 8)
      return movImmediate64(a.value, r.num, base);
  }
  if (base === "mov" && b !== undefined && (isSegment(a) || isSegment(b))) {
    return movSegment(engine, a, b);
  }
  if (base === "xchg" && a.k === "reg" && b?.k === "reg" && a.name === "rax" && b.name === "rax") {
    return [0x90];
  }
  if (base === "movabs") return movAbsolute(a, b, size);
  if (base === "nop" || base === "ud1") return fromImul(engine, base, size, a, b);
  if (mnemonic === "rdpid" && a.k === "reg" && b === undefined) {
    const r = REGISTERS.get(a.name);
    if (r?.cls !== "gpr" || r.size !== 8) throw new Reason("rdpid takes a 64-bit register");
    return [0xf3, ...(r.num > 7 ? [0x41] : []), 0x0f, 0xc7, 0xf8 | (r.num & 7)];
  }
  return undefined;
}

// REX.W C7 /0 id when the value sign-extends from 32 bits, else REX.W B8+r io.
function movImmediate64(value: bigint, num: number, base: string): Uint8Array {
  const rex = 0x48 | (num > 7 ? 1 : 0);
  const short = base === "mov" && BigInt.asIntN(32, value) === value;
  const out = new Uint8Array(short ? 7 : 10);
  const view = new DataView(out.buffer);
  if (short) {
    out.set([rex, 0xc7, 0xc0 | (num & 7)]);
    view.setInt32(3, Number(value), true);
  } else {
    out.set([rex, 0xb8 | (num & 7)]);
    view.setBigInt64(2, value, true);
  }
  return out;
}

function isSegment(o: PlainOperand): boolean {
  return o.k === "reg" && REGISTERS.get(o.name)?.cls === "segment";
}

// 8C and 8E move 16 bits; gas writes a size prefix only for a store to a 16-bit register.
function movSegment(engine: Engine, a: PlainOperand, b: PlainOperand): Uint8Array {
  const narrowed = (o: PlainOperand, keep16: boolean): PlainOperand => {
    const r = o.k === "reg" ? REGISTERS.get(o.name) : undefined;
    if (r?.cls !== "gpr" || r.size === 1 || (r.size === 2 && keep16)) return o;
    const wide = [...REGISTERS.values()].find(
      (x) => x.cls === "gpr" && x.size === 4 && x.num === r.num,
    );
    return { k: "reg", name: wide?.name ?? r.name, indirect: false };
  };
  return engineBytes(engine, "mov", [narrowed(a, false), narrowed(b, true)]);
}

// A0..A3: the accumulator and a 64-bit absolute address.
function movAbsolute(
  a: PlainOperand,
  b: PlainOperand | undefined,
  suffix: number | undefined,
): Uint8Array {
  const mem = a.k === "mem" ? a : b;
  const acc = a.k === "mem" ? b : a;
  const r = acc?.k === "reg" ? REGISTERS.get(acc.name) : undefined;
  if (mem?.k !== "mem" || r?.cls !== "gpr" || r.num !== 0 || (suffix ?? r.size) !== r.size) {
    throw new Reason("movabs takes a 64-bit immediate, or an absolute address and the accumulator");
  }
  const head = [
    ...(r.size === 2 ? [0x66] : r.size === 8 ? [0x48] : []),
    0xa0 | (a.k === "mem" ? 0 : 2) | (r.size === 1 ? 0 : 1),
  ];
  const out = new Uint8Array(head.length + 8);
  out.set(head);
  new DataView(out.buffer).setBigInt64(head.length, BigInt.asIntN(64, mem.disp), true);
  return out;
}

// 0F 1F /0 and 0F B9 /r have the operands of imul, 0F AF /r.
function fromImul(
  engine: Engine,
  base: "nop" | "ud1" | string,
  suffix: number | undefined,
  a: PlainOperand,
  b: PlainOperand | undefined,
): Uint8Array {
  const written = base === "ud1" ? b : a;
  const r = written?.k === "reg" ? REGISTERS.get(written.name) : undefined;
  const size = suffix ?? r?.size ?? 4;
  if (size === 1 || (r !== undefined && r.size !== size) || (base === "nop" && b !== undefined)) {
    throw new Reason(`the operands do not match ${base}`);
  }
  const acc: PlainOperand = {
    k: "reg",
    name: size === 2 ? "ax" : size === 4 ? "eax" : "rax",
    indirect: false,
  };
  const bytes = engineBytes(engine, `imul${suffixOf(size)}`, [
    a,
    base === "nop" ? acc : (b ?? acc),
  ]);
  bytes[opcodeStart(bytes) + 1] = base === "nop" ? 0x1f : 0xb9;
  return bytes;
}

function engineBytes(
  engine: Engine,
  mnemonic: string,
  operands: readonly PlainOperand[],
): Uint8Array {
  if (!/^[a-z][a-z0-9]*$/.test(mnemonic)) throw new Reason(`no such instruction: ${mnemonic}`);
  const absolute = operands.some(
    (o) => o.k === "mem" && o.base === undefined && o.index === undefined,
  );
  const bytes = engine(`${mnemonic} ${operands.map(engineText).join(", ")}`);
  return absolute ? ripToAbsolute(bytes) : bytes;
}

function engineText(o: PlainOperand): string {
  if (o.k === "imm") return `$${hex(o.value)}`;
  const star = o.indirect ? "*" : "";
  if (o.k === "reg") return `${star}%${o.name.replace(/^db/, "dr")}`;
  return star + memText(o);
}

// An absolute address is asked for as RIP-relative and made absolute afterwards.
function memText(o: PlainMem): string {
  if (o.base === undefined && o.index === undefined) return `${hex(o.disp)}(%rip)`;
  const disp = o.disp === 0n && o.base !== "rip" ? "" : hex(o.disp);
  const base = o.base === undefined ? "" : `%${o.base}`;
  const index = o.index === undefined ? "" : `, %${o.index}, ${o.scale}`;
  return `${disp}(${base}${index})`;
}

function hex(v: bigint): string {
  return v < 0n ? `-0x${(-v).toString(16)}` : `0x${v.toString(16)}`;
}

// mod=00 rm=101 (disp32 from rip) becomes mod=00 rm=100 with the SIB byte of "no base, no index".
function ripToAbsolute(bytes: Uint8Array): Uint8Array {
  const op = opcodeStart(bytes);
  const modrmAt =
    bytes[op] !== 0x0f
      ? op + 1
      : bytes[op + 1] === 0x38 || bytes[op + 1] === 0x3a
        ? op + 3
        : op + 2;
  const modrm = bytes[modrmAt] ?? 0;
  if ((modrm & 0xc7) !== 0x05) throw new Reason("the instruction takes no absolute address");
  const out = new Uint8Array(bytes.length + 1);
  out.set(bytes.subarray(0, modrmAt));
  out.set([(modrm & 0x38) | 0x04, 0x25], modrmAt);
  out.set(bytes.subarray(modrmAt + 1), modrmAt + 2);
  return out;
}

const LEGACY: ReadonlySet<number> = new Set([
  0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
]);

function nrLegacy(bytes: ArrayLike<number>): number {
  let i = 0;
  while (i < bytes.length - 1 && LEGACY.has(bytes[i] ?? 0)) i++;
  return i;
}

function opcodeStart(bytes: ArrayLike<number>): number {
  const i = nrLegacy(bytes);
  return ((bytes[i] ?? 0) & 0xf0) === 0x40 ? i + 1 : i;
}

/** Segment, address size, operand size, repeat or lock: the slots of gas/config/tc-i386.c, in its order. */
function slot(prefix: number): number {
  if (prefix === 0x67) return 1;
  if (prefix === 0x66) return 2;
  return prefix >= 0xf0 ? 3 : 0;
}

function orderPrefixes(bare: ArrayLike<number>, extra: readonly number[]): Uint8Array {
  const bytes = Array.from(bare);
  const n = nrLegacy(bytes);
  const rest = bytes.slice(n);
  const all = [...extra.filter((p) => p !== 0x48), ...bytes.slice(0, n)];
  if (extra.includes(0x48)) {
    if (((rest[0] ?? 0) & 0xf0) === 0x40) rest[0] = (rest[0] ?? 0) | 0x48;
    else rest.unshift(0x48);
  }
  const bySlot = [...all].sort((a, b) => slot(a) - slot(b));
  for (let i = 1; i < bySlot.length; i++) {
    if (slot(bySlot[i] ?? 0) === slot(bySlot[i - 1] ?? 0)) {
      throw new Reason("the same type of prefix is used twice");
    }
  }
  return Uint8Array.from([...bySlot, ...rest]);
}

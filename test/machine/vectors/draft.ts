// A vector under construction: registers, memory and operands that set-ups may bend before the instruction is encoded.
// Everything is drawn from the seed; nothing of it is stored.
import { encode, immediateBytes, type MemoryOperand, type Operands } from "../native/encode.ts";
import { fpWord, someMxcsr } from "../native/fp.ts";
import { Random, edgy } from "../native/random.ts";
import type { Patch } from "../guest/guest.ts";
import {
  ABSENT, CODE, CODE_SIZE, DATA, FS_BASE, GS_BASE, HOT, RO, STACK, STACK_SIZE, makeWorld, paOf,
  startState,
} from "../guest/world.ts"; // prettier-ignore
import { W, type State } from "../guest/words.ts";
import type { VectorForm } from "./forms.ts";
import { fpuState } from "./fpu.ts";

export const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
/** Holds a small number. */
export const INDEX = 11;
/** Hold addresses in the data. */
export const POINTERS: readonly number[] = [12, 13, 14, 15, RBX, RSI, RDI];
const PLAIN: readonly number[] = [RAX, RCX, RDX, RBP, 8, 9, 10];
const FLAGS = 0xcd5n;
/** Data and stack as the guest has them, written by one draft at a time, which takes its own back. */
const WORLD = makeWorld();
const WINDOW = paOf(DATA);
const WINDOW_BYTES = paOf(STACK) + STACK_SIZE - WINDOW;
const MEMORY = WORLD.slice(WINDOW, WINDOW + WINDOW_BYTES);
const VIEW = new DataView(MEMORY.buffer);

/** Offset in the window of an address that a case may choose the content of, or -1. */
function offsetIn(va: number): number {
  const data = va - Number(DATA);
  if (data >= 0 && data < 0x3000) return data;
  const stack = va - Number(STACK);
  return stack >= 0 && stack < STACK_SIZE ? paOf(STACK) - WINDOW + stack : -1;
}

/**
 * Addresses that fault in one way or another, some of them only for the second half of an access. None in the upper half:
 * an operating system says of its own addresses what it likes; test/machine/faults.test.ts has those.
 */
const BAD = [
  RO - 3n, RO + 8n, ABSENT - 3n, ABSENT + 8n, CODE + 0x10n, 0n, 0x8000_0000_0000n, 0xffff_7fff_ffff_fff0n,
]; // prettier-ignore

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class Draft {
  readonly r: Random;
  readonly form: VectorForm;
  readonly state: State;
  readonly o: Mutable<Operands>;
  /** Whether something is to go wrong that is left to chance. */
  readonly wild: boolean;
  /** Undefined flags beyond what the row says, or undefined when the row says it. */
  undefinedFlags: number | undefined;
  codeOff: number;
  readonly #cells = new Set<number>();

  constructor(form: VectorForm, seed: number) {
    const r = new Random(seed);
    this.r = r;
    this.form = form;
    this.wild = r.chance(12);
    this.state = startState(form.ring);
    this.codeOff = r.chance(15) ? 0x1000 - 1 - r.below(12) : 0x800 + r.below(64);
    if (r.chance(1)) this.codeOff = CODE_SIZE - 1 - r.below(6);
    const s = this.state;
    for (let i = 0; i < 16; i++) s[i] = edgy(r);
    for (const p of POINTERS) s[p] = this.dataPointer();
    s[INDEX] = BigInt.asUintN(64, BigInt(r.below(9) - 4));
    s[W.rsp] = STACK + 0x1000n + BigInt(r.below(8) * 8 - 32);
    if (r.chance(40)) s[RBP] = STACK + 0x1000n + BigInt(r.below(64));
    s[W.rflags] = (BigInt(r.u32()) & FLAGS) | 0x202n;
    if (r.chance(10)) this.flag(r.pick([0x20_0000n, 0x4000n]), true); // ID, NT
    for (let i = 0; i < 16; i++) this.#poke64(HOT + i * 8, edgy(r));
    if (isSimd(form)) this.#simd();
    if (isX87(form)) this.#x87();
    this.o = this.#operands();
  }

  /** An address in the bytes that the case chooses, mostly with room before and behind. */
  dataPointer(): bigint {
    const r = this.r;
    return DATA + 0x1000n + BigInt(r.below(5) * 16 - 32 + (r.chance(20) ? r.below(16) : 0));
  }

  bad(): bigint {
    return this.r.pick(BAD);
  }

  reg(i: number, v: bigint): void {
    this.state[i] = BigInt.asUintN(64, v);
  }

  flag(bit: bigint, on: boolean): void {
    const f = this.state[W.rflags] ?? 0n;
    this.state[W.rflags] = on ? f | bit : f & ~bit;
  }

  /** Puts the low `size` bytes of a value into memory. Addresses outside of data and stack are left alone. */
  poke(va: bigint, v: bigint, size: number): void {
    const at = offsetIn(Number(va));
    if (at < 0 || offsetIn(Number(va) + size - 1) !== at + size - 1) return;
    let rest = v;
    for (let i = 0; i < size; i += 4) {
      let low = Number(rest & 0xffff_ffffn);
      rest >>= 32n;
      for (let k = i; k < size && k < i + 4; k++) {
        MEMORY[at + k] = low & 0xff;
        low >>>= 8;
        this.#cells.add((at + k) & ~7);
      }
    }
  }

  #poke64(at: number, v: bigint): void {
    VIEW.setBigUint64(at, v, true);
    this.#cells.add(at);
  }

  /** Moves a memory operand that lies where the case cannot choose what it holds to where it can. */
  choosable(): void {
    if (typeof this.o.rm !== "number" && offsetIn(Number(this.address())) < 0 && !this.wild) {
      this.alignedOperand([0, 3, 5]);
    }
  }

  /** An address of code, where an int3 waits. */
  target(): bigint {
    return CODE + BigInt(this.r.below(CODE_SIZE));
  }

  /** Linear address of the memory operand; meaningless without one. */
  address(): bigint {
    const m = this.o.rm;
    if (typeof m === "number") return 0n;
    const of = (i: number | undefined): bigint => (i === undefined ? 0n : (this.state[i] ?? 0n));
    let va = BigInt(m.disp) + (of(m.index) << BigInt(m.scale ?? 0));
    if (typeof m.base === "number") va += of(m.base);
    va = this.o.addr32 ? BigInt.asUintN(32, va) : BigInt.asUintN(64, va);
    const segment = this.o.segment === 0x64 ? FS_BASE : this.o.segment === 0x65 ? GS_BASE : 0n;
    return BigInt.asUintN(64, va + segment);
  }

  /** Makes the memory operand a plain one at a multiple of 16 in the chosen bytes, and answers its address. */
  alignedOperand(offsets: readonly number[]): bigint {
    const r = this.r;
    const base = r.pick(POINTERS);
    this.reg(base, DATA + BigInt(HOT) + BigInt(r.below(5) * 16));
    this.o.rm = { base, disp: r.pick(offsets) };
    if (this.o.segment) this.reg(base, (this.state[base] ?? 0n) - (this.o.segment === 0x64 ? FS_BASE : GS_BASE));
    return this.address();
  } // prettier-ignore

  #register(): number {
    const r = this.r;
    const n = r.below(16);
    if (n === RSP) return r.chance(10) ? n : RAX;
    return POINTERS.includes(n) && r.chance(60) ? r.pick(PLAIN) : n;
  }

  #displacement(): number {
    const r = this.r;
    const d = r.below(10);
    if (d < 6) return r.below(32) - 16;
    if (d < 8) return r.below(256) - 128;
    return r.below(2048) - 1024;
  }

  #memory(): MemoryOperand {
    const r = this.r;
    const kind = r.below(20);
    const base = r.pick(POINTERS);
    const disp = this.#displacement();
    if (kind < 10) return { base, disp };
    if (kind < 13) return { base, index: INDEX, scale: r.below(4), disp };
    if (kind < 14) return { base: RSP, disp };
    if (kind < 15) return { base: RBP, disp };
    if (kind < 16) return { base: "none", index: base, disp };
    if (kind < 18) return { base: "none", disp: Number(DATA) + HOT + r.below(100) };
    if (kind < 19) return { base: "rip", disp: 0 };
    const index = r.below(16);
    return { base: r.below(16), ...(index === RSP ? {} : { index }), scale: r.below(4), disp };
  }

  #operands(): Mutable<Operands> {
    const { r, form } = this;
    const inMemory = form.kind === "mem";
    const padding: number[] = [];
    if (!inMemory && r.chance(12)) padding.push(0x40); // an empty REX
    if (r.chance(5)) padding.push(r.pick([0x2e, 0x36, 0x3e, 0x26]));
    const rm = inMemory ? this.#memory() : this.#register();
    const o: Mutable<Operands> = {
      size: form.size === 16 && form.row.encoding.prefix === "66" ? 32 : form.size,
      reg: this.#register(),
      rm,
      imm: edgy(r),
      addr32: inMemory && r.chance(8),
      lock: inMemory && form.row.attrs.has("lock") && r.chance(15),
      rep: 0,
      segment: inMemory && r.chance(8) ? r.pick([0x64, 0x65]) : 0,
      padding,
    };
    if (this.wild && typeof rm !== "number" && typeof rm.base === "number" && r.chance(85)) {
      o.rm = { base: rm.base, disp: 0 };
      o.segment = 0;
      this.reg(rm.base, this.bad());
    } else if (this.wild && r.chance(15) && !inMemory && form.row.encoding.modrm) o.lock = true;
    if (o.addr32 && typeof rm !== "number" && typeof rm.base === "number" && r.chance(50)) {
      this.reg(rm.base, (this.state[rm.base] ?? 0n) | (BigInt(r.u32()) << 32n));
    }
    return o;
  }

  #simd(): void {
    const { r, state } = this;
    for (let i = 0; i < 32; i++) state[W.xmm + i] = fpWord(r);
    for (let i = 0; i < 16; i++) {
      if (r.chance(80)) this.#poke64(HOT + i * 8, fpWord(r));
    }
    state[W.mxcsr] = someMxcsr(r);
  }

  #x87(): void {
    const { r, state, form } = this;
    // An image of FXSAVE has the registers in the stack's order: with the top at 0 it is their own.
    const { head, registers } = fpuState(r, isImage(form) ? 0 : undefined);
    state[W.x87] = head;
    registers.forEach((v, i) => (state[W.st + i] = v));
  }

  /** The instruction's bytes. A RIP-relative operand is aimed at the data here. */
  encode(): Uint8Array {
    const { o, form } = this;
    if (typeof o.rm !== "number" && o.rm.base === "rip") {
      const length = encode(form.row, o).length;
      const to = DATA + BigInt(HOT + this.r.below(100));
      const disp = Number(to - CODE) - this.codeOff - length + immediateBytes(form.row, o);
      o.addr32 = false;
      o.rm = { base: "rip", disp };
    }
    return Uint8Array.from(encode(form.row, o));
  }

  /** The memory that the case chooses. The draft is done with after this. */
  patches(code: Uint8Array): Patch[] {
    const out: Patch[] = [];
    const at = paOf(CODE) + this.codeOff;
    const start = at & ~7;
    const end = Math.min((at + code.length + 7) & ~7, paOf(CODE) + CODE_SIZE);
    const bytes = new Uint8Array(end - start).fill(0xcc);
    bytes.set(code.subarray(0, end - at), at - start);
    out.push({ pa: start, bytes });
    const cells = [...this.#cells].toSorted((a, b) => a - b);
    for (let i = 0; i < cells.length;) {
      const from = cells[i] ?? 0;
      let to = from;
      while (cells[i] === to) {
        to += 8;
        i++;
      }
      out.push({ pa: WINDOW + from, bytes: MEMORY.slice(from, to) });
      MEMORY.set(WORLD.subarray(WINDOW + from, WINDOW + to), from);
    }
    return out;
  }
}

/** FXSAVE and FXRSTOR. */
function isImage(form: VectorForm): boolean {
  return /^fx(save|rstor)/.test(form.row.mnemonic);
}

/** Whether a form has to do with XMM state. */
export function isSimd(form: VectorForm): boolean {
  return form.row.attrs.has("simd") || isImage(form);
}

/** Whether a form has to do with x87 or MMX state. */
export function isX87(form: VectorForm): boolean {
  return (
    form.row.attrs.has("x87") || form.row.attrs.has("mmx") || form.row.mnemonic.startsWith("fx")
  );
}

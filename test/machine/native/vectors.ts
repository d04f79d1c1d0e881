// Recorded cases: what a real CPU did, in a form that replays anywhere. A gzip of a JSON head and packed records; the
// rows that a record executes are kept by their opcode and syntax, so that the table may be reordered.
import { gunzipSync, gzipSync } from "node:zlib";
import { compare, flagMask } from "./compare.ts";
import { FPU_WORDS, type Case, type Outcome } from "./layout.ts";
import { ROWS } from "./rows.ts";

export interface Vector {
  readonly case: Case;
  readonly outcome: Outcome;
}

export interface VectorFile {
  readonly cpu: string;
  readonly vectors: readonly Vector[];
  /** "opcode | syntax" of every row that some vector executes. */
  readonly rows: ReadonlySet<string>;
}

interface Head {
  readonly cpu: string;
  readonly count: number;
  readonly rows: readonly string[];
}

export function rowKey(index: number): string {
  const form = ROWS[index]?.form;
  if (!form) throw new RangeError(`no row ${index}`);
  return `${form.opcode} | ${form.syntax}`;
}

const WORDS = 16 + 1 + 16 + 6 + 33 + 33 + 2 * FPU_WORDS; // registers, rflags; registers, rip rflags mask code cr2 hash; mxcsr, xmm twice; fpu twice
const FIXED = 8 + WORDS * 8;

export function packVectors(cpu: string, vectors: readonly Vector[]): Uint8Array {
  const rows = [...new Set(vectors.flatMap((v) => v.case.rows))].map(rowKey).toSorted();
  const head: Head = { cpu, count: vectors.length, rows };
  const text = new TextEncoder().encode(JSON.stringify(head));
  const size = vectors.reduce((n, v) => n + FIXED + v.case.hot.length + v.case.code.length, 0);
  const out = new Uint8Array(4 + text.length + size);
  const view = new DataView(out.buffer);
  view.setUint32(0, text.length, true);
  out.set(text, 4);
  let at = 4 + text.length;
  for (const { case: c, outcome: o } of vectors) {
    view.setUint16(at, c.codeOff, true);
    view.setUint16(at + 2, c.code.length, true);
    view.setUint16(at + 4, c.hot.length, true);
    view.setUint16(at + 6, o.vector, true);
    at += 8;
    const mask = flagMask(c, o.rip);
    const words = [
      ...c.regs,
      c.rflags,
      ...o.regs,
      o.rip,
      o.rflags & mask,
      mask,
      o.code,
      o.cr2,
      o.hash,
      c.mxcsr,
      ...c.xmm,
      o.mxcsr,
      ...o.xmm,
      ...c.fpu,
      ...o.fpu,
    ];
    for (const w of words) {
      view.setBigUint64(at, w, true);
      at += 8;
    }
    out.set(c.hot, at);
    out.set(c.code, at + c.hot.length);
    at += c.hot.length + c.code.length;
  }
  return gzipSync(out, { level: 9 });
}

export function unpackVectors(packed: Uint8Array): VectorFile {
  const bytes = new Uint8Array(gunzipSync(packed));
  const view = new DataView(bytes.buffer);
  const length = view.getUint32(0, true);
  const head: Head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  let at = 4 + length;
  const vectors = Array.from({ length: head.count }, (): Vector => {
    const codeOff = view.getUint16(at, true);
    const codeLength = view.getUint16(at + 2, true);
    const hotLength = view.getUint16(at + 4, true);
    const vector = view.getUint16(at + 6, true);
    const word = (i: number): bigint => view.getBigUint64(at + 8 + i * 8, true);
    const regs = (from: number): bigint[] => Array.from({ length: 16 }, (_, i) => word(from + i));
    const xmm = (from: number): bigint[] => Array.from({ length: 32 }, (_, i) => word(from + i));
    const fpu = (from: number): bigint[] =>
      Array.from({ length: FPU_WORDS }, (_, i) => word(from + i));
    const mask = Number(word(35));
    const hotAt = at + FIXED;
    const codeAt = hotAt + hotLength;
    const c: Case = {
      codeOff,
      code: bytes.slice(codeAt, codeAt + codeLength),
      hot: bytes.slice(hotAt, codeAt),
      regs: regs(0),
      rflags: word(16),
      mxcsr: word(39),
      xmm: xmm(40),
      fpu: fpu(105),
      rows: [],
      undefinedAt: [[-1, 0xcd5 & ~mask]],
    };
    const outcome: Outcome = {
      regs: regs(17),
      rip: word(33),
      rflags: word(34),
      vector,
      code: word(36),
      cr2: word(37),
      hash: word(38),
      mxcsr: word(72),
      xmm: xmm(73),
      fpu: fpu(105 + FPU_WORDS),
    };
    at = codeAt + codeLength;
    return { case: c, outcome };
  });
  return { cpu: head.cpu, vectors, rows: new Set(head.rows) };
}

/** Differences between a recorded outcome and another one of the same case. */
export function compareVector(v: Vector, seen: Outcome): string[] {
  return compare(v.case, v.outcome, seen);
}

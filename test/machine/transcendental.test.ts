// The transcendental functions of the x87 FPU against a reference of our own with 512 bits: each result is within 0.51 units in
// its last place. The reference shares nothing with the core but the definition of the functions and the manual's pi.
import { describe, expect, test } from "vitest";
import { EmulatedCpu } from "./native/emulated.ts";
import { MXCSR_RESET, NO_FPU, NO_XMM, STACK } from "./native/layout.ts";
import { Random } from "./native/random.ts";

const BITS = 512n;
const ONE = 1n << BITS;
const CASES = 150;
const MANUAL_PI = 0xc90fdaa22168c234cn << (BITS - 66n);

/** A number as sign, exponent and significand: (-1)^s * m * 2^(e - 63). */
interface Value {
  readonly neg: boolean;
  readonly e: number;
  readonly m: bigint;
}

function fixed(v: Value): bigint {
  const shift = BITS + BigInt(v.e - 63);
  const x = shift >= 0n ? v.m << shift : v.m >> -shift;
  return v.neg ? -x : x;
}

const mul = (a: bigint, b: bigint): bigint => (a * b) >> BITS;
const abs = (a: bigint): bigint => (a < 0n ? -a : a);

/** The sum of terms that `next` makes of each other until they vanish. */
function series(first: bigint, next: (term: bigint, k: bigint) => bigint, term = first): bigint {
  let sum = 0n;
  for (let k = 1n; abs(term) > 1n; k++) {
    sum += term;
    term = next(term, k);
  }
  return sum;
}
function odd(x: bigint, sign: bigint): bigint {
  const square = mul(x, x);
  let power = x;
  let sum = 0n;
  for (let k = 1n; abs(power) > 1n; k += 2n) {
    sum += power / k;
    power = sign * mul(power, square);
  }
  return sum;
}
const sin = (x: bigint): bigint =>
  series(x, (t, k) => -mul(mul(t, x), x) / (2n * k * (2n * k + 1n)));
const cos = (x: bigint): bigint =>
  series(ONE, (t, k) => -mul(mul(t, x), x) / (2n * k * (2n * k - 1n)));
const LN2 = 2n * odd(ONE / 3n, 1n);
const PI = 16n * odd(ONE / 5n, -1n) - 4n * odd(ONE / 239n, -1n);

function log2(x: bigint): bigint {
  let k = 0n;
  let m = x;
  while (m > (ONE * 3n) / 2n) [m, k] = [m >> 1n, k + 1n];
  while (m < (ONE * 3n) / 4n) [m, k] = [m << 1n, k - 1n];
  const s = ((m - ONE) << BITS) / (m + ONE);
  return (k << BITS) + ((2n * odd(s, 1n)) << BITS) / LN2;
}
const expm1 = (x: bigint): bigint => series(x, (t, k) => mul(t, x) / (k + 1n));
function root(x: bigint): bigint {
  let r = x > ONE ? x : ONE;
  for (;;) {
    const n = (r + (x << BITS) / r) >> 1n;
    if (n >= r) return r;
    r = n;
  }
}
/** atan, by halving the angle until the series is short. */
function atan(x: bigint): bigint {
  let t = x;
  for (let i = 0; i < 6; i++) t = (t << BITS) / (ONE + root(ONE + mul(t, t)));
  return odd(t, -1n) << 6n;
}
/** Sine and cosine, the argument less the nearest multiple of half the manual's pi. */
function circular(x: bigint): readonly [bigint, bigint] {
  const half = MANUAL_PI / 2n;
  const n = abs(x) < half / 2n ? 0n : (2n * x + (x < 0n ? -half : half)) / (2n * half);
  const r = x - n * half;
  const [s, c] = [sin(r), cos(r)];
  const quadrant = Number(BigInt.asUintN(2, n));
  return quadrant === 0 ? [s, c] : quadrant === 1 ? [c, -s] : quadrant === 2 ? [-s, -c] : [-c, s];
}

interface Function {
  readonly name: string;
  readonly byte: number;
  /** ST(1) and ST(0) of a case. */
  readonly arguments: (r: Random) => readonly [Value, Value];
  readonly of: (st0: bigint, st1: bigint) => bigint;
  /** Which register has the result. */
  readonly at: 0 | 1;
}

const value = (r: Random, low: number, high: number): Value => ({
  neg: r.chance(50),
  e: low + r.below(high - low),
  m: (1n << 63n) | r.pick([0n, 1n, r.u64() >> 1n, r.u64() >> 1n, (1n << 63n) - 1n]),
});
const positive = (v: Value): Value => ({ ...v, neg: false });

const FUNCTIONS: readonly Function[] = [
  { name: "f2xm1", byte: 0xf0, at: 0, arguments: (r) => [value(r, 0, 1), value(r, -60, 0)], of: (x) => expm1(mul(x, LN2)) },
  { name: "fyl2x", byte: 0xf1, at: 0, arguments: (r) => [value(r, -9, 9), positive(value(r, -60, 60))], of: (x, y) => mul(y, log2(x)) },
  { name: "fyl2x near one", byte: 0xf1, at: 0, arguments: (r) => [value(r, -9, 9), positive(value(r, -1, 1))], of: (x, y) => mul(y, log2(x)) },
  { name: "fyl2xp1", byte: 0xf9, at: 0, arguments: (r) => [value(r, -9, 9), value(r, -60, -2)], of: (x, y) => mul(y, log2(ONE + x)) },
  { name: "fpatan", byte: 0xf3, at: 0, arguments: (r) => [value(r, -20, 20), value(r, -20, 20)],
    of: (x, y) => {
      const a = atan((abs(y) << BITS) / abs(x));
      const b = x < 0n ? PI - a : a;
      return y < 0n ? -b : b;
    } },
  { name: "fsin", byte: 0xfe, at: 0, arguments: (r) => [value(r, 0, 1), value(r, -40, 63)], of: (x) => circular(x)[0] },
  { name: "fcos", byte: 0xff, at: 0, arguments: (r) => [value(r, 0, 1), value(r, -40, 63)], of: (x) => circular(x)[1] },
  { name: "fsincos", byte: 0xfb, at: 1, arguments: (r) => [value(r, 0, 1), value(r, -40, 63)], of: (x) => circular(x)[0] },
  { name: "fptan", byte: 0xf2, at: 1, arguments: (r) => [value(r, 0, 1), value(r, -40, 63)],
    of: (x) => (circular(x)[0] << BITS) / circular(x)[1] },
]; // prettier-ignore

function encoded(v: Value): readonly [bigint, bigint] {
  return [v.m, BigInt(v.e + 16383) | (v.neg ? 0x8000n : 0n)];
}

describe("transcendental functions", () => {
  const cpu = new EmulatedCpu();
  test.each(FUNCTIONS.map((f) => [f.name, f] as const))(
    `%s: ${CASES} results are within 0.51 units in the last place`,
    (_name, f) => {
      const r = new Random(20150226 + f.byte);
      const wrong: string[] = [];
      for (let i = 0; i < CASES; i++) {
        const [y, x] = f.arguments(r);
        const out = cpu.run({
          code: Uint8Array.of(0xd9, f.byte, 0xcc),
          codeOff: 0,
          regs: Array.from({ length: 16 }, (_, n) => (n === 4 ? STACK + 0x1000n : 0n)),
          rflags: 2n,
          mxcsr: MXCSR_RESET,
          xmm: NO_XMM,
          fpu: [0xc0_3000_037fn, 0n, 0n, ...encoded(x), ...encoded(y), ...NO_FPU.slice(7)],
          hot: new Uint8Array(0),
          rows: [],
          undefinedAt: [[-1, 0]],
        });
        const sig = out.fpu[3 + f.at * 2] ?? 0n;
        const se = Number(out.fpu[4 + f.at * 2] ?? 0n);
        const e = (se & 0x7fff) - 16383;
        const seen = fixed({ neg: se >= 0x8000, e, m: sig });
        const unit = ONE >> BigInt(63 - e);
        const expected = f.of(fixed(x), fixed(y));
        if (sig === 0n && expected === 0n) continue;
        const off = abs(seen - expected);
        // Enough bits are below the last place, and the result is next to the true one.
        if (unit < 1n << 64n || off * 100n > unit * 51n) {
          wrong.push(
            `${encoded(x)} ${encoded(y)}: ${sig} ${se}, off by ${(off * 100n) / unit}/100`,
          );
        }
      }
      expect(wrong).toEqual([]);
    },
  );
});

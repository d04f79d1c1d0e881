// A small seeded generator of random numbers for the cases: the same seed gives the same cases everywhere. Not for
// statistics. The mixing is that of splitmix32.

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  u32(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let t = this.#state ^ (this.#state >>> 16);
    t = Math.imul(t, 0x21f0aaad);
    t ^= t >>> 15;
    t = Math.imul(t, 0x735a2d97);
    return (t ^ (t >>> 15)) >>> 0;
  }

  /** A whole number in [0, n). */
  below(n: number): number {
    return Math.floor((this.u32() / 0x1_0000_0000) * n);
  }

  /** True in `percent` of 100 cases. */
  chance(percent: number): boolean {
    return this.u32() % 100 < percent;
  }

  pick<T>(list: readonly T[]): T {
    const v = list[this.below(list.length)];
    if (v === undefined) throw new RangeError("random: nothing to pick from");
    return v;
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }
}

const EDGES: readonly bigint[] = [8n, 16n, 32n, 64n].flatMap((w) => [
  0n,
  1n,
  2n,
  (1n << w) - 1n,
  (1n << w) - 2n,
  1n << (w - 1n),
  (1n << (w - 1n)) - 1n,
  (1n << (w - 1n)) + 1n,
]);

/** 64 bits, biased to the places where carries, signs and widths change. */
export function edgy(r: Random): bigint {
  const kind = r.below(10);
  if (kind < 4) return r.pick(EDGES);
  if (kind < 5) return BigInt.asUintN(64, -r.pick(EDGES));
  if (kind < 6) return BigInt(r.below(256));
  if (kind < 7) return r.u64() & 0xffffffffn;
  return r.u64();
}

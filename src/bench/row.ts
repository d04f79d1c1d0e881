// A measurement as plain data, and the arithmetic on samples: minimum, median, ratios, geometric mean, and whether a
// target is met. It measures nothing.

/** What a figure must not fall below, or not rise above. */
export interface Target {
  readonly bound: "at least" | "at most";
  readonly value: number;
}

/** One line of a benchmark's table. Its keys are those of docs/bench.md. */
export interface Row {
  readonly name: string;
  readonly unit: string;
  /** In one sentence: what was measured and what is included. */
  readonly definition: string;
  /** The figure that is compared: the best of the samples, or a ratio of best ones. Null where it was not measured. */
  readonly value: number | null;
  /** Number of samples. */
  readonly samples: number;
  readonly min: number | null;
  readonly median: number | null;
  readonly max: number | null;
  readonly target: Target | null;
  /** Null without a target, and where nothing was measured. */
  readonly met: boolean | null;
  /** Why nothing was measured. */
  readonly skipped: string | null;
}

export interface Named {
  readonly name: string;
  readonly unit: string;
  readonly definition: string;
  readonly target?: Target;
}

export const minOf = (samples: readonly number[]): number => Math.min(...samples);
export const maxOf = (samples: readonly number[]): number => Math.max(...samples);

/** The middle sample, or the mean of the two middle ones. */
export function medianOf(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const hi = sorted[half] ?? NaN;
  return sorted.length % 2 === 1 ? hi : ((sorted[half - 1] ?? NaN) + hi) / 2;
}

/** The geometric mean: the only mean of ratios that does not depend on which side is the unit. */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((sum, x) => sum + Math.log(x), 0) / values.length);
}

/** Whether a figure keeps its target. */
export function meets(value: number, t: Target): boolean {
  return t.bound === "at least" ? value >= t.value : value <= t.value;
}

/** A row whose figure is the best of its samples: the least time or size, the greatest rate. */
export function measured(n: Named, samples: readonly number[], best: "least" | "most"): Row {
  return row(n, best === "least" ? minOf(samples) : maxOf(samples), samples);
}

/**
 * A row whose figure is computed from the best samples of others.
 *
 * samples  the same figure by rounds, for its spread; may be empty
 */
export function derived(n: Named, value: number, samples: readonly number[]): Row {
  return row(n, value, samples);
}

function row(n: Named, value: number, samples: readonly number[]): Row {
  const some = samples.length > 0;
  return {
    name: n.name,
    unit: n.unit,
    definition: n.definition,
    value,
    samples: samples.length,
    min: some ? minOf(samples) : null,
    median: some ? medianOf(samples) : null,
    max: some ? maxOf(samples) : null,
    target: n.target ?? null,
    met: n.target === undefined ? null : meets(value, n.target),
    skipped: null,
  };
}

/** A row of what could not be measured here. */
export function skipped(n: Named, why: string): Row {
  const none = { value: null, samples: 0, min: null, median: null, max: null, met: null };
  const { name, unit, definition } = n;
  return { name, unit, definition, ...none, target: n.target ?? null, skipped: why };
}

/** Rows whose target was missed. */
export function missed(rows: readonly Row[]): readonly Row[] {
  return rows.filter((r) => r.met === false);
}

// True stacks as lists of frames that are shared where they are equal: of many tasks most sleep in the same place. Whoever
// looks at many stacks can look at each list once.
import type { TraceFrame } from "./trace.ts";

/** Lists with the same innermost address that are kept to be compared with. */
const MAX_ALIKE = 16;

function isSame(a: TraceFrame, b: TraceFrame | undefined): boolean {
  return a.ip === b?.ip && a.isCall === b.isCall && a.isDynamic === b.isDynamic;
}

export class FrameLists {
  readonly #known = new Map<bigint, TraceFrame[][]>();

  /** The list, or one that was given before and is equal. */
  share(frames: TraceFrame[]): readonly TraceFrame[] {
    const first = frames[0]?.ip ?? 0n;
    const alike = this.#known.get(first);
    if (alike === undefined) {
      this.#known.set(first, [frames]);
      return frames;
    }
    const same = alike.find(
      (k) => k.length === frames.length && k.every((f, i) => isSame(f, frames[i])),
    );
    if (same !== undefined) return same;
    if (alike.length < MAX_ALIKE) alike.push(frames);
    return frames;
  }
}

/** A function of a list of frames that is computed once for each list, not for each stack. */
export function perList<T>(
  of: (frames: readonly TraceFrame[]) => T,
): (frames: readonly TraceFrame[]) => T {
  const known = new Map<readonly TraceFrame[], { readonly value: T }>();
  return (frames) => {
    const found = known.get(frames) ?? { value: of(frames) };
    known.set(frames, found);
    return found.value;
  };
}

// What host work would have cost a real kernel, in instructions: the one table of modelled costs. Modelled is never mixed
// with counted. The figures are of unwind_next_frame() by frame pointer and its callers, as gcc -O2 makes them.

const PER_TASK = 120;
const PER_FRAME = 35;

/** Walking the stacks of `tasks` tasks with `frames` frames in all. */
export function walkCost(tasks: number, frames: number): number {
  return tasks * PER_TASK + frames * PER_FRAME;
}

/** Comparing each of `words` words of a stack with the records of a patch. */
export function scanCost(words: number): number {
  return words * 9;
}

/** Comparing `bytes` bytes of text. */
export function compareCost(bytes: number): number {
  return Math.ceil(bytes / 8) * 3;
}

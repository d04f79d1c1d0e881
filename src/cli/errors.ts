// The errors that a user can cause, as one line each. Anything else that is thrown is a bug in us.

/** Exit codes of every command. */
export const EXIT = { consistent: 0, violated: 1, usage: 2, budget: 3, skipped: 4 } as const;

/** Bad usage or bad input; the message is `what, where, what was expected` on one line. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** The name among `names` that is most like `word`, if one is near. */
export function nearest(word: string, names: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const name of names) {
    const d = name.startsWith(word) && word.length > 1 ? 1 : distance(word, name);
    if (d < least) {
      least = d;
      best = name;
    }
  }
  return best;
}

/** The error for a word that is none of `names`. */
export function unknown(what: string, word: string, names: readonly string[]): UsageError {
  const near = nearest(word, names);
  const list = names.length > 12 ? `${names.slice(0, 12).join(", ")}, ..` : names.join(", ");
  const expected = near === undefined ? `expected one of ${list}` : `did you mean '${near}'?`;
  return new UsageError(`${what}: there is no '${word}', ${expected}`);
}

/** The number of letters to insert, delete or change (Levenshtein, 1965). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

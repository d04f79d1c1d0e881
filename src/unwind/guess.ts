// Guessing, as arch/x86/kernel/unwind_guess.c does: every word of the stack that is an address of text is taken for a
// return address. It misses nothing that is on the stack and reports much that is stale; it is never reliable.
import type { Registers, Row, Surroundings, Unwinder } from "./row.ts";

/** A task's stack is at most so many words. */
const MOST_WORDS = 4096;

function find(at: Registers, { peek, isText, ptRegsVa }: Surroundings): Row {
  for (let i = 0; i < MOST_WORDS; i++) {
    const slot = at.sp + BigInt(i) * 8n;
    if (slot === ptRegsVa) break;
    const word = peek(slot);
    if (word === undefined) break;
    if (isText(word)) {
      return { kind: "call", cfa: { reg: "sp", offset: i * 8 + 8 }, ra: -8, bp: undefined };
    }
  }
  return { kind: "end" };
}

export const GUESS: Unwinder = {
  name: "guess",
  canBeReliable: false,
  find,
  isLast: (at, { ptRegsVa }) => at.sp === ptRegsVa,
};

// The kernel's doubly linked lists, changed through the patch call one store at a time, in the order of the kernel's
// stores: a handler that follows the next pointers sees the list before or after. include/linux/rculist.h
import { look, readUint, writeWord, type Program, type Read } from "../kernel/index.ts";

const PREV = 8n;

function* word(va: bigint): Program<bigint> {
  return yield* look("klp_mutex", (g) => ({ value: readUint(g.read, va, 8), cost: 0 }));
}

export function* initListHead(head: bigint): Program<void> {
  yield* writeWord(head, head);
  yield* writeWord(head + PREV, head);
}

function* insert(entry: bigint, prev: bigint, next: bigint): Program<void> {
  yield* writeWord(entry, next);
  yield* writeWord(entry + PREV, prev);
  yield* writeWord(prev, entry); // rcu_assign_pointer(): from here on it can be found
  yield* writeWord(next + PREV, entry);
}

/** list_add_rcu(): at the front. */
export function* listAdd(entry: bigint, head: bigint): Program<void> {
  yield* insert(entry, head, yield* word(head));
}

/** list_add_tail(). */
export function* listAddTail(entry: bigint, head: bigint): Program<void> {
  yield* insert(entry, yield* word(head + PREV), head);
}

/** list_del_rcu(): the entry's own next pointer stays, for whoever stands on it. */
export function* listDel(entry: bigint): Program<void> {
  const next = yield* word(entry);
  const prev = yield* word(entry + PREV);
  yield* writeWord(next + PREV, prev);
  yield* writeWord(prev, next);
}

/** The entries of a list_head, as addresses of the list_heads in them. */
export function listEntries(read: Read, head: bigint): readonly bigint[] {
  const out: bigint[] = [];
  for (let at = readUint(read, head, 8); at !== head; at = readUint(read, at, 8)) out.push(at);
  return out;
}

// The fixed addresses of assembly/abi.ts: everything that lies below RAM has a place of its own.
import { expect, test } from "vitest";
import * as abi from "../../assembly/abi.ts";

/** Areas by start and bytes. */
const AREAS: Readonly<Record<string, readonly [number, number]>> = {
  cpu: [abi.CPU, abi.VCPU_SIZE],
  save: [abi.SAVE, abi.MAX_VCPUS * abi.VCPU_SIZE],
  apic: [abi.APIC, abi.MAX_VCPUS * abi.APIC_SIZE],
  watches: [abi.WATCH, abi.MAX_WATCHES * abi.WATCH_SIZE],
  stackAreas: [abi.STACK_AREAS, abi.MAX_STACK_AREAS * abi.STACK_AREA_SIZE],
  sys: [abi.SYS, abi.MAX_VCPUS * abi.SYS_SIZE],
  kinds: [abi.KINDS, abi.MAX_UOPS],
  slots: [abi.SLOTS, 2 * 1024],
  groups: [abi.GROUPS, abi.MAX_GROUPS * abi.GROUP_BYTES],
  rows: [abi.ROWS, abi.MAX_ROWS * abi.ROW_SIZE],
  tlbs: [abi.TLBS, abi.MAX_VCPUS * 4 * abi.TLB_BYTES],
  noTlb: [abi.TLB_NONE, abi.TLB_BYTES],
  jumpCaches: [abi.JUMP_CACHES, abi.MAX_VCPUS * 2 * abi.JUMP_BYTES],
  adversary: [abi.ADVERSARY, abi.MAX_VCPUS * abi.ADVERSARY_SIZE],
  nearOf: [abi.NEAR_OF, 2 * abi.MAX_UOPS],
  rowOf: [abi.ROW_OF, 4 * abi.FIRST_ROW_UOP],
  pairFirst: [abi.PAIR_FIRST, abi.MAX_UOPS],
  pairSecond: [abi.PAIR_SECOND, abi.MAX_UOPS],
  pairs: [abi.PAIRS, 2 * (abi.MAX_PAIR_LINES + 1) * abi.PAIR_COLUMNS],
  miss: [abi.MISS, abi.UOP_SIZE],
  missed: [abi.MISSED, 4],
  quietOf: [abi.QUIET_OF, 2 * abi.MAX_UOPS],
  flagRole: [abi.FLAG_ROLE, abi.MAX_UOPS],
  chainFirst: [abi.CHAIN_FIRST, 2 * abi.FIRST_ROW_UOP],
  chainSecond: [abi.CHAIN_SECOND, abi.FIRST_ROW_UOP],
  linearOf: [abi.LINEAR_OF, 2 * abi.FIRST_ROW_UOP],
  chainForm: [abi.CHAIN_FORM, 2 * (abi.MAX_CHAIN_LINES + 1)],
  chains: [abi.CHAINS, 2 * (abi.MAX_CHAIN_LINES + 1) * abi.CHAIN_COLUMNS],
  blockHash: [abi.BLOCK_HASH, 4 * abi.BLOCK_HASH_ENTRIES],
  log: [abi.LOG, abi.LOG_ENTRIES * abi.LOG_SIZE],
  pageCode: [abi.PAGE_CODE, abi.MAX_TRACKED],
  pageClean: [abi.PAGE_CLEAN, abi.MAX_TRACKED],
  pageBlocks: [abi.PAGE_BLOCKS, 4 * abi.MAX_TRACKED],
  codeLines: [abi.CODE_LINES, 8 * abi.MAX_TRACKED],
  dirtyList: [abi.DIRTY_LIST, 4 * abi.MAX_TRACKED],
  saved: [abi.SAVED, 4 * abi.MAX_TRACKED],
  arena: [abi.ARENA, abi.ARENA_END - abi.ARENA],
};

test("no two areas of the core's memory overlap, and all end below RAM", () => {
  const sorted = Object.entries(AREAS).toSorted(([, [a]], [, [b]]) => a - b);
  sorted.forEach(([name, [start, bytes]], i) => {
    const [next, [end]] = sorted[i + 1] ?? ["ram", [abi.RAM]];
    expect(start + bytes, `${name} runs into ${next}`).toBeLessThanOrEqual(end);
  });
});

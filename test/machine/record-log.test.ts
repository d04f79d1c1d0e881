// The log of watched instructions, and copies of it that go on apart from each other.
import { describe, expect, it } from "vitest";
import { L_ID, LOG_SIZE } from "../../assembly/abi.ts";
import { RecordLog } from "../../src/machine/record-log.ts";

/** Records as the core writes them, by their ids. */
function bytes(...ids: readonly number[]): Uint8Array {
  const all = new Uint8Array(ids.length * LOG_SIZE);
  const view = new DataView(all.buffer);
  ids.forEach((id, i) => view.setUint32(i * LOG_SIZE + L_ID, id, true));
  return all;
}

function ids(log: RecordLog): readonly number[] {
  return log.slice(0).map((r) => r.id);
}

describe("a log of records", () => {
  it("and its copies go on apart from each other, whichever goes on first", () => {
    const log = new RecordLog();
    log.append(bytes(1, 2));
    const first = log.copy();
    const second = log.copy();
    log.append(bytes(3));
    first.append(bytes(4, 5));
    second.append(bytes(6));
    log.append(bytes(7));
    expect([log, first, second].map(ids)).toEqual([
      [1, 2, 3, 7],
      [1, 2, 4, 5],
      [1, 2, 6],
    ]);
    expect(ids(first.copy())).toEqual([1, 2, 4, 5]);
    expect(first.slice(3).map((r) => r.id)).toEqual([5]);
  });
});

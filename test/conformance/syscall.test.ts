// tools/testing/selftests/livepatch/test-syscall.sh: a system call that is called without a pause while it is patched.
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { off, on, rmmod } from "./events.ts";
import { makeLab, type Lab } from "./lab.ts";

const LP = "test_klp_syscall";

let lab: Lab;
beforeAll(async () => {
  lab = await makeLab();
});
beforeEach(() => lab.reset());

describe("test-syscall", () => {
  test.each([1, 2, 3, 4])("patch getpid syscall while being heavily hammered (seed %i)", (seed) => {
    lab.reset(seed);
    const calls = (): readonly bigint[] => [lab.word("hammer_a_calls"), lab.word("hammer_b_calls")];
    lab.setWord("hammer_wanted", 1);
    lab.run(20_000);
    const before = calls();
    expect(before.every((n) => n > 0n)).toBe(true);
    const pids = lab.session
      .tasks()
      .filter((t) => t.comm.startsWith("hammer"))
      .map((t) => t.pid);
    expect(pids.length).toBe(2);
    const args = `klp_pids=${pids.join()}`;
    lab.load(LP, args);
    lab.run(20_000);
    expect(lab.word("npids_pending", 4, LP)).toBe(0n);
    expect(calls().every((n, i) => n > (before[i] ?? 0n))).toBe(true);
    lab.disable(LP);
    lab.unload(LP);
    lab.run(20_000);
    expect(lab.log()).toEqual([...on(LP, args), ...off(LP), rmmod(LP)]);
  });
});

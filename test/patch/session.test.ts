// The session: requests at any instruction, steps that the guest carries out, snapshots in the middle of a transition.
import { beforeAll, describe, expect, test } from "vitest";
import { branchTo, NOP5, textPokeBp } from "../../src/ftrace/index.ts";
import { symbolVa, type Program } from "../../src/kernel/index.ts";
import { outcome, type Mechanism, type Outcome } from "../../src/patch/index.ts";
import { makeLab, mechanism, type Lab } from "./lab.ts";

let lab: Lab;
beforeAll(async () => {
  lab = await makeLab();
});

describe("a snapshot in the middle of a transition", () => {
  test.each(["kpatch", "simple"])("%s goes on from it to the same state", (name) => {
    const { session } = lab;
    lab.reset(7);
    lab.request(mechanism(name));
    session.run(lab.readyAt + 3_001);
    const middle = session.snapshot();
    expect(session.agent.active).toBe(true);
    const end = (): unknown => {
      const stop = lab.finish();
      return {
        stop,
        hash: session.machine.stateHash(),
        outcome: session.agent.outcome,
        insns: session.machine.retired,
        writes: session.agent.state().writes.length,
      };
    };
    const first = end();
    session.restore(middle);
    expect(end()).toEqual(first);
  });

  test("restoring touches the machine with none of the program's steps", () => {
    const { session } = lab;
    lab.reset(8);
    lab.request(mechanism("kpatch"));
    session.run(lab.readyAt + 2_500);
    const middle = session.snapshot();
    const hash = session.machine.stateHash();
    session.run(lab.readyAt + 9_000);
    session.restore(middle);
    expect(session.machine.stateHash()).toBe(hash);
  });
});

describe("text_poke_bp", () => {
  test("replaces a site that is being executed in three rendezvous, and back, with no BUG", () => {
    const { session, built } = lab;
    const va = symbolVa(built.image, "xfer_queue");
    const call = branchTo("call", va, symbolVa(built.image, "ftrace_caller"));
    const syncs: number[] = [];
    const poke: Mechanism = {
      ...mechanism("naive"),
      *enable(): Program<Outcome> {
        for (let i = 0; i < 10; i++) {
          syncs.push(yield* textPokeBp(built.image, [{ va, bytes: call }]));
          syncs.push(yield* textPokeBp(built.image, [{ va, bytes: NOP5 }]));
        }
        return outcome("applied", "poked");
      },
    };
    lab.reset(5);
    const before = session.text();
    lab.request(poke);
    expect(lab.finish()).toBe("done");
    expect(session.events().bugs).toEqual([]);
    expect(session.agent.outcome?.result).toBe("applied");
    expect(new Set(syncs)).toEqual(new Set([3]));
    expect(session.text()).toEqual(before);
    expect(session.word("wrong_results")).toBe(0n);
  });

  test("shows an int3 first and the new first byte last", () => {
    const { session, built } = lab;
    const va = symbolVa(built.image, "xfer_queue");
    lab.reset(5);
    lab.request(mechanism("kpatch"));
    lab.finish();
    const own = session.agent.state().writes.filter((w) => w.va >= va && w.va < va + 5n);
    expect(own[0]?.bytes).toEqual(Uint8Array.of(0xcc));
    expect(own[1]?.va).toBe(va + 1n);
    expect(own[1]?.bytes.length).toBe(4);
    expect(own[2]?.va).toBe(va);
    expect(own[2]?.bytes).toEqual(Uint8Array.of(0xe8));
  });
});

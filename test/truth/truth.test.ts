// The shadow of the stacks against an independent model, at every instruction of seeded runs of the default scenario.
// scripts/campaign-truth.mjs does the same for a million instructions.
import { beforeAll, describe, expect, test } from "vitest";
import type { BuiltScenario } from "../../src/scenario/index.ts";
import { buildNamed } from "../scenario/files.ts";
import { Model, type Planted } from "./model.ts";
import { Stepper } from "./stepper.ts";

/** Instructions that `npm test` steps through; the campaign sets more. */
const INSNS = Number(process.env["TRUTH_INSNS"] ?? 60_000);

let built: BuiltScenario;
beforeAll(async () => {
  built = await buildNamed("default");
});

/** Steps seeded runs until that many instructions were compared; answers how many were. */
function compare(insns: number, planted: Planted): number {
  let done = 0;
  for (let seed = 1; done < insns; seed++) {
    const s = new Stepper(built, { vcpus: 2, seed });
    done += s.run(insns - done, new Model(s, planted), () => s.isDone);
    expect(s.messages).toEqual([]);
  }
  return done;
}

test("the shadow's stacks are those of an independent model at every instruction", () => {
  expect(compare(INSNS, "none")).toBe(INSNS);
});

describe("a difference is seen when the model", () => {
  test.each<Planted>([
    "keeps what ret leaves",
    "takes a switch for a rise",
    "forgets interrupts",
    "forgets stored frames",
  ])("%s", (planted) => {
    expect(() => compare(60_000, planted)).toThrow(/running stack|stack [0-9a-f]+/);
  });
});

// naive: overwrites the entries with jumps, byte after byte, and asks nobody. The negative control: what every other
// mechanism exists to avoid.
import { branchTo } from "../ftrace/index.ts";
import { log, writeWord, type Program } from "../kernel/index.ts";
import { outcome, type Mechanism, type Outcome, type Request } from "./mechanism.ts";
import { loadModule } from "./module.ts";

function* apply({ image, plan }: Request): Program<Outcome> {
  yield* loadModule(image, plan);
  for (const f of plan.functions) {
    const jump = branchTo("jmp", f.jumpVa, f.newVa);
    for (const [i, byte] of jump.entries()) {
      yield* writeWord(f.jumpVa + BigInt(i), BigInt(byte), 1);
    }
    yield* log(`naive: ${f.name} overwritten`);
  }
  return outcome("applied", "every entry was overwritten");
}

export const naive: Mechanism = {
  name: "naive",
  leaves: "nothing",
  switches: "nothing",
  summary: "overwrites entry bytes, no checks, no synchronisation: the negative control",
  apply,
};

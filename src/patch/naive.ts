// naive: overwrites the entries with jumps, byte after byte, and asks nobody. The negative control: what every other
// mechanism exists to avoid.
import { branchTo } from "../ftrace/index.ts";
import { ERRNO, log, writeWord, type Program } from "../kernel/index.ts";
import { outcome, type Mechanism, type Outcome, type Request } from "./mechanism.ts";
import { insmodError, loadModule } from "./module.ts";

function* overwrite(va: bigint, bytes: Uint8Array): Program<void> {
  for (const [i, byte] of bytes.entries()) yield* writeWord(va + BigInt(i), BigInt(byte), 1);
}

function* enable({ image, plan }: Request): Program<Outcome> {
  // The module of before is still there when the patch was taken back: somebody may be in it.
  const failed = yield* loadModule(image, plan);
  if (failed !== 0 && failed !== -ERRNO.EEXIST)
    return outcome("refused", insmodError(plan, failed));
  for (const f of plan.functions) {
    yield* overwrite(f.jumpVa, branchTo("jmp", f.jumpVa, f.newVa));
    yield* log(`naive: ${f.name} overwritten`);
  }
  return outcome("applied", "every entry was overwritten");
}

function* disable({ plan }: Request): Program<Outcome> {
  for (const f of plan.functions) {
    yield* overwrite(f.jumpVa, f.oldBytes);
    yield* log(`naive: ${f.name} restored`);
  }
  return outcome("applied", "every entry was restored");
}

export const naive: Mechanism = {
  name: "naive",
  leaves: "nothing",
  switches: "nothing",
  summary: "overwrites entry bytes, no checks, no synchronisation: the negative control",
  enable,
  disable,
};

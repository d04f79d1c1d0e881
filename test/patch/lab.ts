// The default scenario at its ready mark, for tests of the patching side: built once per file, restored per test.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { makeAssembler } from "../../src/asm/index.ts";
import { asmOffsetsInc } from "../../src/kernel/index.ts";
import { seededSchedule, type Adversary } from "../../src/machine/index.ts";
import {
  MECHANISMS,
  planPatch,
  Session,
  type Mechanism,
  type PatchPlan,
  type SessionSnapshot,
} from "../../src/patch/index.ts";
import {
  assembleFile,
  buildScenario,
  linkPatch,
  loadScenario,
  type BuiltScenario,
  type Toolchain,
} from "../../src/scenario/index.ts";
import type { Image } from "../../src/link/index.ts";

const top = join(import.meta.dirname, "../..");

function files(path: string): string | undefined {
  try {
    return readFileSync(join(top, "kernels", path), "utf8");
  } catch {
    return undefined;
  }
}

export interface Lab {
  readonly core: WebAssembly.Module;
  readonly ramBytes: number;
  readonly built: BuiltScenario;
  readonly session: Session;
  readonly ready: SessionSnapshot;
  readonly readyAt: number;
  readonly plan: PatchPlan;
  readonly tools: Toolchain;
  /** Links a patch from text, as --patch does. */
  module(text: string): Image;
  /** Back to the ready mark, under another seed. */
  reset(seed: number): void;
  /** Asks for a mechanism at once. */
  request(mechanism: Mechanism, plan?: PatchPlan): void;
  /** Runs until the workload is done, the guest reports a BUG, or nothing can happen. */
  finish(): string;
}

export async function makeLab(
  scenarioName = "default",
  nrVcpus = 2,
  adversary: Adversary = {},
): Promise<Lab> {
  const core = new WebAssembly.Module(readFileSync(join(top, "dist/core.wasm")));
  const scenario = loadScenario(scenarioName, files);
  const tools: Toolchain = {
    assembler: await makeAssembler(),
    generated: { "asm-offsets.inc": asmOffsetsInc() },
  };
  const built = buildScenario(scenario, tools);
  const { image, patch } = built;
  if (!patch) throw new Error(`${scenarioName} has no patch`);
  const session = new Session({
    core,
    image,
    ramBytes: scenario.ramMiB << 20,
    nrVcpus,
    schedule: seededSchedule(1),
    adversary,
  });
  if (session.run(5_000_000, new Set(["ready", "bug"])) !== "ready")
    throw new Error("no ready mark");
  const ready = session.snapshot();
  const readyAt = session.machine.retired;
  const plan = planPatch(image, patch);
  return {
    core,
    ramBytes: scenario.ramMiB << 20,
    built,
    session,
    ready,
    readyAt,
    plan,
    tools,
    module: (text) =>
      linkPatch(image, assembleFile(scenario, { name: "test/patch.S", text }, tools)),
    reset: (seed) => {
      session.restore(ready);
      session.reschedule(seededSchedule(seed));
    },
    request: (mechanism, p = plan) => {
      session.request(() => mechanism.enable({ image, plan: p, hz: scenario.hz, unwinder: "fp" }));
    },
    finish: () => session.run(readyAt + scenario.budgetInsns, new Set(["done", "bug"])),
  };
}

export function mechanism(name: string): Mechanism {
  const m = MECHANISMS[name];
  if (!m) throw new Error(`no mechanism ${name}`);
  return m;
}
